import { request } from 'node:http';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { getSession, oidc, type RefreshSource, type SessionOptions, withSession } from 'express-sealed-session';

import { frameworks } from '../support/apps.js';
import { createBrowser, type Page } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { startOidcServer } from '../support/oidc-provider.js';
import { serveSessions, type SessionApp } from '../support/session-app.js';
import { answers, startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import {
  cookieHeader,
  expired,
  password,
  sealedSession,
  sessionCookieOf,
  workosOptions,
} from '../support/workos-session.js';

const clock = useClock();
let server: WorkosServer;
let closers: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  // A refresh token may be used once, and a second use ends the session: the hardest provider there is.
  server = await startWorkosServer({ mode: 'strict' });
  closers = [() => server.close()];
});
afterEach(() => Promise.all(closers.map((close) => close())));

async function serve(options: Partial<SessionOptions> = {}): Promise<SessionApp> {
  const full = workosOptions(server, options);
  // As strict as the server: an unknown provider is not asked again once the token may have arrived.
  const app = await serveSessions({ ...full, provider: { ...full.provider, refreshTokens: 'single-use' } });
  closers.push(() => app.close());
  return app;
}

const signedIn = (pages: Page[]) => pages.filter((page) => page.json?.authenticated === true).length;
const cookies = (pages: Page[]) => pages.map((page) => sessionCookieOf(page.setCookies));

describe('parallel requests with the same expired cookie', () => {
  it('are one refresh: 50 at once, one at +40 ms, one at +25 s', async () => {
    const app = await serve();
    const { sealed, sessionId } = await sealedSession(server, expired);
    const hold = server.token.hold();

    const storm = Array.from({ length: 50 }, () => app.send(sealed));
    await hold.arrived(1);
    hold.release();
    const pages = await Promise.all(storm);
    clock.advance(0.04);
    pages.push(await app.send(sealed));
    clock.advance(25);
    pages.push(await app.send(sealed));

    expect(server.refreshCount).toBe(1);
    expect(signedIn(pages)).toBe(52);
    expect(cookies(pages).filter(Boolean)).toHaveLength(52);
    expect(new Set(cookies(pages)).size).toBe(1);
    expect(server.sessions.isAlive(sessionId)).toBe(true);
    const next = await app.send(cookies(pages)[0]!);
    expect([next.json.authenticated, next.setCookies]).toEqual([true, []]);
  });

  it('are one refresh when each route has a middleware of its own', async () => {
    const full = workosOptions(server);
    const [one, other] = await Promise.all([serveSessions(full), serveSessions({ ...full, required: true })]);
    closers.push(
      () => one.close(),
      () => other.close(),
    );
    const { sealed } = await sealedSession(server, expired);
    const pages = await Promise.all([one.send(sealed), other.send(sealed), one.send(sealed), other.send(sealed)]);
    expect([server.refreshCount, signedIn(pages)]).toEqual([1, 4]);
  });

  it('leave the grant of a real provider with reuse detection alive', async () => {
    const real = await startOidcServer();
    closers.push(() => real.close());
    const provider = oidc({
      issuer: real.url,
      clientId: real.clientId,
      clientSecret: real.clientSecret,
      resource: real.audience,
    });
    const { app, sealed } = await signInAt(provider);
    clock.advance(400);

    const pages = await Promise.all(Array.from({ length: 50 }, () => app(sealed)));
    clock.advance(0.04);
    pages.push(await app(sealed));
    clock.advance(25);
    pages.push(await app(sealed));

    expect(signedIn(pages)).toBe(52);
    expect([real.refreshes(), real.refreshes('error')]).toEqual([1, 0]);
    expect(await real.grantsAlive()).toBe(true);
    clock.advance(400);
    const later = await app(sessionCookieOf(pages[0]!.setCookies, '__Host-session')!);
    expect([later.json.authenticated, real.refreshes()]).toEqual([true, 2]);
  });

  async function signInAt(provider: SessionOptions['provider']) {
    const origin = 'https://app.example.com';
    const options = { provider, password, baseUrl: origin };
    const app = await frameworks[0]!.listen((each) => {
      const sessions = withSession(options);
      each.use(sessions);
      each.use(sessions.routes());
      each.get('/', (req, res) => res.end(JSON.stringify(getSession(req))));
    });
    closers.push(() => app.close());
    const browser = createBrowser(app.url);
    let page = await browser.get('/login');
    while (page.headers.has('location')) {
      const next = new URL(page.headers.get('location')!, page.url).href;
      page = await browser.fetch(next.replace(origin, app.url));
    }
    const send = (cookie: string) =>
      createBrowser(app.url).get('/', { headers: { cookie: `__Host-session=${cookie}` } });
    return { app: send, sealed: browser.jar.get('__Host-session')! };
  }

  it('tells where each session came from', async () => {
    const sources: RefreshSource[] = [];
    const app = await serve({ events: { refreshed: ({ source }) => sources.push(source) } });
    const { sealed } = await sealedSession(server, expired);
    const hold = server.token.hold();
    const both = [app.send(sealed), app.send(sealed)];
    await hold.arrived(1);
    hold.release();
    await Promise.all(both);
    await app.send(sealed);
    expect(sources.sort()).toEqual(['joined', 'leader', 'remembered']);
  });

  it('are renewed on when what they were given has expired in turn, told once', async () => {
    server.lifetimeSeconds = 20;
    const sources: RefreshSource[] = [];
    const app = await serve({ events: { refreshed: ({ source }) => sources.push(source) } });
    const { sealed, sessionId } = await sealedSession(server, expired);
    await app.send(sealed);
    clock.advance(30);
    await app.send(sealed);
    clock.advance(30);
    const page = await app.send(sealed);
    expect([page.json.authenticated, server.refreshCount]).toEqual([true, 3]);
    expect(sources).toHaveLength(3);
    expect(server.sessions.isAlive(sessionId)).toBe(true);
  });
});

describe('an organization switch', () => {
  it('is never merged with a plain refresh, and never presents a token twice', async () => {
    const app = await serve();
    const { sealed, sessionId } = await sealedSession(server, { organizationId: 'org_01' });
    server.lifetimeSeconds = 3600;
    const hold = server.token.hold();
    const switching = app.send(sealed, '/switch');
    await hold.arrived(1);
    clock.advance(400);
    const plain = app.send(sealed);
    hold.release();
    const [switched, refreshed] = await Promise.all([switching, plain]);

    expect(switched.json).toMatchObject({ authenticated: true, organizationId: 'org_02', result: { refreshed: true } });
    expect(refreshed.json).toMatchObject({ authenticated: true, organizationId: 'org_01' });
    const tokens = server.tokenRequests.map(({ body }) => (body as { refresh_token: string }).refresh_token);
    expect(new Set(tokens).size).toBe(tokens.length);
    expect(server.sessions.isAlive(sessionId)).toBe(true);
  });
});

describe('a browser that leaves while its session is refreshed', () => {
  it('is served the result when it comes back with the old cookie, long after', async () => {
    const app = await serve();
    const { sealed } = await sealedSession(server, expired);
    const hold = server.token.hold();
    const gone = request(app.url, { headers: { cookie: `wos-session=${sealed}` } });
    gone.on('error', () => undefined);
    gone.end();
    await hold.arrived(1);
    gone.destroy();
    hold.release();

    const first = await app.send(sealed);
    clock.advance(10 * 60);
    server.lifetimeSeconds = 3600;
    const page = await app.send(sealed);
    expect(first.json).toMatchObject({ authenticated: true });
    expect(page.json).toMatchObject({ authenticated: true });
    // The second refresh is of the successor, which had expired by then; the old token was presented once.
    expect(server.refreshCount).toBe(2);
  });

  it('is not served it for ever: once the new cookie has been seen, the grace time runs', async () => {
    server.lifetimeSeconds = 3600;
    const app = await serve({ refresh: { graceSeconds: 60 } });
    const { sealed } = await sealedSession(server, expired);
    const next = sessionCookieOf((await app.send(sealed)).setCookies)!;
    clock.advance(120);
    expect((await app.send(sealed)).json).toMatchObject({ authenticated: true });
    expect(server.refreshCount).toBe(1);
    await app.send(next);
    clock.advance(61);
    // A replay now is what the provider makes of it: here, the end of the session.
    expect((await app.send(sealed)).json).toMatchObject({ authenticated: false, reason: 'invalid_grant' });
  });

  it('waits no longer than waitMs, and finds the result the next time', async () => {
    const app = await serve({ refresh: { waitMs: 30 } });
    const { sealed } = await sealedSession(server, expired);
    const hold = server.token.hold();
    const page = await app.send(sealed, '/guarded');
    expect([page.status, page.headers.get('retry-after'), page.setCookies]).toEqual([503, '5', []]);
    hold.release();
    await server.token.received(1);
    let back = await app.send(sealed);
    for (let tries = 0; tries < 50 && !back.json.authenticated; tries += 1) back = await app.send(sealed);
    expect([back.json.authenticated, server.refreshCount]).toEqual([true, 1]);
  });
});

describe('a dead cookie', () => {
  it('asks the provider once in a few seconds, however often it comes', async () => {
    const app = await serve();
    const { sealed, sessionId } = await sealedSession(server, expired);
    server.sessions.revoke(sessionId);
    for (let time = 0; time < 5; time += 1) {
      const page = await app.send(sealed);
      expect([page.json.reason, sessionCookieOf(page.setCookies)]).toEqual(['invalid_grant', '']);
    }
    expect(server.refreshCount).toBe(1);
    clock.advance(6);
    await app.send(sealed);
    expect(server.refreshCount).toBe(2);
  });
});

describe('signing out while a refresh is under way', () => {
  it('stays out when the refresh ends after the sign-out', async () => {
    const app = await serve();
    const { sealed } = await sealedSession(server, { lifetimeSeconds: 300 });
    clock.advance(270);
    const hold = server.token.hold();
    const renewing = app.send(sealed);
    await hold.arrived(1);
    const out = await app.send(sealed, '/out');
    hold.release();
    const late = await renewing;

    expect(sessionCookieOf(out.setCookies)).toBe('');
    expect([late.json.authenticated, late.json.reason, late.setCookies]).toEqual([false, 'session_revoked', []]);
    await expectSignedOut(app, sealed);
  });

  it('stays out when the sign-out waits for the refresh', async () => {
    const app = await serve();
    const { sealed } = await sealedSession(server, expired);
    const hold = server.token.hold();
    const renewing = app.send(sealed);
    await hold.arrived(1);
    const signingOut = app.send(sealed, '/out');
    hold.release();
    const [renewed, out] = await Promise.all([renewing, signingOut]);

    expect(sessionCookieOf(out.setCookies)).toBe('');
    await expectSignedOut(app, sealed);
    // What the other reply brought, if it was not too late, is as dead as what it came with.
    for (const brought of renewed.setCookies) await expectSignedOut(app, sessionCookieOf([brought])!);
  });

  it('ends what came of the refresh as well, also by the old cookie', async () => {
    const app = await serve();
    const { sealed } = await sealedSession(server, expired);
    const renewed = await app.send(sealed);
    expect(renewed.json.authenticated).toBe(true);
    const out = await app.send(sealed, '/out');
    expect(sessionCookieOf(out.setCookies)).toBe('');
    await expectSignedOut(app, sealed);
    await expectSignedOut(app, sessionCookieOf(renewed.setCookies)!);
  });

  async function expectSignedOut(app: SessionApp, sealed: string): Promise<void> {
    const page = await app.send(sealed);
    expect([page.json.authenticated, page.json.reason, page.setCookies]).toEqual([false, 'session_revoked', []]);
  }

  it.each(['/out', '/in'])('writes no cookie on a reply whose handler is still at work after %s', async (path) => {
    const handler = gate();
    const app = await frameworks[0]!.listen((each) => {
      each.use(withSession(workosOptions(server)));
      each.get('/slow', async (req, res) => {
        await handler.pass();
        res.end(JSON.stringify(getSession(req)));
      });
      each.get('/out', async (req, res) => {
        await getSession(req).signOut();
        res.end();
      });
      each.get('/in', async (req, res) => {
        const { accessToken, refreshToken, user } = await server.issueSession();
        await getSession(req).signIn({ accessToken, refreshToken, user: { ...user } });
        res.end();
      });
    });
    closers.push(() => app.close());
    const { sealed } = await sealedSession(server, expired);

    const slow = createBrowser(app.url).get('/slow', cookieHeader(sealed));
    await handler.reached;
    const now = await createBrowser(app.url).get(path, cookieHeader(sealed));
    handler.open();
    const late = await slow;

    // The late reply neither brings the old session back nor takes the place of the new one.
    expect(late.setCookies).toEqual([]);
    expect(sessionCookieOf(now.setCookies) === '').toBe(path === '/out');
  });

  /** Holds a handler until it is opened. */
  function gate() {
    const { promise: reached, resolve: reach } = withResolvers();
    const { promise: opened, resolve: open } = withResolvers();
    const pass = () => {
      reach();
      return opened;
    };
    return { reached, pass, open };
  }

  function withResolvers() {
    let resolve: () => void = () => undefined;
    const promise = new Promise<void>((done) => {
      resolve = done;
    });
    return { promise, resolve };
  }
});

describe('renewal ahead of expiry', () => {
  it('is led by one request; the others go on with the valid token', async () => {
    const app = await serve();
    const { sealed } = await sealedSession(server, { lifetimeSeconds: 300 });
    clock.advance(270);
    const hold = server.token.hold();
    const leader = app.send(sealed);
    await hold.arrived(1);
    const others = await Promise.all(Array.from({ length: 5 }, () => app.send(sealed)));
    expect(signedIn(others)).toBe(5);
    expect(cookies(others).filter(Boolean)).toEqual([]);
    hold.release();
    const page = await leader;
    expect(page.json).toMatchObject({ authenticated: true, refreshed: true });
    expect(page.setCookies).toHaveLength(1);
    const late = await app.send(sealed);
    expect(sessionCookieOf(late.setCookies)).toBe(sessionCookieOf(page.setCookies));
    expect(server.refreshCount).toBe(1);
  });

  it('does not begin before the window, which shrinks with the lifetime of the token', async () => {
    const app = await serve();
    const long = await sealedSession(server, { lifetimeSeconds: 3600 });
    const short = await sealedSession(server, { lifetimeSeconds: 20 });
    clock.advance(15);
    await app.send(long.sealed);
    await app.send(short.sealed);
    expect(server.refreshCount).toBe(0);
    clock.advance(4.5);
    await app.send(short.sealed);
    expect(server.refreshCount).toBe(1);
    clock.advance(3600 - 19.5 - 70);
    await app.send(long.sealed);
    expect(server.refreshCount).toBe(1);
    clock.advance(30);
    await app.send(long.sealed);
    expect(server.refreshCount).toBe(2);
  });

  it.each([
    ['a prefetch', { headers: { 'sec-purpose': 'prefetch;prerender' } }],
    ['a prefetch as older browsers say it', { headers: { purpose: 'prefetch' } }],
    ['OPTIONS', { method: 'OPTIONS' }],
    ['a request that is no activity', { headers: { 'x-poll': '1' } }],
  ])('is not begun by %s', async (_, init) => {
    const app = await serve({ lifetime: { isActivity: (req) => req.headers['x-poll'] === undefined } });
    const { sealed } = await sealedSession(server, { lifetimeSeconds: 300 });
    clock.advance(290);
    await app.send(sealed, '/', init);
    expect(server.refreshCount).toBe(0);
    await app.send(sealed);
    expect(server.refreshCount).toBe(1);
  });

  it('costs nobody the session while the provider is away, and is tried again later', async () => {
    const app = await serve();
    const { sealed } = await sealedSession(server, { lifetimeSeconds: 300 });
    clock.advance(270);
    server.token.fail(answers.unavailable);
    for (let time = 0; time < 4; time += 1) {
      const page = await app.send(sealed, '/guarded');
      expect([page.status, page.json.authenticated, page.setCookies]).toEqual([200, true, []]);
    }
    expect(server.refreshCount).toBe(1);
    server.token.heal();
    clock.advance(6);
    expect((await app.send(sealed)).json).toMatchObject({ refreshed: true });
  });
});
