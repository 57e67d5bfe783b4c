import { fingerprint } from '../fingerprint.js';
import { isRecord } from '../json.js';
import type { SessionPayload } from '../session/payload.js';
import { idOf, unverifiedClaims } from '../session/unverified-claims.js';

/** What is shown of a token: never the token. */
export interface TokenFacts {
  readonly fingerprint: string;
  readonly bytes: number;
  readonly kind: 'jwt' | 'opaque';
  readonly algorithm?: unknown;
  readonly keyId?: unknown;
  readonly issuer?: unknown;
  readonly audience?: unknown;
  readonly issuedAt?: string | undefined;
  readonly expiresAt?: string | undefined;
}

/** What is in a seal, without a value that opens anything or names a person. */
export interface SealContents {
  readonly sessionId: string | undefined;
  readonly accessToken: TokenFacts;
  /** Undefined: the session ends with its access token. */
  readonly refreshToken: { readonly fingerprint: string; readonly bytes: number } | undefined;
  readonly hasUser: boolean;
  readonly organizationId: string | undefined;
  readonly isBound: boolean;
  readonly isDeviceBound: boolean;
  readonly sealedAt: string | undefined;
  readonly startedAt: string | undefined;
  readonly usedAt: string | undefined;
  readonly refreshedAt: string | undefined;
  /** The bytes of each part before it is sealed, the largest first. */
  readonly parts: Readonly<Record<string, number>>;
}

export function contentsOf(payload: SessionPayload): SealContents {
  const { refreshToken, sealedAt, startedAt, usedAt, refreshedAt } = payload;
  const parts = Object.entries(payload)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => [name, Buffer.byteLength(JSON.stringify(value))] as const)
    .sort(([, one], [, other]) => other - one);
  return {
    sessionId: idOf(payload),
    accessToken: tokenFacts(payload),
    refreshToken:
      refreshToken === undefined ? undefined : { fingerprint: fingerprint(refreshToken), bytes: refreshToken.length },
    hasUser: isRecord(payload.user),
    organizationId: payload.organizationId,
    isBound: payload.boundTo !== undefined,
    isDeviceBound: payload.deviceKey !== undefined,
    sealedAt: time(sealedAt),
    startedAt: time(startedAt, 1_000),
    usedAt: time(usedAt, 1_000),
    refreshedAt: time(refreshedAt),
    parts: Object.fromEntries(parts),
  };
}

function tokenFacts({ accessToken, expiresAt, tokenKind }: SessionPayload): TokenFacts {
  const claims = unverifiedClaims(accessToken);
  const facts = { fingerprint: fingerprint(accessToken), bytes: accessToken.length };
  if (tokenKind === 'opaque' || Object.keys(claims).length === 0) {
    return { ...facts, kind: 'opaque', expiresAt: time(expiresAt) };
  }
  const { alg, kid } = headerOf(accessToken);
  return {
    ...facts,
    kind: 'jwt',
    algorithm: alg,
    keyId: kid,
    issuer: claims.iss,
    audience: claims.aud,
    issuedAt: time(claims.iat, 1_000),
    expiresAt: time(claims.exp, 1_000),
  };
}

function headerOf(token: string): Record<string, unknown> {
  try {
    const header: unknown = JSON.parse(Buffer.from(token.split('.', 1)[0] ?? '', 'base64url').toString());
    return isRecord(header) ? header : {};
  } catch {
    return {};
  }
}

/** A time, as people and programs read it. Undefined for what is none. */
export function time(value: unknown, factor = 1): string | undefined {
  const date = new Date(typeof value === 'number' ? value * factor : NaN);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}
