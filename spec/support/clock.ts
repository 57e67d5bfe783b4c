import { afterEach, beforeEach, jest } from '@jest/globals';

export interface Clock {
  /** Moves the time on (or back, by less than nothing), at once. The monotonic time never goes back. */
  advance: (seconds: number) => void;
  /** Back to the real time. */
  reset: () => void;
}

/**
 * Moves `Date.now()`, and with it every fake server in this process, for the tests of the file or block that calls it.
 * Between two moves it stands still: a limit is met to the second, however slow the machine is. `performance.now()`, by
 * which pauses go, moves forward with it and never back. Timers run on, and `new Date()` keeps the real time.
 *
 * @param runs whether it goes on between two moves, for tests that wait for another process
 */
export function useClock({ runs = false } = {}): Clock {
  const realNow = Date.now;
  const realMonotonic = performance.now.bind(performance);
  let began = 0;
  let offset = 0;
  let monotonicOffset = 0;
  let moved: { mockRestore: () => void }[] = [];
  const reset = (): void => {
    offset = 0;
  };

  beforeEach(() => {
    reset();
    began = realNow();
    moved = [
      jest.spyOn(Date, 'now').mockImplementation(() => (runs ? realNow() : began) + offset),
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
