import { randomUUID } from 'node:crypto';

import { SessionConfigError } from '../errors.js';
import { nonEmptyString } from '../json.js';
import { processWide } from '../process-wide.js';
import type { Provider, TokenRequest } from '../provider/provider.js';
import { forgetOutage } from '../refresh/breaker.js';
import { type Granted, grantedBy } from '../session/claim-map.js';
import type { SessionUser, TokenSet, User } from '../session/payload.js';
import type { SessionClaims } from '../session/profile.js';
import { endingOf, openidEndings } from '../wire/error-code.js';
import { checkTestSession, type TestSession } from './test-session.js';
import { createTokenServer, type TestProviderOptions, testOrigin, type TokenServer } from './token-server.js';

export type { TestProviderOptions } from './token-server.js';

/** What a test does with the provider. */
export interface TestProviderControls {
  /** How many refresh grants have come, whatever was answered. */
  readonly refreshes: number;
  /**
   * From now on every refresh is refused.
   *
   * @param error the OAuth error code. Default: `invalid_grant`, which ends the session
   * @example
   * test.provider.refuseRefresh();
   */
  refuseRefresh(error?: string): void;
  /**
   * From now on nobody answers, as when the provider is down or the network is away.
   *
   * @example
   * test.provider.down();
   */
  down(): void;
  /**
   * From now on each answer takes this long.
   *
   * @param ms milliseconds
   * @example
   * test.provider.slow(6_000);
   */
  slow(ms: number): void;
  /**
   * The provider answers again as at the start, and no outage is remembered.
   *
   * @example
   * afterEach(() => test.provider.up());
   */
  up(): void;
  /**
   * Who signs in at the provider from now on. It shows no page: the address that it is opened at is the app's own callback.
   *
   * @example
   * test.provider.signInAs({ user: { id: 'user_ada' } });
   */
  signInAs(session: TestSession): void;
}

/** A provider in this process, with what a test does to it. */
export interface TestProvider extends Provider<SessionUser>, TestProviderControls {}

/** A test provider, and the tokens that only a test can have of it. */
export interface Stand {
  readonly provider: TestProvider;
  readonly issue: (session: TestSession) => TokenSet;
}

// Of both builds of this package.
const stands = processWide('test providers', () => new WeakMap<object, Stand>());

/** What stands behind a test provider; undefined for every other one. */
export function standOf(provider: object): Stand | undefined {
  return stands.get(provider);
}

/**
 * A provider in this process, for an app that is made anew for each test: no network, and keys of its own. Where the app's
 * own instance is at hand, `testSessions(sessions)` needs no other app. Its cookies come from `testSessions()`.
 *
 * @throws {SessionConfigError} when `NODE_ENV` is `production`
 * @example
 * const provider = testProvider();
 * const { app, sessions } = createApp({ ...options, provider });
 */
export function testProvider(options: TestProviderOptions = {}): TestProvider {
  return standInFor(nobody(), options).provider;
}

/** The names of a provider that stands in for nobody. */
function nobody(): StandsFor {
  return {
    name: 'test',
    // Each is another one: they share no outage.
    id: `test ${randomUUID()}`,
    cookieName: '__Host-session',
    refreshTokens: 'single-use',
    terminalReason: ({ error }) => endingOf(openidEndings, error),
    logoutUrl: () => undefined,
    revocationRequest: () => undefined,
  };
}

type StandsFor = Pick<Provider, 'name' | 'id' | 'cookieName' | 'refreshTokens' | 'terminalReason'> & Partial<Provider>;

/**
 * A provider in this process in the place of an app's own. Whatever names the sessions stays the app's: seals, cookies and
 * claims are as in production. Whatever would ask somebody asks this process.
 *
 * @throws {SessionConfigError} when `NODE_ENV` is `production`
 */
export function standInFor(real: StandsFor, options: TestProviderOptions): Stand {
  refuseProduction();
  const { rotation = true, latencyMs = 0 } = options;
  const graceSeconds = options.graceSeconds ?? (real.refreshTokens === 'reusable' ? 30 : 0);
  const server = createTokenServer({ rotation, graceSeconds, latencyMs, defaultUser: defaultUserOf(real) });
  const post = (path: string, fields: Readonly<Record<string, unknown>>): TokenRequest => ({
    url: `${testOrigin}${path}`,
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify(fields),
    agent: server.agent,
  });
  const rules = { keys: server.keys, algorithms: ['ES256'], issuer: [testOrigin], issuedToUs: () => true };

  const provider: TestProvider = Object.freeze({
    ...namesOf(real),
    problems: [],
    accessToken: () => rules,
    mapClaims: (access: SessionClaims, id: SessionClaims) => ({
      ...(real.mapClaims?.(access, id) ?? grantedBy({}, access)),
      ...described(server, access),
    }),
    ...(real.organizationOf && { organizationOf: real.organizationOf.bind(real) }),

    authorizationUrl: ({ redirectUri, state, codeChallenge, parameters }) => {
      const url = new URL(redirectUri);
      url.searchParams.set('code', server.codeFor(codeChallenge, parameters.organizationId));
      url.searchParams.set('state', state);
      return url.href;
    },
    codeRequest: (callback, { codeVerifier }) =>
      post('/token', { grant_type: 'authorization_code', code: callback.get('code'), code_verifier: codeVerifier }),
    readSignIn: readTokens,

    refreshRequest: ({ refreshToken, organizationId }) =>
      post('/token', { grant_type: 'refresh_token', refresh_token: refreshToken, organization_id: organizationId }),
    readRefresh: readTokens,
    terminalReason: (answer) => real.terminalReason(answer),

    ...(real.logoutUrl && { logoutUrl: ({ returnTo }) => logoutUrl(returnTo) }),
    ...(real.revocationRequest && {
      revocationRequest: ({ refreshToken, sessionId }) =>
        post('/revoke', { session_id: sessionId, refresh_token: refreshToken }),
    }),

    ...controlsOf(server, real.id),
    get refreshes() {
      return server.refreshes;
    },
  } satisfies TestProvider);
  const stand: Stand = { provider, issue: (session) => server.issue(checkTestSession(session)) };
  stands.set(provider, stand);
  return stand;
}

/** Whatever names a provider and its sessions. */
function namesOf(real: StandsFor) {
  const { name, id, cookieName, refreshTokens, sealsUserInCamelCase, sealer, revokesSession } = real;
  const { accessTokenOptions, responseMode, acceptsImpersonation, tokensNameClient } = real;
  return {
    name,
    id,
    cookieName,
    refreshTokens,
    sealsUserInCamelCase,
    sealer,
    revokesSession,
    accessTokenOptions,
    responseMode,
    acceptsImpersonation,
    tokensNameClient,
  };
}

function controlsOf(server: TokenServer, id: string): Omit<TestProviderControls, 'refreshes'> {
  return {
    refuseRefresh: (error = 'invalid_grant') => {
      server.setMood({ error });
    },
    down: () => {
      server.setMood({ isDown: true });
    },
    slow: (slowMs) => {
      server.setMood({ slowMs });
    },
    up: () => {
      server.setMood({});
      forgetOutage(id);
    },
    signInAs: (session) => {
      server.signInAs(checkTestSession(session));
    },
  };
}

/** What a test has given by the names that guards read, whatever the provider's own names for it are. */
function described(server: TokenServer, { sid, org_id: organizationId }: SessionClaims): Granted {
  const { roles, permissions, entitlements, featureFlags } = server.describedBy(sid) ?? {};
  const given = { role: roles?.[0], roles, permissions, entitlements, featureFlags, organizationId };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

function readTokens(answer: Readonly<Record<string, unknown>>): (TokenSet & { user?: User | undefined }) | undefined {
  return nonEmptyString(answer.accessToken) === undefined ? undefined : (answer as unknown as TokenSet);
}

function logoutUrl(returnTo: string | undefined): string {
  return `${testOrigin}/logout${returnTo === undefined ? '' : `?${new URLSearchParams({ returnTo }).toString()}`}`;
}

/** As WorkOS has users, or an ID token. */
function defaultUserOf({ name }: StandsFor): User {
  const user = { id: 'user_test', email: 'test@example.com', name: 'Test User' };
  if (name !== 'workos') return user;
  const atMs = '2026-01-01T00:00:00.000Z';
  return {
    object: 'user',
    ...user,
    emailVerified: true,
    firstName: 'Test',
    lastName: 'User',
    profilePictureUrl: null,
    lastSignInAt: atMs,
    externalId: null,
    metadata: {},
    createdAt: atMs,
    updatedAt: atMs,
  };
}

/**
 * In production it would let anybody in who can reach it.
 *
 * @throws {SessionConfigError}
 */
export function refuseProduction(): void {
  if (process.env.NODE_ENV !== 'production') return;
  const message =
    'is "production", where no test provider may sign anybody in. Import express-sealed-session/testing in tests only.';
  throw new SessionConfigError([{ path: 'NODE_ENV', message }]);
}
