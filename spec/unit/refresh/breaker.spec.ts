import { randomUUID } from 'node:crypto';

import { beforeEach, describe, expect, it, jest } from '@jest/globals';

import { withBreaker } from '../../../lib/refresh/breaker.js';
import type { JudgedAnswer, Unavailable } from '../../../lib/refresh/outcome.js';
import { useClock } from '../../support/clock.js';

const clock = useClock();
let provider: string;
beforeEach(() => {
  provider = randomUUID();
});

const away = (reason: Unavailable['reason'] = 'server_error'): JudgedAnswer => ({ kind: 'unavailable', reason });
const refused: JudgedAnswer = { kind: 'terminal', reason: 'invalid_grant' };

/** Whether the provider is asked, and what the caller gets. */
async function attempt(answer: JudgedAnswer): Promise<{ asked: boolean; result: JudgedAnswer }> {
  const ask = jest.fn(() => Promise.resolve(answer));
  const result = await withBreaker(provider, ask);
  return { asked: ask.mock.calls.length > 0, result };
}

async function fail(times: number, answer = away()): Promise<void> {
  for (let count = 0; count < times; count += 1) await attempt(answer);
}

/** A request that runs until `finish` gives it an answer. */
function held() {
  let answer: (result: JudgedAnswer) => void = () => undefined;
  const asked = withBreaker(provider, () => new Promise((resolve) => (answer = resolve)));
  const finish = (result: JudgedAnswer) => {
    answer(result);
    return asked;
  };
  return { finish };
}

describe('withBreaker', () => {
  it.each(['timeout', 'network_error', 'server_error'] as const)(
    'asks no more after five failures in a row with %s',
    async (reason) => {
      await fail(4, away(reason));
      expect((await attempt(away(reason))).asked).toBe(true);
      expect(await attempt(refused)).toEqual({
        asked: false,
        result: { kind: 'unavailable', reason, retryAfterSeconds: 1 },
      });
    },
  );

  it.each<JudgedAnswer>([refused, away('rate_limit_exceeded'), away('provider_misconfigured')])(
    'asks again after each answer that is no outage: %j',
    async (answer) => {
      await fail(10, answer);
      expect((await attempt(answer)).asked).toBe(true);
      // The count begins anew.
      await fail(4);
      await fail(1, answer);
      await fail(4);
      expect((await attempt(away())).asked).toBe(true);
    },
  );

  it('tries again after 1, 2, 4 and 8 seconds, then every 15 seconds', async () => {
    await fail(5);
    for (const seconds of [1, 2, 4, 8, 15, 15]) {
      const { asked, result } = await attempt(refused);
      expect([asked, result]).toEqual([false, expect.objectContaining({ retryAfterSeconds: seconds })]);
      clock.advance(seconds - 0.5);
      expect((await attempt(refused)).asked).toBe(false);
      clock.advance(0.5);
      expect((await attempt(away())).asked).toBe(true);
    }
    clock.advance(15);
    await attempt(refused);
    expect((await attempt(refused)).asked).toBe(true);
  });

  it('lets one request at a time try', async () => {
    const late = held();
    await fail(5);
    clock.advance(1);
    const probe = held();
    expect((await attempt(refused)).asked).toBe(false);
    // It was sent before the outage was known, so it permits no further attempt.
    await late.finish(away());
    expect((await attempt(refused)).asked).toBe(false);
    expect(await probe.finish(refused)).toEqual(refused);
    expect((await attempt(refused)).asked).toBe(true);
  });

  it('asks for all requests at once until the fifth failure', async () => {
    await fail(4);
    const asks = Array.from({ length: 3 }, () => attempt(away()));
    expect((await Promise.all(asks)).map(({ asked }) => asked)).toEqual([true, true, true]);
    expect((await attempt(refused)).asked).toBe(false);
  });

  it('pauses for one second after 50 failures at once', async () => {
    const storm = Array.from({ length: 50 }, held);
    for (const { finish } of storm) await finish(away());
    expect(await attempt(refused)).toMatchObject({ asked: false, result: { retryAfterSeconds: 1 } });
    clock.advance(1);
    expect((await attempt(away())).asked).toBe(true);
    expect(await attempt(refused)).toMatchObject({ asked: false, result: { retryAfterSeconds: 2 } });
  });

  it('counts the failures of each provider separately', async () => {
    await fail(5);
    provider = randomUUID();
    expect((await attempt(refused)).asked).toBe(true);
  });
});
