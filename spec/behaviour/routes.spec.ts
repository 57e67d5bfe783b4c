import { get } from 'node:http';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  getSession,
  oidc,
  requireSession,
  type SessionOptions,
  sessionRoutes,
  withSession,
} from 'express-sealed-session';

import { type Framework, frameworks, type Listening, listen } from '../support/apps.js';
import { type Browser, createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { type OidcServer, startOidcServer } from '../support/oidc-provider.js';
import { answers, startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { password, workosOptions } from '../support/workos-session.js';

const origin = 'https://app.example.com';
const open: { close: () => Promise<unknown> }[] = [];
afterAll(() => Promise.all(open.map((each) => each.close())));
const clock = useClock();

async function serve(framework: Framework, options: SessionOptions): Promise<{ browser: Browser; app: Listening }> {
  const app = await framework.listen((each) => {
    each.use(withSession(options));
    each.use(sessionRoutes(options));
    each.get('/page', requireSession(), (req, res) => res.end(JSON.stringify(getSession(req))));
    each.get('/', (req, res) => res.end(JSON.stringify(getSession(req))));
  });
  open.push(app);
  return { app, browser: createBrowser(app.url) };
}

/** Goes where a redirect points; the app's public origin is where it is served in this test. */
async function visit(browser: Browser, app: Listening, url: string): Promise<Awaited<ReturnType<Browser['get']>>> {
  let page = await browser.fetch(url.replace(origin, app.url));
  for (let hop = 0; hop < 10 && page.headers.has('location'); hop += 1) {
    const next = new URL(page.headers.get('location')!, page.url).href;
    page = await browser.fetch(next.replace(origin, app.url));
  }
  return page;
}

/** Opens a page as a browser does; `fetch` cannot say that it navigates. */
function navigate(url: string): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    get(url, { headers: { 'sec-fetch-mode': 'navigate' } }, (res) => {
      res.resume();
      resolve(res.headers.location);
    }).on('error', reject);
  });
}

describe.each(frameworks)('with WorkOS on $name', (framework) => {
  let server: WorkosServer;
  let browser: Browser;
  let app: Listening;

  beforeAll(async () => {
    server = await startWorkosServer();
    open.push(server);
  });
  beforeEach(async () => {
    ({ app, browser } = await serve(framework, { ...workosOptions(server), baseUrl: origin }));
  });

  it('signs in, comes back to the page that was asked for, and signs out', async () => {
    const signIn = await navigate(`${app.url}/page?tab=2`);
    expect(signIn).toBe('/login?returnTo=%2Fpage%3Ftab%3D2');

    const toProvider = await browser.get(signIn!);
    const authorize = new URL(toProvider.headers.get('location')!);
    expect(authorize.origin + authorize.pathname).toBe(`${server.url}/user_management/authorize`);
    expect(Object.fromEntries(authorize.searchParams)).toMatchObject({
      client_id: server.clientId,
      redirect_uri: `${origin}/callback`,
      response_type: 'code',
      provider: 'authkit',
      code_challenge_method: 'S256',
    });
    expect(toProvider.setCookies[0]).toMatch(
      /^wos-session-flow-[0-9a-f]{8}=Fe26\.2\*.*; Max-Age=600; HttpOnly; Secure; SameSite=Lax$/,
    );

    const page = await visit(browser, app, authorize.href);
    expect(new URL(page.url).pathname + new URL(page.url).search).toBe('/page?tab=2');
    expect(page.json).toMatchObject({ authenticated: true, user: { id: 'user_01', emailVerified: true } });
    expect(browser.jar.cookies.map(({ name }) => name)).toEqual(['wos-session']);

    const out = await browser.get('/logout', { headers: { 'sec-fetch-site': 'same-origin' } });
    const { sessionId } = page.json as { sessionId: string };
    expect(out.headers.get('location')).toBe(
      `${server.url}/user_management/sessions/logout?session_id=${sessionId}&return_to=${encodeURIComponent(`${origin}/`)}`,
    );
    expect(browser.jar.cookies).toEqual([]);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: false });
  });

  it('lets two tabs sign in at the same time', async () => {
    const first = (await browser.get('/login?returnTo=/page')).headers.get('location')!;
    const second = (await browser.get('/login?returnTo=/')).headers.get('location')!;
    expect((await visit(browser, app, second)).json).toMatchObject({ authenticated: true });
    expect((await visit(browser, app, first)).json).toMatchObject({ authenticated: true });
  });

  it.each([
    ['a callback that this browser did not begin', '/callback?code=abc&state=of-somebody-else'],
    ['a callback without state', '/callback?code=abc'],
    ['a callback without anything', '/callback'],
    ['a callback with an error and no flow', '/callback?error=access_denied&error_description=%3Cscript%3E'],
  ])('refuses %s, and asks nobody about the code', async (_, path) => {
    const before = server.tokenRequests.length;
    const page = await browser.get(path);
    expect([page.status, page.json]).toMatchObject([400, { error: 'ERR_SESSION_SIGN_IN_FAILED' }]);
    expect(page.text).not.toContain('script');
    expect(server.tokenRequests).toHaveLength(before);
  });

  it('refuses a callback whose sign-in was begun too long ago', async () => {
    const authorize = (await browser.get('/login')).headers.get('location')!;
    const callback = (await browser.fetch(authorize)).headers.get('location')!.replace(origin, app.url);
    const { cookies } = browser.jar;
    const header = cookies.map(({ name, value }) => `${name}=${value}`).join('; ');
    clock.advance(700);
    const page = await browser.fetch(callback, { headers: { cookie: header } });
    expect([page.status, page.json]).toMatchObject([400, { error: 'ERR_SESSION_SIGN_IN_FAILED' }]);
  });

  it('tells of a refusal by the provider without its text', async () => {
    server.visitor = { error: 'access_denied', error_description: 'text of the provider' };
    const authorize = (await browser.get('/login')).headers.get('location')!;
    const page = await visit(browser, app, authorize);
    expect([page.status, page.json]).toMatchObject([400, { error: 'ERR_SESSION_SIGN_IN_FAILED' }]);
    expect(page.text).not.toContain('text of the provider');
    server.visitor = {};
  });

  it('answers 503 while the code cannot be exchanged', async () => {
    server.token.fail(answers.htmlBadGateway);
    const authorize = (await browser.get('/login')).headers.get('location')!;
    const page = await visit(browser, app, authorize);
    expect([page.status, page.json]).toMatchObject([503, { error: 'ERR_SESSION_UNAVAILABLE' }]);
    server.token.heal();
  });

  it.each(['https://evil.example/', '//evil.example', '/\\evil.example', 'javascript:alert(1)', '/\t/evil.example'])(
    'does not return to %j',
    async (returnTo) => {
      const authorize = (await browser.get(`/login?returnTo=${encodeURIComponent(returnTo)}`)).headers.get('location')!;
      const callback = (await browser.fetch(authorize)).headers.get('location')!;
      const back = await browser.fetch(callback.replace(origin, app.url));
      expect([back.status, back.headers.get('location')]).toEqual([303, '/']);
    },
  );

  it.each([
    ['another site', { 'sec-fetch-site': 'cross-site' }, 403],
    ['a sibling site', { 'sec-fetch-site': 'same-site' }, 403],
    ['a foreign origin', { origin: 'https://evil.example' }, 403],
    ['its own page', { 'sec-fetch-site': 'same-origin' }, 303],
    ['its own origin', { origin }, 303],
    ['the address bar', { 'sec-fetch-site': 'none' }, 303],
  ])('signs out when asked by %s: %j → %i', async (_, headers, status) => {
    expect((await browser.get('/logout', { headers: headers as Record<string, string> })).status).toBe(status);
  });

  it('tells no other site the address of its routes, whatever they answer', async () => {
    const authorize = (await browser.get('/login')).headers.get('location')!;
    const callback = (await browser.fetch(authorize)).headers.get('location')!.replace(origin, app.url);
    const answers = [
      await browser.get('/login'),
      await browser.get('/login', { headers: { 'sec-purpose': 'prefetch' } }),
      await browser.get('/callback?code=code&state=of-somebody-else'),
      await browser.fetch(callback),
      await browser.get('/logout', { headers: { 'sec-fetch-site': 'cross-site' } }),
      await browser.get('/logout', { headers: { 'sec-fetch-site': 'same-origin' } }),
    ];
    expect(answers.map(({ status, headers }) => [status, headers.get('referrer-policy')])).toEqual(
      [303, 503, 400, 303, 403, 303].map((status) => [status, 'no-referrer']),
    );
    expect((await browser.get('/')).headers.get('referrer-policy')).toBeNull();
  });

  it('does nothing on a prefetch', async () => {
    const page = await browser.get('/login', { headers: { 'sec-purpose': 'prefetch' } });
    expect([page.status, page.setCookies]).toEqual([503, []]);
  });

  it('leaves every other path and method alone', async () => {
    expect((await browser.get('/login/else')).status).toBe(404);
    expect((await browser.fetch('/login', { method: 'POST' })).status).toBe(404);
  });
});

it('needs the origin of the app, and says so', () => {
  const provider = oidc({ issuer: 'https://id.example.com', clientId: 'a', clientSecret: 'b' });
  expect(() => sessionRoutes({ provider, password })).toThrow(expect.objectContaining({ code: 'ERR_SESSION_CONFIG' }));
});

describe.each([
  ['JWT access tokens', false],
  ['opaque access tokens', true],
])('with a real OpenID provider and %s', (_, opaque) => {
  let server: OidcServer;
  let browser: Browser;
  let app: Listening;

  beforeAll(async () => {
    server = await startOidcServer({ opaque });
    open.push(server);
    const provider = oidc({
      issuer: server.url,
      clientId: server.clientId,
      clientSecret: server.clientSecret,
      ...(!opaque && { resource: server.audience }),
    });
    ({ app, browser } = await serve(frameworks[0]!, { provider, password, baseUrl: origin }));
  });

  it('signs in, renews an expired session, stays the same session, and signs out', async () => {
    const page = await visit(browser, app, `${origin}/login?returnTo=/page`);
    expect(page.json).toMatchObject({
      authenticated: true,
      user: { id: 'user_01', name: 'One', email: 'one@example.com' },
    });
    expect(browser.jar.cookies.map(({ name }) => name)).toContain('__Host-session');
    const { sessionId } = page.json as { sessionId: string };
    expect(sessionId).toEqual(expect.any(String));

    const before = server.refreshes();
    for (let time = 1; time <= 3; time += 1) {
      clock.advance(400);
      const again = await browser.get('/');
      expect(again.json).toMatchObject({ authenticated: true, refreshed: true, sessionId, user: { name: 'One' } });
      expect(again.setCookies).toHaveLength(1);
      expect(server.refreshes()).toBe(before + time);
    }
    expect(server.refreshes('error')).toBe(0);
    expect(await server.grantsAlive()).toBe(true);

    const out = await browser.fetch('/logout', { method: 'POST' });
    const end = new URL(out.headers.get('location')!);
    expect(end.origin).toBe(server.url);
    expect(Object.fromEntries(end.searchParams)).toEqual({
      client_id: server.clientId,
      post_logout_redirect_uri: `${origin}/`,
    });
    expect((await browser.get('/')).json).toMatchObject({ authenticated: false, reason: 'no_session_cookie_provided' });
  });
});

describe('an OpenID provider that does not rotate refresh tokens', () => {
  it('is renewed again and again with the one it gave', async () => {
    const server = await startOidcServer({ rotate: false });
    open.push(server);
    const { clientId, clientSecret, audience } = server;
    const provider = oidc({ issuer: server.url, clientId, clientSecret, resource: audience });
    const { app, browser } = await serve(frameworks[0]!, { provider, password, baseUrl: origin });
    await visit(browser, app, `${origin}/login`);
    for (let time = 1; time <= 3; time += 1) {
      clock.advance(400);
      expect((await browser.get('/')).json).toMatchObject({ authenticated: true, refreshed: true });
      expect(server.refreshes()).toBe(time);
    }
  });
});

describe('an OpenID provider that cannot be reached', () => {
  it('answers 503 to a sign-in', async () => {
    const nobody = await listen((_req, res) => res.writeHead(500).end());
    open.push(nobody);
    const provider = oidc({ issuer: nobody.url, clientId: 'a', clientSecret: 'b' });
    const { browser } = await serve(frameworks[0]!, { provider, password, baseUrl: origin });
    const page = await browser.get('/login');
    expect([page.status, page.json]).toMatchObject([503, { error: 'ERR_SESSION_UNAVAILABLE' }]);
    expect(page.setCookies).toEqual([]);
  });
});
