import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { getSession, oidc, type SessionEvents, type SessionOptions, withSession, workos } from 'express-sealed-session';

import { createProcessFleet } from '../../lib/fleet/process-fleet.js';
import { frameworks } from '../support/apps.js';
import { useClock } from '../support/clock.js';
import { createNavigator, type Navigator } from '../support/navigator.js';
import { type OidcServer, startOidcServer } from '../support/oidc-provider.js';
import { startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { password, workosOptions } from '../support/workos-session.js';

const origin = 'https://app.example.com';
const clock = useClock();
const open: { close: () => Promise<unknown> }[] = [];
afterAll(() => Promise.all(open.map((each) => each.close())));

interface Served {
  readonly browser: Navigator;
  readonly newBrowser: (options?: { keepsCookies?: boolean }) => Navigator;
  readonly failures: SessionEvents['signInFailed'][];
}

async function serve(options: SessionOptions): Promise<Served> {
  const failures: SessionEvents['signInFailed'][] = [];
  const sessions = withSession({
    baseUrl: origin,
    fleet: createProcessFleet(),
    signIn: { returnTo: '/home' },
    events: { signInFailed: (event) => failures.push(event) },
    ...options,
  });
  const app = await frameworks[0]!.listen((each) => {
    each.use(sessions);
    each.use(sessions.routes());
    for (const path of ['/', '/page', '/home']) each.get(path, (req, res) => res.end(JSON.stringify(getSession(req))));
  });
  open.push(app);
  const newBrowser: Served['newBrowser'] = (how) => createNavigator({ [origin]: app.url }, how);
  return { browser: newBrowser(), newBrowser, failures };
}

describe('a sign-in that begins in the dashboard of WorkOS', () => {
  let server: WorkosServer;
  beforeAll(async () => {
    server = await startWorkosServer();
    open.push(server);
  });
  beforeEach(() => {
    server.visitor = {};
  });
  const impersonator = { email: 'admin@example.com', reason: 'support' };

  const serveWith = (dashboardImpersonation: boolean, options: Partial<SessionOptions> = {}) =>
    serve({
      ...workosOptions(server),
      provider: workos({
        clientId: server.clientId,
        apiKey: server.apiKey,
        baseUrl: server.url,
        dashboardImpersonation,
      }),
      ...options,
    });

  /** As the dashboard asks for a code: without a challenge and without a state. */
  async function callback(browser: Navigator): Promise<string> {
    const url = new URL(`${server.url}/user_management/authorize`);
    const query = {
      client_id: server.clientId,
      response_type: 'code',
      provider: 'authkit',
      redirect_uri: `${origin}/callback`,
    };
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    return (await browser.open(url.href)).location!;
  }
  const exchanges = () => server.tokenRequests.length;

  it('is accepted if it names an impersonator', async () => {
    server.visitor = { impersonator };
    const { browser } = await serveWith(true);
    const page = await browser.follow(await callback(browser));
    expect(page.url).toBe(`${origin}/home`);
    expect(page.json).toMatchObject({ authenticated: true, impersonator });
  });

  it('is not accepted without one: its session is ended, and the own one stays', async () => {
    const { browser } = await serveWith(true);
    await browser.follow('/login?returnTo=/page');
    const before = (await browser.open('/page')).json.sessionId as string;
    const revoked = server.revoke.requests.length;
    const page = await browser.follow(await callback(browser));
    expect(page.url).toBe(`${origin}/home`);
    expect(page.json).toMatchObject({ authenticated: true, sessionId: before });
    await server.revoke.received(revoked + 1);
    const ended = server.revoke.requests[revoked]!.body.session_id!;
    expect(ended).not.toBe(before);
    expect([server.sessions.isAlive(ended), server.sessions.isAlive(before)]).toEqual([false, true]);
  });

  it('signs nobody in who follows the link of somebody else', async () => {
    const { browser, newBrowser } = await serveWith(true);
    const link = await callback(newBrowser());
    const page = await browser.open(link);
    expect(page.location).toContain('/user_management/authorize');
    expect(browser.jar.get('wos-session')).toBeUndefined();
  });

  it('costs the provider ten requests a minute, and no more', async () => {
    const { newBrowser } = await serveWith(true);
    const before = exchanges();
    for (let time = 0; time < 15; time += 1) await newBrowser().open('/callback?code=a');
    expect(exchanges() - before).toBe(10);
    clock.advance(61);
    await newBrowser().open('/callback?code=a');
    expect(exchanges() - before).toBe(11);
  });

  it('is shared with nobody who has the link', async () => {
    server.visitor = { impersonator };
    const { browser, newBrowser } = await serveWith(true);
    const link = await callback(browser);
    await browser.open(link);
    const stranger = newBrowser();
    await stranger.open(link);
    expect(stranger.jar.get('wos-session')).toBeUndefined();
  });

  it('goes through onSignIn as any other', async () => {
    server.visitor = { impersonator };
    const { browser } = await serveWith(true, {
      onSignIn: () => {
        throw Object.assign(new Error('no'), { status: 418 });
      },
    });
    expect((await browser.open(await callback(browser))).status).toBe(418);
    expect(browser.jar.cookies).toEqual([]);
  });

  it('is never exchanged without the option', async () => {
    server.visitor = { impersonator };
    const { browser } = await serveWith(false);
    const before = exchanges();
    await browser.open(await callback(browser));
    expect(exchanges()).toBe(before);
  });
});

describe('a sign-in without a page', () => {
  let op: OidcServer;
  beforeEach(async () => {
    op = await startOidcServer();
    open.push(op);
  });
  const serveSilent = (silent = true) =>
    serve({
      provider: oidc({ issuer: op.url, clientId: op.clientId, clientSecret: op.clientSecret, resource: op.audience }),
      password,
      signIn: { silent, returnTo: '/home' },
    });

  it('is tried at the second page, once, and leaves the visitor where they were', async () => {
    const { browser, failures } = await serveSilent();
    expect((await browser.follow('/page')).hops).toEqual([`${origin}/page`]);
    const page = await browser.follow('/page?a=1');
    expect(page.hops.find((hop) => hop.startsWith(op.url))).toContain('prompt=none');
    expect(page.url).toBe(`${origin}/page?a=1`);
    expect(page.json).toMatchObject({ authenticated: false });
    expect((await browser.follow('/page')).hops).toEqual([`${origin}/page`]);
    expect(failures).toEqual([]);
  });

  it('signs in who is signed in at the provider, and not again after a sign-out', async () => {
    const { browser, newBrowser } = await serveSilent();
    await browser.follow('/login');
    expect((await browser.open('/page')).json).toMatchObject({ authenticated: true });
    // Another app of the same provider: its cookies there, and none of ours.
    const other = newBrowser();
    for (const { name, value, domain } of browser.jar.cookies) {
      if (domain === '127.0.0.1') other.jar.set(op.url, `${name}=${value}; Path=/`);
    }
    await other.open('/page');
    const page = await other.follow('/page');
    expect(page.json).toMatchObject({ authenticated: true });
    other.jar.clear('__Host-session-silent');
    await other.open('/logout', { headers: { 'sec-fetch-site': 'same-origin' } });
    expect((await other.follow('/page')).json).toMatchObject({ authenticated: false });
    expect((await other.follow('/page')).hops).toHaveLength(1);
  });

  it('is not tried in a browser without cookies, by a script, for a prefetch, or without the option', async () => {
    const { browser, newBrowser } = await serveSilent();
    const blocked = newBrowser({ keepsCookies: false });
    for (let time = 0; time < 3; time += 1) expect((await blocked.follow('/page')).hops).toHaveLength(1);
    await browser.open('/page');
    for (const headers of [{ 'sec-fetch-mode': 'cors' }, { 'sec-purpose': 'prefetch' }]) {
      expect((await browser.open('/page', { headers })).status).toBe(200);
    }
    const without = (await serveSilent(false)).browser;
    for (let time = 0; time < 3; time += 1) expect((await without.follow('/page')).hops).toHaveLength(1);
  });

  it('shows no error page where its flow is lost or the provider is away', async () => {
    const { browser, failures } = await serveSilent();
    await browser.open('/page');
    const silent = await browser.open('/page');
    const state = new URL(silent.location!).searchParams.get('state')!;
    browser.jar.clear();
    const back = await browser.open(`/callback?error=login_required&state=${state}`);
    expect([back.location, failures]).toEqual([`${origin}/home`, []]);
    await op.close();
    const unreachable = await serve({
      provider: oidc({ issuer: op.url, clientId: op.clientId, clientSecret: op.clientSecret }),
      password,
      signIn: { silent: true },
    });
    await unreachable.browser.open('/page');
    expect((await unreachable.browser.open('/page')).json).toMatchObject({ authenticated: false });
  });
});
