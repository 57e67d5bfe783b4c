import type { errors, FlattenedJWSInput, JWTHeaderParameters, JWTPayload } from 'jose';

import { unverifiedClaims } from '../session/unverified-claims.js';
import { verifyWithAnyKey } from './any-key.js';
import { isIssuerOf, type IssuerRules } from './issuer.js';
import { KeyNotPublished, type KeySet } from './key-set.js';

/** What every JWT that a provider writes for a client must satisfy. */
export interface ProviderTokenRules extends IssuerRules {
  readonly clientId: string;
  /** Never `none`. Symmetric ones only together with a secret. */
  readonly algorithms: readonly string[];
  /** The provider's key set; or the client's secret, for `HS256`. */
  readonly keys: KeySet | Uint8Array;
  readonly clockToleranceSeconds: number;
}

/** What of such a token did not hold. */
export type TokenFault =
  | 'malformed'
  | 'encrypted'
  | 'algorithm'
  | 'key'
  | 'signature'
  | 'issuer'
  | 'audience'
  | 'issued_at'
  | 'expiry'
  | 'not_before';

/** A token that does not pass a check. It holds no part of it. */
export class TokenRefused extends Error {
  // A literal: a minifier changes the names of classes.
  override readonly name = 'TokenRefused';
  readonly fault: TokenFault;

  constructor(fault: TokenFault) {
    super(`The token does not pass a check: ${fault}.`);
    this.fault = fault;
  }
}

/**
 * Verifies what ID tokens and log-out tokens have in common: signature, issuer, audience and times (OpenID Connect Core
 * 1.0, section 3.1.3.7; Back-Channel Logout 1.0, section 2.6).
 *
 * @throws {TokenRefused} with what does not hold
 * @throws {ProviderFailure} the key set cannot be had now
 */
export async function verifyProviderToken(
  token: string,
  rules: ProviderTokenRules,
): Promise<{ readonly claims: JWTPayload; readonly header: JWTHeaderParameters }> {
  const { algorithms, keys, clockToleranceSeconds } = rules;
  // A JWE has five parts. Ours are not encrypted.
  if (token.split('.').length === 5) throw new TokenRefused('encrypted');
  const { iat } = unverifiedClaims(token);
  const issuedAtMs = typeof iat === 'number' ? iat * 1000 : 0;
  const getKey =
    keys instanceof Uint8Array
      ? keys
      : (header: JWTHeaderParameters, input: FlattenedJWSInput) => keys.find(header, input, issuedAtMs);
  try {
    const { payload, protectedHeader } = await verifyWithAnyKey(token, getKey, {
      algorithms: [...algorithms],
      clockTolerance: clockToleranceSeconds,
      currentDate: new Date(Date.now()),
    });
    checkClaims(payload, rules);
    return { claims: payload, header: protectedHeader };
  } catch (error) {
    const fault = faultOf(error);
    throw fault === undefined ? error : new TokenRefused(fault);
  }
}

function checkClaims(claims: JWTPayload, rules: ProviderTokenRules): void {
  const { iat } = claims;
  const latest = Date.now() / 1000 + Math.max(rules.clockToleranceSeconds, 1);
  // jose checks the times only where they are there.
  if (typeof iat !== 'number' || iat > latest) throw new TokenRefused('issued_at');
  if (!isIssuerOf(claims, rules)) throw new TokenRefused('issuer');
  if (![claims.aud].flat().includes(rules.clientId)) throw new TokenRefused('audience');
}

/** The check that an error of jose stands for. By its code: jose's messages may change. */
function faultOf(error: unknown): TokenFault | undefined {
  if (error instanceof KeyNotPublished) return 'key';
  const { code, claim } = error as Partial<errors.JWTClaimValidationFailed>;
  switch (code as string | undefined) {
    case 'ERR_JWT_EXPIRED':
      return 'expiry';
    case 'ERR_JWT_CLAIM_VALIDATION_FAILED':
      return claim === 'nbf' ? 'not_before' : claim === 'iat' ? 'issued_at' : 'expiry';
    case 'ERR_JOSE_ALG_NOT_ALLOWED':
    case 'ERR_JOSE_NOT_SUPPORTED':
      return 'algorithm';
    case 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED':
      return 'signature';
    case 'ERR_JWS_INVALID':
    case 'ERR_JWT_INVALID':
      return 'malformed';
    default:
      return undefined;
  }
}
