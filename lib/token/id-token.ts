import { createHash } from 'node:crypto';

import type { JWTPayload } from 'jose';

import { ceilingMs, isCeiling } from '../session/ceiling.js';
import type { SessionClaims } from '../session/profile.js';
import type { SignInCheck } from '../session/sign-in-check.js';
import { CheckFailed } from '../wire/check-failed.js';
import { isOfSameIssuer } from './issuer.js';
import { type ProviderTokenRules, TokenRefused, verifyProviderToken } from './provider-token.js';

/** What an ID token must satisfy. */
export interface IdTokenRules extends ProviderTokenRules {
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
  try {
    const { claims, header } = await verifyProviderToken(token, rules);
    checkClaims(claims, rules);
    checkHash(claims, header.alg, rules.accessToken);
    return claims;
  } catch (error) {
    throw error instanceof TokenRefused ? new CheckFailed(`id_token_${error.fault}`) : error;
  }
}

function checkClaims(claims: JWTPayload, { clientId, nonce, subject, sameIssuer }: IdTokenRules): void {
  const { exp, sub, azp } = claims;
  const audiences = [claims.aud].flat();
  // jose checks the times only where they are there.
  demand('id_token_expiry', typeof exp === 'number');
  demand('id_token_issuer', isOfSameIssuer({ iss: claims.iss }, sameIssuer));
  // With several audiences, only `azp` says for whom it was made.
  demand('id_token_authorized_party', azp === undefined ? audiences.length === 1 : azp === clientId);
  demand('id_token_subject', typeof sub === 'string' && sub !== '' && (subject === undefined || sub === subject));
  demand('id_token_nonce', nonce === undefined || claims.nonce === nonce);
  const { session_expiry: ceiling } = claims;
  // One that cannot be read would be none. At sign-in, one that is past would send the visitor in a circle.
  const isKept = isCeiling(ceiling) && (nonce === undefined || ceilingMs(ceiling) > Date.now());
  demand('id_token_session_expiry', ceiling === undefined || isKept);
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
