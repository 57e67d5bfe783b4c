import { beforeEach, describe, expect, it, jest } from '@jest/globals';
import { oidc, workos } from 'express-sealed-session';

import { type Ending, hasEnded, type Ledger, type SessionNames, sessionNames } from '../../../lib/fleet/ledger.js';
import { memoryLedger } from '../../../lib/fleet/memory-ledger.js';
import { sessionKey, tokenKey } from '../../../lib/refresh/token-key.js';
import { useClock } from '../../support/clock.js';

const hour = 60 * 60;

describe('sessionNames', () => {
  const ofSessions = workos({ clientId: 'client_01', apiKey: 'sk_test_01' });
  const ofTokens = oidc({ issuer: 'https://id.example.com', clientId: 'client_01', clientSecret: 'a secret' });
  const payload = { accessToken: 'an access token', refreshToken: 'one', sessionId: 'our id', startedAt: 100 };

  it('are our own id and the sid, where the provider revokes sessions', () => {
    expect(sessionNames(ofSessions, payload, () => 'a sid')).toEqual({
      own: sessionKey(ofSessions, 'our id'),
      shared: [sessionKey(ofSessions, 'a sid')],
      startedMs: 101_000,
    });
  });

  it('are our own id and the refresh token elsewhere, and the sid is not read', () => {
    const sid = jest.fn(() => 'a sid');
    expect(sessionNames(ofTokens, payload, sid)).toEqual({
      own: sessionKey(ofTokens, 'our id'),
      shared: [tokenKey(ofTokens, 'one')],
      startedMs: 101_000,
    });
    expect(sid).not.toHaveBeenCalled();
  });

  it.each([
    ['the sid and the refresh token', 'a sid', 'one'],
    ['the sid alone', 'a sid', undefined],
    ['the refresh token alone', undefined, 'one'],
    ['none', undefined, undefined],
  ])('are, in the seal of another writer, %s', (_, sid, refreshToken) => {
    expect(
      sessionNames(ofSessions, { accessToken: 'an access token', refreshToken, startedAt: 100 }, () => sid),
    ).toEqual({
      own: undefined,
      shared: [
        ...(sid === undefined ? [] : [sessionKey(ofSessions, sid)]),
        ...(refreshToken === undefined ? [] : [tokenKey(ofSessions, refreshToken)]),
      ],
      // A refresh stamps such a seal anew: its time says nothing.
      startedMs: 0,
    });
  });
});

describe('memoryLedger', () => {
  const clock = useClock();
  let ledger: Ledger;
  beforeEach(() => {
    ledger = memoryLedger({ maxSessions: 3, maxPerUser: 2 });
  });

  const ending = (keys: readonly string[], changes: Partial<Ending> = {}): Ending => ({
    keys,
    atMs: Date.now(),
    untilMs: Date.now() + hour * 1000,
    ...changes,
  });
  const named = (own: string | undefined, shared: readonly string[] = [], startedMs = 0): SessionNames => ({
    own,
    shared,
    startedMs,
  });
  const isKnown = (...names: SessionNames[]) => hasEnded(ledger, names);

  it('is empty until something ends', async () => {
    expect(ledger.isEmpty()).toBe(true);
    await ledger.end(ending(['one']));
    expect(ledger.isEmpty()).toBe(false);
  });

  it('finds an ended session by any of its names', async () => {
    await ledger.end(ending(['its id', 'its token']));
    expect([
      isKnown(named('its id')),
      isKnown(named(undefined, ['its token'])),
      isKnown(named('new', ['its token'])),
    ]).toEqual([true, true, true]);
    expect([isKnown(named('another')), isKnown(named(undefined)), isKnown()]).toEqual([false, false, false]);
  });

  it('does not take a session that began later for the one that ended, whatever names it shares', async () => {
    await ledger.end(ending(['its id', 'its token']));
    const later = Date.now() + 1;
    expect(isKnown(named('the next', ['its token'], later))).toBe(false);
    expect(isKnown(named('its id', ['its token'], later))).toBe(true);
  });

  it('remembers an ending for as long as it says, and no longer', async () => {
    await ledger.end(ending(['one'], { untilMs: Date.now() + 24 * hour * 1000 }));
    clock.advance(24 * hour - 1);
    expect(isKnown(named('one'))).toBe(true);
    clock.advance(2);
    expect(isKnown(named('one'))).toBe(false);
    expect(ledger.isEmpty()).toBe(true);
  });

  it('extends an ending by another that shares a name, and never shortens it', async () => {
    await ledger.end(ending(['id', 'first token'], { untilMs: Date.now() + 2 * hour * 1000 }));
    await ledger.end(ending(['id', 'second token']));
    clock.advance(2 * hour - 1);
    for (const key of ['id', 'first token', 'second token']) expect(isKnown(named(key))).toBe(true);
  });

  it('counts endings by session, whatever number of names they have, and forgets the oldest beyond its limit', async () => {
    for (const id of ['1', '2', '3', '4']) await ledger.end(ending([id, `token of ${id}`, `another of ${id}`]));
    expect(['1', '2', '3', '4'].map((id) => isKnown(named(id)))).toEqual([false, true, true, true]);
    expect(isKnown(named(undefined, ['token of 1', 'another of 1']))).toBe(false);
  });

  it('forgets the oldest ending of a user beyond the limit of one, and of nobody else', async () => {
    await ledger.end(ending(['the victim'], { userKey: 'victim' }));
    for (const id of ['1', '2', '3', '4', '5']) await ledger.end(ending([id], { userKey: 'thief' }));
    expect(['the victim', '1', '2', '3', '4', '5'].map((id) => isKnown(named(id)))).toEqual([
      true,
      false,
      false,
      false,
      true,
      true,
    ]);
  });

  it('says whether a sign-in took the place of a session, until it is signed out', async () => {
    await ledger.end(ending(['one'], { isReplaced: true }));
    expect(ledger.endingOf(named('one'))?.isReplaced).toBe(true);
    await ledger.end(ending(['one']));
    expect(ledger.endingOf(named('one'))?.isReplaced).toBe(false);
  });

  it('shares nothing with another ledger', async () => {
    await memoryLedger({ maxSessions: 3, maxPerUser: 3 }).end(ending(['one']));
    await ledger.learn([named('one')]);
    expect(isKnown(named('one'))).toBe(false);
  });
});
