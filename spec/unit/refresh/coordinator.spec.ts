import { createHmac } from 'node:crypto';

import { describe, expect, it, jest } from '@jest/globals';
import { workos } from 'express-sealed-session';

import { nameOf, namesOf, secretOf } from '../../../lib/refresh/coordinator.js';

const provider = workos({ clientId: 'client_01', apiKey: 'sk_test_01' });
const payload = { accessToken: 'of the old one', refreshToken: 'one', sessionId: 'our id' };

/** What other processes derive, also those of another version while a new one is rolled out. */
const derived = (from: string, use: string) =>
  createHmac('sha256', from).update(`express-sealed-session ${use} ${provider.id}`).digest();
const named = (from: string, use: string) => derived(from, use).toString('base64url');

describe('a refresh token', () => {
  it('has a name and a secret on which the whole fleet agrees', () => {
    expect(nameOf(provider, 'one')).toBe(named('one', 'name'));
    expect(secretOf(provider, 'one')).toEqual(derived('one', 'secret'));
  });
});

describe('the names of a session', () => {
  it.each([
    ['its refresh token and our own id', payload, 'its sid', ['one', 'our id']],
    ['its sid where it has no id of ours', { ...payload, sessionId: undefined }, 'its sid', ['one', 'its sid']],
    ['one of them', { ...payload, refreshToken: undefined }, undefined, [undefined, 'our id']],
    ['the other', { ...payload, sessionId: undefined }, undefined, ['one', undefined]],
    ['neither', { accessToken: payload.accessToken }, undefined, [undefined, undefined]],
  ])('are made of %s', (_, of, sid, [token, id]) => {
    expect(namesOf(provider, of, () => sid)).toEqual([
      ...(token === undefined ? [] : [named(token, 'name')]),
      ...(id === undefined ? [] : [named(id, 'session')]),
    ]);
  });

  it('ask for no sid where there is an id of ours', () => {
    const sid = jest.fn(() => 'its sid');
    expect(namesOf(provider, payload, sid)).toHaveLength(2);
    expect(sid).not.toHaveBeenCalled();
  });
});
