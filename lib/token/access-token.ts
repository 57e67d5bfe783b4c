import type { errors, FlattenedJWSInput, JWTHeaderParameters, JWTPayload } from 'jose';

import { isPromiseLike } from '../awaitable.js';
import { deepFreeze, isRecord } from '../json.js';
import type { AccessTokenRules, Provider } from '../provider/provider.js';
import type { SessionPayload } from '../session/payload.js';
import { idTokenClaims, type SessionClaims } from '../session/profile.js';
import type { RetryableReason, TokenProblem, TokenReason } from '../session/reasons.js';
import { unverifiedClaims } from '../session/unverified-claims.js';
import { failureDetail } from '../wire/failure.js';
import { verifyWithAnyKey } from './any-key.js';
import { isIssuerOf, isOfSameIssuer, isTemplate } from './issuer.js';
import { KeyNotPublished, type KeySet, keySetOf, maxKeys } from './key-set.js';
import { signedClaims } from './rs256.js';

/** Three answers, never two: good, bad (expired is one kind of bad), cannot tell. */
export type TokenCheck =
  | {
      readonly verdict: 'valid';
      readonly claims: SessionClaims;
      readonly expiresAtMs: number;
      readonly issuedAtMs: number;
      /** Whether the claims are the ID token's, because the access token is opaque. */
      readonly fromIdToken?: boolean;
    }
  /** `claims` are there when the signature fits and only the time has passed. */
  | {
      readonly verdict: 'expired';
      readonly claims?: SessionClaims;
      readonly expiresAtMs?: number;
      readonly fromIdToken?: boolean;
    }
  | {
      readonly verdict: 'invalid';
      readonly reason: TokenReason;
      /** What was wrong, for operators. */
      readonly detail: TokenProblem;
      /** Set when the options are more likely wrong than the token. */
      readonly misconfigured?: 'issuer' | 'audience' | undefined;
    }
  /** The keys or the rules could not be had, so the token could not be judged. */
  | {
      readonly verdict: 'unknown';
      readonly reason: RetryableReason;
      /** What is wrong with the provider object, for operators, where that is the reason. */
      readonly message?: string | undefined;
      /** Why the key set could not be had: the system's code, or a word of ours such as `http_404`. */
      readonly error?: string | undefined;
      /** Set when the key set was had, and the key of this token is not in it. */
      readonly isKeyUnpublished?: boolean;
    };

export interface TokenCheckOptions {
  readonly clockToleranceSeconds: number;
  /** Whether the token has just come from the provider. */
  readonly fresh?: boolean;
  /** Whether it is only asked if the token is meant for us: nothing is concluded about the key set. */
  readonly deciding?: boolean;
}

/**
 * Checks the access token of a payload, and that it is about the user beside it. The result is a plain value where the
 * provider's rules and keys are at hand and the token is an ordinary one. Never throws and never rejects.
 */
export function checkAccessToken(
  provider: Provider,
  payload: SessionPayload,
  options: TokenCheckOptions,
): TokenCheck | Promise<TokenCheck> {
  const { accessToken } = payload;
  const { clockToleranceSeconds } = options;
  const nowMs = Date.now();

  function checkBy(rules: 'opaque' | AccessTokenRules): TokenCheck | Promise<TokenCheck> {
    if (rules === 'opaque') return checkOpaque(payload, nowMs, clockToleranceSeconds);
    const check = checkByRules(provider, payload, rules, options);
    if (payload.tokenKind !== 'undecided' || rules.elseOpaque !== true) return check;
    return isPromiseLike(check) ? Promise.resolve(check).then(decide) : decide(check);
  }

  /** A token that could not be judged when it came: now that the keys are here, what is not for us is opaque. */
  function decide(check: TokenCheck): TokenCheck {
    const isForAnother =
      check.verdict === 'invalid' ||
      (check.verdict === 'expired' && check.claims === undefined) ||
      (check.verdict === 'unknown' && check.isKeyUnpublished === true);
    return isForAnother ? checkOpaque(payload, nowMs, clockToleranceSeconds) : check;
  }

  try {
    const rules = provider.accessToken(accessToken, payload.tokenKind);
    return isPromiseLike(rules) ? Promise.resolve(rules).then(checkBy).catch(verdictOfError) : checkBy(rules);
  } catch (error) {
    return verdictOfError(error);
  }
}

/** Checks a JWT by the rules of its provider. */
export function checkByRules(
  provider: Provider,
  payload: SessionPayload,
  rules: AccessTokenRules,
  options: TokenCheckOptions,
): TokenCheck | Promise<TokenCheck> {
  const problem = problemOfRules(rules);
  if (problem !== undefined) {
    const message = `The access tokens of the ${provider.name} provider cannot be checked. Its accessToken() ${problem}`;
    return { verdict: 'unknown', reason: 'provider_misconfigured', message };
  }
  const { clockToleranceSeconds } = options;
  const nowMs = Date.now();
  const keys = keySetOf(provider, rules);
  const claims = ordinaryClaims(payload.accessToken, keys, rules, nowMs, clockToleranceSeconds);
  return claims
    ? judgeClaims(claims, payload, rules, nowMs, clockToleranceSeconds)
    : checkWithJose(payload, keys, rules, options, nowMs);
}

/**
 * What is wrong with the rules of a provider, as the end of a sentence. A string where a list is due would be searched
 * for a part of it: an issuer `https://id.example.com` would be found in `https://id.example.com.evil.example`.
 */
function problemOfRules(rules: unknown): string | undefined {
  if (!isRecord(rules)) return 'must return "opaque" or the rules of a JWT.';
  const { keys, keysUrl, algorithms, issuer, audience } = rules;
  if (keys === undefined && typeof keysUrl !== 'string') return 'must give "keys" or "keysUrl", or return "opaque".';
  if (keys !== undefined && !(Array.isArray(keys) && keys.length > 0 && keys.every(isRecord))) {
    return 'must give "keys" as a list of at least one JWK.';
  }
  if (Array.isArray(keys) && keys.length > maxKeys) return `must give at most ${maxKeys} "keys".`;
  if (!Array.isArray(algorithms) || !Array.isArray(issuer)) return 'must give "algorithms" and "issuer" as lists.';
  return audience === undefined || Array.isArray(audience) ? undefined : 'must give "audience" as a list.';
}

async function checkWithJose(
  payload: SessionPayload,
  keys: KeySet,
  rules: AccessTokenRules,
  { clockToleranceSeconds, fresh = false, deciding = false }: TokenCheckOptions,
  nowMs: number,
): Promise<TokenCheck> {
  try {
    const claims = await verify(payload.accessToken, keys, rules, nowMs, clockToleranceSeconds);
    return judgeClaims(claims, payload, rules, nowMs, clockToleranceSeconds);
  } catch (error) {
    if (error instanceof KeyNotPublished && fresh) {
      if (!deciding) keys.lagsBehind();
      const reason = rules.keys ? 'provider_misconfigured' : 'keys_unavailable';
      return { verdict: 'unknown', reason, isKeyUnpublished: true };
    }
    // The key may have been withdrawn, or it is the key of another provider. Only the first is a reason to refresh.
    if (error instanceof KeyNotPublished && payload.boundTo === undefined) {
      return strangerIn(unverifiedClaims(payload.accessToken), rules) ?? { verdict: 'expired' };
    }
    const expiredClaims = claimsOfExpired(error);
    return expiredClaims
      ? judgeClaims(expiredClaims, payload, rules, nowMs, clockToleranceSeconds)
      : verdictOfError(error);
  }
}

/** The claims of a token whose only fault for jose is its age. */
function claimsOfExpired(error: unknown): JWTPayload | undefined {
  const { code, payload } = error as Partial<errors.JWTExpired>;
  return code === 'ERR_JWT_EXPIRED' ? payload : undefined;
}

/** What says that a token whose signature cannot be checked is of another issuer or client. */
function strangerIn(claims: SessionClaims, rules: AccessTokenRules): TokenCheck | undefined {
  const { iss } = claims;
  // A token that names no issuer is of none that we know: it would be refused with every key.
  if (typeof iss !== 'string' || !isIssuerOf(claims, rules)) {
    return invalid('invalid_jwt', 'other_issuer', 'issuer');
  }
  return rules.issuedToUs?.(claims) === false ? invalid('invalid_jwt', 'other_client', 'audience') : undefined;
}

/** Whether an access token says that it is of this provider and client. Nothing of it is verified. */
export async function namesUs(provider: Provider, accessToken: string): Promise<boolean> {
  try {
    const rules = await provider.accessToken(accessToken);
    if (rules === 'opaque') return false;
    const claims = unverifiedClaims(accessToken);
    return isIssuerOf(claims, rules) && (rules.issuedToUs?.(claims) ?? 'unsaid') === true;
  } catch {
    return false;
  }
}

/**
 * The verdict on claims whose signature, issuer and audience are right. The expiry comes last: an expired token may be
 * served for a while, or refreshed, and neither may happen to the token of another client or user.
 */
function judgeClaims(
  claims: JWTPayload,
  { user, tokenSubject, tokenIssuer }: SessionPayload,
  rules: AccessTokenRules,
  nowMs: number,
  toleranceSeconds: number,
): TokenCheck {
  const { exp = 0, iat = 0 } = claims;
  if (!isIssuerOf(claims, rules)) return invalid('invalid_jwt', 'other_issuer', 'issuer');
  if (isAmongSeveral(rules, tokenIssuer) && !isOfSameIssuer(claims, tokenIssuer)) {
    return invalid('invalid_jwt', 'issuer_changed');
  }
  // A promise, of an `async` method by mistake, would let every client's tokens in.
  const isOurs: unknown = rules.issuedToUs ? rules.issuedToUs(claims) : true;
  if (isOurs !== true && isOurs !== 'unsaid') return invalid('invalid_jwt', 'other_client', 'audience');
  if (isOtherKind(claims)) return invalid('invalid_jwt', 'other_token_type');
  // jose checks only that `sub` is there, not that it is a string.
  if (typeof claims.sub !== 'string' || claims.sub === '') return invalid('invalid_jwt', 'subject_missing');
  // The token of one user beside the profile of another: a seal that was put together from two sessions. A provider that
  // names the user in another way to an API has said so at sign-in.
  const subject = tokenSubject ?? user?.id;
  if (subject !== undefined && claims.sub !== subject) return invalid('invalid_jwt', 'other_user');
  if (hasExpired(exp, nowMs, toleranceSeconds)) return expired(claims);
  return {
    verdict: 'valid',
    claims: deepFreeze(claims),
    expiresAtMs: exp * 1000,
    issuedAtMs: iat * 1000,
  };
}

/** Whether these rules accept several issuers, among them the one that the session began with. */
function isAmongSeveral({ issuer }: AccessTokenRules, began: string | undefined): began is string {
  return began !== undefined && (issuer.some(isTemplate) || (issuer.length > 1 && issuer.includes(began)));
}

/**
 * Whether the claims are those of an ID token or of a log-out token (OpenID Connect Core 2, Back-Channel Logout 2.4), which
 * are signed with the same keys. Keycloak and Cognito name the kind. Older versions of Keycloak put a `nonce` into access
 * tokens too, with `typ: Bearer`.
 */
function isOtherKind({ at_hash: atHash, events, nonce, typ, token_use: use }: JWTPayload): boolean {
  if (typ === 'ID' || use === 'id') return true;
  return atHash !== undefined || events !== undefined || (nonce !== undefined && typ !== 'Bearer');
}

/** An opaque token says nothing itself, so the seal must say whose it is: its provider and its user. */
function checkOpaque(payload: SessionPayload, nowMs: number, toleranceSeconds: number): TokenCheck {
  const { boundTo, user, expiresAt } = payload;
  if (boundTo === undefined) return invalid('invalid_jwt', 'opaque_without_provider');
  if (!user?.id) return invalid('invalid_jwt', 'opaque_without_user');
  if (expiresAt === undefined) return invalid('invalid_jwt', 'opaque_without_expiry');
  const held = { claims: deepFreeze(idTokenClaims(payload)), fromIdToken: true, expiresAtMs: expiresAt };
  return nowMs < expiresAt + toleranceSeconds * 1000
    ? { verdict: 'valid', ...held, issuedAtMs: nowMs }
    : { verdict: 'expired', ...held };
}

/**
 * The claims of an ordinary RS256 token that is good, or was until it expired. Undefined for every other token: jose then
 * says what is wrong with it.
 */
function ordinaryClaims(
  token: string,
  { rsaKey }: KeySet,
  rules: AccessTokenRules,
  nowMs: number,
  toleranceSeconds: number,
): JWTPayload | undefined {
  const { algorithms, audience } = rules;
  const claims = algorithms.includes('RS256') ? signedClaims(token, rsaKey) : undefined;
  if (!claims) return undefined;
  const { sub, aud, exp, nbf, iat } = claims;
  const now = Math.floor(nowMs / 1000);
  const isGood =
    isIssuerOf(claims, rules) &&
    typeof sub === 'string' &&
    (audience === undefined || [aud].flat().some((one) => typeof one === 'string' && audience.includes(one))) &&
    typeof exp === 'number' &&
    (nbf === undefined || (typeof nbf === 'number' && nbf <= now + toleranceSeconds)) &&
    (iat === undefined || typeof iat === 'number');
  return isGood ? claims : undefined;
}

async function verify(
  token: string,
  { find }: KeySet,
  rules: AccessTokenRules,
  nowMs: number,
  toleranceSeconds: number,
): Promise<JWTPayload> {
  const { algorithms, audience } = rules;
  const issuedMs = issuedAtMs(token);
  const getKey = (header: JWTHeaderParameters, input: FlattenedJWSInput) => {
    // RFC 8725 section 3.11: a token of another type is signed with the same keys.
    if (isOtherType(header.typ)) throw new OtherType();
    return find(header, input, issuedMs);
  };
  const { payload } = await verifyWithAnyKey(token, getKey, {
    algorithms: [...algorithms],
    ...(audience && { audience: [...audience] }),
    // For jose, a token without `exp` never expires.
    requiredClaims: ['exp', 'iss', 'sub'],
    clockTolerance: toleranceSeconds,
    currentDate: new Date(nowMs),
  });
  return payload;
}

/** Whether a header names a type of JWT, and that is not an access token's. */
function isOtherType(typ: unknown): boolean {
  return typeof typ === 'string' && /\+jwt$/i.test(typ) && !/^(application\/)?at\+jwt$/i.test(typ);
}

/** The header says that the token is of another type than an access token. */
class OtherType extends Error {
  override readonly name = 'OtherType';
}

/** The verdict for an error of `jwtVerify` or of the key set. By its code: jose's messages may change. */
export function verdictOfError(error: unknown): TokenCheck {
  // The key was withdrawn. The token cannot be trusted any more, and a refresh brings one that can.
  if (error instanceof KeyNotPublished) return { verdict: 'expired' };
  if (error instanceof OtherType) return invalid('invalid_jwt', 'other_token_type');
  const { code, claim, reason, payload } = error as Partial<errors.JWTExpired>;
  switch (code) {
    case 'ERR_JWT_EXPIRED':
      return payload ? expired(payload) : { verdict: 'expired' };
    case 'ERR_JWT_CLAIM_VALIDATION_FAILED':
      if (claim === 'nbf' && reason === 'check_failed') {
        return invalid('invalid_jwt', 'not_yet_valid');
      }
      return invalid(
        'invalid_jwt',
        problemOfClaim(claim, reason === 'missing'),
        claim === 'iss' ? 'issuer' : claim === 'aud' ? 'audience' : undefined,
      );
    case 'ERR_JOSE_ALG_NOT_ALLOWED':
    case 'ERR_JOSE_NOT_SUPPORTED':
      return invalid('invalid_jwt_algorithm', 'algorithm_not_accepted');
    case 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED':
      return invalid('invalid_jwt_signature', 'signature_wrong');
    case 'ERR_JWS_INVALID':
    case 'ERR_JWT_INVALID':
      return invalid('invalid_jwt', 'not_a_jwt');
    default:
      // The rules or the keys could not be had, or they are unusable. That says nothing about the token.
      return { verdict: 'unknown', reason: 'keys_unavailable', error: failureDetail(error) };
  }
}

/** What is wrong with a claim that jose does not accept. */
function problemOfClaim(claim: string | undefined, isMissing: boolean): TokenProblem {
  switch (claim) {
    case 'iss':
      return 'other_issuer';
    case 'aud':
      return 'other_audience';
    case 'sub':
      return 'subject_missing';
    case 'exp':
      return isMissing ? 'expiry_missing' : 'expiry_malformed';
    case 'nbf':
      return 'not_before_malformed';
    default:
      // jose asks for no more than these and `iat`.
      return 'issued_at_malformed';
  }
}

function hasExpired(exp: number, nowMs: number, toleranceSeconds: number): boolean {
  return exp <= Math.floor(nowMs / 1000) - toleranceSeconds;
}

function expired(claims: JWTPayload): TokenCheck {
  return { verdict: 'expired', claims: deepFreeze(claims), expiresAtMs: (claims.exp ?? 0) * 1000 };
}

function invalid(reason: TokenReason, detail: TokenProblem, misconfigured?: 'issuer' | 'audience'): TokenCheck {
  return { verdict: 'invalid', reason, detail, misconfigured };
}

/** `iat` in milliseconds, before anything is verified: it decides only whether the keys are fetched again. */
export function issuedAtMs(token: string): number {
  const { iat } = unverifiedClaims(token);
  return typeof iat === 'number' ? iat * 1000 : 0;
}
