import { nonEmptyString } from '../json.js';
import type { Provider, ReadSettings } from '../provider/provider.js';
import type { SessionPayload, TokenSet } from '../session/payload.js';
import type { RetryableReason, TerminalReason } from '../session/reasons.js';
import { knownErrorCode, operatorErrors } from '../wire/error-code.js';
import type { Answer } from '../wire/token-endpoint.js';

/** What the provider answered, for events. Codes only: its prose may hold what was sent to it. */
interface Evidence {
  /** The HTTP status of the answer. */
  readonly status?: number | undefined;
  /** A known error code of the answer; a system code such as `ECONNREFUSED` when there was none. */
  readonly error?: string | undefined;
  /** Set where this was reported of this session before: each failure is reported once. */
  readonly isRepeated?: true | undefined;
}

/** Whose fault a refresh was that brought no tokens. */
export type Fault =
  /** It does not work: an outage, if it is so for others too. */
  | 'provider'
  /** It asks for fewer requests. */
  | 'limit'
  /** The client is refused, so every session would be. */
  | 'operator'
  /** This session's or the operator's: the answer does not tell, so evidence decides. */
  | 'undecided';

/** Whether the session is good cannot be known now. Nothing is lost, nothing is cleared. */
export interface Unavailable extends Evidence {
  readonly kind: 'unavailable';
  readonly reason: RetryableReason;
  readonly retryAfterSeconds?: number | undefined;
  /** Missing where the provider was not asked, or its answer could not be read. */
  readonly fault?: Fault | undefined;
  /** Set where one request was refused for itself, so that those that joined it ask for themselves. */
  readonly isOwn?: true | undefined;
}

/** The provider has ended the session. */
export interface Terminal extends Evidence {
  readonly kind: 'terminal';
  readonly reason: TerminalReason;
  /** Where the browser takes the step that the provider asks for, where it says so. */
  readonly interactionUrl?: string | undefined;
}

/** By the evidence, the provider refuses this session only. Its user signs in. The guess may be wrong: the seal is kept. */
export interface Refused extends Evidence {
  readonly kind: 'refused';
  readonly reason: 'refresh_refused';
}

export type JudgedAnswer = { readonly kind: 'tokens'; readonly tokens: TokenSet } | Terminal | Unavailable;

// A provider object written in JavaScript may return any value. Only these may end a session.
const terminalReasons: Readonly<Record<TerminalReason, true>> = {
  invalid_grant: true,
  sso_required: true,
  mfa_enrollment: true,
  session_revoked: true,
  interaction_required: true,
};

// With these statuses a server speaks of this one request. With any other 4xx, only a registered code shows that the
// answer is the token endpoint's, and not that of a gateway or of a wrong address.
const aboutRequest: ReadonlySet<number> = new Set([400, 409, 410, 422]);

// Reasons that say nothing against the session, where the answer was no 4xx.
const outageReasons: ReadonlySet<RetryableReason> = new Set(['timeout', 'network_error', 'server_error']);
/** Whether a value is a reason that ends a session. */
export function isTerminalReason(value: unknown): value is TerminalReason {
  return typeof value === 'string' && Object.hasOwn(terminalReasons, value);
}

/** What an answer to the refresh grant means: by its status first, then by its `error` code, never by its prose. */
export async function judgeAnswer(
  answer: Answer,
  provider: Provider,
  previous: SessionPayload,
  settings?: ReadSettings,
): Promise<JudgedAnswer> {
  if (answer.kind === 'unanswered') {
    const { reason, error } = answer;
    return { kind: 'unavailable', reason, error, fault: outageReasons.has(reason) ? 'provider' : 'operator' };
  }
  const { status, body, retryAfterSeconds } = answer;
  const evidence: Evidence = { status, error: knownErrorCode(body) };
  const unavailable = (reason: RetryableReason, fault: Fault): Unavailable => ({
    kind: 'unavailable',
    reason,
    retryAfterSeconds,
    fault,
    ...evidence,
  });

  if (status === 429) return unavailable('rate_limit_exceeded', 'limit');
  if (status === 408) return unavailable('timeout', 'provider');
  // The body decides nothing here: a gateway's error page is not the provider's word on the session.
  if (status >= 500) return unavailable('server_error', 'provider');

  const isSuccess = status >= 200 && status < 300;
  if (isSuccess) {
    const tokens = await provider.readRefresh(body, previous, settings);
    if (tokens && nonEmptyString(tokens.accessToken) !== undefined) return { kind: 'tokens', tokens };
    // Half an answer changes nothing.
    if (nonEmptyString(body.error) === undefined && evidence.error === undefined)
      return unavailable('server_error', 'provider');
  }
  // A redirect would take the client's secret elsewhere. It was not followed, and only the operator can mend it.
  if (!isSuccess && status < 400) return unavailable('provider_misconfigured', 'operator');

  // An error is judged alike in a 4xx and in a 200: several servers answer errors with 200.
  if ([body.error, body.code].some((code) => operatorErrors.includes(code as string))) {
    return unavailable('provider_misconfigured', 'operator');
  }
  // Awaited for an `async` method: a rejection that is not handled ends the process.
  const reason = await Promise.resolve(provider.terminalReason(body));
  if (isTerminalReason(reason)) {
    const interactionUrl = provider.interactionUrl?.(body);
    return { kind: 'terminal', reason, ...(interactionUrl !== undefined && { interactionUrl }), ...evidence };
  }
  // The provider's own word that it is an outage (RFC 6749 section 4.1.2.1).
  if (evidence.error === 'temporarily_unavailable') return unavailable('server_error', 'provider');
  const isAboutRequest = isSuccess || aboutRequest.has(status) || evidence.error !== undefined;
  return unavailable('provider_misconfigured', isAboutRequest ? 'undecided' : 'operator');
}

/** Whether nothing speaks against the session: then its old claims may serve, where the options allow it. */
export function isOutage({ reason, status = 0, fault }: Unavailable): boolean {
  if (isRefusal(status)) return false;
  return fault === undefined ? outageReasons.has(reason) : fault === 'provider';
}

/** Whether a status is the provider's answer that it did not accept the request. */
export function isRefusal(status = 0): boolean {
  return status >= 400 && status < 500;
}
