import { nonEmptyString } from '../json.js';
import type { Provider } from '../provider/provider.js';
import type { Answer } from '../wire/token-endpoint.js';
import type { RetryableReason, SessionPayload, TerminalReason, TokenSet } from '../session/payload.js';

/** It cannot be known now whether the session is good. Nothing is lost, nothing is cleared. */
export interface Transient {
  readonly kind: 'transient';
  readonly reason: RetryableReason;
  readonly retryAfterSeconds?: number | undefined;
}

/** The provider has ended the session. */
export interface Terminal {
  readonly kind: 'terminal';
  readonly reason: TerminalReason;
}

export type Judgement = { readonly kind: 'tokens'; readonly tokens: TokenSet } | Terminal | Transient;

// A provider object written in JavaScript may return any value. Only these may end a session.
const terminalReasons: Readonly<Record<TerminalReason, true>> = {
  invalid_grant: true,
  sso_required: true,
  mfa_enrollment: true,
  session_revoked: true,
};

/** What an answer to the refresh grant means: by its status first, then by its `error` code, never by its prose. */
export async function judge(answer: Answer, provider: Provider, previous: SessionPayload): Promise<Judgement> {
  if (answer.kind === 'unanswered') return { kind: 'transient', reason: answer.reason };
  const { status, body, retryAfterSeconds } = answer;

  if (status === 429) return { kind: 'transient', reason: 'rate_limit_exceeded', retryAfterSeconds };
  if (status === 408) return { kind: 'transient', reason: 'timeout', retryAfterSeconds };
  // Whatever the body claims: a gateway's error page is not the provider's word on the session.
  if (status >= 500) return { kind: 'transient', reason: 'server_error', retryAfterSeconds };

  if (status >= 200 && status < 300) {
    const tokens = await provider.readRefresh(body, previous);
    // Half an answer changes nothing.
    return nonEmptyString(tokens?.accessToken) !== undefined && tokens
      ? { kind: 'tokens', tokens }
      : { kind: 'transient', reason: 'server_error', retryAfterSeconds };
  }
  // 401 is about our credentials, not about the visitor's session: a wrong API key must not sign everybody out.
  // Awaited for an `async` method: a rejection that is not handled ends the process.
  const reason = status >= 400 && status !== 401 ? await Promise.resolve(provider.terminalReason(body)) : undefined;
  return reason !== undefined && Object.hasOwn(terminalReasons, reason)
    ? { kind: 'terminal', reason }
    : { kind: 'transient', reason: 'provider_misconfigured', retryAfterSeconds };
}
