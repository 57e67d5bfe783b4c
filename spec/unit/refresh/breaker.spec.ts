import { randomUUID } from 'node:crypto';

import { beforeEach, describe, expect, it, jest } from '@jest/globals';

import { askFairly } from '../../../lib/refresh/ask-fairly.js';
import type { JudgedAnswer, Unavailable } from '../../../lib/refresh/outcome.js';
import type { Asker } from '../../../lib/refresh/session-failures.js';
import { useClock } from '../../support/clock.js';

const clock = useClock();
let providerId: string;
beforeEach(() => {
  providerId = randomUUID();
});

const away = (reason: Unavailable['reason'] = 'server_error'): Unavailable => ({
  kind: 'unavailable',
  reason,
  fault: 'provider',
});
const limited = (retryAfterSeconds: number): Unavailable => ({
  kind: 'unavailable',
  reason: 'rate_limit_exceeded',
  fault: 'limit',
  status: 429,
  retryAfterSeconds,
});
const refusedClient: Unavailable = { kind: 'unavailable', reason: 'provider_misconfigured', fault: 'operator' };
const ended: JudgedAnswer = { kind: 'terminal', reason: 'invalid_grant' };
const tokens: JudgedAnswer = { kind: 'tokens', tokens: { accessToken: 'the new one' } };

/** A session that nobody has seen, of a user of its own. */
const visitor = (changes: Partial<Asker> = {}): Asker => ({
  providerId,
  sessionKey: randomUUID(),
  userKey: randomUUID(),
  isSwitch: false,
  ...changes,
});

/** Whether the provider is asked, and what the session gets. */
async function attempt(asker: Asker, answer: JudgedAnswer = away()) {
  const ask = jest.fn(() => Promise.resolve(answer));
  const result = await askFairly(asker, ask);
  return { asked: ask.mock.calls.length > 0, result };
}
const isAsked = async (asker: Asker, answer?: JudgedAnswer) => (await attempt(asker, answer)).asked;

/** A request that runs until `finish` gives it an answer. */
function held(asker: Asker) {
  let answer: (result: JudgedAnswer) => void = () => undefined;
  const asking = askFairly(asker, () => new Promise((resolve) => (answer = resolve)));
  return {
    finish: (result: JudgedAnswer) => {
      answer(result);
      return asking;
    },
  };
}

/** Fails for three users, who are returned. */
async function openBreaker(answer = away()): Promise<Asker[]> {
  const users = [visitor(), visitor(), visitor()];
  for (const user of users) await attempt(user, answer);
  return users;
}

describe('an outage', () => {
  it.each(['timeout', 'network_error', 'server_error'] as const)(
    'is assumed once the refreshes of three users have failed with %s',
    async (reason) => {
      for (const user of [visitor(), visitor()]) await attempt(user, away(reason));
      expect(await isAsked(visitor(), away(reason))).toBe(true);
      expect(await attempt(visitor(), tokens)).toEqual({
        asked: false,
        result: { kind: 'unavailable', reason, retryAfterSeconds: 1 },
      });
    },
  );

  it('is not assumed after any number of failures of one user, in one session or in five', async () => {
    const userKey = randomUUID();
    const one = visitor({ userKey });
    for (let count = 0; count < 20; count += 1) {
      clock.advance(1);
      await attempt(one);
      if (count % 4 === 0) await attempt(visitor({ userKey }));
    }
    expect(await isAsked(visitor(), tokens)).toBe(true);
  });

  it.each<[string, JudgedAnswer]>([
    ['new tokens', tokens],
    ['an ended session', ended],
    ['a refused client', refusedClient],
  ])('is not assumed where %s comes between the failures', async (_, answer) => {
    for (let count = 0; count < 4; count += 1) {
      for (const user of [visitor(), visitor()]) await attempt(user);
      expect(await isAsked(visitor(), answer)).toBe(true);
    }
  });

  it('is not assumed by failures to switch to an organization, nor ended by a success', async () => {
    for (let count = 0; count < 5; count += 1) await attempt(visitor({ isSwitch: true }));
    expect(await isAsked(visitor(), ended)).toBe(true);
    await openBreaker();
    clock.advance(60);
    expect(await isAsked(visitor({ isSwitch: true }), tokens)).toBe(false);
    expect(await isAsked(visitor())).toBe(true);
  });

  it('is not assumed for another provider', async () => {
    await openBreaker();
    expect(await isAsked(visitor({ providerId: randomUUID() }))).toBe(true);
  });

  it('pauses for one second after 50 failures at once', async () => {
    const storm = Array.from({ length: 50 }, () => held(visitor()));
    for (const { finish } of storm) await finish(away());
    expect(await attempt(visitor())).toMatchObject({ asked: false, result: { retryAfterSeconds: 1 } });
    clock.advance(1);
    expect(await isAsked(visitor())).toBe(true);
    expect(await attempt(visitor())).toMatchObject({ asked: false, result: { retryAfterSeconds: 2 } });
  });
});

describe('an attempt during an outage', () => {
  it('is made after 1, 2, 4 and 8 seconds, then every 15 seconds, by a session that has not failed', async () => {
    await openBreaker();
    for (const seconds of [1, 2, 4, 8, 15, 15]) {
      const { asked, result } = await attempt(visitor());
      expect([asked, result]).toEqual([false, expect.objectContaining({ retryAfterSeconds: seconds })]);
      clock.advance(seconds - 0.5);
      expect(await isAsked(visitor())).toBe(false);
      clock.advance(0.5);
      expect(await isAsked(visitor())).toBe(true);
    }
  });

  it('is one at a time; the others are answered at once', async () => {
    const late = held(visitor());
    await openBreaker();
    clock.advance(1);
    const probe = held(visitor());
    expect(await isAsked(visitor())).toBe(false);
    // It was sent before the outage was known, so it permits no further attempt.
    await late.finish(away());
    expect(await isAsked(visitor())).toBe(false);
    expect(await probe.finish(tokens)).toEqual(tokens);
    expect(await isAsked(visitor())).toBe(true);
  });

  it('by a session that has failed keeps no other from trying, however often it is made', async () => {
    const bad = await openBreaker();
    for (let second = 0; second < 90; second += 1) {
      clock.advance(1);
      for (const each of bad) await attempt(each);
    }
    expect(await isAsked(visitor(), tokens)).toBe(true);
  });

  it('is left to each session in turn where all have failed', async () => {
    const failed = await openBreaker();
    const [poller, second, third] = failed as [Asker, Asker, Asker];
    const turns: string[] = [];
    for (let time = 0; time < 600; time += 1) {
      clock.advance(1);
      // The first comes most often, and is always ahead of the others.
      if (await isAsked(poller)) turns.push('poller');
      if (time % 7 === 0 && (await isAsked(second))) turns.push('second');
      if (time % 11 === 0 && (await isAsked(third))) turns.push('third');
    }
    const counts = ['poller', 'second', 'third'].map((name) => turns.filter((turn) => turn === name).length);
    expect(Math.min(...counts)).toBeGreaterThanOrEqual(5);
    // Until a success: the outage ends with whoever has a turn then.
    clock.advance(120);
    expect(await isAsked(second, tokens)).toBe(true);
    expect(await isAsked(visitor())).toBe(true);
  });

  it('is left to a session that comes seldom, beside eight that ask every second', async () => {
    const [rare, ...pollers] = (await openBreaker()) as [Asker, ...Asker[]];
    while (pollers.length < 8) {
      const poller = visitor();
      clock.advance(1);
      if (await isAsked(poller)) pollers.push(poller);
    }
    let turns = 0;
    for (let time = 0; time < 900; time += 1) {
      clock.advance(1);
      for (const poller of pollers) await attempt(poller);
      if (time % 7 === 0 && (await isAsked(rare))) turns += 1;
    }
    // Every fifteen seconds one of nine has a turn.
    expect(turns).toBeGreaterThanOrEqual(3);
  });

  it('that succeeds lifts the pauses of the sessions that had failed in it', async () => {
    const failed = await openBreaker();
    for (let round = 0; round < 12; round += 1) {
      clock.advance(61);
      for (const each of failed) await attempt(each);
    }
    clock.advance(16);
    expect(await isAsked(visitor(), tokens)).toBe(true);
    for (const each of failed) expect(await isAsked(each, tokens)).toBe(true);
  });
});

describe('a limit', () => {
  it('of three users within ten seconds pauses the provider for all, for as long as it asks', async () => {
    for (const user of [visitor(), visitor()]) await attempt(user, limited(7));
    expect(await isAsked(visitor(), limited(30))).toBe(true);
    expect(await attempt(visitor(), tokens)).toEqual({
      asked: false,
      result: { kind: 'unavailable', reason: 'rate_limit_exceeded', retryAfterSeconds: 30 },
    });
    clock.advance(29);
    expect(await isAsked(visitor(), tokens)).toBe(false);
    clock.advance(1);
    expect(await isAsked(visitor(), tokens)).toBe(true);
  });

  it('that asks for an hour pauses the provider for a minute', async () => {
    await openBreaker(limited(3600));
    clock.advance(59);
    expect(await isAsked(visitor(), tokens)).toBe(false);
    clock.advance(1);
    expect(await isAsked(visitor(), tokens)).toBe(true);
  });

  it('is also a 503 with Retry-After, and the reason stays that of the 503', async () => {
    await openBreaker({ ...away(), status: 503, retryAfterSeconds: 20 });
    expect(await attempt(visitor())).toMatchObject({ result: { reason: 'server_error', retryAfterSeconds: 20 } });
    clock.advance(19);
    expect(await isAsked(visitor(), tokens)).toBe(false);
    clock.advance(1);
    expect(await isAsked(visitor(), tokens)).toBe(true);
  });

  it.each<[string, (users: Asker[]) => Promise<void>]>([
    [
      'one user, five times',
      async ([user]) => {
        for (let count = 0; count < 5; count += 1) await attempt(visitor({ userKey: user!.userKey }), limited(30));
      },
    ],
    [
      'three users in half a minute',
      async (users) => {
        for (const user of users) {
          await attempt(user, limited(30));
          clock.advance(11);
        }
      },
    ],
  ])('of %s pauses nobody else', async (_, meet) => {
    await meet([visitor(), visitor(), visitor()]);
    expect(await isAsked(visitor(), tokens)).toBe(true);
  });
});
