import { nonEmptyString } from '../json.js';
import type { Provider } from '../provider/provider.js';
import type { SessionPayload, TokenSet } from '../session/payload.js';
import type { RetryableReason, TerminalReason } from '../session/reasons.js';
import { knownErrorCode } from '../wire/error-code.js';
import type { Answer } from '../wire/token-endpoint.js';

/** What the provider answered, for events. Codes only: its prose may hold what was sent to it. */
interface Evidence {
  /** The HTTP status of the answer. */
  readonly status?: number | undefined;
  /** A known error code of the answer; a system code such as `ECONNREFUSED` when there was none. */
  readonly error?: string | undefined;
}

/** Whether the session is good cannot be known now. Nothing is lost, nothing is cleared. */
export interface Unavailable extends Evidence {
  readonly kind: 'unavailable';
  readonly reason: RetryableReason;
  readonly retryAfterSeconds?: number | undefined;
}

/** The provider has ended the session. */
export interface Terminal extends Evidence {
  readonly kind: 'terminal';
  readonly reason: TerminalReason;
}

export type JudgedAnswer = { readonly kind: 'tokens'; readonly tokens: TokenSet } | Terminal | Unavailable;

// A provider object written in JavaScript may return any value. Only these may end a session.
const terminalReasons: Readonly<Record<TerminalReason, true>> = {
  invalid_grant: true,
  sso_required: true,
  mfa_enrollment: true,
  session_revoked: true,
};

/** What an answer to the refresh grant means: by its status first, then by its `error` code, never by its prose. */
export async function judgeAnswer(answer: Answer, provider: Provider, previous: SessionPayload): Promise<JudgedAnswer> {
  if (answer.kind === 'unanswered') return { kind: 'unavailable', reason: answer.reason, error: answer.error };
  const { status, body, retryAfterSeconds } = answer;
  const evidence: Evidence = { status, error: knownErrorCode(body) };
  const unavailable = (reason: RetryableReason): Unavailable => ({
    kind: 'unavailable',
    reason,
    retryAfterSeconds,
    ...evidence,
  });

  if (status === 429) return unavailable('rate_limit_exceeded');
  if (status === 408) return unavailable('timeout');
  // The body decides nothing here: a gateway's error page is not the provider's word on the session.
  if (status >= 500) return unavailable('server_error');

  if (status >= 200 && status < 300) {
    const tokens = await provider.readRefresh(body, previous);
    // Half an answer changes nothing.
    return tokens && nonEmptyString(tokens.accessToken) !== undefined
      ? { kind: 'tokens', tokens }
      : unavailable('server_error');
  }
  // 401 is about our credentials, not about the visitor's session: a wrong API key must not sign everybody out.
  // Awaited for an `async` method: a rejection that is not handled ends the process.
  const reason = status >= 400 && status !== 401 ? await Promise.resolve(provider.terminalReason(body)) : undefined;
  return reason !== undefined && Object.hasOwn(terminalReasons, reason)
    ? { kind: 'terminal', reason, ...evidence }
    : unavailable('provider_misconfigured');
}
