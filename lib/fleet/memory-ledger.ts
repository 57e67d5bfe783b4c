import { LRUCache } from 'lru-cache';

import { endingMs, type Ledger } from './ledger.js';

/** The sign-outs of one process. Beyond `maxEntries` keys, the oldest are forgotten first. */
export function memoryLedger({ maxEntries }: { readonly maxEntries: number }): Ledger {
  const endedUntilMs = new LRUCache<string, number>({ max: maxEntries });
  return Object.freeze({
    end: (keys) => {
      for (const key of keys) endedUntilMs.set(key, Date.now() + endingMs);
      return Promise.resolve();
    },
    hasEnded: (keys) => keys.some((key) => (endedUntilMs.get(key) ?? 0) > Date.now()),
    isShared: false,
    isEmpty: () => endedUntilMs.size === 0,
    learn: () => Promise.resolve(),
  } satisfies Ledger);
}
