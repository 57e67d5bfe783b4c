import type { RetryableReason } from '../session/reasons.js';
import type { JudgedAnswer, Unavailable } from './outcome.js';

interface Breaker {
  failures: number;
  reason: RetryableReason;
  openUntilMs: number;
  /** Whether the one request that may try is running. */
  probing: boolean;
}

// This many failures in a row are an outage and not a bad moment.
const threshold = 5;
// The pause before the next attempt: it doubles after each failure, up to the longest.
const firstPauseMs = 1_000;
const longestPauseMs = 15_000;

// By provider, because an outage concerns every middleware that asks it. An app has a handful at most.
const breakers = new Map<string, Breaker>();

/**
 * Asks the provider, unless it has been unavailable for a while. Then one request in each pause tries, and the others
 * get their answer at once: an outage costs them milliseconds instead of a time-out each.
 */
export async function withBreaker(providerId: string, ask: () => Promise<JudgedAnswer>): Promise<JudgedAnswer> {
  const breaker = breakers.get(providerId) ?? { failures: 0, reason: 'server_error', openUntilMs: 0, probing: false };
  breakers.set(providerId, breaker);
  const isProbe = breaker.failures >= threshold;
  if (isProbe) {
    const waitMs = breaker.openUntilMs - Date.now();
    if (waitMs > 0 || breaker.probing) return refuse(breaker, waitMs);
    breaker.probing = true;
  }
  try {
    const answer = await ask();
    if (!isOutage(answer)) breaker.failures = 0;
    // Many requests that fail together count as the first few: a storm must not lengthen the pause.
    else if (isProbe || breaker.failures < threshold) trip(breaker, answer.reason);
    return answer;
  } finally {
    if (isProbe) breaker.probing = false;
  }
}

/** Whether the provider is down. A refusal is an answer, even one of our credentials. */
function isOutage(answer: JudgedAnswer): answer is Unavailable {
  return (
    answer.kind === 'unavailable' &&
    (answer.reason === 'timeout' || answer.reason === 'network_error' || answer.reason === 'server_error')
  );
}

function trip(breaker: Breaker, reason: RetryableReason): void {
  breaker.failures += 1;
  breaker.reason = reason;
  breaker.openUntilMs = Date.now() + Math.min(firstPauseMs * 2 ** (breaker.failures - threshold), longestPauseMs);
}

function refuse({ reason }: Breaker, waitMs: number): Unavailable {
  return { kind: 'unavailable', reason, retryAfterSeconds: Math.max(Math.ceil(waitMs / 1000), 1) };
}
