import type { Impersonator, SessionPayload, ShownField, User } from './payload.js';

/** The claims of a token. Add your own by declaration merging: `interface SessionClaims { tier?: string }`. */
// eslint-disable-next-line @typescript-eslint/consistent-indexed-object-style -- an interface, so that apps can add to it
export interface SessionClaims {
  readonly [claim: string]: unknown;
}

/** What an app reads of a signed-in session. */
export interface SessionProfile<U extends User = User> {
  readonly user: U;
  /** The verified claims of the access token; empty for an opaque one. */
  readonly claims: SessionClaims;
  /** The `sid` claim, or the id that we gave the session. */
  readonly sessionId: string | undefined;
  readonly organizationId: string | undefined;
  readonly role: string | undefined;
  readonly roles: readonly string[];
  readonly permissions: readonly string[];
  readonly entitlements: readonly string[];
  readonly featureFlags: readonly string[];
  /** The dashboard user who acts as `user`, if somebody does. */
  readonly impersonator: Impersonator | undefined;
  /** How the user signed in, where the provider says so. */
  readonly authenticationMethod: string | undefined;
}

// These two are on the session itself: one is a date there, the other a copy for each request.
type ShownElsewhere = 'data' | 'expiresAt';

const none: readonly string[] = Object.freeze([]);

/** What the session shows, by its payload and the claims of its access token. */
export function profileOf(payload: SessionPayload, claims: SessionClaims): SessionProfile {
  const role = text(claims.role);
  const roles = texts(claims.roles);
  const profile = {
    // Some writers seal no user. The subject of the token is the same person.
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
    authenticationMethod: payload.authenticationMethod,
  };
  // A field that the table shows and this object lacks does not compile.
  return profile satisfies Record<Exclude<ShownField, ShownElsewhere>, unknown>;
}

/** The session's id: the `sid` claim, or the id that we gave it. Known also when the token has expired. */
export function sessionIdOf(payload: SessionPayload, claims: SessionClaims): string | undefined {
  return text(claims.sid) ?? payload.sessionId;
}

function text(claim: unknown): string | undefined {
  return typeof claim === 'string' ? claim : undefined;
}

function texts(claim: unknown): readonly string[] {
  if (!Array.isArray(claim)) return none;
  const isText = (each: unknown): each is string => typeof each === 'string';
  return claim.every(isText) ? claim : claim.filter(isText);
}
