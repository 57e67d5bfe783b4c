import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { getSession, type SessionOptions, withSession } from 'express-sealed-session';

import { frameworks } from '../support/apps.js';
import { useClock } from '../support/clock.js';
import { createNavigator, type Navigator } from '../support/navigator.js';
import { startWorkosServer } from '../support/workos-server.js';
import { workosOptions } from '../support/workos-session.js';

const origin = 'https://app.example.com';
const open: { close: () => Promise<unknown> }[] = [];
afterAll(() => Promise.all(open.map((each) => each.close())));
const clock = useClock();

async function serve(options: SessionOptions): Promise<Navigator> {
  const sessions = withSession(options);
  const app = await frameworks[0]!.listen((each) => {
    each.use(sessions);
    each.use(sessions.routes());
    each.get('/page', (req, res) => res.end(JSON.stringify(getSession(req))));
  });
  open.push(app);
  return createNavigator({ [origin]: app.url });
}

describe('the answer for front ends', () => {
  let server: Awaited<ReturnType<typeof startWorkosServer>>;
  let browser: Navigator;
  beforeAll(async () => {
    server = await startWorkosServer();
    open.push(server);
  });
  beforeEach(async () => {
    server.token.heal();
    browser = await serve(
      workosOptions(server, { baseUrl: origin, routes: { session: true }, lifetime: { idleSeconds: 600 } }),
    );
  });
  const refreshes = () => server.refreshCount;

  it('says who is signed in, until when, and where to sign out, and has no token', async () => {
    await browser.follow('/login?returnTo=/page');
    const page = await browser.open('/session');
    expect(page.json).toEqual({
      authenticated: true,
      user: expect.objectContaining({ id: 'user_01' }),
      sessionId: expect.any(String),
      expiresAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      refreshable: true,
      signInPath: '/login',
      signOutPath: '/logout',
    });
    expect(page.headers).toMatchObject({
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'private, no-store',
      'cross-origin-resource-policy': 'same-origin',
      'x-content-type-options': 'nosniff',
    });
  });

  it('says that nobody is signed in', async () => {
    const page = await browser.open('/session');
    expect([page.status, page.json]).toEqual([
      200,
      {
        authenticated: false,
        reason: 'no_session_cookie_provided',
        retryable: false,
        refreshable: false,
        signInPath: '/login',
        signOutPath: '/logout',
      },
    ]);
  });

  it('neither refreshes nor notes a visit on a GET, however often it is asked', async () => {
    await browser.follow('/login?returnTo=/page');
    const before = refreshes();
    for (let minute = 0; minute < 4; minute += 1) {
      clock.advance(60);
      expect((await browser.open('/session')).setCookies).toEqual([]);
    }
    clock.advance(70);
    const expiredAnswer = await browser.open('/session');
    expect(expiredAnswer.json).toMatchObject({ authenticated: false, reason: 'expired_jwt', refreshable: true });
    expect([expiredAnswer.setCookies, refreshes()]).toEqual([[], before]);
    // 310 seconds are past, and none of the questions counted: after 600 the session is past its lifetime.
    clock.advance(300);
    expect((await browser.open('/session')).json).toMatchObject({ authenticated: false, reason: 'session_expired' });
  });

  it.each([
    ['with an access token that is good', 0],
    ['with one that has expired', 400],
  ])('refreshes once on a POST %s', async (_, seconds) => {
    await browser.follow('/login?returnTo=/page');
    clock.advance(seconds);
    const before = refreshes();
    const page = await browser.open('/session', { method: 'POST', headers: { origin } });
    expect(page.json).toMatchObject({ authenticated: true });
    expect(page.setCookies).toHaveLength(1);
    expect(refreshes()).toBe(before + 1);
  });

  it('refuses a POST that another site makes the browser send', async () => {
    await browser.follow('/login?returnTo=/page');
    const before = refreshes();
    const page = await browser.open('/session', { method: 'POST', headers: { 'sec-fetch-site': 'cross-site' } });
    expect([page.status, page.json.error, refreshes()]).toEqual([403, 'ERR_SESSION_CROSS_ORIGIN', before]);
  });

  it('is not there unless it is asked for', async () => {
    const without = await serve(workosOptions(server, { baseUrl: origin }));
    expect((await without.open('/session')).status).toBe(404);
  });
});
