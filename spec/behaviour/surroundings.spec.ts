import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  createSessionManager,
  getSession,
  type SessionEvents,
  type SessionOptions,
  withSession,
} from 'express-sealed-session';

import { frameworks, type Listening } from '../support/apps.js';
import { type Browser, createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { serveSessions, type SessionApp } from '../support/session-app.js';
import { startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { cookieHeader, expired, sealedSession, sessionCookieOf, workosOptions } from '../support/workos-session.js';

const clock = useClock();
let server: WorkosServer;
let closers: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  server = await startWorkosServer();
  closers = [() => server.close()];
});
afterEach(() => Promise.all(closers.map((close) => close())));

async function serve(options: Partial<SessionOptions> = {}): Promise<SessionApp> {
  const app = await serveSessions(workosOptions(server, options));
  closers.push(() => app.close());
  return app;
}

/** An app whose one route keeps `size` characters of its own in the session. */
async function serveData(options: Partial<SessionOptions> = {}): Promise<Listening & { browser: Browser }> {
  const app = await frameworks[0]!.listen((each) => {
    each.use(withSession(workosOptions(server, options)));
    each.get('/fill', async (req, res) => {
      const session = getSession(req);
      if (session.authenticated) {
        session.data = { text: 'x'.repeat(Number(req.headers['x-size'])) };
        await session.save();
      }
      res.end();
    });
    each.get('/out', async (req, res) => {
      await getSession(req).signOut();
      res.end();
    });
    each.get('/', (req, res) => {
      const session = getSession(req);
      res.end(
        JSON.stringify({
          ...session,
          size: session.authenticated ? JSON.stringify(session.data.text ?? '').length - 2 : -1,
        }),
      );
    });
  });
  closers.push(() => app.close());
  return { ...app, browser: createBrowser(app.url) };
}

const names = (browser: Browser) => browser.jar.cookies.map(({ name }) => name).sort();
const fill = (browser: Browser, size: number) => browser.get('/fill', { headers: { 'x-size': String(size) } });

describe('a session that is too large for one cookie', () => {
  it('travels in pieces, grows and shrinks, and leaves none behind', async () => {
    const sizes: SessionEvents['written'][] = [];
    const { url, browser } = await serveData({ events: { written: (event) => sizes.push(event) } });
    browser.jar.set(url, `wos-session=${(await sealedSession(server)).sealed}; Path=/`);

    for (const [size, expected] of [
      [3_000, ['wos-session.0', 'wos-session.1']],
      [3_500, ['wos-session.0', 'wos-session.1']],
      [10, ['wos-session']],
      [3_000, ['wos-session.0', 'wos-session.1']],
    ] as const) {
      const page = await fill(browser, size);
      expect(names(browser)).toEqual(expected);
      for (const header of page.setCookies) expect(header.length).toBeLessThanOrEqual(4096);
      expect((await browser.get('/')).json).toMatchObject({ authenticated: true, size });
    }
    expect(sizes.map(({ pieces }) => pieces)).toEqual([2, 2, 1, 2]);
    await browser.get('/out');
    expect(names(browser)).toEqual([]);
  });

  it('is renewed in pieces, too', async () => {
    const { url, browser } = await serveData();
    browser.jar.set(url, `wos-session=${(await sealedSession(server)).sealed}; Path=/`);
    await fill(browser, 3_000);
    clock.advance(400);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: true, refreshed: true, size: 3_000 });
    expect(names(browser)).toEqual(['wos-session.0', 'wos-session.1']);
  });

  it('opens in spite of pieces that an earlier one left over, and never from pieces of two', async () => {
    const { url, browser } = await serveData();
    browser.jar.set(url, `wos-session=${(await sealedSession(server)).sealed}; Path=/`);
    await fill(browser, 3_500);
    const longer = browser.jar.copy();
    await fill(browser, 3_000);
    const [first, second] = ['wos-session.0', 'wos-session.1'].map((name) => browser.jar.get(name)!);
    const leftOver = `wos-session.0=${first}; wos-session.1=${second}; wos-session.2=${longer.get('wos-session.1')!}`;
    const page = await createBrowser(url).get('/', { headers: { cookie: leftOver } });
    expect(page.json).toMatchObject({ authenticated: true, size: 3_000 });
    const mixed = `wos-session.0=${longer.get('wos-session.0')!}; wos-session.1=${second}`;
    const other = await createBrowser(url).get('/', { headers: { cookie: mixed } });
    expect(other.json).toMatchObject({ authenticated: false, reason: 'invalid_session_cookie' });
  });

  it('is refused with a name for what is large when even pieces do not hold it', async () => {
    const told: SessionEvents['configuration'][] = [];
    const { url, browser } = await serveData({ events: { configuration: (event) => told.push(event) } });
    browser.jar.set(url, `wos-session=${(await sealedSession(server)).sealed}; Path=/`);
    const page = await fill(browser, 20_000);
    expect([page.status, page.json]).toMatchObject([500, { error: 'ERR_SESSION_COOKIE_TOO_LARGE' }]);
    expect(page.json.message).toContain('"data.text"');
    expect(page.setCookies).toEqual([]);
    expect(told).toEqual([{ problem: 'cookie size', message: expect.stringContaining('pickUser') }]);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: true });
  });

  it('can be made smaller with pickUser', async () => {
    const options = workosOptions(server, { pickUser: ['email'] });
    const app = await serve(options);
    const { sealed } = await sealedSession(server, expired);
    const page = await app.send(sealed);
    expect(Object.keys(page.json.user as object).sort()).toEqual(['email', 'id']);
    const next = sessionCookieOf(page.setCookies)!;
    const auth = await createSessionManager(options).load(next).authenticate();
    expect(auth).toMatchObject({ authenticated: true, user: { id: 'user_01' } });
    expect(Object.keys((auth as { user: object }).user)).toHaveLength(2);
  });
});

describe('several cookies of the same name', () => {
  it.each(['first', 'last'])('are all tried: the good one is %s', async (place) => {
    const app = await serve();
    const { sealed } = await sealedSession(server);
    const values = place === 'first' ? [sealed, 'garbage'] : ['garbage', `${sealed}x`, sealed];
    const page = await createBrowser(app.url).get('/', {
      headers: { cookie: values.map((value) => `wos-session=${value}`).join('; ') },
    });
    expect(page.json).toMatchObject({ authenticated: true });
  });

  it.each([0, 1])('are told apart by the age of their tokens (%i)', async (order) => {
    const app = await serve();
    const older = await sealedSession(server, { user: { id: 'user_old' } });
    clock.advance(10);
    const newer = await sealedSession(server, { user: { id: 'user_new' } });
    const pair = order === 0 ? [older, newer] : [newer, older];
    const page = await createBrowser(app.url).get('/', {
      headers: { cookie: pair.map(({ sealed }) => `wos-session=${sealed}`).join('; ') },
    });
    expect(page.json).toMatchObject({ user: { id: 'user_new' } });
  });

  it('from an earlier set-up are removed when a cookie is written', async () => {
    const legacyCookies = [
      { name: 'old-session' },
      { name: 'wos-session', domain: '.example.com' },
      { name: 'never-seen' },
    ];
    const app = await serve({ legacyCookies });
    const { sealed } = await sealedSession(server, expired);
    const page = await createBrowser(app.url).get('/', {
      headers: { cookie: `old-session=1; wos-session=garbage; wos-session=${sealed}` },
    });
    const [own, ...removals] = page.setCookies;
    expect(own).toMatch(/^wos-session=Fe26/);
    expect(removals).toEqual([
      expect.stringMatching(/^old-session=; Path=\/; Max-Age=0;/),
      expect.stringMatching(/^wos-session=; Path=\/; Domain=\.example\.com; Max-Age=0;/),
    ]);
  });
});

describe('passwords', () => {
  const older = 'the older password, of at least 32 characters';
  const newer = 'the newer password, of at least 32 characters';

  it('rotate: an old cookie opens, is counted, and is sealed anew with the next write', async () => {
    const told: unknown[] = [];
    const { accessToken, refreshToken, user } = await server.issueSession({ lifetimeSeconds: -30 });
    const before = createSessionManager(workosOptions(server, { password: older }));
    const sealed = await before.seal({ accessToken, refreshToken, user: { ...user } });
    const app = await serve({ password: { 1: older, 2: newer }, events: { oldPassword: (event) => told.push(event) } });

    const page = await app.send(sealed);
    expect(page.json).toMatchObject({ authenticated: true });
    expect(told).toEqual([{ passwordId: '1' }]);
    const next = sessionCookieOf(page.setCookies)!;
    expect(next).toMatch(/^Fe26\.2\*2\*/);
    expect((await app.send(next)).json).toMatchObject({ authenticated: true });
    expect(told).toHaveLength(1);
  });

  it('are all tried for the id that WorkOS packages always write', async () => {
    const before = createSessionManager(workosOptions(server, { password: older }));
    const { accessToken, refreshToken, user } = await server.issueSession();
    const sealed = await before.seal({ accessToken, refreshToken, user: { ...user } });
    const app = await serve({ password: { 1: newer, 7: older } });
    expect((await app.send(sealed)).json).toMatchObject({ authenticated: true });
  });

  it('that are wrong sign nobody out: the cookie is left alone', async () => {
    const told: unknown[] = [];
    const { sealed } = await sealedSession(server);
    const app = await serve({ password: newer, events: { rejected: (event) => told.push(event) } });
    const page = await app.send(sealed);
    expect([page.json.reason, page.setCookies]).toEqual(['invalid_session_cookie', []]);
    expect(told).toEqual([{ reason: 'invalid_session_cookie', detail: 'unknown_password' }]);
  });
});

describe('lifetimes', () => {
  it('absoluteSeconds ends the session after signing in, however busy it is', async () => {
    const app = await serve({ absoluteSeconds: 3_600 });
    const { sealed } = await sealedSession(server, expired);
    const first = await app.send(sealed);
    expect(first.setCookies[0]).toContain('; Max-Age=3600;');
    let cookie = sessionCookieOf(first.setCookies)!;
    for (let minutes = 5; minutes < 60; minutes += 5) {
      clock.advance(5 * 60);
      const page = await app.send(cookie);
      expect([minutes, page.json.authenticated]).toEqual([minutes, true]);
      cookie = sessionCookieOf(page.setCookies) ?? cookie;
    }
    clock.advance(5 * 60 + 1);
    const over = await app.send(cookie);
    expect(over.json).toMatchObject({ authenticated: false, reason: 'invalid_session_cookie' });
    expect(sessionCookieOf(over.setCookies)).toBe('');
  });

  it('idleSeconds ends it when nobody comes, and is put off by those who do', async () => {
    const app = await serve({ idleSeconds: 600, refresh: { touch: (req) => req.headers['x-poll'] === undefined } });
    const browser = app.browser();
    browser.jar.set(app.url, `wos-session=${(await sealedSession(server, expired)).sealed}; Path=/`);
    for (let time = 0; time < 6; time += 1) {
      expect((await browser.get('/')).json).toMatchObject({ authenticated: true });
      clock.advance(200);
    }
    // Polls are answered, and do not count.
    for (let time = 0; time < 3; time += 1) {
      expect((await browser.get('/', { headers: { 'x-poll': '1' } })).json).toMatchObject({ authenticated: true });
      clock.advance(150);
    }
    expect((await browser.get('/', { headers: { 'x-poll': '1' } })).json).toMatchObject({ authenticated: false });
    expect(browser.jar.cookies).toEqual([]);
  });

  it('limit nothing unless asked to', async () => {
    const app = await serve();
    const { sealed } = await sealedSession(server, expired);
    clock.advance(30 * 86_400);
    expect((await app.send(sealed)).json).toMatchObject({ authenticated: true });
  });
});

describe('the size of a session', () => {
  it.each(['cookies', 'a header'])('is told as it is sent, in %s', async (how) => {
    const told: SessionEvents['written'][] = [];
    const app = await serve({ transport: { header: 'X-Session' }, events: { written: (event) => told.push(event) } });
    const metadata = { note: 'n'.repeat(3_000) };
    const { sealed, sessionId } = await sealedSession(server, { ...expired, user: { metadata } });
    const headers: Record<string, string> = how === 'cookies' ? cookieHeader(sealed).headers : { 'x-session': sealed };
    const page = await createBrowser(app.url).get('/', { headers });
    const sent = how === 'cookies' ? page.setCookies : [page.headers.get('x-session')!];
    // What the browser had under the plain name is removed; that is no part of it.
    const kept = sent.filter((header) => !header.includes('Max-Age=0'));
    const bytes = kept.reduce((sum, header) => sum + header.length, 0);
    expect(told).toEqual([{ sessionId, bytes, pieces: how === 'cookies' ? 2 : 1 }]);
  });
});

describe('a header in place of the cookie', () => {
  it('brings the seal, takes the new one back, and sets no cookie', async () => {
    const app = await serve({ transport: { header: 'X-Session' } });
    const { sealed } = await sealedSession(server, expired);
    const native = (seal: string, path = '/') => createBrowser(app.url).get(path, { headers: { 'x-session': seal } });

    const page = await native(sealed);
    expect(page.json).toMatchObject({ authenticated: true, refreshed: true });
    expect(page.setCookies).toEqual([]);
    const next = page.headers.get('x-session')!;
    expect(next).toMatch(/^Fe26/);
    expect(page.headers.get('cache-control')).toBe('private, no-store');
    expect(page.headers.get('vary')).toMatch(/x-session/i);

    const again = await native(next);
    expect([again.json.authenticated, again.headers.get('x-session')]).toEqual([true, null]);
    expect((await native(next, '/out')).headers.get('x-session')).toBe('');
    expect((await native('')).json).toMatchObject({ reason: 'no_session_cookie_provided' });
  });

  it('is not looked at unless asked for', async () => {
    const app = await serve();
    const { sealed } = await sealedSession(server);
    const page = await createBrowser(app.url).get('/', { headers: { 'x-session': sealed } });
    expect(page.json).toMatchObject({ reason: 'no_session_cookie_provided' });
  });
});

describe('caches', () => {
  async function serveCached(options: Partial<SessionOptions>): Promise<Listening> {
    const app = await frameworks[0]!.listen((each) => {
      each.use(withSession(workosOptions(server, options)));
      each.get('/', (_req, res) => {
        res.setHeader('Cache-Control', 'public, s-maxage=600');
        res.setHeader('ETag', '"1"');
        res.end('page');
      });
    });
    closers.push(() => app.close());
    return app;
  }

  it.each([
    ['written' as const, 'private, no-store', 'public, s-maxage=600'],
    ['authenticated' as const, 'private, no-store', 'private, no-store'],
    [false as const, 'public, s-maxage=600', 'public, s-maxage=600'],
  ])('with cacheControl %j', async (cacheControl, written, signedIn) => {
    const told: unknown[] = [];
    const app = await serveCached({ cacheControl, events: { configuration: (event) => told.push(event) } });
    const get = (init = {}) => createBrowser(app.url).get('/', init);
    const renewed = await get(cookieHeader((await sealedSession(server, expired)).sealed));
    expect([renewed.headers.get('cache-control'), renewed.headers.get('etag')]).toEqual([
      written,
      cacheControl === false ? '"1"' : null,
    ]);
    const valid = await get(cookieHeader((await sealedSession(server)).sealed));
    expect(valid.headers.get('cache-control')).toBe(signedIn);
    expect((await get()).headers.get('cache-control')).toBe('public, s-maxage=600');
    expect(told).toHaveLength(cacheControl === false ? 0 : 1);
  });
});
