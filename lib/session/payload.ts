import { isRecord } from '../json.js';

/** The refresh or the key set could not be asked; the session may well be good. The cookie is kept. */
export type RetryableReason =
  'rate_limit_exceeded' | 'timeout' | 'server_error' | 'network_error' | 'keys_unavailable' | 'provider_misconfigured';

/** The provider has said that this session is over, or that the user must take a step to go on. */
export type TerminalReason = 'invalid_grant' | 'sso_required' | 'mfa_enrollment' | 'session_revoked';

/** What is wrong with the access token. */
export type TokenReason = 'invalid_jwt' | 'invalid_jwt_algorithm' | 'invalid_jwt_signature' | 'expired_jwt';

/** Why a visitor is not signed in. Stable strings of ours: a provider's prose is never a reason. */
export type Reason =
  'no_session_cookie_provided' | 'invalid_session_cookie' | TokenReason | TerminalReason | RetryableReason;

const retryable: ReadonlySet<Reason> = new Set<RetryableReason>([
  'rate_limit_exceeded',
  'timeout',
  'server_error',
  'network_error',
  'keys_unavailable',
  'provider_misconfigured',
]);

export function isRetryable(reason: Reason): reason is RetryableReason {
  return retryable.has(reason);
}

/** Why a cookie could not be opened. For telemetry: the browser is told `invalid_session_cookie` for each. */
export type SealProblem = 'tampered' | 'unknown_password' | 'expired_seal' | 'bad_shape';

/**
 * Who is signed in. From WorkOS: the user object in camelCase, as its JavaScript packages seal it. From an OpenID
 * provider: the ID token's claims about the person, with `sub` as `id`.
 */
export interface User {
  readonly id: string;
  readonly email?: string | null;
  readonly name?: string | null;
  readonly [field: string]: unknown;
}

/** The WorkOS dashboard user who is acting as `user`. */
export interface Impersonator {
  readonly email: string;
  readonly reason: string | null;
}

/**
 * What the cookie seals. The names are those of WorkOS's JavaScript packages, so that either reads the other's
 * cookie; fields that we do not know are kept.
 */
export interface SessionPayload {
  readonly accessToken: string;
  readonly refreshToken?: string | undefined;
  readonly user?: User | null | undefined;
  readonly organizationId?: string | undefined;
  readonly authenticationMethod?: string | undefined;
  readonly impersonator?: Impersonator | undefined;
  /** The app's own values. */
  readonly data?: Readonly<Record<string, unknown>> | undefined;
  /** Our own id for the session, where the access token has no `sid` claim. */
  readonly sessionId?: string | undefined;
  /** When the session began, and when it was last used: seconds since the epoch. */
  readonly startedAt?: number | undefined;
  readonly usedAt?: number | undefined;
  /** When an opaque access token expires: milliseconds since the epoch. A JWT says so itself. */
  readonly expiresAt?: number | undefined;
  readonly [field: string]: unknown;
}

/** A token response, in one shape for every provider. */
export interface TokenSet {
  readonly accessToken: string;
  /** Absent when the provider does not rotate: the refresh token in use stays (RFC 6749 section 6). */
  readonly refreshToken?: string | undefined;
  /** Absent when the answer does not speak of the user: the user of before stays. */
  readonly user?: User | undefined;
  /** These come from the answer alone: an impersonation that has ended must not live on in the cookie. */
  readonly organizationId?: string | undefined;
  readonly authenticationMethod?: string | undefined;
  readonly impersonator?: Impersonator | undefined;
  /** Lifetime of an opaque access token, in seconds from now. */
  readonly expiresIn?: number | undefined;
}

export type Claims = Readonly<Record<string, unknown>>;

/** The payload that follows `previous` once the provider has answered with `tokens`. */
export function succeed(previous: SessionPayload | undefined, tokens: TokenSet, nowMs: number): SessionPayload {
  const { accessToken, expiresIn, organizationId, authenticationMethod, impersonator } = tokens;
  return {
    ...previous,
    accessToken,
    refreshToken: tokens.refreshToken ?? previous?.refreshToken,
    user: tokens.user ?? previous?.user,
    organizationId,
    authenticationMethod,
    impersonator,
    expiresAt: expiresIn === undefined ? undefined : nowMs + expiresIn * 1000,
  };
}

/**
 * The decrypted JSON as a payload, or `undefined` when it is not one: anything can have been sealed. Either way of
 * naming the fields is read: `accessToken` as WorkOS's JavaScript packages write, `access_token` as its Ruby SDK does.
 */
export function readPayload(value: unknown, camelCaseUser = false): SessionPayload | undefined {
  if (!isRecord(value)) return undefined;
  // A null where a field may be absent means the same: other writers seal both.
  const present = fieldsThat(isPresent, value);
  const payload =
    'access_token' in present && !('accessToken' in present) ? readSnakeCase(present, camelCaseUser) : present;
  return isPayload(payload) ? fieldsThat(isAsOurs, payload) : undefined;
}

/** An object with those fields alone that pass; itself, where all do. */
function fieldsThat<Fields extends Record<string, unknown>>(
  pass: (value: unknown, field: string) => boolean,
  all: Fields,
): Fields {
  if (Object.keys(all).every((field) => pass(all[field], field))) return all;
  return Object.fromEntries(Object.entries(all).filter(([field, value]) => pass(value, field))) as Fields;
}

const isPresent = (value: unknown) => value !== null;

function isPayload(value: Record<string, unknown>): value is Record<string, unknown> & SessionPayload {
  const { accessToken, refreshToken, user } = value;
  return (
    isToken(accessToken) &&
    (refreshToken === undefined || isToken(refreshToken)) &&
    (user === undefined || (isRecord(user) && typeof user.id === 'string'))
  );
}

const isString = (value: unknown): value is string => typeof value === 'string';

// Without one of these a session is still one.
const optionalFields = new Map<string, (value: unknown) => boolean>([
  ['organizationId', isString],
  ['authenticationMethod', isString],
  ['impersonator', (value) => isRecord(value) && isString(value.email)],
  ['data', isRecord],
  ['sessionId', isString],
  ['startedAt', Number.isFinite],
  ['usedAt', Number.isFinite],
  ['expiresAt', Number.isFinite],
]);

/**
 * Whether a field holds what ours does. One that does not is left out: another writer with our password may have a use
 * of its own for the name, and that is no reason to sign its visitors out. Without `startedAt` or `usedAt` a session has
 * no limit of that kind, as with a writer that does not know them; a visitor cannot bring that about, because only who
 * has the password can write one at all. An opaque token without `expiresAt` is no good.
 */
function isAsOurs(value: unknown, field: string): boolean {
  return value === undefined || (optionalFields.get(field)?.(value) ?? true);
}

// Fields that we do not know keep their names, and so do those of the app's own data.
const ownFields = [
  'accessToken',
  'refreshToken',
  'organizationId',
  'authenticationMethod',
  'sessionId',
  'expiresAt',
  'startedAt',
  'usedAt',
];
const ownSnakeFields = new Map(ownFields.map((field) => [snakeCase(field), field]));

function readSnakeCase(value: Record<string, unknown>, camelCaseUser: boolean): Record<string, unknown> {
  const fields = Object.entries(value).map(([field, each]) => [ownSnakeFields.get(field) ?? field, each]);
  const { user, ...rest } = Object.fromEntries(fields) as Record<string, unknown>;
  return {
    ...rest,
    ...(user !== undefined && { user: camelCaseUser && isRecord(user) ? camelCaseFields(user) : user }),
  };
}

/** A payload with the field names of WorkOS's Ruby SDK. */
export function snakeCasePayload(payload: SessionPayload, camelCaseUser = false): Record<string, unknown> {
  const fields = Object.entries(payload).map(([field, value]) => {
    if (field === 'user' && camelCaseUser && isRecord(value)) return [field, renamed(value, snakeCase)];
    return [ownFields.includes(field) ? snakeCase(field) : field, value];
  });
  return Object.fromEntries(fields) as Record<string, unknown>;
}

/** The fields of an object of WorkOS's API under the names that its JavaScript packages use. */
export function camelCaseFields(value: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return renamed(value, (field) => field.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()));
}

function renamed(value: Readonly<Record<string, unknown>>, rename: (field: string) => string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).map(([field, each]) => [rename(field), each]));
}

function snakeCase(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** The session's id: the `sid` claim, or the id that we gave it. Known also when the token has expired. */
export function sessionIdOf(payload: SessionPayload, claims: Claims): string | undefined {
  return typeof claims.sid === 'string' ? claims.sid : payload.sessionId;
}

/** From when on a session is over by our own rules, in milliseconds. A time that was not noted limits nothing. */
export function endsAtMs(
  { startedAt, usedAt }: SessionPayload,
  limits: { absoluteMs: number; idleMs: number },
): number {
  return Math.min(
    startedAt === undefined ? Infinity : startedAt * 1000 + limits.absoluteMs,
    usedAt === undefined ? Infinity : usedAt * 1000 + limits.idleMs,
  );
}

/** What an app reads of a signed-in session. */
export interface SessionProfile {
  readonly user: User;
  /** The verified claims of the access token; empty for an opaque one. */
  readonly claims: Claims;
  readonly sessionId: string | undefined;
  readonly organizationId: string | undefined;
  readonly role: string | undefined;
  readonly roles: readonly string[];
  readonly permissions: readonly string[];
  readonly entitlements: readonly string[];
  readonly featureFlags: readonly string[];
  readonly impersonator: Impersonator | undefined;
}

const none: readonly string[] = Object.freeze([]);

export function profileOf(payload: SessionPayload, claims: Claims): SessionProfile {
  const text = (claim: unknown) => (typeof claim === 'string' ? claim : undefined);
  const texts = (claim: unknown): readonly string[] => {
    if (!Array.isArray(claim)) return none;
    return claim.every(isString) ? claim : claim.filter(isString);
  };
  const role = text(claims.role);
  const roles = texts(claims.roles);
  return {
    // Some writers seal no user. The token's subject is who it is about, all the same.
    user: payload.user ?? { id: text(claims.sub) ?? '' },
    claims,
    sessionId: sessionIdOf(payload, claims),
    organizationId: text(claims.org_id) ?? payload.organizationId,
    role,
    roles: roles.length === 0 && role !== undefined ? [role] : roles,
    permissions: texts(claims.permissions),
    entitlements: texts(claims.entitlements),
    featureFlags: texts(claims.feature_flags),
    impersonator: payload.impersonator,
  };
}

function isToken(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}
