import { processWide } from '../process-wide.js';

/** The time, as a test sets it. */
export interface TestClock {
  /**
   * Moves the time on: `Date.now()`, and `performance.now()` by which pauses go. Timers run as before, and `new Date()`
   * keeps the real time.
   *
   * @param seconds how far; less than 0 moves `Date.now()` back
   * @example
   * test.clock.advance(301); // past the expiry of the access token
   */
  advance(seconds: number): void;
}

interface Moved {
  readonly realNow: () => number;
  readonly realMonotonic: () => number;
  readonly now: () => number;
  readonly monotonic: () => number;
}

// The time is the process's: two tests that move it move the same one.
const state = processWide('test clock', () => ({
  moved: undefined as Moved | undefined,
  offsetMs: 0,
  monotonicOffsetMs: 0,
}));

export const testClock: TestClock = {
  advance: (seconds) => {
    state.moved ??= takeOver();
    state.offsetMs += seconds * 1000;
    state.monotonicOffsetMs += Math.max(seconds, 0) * 1000;
  },
};

function takeOver(): Moved {
  const realNow = Date.now;
  const realMonotonic = performance.now.bind(performance);
  const now = () => realNow() + state.offsetMs;
  const monotonic = () => realMonotonic() + state.monotonicOffsetMs;
  Date.now = now;
  performance.now = monotonic;
  return { realNow, realMonotonic, now, monotonic };
}

/** Back to the real time, unless somebody else has replaced it since. */
export function restoreClock(): void {
  const { moved } = state;
  if (!moved) return;
  if (Date.now === moved.now) Date.now = moved.realNow;
  if (performance.now === moved.monotonic) performance.now = moved.realMonotonic;
  Object.assign(state, { moved: undefined, offsetMs: 0, monotonicOffsetMs: 0 });
}
