import { LRUCache } from 'lru-cache';

import { monotonicMs } from '../monotonic.js';

/**
 * Counts what may be done so many times within a while.
 *
 * @returns takes one turn and answers 0; or answers how many milliseconds to wait, and takes none
 */
export function createAllowance({
  times,
  windowMs,
}: {
  readonly times: number;
  readonly windowMs: number;
}): (key: string) => number {
  // The last times of each. The least recently used are forgotten first: they begin anew.
  const turns = new LRUCache<string, number[]>({ max: 10_000 });

  return (key) => {
    const nowMs = monotonicMs();
    const recent = (turns.get(key) ?? []).filter((atMs) => nowMs - atMs < windowMs);
    const [oldest = nowMs] = recent;
    if (recent.length >= times) return oldest + windowMs - nowMs;
    turns.set(key, [...recent, nowMs]);
    return 0;
  };
}
