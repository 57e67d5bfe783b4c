import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, hkdfSync, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createInterface } from 'node:readline';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { WorkOS } from '@workos-inc/node';
import cookieParser from 'cookie-parser';
import express, { type RequestHandler } from 'express';
import { withSession } from 'express-sealed-session';
import { EncryptJWT } from 'jose';

import { frameworks } from '../support/apps.js';
import { type Browser, createBrowser, type Page } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { type Listening, listen } from '../support/http-server.js';
import { type OidcServer, startOidcServer } from '../support/oidc-provider.js';
import { startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { password, workosOptions } from '../support/workos-session.js';

const clock = useClock();
const origin = 'https://app.example.com';
const secret = 'the secret of express-openid-connect, as it was';
const open: { close: () => Promise<unknown> }[] = [];
afterAll(() => Promise.all(open.map((each) => each.close())));

interface Tokens {
  access_token: string;
  refresh_token: string;
  id_token: string;
  expires_at: number;
}

/** A response of the token endpoint, by a sign-in that express-openid-connect could have done. */
async function signInAt(server: OidcServer): Promise<Tokens> {
  const browser = createBrowser(server.url);
  const verifier = randomUUID() + randomUUID();
  const authorize = new URL('/auth', server.url);
  const parameters = {
    client_id: server.clientId,
    response_type: 'code',
    redirect_uri: `${origin}/callback`,
    scope: 'openid profile email offline_access',
    prompt: 'consent',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  };
  for (const [name, value] of Object.entries(parameters)) authorize.searchParams.set(name, value);
  let page = await browser.get(authorize.href);
  while (!page.headers.get('location')!.startsWith(origin)) {
    page = await browser.get(new URL(page.headers.get('location')!, server.url).href);
  }
  const response = await fetch(`${server.url}/token`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from([server.clientId, server.clientSecret].map(encodeURIComponent).join(':')).toString('base64')}`,
    },
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      code: new URL(page.headers.get('location')!).searchParams.get('code')!,
      redirect_uri: `${origin}/callback`,
      code_verifier: verifier,
    }),
  });
  const answer = (await response.json()) as Omit<Tokens, 'expires_at'> & { expires_in: number };
  return { ...answer, expires_at: Math.trunc(Date.now() / 1000) + answer.expires_in };
}

/** A cookie value as express-openid-connect writes it: a JWE under a key that is derived from its secret. */
function appSession(tokens: Partial<Tokens>, { under = secret, seconds = 86_400 } = {}): Promise<string> {
  const now = Math.trunc(Date.now() / 1000);
  const key = new Uint8Array(hkdfSync('sha256', under, '', 'JWE CEK', 32));
  return new EncryptJWT({ ...tokens, token_type: 'Bearer' })
    .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', iat: now, uat: now, exp: now + seconds })
    .encrypt(key);
}

type Environment = Record<string, string>;

/** The app of the example, with the package as it is in this repository. */
async function exampleApp(env: Environment): Promise<(req: IncomingMessage, res: ServerResponse) => void> {
  const path = '../../examples/migrate/appsession.js';
  const { createApp } = (await import(path)) as { createApp: (env: Environment) => RequestHandler };
  return createApp(env) as unknown as (req: IncomingMessage, res: ServerResponse) => void;
}

const environment = (server: OidcServer, more: Environment = {}): Environment => ({
  SECRET: secret,
  ISSUER_BASE_URL: server.url,
  CLIENT_ID: server.clientId,
  CLIENT_SECRET: server.clientSecret,
  BASE_URL: origin,
  SESSION_PASSWORD: password,
  ...more,
});

const names = (browser: Browser) => browser.jar.cookies.map(({ name }) => name).sort();

describe.each([
  ['JWT access tokens', false],
  ['opaque access tokens', true],
])('from express-openid-connect, with %s', (_, opaque) => {
  let server: OidcServer;
  let app: Listening;
  let browser: Browser;

  /** A browser that express-openid-connect has signed in. */
  async function comeWith(value: Promise<string>): Promise<void> {
    browser = createBrowser(app.url);
    browser.jar.set(app.url, `appSession=${await value}; Path=/; HttpOnly; Secure; SameSite=Lax`);
  }

  beforeAll(async () => {
    server = await startOidcServer({ opaque });
    app = await listen(await exampleApp(environment(server, opaque ? {} : { AUDIENCE: server.audience })));
    open.push(app, server);
  });

  it('takes over a signed-in visitor and removes the old cookie', async () => {
    await comeWith(appSession(await signInAt(server)));
    const before = server.refreshes();

    const page = await browser.get('/profile');

    expect([page.status, page.json]).toEqual([200, { id: 'user_01', name: 'One', email: 'one@example.com' }]);
    expect(names(browser)).toEqual(['__Host-session']);
    const removal = page.setCookies.find((header) => header.startsWith('appSession='));
    expect(removal).toMatch(/^appSession=; Path=\/; Max-Age=0; /);
    const again = await browser.get('/profile');
    expect([again.status, again.setCookies]).toEqual([200, []]);
    expect(server.refreshes()).toBe(before);
  });

  it('sends one refresh for 5 requests with an expired token, and one more at the next expiry', async () => {
    await comeWith(appSession(await signInAt(server)));
    clock.advance(400);
    const before = server.refreshes();

    const pages = await Promise.all(Array.from({ length: 5 }, () => browser.clone().get('/profile')));

    expect(pages.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect([server.refreshes(), server.refreshes('error')]).toEqual([before + 1, 0]);
    expect((await browser.get('/profile')).status).toBe(200);
    expect(names(browser)).toEqual(['__Host-session']);
    clock.advance(400);
    expect((await browser.get('/profile')).json).toMatchObject({ id: 'user_01', name: 'One' });
    expect(server.refreshes()).toBe(before + 2);
    expect(await server.grantsAlive()).toBe(true);
  });

  it('reads a cookie in three pieces and removes each piece', async () => {
    const value = await appSession({ ...(await signInAt(server)) });
    browser = createBrowser(app.url);
    const third = Math.ceil(value.length / 3);
    for (let piece = 0; piece < 3; piece += 1) {
      const part = value.slice(piece * third, (piece + 1) * third);
      browser.jar.set(app.url, `appSession.${piece}=${part}; Path=/; Secure`);
    }
    expect(names(browser)).toEqual(['appSession.0', 'appSession.1', 'appSession.2']);
    expect((await browser.get('/profile')).status).toBe(200);
    expect(names(browser)).toEqual(['__Host-session']);
  });

  it('signs out with an old cookie and removes it', async () => {
    await comeWith(appSession(await signInAt(server)));
    const page = await browser.post('/logout', { headers: { 'sec-fetch-site': 'same-origin' } });
    expect(page.status).toBe(303);
    expect(names(browser)).toEqual([]);
    expect((await browser.get('/profile')).status).toBe(401);
  });

  it('prefers our cookie, and removes the old one at the next refresh', async () => {
    await comeWith(appSession(await signInAt(server)));
    await browser.get('/');
    const other = await appSession({ ...(await signInAt(server)), id_token: unsigned({ sub: 'user_02' }) });
    browser.jar.set(app.url, `appSession=${other}; Path=/; Secure`);
    expect((await browser.get('/profile')).json).toMatchObject({ id: 'user_01' });
    expect(names(browser)).toEqual(['__Host-session', 'appSession']);
    clock.advance(400);
    expect((await browser.get('/profile')).json).toMatchObject({ id: 'user_01' });
    expect(names(browser)).toEqual(['__Host-session']);
  });

  it.each<[string, (tokens: Tokens) => Promise<string>]>([
    ['under another secret', (tokens) => appSession(tokens, { under: `${secret}!` })],
    ['whose session is over', (tokens) => appSession(tokens, { seconds: -1 })],
    ['with an ID token only', ({ id_token }) => appSession({ id_token })],
    ['without an ID token', ({ access_token, expires_at }) => appSession({ access_token, expires_at })],
    ['that is damaged', async (tokens) => `${(await appSession(tokens)).slice(0, -2)}AA`],
    ['that is the id of a stored session', () => Promise.resolve('d1b8c3.c2lnbmF0dXJl')],
  ])('takes nothing from a cookie %s and keeps it', async (_case, make) => {
    await comeWith(make(await signInAt(server)));
    const page = await browser.get('/');
    expect([page.status, page.json, page.setCookies]).toEqual([200, { hello: 'stranger' }, []]);
    expect((await browser.get('/profile')).status).toBe(401);
    expect(names(browser)).toEqual(['appSession']);
  });

  it('removes the old cookie when the provider has ended the session', async () => {
    await comeWith(appSession({ ...(await signInAt(server)), refresh_token: 'revoked' }));
    clock.advance(400);
    expect((await browser.get('/profile')).status).toBe(401);
    expect(names(browser)).toEqual([]);
  });
});

function unsigned(claims: object): string {
  return ['{"alg":"none"}', JSON.stringify(claims), '']
    .map((part) => Buffer.from(part).toString('base64url'))
    .join('.');
}

describe('from express-openid-connect, while the provider is unavailable', () => {
  it('answers 503 and keeps the old cookie', async () => {
    const server = await startOidcServer();
    const app = await listen(await exampleApp(environment(server, { AUDIENCE: server.audience })));
    open.push(app, server);
    const [good, late] = [createBrowser(app.url), createBrowser(app.url)];
    for (const browser of [good, late]) {
      browser.jar.set(app.url, `appSession=${await appSession(await signInAt(server))}; Path=/; Secure`);
    }
    expect((await good.get('/profile')).status).toBe(200);
    clock.advance(400);
    await server.close();

    const page = await late.get('/profile');

    expect([page.status, page.setCookies]).toEqual([503, []]);
    expect(page.headers.get('retry-after')).toMatch(/^\d+$/);
    expect((await late.get('/')).json).toEqual({ hello: 'stranger' });
    expect(names(late)).toEqual(['appSession']);
  });
});

describe('the example, as it is run', () => {
  let child: ChildProcess;
  let url: string;
  let server: OidcServer;

  beforeAll(async () => {
    server = await startOidcServer();
    open.push(server);
    child = spawn(process.execPath, ['examples/migrate/appsession.js'], {
      env: { ...process.env, NODE_OPTIONS: '', PORT: '0', ...environment(server, { AUDIENCE: server.audience }) },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    for await (const line of createInterface(child.stdout!)) {
      const [address] = /http:\/\/localhost:\d+/.exec(line) ?? [];
      if (!address) continue;
      url = address;
      break;
    }
  }, 30_000);

  afterAll(async () => {
    const ended = once(child, 'exit');
    child.kill();
    await ended;
  });

  it('takes over a signed-in visitor and removes the old cookie', async () => {
    const browser = createBrowser(url);
    browser.jar.set(url, `appSession=${await appSession(await signInAt(server))}; Path=/; Secure`);
    expect((await browser.get('/')).json).toEqual({ hello: 'One' });
    expect(names(browser)).toEqual(['__Host-session']);
    expect((await browser.get('/profile')).json).toMatchObject({ id: 'user_01' });
  });
});

describe('from a middleware around the WorkOS SDK', () => {
  let server: WorkosServer;
  let before: Listening;
  let after: Listening;
  let browser: Browser;

  beforeAll(async () => {
    server = await startWorkosServer();
    before = await listen((req, res) => {
      (handWritten as unknown as (req: IncomingMessage, res: ServerResponse) => void)(req, res);
    });
    const handWritten = handWrittenApp(server, before.url);
    const sessions = withSession({ ...workosOptions(server), baseUrl: origin });
    after = await frameworks[0]!.listen((app) => {
      app.use(sessions);
      app.use(sessions.routes());
      app.get('/dashboard', sessions.require(), (req, res) => res.end(JSON.stringify(sessions.signedIn(req).user)));
    });
    open.push(server, before, after);
  });

  beforeEach(async () => {
    browser = createBrowser(before.url);
    server.visitor = { user: { first_name: 'Zoë' }, organizationId: 'org_01' };
    const page = await browser.follow('/login');
    expect([new URL(page.url).pathname, page.json]).toMatchObject(['/dashboard', { firstName: 'Zoë' }]);
  });

  const dashboards = async (): Promise<Page[]> => [
    await browser.get(`${before.url}/dashboard`),
    await browser.get(`${after.url}/dashboard`),
  ];

  it('leaves the cookie of a signed-in visitor as it is', async () => {
    const cookie = browser.jar.get('wos-session');
    const grants = server.refreshCount;
    for (const page of await dashboards()) {
      expect([page.status, page.json, page.setCookies]).toMatchObject([200, { id: 'user_01', firstName: 'Zoë' }, []]);
    }
    expect(browser.jar.get('wos-session')).toBe(cookie);
    expect(server.refreshCount).toBe(grants);
  });

  it('refreshes an expired session of the old middleware without a redirect', async () => {
    await signInWithLateToken();
    const page = await browser.get(`${after.url}/dashboard`);
    expect([page.status, page.json]).toMatchObject([200, { firstName: 'Zoë' }]);
    expect(names(browser)).toEqual(['wos-session']);
    expect(browser.jar.cookies[0]!.expiresAt).toBeGreaterThan(Date.now() + 300 * 86_400_000);
  });

  it('can be undone: the old middleware refreshes a cookie of ours', async () => {
    await signInWithLateToken();
    server.lifetimeSeconds = -30;
    const { setCookies } = await browser.get(`${after.url}/dashboard`);
    server.lifetimeSeconds = 300;
    expect(setCookies).toHaveLength(1);

    const page = await browser.get(`${before.url}/dashboard`);

    expect([page.status, page.headers.get('location')]).toEqual([302, '/dashboard']);
    for (const { json } of await dashboards()) expect(json).toMatchObject({ firstName: 'Zoë' });
  });

  it('signs out of the old app and the new one', async () => {
    await browser.post(`${after.url}/logout`, { headers: { 'sec-fetch-site': 'same-origin' } });
    expect(names(browser)).toEqual([]);
    expect((await browser.get(`${before.url}/dashboard`)).headers.get('location')).toBe('/login');
  });

  async function signInWithLateToken(): Promise<void> {
    server.visitor = { user: { first_name: 'Zoë' }, organizationId: 'org_01', lifetimeSeconds: -30 };
    await browser
      .get('/login')
      .then(({ headers }) => browser.get(headers.get('location')!))
      .then(({ headers }) => browser.get(headers.get('location')!));
  }
});

/** The middleware that apps write around the SDK. */
function handWrittenApp(server: WorkosServer, url: string) {
  const cookieOptions = { path: '/', httpOnly: true, secure: true, sameSite: 'lax' } as const;
  const sdk = new WorkOS(server.apiKey, {
    clientId: server.clientId,
    apiHostname: '127.0.0.1',
    https: false,
    port: Number(new URL(server.url).port),
  });

  const withAuth: RequestHandler = async (req, res, next) => {
    const session = sdk.userManagement.loadSealedSession({
      sessionData: (req.cookies as Record<string, string>)['wos-session']!,
      cookiePassword: password,
    });
    const auth = await session.authenticate();
    if (auth.authenticated) {
      res.locals.user = auth.user;
      next();
      return;
    }
    if ((auth.reason as string) === 'no_session_cookie_provided') {
      res.redirect('/login');
      return;
    }
    try {
      const refreshed = await session.refresh();
      if (!refreshed.authenticated) {
        res.redirect('/login');
        return;
      }
      res.cookie('wos-session', refreshed.sealedSession, cookieOptions);
      res.redirect(req.originalUrl);
    } catch {
      res.clearCookie('wos-session');
      res.redirect('/login');
    }
  };

  const app = express();
  app.use(cookieParser());
  app.get('/login', (_req, res) => {
    const redirectUri = `${url}/callback`;
    res.redirect(
      sdk.userManagement.getAuthorizationUrl({ provider: 'authkit', redirectUri, clientId: server.clientId }),
    );
  });
  app.get('/callback', async (req, res) => {
    const { sealedSession } = await sdk.userManagement.authenticateWithCode({
      clientId: server.clientId,
      code: req.query.code as string,
      session: { sealSession: true, cookiePassword: password },
    });
    res.cookie('wos-session', sealedSession, cookieOptions);
    res.redirect('/dashboard');
  });
  app.get('/dashboard', withAuth, (_req, res) => res.json(res.locals.user));
  return app;
}

describe('docs/guide/migrating/express-openid-connect.md', () => {
  const file = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

  it('shows the code of the example', () => {
    const shown = [...file('docs/guide/migrating/express-openid-connect.md').matchAll(/```js\n(.*?)```/gs)].map(
      ([, code]) => code!,
    );
    const [recipe, ...others] = shown.filter((code) => code.includes('function fromAppSession'));
    expect(others).toEqual([]);
    const [, body] = recipe!.split(/(?<=from 'jose';\n\n)/);
    expect(body).toContain('function readAppSession');
    expect(file('examples/migrate/appsession.js')).toContain(body);
  });
});
