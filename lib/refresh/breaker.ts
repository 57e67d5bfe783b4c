import { monotonicMs } from '../monotonic.js';
import type { RetryableReason } from '../session/reasons.js';
import type { JudgedAnswer, Refused, Unavailable } from './outcome.js';
import { type Asker, secondsOf } from './session-failures.js';
import { processWide } from '../process-wide.js';

/** The attempts of an open breaker: one at a time, with a pause after each that fails. */
interface Lane {
  pauses: number;
  openFromMs: number;
  isProbing: boolean;
}

interface Breaker {
  /** Who has failed since the last success. */
  readonly failedUsers: Set<string>;
  reason: RetryableReason;
  isOpen: boolean;
  /** For sessions that have not failed. Those that have must not keep them from trying: the fault may be theirs. */
  readonly others: Lane;
  /** For sessions that have failed. Where all have, one of them must find out that the outage is over. */
  readonly failed: Lane;
  /** The failed sessions that have had their turn in this round. */
  readonly hadTurn: Set<string>;
  endedAtMs: number;
  /** The users who were asked to slow down: when, and until when. */
  readonly limited: Map<string, { readonly atMs: number; readonly untilMs: number }>;
  limitedUntilMs: number;
  limitReason: RetryableReason;
}

/** Where a request stands: it may ask, alone in its lane or with everybody; or it is refused. */
export type Pass = { readonly lane: Lane | undefined } | Unavailable;

// So many users: what one user's tokens get says little about the provider.
const userThreshold = 3;
// The pause before the next attempt: it doubles after each failure, up to the longest.
const firstPauseMs = 1_000;
const longestPauseMs = 15_000;
// So many users within this time who are asked to slow down, and the limit is not theirs but the client's.
const limitWindowMs = 10_000;
const longestLimitMs = 60_000;

// By provider, because an outage concerns every middleware that asks it. An app has a handful at most.
const breakers = processWide('breakers', () => new Map<string, Breaker>());

function breakerOf(providerId: string): Breaker {
  const known = breakers.get(providerId);
  if (known) return known;
  const lane = (): Lane => ({ pauses: 0, openFromMs: 0, isProbing: false });
  const breaker: Breaker = {
    failedUsers: new Set(),
    reason: 'server_error',
    isOpen: false,
    others: lane(),
    failed: lane(),
    hadTurn: new Set(),
    endedAtMs: 0,
    limited: new Map(),
    limitedUntilMs: 0,
    limitReason: 'rate_limit_exceeded',
  };
  breakers.set(providerId, breaker);
  return breaker;
}

/** Forgets what is known of a provider's outages: a test has taken it down, and the next test must not feel it. */
export function forgetOutage(providerId: string): void {
  breakers.delete(providerId);
}

/** When the last outage ended, on the monotonic clock; 0 where there was none. */
export function outageEndedAtMs(providerId: string): number {
  return breakers.get(providerId)?.endedAtMs ?? 0;
}

/**
 * Whether a request may ask the provider. While it is unavailable, one session tries from time to time, and the others
 * get their answer at once: an outage costs them milliseconds instead of a time-out each.
 *
 * @param hasFailed whether this session has failed since its last success
 */
export function enter(asker: Asker, hasFailed: boolean): Pass {
  const breaker = breakerOf(asker.providerId);
  const nowMs = monotonicMs();
  if (nowMs < breaker.limitedUntilMs) return refuse(breaker.limitReason, breaker.limitedUntilMs - nowMs);
  if (!breaker.isOpen) return { lane: undefined };
  const lane = hasFailed ? breaker.failed : breaker.others;
  const waitMs = waitOf(breaker, lane, asker) - nowMs;
  // A switch could fail for its organization alone. It is no probe.
  if (waitMs > 0 || lane.isProbing || asker.isSwitch) return refuse(breaker.reason, waitMs);
  if (hasFailed) {
    // After a pause in which no other session came: a new round.
    if (breaker.hadTurn.has(asker.sessionKey)) breaker.hadTurn.clear();
    breaker.hadTurn.add(asker.sessionKey);
  }
  lane.isProbing = true;
  return { lane };
}

/** From when on a session may try. One that has had its turn leaves the next pause to those that have not. */
function waitOf({ failed, hadTurn }: Breaker, lane: Lane, { sessionKey }: Asker): number {
  return lane === failed && hadTurn.has(sessionKey) ? lane.openFromMs + pauseOf(lane.pauses) : lane.openFromMs;
}

/**
 * Notes what became of a request that was let in.
 *
 * @param answer undefined where the request came to no answer
 * @param pausedMs how long its session is paused after it
 */
export function leave(
  asker: Asker,
  { lane }: Exclude<Pass, Unavailable>,
  answer: JudgedAnswer | Refused | undefined,
  pausedMs: number,
): void {
  const breaker = breakerOf(asker.providerId);
  if (lane) lane.isProbing = false;
  if (!answer || asker.isSwitch) return;
  if (answer.kind !== 'unavailable') {
    close(breaker);
    return;
  }
  if (isLimit(answer)) noteLimit(breaker, asker, answer, pausedMs);
  if (answer.fault === 'provider') noteFailure(breaker, asker, lane, answer);
  // A refusal is an answer, even one of our credentials.
  else if (answer.fault !== undefined) close(breaker);
}

function isLimit({ fault, status, retryAfterSeconds }: Unavailable): boolean {
  return fault === 'limit' || (status === 503 && retryAfterSeconds !== undefined);
}

function noteLimit(breaker: Breaker, { userKey }: Asker, { reason }: Unavailable, pausedMs: number): void {
  const nowMs = monotonicMs();
  const { limited } = breaker;
  for (const [user, { atMs }] of limited) if (nowMs - atMs > limitWindowMs) limited.delete(user);
  limited.set(userKey, { atMs: nowMs, untilMs: nowMs + Math.min(pausedMs, longestLimitMs) });
  if (limited.size < userThreshold) return;
  breaker.limitedUntilMs = Math.max(...[...limited.values()].map(({ untilMs }) => untilMs));
  breaker.limitReason = reason;
  limited.clear();
}

function noteFailure(breaker: Breaker, { userKey }: Asker, lane: Lane | undefined, { reason }: Unavailable): void {
  breaker.reason = reason;
  if (breaker.isOpen) {
    // Many requests that fail together count once: a storm must not lengthen the pause.
    if (lane) pause(lane);
    return;
  }
  breaker.failedUsers.add(userKey);
  if (breaker.failedUsers.size < userThreshold) return;
  breaker.isOpen = true;
  breaker.hadTurn.clear();
  for (const each of [breaker.others, breaker.failed]) {
    each.pauses = 0;
    pause(each);
  }
}

function pause(lane: Lane): void {
  lane.openFromMs = monotonicMs() + pauseOf(lane.pauses);
  lane.pauses += 1;
}

function pauseOf(pauses: number): number {
  return Math.min(firstPauseMs * 2 ** pauses, longestPauseMs);
}

function close(breaker: Breaker): void {
  breaker.failedUsers.clear();
  if (!breaker.isOpen) return;
  breaker.isOpen = false;
  breaker.endedAtMs = monotonicMs();
}

function refuse(reason: RetryableReason, waitMs: number): Unavailable {
  return { kind: 'unavailable', reason, retryAfterSeconds: secondsOf(waitMs) };
}
