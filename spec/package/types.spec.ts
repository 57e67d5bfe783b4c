import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  cpSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import ts from 'typescript';

const repository = path.resolve(import.meta.dirname, '../..');
const {
  name: packageName,
  dependencies,
  exports: entryMap,
} = JSON.parse(readFileSync(path.join(repository, 'package.json'), 'utf8')) as {
  name: string;
  dependencies: Record<string, string>;
  exports: Record<string, unknown>;
};
const entries = Object.keys(entryMap).filter((entry) => !entry.endsWith('.json'));

interface Source {
  readonly extension: string;
  readonly text: string;
}

/*
 * Each case is a file of a consumer's. It must compile without complaint, except where a line is announced as wrong:
 * `@ts-expect-error TS1234` demands of the line below this error and no other.
 */

const cases = sources('ts', {
  'compiles the smallest app': `
    import express from 'express';
    import { withSession, workos } from 'express-sealed-session';
    const { WORKOS_CLIENT_ID: clientId, WORKOS_API_KEY: apiKey, SESSION_PASSWORD: password } = process.env;
    const sessions = withSession({ provider: workos({ clientId, apiKey }), password, baseUrl: 'http://localhost:3000' });
    const app = express();
    app.use(sessions, sessions.routes());
    app.get('/account', sessions.require(), (req, res) => void res.send(\`Hello \${sessions.signedIn(req).user.firstName ?? 'you'}\`));
    app.listen(3000);
  `,

  'compiles an app with two sessions under two properties': `
    import express, { Router } from 'express';
    import { oidc, withSession } from 'express-sealed-session';
    const password = [process.env.NEW_PASSWORD, process.env.OLD_PASSWORD];
    const customers = withSession({
      provider: oidc({ issuer: 'https://customers.example.com', clientId: 'shop', clientSecret: process.env.SHOP_SECRET }),
      password,
      baseUrl: 'https://example.com',
    });
    const staff = withSession({
      provider: oidc({ issuer: 'https://staff.example.com', clientId: 'desk', clientSecret: process.env.DESK_SECRET }),
      password,
      baseUrl: 'https://staff.example.com',
      property: 'staff',
      cookie: { name: '__Host-staff' },
    });
    const desk = Router();
    desk.use(staff, staff.routes());
    desk.get('/users', staff.require({ roles: 'admin' }), (req, res) => void res.json(staff.signedIn(req).user));
    const app = express();
    app.use('/staff', desk);
    app.use(customers, customers.routes());
    app.get('/orders', customers.require(), (req, res) => void res.json(customers.signedIn(req).user));
  `,

  'takes process.env.X for what may come from there': `
    import { oidc, withSession, workos } from 'express-sealed-session';
    const { env } = process;
    withSession({ provider: workos({ clientId: env.ID, apiKey: env.KEY, baseUrl: env.URL }), password: env.PASSWORD });
    withSession({
      provider: oidc({ issuer: env.ISSUER, clientId: env.ID, clientSecret: env.SECRET, resource: env.API }),
      password: [env.NEW_PASSWORD, env.OLD_PASSWORD],
      baseUrl: env.BASE_URL,
      cookie: { domain: env.DOMAIN },
      routes: { login: env.LOGIN_PATH },
      header: env.SESSION_HEADER,
    });
  `,

  'demands the provider and the password': `
    import { oidc, withSession, workos } from 'express-sealed-session';
    // @ts-expect-error TS2345 nobody to refresh with
    withSession({ password: 'secret' });
    // @ts-expect-error TS2345 nothing to seal with
    withSession({ provider: workos({ clientId: 'id', apiKey: 'key' }) });
    // @ts-expect-error TS2345 no key
    workos({ clientId: 'id' });
    // @ts-expect-error TS2345 no issuer
    oidc({ clientId: 'id', clientSecret: 'secret' });
  `,

  'refuses options that do not exist': `
    import { oidc, withSession, workos } from 'express-sealed-session';
    const base = { provider: workos({ clientId: 'id', apiKey: 'key' }), password: 'secret' };
    // @ts-expect-error TS2561 misspelt
    withSession({ ...base, passwords: 'secret' });
    // @ts-expect-error TS2353 always on, so there is no switch
    withSession({ ...base, cookie: { httpOnly: false } });
    // @ts-expect-error TS2561 misspelt
    withSession({ ...base, refresh: { graceSecond: 1 } });
    // @ts-expect-error TS2561 misspelt
    withSession({ ...base, lifetime: { idleSecond: 1 } });
    // @ts-expect-error TS2353 it is one of the routes
    withSession({ ...base, loginPath: '/login' });
    // @ts-expect-error TS2353 no such route
    withSession({ ...base, routes: { signIn: '/login' } });
    // @ts-expect-error TS2353 no such event
    withSession({ ...base, events: { expired: () => undefined } });
    // @ts-expect-error TS2353 an option of oidc()
    workos({ clientId: 'id', apiKey: 'key', scope: 'openid' });
    // @ts-expect-error TS2353 an option of workos()
    oidc({ issuer: 'https://id.example.com', clientId: 'id', clientSecret: 'secret', apiKey: 'key' });
  `,

  'takes a route as a path, or switched on or off': `
    import { withSession, workos } from 'express-sealed-session';
    const base = { provider: workos({ clientId: 'id', apiKey: 'key' }), password: 'secret' };
    withSession({ ...base, routes: { login: '/sign-in', callback: true, logout: false } });
    // @ts-expect-error TS2322 neither a path nor a switch
    withSession({ ...base, routes: { logout: null } });
  `,

  'takes stale claims only with a limit': `
    import { type WhenUnavailable, withSession, workos } from 'express-sealed-session';
    const base = { provider: workos({ clientId: 'id', apiKey: 'key' }), password: 'secret' };
    const choices: WhenUnavailable[] = ['continue', 'refuse', { staleSeconds: 300 }];
    for (const whenUnavailable of choices) withSession({ ...base, whenUnavailable });
    // @ts-expect-error TS2322 for how long?
    withSession({ ...base, whenUnavailable: 'stale' });
    // @ts-expect-error TS2322 for how long?
    withSession({ ...base, whenUnavailable: {} });
  `,

  'takes a password, a list of them, or a map of id to password': `
    import { type Password, withSession, workos } from 'express-sealed-session';
    const provider = workos({ clientId: 'id', apiKey: 'key' });
    withSession({ provider, password: 'secret' });
    withSession({ provider, password: ['newest', 'older'] });
    withSession({ provider, password: { 2: 'newest', 1: 'older' } });
    // @ts-expect-error TS2353 the ids are numbers: the highest one seals
    const named: Password = { newest: 'secret' };
  `,

  'has everything on what withSession returns': `
    import type { IncomingMessage } from 'node:http';
    import {
      type Middleware, type Session, type SessionManager, type Sessions, type SignedInSession, withSession, workos,
    } from 'express-sealed-session';
    const sessions = withSession({ provider: workos({ clientId: 'id', apiKey: 'key' }), password: 'secret' });
    const all: Sessions = sessions;
    const manager: SessionManager = sessions;
    const middlewares: Middleware[] = [sessions, sessions.routes(), sessions.require()];
    declare const req: IncomingMessage;
    const session: Session = sessions.get(req);
    const signedIn: SignedInSession = sessions.signedIn(req);
    const allowed: SignedInSession = await sessions.authorize(req, { roles: 'admin' });
    signedIn.user.id satisfies string;
    // @ts-expect-error TS2339 not before it is known that somebody is signed in
    sessions.get(req).accessToken;
    // @ts-expect-error TS2339 the options have secrets in them, so nothing shows them
    sessions.options;
    // @ts-expect-error TS2554 the routes read the options of these sessions
    sessions.routes({ login: '/login' });
  `,

  'types the user as the provider says': `
    import type { IncomingMessage } from 'node:http';
    import { createSessionManager, type Provider, type User, withSession } from 'express-sealed-session';
    interface Staff extends User { readonly badge: number }
    declare const provider: Provider<Staff>;
    declare const req: IncomingMessage;
    const staff = withSession({ provider, password: 'secret' });
    staff.signedIn(req).user.badge satisfies number;
    (await staff.authorize(req)).user.badge satisfies number;
    const session = staff.get(req);
    if (session.authenticated) session.user.badge satisfies number;
    const answer = await createSessionManager({ provider, password: 'secret' }).load(undefined).authenticate();
    if (answer.authenticated) answer.user.badge satisfies number;
    // @ts-expect-error TS1360 it is a number
    staff.signedIn(req).user.badge satisfies string;
    // @ts-expect-error TS2531 not known yet whether somebody is signed in
    staff.get(req).user.badge;
    // @ts-expect-error TS2540 fields are read-only
    staff.signedIn(req).user.badge = 1;
  `,

  'types the users of WorkOS and of OpenID without a word': `
    import type { IncomingMessage } from 'node:http';
    import { createSessionManager, oidc, type User, withSession, workos } from 'express-sealed-session';
    declare const req: IncomingMessage;
    const password = 'secret';
    const shop = { issuer: 'https://id.example.com', clientId: 'id', clientSecret: 'secret' };
    const w = withSession({ provider: workos({ clientId: 'id', apiKey: 'key' }), password });
    w.signedIn(req).user.firstName satisfies string | null;
    w.signedIn(req).user.emailVerified satisfies boolean;
    (await w.authorize(req)).user.metadata satisfies Readonly<Record<string, string>>;
    const o = withSession({ provider: oidc(shop), password });
    o.signedIn(req).user.given_name satisfies string | undefined;
    o.get(req).user?.email satisfies string | null | undefined;
    const answer = await createSessionManager({ provider: oidc(shop), password }).load(undefined).authenticate();
    if (answer.authenticated) answer.user.picture satisfies string | undefined;
    // @ts-expect-error TS1360 the one's user is not the other's
    o.signedIn(req).user.firstName satisfies string;
    // @ts-expect-error TS1360 the one's user is not the other's
    w.signedIn(req).user.given_name satisfies string;

    interface Staff extends User { readonly badge: number }
    const staff = withSession({
      provider: oidc<Staff>(shop),
      password,
      required: { check: (session) => session.user.badge > 1 },
      onSignIn: ({ session }) => void (session.user.badge satisfies number),
      bearer: { audience: 'https://api.example.com' },
      apiKeys: async (key) => (key === 'key' ? { user: { id: 'robot', badge: 1 }, roles: ['robot'] } : undefined),
    });
    staff.signedIn(req).user.badge satisfies number;
    staff.require({ check: ({ user }) => user.badge > 1 });
    // @ts-expect-error TS2344 whoever it is, there is an id
    oidc<{ badge: number }>(shop);
    // @ts-expect-error TS2322 a key's holder is a user like the others
    withSession({ provider: oidc<Staff>(shop), password, apiKeys: () => ({ user: { id: 'robot' } }) });
  `,

  'tells how a request has said who it is': `
    import { type ApiKeyHolder, type BearerOptions, type SignedInSession, type Via, withSession, workos } from 'express-sealed-session';
    declare const session: SignedInSession;
    session.via satisfies Via;
    const base = { provider: workos({ clientId: 'id', apiKey: 'key' }), password: 'secret' };
    withSession({ ...base, bearer: true, trustedOrigins: ['https://admin.example.com'] });
    const tokens: BearerOptions = { audience: process.env.AUDIENCE };
    withSession({ ...base, bearer: tokens });
    const holder: ApiKeyHolder = { user: { id: 'robot' }, permissions: ['a'] };
    // @ts-expect-error TS2322 whose audience?
    withSession({ ...base, bearer: {} });
    // @ts-expect-error TS2367 no such way
    if (session.via === 'api-key') throw new Error();
  `,

  'types nothing by a cast: getSession has no type parameter': `
    import type { IncomingMessage } from 'node:http';
    import { getSession, type Session, type User } from 'express-sealed-session';
    declare const req: IncomingMessage;
    const session: Session = getSession(req);
    // @ts-expect-error TS2558 an unchecked cast is no type
    getSession<User>(req);
    // @ts-expect-error TS2554 the one session on the request, wherever it is
    getSession(req, 'session');
  `,

  'takes one, all or any of what a session has many of': `
    import { type GuardOptions, requireSession, type Rule, type Wanted } from 'express-sealed-session';
    const rule: Rule = {
      permissions: { all: ['billing:read', 'billing:write'] },
      roles: { any: ['admin', 'owner'] },
      entitlements: 'reports',
      featureFlags: { all: [] },
      organizationId: ['org_01', 'org_02'],
    };
    const answer: GuardOptions = { redirect: false };
    requireSession(rule, answer);
    requireSession({ organizationId: 'org_01' });
    // @ts-expect-error TS2322 a bare list says neither all nor any
    const bare: Wanted = ['admin', 'owner'];
    // @ts-expect-error TS2322 a bare list says neither all nor any
    requireSession({ permissions: ['billing:read'] });
    // @ts-expect-error TS2353 misspelt
    requireSession({ permission: 'billing:read' });
    // @ts-expect-error TS2353 how to answer is no part of a rule
    requireSession({ roles: 'admin', redirect: false });
  `,

  'takes claims, questions of the app and several rules': `
    import type { Request } from 'express';
    import { requireSession, type Rule } from 'express-sealed-session';
    requireSession({ claims: { email_verified: true, groups: { all: ['staff', 'owners'] }, level: { any: [1, 2] } } });
    requireSession({ any: [{ roles: 'admin' }, { permissions: 'billing:read' }] });
    requireSession({ impersonated: false, stale: false, deviceBound: true });
    requireSession({ via: ['cookie', 'header'] });
    // @ts-expect-error TS2820 the header's own name is no way
    requireSession({ via: 'Bearer' });
    requireSession({ check: (session, req) => session.user.id === req.headers['x-user'] });
    requireSession({ check: async (session) => Promise.resolve(session.roles.includes('admin')) });
    // With the request of the app's framework, or without a type.
    requireSession({ organizationId: (req: Request) => req.params.organizationId });
    requireSession({ organizationId: (req) => req.params?.organizationId });
    requireSession({ organizationId: async (req) => Promise.resolve(req.url === '/' ? undefined : ['org_01']) });
    // @ts-expect-error TS2322 a bare list says neither all nor any
    requireSession({ claims: { groups: ['staff', 'owners'] } });
    // @ts-expect-error TS2322 whoever acts as the user may pass by leaving it out
    requireSession({ impersonated: true });
    // @ts-expect-error TS2322 a function that answers neither yes nor no
    requireSession({ check: (session) => session.user.email });
    // @ts-expect-error TS2353 several rules are no single one
    const nested: Rule = { any: [{ roles: 'admin' }] };
  `,

  'keeps what is said of a bare list for sessions.require, authorize and required': `
    import type { IncomingMessage } from 'node:http';
    import { withSession, workos } from 'express-sealed-session';
    const base = { provider: workos({ clientId: 'id', apiKey: 'key' }), password: 'secret' };
    const sessions = withSession({ ...base, required: { roles: { any: ['admin', 'owner'] } } });
    declare const req: IncomingMessage;
    sessions.require({ permissions: { all: ['a', 'b'] } }, { redirect: false });
    // @ts-expect-error TS2322 a bare list says neither all nor any
    sessions.require({ permissions: ['a', 'b'] });
    // @ts-expect-error TS2322 a bare list says neither all nor any
    await sessions.authorize(req, { roles: ['a', 'b'] });
    // @ts-expect-error TS2322 a bare list says neither all nor any
    withSession({ ...base, required: { entitlements: ['a', 'b'] } });
  `,

  'narrows a session by authenticated': `
    import type { Impersonator, Reason, Session, SignedInSession, SignedOutSession, User } from 'express-sealed-session';
    declare const session: Session;
    const either: User | null = session.user;
    if (session.authenticated) {
      const signedIn: SignedInSession = session;
      const user: User = session.user;
      const token: string = session.accessToken;
      const expiresAt: Date = session.expiresAt;
      const permissions: readonly string[] = session.permissions;
      const impersonator: Impersonator | undefined = session.impersonator;
      const method: string | undefined = session.authenticationMethod;
      // @ts-expect-error TS2339 there is none for somebody who is signed in
      session.reason;
    } else {
      const signedOut: SignedOutSession = session;
      const nobody: null = session.user;
      const reason: Reason = session.reason;
      const retryable: boolean = session.retryable;
      // @ts-expect-error TS2339 nobody is signed in
      session.accessToken;
      // @ts-expect-error TS2339 nobody is signed in
      session.permissions;
    }
    // @ts-expect-error TS2339 not known yet whether there is one
    session.accessToken;
    // @ts-expect-error TS18047 not known yet whether there is one
    session.user.id;
  `,

  'tells by retryable which reasons there are': `
    import type { FinalReason, RetryableReason, Session } from 'express-sealed-session';
    declare const session: Session;
    if (!session.authenticated && session.retryable) session.reason satisfies RetryableReason;
    if (!session.authenticated && !session.retryable) {
      session.reason satisfies FinalReason;
      const isTooOld = session.reason === 'session_expired';
      // @ts-expect-error TS2367 a time-out says nothing about the session
      const isLate = session.reason === 'timeout';
    }
  `,

  'has read-only fields, and data on a signed-in session only': `
    import type { Session } from 'express-sealed-session';
    declare const session: Session;
    if (session.authenticated) {
      session.data.theme = 'dark';
      session.data = { theme: 'dark' };
      await session.save();
      // @ts-expect-error TS2540 who it is, is the provider's to say
      session.user = { id: 'somebody else' };
      // @ts-expect-error TS2540 the same, field by field
      session.user.email = 'somebody@example.com';
      // @ts-expect-error TS2540 what the token says, is the provider's to say
      session.organizationId = 'org_02';
      // @ts-expect-error TS2540 so is this
      session.claims = {};
      // @ts-expect-error TS2542 so is each claim
      session.claims.role = 'admin';
      // @ts-expect-error TS2339 a list is read-only
      session.roles.push('admin');
    } else {
      // @ts-expect-error TS2339 there is nothing to keep it in
      session.data;
      // @ts-expect-error TS2339 there is nothing to keep it in
      await session.save();
    }
    // @ts-expect-error TS2540 a handler signs nobody in by an assignment
    session.authenticated = true;
  `,

  'offers the actions on every session': `
    import type { RefreshResult, Session, TokenSet } from 'express-sealed-session';
    declare const session: Session;
    declare const tokens: TokenSet;
    const result: RefreshResult = await session.refresh();
    if (!result.refreshed) result.reason satisfies string;
    await session.refresh({ organizationId: 'org_01' });
    await session.signIn(tokens);
    const url: string | undefined = await session.signOut({ returnTo: 'https://app.example.com/' });
    // @ts-expect-error TS2561 misspelt
    await session.refresh({ organization: 'org_01' });
  `,

  'tells a handler what it has': `
    import type { IncomingMessage } from 'node:http';
    import express from 'express';
    import { getSession, requireSession, type Session, type SessionOptions, withSession } from 'express-sealed-session';
    declare const options: SessionOptions;
    const sessions = withSession(options);
    const app = express();
    app.use(sessions, sessions.routes());
    app.get('/account/:id', sessions.require({ roles: 'admin' }), (req, res) => {
      const id: string = req.params.id;
      const session: Session = sessions.get(req);
      res.json({ id, user: session.user, name: sessions.signedIn(req).user.name ?? 'you' });
    });
    const router = express.Router();
    router.use(requireSession());
    router.get('/:page', requireSession({ roles: 'admin' }), (req, res) => {
      const page: string = req.params.page;
      res.json({ page, user: getSession(req).user });
    });
    const plain = (req: IncomingMessage) => getSession(req).authenticated;
  `,

  'leaves Express alone without the augmentation': `
    import express from 'express';
    import { getSession } from 'express-sealed-session';
    // As express-session's types have it.
    declare global {
      namespace Express {
        interface Request {
          session: { cookie: { maxAge?: number } };
        }
      }
    }
    express().get('/', (req) => {
      req.session.cookie.maxAge = 1;
      // @ts-expect-error TS2339 that is the other package's, not ours
      req.session.authenticated;
      getSession(req).authenticated satisfies boolean;
    });
  `,

  'lets a third provider be written outside the package': `
    import { type Provider, type TokenSet, withSession } from 'express-sealed-session';
    const readTokens = async (answer: Readonly<Record<string, unknown>>): Promise<TokenSet | undefined> =>
      typeof answer.access_token === 'string' ? { accessToken: answer.access_token } : undefined;
    const post = async (parameters: Record<string, string>) => ({
      url: 'https://id.example.com/token',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams(parameters).toString(),
    });
    export const acme: Provider = {
      name: 'acme',
      id: 'acme client',
      cookieName: '__Host-acme',
      refreshTokens: 'single-use',
      accessToken: () => ({
        keysUrl: 'https://id.example.com/keys',
        algorithms: ['ES256'],
        issuer: ['https://id.example.com'],
        issuedToUs: (claims) => claims.client_id === 'client',
      }),
      refreshRequest: ({ refreshToken }) => post({ grant_type: 'refresh_token', refresh_token: refreshToken }),
      readRefresh: readTokens,
      terminalReason: (answer) => (answer.error === 'invalid_grant' ? 'invalid_grant' : undefined),
      authorizationUrl: ({ state }) => \`https://id.example.com/authorize?state=\${state}\`,
      codeRequest: (callback) => post({ grant_type: 'authorization_code', code: callback.get('code') ?? '' }),
      readSignIn: readTokens,
    };
    withSession({ provider: acme, password: process.env.PASSWORD });
    // @ts-expect-error TS2322 a word of the provider's own is not a reason
    const prose: Provider = { ...acme, terminalReason: () => 'your_session_is_over' };
    // @ts-expect-error TS2322 a provider must say whether a refresh token may be sent twice
    const vague: Provider = { ...acme, refreshTokens: undefined };
    // @ts-expect-error TS2820 only listed values may repeat
    const misspelt: Provider = { ...acme, refreshTokens: 'Single-use' };
  `,

  'lets a sealer be written outside the package': `
    import { ironSealer, rubySealer, type Sealer, withSession, workos } from 'express-sealed-session';
    const sealer: Sealer = { ...ironSealer(), name: 'mine' };
    const provider = workos({ clientId: 'id', apiKey: 'key' });
    withSession({ provider, password: 'secret', sealer });
    withSession({ provider, password: 'secret', sealer: rubySealer() });
  `,

  'takes the clients of node-redis and ioredis': `
    import { type Fleet, withSession, workos } from 'express-sealed-session';
    import { redisFleet } from 'express-sealed-session/redis';
    import { Cluster, Redis } from 'ioredis';
    import { createClient, createCluster, createSentinel } from 'redis';
    redisFleet({ client: createClient() });
    redisFleet({ client: createCluster({ rootNodes: [] }) });
    redisFleet({ client: createSentinel({ name: 'main', sentinelRootNodes: [] }) });
    redisFleet({ client: new Redis(), prefix: 'app:', leaseMs: 5_000, timeoutMs: 100 });
    const fleet: Fleet = redisFleet({ client: new Cluster([]) });
    withSession({ provider: workos({ clientId: 'id', apiKey: 'key' }), password: 'secret', fleet });
    // @ts-expect-error TS2322 an address is no client
    redisFleet({ client: 'redis://localhost' });
  `,

  'types each event by its name': `
    import type { EventCallbacks, Misconfiguration, Reason, RefreshSource } from 'express-sealed-session';
    export const events: EventCallbacks = {
      signedIn: ({ userId }) => userId satisfies string,
      refreshed: ({ source, durationMs }) => [source satisfies RefreshSource, durationMs satisfies number],
      refreshFailed: ({ reason, retryable, status }) => [
        reason satisfies Reason,
        retryable satisfies boolean,
        status satisfies number | undefined,
      ],
      rejected: ({ sessionId, detail }) => [sessionId satisfies string | undefined, detail satisfies string],
      signedOut: async ({ sessionId }) => sessionId satisfies string | undefined,
      oldPasswordUsed: ({ index }) => index satisfies number,
      fleetChanged: ({ reachable }) => reachable satisfies boolean,
      misconfigured: ({ problem }) => problem satisfies Misconfiguration,
      // @ts-expect-error TS2339 no event carries a token
      written: ({ accessToken }) => accessToken,
    };
    export const misspelt: EventCallbacks = {
      misconfigured: ({ problem }) => {
        // @ts-expect-error TS2367 no such problem
        if (problem === 'insecure cookie') return;
      },
    };
  `,

  'tells errors apart by code': `
    import {
      isSessionError, SessionConfigError, SessionError, type SessionErrorCode, SessionUnavailableError, type SignInFailure,
    } from 'express-sealed-session';
    export function statusOf(error: unknown): number {
      if (!isSessionError(error)) return 500;
      const code: SessionErrorCode = error.code;
      switch (error.code) {
        case 'ERR_SESSION_UNAVAILABLE':
          return error.retryAfterSeconds;
        case 'ERR_SESSION_CONFIG':
          return error.problems.length;
        case 'ERR_SESSION_FORBIDDEN':
          return error.demand.length;
        case 'ERR_SESSION_CROSS_ORIGIN':
          return error.status;
        case 'ERR_SESSION_SIGN_IN_FAILED':
          return (error.failure satisfies SignInFailure).length;
      }
      // @ts-expect-error TS2367 no such code
      if (error.code === 'ERR_SESSION_EXPIRED') return 1;
      // @ts-expect-error TS2339 not every error has one
      error.retryAfterSeconds;
      return code === 'ERR_SESSION_REQUIRED' ? error.status : error.statusCode;
    }
    export function byClass(error: unknown): number {
      if (error instanceof SessionUnavailableError) return error.retryAfterSeconds;
      if (error instanceof SessionConfigError) return error.problems.length;
      return error instanceof SessionError ? error.status : 500;
    }
    declare const failed: SessionUnavailableError;
    failed.name satisfies 'SessionUnavailableError';
  `,

  'types the conformance suite for providers': `
    import { type Provider, workos } from 'express-sealed-session';
    import { type ProviderAnswers, testProviderConformance } from 'express-sealed-session/testing';
    declare const it: (name: string, test: () => Promise<void>) => void;
    declare const provider: Provider;
    const answers: ProviderAnswers = { refresh: { token: 'x' } };
    testProviderConformance(workos({ clientId: 'id', apiKey: 'key' }), it);
    testProviderConformance(provider, (name, test) => it(name, test), answers);
    // @ts-expect-error TS2554 nothing would run the tests
    testProviderConformance(provider);
  `,

  'types a session without HTTP': `
    import { createSessionManager, type SessionOptions } from 'express-sealed-session';
    declare const options: SessionOptions;
    const manager = createSessionManager(options);
    const session = manager.load(undefined);
    const answer = await session.authenticate();
    if (answer.authenticated) answer.user.id satisfies string;
    else answer.reason satisfies string;
    const refreshed = await session.refresh({ organizationId: 'org_01', password: process.env.PASSWORD });
    if (refreshed.authenticated) refreshed.sealedSession satisfies string;
    else refreshed.sealedSession satisfies string | undefined;
    // @ts-expect-error TS2540 only a refresh changes the seal
    session.sealed = 'seal';
  `,
});

// What `exactOptionalPropertyTypes` adds: only an app that sets it is told while it compiles.
const exactCases = sources('ts', {
  'takes undefined for no demand of a rule': `
    import { requireSession, withSession, workos } from 'express-sealed-session';
    declare const role: string | undefined;
    const sessions = withSession({ provider: workos({ clientId: 'id', apiKey: 'key' }), password: 'secret' });
    // @ts-expect-error TS2345 a variable that is not set would let everybody pass
    requireSession({ roles: role });
    // @ts-expect-error TS2345 the same here
    sessions.require({ organizationId: undefined });
    // Options are another matter: undefined is their default.
    withSession({ provider: workos({ clientId: 'id', apiKey: 'key' }), password: 'secret', baseUrl: undefined });
  `,
});

const augmentedOnly = sources('ts', {
  'has types at each entry of the package': entries
    .map((entry, index) => `import type * as entry${index} from '${packageName}${entry.slice(1)}';`)
    .join('\n'),

  'puts the session on the request of Express': `
    import 'express-sealed-session/augment';
    import express from 'express';
    import { requireSession, type Session } from 'express-sealed-session';
    express().get('/', requireSession(), (req) => {
      const session: Session = req.session;
      if (req.session.authenticated) req.session.user.id satisfies string;
      // @ts-expect-error TS18047 not known yet whether somebody is signed in
      req.session.user.id;
    });
  `,

  'checks what an app has added to the user, the claims and the data': `
    import type { IncomingMessage } from 'node:http';
    import { getSession, oidc, type SessionOptions, withSession, workos } from 'express-sealed-session';
    declare module 'express-sealed-session' {
      interface SessionUser { readonly plan: 'free' | 'paid' }
      interface SessionClaims { readonly tier?: number }
      interface SessionData { theme?: 'light' | 'dark' }
    }
    declare const req: IncomingMessage;
    const session = getSession(req);
    if (session.authenticated) {
      session.user.plan satisfies 'free' | 'paid';
      session.claims.tier satisfies number | undefined;
      session.data.theme = 'dark';
      // @ts-expect-error TS2322 no such theme
      session.data.theme = 'blue';
    }
    const password = 'secret';
    const options: SessionOptions = { provider: workos({ clientId: 'id', apiKey: 'key' }), password };
    const other = oidc({ issuer: 'https://id.example.com', clientId: 'id', clientSecret: 'secret' });
    // What the provider knows of its users, and what the app has added.
    const w = withSession({ provider: workos({ clientId: 'id', apiKey: 'key' }), password });
    w.signedIn(req).user.firstName satisfies string | null;
    w.signedIn(req).user.plan satisfies 'free' | 'paid';
    withSession({ provider: other, password }).signedIn(req).user.given_name satisfies string | undefined;
    for (const sessions of [withSession(options), withSession({ provider: other, password })]) {
      sessions.signedIn(req).user.plan satisfies 'free' | 'paid';
      sessions.get(req) satisfies typeof session;
    }
  `,
});

// TypeScript follows Node: what is required may be an ES module.
const commonJsCases = sources('cts', {
  'can be required by CommonJS': `
    import { type Session, withSession } from 'express-sealed-session';
    import sealed = require('express-sealed-session');
    export const same: typeof withSession = sealed.withSession;
    export type { Session };
  `,
});

const settings: Record<string, ts.CompilerOptions> = {
  NodeNext: {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    exactOptionalPropertyTypes: true,
    lib: ['lib.es2023.d.ts'],
  },
  Bundler: {
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    lib: ['lib.es2023.d.ts', 'lib.dom.d.ts'],
  },
};

let temporary: string;
let consumer: string;

// The built package as an app would have it: with what it declares as its dependencies, and the types of what the app
// uses itself. A type from anything else of this repository is missed.
beforeAll(() => {
  if (!existsSync(path.join(repository, 'dist/index.d.ts'))) throw new Error('There is no dist/. Run: npm run build');
  temporary = realpathSync(mkdtempSync(path.join(tmpdir(), 'types-')));
  consumer = path.join(temporary, 'consumer');
  for (const part of ['dist', 'package.json']) {
    cpSync(path.join(repository, part), path.join(consumer, 'node_modules', packageName, part), { recursive: true });
  }
  const own = ['@types/node', '@types/express', 'redis', 'ioredis'];
  for (const name of [...Object.keys(dependencies), ...own]) {
    const link = path.join(consumer, 'node_modules', name);
    mkdirSync(path.dirname(link), { recursive: true });
    symlinkSync(path.join(repository, 'node_modules', name), link, 'dir');
  }
  writeFileSync(path.join(consumer, 'package.json'), '{ "type": "module" }');
});

afterAll(() => {
  rmSync(temporary, { recursive: true, force: true });
});

describe.each(Object.entries(settings))('types under %s', (setting, options) => {
  const plainCases = setting === 'NodeNext' ? { ...cases, ...exactCases, ...commonJsCases } : cases;

  let plain: Compiled;
  let augmented: Compiled;

  beforeAll(() => {
    plain = compile(plainCases, options);
    augmented = compile(augmentedOnly, options);
  }, 60_000);

  it.each(Object.keys(plainCases))('%s', (title) => {
    expect(plain.problemsOf(title)).toEqual([]);
  });

  it.each(Object.keys(augmentedOnly))('with the augmentation: %s', (title) => {
    expect(augmented.problemsOf(title)).toEqual([]);
  });

  it('are found, each of them, wherever the package is installed', () => {
    expect([plain, augmented].flatMap((compiled) => compiled.otherProblems())).toEqual([]);
  });
});

function sources(extension: string, texts: Readonly<Record<string, string>>): Record<string, Source> {
  return Object.fromEntries(Object.entries(texts).map(([title, text]) => [title, { extension, text }]));
}

type Compiled = ReturnType<typeof compile>;

/** Compiles sources by title. */
function compile(titled: Readonly<Record<string, Source>>, options: ts.CompilerOptions) {
  const files = Object.fromEntries(
    Object.entries(titled).map(([title, { extension, text }], index) => {
      const file = path.join(consumer, `case-${index}.${extension}`);
      // Not in the compiler's own words, which let any error pass.
      writeFileSync(file, text.replaceAll('@ts-expect-error', 'expected'));
      return [title, file];
    }),
  );
  const program = ts.createProgram({
    rootNames: Object.values(files),
    options: { target: ts.ScriptTarget.ES2022, strict: true, types: ['node'], noEmit: true, ...options },
  });
  const found = new Map(Object.values(files).map((file) => [file, diagnose(program, program.getSourceFile(file)!)]));
  // The compiler looks only now at what the cases lead it to.
  const elsewhere = [
    ...program.getOptionsDiagnostics(),
    ...program.getGlobalDiagnostics(),
    ...program
      .getSourceFiles()
      .filter(({ fileName }) => fileName.startsWith(temporary) && !found.has(fileName))
      .flatMap((file) => diagnose(program, file)),
  ];

  return {
    problemsOf(title: string): string[] {
      const file = files[title]!;
      const expected = [...titled[title]!.text.matchAll(/@ts-expect-error (TS\d+)/g)].map(
        ({ 1: code, index }) => `line ${titled[title]!.text.slice(0, index).split('\n').length + 1}: ${code!}`,
      );
      const actual = found
        .get(file)!
        .map((problem) => [`line ${lineOf(problem)}: TS${problem.code}`, problem] as const);
      return [
        ...actual
          .filter(([where]) => !expected.includes(where))
          .map(([where, problem]) => `${where} ${prose(problem)}`),
        ...expected
          .filter((where) => !actual.some(([there]) => there === where))
          .map((where) => `${where} was expected and is not there`),
      ];
    },
    otherProblems: () =>
      elsewhere.map((problem) => `${problem.file?.fileName ?? 'options'}:${lineOf(problem)} ${prose(problem)}`),
  };
}

function diagnose(program: ts.Program, file: ts.SourceFile): readonly ts.Diagnostic[] {
  return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)];
}

function lineOf({ file, start }: ts.Diagnostic): number {
  return file && start !== undefined ? file.getLineAndCharacterOfPosition(start).line + 1 : 0;
}

function prose({ messageText }: ts.Diagnostic): string {
  return ts.flattenDiagnosticMessageText(messageText, ' ');
}
