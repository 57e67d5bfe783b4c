import { decodeJwt } from 'jose/jwt/decode';

import type { Claims } from './payload.js';

/**
 * The claims of a token whose signature was not checked; none when the token is not a JWT. They may name a session or
 * an organization that our own seal vouches for. They never prove who the visitor is.
 */
export function unverifiedClaims(token: string): Claims {
  try {
    return decodeJwt(token);
  } catch {
    return {};
  }
}
