import { beforeEach, describe, expect, it, jest } from '@jest/globals';
import { workos } from 'express-sealed-session';

import { endingKeys, type Ledger } from '../../../lib/fleet/ledger.js';
import { memoryLedger } from '../../../lib/fleet/memory-ledger.js';
import { sessionKey, tokenKey } from '../../../lib/refresh/token-key.js';
import { useClock } from '../../support/clock.js';

describe('endingKeys', () => {
  const provider = workos({ clientId: 'client_01', apiKey: 'sk_test_01' });
  const payload = { accessToken: 'an access token', refreshToken: 'one', sessionId: 'our id' };

  it.each([
    ['the refresh token and our own id', payload, 'a sid', ['one', 'our id']],
    [
      'the refresh token and the sid, without an own id',
      { ...payload, sessionId: undefined },
      'a sid',
      ['one', 'a sid'],
    ],
    [
      'the own id alone, without a refresh token',
      { ...payload, refreshToken: undefined },
      'a sid',
      [undefined, 'our id'],
    ],
    ['the refresh token alone, without any id', { ...payload, sessionId: undefined }, undefined, ['one', undefined]],
    ['nothing, without both', { accessToken: payload.accessToken }, undefined, [undefined, undefined]],
  ])('are those of %s', (_, of, sid, [token, id]) => {
    expect(endingKeys(provider, of, () => sid)).toEqual([
      ...(token === undefined ? [] : [tokenKey(provider, token)]),
      ...(id === undefined ? [] : [sessionKey(provider, id)]),
    ]);
  });

  it('does not read the sid of a session with an own id', () => {
    const sid = jest.fn(() => 'a sid');
    expect(endingKeys(provider, payload, sid)).toHaveLength(2);
    expect(sid).not.toHaveBeenCalled();
  });
});

describe('memoryLedger', () => {
  const clock = useClock();
  const hour = 60 * 60;
  let ledger: Ledger;
  beforeEach(() => {
    ledger = memoryLedger({ maxEntries: 3 });
  });

  it('is empty until something ends', async () => {
    expect(ledger.isEmpty()).toBe(true);
    await ledger.end(['one']);
    expect(ledger.isEmpty()).toBe(false);
  });

  it('finds an ended session by any of its keys', async () => {
    const keys = ['of its refresh token', 'of its id'];
    expect(ledger.hasEnded(keys)).toBe(false);
    await ledger.end(keys);
    for (const key of keys) expect(ledger.hasEnded(['of another', key])).toBe(true);
    expect([ledger.hasEnded(['of another']), ledger.hasEnded([])]).toEqual([false, false]);
  });

  it('forgets an ending after an hour', async () => {
    await ledger.end(['one']);
    clock.advance(hour - 1);
    expect(ledger.hasEnded(['one'])).toBe(true);
    clock.advance(2);
    expect(ledger.hasEnded(['one'])).toBe(false);
  });

  it('forgets the oldest ending beyond its limit', async () => {
    await ledger.end(['first', 'second', 'third', 'fourth']);
    expect(['first', 'second', 'third', 'fourth'].map((key) => ledger.hasEnded([key]))).toEqual([
      false,
      true,
      true,
      true,
    ]);
  });

  it('shares nothing with another ledger', async () => {
    await memoryLedger({ maxEntries: 3 }).end(['one']);
    await ledger.learn(['one']);
    expect(ledger.hasEnded(['one'])).toBe(false);
  });
});
