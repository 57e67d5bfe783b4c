import type { IncomingMessage } from 'node:http';

import type { Exchange } from '../http/carrier.js';
import type { Lifecycle } from '../lifecycle.js';
import type { BearerSettings, LifeSettings } from '../options/config.js';
import type { Reason, RejectedDetail } from '../session/reasons.js';
import type { VerifiedSession } from '../session/verified-sessions.js';
import { type BearerCheck, checkBearerToken, headerOf } from '../token/bearer-token.js';
import { apiKeySessions } from './api-keys.js';
import { type SessionState, signedIn } from './state.js';

/**
 * The session of `Authorization: Bearer` (RFC 6750); undefined for a request without it. Whatever becomes of its value, a
 * cookie beside it is not read: one that a client has not meant must not answer for a token that is refused.
 */
export type BearerSessions = (exchange: Exchange) => SessionState | Promise<SessionState> | undefined;

/** Undefined where the options take no tokens. At once for a token that was verified a moment ago. */
export function bearerSessions(
  life: Lifecycle,
  { provider, clockToleranceSeconds }: Pick<LifeSettings, 'provider' | 'clockToleranceSeconds'>,
  { tokens, apiKeys, memory }: BearerSettings,
): BearerSessions | undefined {
  if (tokens === undefined && apiKeys === undefined) return undefined;
  const byKey = apiKeys && apiKeySessions(life, apiKeys);

  function byToken(token: string): SessionState | Promise<SessionState> {
    if (tokens === undefined) return refused('invalid_jwt', 'jwt_not_taken');
    const known = memory.get(token);
    if (known && life.isStillGood(known)) return stateOf(known);
    const check = checkBearerToken(provider, token, tokens, { clockToleranceSeconds });
    return check instanceof Promise ? check.then((found) => actOn(token, found)) : actOn(token, check);
  }

  function actOn(token: string, { check, payload }: BearerCheck): SessionState {
    switch (check.verdict) {
      case 'valid': {
        // Signed out here, or ended in the fleet: the token itself does not know.
        if (life.isOver(payload)) return refused('session_revoked', 'ended');
        const session = life.verified(payload, check);
        memory.noteVisit(token, session);
        return stateOf(session);
      }
      case 'expired':
        return refused('expired_jwt', 'bearer_expired');
      case 'invalid':
        // Not as the token of a session is reported: what it says of itself is the sender's.
        return refused(check.reason, check.detail);
      case 'unknown':
        life.reportRejected(payload, check);
        return { signedIn: false, reason: check.reason, why: { error: check.error }, via: 'bearer' };
    }
  }

  function refused(reason: Reason, detail: RejectedDetail): SessionState {
    life.emit('rejected', { reason, detail });
    return { signedIn: false, reason, via: 'bearer' };
  }

  return (exchange) => {
    const value = bearerOf(exchange.req);
    if (value === undefined) return undefined;
    if (headerOf(value)) return byToken(value);
    return byKey ? byKey(value, exchange) : refused('invalid_jwt', 'not_a_jwt');
  };
}

function stateOf(session: VerifiedSession): SessionState {
  return { ...signedIn(session), via: 'bearer' };
}

/** The value of the scheme Bearer. Another scheme is for somebody else, such as the Basic of a proxy before a test site. */
function bearerOf({ headers: { authorization } }: IncomingMessage): string | undefined {
  if (authorization === undefined || !/^bearer(?:\s|$)/i.test(authorization)) return undefined;
  return authorization.slice('bearer'.length).trim();
}

/**
 * The challenge that belongs to a 401 (RFC 6750 section 3). It names an error only to who has sent something: a client that
 * has not tried yet has made no mistake.
 */
export function challengeOf({ via }: SessionState): string {
  return via === undefined ? 'Bearer realm="api"' : 'Bearer realm="api", error="invalid_token"';
}
