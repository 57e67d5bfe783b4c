import { afterEach, beforeEach, jest } from '@jest/globals';

export interface Clock {
  /** Moves the time on (or back, by less than nothing), at once. */
  advance: (seconds: number) => void;
  /** Back to the real time. */
  reset: () => void;
}

/**
 * Moves `Date.now()`, and with it every fake server in this process, for the tests of the file or block that calls it.
 * Timers run on, and `new Date()` and `performance.now()` keep the real time.
 */
export function useClock(): Clock {
  const realNow = Date.now;
  let offset = 0;
  const reset = (): void => {
    offset = 0;
  };

  beforeEach(() => {
    reset();
    jest.spyOn(Date, 'now').mockImplementation(() => realNow() + offset);
  });

  afterEach(() => {
    jest.mocked(Date.now).mockRestore();
  });

  return {
    advance: (seconds) => {
      offset += seconds * 1000;
    },
    reset,
  };
}
