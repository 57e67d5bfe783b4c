import type { RetryableReason } from '../session/payload.js';
import type { Judgement, Transient } from './outcome.js';

interface Breaker {
  failures: number;
  reason: RetryableReason;
  openUntilMs: number;
  /** Whether the one request that may try is on its way. */
  probing: boolean;
}

// So many failures in a row are an outage and not a bad moment.
const threshold = 5;
const firstPauseMs = 1_000;
const longestPauseMs = 15_000;

// An outage is the provider's, whichever middleware notices it. A handful of providers at most.
const breakers = new Map<string, Breaker>();

/**
 * Asks the provider, unless it has been away for a while: then one request in a pause tries, and all the others learn
 * at once that it cannot be known now. An outage costs them milliseconds instead of a time-out each.
 */
export async function withBreaker(providerId: string, ask: () => Promise<Judgement>): Promise<Judgement> {
  const breaker = breakers.get(providerId) ?? { failures: 0, reason: 'server_error', openUntilMs: 0, probing: false };
  breakers.set(providerId, breaker);
  const isProbe = breaker.failures >= threshold;
  if (isProbe) {
    const waitMs = breaker.openUntilMs - Date.now();
    if (waitMs > 0 || breaker.probing) return refuse(breaker, waitMs);
    breaker.probing = true;
  }
  try {
    const judgement = await ask();
    if (!isOutage(judgement)) breaker.failures = 0;
    // Of those who were under way together, the first few have said it: a storm makes no outage longer.
    else if (isProbe || breaker.failures < threshold) trip(breaker, judgement.reason);
    return judgement;
  } finally {
    if (isProbe) breaker.probing = false;
  }
}

/** What says that the provider is away. A refusal, also one of our credentials, is an answer. */
function isOutage(judgement: Judgement): judgement is Transient {
  return (
    judgement.kind === 'transient' &&
    (judgement.reason === 'timeout' || judgement.reason === 'network_error' || judgement.reason === 'server_error')
  );
}

function trip(breaker: Breaker, reason: RetryableReason): void {
  breaker.failures += 1;
  breaker.reason = reason;
  breaker.openUntilMs = Date.now() + Math.min(firstPauseMs * 2 ** (breaker.failures - threshold), longestPauseMs);
}

function refuse({ reason }: Breaker, waitMs: number): Transient {
  return { kind: 'transient', reason, retryAfterSeconds: Math.max(Math.ceil(waitMs / 1000), 1) };
}
