import { randomUUID } from 'node:crypto';

import { afterEach, describe, expect, it, jest } from '@jest/globals';
import {
  createSessionManager,
  oidc,
  type OidcOptions,
  type RejectedDetail,
  requireSession,
  rubySealer,
  type SessionEvents,
  type SessionOptions,
  withSession,
  workos,
} from 'express-sealed-session';
import { redisFleet } from 'express-sealed-session/redis';
import { sealData } from 'iron-session';
import { createClient } from 'redis';

import { tokenKey } from '../../lib/refresh/token-key.js';
import { type App, frameworks } from '../support/apps.js';
import { type Browser, createBrowser, type Page } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { type Issuer, type IssuerOptions, startIssuer } from '../support/oidc-issuer.js';
import { startRedis } from '../support/redis-server.js';
import type { Claims, SignOptions } from '../support/signer.js';
import { describeWithPart } from '../support/system-parts.js';
import { answers, startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { sessionCookieOf } from '../support/workos-session.js';

const password = 'one password for both, of 32 characters';
const origin = 'https://app.example.com';
const cookieName = '__Host-session';
jest.setTimeout(30_000);

const clock = useClock();

const open: (() => Promise<unknown>)[] = [];
afterEach(() => Promise.all(open.splice(0).map((close) => close())));

async function issuerOf(options: Partial<IssuerOptions>): Promise<Issuer> {
  const issuer = await startIssuer(options);
  open.push(() => issuer.close());
  return issuer;
}

async function workosServer(options: Parameters<typeof startWorkosServer>[0] = {}): Promise<WorkosServer> {
  const server = await startWorkosServer(options);
  open.push(() => server.close());
  return server;
}

/** Options for an issuer, as an app writes them. */
function at({ url, clientId, clientSecret }: Issuer, more: Partial<OidcOptions> = {}): SessionOptions {
  return { provider: oidc({ issuer: url, clientId, clientSecret, ...more }), password, baseUrl: origin };
}

/** Options for a WorkOS environment, under the same cookie name as the others. */
function atWorkos({ url, clientId, apiKey }: WorkosServer): SessionOptions {
  const provider = workos({ clientId, apiKey, baseUrl: url });
  return { provider, password, baseUrl: origin, cookie: { name: cookieName } };
}

async function serve(setup: (app: App) => void): Promise<string> {
  const app = await frameworks[0]!.listen(setup);
  open.push(() => app.close());
  return app.url;
}

/** An app with these sessions, what it was told, and the errors that it met. */
async function serveOne(options: SessionOptions) {
  const rejected: SessionEvents['rejected'][] = [];
  const misconfigured: SessionEvents['misconfigured'][] = [];
  const sessions = withSession({
    ...options,
    events: { rejected: (event) => rejected.push(event), misconfigured: (event) => misconfigured.push(event) },
  });
  const url = await serve((app) => {
    app.use(sessions);
    app.use(sessions.routes());
    app.get('/', (req, res) => res.end(JSON.stringify(sessions.get(req))));
    app.get('/guarded', sessions.require(), (_req, res) => res.end());
    app.get('/save', async (req, res) => {
      await sessions.signedIn(req).save();
      res.end();
    });
    app.get('/refresh', async (req, res) => res.end(JSON.stringify(await sessions.get(req).refresh())));
  });
  const get = (path: string, sealed: string, headers: Record<string, string> = {}) =>
    createBrowser(url).get(path, { headers: { cookie: `${cookieName}=${sealed}`, ...headers } });
  const post = (path: string, sealed: string) =>
    createBrowser(url).post(path, { headers: { cookie: `${cookieName}=${sealed}` } });
  return { url, get, post, rejected, misconfigured };
}

const kinds = ['opaque', 'JWT'] as const;
const pairs = kinds.flatMap((one) => kinds.map((other) => [one, other] as const));
const lives = [
  ['valid', 300],
  ['expired', -30],
] as const;

describe('a seal of another provider', () => {
  const combinations = pairs.flatMap(([ofA, ofB]) => lives.map(([life, seconds]) => ({ ofA, ofB, life, seconds })));

  it.each(combinations)(
    'is nobody: $life, of a provider of $ofA tokens at one of $ofB tokens',
    async ({ ofA, ofB, seconds }) => {
      const a = await issuerOf({ accessTokens: ofA, user: 'ada' });
      const b = await issuerOf({ accessTokens: ofB, user: 'mallory' });
      const sealed = await createSessionManager(at(a)).seal(await a.issue({ lifetimeSeconds: seconds }));
      const app = await serveOne(at(b));
      const pages = [await app.get('/', sealed), await app.get('/guarded', sealed), await app.get('/refresh', sealed)];

      expect(pages[0]!.json).toEqual({
        authenticated: false,
        user: null,
        reason: 'invalid_session_cookie',
        retryable: false,
      });
      expect(pages[1]!.status).toBe(401);
      expect(pages[2]!.json).toEqual({ refreshed: false, reason: 'invalid_session_cookie', retryable: false });
      expect(pages.map(({ setCookies }) => setCookies)).toEqual([[], [], []]);
      expect([a.received(), b.received()]).toEqual([[], []]);
      expect(app.rejected).toEqual(Array(3).fill({ reason: 'invalid_session_cookie', detail: 'other_provider' }));
      expect(app.misconfigured).toEqual([
        { problem: 'other_provider', option: 'cookie.name', message: expect.stringContaining('cookie.name') },
      ]);
    },
  );

  it.each(kinds)('is nobody in a header, and for a session manager: %s tokens', async (kind) => {
    const a = await issuerOf({ accessTokens: kind, user: 'ada' });
    const b = await issuerOf({ accessTokens: kind, user: 'mallory' });
    const sealed = await createSessionManager(at(a)).seal(await a.issue({ lifetimeSeconds: -30 }));
    const app = await serveOne({ ...at(b), header: 'x-session' });
    const page = await app.get('/', '', { 'x-session': sealed });
    expect([page.json.reason, page.headers.get('x-session')]).toEqual(['invalid_session_cookie', null]);

    const loaded = createSessionManager(at(b)).load(sealed);
    const nobody = { authenticated: false, reason: 'invalid_session_cookie', retryable: false };
    expect([await loaded.authenticate(), await loaded.refresh(), loaded.sealed]).toEqual([nobody, nobody, sealed]);
    expect([a.received(), b.received()]).toEqual([[], []]);
  });

  it('is nobody for another client of one issuer, and is good at an issuer that is written with a slash', async () => {
    const a = await issuerOf({ user: 'ada' });
    const tokens = await a.issue();
    const sealed = await createSessionManager(at(a)).seal(tokens);
    const other = await createSessionManager(at(a, { clientId: 'client_02' }))
      .load(sealed)
      .authenticate();
    expect(other).toMatchObject({ authenticated: false, reason: 'invalid_session_cookie' });
    const { id } = at(a).provider;
    const slashed = at(a, { issuer: `${a.url}/` });
    expect([slashed.provider.id, await createSessionManager(at(a)).load(sealed).authenticate()]).toMatchObject([
      id,
      { authenticated: true },
    ]);
  });

  it("is nobody under the field names of WorkOS's Ruby SDK too", async () => {
    const [a, b] = [await workosServer({ clientId: 'client_a' }), await workosServer({ clientId: 'client_b' })];
    const { accessToken, refreshToken, user } = await a.issueSession({ lifetimeSeconds: -30 });
    const tokens = { accessToken, refreshToken, user: { ...user } };
    const [atA, atB] = [a, b].map((each) => ({ ...atWorkos(each), sealer: rubySealer() }));
    const sealed = await createSessionManager(atA!).seal(tokens);
    const app = await serveOne(atB!);
    expect((await app.get('/', sealed)).json.reason).toBe('invalid_session_cookie');
    expect(app.rejected).toEqual([{ reason: 'invalid_session_cookie', detail: 'other_provider' }]);
    expect([a.tokenRequests, b.tokenRequests]).toEqual([[], []]);
    expect(await createSessionManager(atA!).load(sealed).refresh()).toMatchObject({ authenticated: true });
  });

  it('is left alone by a sign-out too, while a seal that does not open is cleared', async () => {
    const [a, b] = [await issuerOf({ user: 'ada' }), await issuerOf({ user: 'mallory' })];
    const app = await serveOne(at(b));
    const sealed = await createSessionManager(at(a)).seal(await a.issue());
    const outs = [await app.post('/logout', sealed), await app.post('/logout', 'junk')];
    expect(outs.map(({ status }) => status)).toEqual([303, 303]);
    expect(outs.map(({ setCookies }) => sessionCookieOf(setCookies, cookieName))).toEqual([undefined, '']);
    expect([a.received(), b.received()]).toEqual([[], []]);
  });

  it('does not hide our own beside it', async () => {
    const [a, b] = [await issuerOf({ user: 'ada' }), await issuerOf({ user: 'bob' })];
    const ours = await createSessionManager(at(b)).seal(await b.issue());
    const theirs = await createSessionManager(at(a)).seal(await a.issue());
    const app = await serveOne(at(b));
    for (const both of [`${ours}; ${cookieName}=${theirs}`, `${theirs}; ${cookieName}=${ours}`]) {
      expect((await app.get('/', both)).json).toMatchObject({ authenticated: true, user: { id: 'bob' } });
    }
  });
});

describe('a seal without a name, as the WorkOS family writes it', () => {
  /** A seal of another writer who has the password. */
  async function sealedElsewhere(server: WorkosServer, claims: Claims, seconds: number) {
    const { accessToken, refreshToken, user } = await server.issueSession({ lifetimeSeconds: seconds, claims });
    return sealData({ accessToken, refreshToken, user }, { password, ttl: 0 });
  }

  type Row = [what: string, claims: (b: { url: string }) => Claims, detail: RejectedDetail];
  const rows: Row[] = [
    ['of another issuer', () => ({}), 'other_issuer'],
    [
      'of another client of an issuer of the same name',
      ({ url }) => ({ iss: url, client_id: 'client_a' }),
      'other_client',
    ],
    ['that names no issuer', () => ({ iss: undefined }), 'other_issuer'],
    ['with an issuer that is a list', ({ url }) => ({ iss: [url] }), 'other_issuer'],
  ];
  const cases = rows.flatMap(([what, claims, detail]) =>
    lives.map(([life, seconds]) => ({ what, claims, detail, life, seconds })),
  );

  it.each(cases)('is nobody at another environment: $life, $what', async ({ claims, detail, seconds }) => {
    const [a, b] = [await workosServer({ clientId: 'client_a' }), await workosServer({ clientId: 'client_b' })];
    const sealed = await sealedElsewhere(a, claims(b), seconds);
    const app = await serveOne(atWorkos(b));
    const page = await app.get('/', sealed);
    expect([page.json, page.setCookies]).toMatchObject([{ authenticated: false, reason: 'invalid_jwt' }, []]);
    expect((await app.get('/guarded', sealed)).status).toBe(401);
    expect([a.tokenRequests, b.tokenRequests]).toEqual([[], []]);
    expect(app.rejected[0]).toMatchObject({ reason: 'invalid_jwt', detail });
  });

  it.each(kinds.flatMap((kind) => lives.map(([life, seconds]) => ({ kind, life, seconds }))))(
    'is nobody at an OpenID provider of $kind tokens: $life',
    async ({ kind, seconds }) => {
      const [a, b] = [await workosServer(), await issuerOf({ accessTokens: kind, user: 'mallory' })];
      const sealed = await sealedElsewhere(a, {}, seconds);
      const app = await serveOne(at(b, { accessToken: kind === 'opaque' ? 'opaque' : 'auto' }));
      const page = await app.get('/', sealed);
      expect([page.json, page.setCookies]).toMatchObject([{ authenticated: false, reason: 'invalid_jwt' }, []]);
      expect([a.tokenRequests, b.received()]).toEqual([[], []]);
    },
  );

  it('is nobody with an opaque token, whatever user stands beside it', async () => {
    const b = await issuerOf({ accessTokens: 'opaque' });
    const tokens = { accessToken: 'at-of-another', refreshToken: 'rt-of-another', expiresAt: Date.now() + 60_000 };
    const app = await serveOne(at(b));
    for (const user of [undefined, { id: 'admin' }]) {
      const page = await app.get('/', await sealData({ ...tokens, user }, { password, ttl: 0 }));
      expect([page.json, page.setCookies]).toMatchObject([{ authenticated: false, reason: 'invalid_jwt' }, []]);
    }
    expect(b.received()).toEqual([]);
  });

  it('is good at its own environment, and refreshed once its key was withdrawn', async () => {
    const a = await workosServer();
    const sealed = await sealedElsewhere(a, {}, 300);
    const app = await serveOne(atWorkos(a));
    expect((await app.get('/', sealed)).json).toMatchObject({ authenticated: true, refreshed: false });
    await a.rotateKeys({ keepOld: false });
    // An app that has not seen the old key.
    const fresh = await serveOne(atWorkos(a));
    expect((await fresh.get('/', sealed)).json).toMatchObject({ authenticated: true, refreshed: true });
  });

  it.each<[string, (server: WorkosServer) => Claims, cleared: boolean]>([
    ['keeps the cookie where the token names neither', ({ url }) => ({ iss: url }), false],
    ['clears the cookie where it names our client', ({ url, clientId }) => ({ iss: url, client_id: clientId }), true],
    ['clears the cookie where its issuer names our client', () => ({}), true],
  ])('%s, once the provider refuses the session', async (_, claims, cleared) => {
    for (const path of ['/', '/refresh']) {
      const server = await workosServer();
      const sealed = await sealedElsewhere(server, claims(server), -30);
      server.token.fail(answers.invalidGrant);
      const page = await (await serveOne(atWorkos(server))).get(path, sealed);
      expect(page.json).toMatchObject({ reason: path === '/' ? 'invalid_grant' : expect.any(String) });
      expect([path, sessionCookieOf(page.setCookies, cookieName)]).toEqual([path, cleared ? '' : undefined]);
    }
  });

  it('brings no other user at a refresh, by the subject of its old token', async () => {
    const server = await workosServer();
    const { accessToken, refreshToken, sessionId } = await server.issueSession({ lifetimeSeconds: -30 });
    const sealed = await sealData({ accessToken, refreshToken }, { password, ttl: 0 });
    server.sessions.update(sessionId, { user: { id: 'user_02' } });
    const page = await (await serveOne(atWorkos(server))).get('/', sealed);
    expect([page.json, page.setCookies]).toMatchObject([{ reason: 'provider_misconfigured', retryable: true }, []]);
  });
});

describe('of several seals under one name', () => {
  it.each(kinds)('the one that was sealed last counts, whatever the order in the header: %s tokens', async (kind) => {
    const a = await issuerOf({ accessTokens: kind });
    const manager = createSessionManager(at(a));
    const first = await manager.seal(await a.issue({ user: 'ada' }));
    clock.advance(1);
    // A user who signed in later, with a token that is no newer.
    const second = await manager.seal(await a.issue({ user: 'bob', claims: { iat: 1 } }));
    const app = await serveOne(at(a));
    for (const both of [`${first}; ${cookieName}=${second}`, `${second}; ${cookieName}=${first}`]) {
      expect((await app.get('/', both)).json).toMatchObject({ authenticated: true, user: { id: 'bob' } });
    }
  });
});

describe('a sign-in', () => {
  /** Two providers in one app, each below a path of its own, under one cookie name. */
  async function serveTwo(a: Issuer, b: Issuer) {
    const errors: unknown[] = [];
    const parts = [a, b].map((issuer, index) => {
      const path = index === 0 ? '/a' : '/b';
      const routes = { login: `${path}/login`, callback: `${path}/callback`, logout: `${path}/logout` };
      return { path, sessions: withSession({ ...at(issuer), routes }) };
    });
    const url = await serve((app) => {
      for (const { path, sessions } of parts) {
        const own = sessions.routes();
        app.use((req, res, next) => {
          if (!req.url?.startsWith(path)) {
            next();
            return;
          }
          sessions(req, res, (error) => {
            if (error !== undefined) next(error);
            else {
              own(req, res, (failure) => {
                if (failure !== undefined) errors.push(failure);
                next(failure);
              });
            }
          });
        });
        app.get(`${path}/`, (req, res) => res.end(JSON.stringify(sessions.get(req))));
      }
    });
    return { url, browser: createBrowser(url), errors };
  }

  /** Goes where redirects lead; the public origin is where the app is served here. */
  async function visit(browser: Browser, url: string, path: string): Promise<Page> {
    let page = await browser.get(path);
    for (let hop = 0; hop < 5 && page.headers.has('location'); hop += 1) {
      page = await browser.get(page.headers.get('location')!.replace(origin, url));
    }
    return page;
  }

  it.each(pairs)(
    'that began at a provider of %s tokens cannot end with the code of one of %s tokens',
    async (ofB, ofA) => {
      const a = await issuerOf({ accessTokens: ofA, user: 'mallory' });
      const b = await issuerOf({ accessTokens: ofB, user: 'victim' });
      const { url, browser, errors } = await serveTwo(a, b);
      const begun = new URL((await browser.get('/b/login')).headers.get('location')!);
      expect(begun.origin).toBe(b.url);
      const cookies = browser.jar.cookies.length;
      // B knows all of it, and has a code made at A for it.
      const attack = new URL(begun.pathname + begun.search, a.url);
      attack.searchParams.set('redirect_uri', `${origin}/a/callback`);
      const back = (await createBrowser(a.url).get(attack.href)).headers.get('location')!;

      const page = await browser.get(back.replace(origin, url));
      expect([page.status, page.json.error]).toEqual([400, 'ERR_SESSION_SIGN_IN_FAILED']);
      expect(errors).toMatchObject([{ failure: 'state_mismatch' }]);
      expect([a.received(), b.received(), page.setCookies]).toEqual([[], [], []]);
      expect((await browser.get('/a/')).json).toMatchObject({ authenticated: false, user: null });

      // The sign-in itself is still under way, and ends where it began.
      expect(browser.jar.cookies).toHaveLength(cookies);
      const home = (await createBrowser(b.url).get(begun.href)).headers.get('location')!;
      await browser.get(home.replace(origin, url));
      expect((await browser.get('/b/')).json).toMatchObject({ authenticated: true, user: { id: 'victim' } });
    },
  );

  it('that began for one redirect URI does not end at another of the same provider', async () => {
    const a = await issuerOf({ user: 'ada' });
    const { url, browser, errors } = await serveTwo(a, a);
    const begun = (await browser.get('/b/login')).headers.get('location')!;
    const back = (await createBrowser(a.url).get(begun)).headers.get('location')!;
    const page = await browser.get(back.replace(`${origin}/b/`, `${url}/a/`));
    expect([page.status, a.received()]).toEqual([400, []]);
    expect(errors).toMatchObject([{ failure: 'state_mismatch' }]);
  });

  it('is no session, and a session is no sign-in', async () => {
    const [a, b] = [await issuerOf({ user: 'ada' }), await issuerOf({ user: 'bob' })];
    const { url, browser } = await serveTwo(a, b);
    await browser.get('/a/login');
    const [flow] = browser.jar.cookies;
    const own = createBrowser(url);
    const asSession = await own.get('/a/', { headers: { cookie: `${cookieName}=${flow!.value}` } });
    expect([asSession.json.authenticated, asSession.setCookies]).toEqual([false, []]);
    expect((await visit(own, url, '/a/login')).status).toBe(404);
    expect((await own.get('/a/')).json).toMatchObject({ authenticated: true, user: { id: 'ada' } });
    const asFlow = await own.get('/a/callback?code=junk&state=x', {
      headers: { cookie: `${flow!.name}=${own.jar.get(cookieName)!}` },
    });
    expect(asFlow.status).toBe(400);
  });
});

describe.each(kinds)('customers and staff on one app, with %s tokens', (kind) => {
  async function serveBoth(order: 'customers first' | 'staff first') {
    const shop = await issuerOf({ accessTokens: kind, user: 'customer' });
    const desk = await issuerOf({ accessTokens: kind, user: 'clerk' });
    const customers = withSession({
      ...at(shop),
      routes: { login: '/login', callback: '/callback', logout: '/logout' },
    });
    const staff = withSession({
      ...at(desk),
      property: 'staff',
      cookie: { name: '__Host-staff' },
      routes: { login: '/staff/login', callback: '/staff/callback', logout: '/staff/logout' },
    });
    const url = await serve((app) => {
      const all = order === 'customers first' ? [customers, staff] : [staff, customers];
      for (const each of all) app.use(each);
      for (const each of all) app.use(each.routes());
      app.get('/both', (req, res) =>
        res.end(JSON.stringify({ customers: customers.get(req).user?.id, staff: staff.get(req).user?.id })),
      );
      app.get('/admin', staff.require(), (req, res) => res.end(JSON.stringify(staff.signedIn(req).user)));
      app.get('/orders', customers.require(), (_req, res) => res.end('{}'));
      app.get('/either', requireSession(), (_req, res) => res.end('{}'));
      app.get('/authorize', (req, res, next) => {
        staff.authorize(req).then(() => res.end('{}'), next);
      });
    });
    const browser = createBrowser(url);
    /** Opens a path, and signs in at the provider where it leads there. */
    const go = async (path: string): Promise<void> => {
      let page = await browser.get(path);
      for (let hop = 0; hop < 3 && page.headers.has('location'); hop += 1) {
        const next = new URL(page.headers.get('location')!, url).href.replace(origin, url);
        if (new URL(next).pathname === '/logout' && !next.startsWith(url)) return;
        page = await browser.get(next);
      }
    };
    const leave = (path: string) => browser.post(path);
    const both = async () => (await browser.get('/both')).json as { customers?: string; staff?: string };
    const statuses = async () => {
      const pages = await Promise.all(['/admin', '/orders', '/authorize'].map((path) => browser.get(path)));
      return pages.map(({ status }) => status);
    };
    return { shop, desk, browser, go, leave, both, statuses };
  }

  const orders = ['customers first', 'staff first'] as const;

  it.each(orders)('are signed in and out by their own routes alone: %s', async (order) => {
    const { go, leave, both } = await serveBoth(order);
    await go('/login');
    expect(await both()).toEqual({ customers: 'customer' });
    await go('/staff/login');
    expect(await both()).toEqual({ customers: 'customer', staff: 'clerk' });
    await leave('/logout');
    expect(await both()).toEqual({ staff: 'clerk' });
    await go('/login');
    await leave('/staff/logout');
    expect(await both()).toEqual({ customers: 'customer' });
  });

  it.each(orders)('pass their own guards alone, and no guard chooses between them: %s', async (order) => {
    const { go, statuses, browser, shop, desk, leave } = await serveBoth(order);
    await go('/login');
    expect(await statuses()).toEqual([401, 200, 401]);
    const page = await browser.get('/either');
    expect([page.status, page.json.error]).toEqual([500, 'ERR_SESSION_MIDDLEWARE_MISSING']);
    expect(desk.received()).toEqual([]);
    await leave('/logout');
    await go('/staff/login');
    expect(await statuses()).toEqual([200, 401, 200]);
    expect(shop.received().filter(({ body }) => body.grant_type === 'refresh_token')).toEqual([]);
  });

  it.each(orders)('are both refreshed on one response, each under its own name: %s', async (order) => {
    const { go, both, browser, shop, desk } = await serveBoth(order);
    await go('/login');
    await go('/staff/login');
    for (let time = 0; time < 3; time += 1) {
      clock.advance(310);
      expect(await both()).toEqual({ customers: 'customer', staff: 'clerk' });
    }
    expect(browser.jar.cookies.map(({ name }) => name).sort()).toEqual([
      '__Host-session',
      '__Host-staff',
      '__Secure-session-id-token',
      '__Secure-staff-id-token',
    ]);
    expect([shop.reuses, desk.reuses]).toEqual([0, 0]);
  });

  it('do not share a seal: each is nobody under the name of the other', async () => {
    const { go, both, browser, shop, desk } = await serveBoth('customers first');
    await go('/login');
    const before = [shop.received().length, desk.received().length];
    const moved = `__Host-staff=${browser.jar.get('__Host-session')!}`;
    clock.advance(310);
    const page = await browser.get('/both', { headers: { cookie: moved } });
    expect([page.json, page.setCookies]).toEqual([{}, []]);
    expect([shop.received().length, desk.received().length]).toEqual(before);
    expect(await both()).toEqual({ customers: 'customer' });
  });
});

describe('the expiry of a token is looked at last', () => {
  type Change = [what: string, claims: (issuer: Issuer) => Claims, header?: SignOptions['header']];
  const changes: Change[] = [
    ['of another client', () => ({ client_id: 'client_02' })],
    ['of another client, as azp says', () => ({ client_id: undefined, azp: 'client_02' })],
    ['of another issuer', () => ({ iss: 'https://id.example.com' })],
    ['about another user', () => ({ sub: 'mallory' })],
    ['about nobody', () => ({ sub: '' })],
    ['that is an ID token, by its at_hash', () => ({ at_hash: 'x' })],
    ['that is an ID token, by its nonce', () => ({ nonce: 'x' })],
    ['that is an ID token, by its typ', () => ({ typ: 'ID' })],
    ['that is a log-out token', () => ({ events: { 'http://schemas.openid.net/event/backchannel-logout': {} } })],
    ['whose header names another type', () => ({}), { typ: 'logout+jwt' }],
    ['whose header names another type in other letters', () => ({}), { typ: 'application/SecEvent+JWT' }],
  ];
  const ways: [string, SignOptions][] = [
    ['at once', {}],
    // Without a key id, jose looks for the key.
    ['by jose', { header: { kid: undefined } }],
  ];
  const cases = changes.flatMap(([what, claims, header]) =>
    ways.map(([way, sign]) => ({ what, claims, way, sign: { header: { ...sign.header, ...header } } })),
  );

  it.each(cases)('a token $what is neither served stale nor refreshed, checked $way', async ({ claims, sign }) => {
    const issuer = await issuerOf({ user: 'ada' });
    const options = { ...at(issuer), whenUnavailable: { staleSeconds: 600 } };
    for (const exp of [300, -30]) {
      const { refreshToken, user } = await issuer.issue();
      const now = Math.floor(Date.now() / 1000);
      const accessToken = await issuer.sign({ ...issuer.claims({ exp: now + exp }), ...claims(issuer) }, sign);
      const sealed = await createSessionManager(options).seal({ accessToken, refreshToken, user });
      const app = await serveOne(options);
      // Once the keys are at hand, an ordinary token is checked at once.
      const good = await createSessionManager(options).seal(await issuer.issue());
      expect((await app.get('/', good)).json).toMatchObject({ authenticated: true });
      issuer.token.fail({ status: 503 });
      const page = await app.get('/', sealed);
      expect([exp, page.json]).toEqual([
        exp,
        { authenticated: false, user: null, reason: 'invalid_jwt', retryable: false },
      ]);
      expect([page.setCookies, issuer.received()]).toEqual([[], []]);
      issuer.token.heal();
      await app.get('/', sealed);
      expect([issuer.received(), issuer.isLive(refreshToken)]).toEqual([[], true]);
    }
  });

  it.each(ways)('a token of ours is served stale, and refreshed: checked %s', async (_, sign) => {
    const issuer = await issuerOf({ user: 'ada' });
    const options = { ...at(issuer), whenUnavailable: { staleSeconds: 600 } };
    for (const changed of [{}, { nonce: 'x', typ: 'Bearer' }]) {
      const { refreshToken, user } = await issuer.issue();
      const exp = Math.floor(Date.now() / 1000) - 30;
      const accessToken = await issuer.sign({ ...issuer.claims({ exp }), ...changed }, sign);
      const sealed = await createSessionManager(options).seal({ accessToken, refreshToken, user });
      const app = await serveOne(options);
      issuer.token.fail({ status: 503 });
      expect((await app.get('/', sealed)).json).toMatchObject({ authenticated: true, stale: true });
      issuer.token.heal();
      // After the pause of a session whose refresh has failed.
      clock.advance(2);
      expect((await app.get('/', sealed)).json).toMatchObject({ authenticated: true, refreshed: true });
    }
  });

  it('an opaque token without a user is refused, valid and expired', async () => {
    const issuer = await issuerOf({ accessTokens: 'opaque' });
    const { accessToken, refreshToken } = await issuer.issue();
    const sealed = await createSessionManager(at(issuer)).seal({ accessToken, refreshToken });
    const app = await serveOne(at(issuer));
    expect((await app.get('/', sealed)).json).toMatchObject({ authenticated: false, reason: 'invalid_jwt' });
    clock.advance(400);
    expect((await app.get('/', sealed)).json).toMatchObject({ authenticated: false, reason: 'invalid_jwt' });
    expect(issuer.received()).toEqual([]);
  });
});

describeWithPart('redis', 'a record in Redis', () => {
  async function connect() {
    const redis = await startRedis();
    const client = createClient({ url: redis.url });
    await client.connect();
    open.push(async () => {
      client.destroy();
      await redis.stop();
    });
    return { redis, client, fleet: redisFleet({ client }) };
  }

  it.each(pairs)('of a provider of %s tokens brings nothing at one of %s tokens', async (ofA, ofB) => {
    const { redis, client, fleet } = await connect();
    const a = await issuerOf({ accessTokens: ofA, user: 'ada' });
    const b = await issuerOf({ accessTokens: ofB, user: 'bob' });
    const tokens = await a.issue({ lifetimeSeconds: -30 });
    const old = await createSessionManager(at(a)).seal(tokens);
    const atA = await serveOne({ ...at(a), fleet });
    expect((await atA.get('/', old)).json).toMatchObject({ authenticated: true, refreshed: true });
    const record = (await redis.entries()).find(({ key }) => key.endsWith(':done'))!;
    const atB = await serveOne({ ...at(b), fleet });
    const sent = a.received().length;

    // The seal that the record answers.
    const page = await atB.get('/', old);
    expect([page.json.reason, page.setCookies]).toEqual(['invalid_session_cookie', []]);
    // A session of B with the very same refresh token, once the record stands under B's name for it.
    const own = await b.issue({ lifetimeSeconds: -30 });
    const same = { ...own, refreshToken: tokens.refreshToken };
    const key = `sealed-session:{${tokenKey(at(b).provider, tokens.refreshToken)}}:done`;
    await client.set(key, record.value);
    const moved = await atB.get('/', await createSessionManager(at(b)).seal(same));
    // The record does not open there: the token counts as spent elsewhere, and is not presented.
    expect(moved.json).toMatchObject({ authenticated: false, reason: 'server_error', retryable: true });
    expect([a.received().length - sent, b.received().length]).toEqual([0, 0]);
  });

  it('that somebody forged with a refresh token of their own brings no other user', async () => {
    const { client, fleet } = await connect();
    const a = await issuerOf({ accessTokens: 'opaque', user: 'mallory' });
    const manager = createSessionManager(at(a));
    const own = await a.issue({ lifetimeSeconds: -30 });
    // With the refresh token of a session about the admin, the record is made by the package itself.
    const forger = createSessionManager({ ...at(a), fleet });
    a.token.reply = (body) => ({ ...body, access_token: `at-${randomUUID()}` });
    const forged = await manager.seal({ ...own, user: { id: 'admin' } });
    expect(await forger.load(forged).refresh()).toMatchObject({ authenticated: true, user: { id: 'admin' } });
    expect(await client.keys('*:done')).toHaveLength(1);

    const app = await serveOne({ ...at(a), fleet: redisFleet({ client }) });
    const page = await app.get('/', await manager.seal(own));
    expect([page.json.authenticated, sessionCookieOf(page.setCookies, cookieName) ?? '']).toEqual([false, '']);
    // While their own token is still valid, the record is what a handler would save.
    const valid = await manager.seal({ ...own, expiresIn: 600 });
    expect((await app.get('/refresh', valid)).json).toMatchObject({ refreshed: false });
    const saved = sessionCookieOf((await app.get('/save', valid)).setCookies, cookieName)!;
    expect(await manager.load(saved).authenticate()).toMatchObject({ user: { id: 'mallory' } });
  });
});
