import type { Emit } from './events.js';
import { monotonicMs } from './monotonic.js';
import type { Provider } from './provider/provider.js';
import type { Unavailable } from './refresh/outcome.js';
import type { RefreshOutcome } from './refresh/refresh.js';
import type { SessionPayload } from './session/payload.js';
import { idOf } from './session/unverified-claims.js';
import type { Reason, RejectedDetail, SealProblem } from './session/reasons.js';
import type { TokenCheck } from './token/access-token.js';

type NotValid = Exclude<TokenCheck, { verdict: 'valid' }>;

/** What is reported of a refresh that failed. */
type ReportedFailure = Omit<Unavailable, 'kind' | 'reason'> & { readonly kind: string; readonly reason: Reason };

// How often requests without a seal are told: most of them are no problem of anybody.
const minuteMs = 60_000;

/** Makes the reports of a session's life: the events that operators hear, and the option to look at. */
export function createReports(provider: Provider, emit: Emit) {
  let missing = { requests: 0, withOtherCookies: 0, toldMs: -Infinity };

  /** Reports a refresh that brought nothing: a session that fails on and on is told once, and so is the operator. */
  function failed(
    payload: SessionPayload,
    outcome: RefreshOutcome | { readonly kind: 'terminal'; readonly reason: Reason },
  ): void {
    if (outcome.kind === 'refreshed' || outcome.kind === 'elsewhere') return;
    const { kind, reason, status, error, retryAfterSeconds, fault, isRepeated }: ReportedFailure = outcome;
    if (isRepeated) return;
    const retryable = kind === 'unavailable';
    emit('refreshFailed', { sessionId: idOf(payload), reason, retryable, status, error, retryAfterSeconds });
    if (fault !== 'operator') return;
    emit('misconfigured', {
      problem: 'refresh_grant',
      option: 'provider',
      message:
        `The ${provider.name} provider refuses to refresh for this client` +
        `${status === undefined ? '' : `, with status ${status}`}${error === undefined ? '' : ` and ${error}`}. ` +
        'Correct the client id, its secret and the address in "provider". The cookies are kept: then everybody is in again.',
    });
  }

  /** Reports a refresh: once for each request, however many generations old its seal was. */
  function refreshed(outcome: Extract<RefreshOutcome, { kind: 'refreshed' }>, ahead = false): void {
    const { payload, source, startedMs } = outcome;
    emit('refreshed', {
      sessionId: idOf(payload),
      organizationId: payload.organizationId,
      source,
      ahead,
      durationMs: Date.now() - startedMs,
    });
  }

  /** Reports seals of which none opened, and the option to look at when they are another provider's. */
  function unopened(problems: readonly SealProblem[]): void {
    emit('rejected', { reason: 'invalid_session_cookie', detail: problems[0] ?? 'bad_shape' });
    if (!problems.includes('other_provider')) return;
    emit('misconfigured', {
      problem: 'other_provider',
      option: 'cookie.name',
      message:
        `Seals of another provider than ${provider.name} come under this cookie name. They are left alone. ` +
        'Give each provider a "cookie.name" of its own, so that their sessions do not replace each other.',
    });
  }

  /** Reports that a session is not served, where neither its seal nor its token is at fault. */
  function refused(payload: SessionPayload, reason: Reason, detail: RejectedDetail): void {
    emit('rejected', { sessionId: idOf(payload), reason, detail });
  }

  /** Counts a request without a seal, and tells how many there were. */
  function missed(hasOtherCookies: boolean): void {
    missing.requests += 1;
    if (hasOtherCookies) missing.withOtherCookies += 1;
    const nowMs = monotonicMs();
    if (nowMs - missing.toldMs < minuteMs) return;
    const { requests, withOtherCookies } = missing;
    missing = { requests: 0, withOtherCookies: 0, toldMs: nowMs };
    emit('cookieMissed', { requests, withOtherCookies });
  }

  /** Reports what was wrong with a token, and the option to look at when the set-up is the likelier culprit. */
  function rejected(payload: SessionPayload, check: NotValid): void {
    const sessionId = idOf(payload);
    if (check.verdict === 'unknown') {
      const { reason, message, error, isKeyUnpublished } = check;
      const ofKeys = isKeyUnpublished === true ? 'key_not_published' : 'keys_not_fetched';
      emit('rejected', { sessionId, reason, detail: message === undefined ? ofKeys : 'rules_unusable', error });
      if (message !== undefined) emit('misconfigured', { problem: 'provider', option: 'provider', message });
      return;
    }
    if (check.verdict === 'expired') {
      refused(payload, 'expired_jwt', 'expired_when_issued');
      return;
    }
    const { reason, detail, misconfigured } = check;
    emit('rejected', { sessionId, reason, detail });
    if (misconfigured === undefined) return;
    const option = `${provider.accessTokenOptions ?? 'provider'}.${misconfigured}`;
    emit('misconfigured', {
      problem: misconfigured,
      option,
      message:
        `The access tokens of the ${provider.name} provider have another ${misconfigured} than the options ask for. ` +
        `Set "${option}" to what the provider issues. Until then nobody is signed in.`,
    });
  }

  /** Reports that what has ended in the fleet was not read in time. */
  function read(isComplete: boolean): void {
    if (isComplete) return;
    emit('misconfigured', {
      problem: 'endings_unread',
      option: 'fleet',
      message:
        'What has ended in the fleet could not be read from Redis within two seconds. This process serves, and goes on ' +
        'reading. Until it has, it may serve a session that has ended elsewhere. See whether Redis answers, and how fast.',
    });
  }

  return { failed, refreshed, unopened, refused, missed, rejected, read };
}
