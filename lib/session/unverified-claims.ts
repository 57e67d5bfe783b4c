import { decodeJwt } from 'jose/jwt/decode';

import type { SessionClaims } from './profile.js';

/** What a JWT says, before anything is verified: for ids and hints, never for a decision. Empty for any other token. */
export function unverifiedClaims(token: string): SessionClaims {
  try {
    return decodeJwt(token);
  } catch {
    return {};
  }
}
