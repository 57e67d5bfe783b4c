import { get } from 'node:http';

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { getSession, oidc, type SessionOptions, type SignInFailure, withSession } from 'express-sealed-session';

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

interface Served {
  readonly browser: Browser;
  readonly app: Listening;
  /** What the routes handed to `next`, when that was an error. */
  readonly errors: unknown[];
}

/** An app with its sessions and their routes. Without `mounted`, the sessions themselves are left out. */
async function serve(framework: Framework, options: SessionOptions, { mounted = true } = {}): Promise<Served> {
  const errors: unknown[] = [];
  const app = await framework.listen((each) => {
    const sessions = withSession(options);
    if (mounted) each.use(sessions);
    const routes = sessions.routes();
    each.use((req, res, next) => {
      routes(req, res, (error) => {
        if (error !== undefined) errors.push(error);
        next(error);
      });
    });
    each.get('/page', sessions.require(), (req, res) => res.end(JSON.stringify(getSession(req))));
    each.get('/', (req, res) => res.end(JSON.stringify(getSession(req))));
  });
  open.push(app);
  return { app, browser: createBrowser(app.url), errors };
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
  let errors: unknown[];

  beforeAll(async () => {
    server = await startWorkosServer();
    open.push(server);
  });
  beforeEach(async () => {
    ({ app, browser, errors } = await serve(framework, { ...workosOptions(server), baseUrl: origin }));
  });
  afterEach(() => {
    server.token.heal();
    server.visitor = {};
  });

  /** Begins a sign-in: where its callback leads, with the cookies of the browser as they are before it. */
  async function beginSignIn(): Promise<{ callback: string; headers: { cookie: string } }> {
    const authorize = (await browser.get('/login')).headers.get('location')!;
    const callback = (await browser.fetch(authorize)).headers.get('location')!.replace(origin, app.url);
    const cookie = browser.jar.cookies.map(({ name, value }) => `${name}=${value}`).join('; ');
    return { callback, headers: { cookie } };
  }

  const failed = (failure: SignInFailure) => [
    expect.objectContaining({ name: 'SessionSignInError', code: 'ERR_SESSION_SIGN_IN_FAILED', status: 400, failure }),
  ];

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
      /^wos-session-flow-[0-9a-f]{8}=Fe26\.2\*.*; Max-Age=3600; HttpOnly; Secure; SameSite=Lax$/,
    );

    const page = await visit(browser, app, authorize.href);
    expect(new URL(page.url).pathname + new URL(page.url).search).toBe('/page?tab=2');
    expect(page.json).toMatchObject({ authenticated: true, user: { id: 'user_01', emailVerified: true } });
    expect(browser.jar.cookies.map(({ name }) => name)).toEqual(['wos-session']);

    const out = await browser.post('/logout', { headers: { 'sec-fetch-site': 'same-origin' } });
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

  it.each<[string, string]>([
    ['a callback that this browser did not begin', '/callback?code=abc&state=of-somebody-else'],
    ['a callback without state', '/callback?code=abc'],
    ['a callback without anything', '/callback'],
    ['a callback with an error and no flow', '/callback?error=access_denied&error_description=%3Cscript%3E'],
  ])('refuses %s, and does not send the code', async (_, path) => {
    const before = server.tokenRequests.length;
    const page = await browser.get(path);
    expect([page.status, page.json]).toMatchObject([400, { error: 'ERR_SESSION_SIGN_IN_FAILED' }]);
    expect(errors).toEqual(failed('flow_missing'));
    expect(page.text).not.toContain('script');
    expect(server.tokenRequests).toHaveLength(before);
  });

  it('refuses a callback whose sign-in was begun too long ago', async () => {
    const { callback, headers } = await beginSignIn();
    clock.advance(700);
    const page = await browser.fetch(callback, { headers });
    expect([page.status, page.json]).toMatchObject([400, { error: 'ERR_SESSION_SIGN_IN_FAILED' }]);
    expect(errors).toEqual(failed('flow_expired'));
  });

  it('sends nothing to the provider for a callback without a code', async () => {
    const { callback, headers } = await beginSignIn();
    const before = server.tokenRequests.length;
    const page = await browser.fetch(callback.replace(/code=[^&]*/, ''), { headers });
    expect([page.status, page.json]).toMatchObject([400, { error: 'ERR_SESSION_SIGN_IN_FAILED' }]);
    expect(server.tokenRequests).toHaveLength(before);
  });

  it('refuses an answer to the code that is not whole', async () => {
    server.token.reply = (body) => ({ ...body, access_token: undefined });
    const { callback } = await beginSignIn();
    const page = await browser.fetch(callback);
    expect([page.status, page.json]).toMatchObject([400, { error: 'ERR_SESSION_SIGN_IN_FAILED' }]);
    expect(errors).toEqual(failed('check_failed'));
    expect((await browser.get('/')).json).toMatchObject({ authenticated: false });
  });

  it('reports a refusal by the provider without its text', async () => {
    server.visitor = { error: 'access_denied', error_description: 'text of the provider' };
    const authorize = (await browser.get('/login')).headers.get('location')!;
    const page = await visit(browser, app, authorize);
    expect([page.status, page.json]).toMatchObject([400, { error: 'ERR_SESSION_SIGN_IN_FAILED' }]);
    expect(errors).toEqual(failed('provider_error'));
    expect(page.text).not.toContain('text of the provider');
  });

  it('answers 503 while the code cannot be exchanged, and signs in with it afterwards', async () => {
    server.token.fail(answers.htmlBadGateway);
    const { callback } = await beginSignIn();
    const page = await browser.fetch(callback);
    expect([page.status, page.json]).toMatchObject([503, { error: 'ERR_SESSION_UNAVAILABLE' }]);
    expect(page.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    server.token.heal();
    expect((await browser.fetch(callback)).status).toBe(303);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: true });
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
  ])('answers a sign-out that %s asks for: %j → %i', async (_, headers, status) => {
    expect((await browser.post('/logout', { headers: headers as Record<string, string> })).status).toBe(status);
    const refused = { name: 'SessionUseError', code: 'ERR_SESSION_SIGN_OUT_REFUSED', status: 403, expose: true };
    expect(errors).toEqual(status === 403 ? [expect.objectContaining(refused)] : []);
  });

  it('keeps the address of its routes from other sites, whatever they answer', async () => {
    const { callback } = await beginSignIn();
    const answers = [
      await browser.get('/login'),
      await browser.get('/login', { headers: { 'sec-purpose': 'prefetch' } }),
      await browser.get('/callback?code=code&state=of-somebody-else'),
      await browser.fetch(callback),
      await browser.post('/logout', { headers: { 'sec-fetch-site': 'cross-site' } }),
      await browser.post('/logout', { headers: { 'sec-fetch-site': 'same-origin' } }),
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

it('routes() needs the origin of the app, and says so', () => {
  const provider = oidc({ issuer: 'https://id.example.com', clientId: 'a', clientSecret: 'b' });
  const sessions = withSession({ provider, password });
  expect(() => sessions.routes()).toThrow(
    expect.objectContaining({ code: 'ERR_SESSION_CONFIG', problems: [expect.objectContaining({ path: 'baseUrl' })] }),
  );
});

describe('the options of the routes', () => {
  let server: WorkosServer;
  beforeAll(async () => {
    server = await startWorkosServer();
    open.push(server);
  });

  const serveWith = (options: Partial<SessionOptions>, more?: { mounted?: boolean }) =>
    serve(frameworks[0]!, workosOptions(server, { baseUrl: origin, ...options }), more);
  const redirectUriOf = (authorize: string | null) => new URL(authorize!).searchParams.get('redirect_uri');
  const sameOrigin = { headers: { 'sec-fetch-site': 'same-origin' } };

  it('routes: signs in and out at paths of the app', async () => {
    const routes = { login: '/sign-in', callback: '/auth/back', logout: '/sign-out' };
    const { app, browser } = await serveWith({ routes });
    expect(await navigate(`${app.url}/page`)).toBe('/sign-in?returnTo=%2Fpage');
    const toProvider = await browser.get('/sign-in?returnTo=/page');
    expect(redirectUriOf(toProvider.headers.get('location'))).toBe(`${origin}/auth/back`);
    const page = await visit(browser, app, toProvider.headers.get('location')!);
    expect(page.json).toMatchObject({ authenticated: true });
    for (const path of ['/login', '/callback', '/logout']) expect((await browser.get(path)).status).toBe(404);
    expect((await browser.post('/sign-out', sameOrigin)).status).toBe(303);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: false });
  });

  it.each<[string, SessionOptions['routes']]>([
    ['without the option', undefined],
    ['with an empty one', {}],
    ['with true', { login: true, callback: true, logout: true }],
  ])('routes: has the three usual paths %s', async (_, routes) => {
    const { app, browser } = await serveWith({ routes });
    expect(redirectUriOf((await browser.get('/login')).headers.get('location'))).toBe(`${origin}/callback`);
    expect((await visit(browser, app, `${origin}/login`)).json).toMatchObject({ authenticated: true });
    expect((await browser.post('/logout', sameOrigin)).status).toBe(303);
  });

  it('routes: has no route where one is false, and sends no visitor there', async () => {
    const withoutLogout = await serveWith({ routes: { logout: false } });
    expect((await visit(withoutLogout.browser, withoutLogout.app, `${origin}/login`)).json.authenticated).toBe(true);
    expect((await withoutLogout.browser.post('/logout', sameOrigin)).status).toBe(404);
    expect((await withoutLogout.browser.get('/')).json).toMatchObject({ authenticated: true });

    const withoutLogin = await serveWith({ routes: { login: false } });
    expect((await withoutLogin.browser.get('/login')).status).toBe(404);
    expect(await navigate(`${withoutLogin.app.url}/page`)).toBeUndefined();
    expect((await withoutLogin.browser.get('/callback')).status).toBe(400);

    const none = await serveWith({ routes: { login: false, callback: false, logout: false } });
    for (const path of ['/login', '/callback', '/logout', '/undefined', '/']) {
      expect([path, (await none.browser.get(path)).status]).toEqual([path, path === '/' ? 200 : 404]);
    }
  });

  it('signIn.returnTo: is where a visitor goes who asked for no page, or for one of another site', async () => {
    const { browser, app } = await serveWith({ signIn: { returnTo: '/welcome?new#top' } });
    for (const [query, expected] of [
      ['', '/welcome?new#top'],
      ['?returnTo=https://evil.example/', '/welcome?new#top'],
      ['?returnTo=/page', '/page'],
    ] as const) {
      const authorize = (await browser.get(`/login${query}`)).headers.get('location')!;
      const callback = (await browser.fetch(authorize)).headers.get('location')!;
      const back = await browser.fetch(callback.replace(origin, app.url));
      expect(back.headers.get('location')).toBe(expected);
    }
  });

  it('signOut.returnTo: is where the provider sends a visitor back to, or where we do', async () => {
    const signOut = { returnTo: '/bye' };
    const { browser, app } = await serveWith({ signOut });
    await visit(browser, app, `${origin}/login`);
    const toProvider = new URL((await browser.post('/logout', sameOrigin)).headers.get('location')!);
    expect(toProvider.searchParams.get('return_to')).toBe(`${origin}/bye`);
    // Without a session there is nothing to end at the provider.
    expect((await browser.post('/logout', sameOrigin)).headers.get('location')).toBe('/bye');
  });

  it('baseUrl: signs in over http on localhost, in a browser that keeps Secure cookies for https', async () => {
    const told: unknown[] = [];
    const events = { misconfigured: (event: unknown) => told.push(event) };
    const { app } = await serveWith({ baseUrl: 'http://localhost:3000', events });
    const browser = createBrowser(app.url, { secureOnLoopback: false });
    const login = await browser.get('/login');
    expect(login.setCookies[0]).toMatch(/^wos-session-flow-[0-9a-f]{8}=Fe26\.2\*.*; HttpOnly; SameSite=Lax$/);
    const back = (await browser.fetch(login.headers.get('location')!)).headers.get('location')!;
    expect(back).toMatch(/^http:\/\/localhost:3000\/callback\?/);
    const { setCookies } = await browser.fetch(back.replace('http://localhost:3000', app.url));
    expect(setCookies.filter((header) => header.includes('Secure'))).toEqual([]);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: true });
    expect(told).toEqual([]);
  });

  it('events: a sign-in is reported with its user and session', async () => {
    const told: unknown[] = [];
    const { browser, app } = await serveWith({ events: { signedIn: (event) => told.push(event) } });
    const page = await visit(browser, app, `${origin}/login?returnTo=/`);
    expect(told).toEqual([{ sessionId: page.json.sessionId, userId: 'user_01' }]);
    expect(page.json.sessionId).toEqual(expect.any(String));
  });

  it('provider: its authorization URL may be a string or the promise of one', async () => {
    const { provider } = workosOptions(server);
    for (const authorizationUrl of [() => 'https://id.example.com/a', async () => 'https://id.example.com/a']) {
      const { browser } = await serveWith({ provider: { ...provider, authorizationUrl } });
      const page = await browser.get('/login');
      expect([page.status, page.headers.get('location')]).toEqual([303, 'https://id.example.com/a']);
    }
  });

  it('without app.use(sessions), says what is missing and spends no code', async () => {
    const { browser, errors } = await serveWith({}, { mounted: false });
    const before = server.tokenRequests.length;
    const callback = await browser.get('/callback?code=code_01&state=state_01');
    for (const page of [await browser.get('/login'), callback, await browser.post('/logout')]) {
      expect([page.status, page.json]).toMatchObject([500, { error: 'ERR_SESSION_MIDDLEWARE_MISSING' }]);
    }
    expect(server.tokenRequests).toHaveLength(before);
    expect((errors[0] as Error).message).toContain('app.use(sessions)');
  });
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

  it('signs in, refreshes an expired session, stays the same session, and signs out', async () => {
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
      id_token_hint: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
      post_logout_redirect_uri: `${origin}/`,
    });
    expect((await browser.get('/')).json).toMatchObject({ authenticated: false, reason: 'no_session_cookie_provided' });
  });
});

describe('an OpenID provider that does not rotate refresh tokens', () => {
  it('is asked again and again with the one it gave', async () => {
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
    const away = await listen((_req, res) => res.writeHead(500).end());
    open.push(away);
    const provider = oidc({ issuer: away.url, clientId: 'a', clientSecret: 'b' });
    const { browser } = await serve(frameworks[0]!, { provider, password, baseUrl: origin });
    const page = await browser.get('/login');
    expect([page.status, page.json]).toMatchObject([503, { error: 'ERR_SESSION_UNAVAILABLE' }]);
    expect(page.setCookies).toEqual([]);
  });
});
