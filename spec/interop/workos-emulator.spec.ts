import type { IncomingMessage, ServerResponse } from 'node:http';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import express, { type RequestHandler } from 'express';
import {
  createSessionManager,
  type SessionEvents,
  type SessionOptions,
  withSession,
  workos,
} from 'express-sealed-session';
import { decodeJwt } from 'jose';
import { createEmulator, type Emulator, type EmulatorSeedConfig } from 'workos/emulate';

import { type Browser, createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { type Listening, listen } from '../support/http-server.js';
import { createNavigator } from '../support/navigator.js';
import { password, sessionCookieOf } from '../support/workos-session.js';

/*
 * WorkOS's own emulator in place of WorkOS. Where it differs from the service in a way that a session notices, a test
 * under "differs from the service" says so. A newer version that differs less will fail there.
 */

const clock = useClock();
const clientId = 'client_emulated';
// The emulator's access tokens live for an hour, and it has no setting for that.
const lifetimeSeconds = 3_600;

const open: { close: () => Promise<unknown> }[] = [];
afterAll(() => Promise.all(open.map((each) => each.close())));

async function startEmulator(seed: EmulatorSeedConfig): Promise<Emulator> {
  const emulator = await createEmulator({ port: 0, seed });
  open.push(emulator);
  return emulator;
}

const optionsFor = (emulator: Emulator, options: Partial<SessionOptions> = {}): SessionOptions => ({
  provider: workos({ clientId, apiKey: emulator.apiKey, baseUrl: emulator.url }),
  password,
  ...options,
});

/** The app, at an address that it knows: the emulator sends browsers back to loopback hosts only. */
async function serve(options: SessionOptions): Promise<Listening> {
  const app = express();
  const server = await listen((req, res) => {
    (app as unknown as (req: IncomingMessage, res: ServerResponse) => void)(req, res);
  });
  open.push(server);
  const sessions = withSession({ ...options, baseUrl: server.url, routes: { organization: true } });
  app.use(sessions as RequestHandler, sessions.routes() as RequestHandler);
  app.get('/', (req, res) => res.json(sessions.get(req)));
  app.get('/account', sessions.require() as RequestHandler, (req, res) => res.json(sessions.signedIn(req)));
  app.get('/billing', sessions.require({ permissions: 'billing:read' }) as RequestHandler, (_req, res) =>
    res.json('ok'),
  );
  app.get('/switch/:organizationId', async (req, res) => {
    const { organizationId } = req.params;
    const session = sessions.get(req);
    res.json({ result: await session.refresh({ organizationId }), session });
  });
  app.get(
    '/orgs/:organizationId',
    sessions.require(
      { organizationId: (req) => req.params?.organizationId },
      { switchOrganization: true },
    ) as RequestHandler,
    (req, res) => res.json(sessions.signedIn(req)),
  );
  app.get('/now', async (req, res) => {
    const session = sessions.get(req);
    res.json({ result: await session.refresh(), session });
  });
  return server;
}

describe('with WorkOS’s emulator', () => {
  let emulator: Emulator;
  let app: Listening;
  let browser: Browser;
  let signedIn: Awaited<ReturnType<Browser['follow']>>;
  let organizationIds: string[];
  const refreshes: SessionEvents['refreshed'][] = [];
  const failures: SessionEvents['signInFailed'][] = [];

  const api = async (path: string, body?: object) => {
    const response = await fetch(`${emulator.url}${path}`, {
      method: body ? 'POST' : 'GET',
      headers: { authorization: `Bearer ${emulator.apiKey}`, 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as Record<string, any> }; // eslint-disable-line @typescript-eslint/no-explicit-any -- whatever the API answers
  };
  const refreshGrant = (refreshToken: unknown) =>
    api('/user_management/authenticate', {
      grant_type: 'refresh_token',
      client_id: clientId,
      client_secret: emulator.apiKey,
      refresh_token: refreshToken,
    });
  const userSessions = async (userId: string) => {
    const { body } = await api(`/user_management/users/${userId}/sessions`);
    return (body.data as { id: string }[]).map(({ id }) => id);
  };

  beforeAll(async () => {
    emulator = await startEmulator({
      users: [
        {
          email: 'one@example.com',
          first_name: 'User',
          last_name: 'One',
          email_verified: true,
          metadata: { plan: 'pro' },
        },
      ],
      permissions: [{ slug: 'billing:read', name: 'Read bills' }],
      roles: [{ slug: 'admin', name: 'Admin', type: 'EnvironmentRole', permissions: ['billing:read'] }],
    });
    const users = await api('/user_management/users');
    const [user] = users.body.data as [{ id: string }];
    organizationIds = [];
    for (const [name, role_slug] of [
      ['One', 'admin'],
      ['Two', 'member'],
    ]) {
      const { body } = await api('/organizations', { name });
      organizationIds.push(String(body.id));
      const membership = { organization_id: body.id as string, user_id: user.id, role_slug };
      expect((await api('/user_management/organization_memberships', membership)).status).toBe(201);
    }
    app = await serve(
      optionsFor(emulator, {
        events: {
          signInFailed: (event) => {
            failures.push(event);
          },
          refreshed: (event) => {
            refreshes.push(event);
          },
        },
      }),
    );
  });
  // The clock starts anew with each test, and so does the session.
  beforeEach(async () => {
    browser = createBrowser(app.url);
    expect((await browser.get('/account')).status).toBe(401);
    signedIn = await browser.follow('/login?returnTo=/account');
    refreshes.length = 0;
    failures.length = 0;
  });

  const sealed = () => browser.jar.get('wos-session')!;

  it('signs in with a code and returns to the requested page', async () => {
    const page = signedIn;
    expect(page.hops.map((hop) => new URL(hop).origin + new URL(hop).pathname)).toEqual([
      `${app.url}/login`,
      `${emulator.url}/user_management/authorize`,
      `${app.url}/callback`,
    ]);
    expect(page.url).toBe(`${app.url}/account`);
    expect(page.json).toMatchObject({
      authenticated: true,
      user: {
        email: 'one@example.com',
        firstName: 'User',
        lastName: 'One',
        emailVerified: true,
        metadata: { plan: 'pro' },
      },
      sessionId: expect.stringMatching(/^session_/),
      roles: [],
    });
    expect(page.json).not.toHaveProperty('organizationId');
    expect(browser.jar.cookies.map(({ name }) => name)).toEqual(['wos-session']);
    expect(await userSessions(page.json.user.id)).toContain(page.json.sessionId);
  });

  it('refuses a code that belongs to another browser', async () => {
    const other = createBrowser(app.url);
    const authorize = (await browser.get('/login')).headers.get('location')!;
    const callback = (await other.fetch(authorize)).headers.get('location')!;
    expect((await other.fetch(callback)).status).toBe(400);
    expect(other.jar.get('wos-session')).toBeUndefined();
    expect((await browser.get(callback)).status).toBe(303);
  });

  it('stays signed in through 10 refreshes, and each one spends the refresh token before it', async () => {
    const seen = new Set([sealed()]);
    let contents = await tokensOf(sealed());
    for (let time = 1; time <= 10; time += 1) {
      clock.advance(lifetimeSeconds + 10);
      const page = await browser.get('/account');
      expect(page.json).toMatchObject({ authenticated: true, refreshed: true, user: { firstName: 'User' } });
      expect(page.setCookies).toHaveLength(1);
      expect((await browser.get('/account')).json).toMatchObject({ authenticated: true, refreshed: false });

      const spent = contents.refreshToken;
      contents = await tokensOf(sealed());
      expect(contents.refreshToken).not.toBe(spent);
      expect(await refreshGrant(spent)).toMatchObject({ status: 400, body: { code: 'invalid_grant' } });
      seen.add(sealed());
    }
    expect(seen.size).toBe(11);
    expect(refreshes.map(({ source }) => source)).toEqual(Array(10).fill('leader'));
  });

  it('sends one refresh for 8 requests at once, and none for the old cookie 5 seconds later', async () => {
    clock.advance(lifetimeSeconds + 10);
    const before = browser.clone();
    const pages = await Promise.all(Array.from({ length: 8 }, () => browser.tab().get('/account')));
    expect(pages.map(({ json }) => json.authenticated)).toEqual(Array(8).fill(true));
    expect(new Set(pages.map(({ setCookies }) => sessionCookieOf(setCookies))).size).toBe(1);
    expect(refreshes.filter(({ source }) => source === 'leader')).toHaveLength(1);

    clock.advance(5);
    expect((await before.get('/account')).json).toMatchObject({ authenticated: true, refreshed: true });
    expect(before.jar.get('wos-session')).toBe(sealed());
  });

  it('refreshes 20 seconds before the expiry', async () => {
    clock.advance(lifetimeSeconds - 20);
    const { json } = await browser.get('/account');
    expect(json).toMatchObject({ authenticated: true, refreshed: true });
    expect(Date.parse(json.expiresAt) - Date.now()).toBeGreaterThan(lifetimeSeconds * 1000 - 5_000);
  });

  it('refreshes when the app asks for it', async () => {
    const before = sealed();
    expect((await browser.get('/now')).json).toMatchObject({
      result: { refreshed: true },
      session: { authenticated: true },
    });
    expect(sealed()).not.toBe(before);
  });

  it('switches the organization, with its role and permissions, and stays in it', async () => {
    const [one, two] = organizationIds;
    expect((await browser.get('/billing')).status).toBe(403);

    const page = await browser.get(`/switch/${one}`);
    expect(page.json).toMatchObject({
      result: { refreshed: true },
      session: { organizationId: one, role: 'admin', roles: ['admin'], permissions: ['billing:read'] },
    });
    expect((await browser.get('/billing')).json).toBe('ok');
    clock.advance(lifetimeSeconds + 10);
    expect((await browser.get('/account')).json).toMatchObject({ refreshed: true, organizationId: one, role: 'admin' });

    const other = await browser.get(`/switch/${two}`);
    expect(other.json).toMatchObject({
      result: { refreshed: true },
      session: { organizationId: two, role: 'member' },
    });
    expect((await browser.get('/billing')).status).toBe(403);
  });

  it('switches the organization by a guard and by a form, and stays where it is when it is refused', async () => {
    const [one, two] = organizationIds;
    const person = createNavigator({ [app.url]: app.url }, {}, browser.jar);
    const headers = { 'sec-fetch-site': 'same-origin' };
    for (const id of [one, two]) {
      const opened = await person.open(`/orgs/${id}`, { headers });
      expect([opened.status, opened.json]).toMatchObject([200, { organizationId: id, refreshed: true }]);
    }
    const form = await person.open(`/organization?organization_id=${one}&returnTo=/billing`, {
      method: 'POST',
      headers,
    });
    expect([form.status, form.location]).toEqual([303, `${app.url}/billing`]);
    expect((await browser.get('/billing')).json).toBe('ok');

    // The emulator knows no members, and refuses no organization. So it is asked with a token that it does not know.
    const { provider } = optionsFor(emulator);
    const refreshRequest: typeof provider.refreshRequest = (grant) =>
      provider.refreshRequest(grant.organizationId === two ? { ...grant, refreshToken: 'none' } : grant);
    const strict = await serve(optionsFor(emulator, { provider: { ...provider, refreshRequest } }));
    const elsewhere = createNavigator({ [strict.url]: strict.url }, {}, browser.jar);
    const refused = await elsewhere.open(`/orgs/${two}`, { headers });
    const posted = await elsewhere.open(`/organization?organization_id=${two}`, { method: 'POST', headers });
    expect([refused.status, posted.status]).toEqual([403, 403]);
    expect((await browser.get('/account')).json).toMatchObject({ authenticated: true, organizationId: one });
  });

  it('refreshes without HTTP and ignores the "sealed_session" of the answer', async () => {
    clock.advance(lifetimeSeconds + 10);
    const session = createSessionManager(optionsFor(emulator)).load(sealed());
    expect(await session.authenticate()).toMatchObject({ authenticated: false, reason: 'expired_jwt' });
    expect(await session.refresh()).toMatchObject({ authenticated: true, user: { firstName: 'User' } });
    expect(session.sealed).toMatch(/^Fe26\.2\*1\*/);
    browser.jar.set(app.url, `wos-session=${session.sealed!}; Path=/; Secure`);
    expect((await browser.get('/account')).json).toMatchObject({ authenticated: true, refreshed: false });
  });

  it('signs out of the app and of the provider', async () => {
    clock.advance(lifetimeSeconds + 10);
    const { json } = await browser.get('/account');
    expect(json.refreshed).toBe(true);
    const { sessionId, user } = json as { sessionId: string; user: { id: string } };
    expect(await userSessions(user.id)).toContain(sessionId);
    const left = browser.clone();

    const page = await browser.follow('/logout', { method: 'POST', headers: { 'sec-fetch-site': 'same-origin' } });

    const logout = new URL(page.hops[1]!);
    expect(logout.origin + logout.pathname).toBe(`${emulator.url}/user_management/sessions/logout`);
    expect(Object.fromEntries(logout.searchParams)).toEqual({ session_id: sessionId, return_to: `${app.url}/` });
    expect([page.url, page.json]).toEqual([
      `${app.url}/`,
      expect.objectContaining({ authenticated: false, reason: 'no_session_cookie_provided' }),
    ]);
    expect(browser.jar.cookies).toEqual([]);
    expect(await userSessions(user.id)).not.toContain(sessionId);
    expect((await left.get('/account')).status).toBe(401);
  });

  it('ends a session whose refresh token was spent elsewhere', async () => {
    expect((await refreshGrant((await tokensOf(sealed())).refreshToken)).status).toBe(200);
    clock.advance(lifetimeSeconds + 10);
    const page = await browser.get('/');
    expect(page.json).toMatchObject({ authenticated: false, reason: 'invalid_grant', retryable: false });
    expect(browser.jar.cookies).toEqual([]);
  });

  describe('differs from the service', () => {
    let claims: Record<string, unknown>;
    let answer: Record<string, unknown>;

    beforeEach(async () => {
      ({ body: answer } = await refreshGrant((await tokensOf(sealed())).refreshToken));
      claims = decodeJwt(String(answer.access_token));
    });

    it('in its access tokens: the base URL as issuer, an audience, no "jti", one hour of life', async () => {
      expect(claims).toMatchObject({ iss: emulator.url, aud: clientId });
      expect(claims).not.toHaveProperty('jti');
      expect(claims).not.toHaveProperty('roles');
      expect(Number(claims.exp) - Number(claims.iat)).toBe(lifetimeSeconds);
    });

    it('in its session ids: a new one after each refresh', async () => {
      const again = await refreshGrant(answer.refresh_token);
      expect(decodeJwt(String(again.body.access_token)).sid).not.toBe(claims.sid);
    });

    it('in a refresh token that comes twice: the second time it is refused', async () => {
      expect((await refreshGrant(answer.refresh_token)).status).toBe(200);
      expect(await refreshGrant(answer.refresh_token)).toEqual({
        status: 400,
        body: { code: 'invalid_grant', message: 'Invalid refresh token' },
      });
    });

    it('in refresh tokens that outlive their session', async () => {
      const { sid } = decodeJwt(String(answer.access_token));
      await fetch(`${emulator.url}/user_management/sessions/logout?session_id=${String(sid)}`);
      expect((await refreshGrant(answer.refresh_token)).status).toBe(200);
    });

    it('in the error for a spent authorization code: "invalid_code", so the failure is "exchange_refused"', async () => {
      const authorize = (await browser.get('/login')).headers.get('location')!;
      const callback = (await browser.fetch(authorize)).headers.get('location')!;
      expect((await browser.get(callback)).status).toBe(303);
      // In the same flow the code is not sent again. In another one it is.
      const again = new URL((await browser.get('/login')).headers.get('location')!);
      const second = new URL((await browser.fetch(again.href)).headers.get('location')!);
      second.searchParams.set('code', new URL(callback).searchParams.get('code')!);
      expect((await browser.get(second.href)).status).toBe(400);
      expect(failures).toEqual([{ failure: 'exchange_refused', providerError: undefined, restarted: false }]);
    });

    it('in its token endpoint: it asks for no API key', async () => {
      const response = await fetch(`${emulator.url}/user_management/authenticate`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ grant_type: 'refresh_token', refresh_token: 'unknown' }),
      });
      expect([response.status, await response.json()]).toMatchObject([400, { code: 'invalid_grant' }]);
    });
  });

  describe.each([
    ['its own issuer', (url: string) => ({ issuer: url }), undefined],
    ['a list with its own issuer', (url: string) => ({ issuer: ['https://id.example.com', url] }), undefined],
    ['its audience', () => ({ audience: clientId }), undefined],
    ['the issuer of the service', () => ({ issuer: `https://api.workos.com/user_management/${clientId}` }), 'issuer'],
    ['another audience', () => ({ audience: 'client_other' }), 'audience'],
  ])('when asked for %s', (_, more, misconfigured) => {
    const accepted = misconfigured === undefined;
    it(accepted ? 'signs in' : 'refuses to sign in and keeps the cookies', async () => {
      const provider = workos({ clientId, apiKey: emulator.apiKey, baseUrl: emulator.url, ...more(emulator.url) });
      const problems: string[] = [];
      const strict = await serve({
        provider,
        password,
        events: {
          misconfigured: ({ problem }) => {
            problems.push(problem);
          },
        },
      });
      const { json, setCookies } = await browser.clone().get(`${strict.url}/`);
      expect([json.authenticated, setCookies]).toEqual([accepted, []]);
      const page = await createBrowser(strict.url).follow('/login?returnTo=/account');
      expect(page.status).toBe(accepted ? 200 : 500);
      expect(problems).toEqual(accepted ? [] : [misconfigured]);
    });
  });
});

describe('with an impersonated user, in the emulator', () => {
  it('names the impersonator', async () => {
    const impersonator = { email: 'admin@example.com', reason: 'A ticket' };
    const emulator = await startEmulator({ users: [{ email: 'one@example.com', impersonator }] });
    const app = await serve(optionsFor(emulator));
    const browser = createBrowser(app.url);
    expect((await browser.follow('/login?returnTo=/account')).json).toMatchObject({
      authenticated: true,
      impersonator,
    });
    clock.advance(lifetimeSeconds + 10);
    expect((await browser.get('/account')).json).toMatchObject({ refreshed: true, impersonator });
  });
});

describe('without a user, in the emulator', () => {
  it('says that the provider did not sign the visitor in', async () => {
    const app = await serve(optionsFor(await startEmulator({})));
    const browser = createBrowser(app.url);
    const page = await browser.follow('/login');
    expect([page.status, page.text]).toEqual([400, expect.stringContaining('The provider did not sign you in.')]);
    expect(browser.jar.cookies).toEqual([]);
  });
});

async function tokensOf(seal: string): Promise<{ refreshToken: string }> {
  const { unsealData } = await import('iron-session');
  return unsealData<{ refreshToken: string }>(seal, { password, ttl: 0 });
}
