import { describe, expect, it } from '@jest/globals';
import {
  type PassedLimit,
  createSessionManager,
  getSession,
  type SessionEvents,
  type SessionOptions,
  withSession,
} from 'express-sealed-session';

import { frameworks } from '../support/apps.js';
import { type Browser, createBrowser, type Page } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { useWorkos } from '../support/use-workos.js';
import type { SessionOverrides } from '../support/workos-server.js';
import { cookieHeader, expired, sealedSession, sessionCookieOf, workosOptions } from '../support/workos-session.js';

const clock = useClock();
const workos = useWorkos();

const poll = { headers: { 'x-poll': '1' } };
const isActivity: NonNullable<SessionOptions['lifetime']>['isActivity'] = (req) => req.headers['x-poll'] === undefined;

/** A browser with the cookie of a session that began now, under these limits. */
async function browserOf(url: string, lifetime: SessionOptions['lifetime'], overrides?: SessionOverrides) {
  const { accessToken, refreshToken, user, sessionId } = await workos.server.issueSession(overrides);
  const manager = createSessionManager(workosOptions(workos.server, { lifetime }));
  const sealed = await manager.seal({ accessToken, refreshToken, user: { ...user } });
  const browser = createBrowser(url);
  browser.jar.set(url, `wos-session=${sealed}; Path=/`);
  return { browser, sealed, sessionId };
}

describe('lifetime.absoluteSeconds', () => {
  it('ends a session that long after its sign-in, however busy it is', async () => {
    const app = await workos.serve({ lifetime: { absoluteSeconds: 3_600 } });
    const { sealed } = await sealedSession(workos.server, expired);
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
    expect(over.json).toMatchObject({ authenticated: false, reason: 'session_expired', retryable: false });
    expect(sessionCookieOf(over.setCookies)).toBe('');
  });
});

describe('lifetime.idleSeconds', () => {
  it('ends a session that long after its last visit, and visits put it off', async () => {
    const app = await workos.serve({ lifetime: { idleSeconds: 600, isActivity } });
    const browser = app.browser();
    browser.jar.set(app.url, `wos-session=${(await sealedSession(workos.server, expired)).sealed}; Path=/`);
    for (let time = 0; time < 6; time += 1) {
      expect((await browser.get('/')).json).toMatchObject({ authenticated: true });
      clock.advance(200);
    }
    // Polls are answered, and do not count.
    for (let time = 0; time < 3; time += 1) {
      expect((await browser.get('/', poll)).json).toMatchObject({ authenticated: true });
      clock.advance(150);
    }
    expect((await browser.get('/', poll)).json).toMatchObject({ authenticated: false, reason: 'session_expired' });
    expect(browser.jar.cookies).toEqual([]);
  });

  it.each<[string, Parameters<Browser['get']>[1], boolean]>([
    ['a visit that refreshes an expired token counts', {}, true],
    ['a poll that refreshes an expired token does not count', poll, false],
    ['a prefetch that refreshes an expired token does not count', { headers: { 'sec-purpose': 'prefetch' } }, false],
  ])('lets a session live on after its refresh: %s', async (_, request, counts) => {
    const lifetime = { idleSeconds: 600, isActivity };
    const app = await workos.serve({ lifetime });
    const { browser } = await browserOf(app.url, lifetime);

    clock.advance(500);
    expect((await browser.get('/', request)).json).toMatchObject({ authenticated: true, refreshed: true });
    expect(workos.server.refreshCount).toBe(1);
    clock.advance(150);
    const page = await browser.get('/', poll);
    expect(page.json.authenticated).toBe(counts);
    clock.advance(440);
    expect((await browser.get('/', poll)).json.authenticated).toBe(counts);
    clock.advance(20);
    expect((await browser.get('/', poll)).json.authenticated).toBe(false);
  });
});

it('a session has no limit without the option', async () => {
  const app = await workos.serve();
  const { sealed } = await sealedSession(workos.server, expired);
  clock.advance(30 * 86_400);
  expect((await app.send(sealed)).json).toMatchObject({ authenticated: true });
});

describe.each<[detail: PassedLimit, SessionOptions['lifetime']]>([
  ['absolute_lifetime', { absoluteSeconds: 3_600 }],
  ['idle_lifetime', { idleSeconds: 3_600 }],
])('a session past its %s', (detail, lifetime) => {
  /** An app with a route that refreshes, and what it was told. */
  async function serve(options: Partial<SessionOptions> = {}) {
    const rejected: SessionEvents['rejected'][] = [];
    const failed: SessionEvents['refreshFailed'][] = [];
    const events = {
      rejected: (event: SessionEvents['rejected']) => rejected.push(event),
      refreshFailed: (event: SessionEvents['refreshFailed']) => failed.push(event),
    };
    const app = await frameworks[0]!.listen((each) => {
      each.use(withSession(workosOptions(workos.server, { lifetime, events, ...options })));
      each.get('/', (req, res) => res.end(JSON.stringify(getSession(req))));
      each.get('/refresh', async (req, res) => {
        const session = getSession(req);
        // A handler that takes its time: the limit may pass while it works.
        clock.advance(Number(req.headers['x-takes'] ?? 0));
        const organizationId = req.headers['x-organization'] as string | undefined;
        const result = await session.refresh({ organizationId });
        res.end(JSON.stringify({ result, session }));
      });
    });
    return { ...workos.closing(app), rejected, failed };
  }

  const refused = { refreshed: false, reason: 'session_expired', retryable: false };

  it.each<[string, Record<string, string>]>([
    ['', {}],
    [' for an organization', { 'x-organization': 'org_02' }],
  ])('is refused by session.refresh()%s, and nothing is sent', async (_, headers) => {
    const app = await serve();
    const { browser, sealed, sessionId } = await browserOf(app.url, lifetime);
    clock.advance(3_601);
    const page = await browser.get('/refresh', { headers });
    expect(page.json).toEqual({
      result: refused,
      session: { authenticated: false, user: null, reason: 'session_expired', retryable: false },
    });
    expect(sessionCookieOf(page.setCookies)).toBe('');
    expect(browser.jar.cookies).toEqual([]);
    expect(workos.server.tokenRequests).toEqual([]);
    expect(app.rejected).toContainEqual({ sessionId, reason: 'session_expired', detail });
    expect(app.failed).toEqual([{ sessionId, reason: 'session_expired', retryable: false }]);

    // A copy of the cookie that was kept is worth as little.
    const again = await createBrowser(app.url).get('/refresh', cookieHeader(sealed));
    expect([again.json.result, workos.server.refreshCount]).toEqual([refused, 0]);
  });

  it('is refused by session.refresh() when the limit passes while the handler works', async () => {
    const app = await serve();
    const { browser } = await browserOf(app.url, lifetime, { lifetimeSeconds: 7_200 });
    const page = await browser.get('/refresh', { headers: { 'x-takes': '3601' } });
    expect(page.json).toMatchObject({ result: refused, session: { authenticated: false, reason: 'session_expired' } });
    expect(browser.jar.cookies).toEqual([]);
    expect(workos.server.refreshCount).toBe(0);
  });

  it.each<[string, SessionOptions['cache']]>([
    ['with the cache', undefined],
    ['without the cache', false],
  ])('is refused at a visit though its token is valid, %s', async (_, cache) => {
    const app = await serve({ cache });
    const { browser, sessionId } = await browserOf(app.url, lifetime, { lifetimeSeconds: 7_200 });
    const pages: Page[] = [];
    for (const seconds of [0, 0, 3_599, 2]) {
      clock.advance(seconds);
      // A visit would put idle time off.
      pages.push(
        await browser.fetch('/', { method: 'OPTIONS' }),
        await browser.get('/', { headers: { purpose: 'prefetch' } }),
      );
    }
    const seen = pages.filter((_page, index) => index % 2 === 1).map(({ json }) => json.authenticated as boolean);
    expect(seen).toEqual([true, true, true, false]);
    expect(browser.jar.cookies).toEqual([]);
    expect(app.rejected).toEqual([{ sessionId, reason: 'session_expired', detail }]);
  });

  it('is refused by a session manager, at authenticate() and at refresh(), and nothing is sent', async () => {
    const rejected: SessionEvents['rejected'][] = [];
    const events = { rejected: (event: SessionEvents['rejected']) => rejected.push(event) };
    const manager = createSessionManager(workosOptions(workos.server, { lifetime, events }));
    const { sealed, sessionId } = await browserOf('http://127.0.0.1', lifetime);
    const session = manager.load(sealed);
    clock.advance(3_601);
    const answer = { authenticated: false, reason: 'session_expired', retryable: false };
    expect([await session.authenticate(), await session.refresh()]).toEqual([answer, answer]);
    expect([session.sealed, workos.server.refreshCount]).toEqual([sealed, 0]);
    expect(rejected).toEqual(Array(2).fill({ sessionId, reason: 'session_expired', detail }));
  });
});
