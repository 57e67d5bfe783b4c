import type { SessionPayload, TokenSet, User } from '../session/payload.js';

type Claims = Readonly<Record<string, unknown>>;

// Claims of an ID token about itself and about the sign-in, not about the person.
const protocolClaims = new Set(
  'iss sub aud exp iat nbf jti nonce azp at_hash c_hash s_hash auth_time sid acr amr sub_jwk session_expiry'.split(' '),
);

/** A user of an OpenID provider: the claims about the person of the ID token, or of userinfo, with `sub` as `id`. */
export interface OidcUser extends User {
  /** A short name that the user goes by. */
  readonly preferred_username?: string;
  /** The given name. */
  readonly given_name?: string;
  /** The family name. */
  readonly family_name?: string;
  /** Where a picture is. */
  readonly picture?: string;
  /** Whether the e-mail address was verified. */
  readonly email_verified?: boolean;
  /** The language and region, such as `en-GB`. */
  readonly locale?: string;
  /** The time zone, such as `Europe/Paris`. */
  readonly zoneinfo?: string;
  /** When this was changed last: seconds since the epoch. */
  readonly updated_at?: number;
}

/** The person that claims are about. */
export function readUser(claims: Claims): User {
  const personal = Object.entries(claims).filter(([claim]) => !protocolClaims.has(claim));
  return { ...Object.fromEntries(personal), id: typeof claims.sub === 'string' ? claims.sub : '' };
}

// OpenID Connect Core 1.0, section 5.4: what these scopes ask for. One of them is enough to know the person by.
const claimsByScope: Readonly<Record<string, readonly string[]>> = {
  profile: ['name', 'given_name', 'family_name', 'nickname', 'preferred_username'],
  email: ['email'],
};

/**
 * Whether claims lack what the scope asks for. Where there is an access token, `profile` and `email` are at the userinfo
 * endpoint, and an ID token need not have them (OpenID Connect Core 5.4).
 */
export function lacksScope(claims: Claims, scope: string): boolean {
  return scope
    .split(' ')
    .some((name) => Object.hasOwn(claimsByScope, name) && !claimsByScope[name]?.some((claim) => claim in claims));
}

/**
 * The user after a refresh. A thin ID token takes nothing about the person away. What guards read is another matter:
 * providers leave an empty list out, so a role that is not there is gone.
 *
 * @param guarded the names of the claims that guards read
 */
export function userAfterRefresh(previous: User | null | undefined, claims: Claims, guarded: readonly string[]): User {
  const kept = Object.entries(previous ?? {}).filter(([field]) => !guarded.includes(field));
  return { ...Object.fromEntries(kept), ...readUser(claims) };
}

/** What an ID token says about the sign-in, for the seal. */
export function signInFacts({
  sid,
  auth_time: authTime,
  acr,
  amr,
  session_expiry: sessionExpiry,
}: Claims): Pick<TokenSet, 'sid' | 'authenticatedAt' | 'acr' | 'amr' | 'sessionExpiry'> {
  const facts = {
    sid: typeof sid === 'string' ? sid : undefined,
    authenticatedAt: typeof authTime === 'number' ? authTime : undefined,
    acr: typeof acr === 'string' ? acr : undefined,
    amr: Array.isArray(amr) && amr.every((each) => typeof each === 'string') ? amr : undefined,
    sessionExpiry: typeof sessionExpiry === 'number' ? sessionExpiry : undefined,
  };
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined));
}

/** Whether guards read anything of the ID token that the session began with. */
export function hasGuardedClaims({ idClaims }: SessionPayload): boolean {
  return idClaims !== undefined && Object.keys(idClaims).length > 0;
}
