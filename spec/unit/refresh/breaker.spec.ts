import { randomUUID } from 'node:crypto';

import { beforeEach, describe, expect, it, jest } from '@jest/globals';

import { withBreaker } from '../../../lib/refresh/breaker.js';
import type { Judgement, Transient } from '../../../lib/refresh/outcome.js';
import { useClock } from '../../support/clock.js';

const clock = useClock();
let provider: string;
beforeEach(() => {
  provider = randomUUID();
});

const away = (reason: Transient['reason'] = 'server_error'): Judgement => ({ kind: 'transient', reason });
const refused: Judgement = { kind: 'terminal', reason: 'invalid_grant' };

/** Whether the provider is asked, and what comes of it. */
async function attempt(answer: Judgement): Promise<{ asked: boolean; judgement: Judgement }> {
  const ask = jest.fn(() => Promise.resolve(answer));
  const judgement = await withBreaker(provider, ask);
  return { asked: ask.mock.calls.length > 0, judgement };
}

async function fail(times: number, answer = away()): Promise<void> {
  for (let count = 0; count < times; count += 1) await attempt(answer);
}

/** A question that is on its way until it is told the answer. */
function held() {
  let answer: (judgement: Judgement) => void = () => undefined;
  const judged = withBreaker(provider, () => new Promise((resolve) => (answer = resolve)));
  const finish = (judgement: Judgement) => {
    answer(judgement);
    return judged;
  };
  return { finish };
}

describe('a provider that fails', () => {
  it.each(['timeout', 'network_error', 'server_error'] as const)(
    'five times in a row with %s is left alone, and everybody is told so',
    async (reason) => {
      await fail(4, away(reason));
      expect((await attempt(away(reason))).asked).toBe(true);
      expect(await attempt(refused)).toEqual({
        asked: false,
        judgement: { kind: 'transient', reason, retryAfterSeconds: 1 },
      });
    },
  );

  it.each<Judgement>([refused, away('rate_limit_exceeded'), away('provider_misconfigured')])(
    'to do what is asked, but answers, is asked again: %j',
    async (answer) => {
      await fail(10, answer);
      expect((await attempt(answer)).asked).toBe(true);
      // It begins to count anew.
      await fail(4);
      await fail(1, answer);
      await fail(4);
      expect((await attempt(away())).asked).toBe(true);
    },
  );

  it('is asked after one second, then two, four, eight, and never less often than each fifteen', async () => {
    await fail(5);
    for (const seconds of [1, 2, 4, 8, 15, 15]) {
      const { asked, judgement } = await attempt(refused);
      expect([asked, judgement]).toEqual([false, expect.objectContaining({ retryAfterSeconds: seconds })]);
      clock.advance(seconds - 0.5);
      expect((await attempt(refused)).asked).toBe(false);
      clock.advance(0.5);
      expect((await attempt(away())).asked).toBe(true);
    }
    clock.advance(15);
    await attempt(refused);
    expect((await attempt(refused)).asked).toBe(true);
  });

  it('is asked by one request at a time while it may be back', async () => {
    const late = held();
    await fail(5);
    clock.advance(1);
    const probe = held();
    expect((await attempt(refused)).asked).toBe(false);
    // Of before, and so no reason for another to try.
    await late.finish(away());
    expect((await attempt(refused)).asked).toBe(false);
    expect(await probe.finish(refused)).toEqual(refused);
    expect((await attempt(refused)).asked).toBe(true);
  });

  it('is asked by as many as come at once, until it is known to be away', async () => {
    await fail(4);
    const asks = Array.from({ length: 3 }, () => attempt(away()));
    expect((await Promise.all(asks)).map(({ asked }) => asked)).toEqual([true, true, true]);
    expect((await attempt(refused)).asked).toBe(false);
  });

  it('to answer many who came at once is away no longer for their number', async () => {
    const storm = Array.from({ length: 50 }, held);
    for (const { finish } of storm) await finish(away());
    expect(await attempt(refused)).toMatchObject({ asked: false, judgement: { retryAfterSeconds: 1 } });
    clock.advance(1);
    expect((await attempt(away())).asked).toBe(true);
    expect(await attempt(refused)).toMatchObject({ asked: false, judgement: { retryAfterSeconds: 2 } });
  });

  it('is told from another', async () => {
    await fail(5);
    provider = randomUUID();
    expect((await attempt(refused)).asked).toBe(true);
  });
});
