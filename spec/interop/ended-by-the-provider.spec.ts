import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import express, { type RequestHandler } from 'express';
import { oidc, type SessionEvents, type SessionOptions, withSession, workos } from 'express-sealed-session';
import { redisFleet } from 'express-sealed-session/redis';
import { createClient } from 'redis';
import { createEmulator } from 'workos/emulate';

import { frameworks } from '../support/apps.js';
import { type Browser, createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { eventually } from '../support/eventually.js';
import { listen, type Listening } from '../support/http-server.js';
import { startOidcServer } from '../support/oidc-provider.js';
import { startOpServer } from '../support/op-server.js';
import { type RedisServer, startRedis } from '../support/redis-server.js';
import { describeWithPart } from '../support/system-parts.js';
import { password } from '../support/workos-session.js';

/* Real providers that tell the app what has ended. */

jest.setTimeout(30_000);
const clock = useClock({ runs: true });
const open: { close: () => Promise<unknown> }[] = [];
afterAll(() => Promise.all(open.map((each) => each.close())));

/** An app whose address the provider must know before its options can be made. */
async function listenFirst() {
  const app = express();
  const server = await listen((req, res) => {
    (app as unknown as (req: IncomingMessage, res: ServerResponse) => void)(req, res);
  });
  open.push(server);
  return {
    url: server.url,
    serve: (options: Omit<SessionOptions, 'password' | 'baseUrl'>) => {
      const sessions = withSession({ ...options, password, baseUrl: server.url });
      app.use(sessions as RequestHandler, sessions.routes() as RequestHandler, express.json());
      app.get('/', (req, res) => res.json(sessions.get(req)));
    },
  };
}

interface Seen {
  authenticated: boolean;
  reason?: string;
  refreshed?: boolean;
  role?: string;
  sessionId?: string;
  user?: { id: string };
}
const see = async (browser: Browser) => (await browser.get('/')).json as Seen;

describe('oidc-provider', () => {
  it('logs a session out at the app, and no other', async () => {
    const app = await listenFirst();
    const server = await startOidcServer({
      redirectUris: [`${app.url}/callback`],
      configure: (configuration, client) => {
        configuration.features!.backchannelLogout = { enabled: true };
        client.backchannel_logout_uri = `${app.url}/backchannel-logout`;
        client.backchannel_logout_session_required = true;
      },
    });
    open.push(server);
    const { url: issuer, clientId, clientSecret, audience: resource } = server;
    const told: unknown[] = [];
    app.serve({
      provider: oidc({ issuer, clientId, clientSecret, resource }),
      routes: { backchannelLogout: true },
      events: { ended: (event) => told.push(event), noticeFailed: (event) => told.push(event) },
    });
    const [phone, computer] = [createBrowser(app.url), createBrowser(app.url)];
    for (const browser of [phone, computer]) {
      await browser.follow('/login');
      expect(await see(browser)).toMatchObject({ authenticated: true });
    }

    // The visitor signs out at the provider itself, as if for another app.
    const page = await phone.get(`${issuer}/session/end`);
    const [, xsrf = ''] = /name="xsrf" value="([^"]+)"/.exec(page.text) ?? [];
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    await phone.post(`${issuer}/session/end/confirm`, { headers, body: `xsrf=${xsrf}&logout=yes` });
    await eventually(() => Promise.resolve(told.length > 0));

    expect(told).toEqual([{ sessionId: expect.any(String), cause: 'backchannel_logout' }]);
    expect(await see(phone)).toMatchObject({ authenticated: false, reason: 'session_revoked' });
    expect(await see(computer)).toMatchObject({ authenticated: true });
    // Whoever signs in again is in.
    clock.advance(10);
    await phone.follow('/login');
    expect(await see(phone)).toMatchObject({ authenticated: true });
    // Also the refresh finds that out, whatever the token says.
    clock.advance(400);
    expect(await see(computer)).toMatchObject({ authenticated: true, refreshed: true });
  });
});

describeWithPart('redis', 'a fleet of two processes', () => {
  const origin = 'https://app.example.com';
  let redis: RedisServer;
  let client: ReturnType<typeof createClient>;
  beforeAll(async () => {
    redis = await startRedis();
    client = createClient({ url: redis.url });
    client.on('error', () => undefined);
    await client.connect();
  });
  afterAll(async () => {
    client.destroy();
    await redis.stop();
  });

  it('refuses in one what the other was told, and tells the provider when Redis is away', async () => {
    const op = await startOpServer();
    open.push(op);
    const failed: SessionEvents['noticeFailed'][] = [];
    const start = async () => {
      const sessions = withSession({
        provider: oidc({ issuer: op.url, clientId: op.clientId, clientSecret: op.clientSecret }),
        password,
        baseUrl: origin,
        routes: { backchannelLogout: true },
        fleet: redisFleet({ client, timeoutMs: 100 }),
        events: { noticeFailed: (event) => failed.push(event) },
      });
      const app = await frameworks[0]!.listen((each) => {
        each.use(sessions);
        each.use(sessions.routes());
        each.get('/', (req, res) => res.end(JSON.stringify(sessions.get(req))));
      });
      open.push(app);
      return app;
    };
    const [one, other] = [await start(), await start()];
    const signIn = async (sid: string) => {
      op.wire.idToken = { sid };
      const browser = createBrowser(one.url);
      let page = await browser.fetch('/login');
      for (let hop = 0; hop < 10 && page.headers.has('location'); hop += 1) {
        page = await browser.fetch(new URL(page.headers.get('location')!, page.url).href.replace(origin, one.url));
      }
      const cookie = `__Host-session=${browser.jar.get('__Host-session') ?? ''}`;
      return async (app: Listening) =>
        (await fetch(app.url, { headers: { cookie } }).then((response) => response.json())) as Seen;
    };
    const tokenFor = async (sid: string) => {
      const now = Math.floor(Date.now() / 1000);
      const claims = { iss: op.url, aud: op.clientId, iat: now, exp: now + 120, jti: randomUUID(), sid };
      return op.sign(
        { ...claims, events: { 'http://schemas.openid.net/event/backchannel-logout': {} } },
        'op',
        'RS256',
      );
    };
    const post = async (app: Listening, token: string) => {
      const init = { method: 'POST', body: new URLSearchParams({ logout_token: token }) };
      return (await fetch(`${app.url}/backchannel-logout`, init)).status;
    };

    const first = await signIn('sid_1');
    expect([await first(one), await first(other)]).toMatchObject([{ authenticated: true }, { authenticated: true }]);
    const token = await tokenFor('sid_1');
    expect(await post(other, token)).toBe(200);
    await eventually(async () => !(await first(one)).authenticated);
    // What came to one process has come to all.
    expect(await post(one, token)).toBe(400);
    expect(failed).toMatchObject([{ check: 'logout_token_replayed' }]);

    const second = await signIn('sid_2');
    expect(await second(other)).toMatchObject({ authenticated: true });
    redis.pause();
    const untold = await tokenFor('sid_2');
    expect(await post(other, untold)).toBe(503);
    expect(failed.at(-1)).toEqual({ from: 'backchannel_logout', check: 'fleet_unreachable', retryable: true });
    // The process that heard of it refuses the session at once.
    expect(await second(other)).toMatchObject({ authenticated: false, reason: 'session_revoked' });
    redis.resume();
    await eventually(async () => !(await second(one)).authenticated);
  });
});

describe('WorkOS’s emulator', () => {
  async function start() {
    const app = await listenFirst();
    const emulator = await createEmulator({
      port: 0,
      seed: {
        users: ['one', 'two'].map((name) => ({ email: `${name}@example.com`, email_verified: true })),
        roles: ['admin', 'member'].map((slug) => ({ slug, name: slug, type: 'EnvironmentRole' as const })),
      },
    });
    open.push(emulator);
    const api = async (method: string, path: string, body?: object) => {
      const response = await fetch(emulator.url + path, {
        method,
        headers: { authorization: `Bearer ${emulator.apiKey}`, 'content-type': 'application/json' },
        ...(body && { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      expect(response.ok).toBe(true);
      return (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>;
    };
    const { secret } = await api('POST', '/webhook_endpoints', { endpoint_url: `${app.url}/webhook`, events: [] });
    const ended: SessionEvents['ended'][] = [];
    const failed: SessionEvents['noticeFailed'][] = [];
    app.serve({
      provider: workos({
        clientId: 'client_emulated',
        apiKey: emulator.apiKey,
        baseUrl: emulator.url,
        webhookSecret: String(secret),
      }),
      routes: { webhook: true },
      events: { ended: (event) => ended.push(event), noticeFailed: (event) => failed.push(event) },
    });
    const signIn = async (name: string) => {
      const browser = createBrowser(app.url);
      await browser.follow(`/login?login_hint=${name}@example.com`);
      const session = await see(browser);
      expect(session).toMatchObject({ authenticated: true });
      return { browser, sessionId: String(session.sessionId), userId: String(session.user?.id) };
    };
    return { api, signIn, ended, failed };
  }

  it('revokes a session at the app, and no other', async () => {
    const { api, signIn, ended, failed } = await start();
    const [one, other] = [await signIn('one'), await signIn('one')];
    await api('POST', '/user_management/sessions/revoke', { session_id: one.sessionId });
    await eventually(() => Promise.resolve(ended.length > 0));
    expect(await see(one.browser)).toMatchObject({ authenticated: false, reason: 'session_revoked' });
    expect(await see(other.browser)).toMatchObject({ authenticated: true });
    expect([ended, failed]).toEqual([[{ sessionId: one.sessionId, cause: 'webhook' }], []]);
  });

  it('ends all sessions of a user that is deleted', async () => {
    const { api, signIn, ended } = await start();
    const [one, another] = [await signIn('one'), await signIn('two')];
    await api('DELETE', `/user_management/users/${one.userId}`);
    await eventually(() => Promise.resolve(ended.some(({ userId }) => userId === one.userId)));
    expect(await see(one.browser)).toMatchObject({ authenticated: false, reason: 'session_revoked' });
    expect(await see(another.browser)).toMatchObject({ authenticated: true });
  });

  it('takes a role away with the next request', async () => {
    const { api, signIn, ended } = await start();
    const { id: organization_id } = await api('POST', '/organizations', { name: 'One' });
    const users = (await api('GET', '/user_management/users')).data as { id: string; email: string }[];
    const user_id = users.find(({ email }) => email === 'one@example.com')?.id;
    const path = '/user_management/organization_memberships';
    const { id } = await api('POST', path, { organization_id, user_id, role_slug: 'admin' });
    const { browser } = await signIn('one');
    clock.advance(2);
    await api('PUT', `${path}/${String(id)}`, { role_slug: 'member' });
    await eventually(async () => (await see(browser)).refreshed === true);
    await api('PUT', `${path}/${String(id)}/deactivate`);
    await eventually(() => Promise.resolve(ended.length > 0));
    expect(await see(browser)).toMatchObject({ authenticated: false, reason: 'session_revoked' });
  });
});
