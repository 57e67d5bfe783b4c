import type { errors, FlattenedJWSInput, JWTHeaderParameters, JWTPayload, JWTVerifyGetKey } from 'jose';
import { jwtVerify } from 'jose/jwt/verify';

import { deepFreeze } from '../json.js';
import type { AccessTokenRules, Provider } from '../provider/provider.js';
import type { Claims, SessionPayload, TokenReason } from '../session/payload.js';
import { unverifiedClaims } from '../session/unverified-claims.js';
import { KeyNotPublished, type KeySet, keySet } from './key-set.js';
import { signedClaims } from './rs256.js';

/** Three answers, never two: good, bad (expired is one kind of bad), cannot tell. */
export type TokenCheck =
  | { readonly verdict: 'valid'; readonly claims: Claims; readonly expiresAtMs: number; readonly issuedAtMs: number }
  /** `claims` are there when the signature holds and only the time has passed. */
  | { readonly verdict: 'expired'; readonly claims?: Claims; readonly expiresAtMs?: number }
  | {
      readonly verdict: 'invalid';
      readonly reason: TokenReason;
      /** What was wrong, for operators. */
      readonly detail: string;
      /** Set when the options are the likelier culprit than the token. */
      readonly misconfigured?: 'issuer' | 'audience' | undefined;
    }
  /** The key server cannot be asked and no key is known. Nothing is known about the token. */
  | { readonly verdict: 'unknown' };

export interface TokenCheckOptions {
  readonly clockToleranceSeconds: number;
  /** Whether the token came from the provider a moment ago. */
  readonly fresh?: boolean;
}

// One key set for each provider object, however many middlewares share it.
const keySets = new WeakMap<Provider, { url: string; keys: KeySet }>();

function keysOf(provider: Provider, url: string): KeySet {
  const known = keySets.get(provider);
  if (known?.url === url) return known.keys;
  const keys = keySet(url);
  keySets.set(provider, { url, keys });
  return keys;
}

/**
 * Checks the access token of a payload, and that it is about the user beside it. At once, where the provider's rules
 * and keys are at hand and nothing is out of the ordinary; it never rejects, and never throws.
 */
export function checkAccessToken(
  provider: Provider,
  payload: SessionPayload,
  options: TokenCheckOptions,
): TokenCheck | Promise<TokenCheck> {
  const { accessToken } = payload;
  const { clockToleranceSeconds } = options;
  const nowMs = Date.now();

  function checkBy(rules: AccessTokenRules): TokenCheck | Promise<TokenCheck> {
    const keys = keysOf(provider, rules.keysUrl);
    const claims = readAtOnce(accessToken, keys, rules, nowMs, clockToleranceSeconds);
    return claims
      ? weigh(claims, payload, rules, nowMs, clockToleranceSeconds)
      : checkWithJose(payload, keys, rules, options, nowMs);
  }

  try {
    if (provider.isOpaque(accessToken)) return checkOpaque(payload, nowMs, clockToleranceSeconds);
    const rules = provider.accessTokenRules();
    return 'then' in rules ? Promise.resolve(rules).then(checkBy).catch(judge) : checkBy(rules);
  } catch (error) {
    return judge(error);
  }
}

async function checkWithJose(
  payload: SessionPayload,
  keys: KeySet,
  rules: AccessTokenRules,
  { clockToleranceSeconds, fresh = false }: TokenCheckOptions,
  nowMs: number,
): Promise<TokenCheck> {
  try {
    const claims = await verify(payload.accessToken, keys, rules, nowMs, clockToleranceSeconds);
    return weigh(claims, payload, rules, nowMs, clockToleranceSeconds);
  } catch (error) {
    if (error instanceof KeyNotPublished && fresh) {
      keys.lagsBehind();
      return { verdict: 'unknown' };
    }
    return judge(error);
  }
}

/** What claims come to whose signature holds, and which are this provider's. */
function weigh(
  claims: JWTPayload,
  { user }: SessionPayload,
  rules: AccessTokenRules,
  nowMs: number,
  toleranceSeconds: number,
): TokenCheck {
  const { exp = 0, iat = 0 } = claims;
  if (hasExpired(exp, nowMs, toleranceSeconds)) return expired(claims);
  if (!rules.issuedToUs(claims)) return invalid('invalid_jwt', 'issued to another client', 'audience');
  // jose asks that `sub` is there, not what it is.
  if (typeof claims.sub !== 'string' || claims.sub === '') return invalid('invalid_jwt', 'about nobody');
  // A token of one user's beside the profile of another: neither is to be believed.
  if (user && claims.sub !== user.id) return invalid('invalid_jwt', 'about another user');
  return {
    verdict: 'valid',
    claims: deepFreeze(claims),
    expiresAtMs: exp * 1000,
    issuedAtMs: iat * 1000,
  };
}

function checkOpaque({ expiresAt }: SessionPayload, nowMs: number, toleranceSeconds: number): TokenCheck {
  if (expiresAt === undefined) return invalid('invalid_jwt', 'an opaque access token without an expiry');
  return nowMs < expiresAt + toleranceSeconds * 1000
    ? { verdict: 'valid', claims: {}, expiresAtMs: expiresAt, issuedAtMs: nowMs }
    : { verdict: 'expired', claims: {}, expiresAtMs: expiresAt };
}

/** The claims of a token that is good beyond doubt, or was until it expired; undefined when jose is to say what it is. */
function readAtOnce(
  token: string,
  { rsaKey }: KeySet,
  { algorithms, issuer, audience }: AccessTokenRules,
  nowMs: number,
  toleranceSeconds: number,
): JWTPayload | undefined {
  const claims = algorithms.includes('RS256') ? signedClaims(token, rsaKey) : undefined;
  if (!claims) return undefined;
  const { iss, sub, aud, exp, nbf, iat } = claims;
  const now = Math.floor(nowMs / 1000);
  const isGood =
    typeof iss === 'string' &&
    issuer.includes(iss) &&
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
  { algorithms, issuer, audience }: AccessTokenRules,
  nowMs: number,
  toleranceSeconds: number,
): Promise<JWTPayload> {
  const issuedMs = issuedAtMs(token);
  const getKey = (header: JWTHeaderParameters, input: FlattenedJWSInput) => find(header, input, issuedMs);
  const { payload } = await verifyWithAny(token, getKey, {
    algorithms: [...algorithms],
    issuer: [...issuer],
    ...(audience && { audience: [...audience] }),
    // jose takes a token without `exp` for one that never expires.
    requiredClaims: ['exp', 'iss', 'sub'],
    clockTolerance: toleranceSeconds,
    currentDate: new Date(nowMs),
  });
  return payload;
}

/** `jwtVerify`, also for a key set that holds several keys a token without `kid` could mean. */
async function verifyWithAny(token: string, getKey: JWTVerifyGetKey, options: Parameters<typeof jwtVerify>[2]) {
  try {
    return await jwtVerify(token, getKey, options);
  } catch (error) {
    if (codeOf(error) !== 'ERR_JWKS_MULTIPLE_MATCHING_KEYS') throw error;
    let last: unknown = error;
    for await (const key of error as errors.JWKSMultipleMatchingKeys) {
      try {
        return await jwtVerify(token, key, options);
      } catch (wrongKey) {
        last = wrongKey;
        if (codeOf(wrongKey) !== 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED') break;
      }
    }
    throw last;
  }
}

/** What a rejection of `jwtVerify` says about the token; by code, as jose asks. */
function judge(error: unknown): TokenCheck {
  // The key was withdrawn. The token cannot be trusted, and the session can still be renewed.
  if (error instanceof KeyNotPublished) return { verdict: 'expired' };
  const { code, claim, reason, payload } = error as Partial<errors.JWTExpired>;
  switch (code) {
    case 'ERR_JWT_EXPIRED':
      return payload ? expired(payload) : { verdict: 'expired' };
    case 'ERR_JWT_CLAIM_VALIDATION_FAILED':
      if (claim === 'nbf' && reason === 'check_failed') {
        return invalid('invalid_jwt', 'not valid yet (claim nbf): is the clock right?');
      }
      return invalid(
        'invalid_jwt',
        `claim ${claim ?? ''} ${reason === 'missing' ? 'is missing' : 'is not as it must be'}`,
        claim === 'iss' ? 'issuer' : claim === 'aud' ? 'audience' : undefined,
      );
    case 'ERR_JOSE_ALG_NOT_ALLOWED':
    case 'ERR_JOSE_NOT_SUPPORTED':
      return invalid('invalid_jwt_algorithm', 'signed with an algorithm that is not accepted');
    case 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED':
      return invalid('invalid_jwt_signature', 'the signature does not fit the key');
    case 'ERR_JWS_INVALID':
    case 'ERR_JWT_INVALID':
      return invalid('invalid_jwt', 'not a JWT');
    default:
      // The rules or the keys could not be had, or they are unusable. None of that is the token's fault.
      return { verdict: 'unknown' };
  }
}

function hasExpired(exp: number, nowMs: number, toleranceSeconds: number): boolean {
  return exp <= Math.floor(nowMs / 1000) - toleranceSeconds;
}

function expired(claims: JWTPayload): TokenCheck {
  return { verdict: 'expired', claims: deepFreeze(claims), expiresAtMs: (claims.exp ?? 0) * 1000 };
}

function invalid(reason: TokenReason, detail: string, misconfigured?: 'issuer' | 'audience'): TokenCheck {
  return { verdict: 'invalid', reason, detail, misconfigured };
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown }).code;
}

/** `iat` in milliseconds, before anything is verified: it decides only whether the keys are fetched again. */
export function issuedAtMs(token: string): number {
  const { iat } = unverifiedClaims(token);
  return typeof iat === 'number' ? iat * 1000 : 0;
}
