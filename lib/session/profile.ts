import { type ClaimMapper, type Granted, grantedBy, usualNames } from './claim-map.js';
import type { Impersonator, SessionPayload, SessionUser, ShownField, User } from './payload.js';

/** The claims of a token. Add your own by declaration merging: `interface SessionClaims { tier?: string }`. */
// eslint-disable-next-line @typescript-eslint/consistent-indexed-object-style -- an interface, so that apps can add to it
export interface SessionClaims {
  readonly [claim: string]: unknown;
}

/** What an app reads of a signed-in session. */
export interface SessionProfile<U extends User = User> {
  /** Who is signed in. */
  readonly user: U;
  /**
   * The verified claims of the access token. For an opaque one: those of the ID token that guards read, and its `acr`,
   * `amr`, `auth_time` and `sid`.
   */
  readonly claims: SessionClaims;
  /** The `sid` claim, or the id that we gave the session. */
  readonly sessionId: string | undefined;
  /** The organization that the session is for, where there is one. */
  readonly organizationId: string | undefined;
  /** The role, where the token names one. */
  readonly role: string | undefined;
  /** The roles. Empty where the token names none. */
  readonly roles: readonly string[];
  /** The permissions. Empty where the token names none. */
  readonly permissions: readonly string[];
  /** The entitlements. Empty where the token names none. */
  readonly entitlements: readonly string[];
  /** The feature flags that are on. Empty where the token names none. */
  readonly featureFlags: readonly string[];
  /** The dashboard user who acts as `user`, if somebody does. */
  readonly impersonator: Impersonator | undefined;
  /** How the user signed in, where the provider says so. */
  readonly authenticationMethod: string | undefined;
  /** When the user gave proof of who they are at the provider (`auth_time`), where it says so. No refresh renews it. */
  readonly authenticatedAt: Date | undefined;
  /** How surely the user was authenticated (`acr`), where the provider says so. */
  readonly acr: string | undefined;
  /** By which methods the user was authenticated (`amr`). May be empty. */
  readonly amr: readonly string[];
}

/** Somebody is signed in. */
export interface Authenticated<U extends User = SessionUser> extends SessionProfile<U> {
  /** Always true: what tells a signed-in session from the others. */
  readonly authenticated: true;
  /** For calling APIs. */
  readonly accessToken: string;
  /** When the access token expires. */
  readonly expiresAt: Date;
}

// These two are on the session itself: one is a date there, the other a copy for each request.
type ShownElsewhere = 'data' | 'expiresAt';

const none: readonly string[] = Object.freeze([]);

/** Claims that hold, and whose they are. */
export interface HeldClaims {
  readonly claims: SessionClaims;
  /** Whether they are the ID token's, because the access token is opaque. */
  readonly fromIdToken?: boolean | undefined;
}

/**
 * What the session shows, by its payload and the claims that hold.
 *
 * @param mapClaims the provider's own names for what guards read
 */
export function profileOf(payload: SessionPayload, held: HeldClaims, mapClaims?: ClaimMapper): SessionProfile {
  const { claims, fromIdToken = false } = held;
  const granted: Granted = mapClaims
    ? mapClaims(fromIdToken ? {} : claims, payload.idClaims ?? {})
    : grantedBy(usualNames, claims);
  const role = text(granted.role);
  const roles = texts(granted.roles);
  const profile = {
    // Some writers seal no user. The subject of the token is the same person.
    user: payload.user ?? { id: text(claims.sub) ?? '' },
    claims,
    sessionId: sessionIdOf(payload, claims),
    organizationId: text(granted.organizationId) ?? payload.organizationId,
    role,
    roles: roles.length === 0 && role !== undefined ? [role] : roles,
    permissions: texts(granted.permissions),
    entitlements: texts(granted.entitlements),
    featureFlags: texts(granted.featureFlags),
    impersonator: payload.impersonator,
    authenticationMethod: payload.authenticationMethod,
    authenticatedAt: earliest(payload.authenticatedAt, claims.auth_time),
    acr: payload.acr ?? text(claims.acr),
    amr: payload.amr ?? texts(claims.amr),
  };
  // A field that the table shows and this object lacks does not compile.
  return profile satisfies Record<Exclude<ShownField, ShownElsewhere>, unknown>;
}

/** The claims that stand in for those of an opaque access token: what its ID token said. */
export function idTokenClaims({ idClaims, sid, authenticatedAt, acr, amr }: SessionPayload): SessionClaims {
  const said = { ...idClaims, sid, auth_time: authenticatedAt, acr, amr };
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined));
}

/** The session's id: the `sid` claim, or the id that we gave it. Known also when the token has expired. */
export function sessionIdOf(payload: SessionPayload, claims: SessionClaims): string | undefined {
  return text(claims.sid) ?? payload.sid ?? payload.sessionId;
}

/** Of what the sign-in and the newest token say, the time that can be relied on. */
function earliest(...seconds: readonly unknown[]): Date | undefined {
  const known = seconds.filter((each): each is number => Number.isFinite(each));
  return known.length === 0 ? undefined : new Date(Math.min(...known) * 1000);
}

function text(claim: unknown): string | undefined {
  return typeof claim === 'string' ? claim : undefined;
}

function texts(claim: unknown): readonly string[] {
  if (!Array.isArray(claim)) return none;
  const isText = (each: unknown): each is string => typeof each === 'string';
  return claim.every(isText) ? claim : claim.filter(isText);
}
