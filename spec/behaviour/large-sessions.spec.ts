import { describe, expect, it } from '@jest/globals';
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
import { useWorkos } from '../support/use-workos.js';
import { cookieHeader, expired, sealedSession, sessionCookieOf, workosOptions } from '../support/workos-session.js';

const clock = useClock();
const workos = useWorkos();

/** An app whose one route keeps `size` characters of its own in the session. */
async function serveData(options: Partial<SessionOptions> = {}): Promise<Listening & { browser: Browser }> {
  const app = await frameworks[0]!.listen((each) => {
    each.use(withSession(workosOptions(workos.server, options)));
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
      const size = session.authenticated ? JSON.stringify(session.data.text ?? '').length - 2 : -1;
      res.end(JSON.stringify({ ...(JSON.parse(JSON.stringify(session)) as object), size }));
    });
  });
  return { ...workos.closing(app), browser: createBrowser(app.url) };
}

const names = (browser: Browser) => browser.jar.cookies.map(({ name }) => name).sort();
const fill = (browser: Browser, size: number) => browser.get('/fill', { headers: { 'x-size': String(size) } });

describe('a session that is too large for one cookie', () => {
  it('travels in pieces, grows and shrinks, and leaves no piece behind', async () => {
    const sizes: SessionEvents['written'][] = [];
    const { url, browser } = await serveData({ events: { written: (event) => sizes.push(event) } });
    browser.jar.set(url, `wos-session=${(await sealedSession(workos.server)).sealed}; Path=/`);

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

  it('is refreshed in pieces', async () => {
    const { url, browser } = await serveData();
    browser.jar.set(url, `wos-session=${(await sealedSession(workos.server)).sealed}; Path=/`);
    await fill(browser, 3_000);
    clock.advance(400);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: true, refreshed: true, size: 3_000 });
    expect(names(browser)).toEqual(['wos-session.0', 'wos-session.1']);
  });

  it('opens beside left-over pieces of an earlier session, and never from pieces of two sessions', async () => {
    const { url, browser } = await serveData();
    browser.jar.set(url, `wos-session=${(await sealedSession(workos.server)).sealed}; Path=/`);
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

  it('is refused when four pieces do not hold it, and its largest part is named', async () => {
    const told: SessionEvents['misconfigured'][] = [];
    const { url, browser } = await serveData({ events: { misconfigured: (event) => told.push(event) } });
    browser.jar.set(url, `wos-session=${(await sealedSession(workos.server)).sealed}; Path=/`);
    const page = await fill(browser, 20_000);
    expect([page.status, page.json]).toMatchObject([500, { error: 'ERR_SESSION_COOKIE_TOO_LARGE' }]);
    expect(page.json.message).toContain('"data.text"');
    expect(page.setCookies).toEqual([]);
    expect(told).toEqual([
      { problem: 'cookie_too_large', option: 'userFields', message: expect.stringContaining('"userFields"') },
    ]);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: true });
  });

  it('is made smaller with userFields', async () => {
    const options = workosOptions(workos.server, { userFields: ['email'] });
    const app = await workos.serve(options);
    const { sealed } = await sealedSession(workos.server, expired);
    const page = await app.send(sealed);
    expect(Object.keys(page.json.user as object).sort()).toEqual(['email', 'id']);
    const next = sessionCookieOf(page.setCookies)!;
    const auth = await createSessionManager(options).load(next).authenticate();
    expect(auth).toMatchObject({ authenticated: true, user: { id: 'user_01' } });
    expect(Object.keys((auth as { user: object }).user)).toHaveLength(2);
  });
});

describe('the size of a session, in its event', () => {
  it.each(['cookies', 'a header'])('is what is sent in %s', async (how) => {
    const told: SessionEvents['written'][] = [];
    const app = await workos.serve({ header: 'X-Session', events: { written: (event) => told.push(event) } });
    const metadata = { note: 'n'.repeat(3_000) };
    const { sealed, sessionId } = await sealedSession(workos.server, { ...expired, user: { metadata } });
    const headers: Record<string, string> = how === 'cookies' ? cookieHeader(sealed).headers : { 'x-session': sealed };
    const page = await createBrowser(app.url).get('/', { headers });
    const sent = how === 'cookies' ? page.setCookies : [page.headers.get('x-session')!];
    // What the browser had under the plain name is removed; that is no part of it.
    const kept = sent.filter((header) => !header.includes('Max-Age=0'));
    const bytes = kept.reduce((sum, header) => sum + header.length, 0);
    expect(told).toEqual([{ sessionId, bytes, pieces: how === 'cookies' ? 2 : 1 }]);
  });
});
