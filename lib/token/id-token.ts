import { createHash } from 'node:crypto';

import type { errors, FlattenedJWSInput, JWTHeaderParameters, JWTPayload } from 'jose';

import type { SessionClaims } from '../session/profile.js';
import { unverifiedClaims } from '../session/unverified-claims.js';
import type { SignInCheck } from '../session/sign-in-check.js';
import { CheckFailed } from '../wire/check-failed.js';
import { verifyWithAnyKey } from './any-key.js';
import { isIssuerOf, type IssuerRules, isOfSameIssuer } from './issuer.js';
import { KeyNotPublished, type KeySet } from './key-set.js';

/** What an ID token must satisfy. */
export interface IdTokenRules extends IssuerRules {
  readonly clientId: string;
  /** Never `none`. Symmetric ones only together with a secret. */
  readonly algorithms: readonly string[];
  /** The provider's key set; or the client's secret, for `HS256`. */
  readonly keys: KeySet | Uint8Array;
  readonly clockToleranceSeconds: number;
  /** The nonce of the sign-in. At a refresh there is none. */
  readonly nonce?: string | undefined;
  /** The access token that came with it, for `at_hash`. */
  readonly accessToken?: string | undefined;
  /** At a refresh: who the session is about, and its issuer where the provider has several. */
  readonly subject?: string | undefined;
  readonly sameIssuer?: string | undefined;
}

/**
 * The claims of an ID token that passes every check of OpenID Connect Core 1.0, sections 3.1.3.7 and 12.2.
 *
 * @throws {CheckFailed} with the check that it does not pass
 * @throws {ProviderFailure} the key set cannot be had now
 */
export async function verifyIdToken(token: string, rules: IdTokenRules): Promise<SessionClaims> {
  const { algorithms, keys, clockToleranceSeconds } = rules;
  // A JWE has five parts. Ours are not encrypted.
  if (token.split('.').length === 5) throw new CheckFailed('id_token_encrypted');
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
    checkHash(payload, protectedHeader.alg, rules.accessToken);
    return payload;
  } catch (error) {
    throw asFailedCheck(error);
  }
}

function checkClaims(claims: JWTPayload, rules: IdTokenRules): void {
  const { clientId, clockToleranceSeconds, nonce, subject, sameIssuer } = rules;
  const { iat, exp, sub, azp } = claims;
  const now = Date.now() / 1000;
  const audiences = [claims.aud].flat();
  // jose checks the times only where they are there.
  demand('id_token_expiry', typeof exp === 'number');
  demand('id_token_issued_at', typeof iat === 'number' && iat <= now + Math.max(clockToleranceSeconds, 1));
  demand('id_token_issuer', isIssuerOf(claims, rules) && isOfSameIssuer({ iss: claims.iss }, sameIssuer));
  demand('id_token_audience', audiences.includes(clientId));
  // With several audiences, only `azp` says for whom it was made.
  demand('id_token_authorized_party', azp === undefined ? audiences.length === 1 : azp === clientId);
  demand('id_token_subject', typeof sub === 'string' && sub !== '' && (subject === undefined || sub === subject));
  demand('id_token_nonce', nonce === undefined || claims.nonce === nonce);
}

// EdDSA means Ed25519 here, which hashes with SHA-512.
const hashes: Readonly<Record<string, string>> = {
  256: 'sha256',
  384: 'sha384',
  512: 'sha512',
  EdDSA: 'sha512',
  Ed25519: 'sha512',
};

/** `at_hash` binds the access token to this ID token (OpenID Connect Core 3.1.3.6). It may be absent. */
function checkHash({ at_hash: atHash }: JWTPayload, algorithm: string, accessToken: string | undefined): void {
  if (atHash === undefined || accessToken === undefined) return;
  const hash = hashes[algorithm] ?? hashes[algorithm.slice(-3)];
  if (hash === undefined) return;
  const digest = createHash(hash).update(accessToken).digest();
  demand('id_token_access_token_hash', atHash === digest.subarray(0, digest.length / 2).toString('base64url'));
}

function demand(check: SignInCheck, holds: boolean): void {
  if (!holds) throw new CheckFailed(check);
}

/** The check that an error of jose stands for. By its code: jose's messages may change. */
function asFailedCheck(error: unknown): unknown {
  if (error instanceof KeyNotPublished) return new CheckFailed('id_token_key');
  const { code, claim } = error as Partial<errors.JWTClaimValidationFailed>;
  switch (code as string | undefined) {
    case 'ERR_JWT_EXPIRED':
      return new CheckFailed('id_token_expiry');
    case 'ERR_JWT_CLAIM_VALIDATION_FAILED':
      return new CheckFailed(
        claim === 'nbf' ? 'id_token_not_before' : claim === 'iat' ? 'id_token_issued_at' : 'id_token_expiry',
      );
    case 'ERR_JOSE_ALG_NOT_ALLOWED':
    case 'ERR_JOSE_NOT_SUPPORTED':
      return new CheckFailed('id_token_algorithm');
    case 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED':
      return new CheckFailed('id_token_signature');
    case 'ERR_JWS_INVALID':
    case 'ERR_JWT_INVALID':
      return new CheckFailed('id_token_malformed');
    default:
      return error;
  }
}
