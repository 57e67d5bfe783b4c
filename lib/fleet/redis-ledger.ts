import { ledgerLimits } from './fleet.js';
import { type Ending, type Ledger, unknownKeys } from './ledger.js';
import { memoryLedger } from './memory-ledger.js';
import type { TimedCommands } from './timed-commands.js';

// How often a process that has an ending to tell tries again while Redis is away.
const tellAgainMs = 500;

/**
 * The sign-outs of a fleet: each process remembers its own and those that it has learnt from Redis. What Redis did not take
 * is told again until it does: a sign-out beside a hiccup would otherwise hold in one process only.
 */
export function redisLedger({ send }: Pick<TimedCommands, 'send'>, prefix: string): Ledger {
  const local = memoryLedger(ledgerLimits);
  const untold = new Map<string, Ending>();
  let telling: NodeJS.Timeout | undefined;
  const redisKey = (key: string) => `${prefix}{${key}}:ended`;

  /** @returns whether Redis has it */
  async function tell(key: string, ending: Ending): Promise<boolean> {
    const ms = Math.ceil(ending.untilMs - Date.now());
    if (ms <= 0) return true;
    try {
      await send(redisKey(key), ['SET', redisKey(key), written(ending), 'PX', String(ms)]);
      return true;
    } catch {
      return false;
    }
  }

  async function publish(ending: Ending): Promise<void> {
    await Promise.all(
      ending.keys.map(async (key) => {
        untold.set(key, ending);
        if ((await tell(key, ending)) && untold.get(key) === ending) untold.delete(key);
      }),
    );
    // The oldest are given up first, as they are in memory.
    for (const key of untold.keys()) {
      if (untold.size <= ledgerLimits.maxSessions) break;
      untold.delete(key);
    }
    if (untold.size > 0) tellLater();
  }

  function tellLater(): void {
    telling ??= setTimeout(() => {
      telling = undefined;
      void tellAgain();
    }, tellAgainMs);
    telling.unref();
  }

  async function tellAgain(): Promise<void> {
    for (const [key, ending] of untold) {
      // Redis is away for the others too.
      if (!(await tell(key, ending))) break;
      if (untold.get(key) === ending) untold.delete(key);
    }
    if (untold.size > 0) tellLater();
  }

  async function ask(key: string): Promise<void> {
    try {
      const found = read(key, await send(redisKey(key), ['GET', redisKey(key)]));
      if (found) local.remember(found);
    } catch {
      // Redis cannot be asked. Each process goes by what it knows.
    }
  }

  return Object.freeze({
    ...local,
    isShared: true,
    end: (ending) => publish(local.remember(ending)),
    learn: async (sessions) => {
      await Promise.all(unknownKeys(local, sessions).map(ask));
    },
  } satisfies Ledger);
}

/** An ending as Redis stores it under each of its names. */
function written({ atMs, untilMs, isReplaced = false }: Ending): string {
  return `${Math.floor(atMs)} ${Math.floor(untilMs)}${isReplaced ? ' replaced' : ''}`;
}

// The farthest that an ending may reach: a value that somebody else wrote must not be believed for ever.
const farthestMs = 400 * 24 * 60 * 60_000;

/** What Redis says of a name. Whatever stands there, something has ended: what cannot be read counts from now on. */
function read(key: string, value: unknown): Ending | undefined {
  if (typeof value !== 'string') return undefined;
  const now = Date.now();
  const [, at, until, replaced] = /^(\d{1,16}) (\d{1,16})( replaced)?$/.exec(value) ?? [];
  return {
    keys: [key],
    atMs: at === undefined ? now : Number(at),
    untilMs: Math.min(until === undefined ? now + 60 * 60_000 : Number(until), now + farthestMs),
    isReplaced: replaced !== undefined,
  };
}
