import { maxEntries } from './fleet.js';
import { endingMs, type Ledger } from './ledger.js';
import { memoryLedger } from './memory-ledger.js';
import type { TimedCommands } from './timed-commands.js';

/** The sign-outs of a fleet: each process remembers its own and those that it has learnt from Redis. */
export function redisLedger({ send }: Pick<TimedCommands, 'send'>, prefix: string): Ledger {
  const local = memoryLedger({ maxEntries });
  const redisKey = (key: string) => `${prefix}{${key}}:ended`;

  async function publish(key: string): Promise<void> {
    try {
      await send(redisKey(key), ['SET', redisKey(key), '1', 'PX', String(endingMs)]);
    } catch {
      // The visitor is signed out of this process even when the fleet cannot be told.
    }
  }

  async function ask(key: string): Promise<void> {
    try {
      if ((await send(redisKey(key), ['GET', redisKey(key)])) !== null) await local.end([key]);
    } catch {
      // Redis cannot be asked. Each process goes by what it knows.
    }
  }

  return Object.freeze({
    ...local,
    isShared: true,
    end: async (keys) => {
      await local.end(keys);
      await Promise.all(keys.map(publish));
    },
    learn: async (keys) => {
      const unknown = [...new Set(keys)].filter((key) => !local.hasEnded([key]));
      await Promise.all(unknown.map(ask));
    },
  } satisfies Ledger);
}
