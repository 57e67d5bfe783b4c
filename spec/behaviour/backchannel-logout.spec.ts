import { randomUUID } from 'node:crypto';

import { afterAll, describe, expect, it } from '@jest/globals';
import { oidc, type SessionEvents, type SessionOptions, withSession, workos } from 'express-sealed-session';

import { frameworks, type Listening } from '../support/apps.js';
import { type Browser, createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { type OpServer, startOpServer, type Wire } from '../support/op-server.js';
import { watchEvents } from '../support/watch.js';
import { password } from '../support/workos-session.js';

/* OpenID Connect Back-Channel Logout 1.0, against a provider that signs whatever it is told. */

const clock = useClock();
const origin = 'https://app.example.com';
const event = 'http://schemas.openid.net/event/backchannel-logout';
const open: { close: () => Promise<unknown> }[] = [];
afterAll(() => Promise.all(open.map((each) => each.close())));

type Claims = Record<string, unknown>;
const now = () => Math.floor(Date.now() / 1000);

interface Served {
  readonly op: OpServer;
  readonly app: Listening;
  readonly failed: SessionEvents['noticeFailed'][];
  readonly ended: SessionEvents['ended'][];
  /** A visitor who has signed in, in a session of the provider's own. */
  readonly visitor: (sid: string | undefined, sub?: string) => Promise<Browser>;
  readonly isIn: (browser: Browser) => Promise<boolean>;
  readonly post: (body: string, headers?: Record<string, string>) => Promise<Response>;
  /** A log-out token that is good but for these claims, sent to the app. */
  readonly logOut: (change?: Claims, header?: Claims) => Promise<Response>;
  readonly token: (change?: Claims, header?: Claims) => Promise<string>;
}

async function serve(
  wire: Wire = {},
  options: Partial<SessionOptions> = {},
  framework = frameworks[0]!,
): Promise<Served> {
  const op = await startOpServer({ wire });
  const failed: Served['failed'] = [];
  const ended: Served['ended'] = [];
  const sessions = withSession({
    provider: oidc({ issuer: op.url, clientId: op.clientId, clientSecret: op.clientSecret }),
    password,
    baseUrl: origin,
    routes: { backchannelLogout: true },
    events: watchEvents({ noticeFailed: (each) => failed.push(each), ended: (each) => ended.push(each) }),
    ...options,
  });
  const app = await framework.listen((each) => {
    each.use(sessions);
    each.use(sessions.routes());
    each.get('/', (req, res) => res.end(JSON.stringify(sessions.get(req))));
  });
  open.push(op, app);
  const token: Served['token'] = (change = {}, header = { typ: 'logout+jwt' }) => {
    const claims: Claims = {
      iss: op.url,
      aud: op.clientId,
      iat: now(),
      exp: now() + 120,
      jti: randomUUID(),
      events: { [event]: {} },
      ...change,
    };
    const given = Object.entries(claims).filter(([, value]) => value !== undefined);
    return op.sign(Object.fromEntries(given), 'op', 'RS256', header);
  };
  const post: Served['post'] = (body, headers = {}) =>
    fetch(`${app.url}/backchannel-logout`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
      body,
    });
  return {
    op,
    app,
    failed,
    ended,
    token,
    post,
    logOut: async (change, header) => post(`logout_token=${await token(change, header)}`),
    visitor: async (sid, sub = 'user_01') => {
      op.wire.idToken = { ...(sid !== undefined && { sid }), sub };
      const browser = createBrowser(app.url);
      let page = await browser.fetch('/login');
      for (let hop = 0; hop < 10 && page.headers.has('location'); hop += 1) {
        page = await browser.fetch(new URL(page.headers.get('location')!, page.url).href.replace(origin, app.url));
      }
      expect(page.json).toMatchObject({ authenticated: true, user: { id: sub } });
      return browser;
    },
    isIn: async (browser) => {
      const { authenticated, reason } = (await browser.get('/')).json as { authenticated: boolean; reason?: string };
      if (!authenticated) expect(reason).toBe('session_revoked');
      return authenticated;
    },
  };
}

async function expectAnswer(response: Response, status: number): Promise<void> {
  expect([response.status, response.headers.get('cache-control')]).toEqual([status, 'private, no-store']);
  expect(response.headers.getSetCookie()).toEqual([]);
  await response.arrayBuffer();
}

describe.each(frameworks)('a back-channel log-out, with $name', (framework) => {
  it('ends exactly the session that it names', async () => {
    const { logOut, visitor, isIn, ended, failed } = await serve({}, {}, framework);
    const [phone, computer, another] = [
      await visitor('sid_1'),
      await visitor('sid_2'),
      await visitor('sid_3', 'user_02'),
    ];
    await expectAnswer(await logOut({ sid: 'sid_1', sub: 'user_01' }), 200);
    expect([await isIn(phone), await isIn(computer), await isIn(another)]).toEqual([false, true, true]);
    expect(ended).toEqual([{ sessionId: 'sid_1', cause: 'backchannel_logout' }]);
    expect(failed).toEqual([]);
  });

  it('is refused when it comes again', async () => {
    const { post, token, visitor, isIn, failed } = await serve({}, {}, framework);
    const first = await visitor('sid_1');
    const body = `logout_token=${await token({ sid: 'sid_1' })}`;
    await expectAnswer(await post(body), 200);
    expect(await isIn(first)).toBe(false);
    clock.advance(60);
    // A provider may give its next session the same id.
    const second = await visitor('sid_1');
    await expectAnswer(await post(body), 400);
    expect(await isIn(second)).toBe(true);
    expect(failed).toEqual([{ from: 'backchannel_logout', check: 'logout_token_replayed', retryable: false }]);
  });
});

describe('a back-channel log-out', () => {
  it('ends all sessions of a user, where it names no session', async () => {
    const { logOut, visitor, isIn } = await serve();
    const [phone, computer, another] = [
      await visitor('sid_1'),
      await visitor(undefined),
      await visitor('sid_3', 'user_02'),
    ];
    await expectAnswer(await logOut({ sub: 'user_01' }), 200);
    expect([await isIn(phone), await isIn(computer), await isIn(another)]).toEqual([false, false, true]);
  });

  it('ends nothing that began after it, however late it comes', async () => {
    const { post, token, visitor, isIn } = await serve();
    const old = await visitor('sid_1');
    const [late, later] = [await token({ sid: 'sid_1' }), await token({ sub: 'user_01' })];
    clock.advance(60);
    const begun = await visitor('sid_1');
    for (const each of [late, later]) await expectAnswer(await post(`logout_token=${each}`), 200);
    expect([await isIn(old), await isIn(begun)]).toEqual([false, true]);
  });

  it('ends a session that began in the same second, also where the clock of the provider is behind', async () => {
    const { logOut, visitor, isIn } = await serve();
    const [one, other] = [await visitor('sid_1'), await visitor('sid_2')];
    await expectAnswer(await logOut({ sid: 'sid_1' }), 200);
    await expectAnswer(await logOut({ sid: 'sid_2', iat: now() - 4 }), 200);
    expect([await isIn(one), await isIn(other)]).toEqual([false, false]);
  });

  it('is answered 200 where nobody has such a session', async () => {
    const { logOut, visitor, isIn } = await serve();
    const browser = await visitor('sid_1');
    await expectAnswer(await logOut({ sid: 'sid_9' }), 200);
    await expectAnswer(await logOut({ sub: 'user_09' }), 200);
    expect(await isIn(browser)).toBe(true);
  });

  it('keeps a session that is ended from being refreshed', async () => {
    const { op, logOut, visitor, isIn } = await serve();
    const browser = await visitor('sid_1');
    await logOut({ sid: 'sid_1' });
    clock.advance(400);
    expect([await isIn(browser), op.refreshes()]).toEqual([false, 0]);
  });

  it.each<[string, Claims, string, Claims?]>([
    ['another issuer', { iss: 'https://id.example.com' }, 'issuer'],
    ['no issuer', { iss: undefined }, 'issuer'],
    ['another client', { aud: 'client_02' }, 'audience'],
    ['no audience', { aud: undefined }, 'audience'],
    ['another authorized party', { azp: 'client_02' }, 'authorized_party'],
    ['no time', { iat: undefined }, 'issued_at'],
    ['a time to come', { iat: now() + 600 }, 'issued_at'],
    ['an expiry that is past', { exp: now() - 60 }, 'expiry'],
    ['no id', { jti: undefined }, 'id'],
    ['neither session nor user', { sid: undefined, sub: undefined }, 'subject'],
    ['a session that is no text', { sid: 1 }, 'subject'],
    ['no events', { events: undefined }, 'events'],
    ['another event', { events: { 'https://a.example': {} } }, 'events'],
    ['an event that is no object', { events: { [event]: 1 } }, 'events'],
    ['a nonce', { nonce: 'n' }, 'nonce'],
    ['the type of an access token', {}, 'type', { typ: 'at+jwt' }],
    ['an unknown key', {}, 'key', { kid: 'another' }],
  ])('with %s is refused, and ends nothing', async (_, change, check, ...[header]) => {
    const { logOut, visitor, isIn, failed, ended } = await serve();
    const browser = await visitor('sid_1');
    const response = await logOut({ sid: 'sid_1', sub: 'user_01', ...change }, header);
    expect(await response.clone().json()).toMatchObject({ error: 'invalid_request' });
    await expectAnswer(response, 400);
    expect(await isIn(browser)).toBe(true);
    expect(failed).toEqual([{ from: 'backchannel_logout', check: `logout_token_${check}`, retryable: false }]);
    expect(ended).toEqual([]);
  });

  it.each<[string, (op: OpServer, claims: Claims) => Promise<string>, string]>([
    ['without a signature', (op, claims) => op.sign(claims, 'op', 'none'), 'algorithm'],
    ["signed with the client's secret", (op, claims) => op.sign(claims, 'op', 'HS256'), 'algorithm'],
    [
      "signed by another key under the provider's id",
      (op, claims) => op.sign(claims, 'op', 'RS256', {}, 'x'),
      'signature',
    ],
    [
      'that is an ID token',
      (op, claims) => op.sign({ ...claims, events: undefined, nonce: 'n' }, 'op', 'RS256'),
      'events',
    ],
    ['of five parts', () => Promise.resolve('a.b.c.d.e'), 'encrypted'],
    ['that is no token', () => Promise.resolve('token'), 'malformed'],
  ])('%s is refused, and ends nothing', async (_, make, check) => {
    const { op, post, visitor, isIn, failed } = await serve();
    const browser = await visitor('sid_1');
    const claims = { iss: op.url, aud: op.clientId, iat: now(), exp: now() + 60, jti: 'j', events: { [event]: {} } };
    const token = await make(op, { ...claims, sid: 'sid_1' });
    await expectAnswer(await post(`logout_token=${token}`), 400);
    expect(await isIn(browser)).toBe(true);
    expect(failed).toMatchObject([{ check: `logout_token_${check}` }]);
  });

  it('is refused without a token, with two, and as JSON', async () => {
    const { post, token, visitor, isIn, failed } = await serve();
    const browser = await visitor('sid_1');
    const good = await token({ sid: 'sid_1' });
    await expectAnswer(await post(''), 400);
    await expectAnswer(await post('logout_token='), 400);
    await expectAnswer(await post(`logout_token=${good}&logout_token=${good}`), 400);
    await expectAnswer(await post(JSON.stringify({ logout_token: good }), { 'content-type': 'application/json' }), 400);
    expect(failed.map(({ check }) => check)).toEqual(Array.from({ length: 4 }, () => 'logout_token_missing'));
    expect(await isIn(browser)).toBe(true);
    expect((await post(`logout_token=${'a'.repeat(200_000)}`)).status).toBe(413);
  });

  it('is answered 503 while the keys cannot be had, and is taken once they can', async () => {
    const { op, post, token, visitor, isIn, failed } = await serve();
    const browser = await visitor('sid_1');
    const body = `logout_token=${await token({ sid: 'sid_1' })}`;
    // What was fetched at the sign-in serves for six hours.
    clock.advance(7 * 60 * 60);
    const fresh = `logout_token=${await token({ sid: 'sid_1' })}`;
    op.wire.keysStatus = 500;
    const response = await post(fresh);
    expect(response.headers.get('retry-after')).toBe('5');
    await expectAnswer(response, 503);
    expect(failed).toEqual([{ from: 'backchannel_logout', check: 'server_error', retryable: true }]);
    op.wire.keysStatus = 200;
    clock.advance(6);
    await expectAnswer(await post(fresh), 200);
    await expectAnswer(await post(body), 400);
    expect(await isIn(browser)).toBe(false);
  });

  it('is answered 503 while the metadata cannot be had', async () => {
    const { op, logOut } = await serve({ metadataPath: '/elsewhere' });
    await expectAnswer(await logOut({ sid: 'sid_1' }), 503);
    expect(op.to('/jwks')).toEqual([]);
  });

  it('is taken in spite of a body parser before it, of no session, and of a guard on everything', async () => {
    const { default: express } = await import('express');
    const { op, token } = await serve();
    const sessions = withSession({
      provider: oidc({ issuer: op.url, clientId: op.clientId, clientSecret: op.clientSecret }),
      password,
      baseUrl: origin,
      required: true,
      routes: { backchannelLogout: '/out' },
    });
    const parsed = express();
    parsed.use(express.urlencoded({ extended: false }), sessions as never, sessions.routes() as never);
    const { listen } = await import('../support/http-server.js');
    const app = await listen((req, res) => {
      (parsed as unknown as (...given: unknown[]) => void)(req, res);
    });
    open.push(app);
    const response = await fetch(`${app.url}/out`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin: 'https://id.example.com' },
      body: `logout_token=${await token({ sid: 'sid_1' })}`,
    });
    await expectAnswer(response, 200);
  });

  it('comes to a host that the provider knows the app by, in development', async () => {
    const { token, post } = await serve({}, { baseUrl: 'http://localhost:3000' });
    const { request } = await import('node:http');
    const body = `logout_token=${await token({ sid: 'sid_1' })}`;
    expect((await post(body)).status).toBe(200);
    const again = `logout_token=${await token({ sid: 'sid_1' })}`;
    const { app } = await serve({}, { baseUrl: 'http://localhost:3000' });
    const status = await new Promise((resolve, reject) => {
      const headers = { host: 'host.docker.internal:3000', 'content-type': 'application/x-www-form-urlencoded' };
      const sent = request(`${app.url}/backchannel-logout`, { method: 'POST', headers }, (res) => {
        resolve(res.statusCode);
        res.resume();
      });
      sent.on('error', reject).end(again);
    });
    // It is of another provider, so it is refused; the app itself does not refuse the host.
    expect(status).toBe(400);
  });

  it('is a POST alone, and nothing where it is off', async () => {
    const { app } = await serve();
    expect((await fetch(`${app.url}/backchannel-logout?logout_token=a`)).status).toBe(404);
    const off = await serve({}, { routes: {} });
    expect((await off.logOut({ sid: 'sid_1' })).status).toBe(404);
  });

  it('is refused at the start with another provider', () => {
    const options = { password, baseUrl: origin, routes: { backchannelLogout: true } };
    const provider = workos({ clientId: 'client_01', apiKey: 'sk_test_01' });
    expect(() => withSession({ ...options, provider })).toThrow('"routes.backchannelLogout" is for oidc()');
    const wrong = oidc({ issuer: undefined, clientId: 'client_01' });
    expect(() => withSession({ ...options, provider: wrong })).not.toThrow('routes.backchannelLogout');
  });
});
