import { setTimeout } from 'node:timers/promises';

/** Waits for what another process does, of which nobody tells. Its limit is the test's own. */
export async function eventually(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await setTimeout(50);
}
