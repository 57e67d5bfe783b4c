import { enter, leave, outageEndedAtMs } from './breaker.js';
import type { JudgedAnswer, Refused } from './outcome.js';
import { type Asker, hasFailed, noteOutcome, pausedOutcome, pauseLeftMs } from './session-failures.js';

/**
 * Asks the provider, unless this session is paused after a failure, or the provider is unavailable to all. So one bad
 * session harms no other, and an outage costs the others milliseconds instead of a time-out each.
 */
export async function askFairly(asker: Asker, ask: () => Promise<JudgedAnswer>): Promise<JudgedAnswer | Refused> {
  const paused = pausedOutcome(asker, outageEndedAtMs(asker.providerId));
  if (paused) return paused;
  const pass = enter(asker, hasFailed(asker));
  if ('kind' in pass) return pass;
  let outcome: JudgedAnswer | Refused | undefined;
  try {
    outcome = noteOutcome(asker, await ask());
    return outcome;
  } finally {
    leave(asker, pass, outcome, pauseLeftMs(asker));
  }
}
