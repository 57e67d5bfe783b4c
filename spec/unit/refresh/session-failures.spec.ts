import { randomUUID } from 'node:crypto';

import { beforeEach, describe, expect, it, jest } from '@jest/globals';

import { askFairly } from '../../../lib/refresh/ask-fairly.js';
import type { JudgedAnswer, Unavailable } from '../../../lib/refresh/outcome.js';
import { type Asker, wasRefused } from '../../../lib/refresh/session-failures.js';
import { useClock } from '../../support/clock.js';

const clock = useClock();
let providerId: string;
beforeEach(() => {
  providerId = randomUUID();
});

const unavailable = (reason: Unavailable['reason'], fault: Unavailable['fault'], status?: number): Unavailable => ({
  kind: 'unavailable',
  reason,
  fault,
  status,
});
const away = unavailable('server_error', 'provider', 500);
const undecided = unavailable('provider_misconfigured', 'undecided', 400);
const operator = unavailable('provider_misconfigured', 'operator', 401);
const limit = unavailable('rate_limit_exceeded', 'limit', 429);
const ended: JudgedAnswer = { kind: 'terminal', reason: 'invalid_grant' };
const tokens: JudgedAnswer = { kind: 'tokens', tokens: { accessToken: 'the new one' } };
const refused = { kind: 'refused', reason: 'refresh_refused', status: 400 };

const visitor = (changes: Partial<Asker> = {}): Asker => ({
  providerId,
  sessionKey: randomUUID(),
  userKey: randomUUID(),
  isSwitch: false,
  ...changes,
});

async function attempt(asker: Asker, answer: JudgedAnswer) {
  const ask = jest.fn(() => Promise.resolve(answer));
  const result = await askFairly(asker, ask);
  return { asked: ask.mock.calls.length > 0, result };
}
const isAsked = async (asker: Asker, answer: JudgedAnswer) => (await attempt(asker, answer)).asked;

describe('the pause of a session that fails', () => {
  it.each<[string, Unavailable]>([
    ['an outage', away],
    ['an answer that leaves it open', undecided],
    ['a refused client', operator],
    ['a limit', limit],
    ['an answer that cannot be read', unavailable('provider_misconfigured', undefined)],
  ])('doubles from a second to a minute after %s', async (_, answer) => {
    const one = visitor();
    for (const seconds of [1, 2, 4, 8, 16, 32, 60, 60]) {
      expect(await isAsked(one, answer)).toBe(true);
      clock.advance(seconds - 0.5);
      expect(await isAsked(one, tokens)).toBe(false);
      clock.advance(0.5);
    }
  });

  it.each([
    [7, 7],
    [3600, 60],
    [0, 1],
  ])('is as long as Retry-After: %i asks, up to a minute: %i', async (retryAfterSeconds, seconds) => {
    const one = visitor();
    await attempt(one, { ...limit, retryAfterSeconds });
    expect(await attempt(one, tokens)).toMatchObject({ asked: false, result: { retryAfterSeconds: seconds } });
    clock.advance(seconds);
    expect(await isAsked(one, tokens)).toBe(true);
  });

  it('begins anew after a success', async () => {
    const one = visitor();
    for (const seconds of [1, 2, 4, 8]) {
      await attempt(one, away);
      clock.advance(seconds);
    }
    await attempt(one, tokens);
    await attempt(one, away);
    clock.advance(1);
    expect(await isAsked(one, tokens)).toBe(true);
  });

  it('is not shortened and not prolonged when the time of the machine is set', async () => {
    const one = visitor();
    await attempt(one, away);
    clock.advance(-3600);
    clock.advance(1);
    expect(await isAsked(one, tokens)).toBe(true);
  });

  it('is of this session only', async () => {
    const one = visitor();
    await attempt(one, away);
    expect(await isAsked(visitor({ userKey: one.userKey }), tokens)).toBe(true);
  });

  it('is neither made by a switch to an organization nor observed by it', async () => {
    const one = visitor();
    const switching = { ...one, isSwitch: true };
    for (const answer of [away, undecided, operator, ended]) await attempt(switching, answer);
    expect(await isAsked(one, undecided)).toBe(true);
    expect(await isAsked(switching, tokens)).toBe(true);
  });

  it('after a limit is for a switch too, whoever of the two met it', async () => {
    const one = visitor();
    await attempt({ ...one, isSwitch: true }, limit);
    expect([await isAsked(one, tokens), await isAsked({ ...one, isSwitch: true }, tokens)]).toEqual([false, false]);
  });
});

describe('an answer that leaves it open whose fault it is', () => {
  it('is the fault of the session once another user was refreshed since its first failure, also within its pause', async () => {
    const one = visitor();
    expect((await attempt(one, undecided)).result).toEqual(undecided);
    await attempt(visitor(), tokens);
    expect(await attempt(one, undecided)).toEqual({ asked: false, result: expect.objectContaining(refused) });
    clock.advance(1);
    expect(await attempt(one, undecided)).toMatchObject({ asked: true, result: refused });
  });

  it.each<[string, (one: Asker) => Promise<unknown>]>([
    ['nobody was refreshed', () => Promise.resolve()],
    ['another user was refreshed before', () => Promise.resolve()],
    ['its own user was refreshed', (one) => attempt(visitor({ userKey: one.userKey }), tokens)],
    ['another session was ended', () => attempt(visitor(), ended)],
    ['another user has switched to an organization', () => attempt(visitor({ isSwitch: true }), tokens)],
    ['another user of another provider was refreshed', () => attempt(visitor({ providerId: randomUUID() }), tokens)],
  ])('is undecided while %s, until the third try', async (which, meanwhile) => {
    const one = visitor();
    if (which.endsWith('before')) await attempt(visitor(), tokens);
    await attempt(one, undecided);
    await meanwhile(one);
    clock.advance(1);
    expect((await attempt(one, undecided)).result).toMatchObject({ kind: 'unavailable' });
    clock.advance(2);
    expect((await attempt(one, undecided)).result).toMatchObject(refused);
  });

  it('is the fault of the session also where its user is refreshed in another session', async () => {
    const one = visitor();
    await attempt(one, undecided);
    await attempt(visitor(), tokens);
    await attempt(visitor({ userKey: one.userKey }), tokens);
    expect((await attempt(one, undecided)).result).toMatchObject(refused);
  });

  it.each<[string, Unavailable]>([
    ['a refused client', operator],
    ['an outage', away],
    ['a limit', limit],
  ])('is never the fault of the session after %s, however often and whoever else is refreshed', async (_, answer) => {
    const one = visitor();
    for (let count = 0; count < 20; count += 1) {
      expect((await attempt(one, answer)).result).toMatchObject({ kind: 'unavailable', reason: answer.reason });
      await attempt(visitor(), tokens);
      clock.advance(60);
    }
  });

  it('is asked about again after the pause: where the guess was wrong, the session is in', async () => {
    const one = visitor();
    for (const seconds of [1, 2, 4]) {
      await attempt(one, undecided);
      clock.advance(seconds);
    }
    expect(await attempt(one, tokens)).toEqual({ asked: true, result: tokens });
  });
});

describe('what is reported', () => {
  it('is each failure once, until it changes', async () => {
    const one = visitor();
    const repeated: unknown[] = [];
    for (const answer of [away, away, undecided, undecided, undecided, undecided]) {
      const { result } = await attempt(one, answer);
      repeated.push('isRepeated' in result && result.isRepeated);
      clock.advance(60);
    }
    expect(repeated).toEqual([false, true, false, true, false, true]);
  });
});

describe('the old claims of a session', () => {
  it.each<[string, JudgedAnswer[], boolean]>([
    ['an outage', [away], false],
    ['a refusal', [undecided], true],
    ['a refusal and an outage', [operator, away], true],
    ['its end', [ended], true],
    ['a limit', [limit], true],
    ['a refusal and a success', [undecided, tokens], false],
  ])('are held back after %s: %j, %s', async (_, answers, expected) => {
    const one = visitor();
    for (const answer of answers) {
      await attempt(one, answer);
      clock.advance(60);
    }
    expect(wasRefused(one.sessionKey)).toBe(expected);
  });
});
