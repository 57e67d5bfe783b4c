import { isRecord } from '../json.js';
import { ceilingMs, isCeiling } from './ceiling.js';

/**
 * Who is signed in. From WorkOS: the user object in camelCase, as its JavaScript packages seal it. From an OpenID
 * provider: the ID token's claims about the person, with `sub` as `id`.
 */
export interface User {
  /** The provider's id of the user: `sub` of an OpenID provider. */
  readonly id: string;
  /** The e-mail address, where it is known. */
  readonly email?: string | null;
  /** The name to show, where it is known. */
  readonly name?: string | null;
  readonly [field: string]: unknown;
}

/** The user of every session of the app. Add fields in one `declare module 'express-sealed-session'`. */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- an interface, so that apps can add to it
export interface SessionUser extends User {}

/** The app's own values in a session. Add fields in one `declare module 'express-sealed-session'`. */
// eslint-disable-next-line @typescript-eslint/consistent-indexed-object-style -- an interface, so that apps can add to it
export interface SessionData {
  [name: string]: unknown;
}

/** The WorkOS dashboard user who is acting as `user`. */
export interface Impersonator {
  /** The e-mail address of who acts. */
  readonly email: string;
  /** Why, in their own words. */
  readonly reason: string | null;
}

/** What an access token is to us. */
export type TokenKind = 'jwt' | 'opaque' | 'undecided';

// What an ID token says beside the user.
type IdTokenField = 'sid' | 'authenticatedAt' | 'acr' | 'amr' | 'sessionExpiry' | 'idClaims';

/** The fields of a seal that mean something to us. */
export interface PayloadFields {
  /** The access token. */
  readonly accessToken: string;
  /** The refresh token, where the provider gave one. */
  readonly refreshToken?: string | undefined;
  /** Who is signed in. */
  readonly user?: User | null | undefined;
  /** The organization that the tokens are for. */
  readonly organizationId?: string | undefined;
  /** How the user signed in, as WorkOS names it: `Password`, `SSO`, `GoogleOAuth`. */
  readonly authenticationMethod?: string | undefined;
  /** Who acts as the user, if somebody does. */
  readonly impersonator?: Impersonator | undefined;
  /** The app's own values. */
  readonly data?: Readonly<Record<string, unknown>> | undefined;
  /** Our own id for the session. A provider may use its `sid` again when the user signs in anew. */
  readonly sessionId?: string | undefined;
  /** Whose session this is: names the provider and that the seal is a session. Absent in the seals of other writers. */
  readonly boundTo?: string | undefined;
  /** When this seal was made: milliseconds since the epoch. Of several seals the newest counts. */
  readonly sealedAt?: number | undefined;
  /** When the session began: seconds since the epoch. */
  readonly startedAt?: number | undefined;
  /** When the session was last used: seconds since the epoch. */
  readonly usedAt?: number | undefined;
  /** When the tokens were last refreshed: milliseconds since the epoch. */
  readonly refreshedAt?: number | undefined;
  /** When an opaque access token expires: milliseconds since the epoch. A JWT says so itself. */
  readonly expiresAt?: number | undefined;
  /** The subject of the access token, where a provider names the user in another way than in the ID token. */
  readonly tokenSubject?: string | undefined;
  /** The issuer of the tokens, where a provider has several: two issuers may use one subject. */
  readonly tokenIssuer?: string | undefined;
  /**
   * Whether the access token is a JWT that is verified here, or opaque. `undecided`: the keys could not be had when it
   * came. Absent where the options say it, or where the app has given the tokens.
   */
  readonly tokenKind?: TokenKind | undefined;
  /** The provider's own id for the session (`sid`). */
  readonly sid?: string | undefined;
  /** When the user signed in at the provider (`auth_time`): seconds since the epoch. */
  readonly authenticatedAt?: number | undefined;
  /** How surely the user was authenticated (`acr`). */
  readonly acr?: string | undefined;
  /** By which methods (`amr`). */
  readonly amr?: readonly string[] | undefined;
  /** When the provider wants the session to end (`session_expiry`): seconds since the epoch. */
  readonly sessionExpiry?: number | undefined;
  /** The claims of the newest ID token that guards read. */
  readonly idClaims?: Readonly<Record<string, unknown>> | undefined;
  /** When the ID token came with these claims, where a later refresh brought none: milliseconds since the epoch. */
  readonly idClaimsAt?: number | undefined;
  /** A few bits about the client that signed in, to notice a copied seal. */
  readonly client?: string | undefined;
  /** The public key (JWK) of the device that the session is bound to. */
  readonly deviceKey?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * What the cookie seals. The names are those of WorkOS's JavaScript packages, so that either reads the other's
 * cookie. Fields that we do not know are kept.
 */
// eslint-disable-next-line @typescript-eslint/consistent-indexed-object-style -- it has known fields too
export interface SessionPayload extends PayloadFields {
  readonly [field: string]: unknown;
}

/** A token response, in one shape for every provider. */
export interface TokenSet extends Pick<PayloadFields, IdTokenField | 'tokenKind' | 'tokenSubject' | 'tokenIssuer'> {
  /** The access token: a JWT, or opaque with its `expiresIn`. */
  readonly accessToken: string;
  /** Absent when the provider does not rotate: the refresh token in use stays (RFC 6749 section 6). */
  readonly refreshToken?: string | undefined;
  /** Absent when the answer does not speak of the user: the user of before stays. */
  readonly user?: User | undefined;
  /** These come from the answer alone: an impersonation that has ended must not live on in the cookie. */
  readonly organizationId?: string | undefined;
  /** How the user signed in, as WorkOS names it. */
  readonly authenticationMethod?: string | undefined;
  /** Who acts as the user, if somebody does. */
  readonly impersonator?: Impersonator | undefined;
  /** Lifetime of an opaque access token, in seconds from now. */
  readonly expiresIn?: number | undefined;
  /** The ID token of a sign-in. It is not part of the session. */
  readonly idToken?: string | undefined;
  /** Tokens of the provider behind the provider, as WorkOS hands them on. They are kept nowhere. */
  readonly oauthTokens?: Readonly<Record<string, unknown>> | undefined;
}

/** One field of the payload: everything that the code has to know of it. */
interface FieldRule {
  /** Whether a sealed value is what the field holds here. */
  readonly isOurs: (value: unknown) => boolean;
  /** What a value of another kind means: the seal is no session, or the field is left out. */
  readonly otherwise: 'no session' | 'left out';
  /** The name in the seals of WorkOS's Ruby SDK. Fields without one keep their name there. */
  readonly snakeCase?: string;
  /** Where its value comes from when tokens are refreshed. */
  readonly afterRefresh: 'answer' | 'answer, else kept' | 'kept, else answer' | 'kept';
  /** Whether a request handler reads it on the session under this name. */
  readonly isShown: boolean;
}

const isText = (value: unknown) => typeof value === 'string';
const isToken = (value: unknown) => typeof value === 'string' && value !== '';

/**
 * The table of fields. Reading a seal, writing one in the Ruby SDK's names, the next payload after a refresh, and
 * what a handler sees are all derived from it: a field that lacks a row, or a part of one, does not compile.
 */
export const payloadFields = {
  accessToken: {
    isOurs: isToken,
    otherwise: 'no session',
    snakeCase: 'access_token',
    afterRefresh: 'answer',
    isShown: false,
  },
  refreshToken: {
    isOurs: isToken,
    otherwise: 'no session',
    snakeCase: 'refresh_token',
    afterRefresh: 'answer, else kept',
    isShown: false,
  },
  user: {
    isOurs: (value) => isRecord(value) && isText(value.id),
    otherwise: 'no session',
    afterRefresh: 'answer, else kept',
    isShown: true,
  },
  organizationId: {
    isOurs: isText,
    otherwise: 'left out',
    snakeCase: 'organization_id',
    afterRefresh: 'answer',
    isShown: true,
  },
  authenticationMethod: {
    isOurs: isText,
    otherwise: 'left out',
    snakeCase: 'authentication_method',
    afterRefresh: 'answer',
    isShown: true,
  },
  impersonator: {
    isOurs: (value) => isRecord(value) && isText(value.email),
    otherwise: 'left out',
    afterRefresh: 'answer',
    isShown: true,
  },
  data: { isOurs: isRecord, otherwise: 'left out', afterRefresh: 'kept', isShown: true },
  sessionId: {
    isOurs: isText,
    otherwise: 'left out',
    snakeCase: 'session_id',
    afterRefresh: 'kept',
    isShown: true,
  },
  boundTo: {
    isOurs: isText,
    // A name that cannot be read binds the seal to an unknown provider.
    otherwise: 'no session',
    snakeCase: 'bound_to',
    afterRefresh: 'kept',
    isShown: false,
  },
  sealedAt: {
    isOurs: Number.isFinite,
    otherwise: 'left out',
    snakeCase: 'sealed_at',
    afterRefresh: 'kept',
    isShown: false,
  },
  startedAt: {
    isOurs: Number.isFinite,
    otherwise: 'left out',
    snakeCase: 'started_at',
    afterRefresh: 'kept',
    isShown: false,
  },
  usedAt: {
    isOurs: Number.isFinite,
    otherwise: 'left out',
    snakeCase: 'used_at',
    afterRefresh: 'kept',
    isShown: false,
  },
  refreshedAt: {
    isOurs: Number.isFinite,
    otherwise: 'left out',
    snakeCase: 'refreshed_at',
    afterRefresh: 'answer',
    isShown: false,
  },
  expiresAt: {
    isOurs: Number.isFinite,
    otherwise: 'left out',
    snakeCase: 'expires_at',
    afterRefresh: 'answer',
    isShown: true,
  },
  tokenSubject: {
    isOurs: isText,
    otherwise: 'left out',
    snakeCase: 'token_subject',
    afterRefresh: 'kept',
    isShown: false,
  },
  tokenIssuer: {
    isOurs: isText,
    otherwise: 'left out',
    snakeCase: 'token_issuer',
    afterRefresh: 'kept',
    isShown: false,
  },
  tokenKind: {
    isOurs: (value) => value === 'jwt' || value === 'opaque' || value === 'undecided',
    otherwise: 'left out',
    snakeCase: 'token_kind',
    afterRefresh: 'answer',
    isShown: false,
  },
  sid: { isOurs: isText, otherwise: 'left out', afterRefresh: 'answer, else kept', isShown: false },
  authenticatedAt: {
    isOurs: Number.isFinite,
    otherwise: 'left out',
    snakeCase: 'authenticated_at',
    // A refresh gives no new proof of who the visitor is, whatever a provider says of it.
    afterRefresh: 'kept, else answer',
    isShown: true,
  },
  acr: { isOurs: isText, otherwise: 'left out', afterRefresh: 'answer, else kept', isShown: true },
  amr: {
    isOurs: (value) => Array.isArray(value) && value.every(isText),
    otherwise: 'left out',
    afterRefresh: 'answer, else kept',
    isShown: true,
  },
  sessionExpiry: {
    isOurs: isCeiling,
    // Without it, the session would outlive what the provider allows.
    otherwise: 'no session',
    snakeCase: 'session_expiry',
    afterRefresh: 'answer, else kept',
    isShown: false,
  },
  idClaims: {
    isOurs: isRecord,
    otherwise: 'left out',
    snakeCase: 'id_claims',
    // A role that is gone is gone: these are the newest ID token's alone, which says so with an empty object.
    afterRefresh: 'answer, else kept',
    isShown: false,
  },
  idClaimsAt: {
    isOurs: Number.isFinite,
    otherwise: 'left out',
    snakeCase: 'id_claims_at',
    afterRefresh: 'answer',
    isShown: false,
  },
  client: { isOurs: isText, otherwise: 'left out', afterRefresh: 'kept', isShown: false },
  deviceKey: {
    isOurs: isRecord,
    // Without its key, a bound session would be one that any copy can use.
    otherwise: 'no session',
    snakeCase: 'device_key',
    afterRefresh: 'kept',
    isShown: false,
  },
} as const satisfies Record<keyof PayloadFields, FieldRule>;

type FieldTable = typeof payloadFields;

/** The fields that a request handler reads under the same name. */
export type ShownField = {
  [Name in keyof FieldTable]: FieldTable[Name]['isShown'] extends true ? Name : never;
}[keyof FieldTable];

// What an answer must say of: leaving one out does not compile.
type AnswerField = {
  [Name in keyof FieldTable]: FieldTable[Name]['afterRefresh'] extends 'kept' ? never : Name;
}[keyof FieldTable];

/** The payload that follows `previous` once the provider has answered with `tokens`. */
export function nextPayload(previous: SessionPayload | undefined, tokens: TokenSet, nowMs: number): SessionPayload {
  const { accessToken, refreshToken, user, organizationId, authenticationMethod, impersonator } = tokens;
  const expiresAt = tokens.expiresIn === undefined ? undefined : nowMs + tokens.expiresIn * 1000;
  const answer: Record<AnswerField, unknown> = {
    accessToken,
    refreshToken,
    user,
    organizationId,
    authenticationMethod,
    impersonator,
    refreshedAt: previous ? nowMs : undefined,
    expiresAt,
    tokenKind: tokens.tokenKind,
    sid: tokens.sid,
    authenticatedAt: previous?.authenticatedAt ?? tokens.authenticatedAt,
    acr: tokens.acr,
    amr: tokens.amr,
    sessionExpiry: tokens.sessionExpiry,
    idClaims: tokens.idClaims,
    idClaimsAt: oldClaimsAt(previous, tokens),
  };
  const kept = Object.entries(answer).filter(
    ([name, value]) => value !== undefined || payloadFields[name as AnswerField].afterRefresh === 'answer',
  );
  // Whose tokens these are is settled at sign-in. No refresh changes it.
  const { tokenSubject, tokenIssuer } = tokens;
  const first = previous ?? {
    ...(tokenSubject !== undefined && { tokenSubject }),
    ...(tokenIssuer !== undefined && { tokenIssuer }),
  };
  return { ...first, ...Object.fromEntries(kept) } as unknown as SessionPayload;
}

/** Since when the claims of the ID token are known, where these tokens came without one and guards read nothing else. */
function oldClaimsAt(previous: SessionPayload | undefined, tokens: TokenSet): number | undefined {
  if (!previous || tokens.idClaims !== undefined || tokens.tokenKind === 'jwt') return undefined;
  const { idClaims, idClaimsAt, refreshedAt, startedAt = 0 } = previous;
  if (idClaims === undefined || Object.keys(idClaims).length === 0) return undefined;
  return idClaimsAt ?? refreshedAt ?? startedAt * 1000;
}

/** From when on a session is past its lifetime, in milliseconds. A time that was not noted limits nothing. */
export function endsAtMs({ startedAt, usedAt, sessionExpiry }: SessionPayload, limits: Lifetimes): number {
  return Math.min(
    sessionExpiry === undefined ? Infinity : ceilingMs(sessionExpiry),
    startedAt === undefined ? Infinity : startedAt * 1000 + limits.absoluteMs,
    usedAt === undefined ? Infinity : usedAt * 1000 + limits.idleMs,
  );
}

/** How long sessions live by the app's own rules. */
export interface Lifetimes {
  readonly absoluteMs: number;
  readonly idleMs: number;
}
