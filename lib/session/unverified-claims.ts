import { deepFreeze, parseObject } from '../json.js';
import type { SessionPayload } from './payload.js';
import { type SessionClaims, sessionIdOf } from './profile.js';

// A request asks the same token several times: for its session, its user and its times.
let last: { readonly token: string; readonly claims: SessionClaims } | undefined;

/** What a JWT says, before anything is verified: for ids and hints, never for a decision. Empty for any other token. */
export function unverifiedClaims(token: string): SessionClaims {
  if (last?.token !== token) last = { token, claims: deepFreeze(decoded(token)) };
  return last.claims;
}

function decoded(token: string): SessionClaims {
  const [, claims = '', ...others] = token.split('.');
  if (others.length !== 1) return {};
  return parseObject(Buffer.from(claims, 'base64url').toString()) ?? {};
}

/** The session's id, also when the token that names it is no longer good: enough to end it. */
export function idOf(payload: SessionPayload): string | undefined {
  return sessionIdOf(payload, unverifiedClaims(payload.accessToken));
}
