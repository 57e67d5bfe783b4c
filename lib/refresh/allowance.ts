import { LRUCache } from 'lru-cache';

import { monotonicMs } from '../monotonic.js';

const windowMs = 60_000;
const timesPerWindow = 10;

/**
 * Counts what one session may do ten times a minute.
 *
 * @returns takes one turn and answers 0; or answers how many milliseconds to wait, and takes none
 */
export function createAllowance(): (key: string) => number {
  // The last ten times of each. The least recently used are forgotten first: they begin anew.
  const times = new LRUCache<string, number[]>({ max: 10_000 });

  return (key) => {
    const nowMs = monotonicMs();
    const recent = (times.get(key) ?? []).filter((atMs) => nowMs - atMs < windowMs);
    const [oldest = nowMs] = recent;
    if (recent.length >= timesPerWindow) return oldest + windowMs - nowMs;
    times.set(key, [...recent, nowMs]);
    return 0;
  };
}
