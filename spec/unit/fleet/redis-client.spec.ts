import { beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { RedisClient } from 'express-sealed-session/redis';

import { commandOf } from '../../../lib/fleet/redis-client.js';

describe('commandOf', () => {
  const call = jest.fn<(...args: unknown[]) => Promise<unknown>>(() => Promise.resolve('a value'));
  beforeEach(() => {
    call.mockClear();
  });

  it.each<[string, object, unknown[]]>([
    ['node-redis', { sendCommand: call }, [['GET', 'key']]],
    ['a cluster of node-redis', { slots: [], sendCommand: call }, ['key', false, ['GET', 'key']]],
    ['a sentinel of node-redis', { getMasterNode: () => 1, sendCommand: call }, [false, ['GET', 'key']]],
    ['node-redis with another `call`', { call: 'GET', sendCommand: call }, [['GET', 'key']]],
    ['ioredis', { call, sendCommand: () => 'something else' }, ['GET', 'key']],
    ['a cluster of ioredis', { slots: [], call, sendCommand: () => 'something else' }, ['GET', 'key']],
  ])('sends a command as %s expects it', async (_, client, sent) => {
    expect(await commandOf(client as RedisClient)('key', ['GET', 'key'])).toBe('a value');
    expect(call.mock.calls).toEqual([sent]);
  });
});
