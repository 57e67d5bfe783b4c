import type { Ending, Ledger, SessionNames } from './ledger.js';

export interface LedgerLimits {
  /** The most endings that are remembered. The oldest are forgotten first. */
  readonly maxSessions: number;
  /** The most of one user. Signing in and out in a loop then pushes out nobody else's ending. */
  readonly maxPerUser: number;
}

/** The ledger of one process, which tells what it has made of an ending. */
export interface MemoryLedger extends Ledger {
  /** Remembers an ending, and returns it with what was known before. */
  readonly remember: (ending: Ending) => Ending;
}

/** The endings of one process. */
export function memoryLedger({ maxSessions, maxPerUser }: LedgerLimits): MemoryLedger {
  // Sets keep their order: the oldest ending comes first.
  const endings = new Set<Ending>();
  const byKey = new Map<string, Ending>();
  const byUser = new Map<string, Set<Ending>>();

  function remember(ending: Ending): Ending {
    const known = new Set(ending.keys.flatMap((key) => byKey.get(key) ?? []));
    for (const each of known) forget(each);
    const whole = [...known].reduce(merge, ending);
    endings.add(whole);
    for (const key of whole.keys) byKey.set(key, whole);
    if (whole.userKey !== undefined) {
      const ofUser = byUser.get(whole.userKey) ?? new Set();
      byUser.set(whole.userKey, ofUser.add(whole));
      if (ofUser.size > maxPerUser) forgetFirst(ofUser);
    }
    if (endings.size > maxSessions) forgetFirst(endings);
    return whole;
  }

  function forgetFirst(all: ReadonlySet<Ending>): void {
    for (const oldest of all) {
      forget(oldest);
      return;
    }
  }

  function forget(ending: Ending): void {
    endings.delete(ending);
    for (const key of ending.keys) byKey.delete(key);
    if (ending.userKey === undefined) return;
    const ofUser = byUser.get(ending.userKey);
    ofUser?.delete(ending);
    if (ofUser?.size === 0) byUser.delete(ending.userKey);
  }

  /** What is remembered under a key, unless its time is over. */
  function current(key: string): Ending | undefined {
    const found = byKey.get(key);
    if (!found || found.untilMs > Date.now()) return found;
    forget(found);
    return undefined;
  }

  function endingOf({ own, shared, startedMs }: SessionNames): Ending | undefined {
    const itself = own === undefined ? undefined : current(own);
    if (itself) return itself;
    for (const key of shared) {
      const found = current(key);
      if (found && found.atMs >= startedMs) return found;
    }
    return undefined;
  }

  return Object.freeze({
    remember,
    end: (ending) => {
      remember(ending);
      return Promise.resolve();
    },
    endingOf,
    isShared: false,
    isEmpty: () => endings.size === 0,
    learn: () => Promise.resolve(),
  } satisfies MemoryLedger);
}

function merge(one: Ending, other: Ending): Ending {
  return {
    keys: [...new Set([...other.keys, ...one.keys])],
    atMs: Math.max(one.atMs, other.atMs),
    untilMs: Math.max(one.untilMs, other.untilMs),
    userKey: one.userKey ?? other.userKey,
    // A sign-out after all: then nothing is spared.
    isReplaced: one.isReplaced === true && other.isReplaced === true,
  };
}
