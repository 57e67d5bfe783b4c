import { setTimeout } from 'node:timers/promises';

import { afterEach } from '@jest/globals';

let testsOver = 0;
afterEach(() => {
  testsOver += 1;
});

/** Waits for what another process does, of which nobody tells, for as long as the test lasts. */
export async function eventually(holds: () => Promise<boolean>): Promise<void> {
  const before = testsOver;
  while (!(await holds())) {
    await setTimeout(50);
    if (testsOver > before) throw new Error('This has not come about while the test lasted.');
  }
}
