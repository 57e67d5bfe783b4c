import { afterEach, beforeEach, jest } from '@jest/globals';

export interface Clock {
  /** Moves the time on (or back, by less than nothing), at once. The monotonic time never goes back. */
  advance: (seconds: number) => void;
  /** Back to the real time. */
  reset: () => void;
}

/**
 * Moves `Date.now()`, and with it every fake server in this process, for the tests of the file or block that calls it.
 * `performance.now()`, by which pauses go, moves forward with it and never back. Timers run on, and `new Date()` keeps
 * the real time.
 */
export function useClock(): Clock {
  const realNow = Date.now;
  const realMonotonic = performance.now.bind(performance);
  let offset = 0;
  let monotonicOffset = 0;
  let moved: { mockRestore: () => void }[] = [];
  const reset = (): void => {
    offset = 0;
  };

  beforeEach(() => {
    reset();
    moved = [
      jest.spyOn(Date, 'now').mockImplementation(() => realNow() + offset),
      jest.spyOn(performance, 'now').mockImplementation(() => realMonotonic() + monotonicOffset),
    ];
  });

  afterEach(() => {
    for (const clock of moved) clock.mockRestore();
  });

  return {
    advance: (seconds) => {
      offset += seconds * 1000;
      monotonicOffset += Math.max(seconds, 0) * 1000;
    },
    reset,
  };
}
