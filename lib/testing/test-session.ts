import type { SessionData, User } from '../session/payload.js';

/** A session as a test describes it. Everything has a default. */
export interface TestSession {
  /** Laid over a user with an id, an e-mail address and a name. */
  readonly user?: (Partial<User> & Readonly<Record<string, unknown>>) | undefined;
  /** The permissions that guards read. Default: none. */
  readonly permissions?: readonly string[] | undefined;
  /** The first one is the session's `role` too. */
  readonly roles?: readonly string[] | undefined;
  /** The entitlements that guards read. Default: none. */
  readonly entitlements?: readonly string[] | undefined;
  /** The feature flags that are on. Default: none. */
  readonly featureFlags?: readonly string[] | undefined;
  /** Default: none. */
  readonly organizationId?: string | undefined;
  /** More claims of the access token, in the provider's own names: `mapClaims` reads them as it always does. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
  /** The app's own values. */
  readonly data?: SessionData | undefined;
  /** Of the first access token, in seconds; 0 or less for one that has expired. Those after it live for 300. Default: 300. */
  readonly expiresIn?: number | undefined;
  /** When the user gave proof of who they are. Default: now. */
  readonly authenticatedAt?: Date | undefined;
  /** How surely: the `acr` of the sign-in. */
  readonly acr?: string | undefined;
  /** By which methods: the `amr` of the sign-in. */
  readonly amr?: readonly string[] | undefined;
  /** The e-mail address of somebody who acts as the user. */
  readonly impersonator?: string | undefined;
}

const known: Readonly<Record<keyof TestSession, true>> = {
  user: true,
  permissions: true,
  roles: true,
  entitlements: true,
  featureFlags: true,
  organizationId: true,
  claims: true,
  data: true,
  expiresIn: true,
  authenticatedAt: true,
  acr: true,
  amr: true,
  impersonator: true,
};

/** Refuses a field that nobody reads: a test with `permission` would pass for the wrong reason. */
export function checkTestSession(session: TestSession): TestSession {
  const odd = Object.keys(session).find((field) => !Object.hasOwn(known, field));
  if (odd === undefined) return session;
  throw new TypeError(`A test's session has no "${odd}". It has ${Object.keys(known).join(', ')}.`);
}
