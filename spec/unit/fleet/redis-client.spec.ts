import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { RedisClient } from 'express-sealed-session/redis';

import { type Command, commandOf, RedisAway, type TimedCommand, withinTime } from '../../../lib/fleet/redis-client.js';

describe('a command', () => {
  const call = jest.fn<(...args: unknown[]) => Promise<unknown>>(() => Promise.resolve('a value'));
  beforeEach(() => {
    call.mockClear();
  });

  it.each<[string, object, unknown[]]>([
    ['node-redis', { sendCommand: call }, [['GET', 'key']]],
    ['a cluster of node-redis', { slots: [], sendCommand: call }, ['key', false, ['GET', 'key']]],
    ['a sentinel of node-redis', { getMasterNode: () => 1, sendCommand: call }, [false, ['GET', 'key']]],
    ['ioredis', { call, sendCommand: () => 'something else' }, ['GET', 'key']],
    ['a cluster of ioredis', { slots: [], call, sendCommand: () => 'something else' }, ['GET', 'key']],
  ])('is sent as %s sends one', async (_, client, sent) => {
    expect(await commandOf(client as RedisClient)('key', ['GET', 'key'])).toBe('a value');
    expect(call.mock.calls).toEqual([sent]);
  });
});

describe('Redis', () => {
  const timeoutMs = 200;
  let answers: ((reply: unknown) => void)[];
  let refusals: ((error: Error) => void)[];
  let scopes: string[];
  let send: TimedCommand;
  const command: Command = () =>
    new Promise((resolve, reject) => {
      answers.push(resolve);
      refusals.push(reject);
    });
  beforeEach(() => {
    jest.useFakeTimers();
    [answers, refusals, scopes] = [[], [], []];
    send = withinTime(command, timeoutMs, (scope) => scopes.push(scope));
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  const get = (tooLate?: () => void) => {
    const sent = send('key', ['GET', 'key'], tooLate);
    // Each is looked at in its own time.
    sent.catch(() => undefined);
    return sent;
  };
  const pass = (ms: number) => jest.advanceTimersByTimeAsync(ms);
  async function lose(): Promise<void> {
    const lost = get();
    refusals.at(-1)!(new Error('closed'));
    await expect(lost).rejects.toBeInstanceOf(RedisAway);
  }

  it('that answers in time is asked by everybody at once, and nothing is told', async () => {
    const both = [get(), get()];
    await pass(timeoutMs - 1);
    answers[1]!('second');
    answers[0]!(null);
    expect(await Promise.all(both)).toEqual([null, 'second']);
    expect([scopes, jest.getTimerCount()]).toEqual([[], 0]);
  });

  it('that does not answer in time is away, which is told once; what it says later is too late', async () => {
    const tooLate = jest.fn();
    const lost = [get(tooLate), get(), get()];
    await pass(timeoutMs - 1);
    expect(scopes).toEqual([]);
    await pass(1);
    for (const each of lost) await expect(each).rejects.toBeInstanceOf(RedisAway);
    expect([scopes, tooLate.mock.calls]).toEqual([['process'], []]);
    answers[0]!('OK');
    answers[1]!('OK');
    refusals[2]!(new Error('closed'));
    await pass(0);
    expect(tooLate).toHaveBeenCalledTimes(1);
    expect(jest.getTimerCount()).toBe(0);
  });

  it.each<[string, Command]>([
    ['refuses', () => Promise.reject(new Error('SET key value'))],
    [
      'cannot even be asked',
      () => {
        throw new Error('SET key value');
      },
    ],
  ])('that %s is away, and nothing is said of the command', async (_, failing) => {
    send = withinTime(failing, timeoutMs, (scope) => scopes.push(scope));
    const error = await get().catch((thrown: unknown) => thrown as Error);
    expect(error).toBeInstanceOf(RedisAway);
    const { name, message, cause } = error as Error;
    expect([name, message, cause]).toEqual(['RedisAway', '', undefined]);
    expect(scopes).toEqual(['process']);
  });

  it('is left alone for a second after that; then one asks, and the others go on without', async () => {
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
    expect(scopes).toEqual(['process', 'fleet']);
    const next = get();
    answers[2]!('a value');
    expect(await next).toBe('a value');
    expect(scopes).toEqual(['process', 'fleet']);
    await lose();
    expect(scopes).toEqual(['process', 'fleet', 'process']);
  });

  it('that is still away is left alone for another second, and nothing is told again', async () => {
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
    expect(scopes).toEqual(['process']);
  });
});
