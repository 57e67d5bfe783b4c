import { LRUCache } from 'lru-cache';

import { monotonicMs } from '../monotonic.js';
import { isOutage, type JudgedAnswer, type Refused, type Unavailable } from './outcome.js';
import { processWide } from '../process-wide.js';

/** Who asks for a refresh: what pauses, evidence and the breaker go by. */
export interface Asker {
  /** An outage concerns every middleware that asks this provider. */
  readonly providerId: string;
  /** The key of the refresh token. */
  readonly sessionKey: string;
  /** One user with three sessions is one user, or a single visitor could stop the refreshes of all. */
  readonly userKey: string;
  /** The app asked for an organization. What one organization refuses says nothing about the session. */
  readonly isSwitch: boolean;
}

interface Failing {
  failures: number;
  failedAtMs: number;
  pausedUntilMs: number;
  last: Unavailable | Refused | undefined;
  /** How many answers left it open whose fault it is, and when the first of them came. */
  undecided: number;
  undecidedSinceMs: number;
  wasRefused: boolean;
}

// A pause doubles after each failure, up to the longest.
const firstPauseMs = 1_000;
const longestPauseMs = 60_000;

// After so many answers that leave it open whose fault it is, the session's user is sent to sign in.
const maxUndecided = 3;

// By the key of the refresh token, so by provider too. The least recently used are forgotten: they are asked again.
const failing = processWide('failing sessions', () => new LRUCache<string, Failing>({ max: 10_000 }));

interface Success {
  readonly userKey: string;
  readonly atMs: number;
}

// The last success of a provider, and the last one of another user than that. With these two it can be told for each
// user whether another one was refreshed since a moment.
const successes = processWide(
  'last successes',
  () => new Map<string, { readonly last: Success; readonly other: Success | undefined }>(),
);

/** Whether this session has failed since its last success. */
export function hasFailed({ sessionKey }: Asker): boolean {
  return (failing.peek(sessionKey)?.failures ?? 0) > 0;
}

/** Whether the provider has refused this session since its last success: then its old claims must not serve. */
export function wasRefused(sessionKey: string): boolean {
  return failing.peek(sessionKey)?.wasRefused ?? false;
}

/**
 * What a session gets that is paused after a failure; undefined where it may ask. An outage that has ended since lifts
 * the pause.
 */
export function pausedOutcome(asker: Asker, outageEndedAtMs: number): Unavailable | Refused | undefined {
  const entry = failing.get(asker.sessionKey);
  const last = entry?.last;
  if (!entry || !last) return undefined;
  const waitMs = entry.pausedUntilMs - monotonicMs();
  if (waitMs <= 0) return undefined;
  if (asker.isSwitch) {
    // A limit is about the visitor, whatever is asked for. All else may be about one organization.
    return last.kind === 'unavailable' && last.fault === 'limit' ? again(last, waitMs) : undefined;
  }
  if (last.kind === 'refused') return again(last, waitMs);
  if (last.fault === 'provider' && entry.failedAtMs < outageEndedAtMs) return undefined;
  if (last.fault !== 'undecided' || !isDecided(asker, entry)) return again(last, waitMs);
  // Meanwhile another user was refreshed. The guess need not wait for the next answer.
  entry.last = refusal(last);
  return entry.last;
}

function again<Failure extends Unavailable | Refused>(last: Failure, waitMs: number): Failure {
  const repeated = { ...last, isRepeated: true } as const;
  return last.kind === 'unavailable' ? { ...repeated, retryAfterSeconds: secondsOf(waitMs) } : repeated;
}

/** Remembers what became of a session, and judges by the evidence where the answer does not tell whose fault it is. */
export function noteOutcome(asker: Asker, answer: JudgedAnswer): JudgedAnswer | Refused {
  const { sessionKey, isSwitch } = asker;
  if (answer.kind === 'tokens') {
    failing.delete(sessionKey);
    if (!isSwitch) noteSuccess(asker);
    return answer;
  }
  if (isSwitch && !(answer.kind === 'unavailable' && answer.fault === 'limit')) return answer;
  const entry = failing.get(sessionKey) ?? {
    failures: 0,
    failedAtMs: 0,
    pausedUntilMs: 0,
    last: undefined,
    undecided: 0,
    undecidedSinceMs: 0,
    wasRefused: false,
  };
  failing.set(sessionKey, entry);
  if (answer.kind === 'terminal') {
    // The coordinator keeps it from being asked at once. A copy of its cookie must not be served in a later outage.
    entry.wasRefused = true;
    return answer;
  }
  const nowMs = monotonicMs();
  entry.failures += 1;
  entry.failedAtMs = nowMs;
  entry.pausedUntilMs = nowMs + pauseOf(entry.failures, answer);
  entry.wasRefused ||= !isOutage(answer);
  if (answer.fault === 'undecided') {
    if (entry.undecided === 0) entry.undecidedSinceMs = nowMs;
    entry.undecided += 1;
  }
  const before = entry.last;
  entry.last = answer.fault === 'undecided' && isDecided(asker, entry) ? refusal(answer) : answer;
  return before && isSame(before, entry.last) ? { ...entry.last, isRepeated: true } : entry.last;
}

/** The pause after a failure. The provider may ask for a longer one, within limits: a visitor is waiting. */
function pauseOf(failures: number, { retryAfterSeconds = 0 }: Unavailable): number {
  return Math.min(Math.max(firstPauseMs * 2 ** (failures - 1), retryAfterSeconds * 1000), longestPauseMs);
}

/** Whether an answer that leaves it open is this session's fault: others are refreshed, or it was asked often enough. */
function isDecided({ providerId, userKey }: Asker, { undecided, undecidedSinceMs }: Failing): boolean {
  if (undecided === 0) return false;
  if (undecided >= maxUndecided) return true;
  const { last, other } = successes.get(providerId) ?? {};
  const another = last?.userKey === userKey ? other : last;
  return another !== undefined && another.atMs > undecidedSinceMs;
}

function refusal({ status, error }: Unavailable): Refused {
  return { kind: 'refused', reason: 'refresh_refused', status, error };
}

function isSame(one: Unavailable | Refused, other: Unavailable | Refused): boolean {
  return one.reason === other.reason && one.status === other.status && one.error === other.error;
}

function noteSuccess({ providerId, userKey }: Asker): void {
  const known = successes.get(providerId);
  const other = known?.last.userKey === userKey ? known.other : known?.last;
  successes.set(providerId, { last: { userKey, atMs: monotonicMs() }, other });
}

/** A wait for `Retry-After`: whole seconds, never none. */
export function secondsOf(waitMs: number): number {
  return Math.max(Math.ceil(waitMs / 1000), 1);
}

/** How long a session is paused after its last failure, in milliseconds from now. */
export function pauseLeftMs({ sessionKey }: Asker): number {
  return Math.max((failing.peek(sessionKey)?.pausedUntilMs ?? 0) - monotonicMs(), 0);
}
