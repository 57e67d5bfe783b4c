import type { SessionPayload } from './payload.js';
import type { SessionClaims } from './profile.js';
import { unverifiedClaims } from './unverified-claims.js';

/**
 * When a session began, in milliseconds; 0 where nothing tells. Our own seals say so. For another writer's it is when its
 * user signed in at the provider (`auth_time`), else when its access token was issued: that writer seals no time.
 */
export function begunAtMs({ startedAt, authenticatedAt, accessToken }: SessionPayload): number {
  if (startedAt !== undefined) return startedAt * 1000;
  const claims = unverifiedClaims(accessToken);
  return (authenticatedAt ?? secondsIn(claims, 'auth_time') ?? secondsIn(claims, 'iat') ?? 0) * 1000;
}

/** Since when the provider has confirmed everything that a session claims, in milliseconds; 0 where nothing tells. */
export function confirmedAtMs(payload: SessionPayload): number {
  const { idClaimsAt, refreshedAt, startedAt, accessToken } = payload;
  if (idClaimsAt !== undefined) return idClaimsAt;
  if (refreshedAt !== undefined) return refreshedAt;
  return (startedAt ?? secondsIn(unverifiedClaims(accessToken), 'iat') ?? 0) * 1000;
}

/** A time in the claims of a token, in seconds. */
export function secondsIn(claims: SessionClaims, name: 'auth_time' | 'exp' | 'iat'): number | undefined {
  const value = claims[name];
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}
