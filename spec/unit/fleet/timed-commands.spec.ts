import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';

import type { Command } from '../../../lib/fleet/redis-client.js';
import { RedisAway, timedCommands, type TimedCommands } from '../../../lib/fleet/timed-commands.js';

describe('timedCommands', () => {
  const timeoutMs = 200;
  let answers: ((reply: unknown) => void)[];
  let refusals: ((error: Error) => void)[];
  let changes: boolean[];
  let timed: TimedCommands;
  const command: Command = () =>
    new Promise((resolve, reject) => {
      answers.push(resolve);
      refusals.push(reject);
    });
  function start(each: Command): void {
    timed = timedCommands(each, timeoutMs);
    timed.onChange((reachable) => changes.push(reachable));
  }
  beforeEach(() => {
    jest.useFakeTimers();
    [answers, refusals, changes] = [[], [], []];
    start(command);
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  const get = (tooLate?: () => void) => {
    const sent = timed.send('key', ['GET', 'key'], tooLate);
    // Each test awaits it in its own time.
    sent.catch(() => undefined);
    return sent;
  };
  const pass = (ms: number) => jest.advanceTimersByTimeAsync(ms);
  async function lose(): Promise<void> {
    const lost = get();
    refusals.at(-1)!(new Error('closed'));
    await expect(lost).rejects.toBeInstanceOf(RedisAway);
  }

  it('sends many commands at once while Redis answers in time', async () => {
    const both = [get(), get()];
    await pass(timeoutMs - 1);
    answers[1]!('second');
    answers[0]!(null);
    expect(await Promise.all(both)).toEqual([null, 'second']);
    expect([changes, jest.getTimerCount()]).toEqual([[], 0]);
  });

  it('gives up an unanswered command, reports it once, and calls `tooLate` for a late success', async () => {
    const tooLate = jest.fn();
    const lost = [get(tooLate), get(), get()];
    await pass(timeoutMs - 1);
    expect(changes).toEqual([]);
    await pass(1);
    for (const each of lost) await expect(each).rejects.toBeInstanceOf(RedisAway);
    expect([changes, timed.losses(), tooLate.mock.calls]).toEqual([[false], 1, []]);
    answers[0]!('OK');
    answers[1]!('OK');
    refusals[2]!(new Error('closed'));
    await pass(0);
    expect(tooLate).toHaveBeenCalledTimes(1);
    expect(jest.getTimerCount()).toBe(0);
  });

  it.each<[string, Command]>([
    ['Redis refuses', () => Promise.reject(new Error('SET key value'))],
    [
      'the client throws at',
      () => {
        throw new Error('SET key value');
      },
    ],
  ])('rejects a command that %s without repeating it in the error', async (_, failing) => {
    start(failing);
    const error = await get().catch((thrown: unknown) => thrown as Error);
    expect(error).toBeInstanceOf(RedisAway);
    const { name, message, cause } = error as Error;
    expect([name, message, cause]).toEqual(['RedisAway', '', undefined]);
    expect(changes).toEqual([false]);
  });

  it('sends nothing for a second after a failure, then one command at a time', async () => {
    await lose();
    await pass(999);
    await expect(get()).rejects.toBeInstanceOf(RedisAway);
    expect(answers).toHaveLength(1);
    await pass(1);
    const one = get();
    await expect(get()).rejects.toBeInstanceOf(RedisAway);
    expect(answers).toHaveLength(2);

    answers[1]!('PONG');
    expect(await one).toBe('PONG');
    expect(changes).toEqual([false, true]);
    const next = get();
    answers[2]!('a value');
    expect(await next).toBe('a value');
    expect(changes).toEqual([false, true]);
    await lose();
    expect([changes, timed.losses()]).toEqual([[false, true, false], 2]);
  });

  it('pauses for another second when Redis still fails, and reports nothing again', async () => {
    await lose();
    await pass(1_000);
    const one = get();
    await pass(timeoutMs);
    await expect(one).rejects.toBeInstanceOf(RedisAway);
    await pass(999);
    await expect(get()).rejects.toBeInstanceOf(RedisAway);
    expect(answers).toHaveLength(2);
    await pass(1);
    void get();
    expect(answers).toHaveLength(3);
    expect(changes).toEqual([false]);
  });
});
