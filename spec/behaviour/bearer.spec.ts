import { randomUUID } from 'node:crypto';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  createSessionManager,
  getSession,
  isSessionError,
  oidc,
  type OidcOptions,
  requireSession,
  type SessionEvents,
  type SessionOptions,
  withSession,
  workos,
} from 'express-sealed-session';
import request, { type Response } from 'supertest';

import { type App, type Framework, frameworks, type Handler } from '../support/apps.js';
import { useClock } from '../support/clock.js';
import { type Issuer, startIssuer } from '../support/oidc-issuer.js';
import type { Claims } from '../support/signer.js';
import { plant, watchEvents } from '../support/watch.js';
import { answers, startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { expired, password, sealedSession, workosOptions } from '../support/workos-session.js';

const origin = 'https://app.example.com';
const clock = useClock();
const open: { close: () => Promise<unknown> }[] = [];
afterAll(() => Promise.all(open.map((each) => each.close())));

const invalidToken = 'Bearer realm="api", error="invalid_token"';
const now = () => Math.trunc(Date.now() / 1000);

interface Sent {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly cookies: readonly string[];
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- specs reach into bodies freely
  readonly json: any;
}

interface ServedApi {
  readonly told: SessionEvents['rejected'][];
  readonly misconfigured: SessionEvents['misconfigured'][];
  readonly send: (path: string, headers: Record<string, string>, method?: 'get' | 'post') => Promise<Sent>;
  /** With this value of `Authorization: Bearer`. */
  readonly bring: (token: string, path?: string, headers?: Record<string, string>) => Promise<Sent>;
}

async function serve(
  options: SessionOptions,
  framework: Framework = frameworks[0]!,
  { withRoutes = false } = {},
): Promise<ServedApi> {
  const told: SessionEvents['rejected'][] = [];
  const misconfigured: SessionEvents['misconfigured'][] = [];
  const events = watchEvents({
    rejected: (event) => told.push(event),
    misconfigured: (event) => misconfigured.push(event),
  });
  const sessions = withSession({ ...options, events });
  const act =
    (work: (session: ReturnType<typeof getSession>) => Promise<unknown>): Handler =>
    (req, res, next) => {
      work(getSession(req)).then((result) => res.end(JSON.stringify({ result: result ?? null })), next);
    };
  const routes: Record<string, Handler[]> = {
    '/public': [],
    '/api': [requireSession()],
    '/admin': [sessions.require({ roles: 'admin' })],
    '/same-origin': [sessions.requireSameOrigin()],
    '/page-only': [sessions.require({ via: ['cookie', 'header'] })],
    '/api-only': [sessions.require({ via: 'bearer' })],
  };
  const app = await framework.listen((each: App) => {
    each.use(sessions);
    if (withRoutes) each.use(sessions.routes());
    for (const [path, guards] of Object.entries(routes)) {
      for (const guard of guards) each.use(at(path, guard));
      each.use(at(path, (req, res) => res.end(JSON.stringify(getSession(req)))));
    }
    each.use(at('/token', (req, res) => res.end(JSON.stringify(sessions.signedIn(req).accessToken))));
    each.use(
      at(
        '/out',
        act((session) => session.signOut()),
      ),
    );
    each.use(
      at(
        '/refresh',
        act((session) => session.refresh()),
      ),
    );
    each.use(
      at(
        '/save',
        act(async (session) => session.authenticated && session.save()),
      ),
    );
  });
  open.push(app);
  const send: ServedApi['send'] = async (path, headers, method = 'get') => {
    const response: Response = await request(app.url)[method](path).set(headers).redirects(0);
    const cookies = (response.headers['set-cookie'] ?? []) as unknown as string[];
    let json: unknown;
    try {
      json = JSON.parse(response.text || '{}');
    } catch {
      json = {};
    }
    return { status: response.status, headers: response.headers, cookies, json };
  };
  return {
    told,
    misconfigured,
    send,
    bring: (token, path = '/api', headers = {}) => {
      const secret = token.slice(token.lastIndexOf('.') + 1);
      if (secret.length > 20) plant('a bearer token', secret);
      return send(path, { authorization: `Bearer ${token}`, ...headers });
    },
  };
}

/** A handler at one path, for every method. */
function at(path: string, handler: Handler): Handler {
  return (req, res, next) => {
    if (req.url === path) handler(req, res, next);
    else next();
  };
}

const cookie = (sealed: string) => ({ cookie: `wos-session=${sealed}` });

describe('an access token of WorkOS', () => {
  let server: WorkosServer;
  beforeAll(async () => {
    server = await startWorkosServer();
    open.push(server);
  });
  beforeEach(() => {
    server.keys.heal();
    server.token.heal();
  });
  const api = (more: Partial<SessionOptions> = {}, framework?: Framework, how = {}) =>
    serve(workosOptions(server, { bearer: true, baseUrl: origin, ...more }), framework, how);
  const issue = async (claims: Claims = {}) => (await server.issueSession({ claims })).accessToken;

  it.each(frameworks)('signs its user in, and writes nothing, on $name', async (framework) => {
    const { send, bring } = await api({}, framework);
    const { accessToken, sessionId } = await server.issueSession({
      organizationId: 'org_01',
      claims: { roles: ['admin'], permissions: ['billing:read'] },
    });
    for (const path of ['/api', '/public', '/admin']) {
      const sent = await bring(accessToken, path);
      expect([sent.status, sent.cookies]).toEqual([200, []]);
      expect(sent.json).toMatchObject({
        authenticated: true,
        via: 'bearer',
        user: { id: 'user_01' },
        sessionId,
        organizationId: 'org_01',
        permissions: ['billing:read'],
        refreshed: false,
        stale: false,
      });
    }
    expect((await bring(accessToken, '/token')).json).toBe(accessToken);
    // The name of the scheme has no case (RFC 9110 section 11.1).
    expect((await send('/api', { authorization: `bEARER   ${accessToken}` })).status).toBe(200);
  });

  it.each<[string, string, () => Promise<string>]>([
    ['without a signature', 'invalid_jwt_algorithm', async () => server.forge.none(server.claims())],
    ['signed with the public key', 'invalid_jwt_algorithm', () => server.forge.hs256WithPublicKey(server.claims())],
    ['signed with another key', 'invalid_jwt_signature', () => server.forge.foreignKey(server.claims())],
    ['signed with a key that is not published', 'invalid_jwt', () => server.forge.unknownKey(server.claims())],
    ['that brings its key along', 'invalid_jwt_signature', () => server.forge.embeddedKey(server.claims())],
    ['that was changed', 'invalid_jwt_signature', async () => server.forge.tampered(await issue(), { sub: 'user_02' })],
    ['that has expired', 'expired_jwt', () => issue({ exp: now() - 60 })],
    ['that is not valid yet', 'invalid_jwt', () => issue({ nbf: now() + 600 })],
    ['of another client', 'invalid_jwt', () => issue({ client_id: 'client_02' })],
    ['of another issuer', 'invalid_jwt', () => issue({ iss: 'https://other.example' })],
    ['about nobody', 'invalid_jwt', () => issue({ sub: '' })],
    ['without an expiry', 'invalid_jwt', () => issue({ exp: undefined })],
    ['that is an ID token, by its nonce', 'invalid_jwt', () => issue({ nonce: 'n' })],
    ['that is an ID token, by its hash', 'invalid_jwt', () => issue({ at_hash: 'h' })],
    ['that is an ID token, by its use', 'invalid_jwt', () => issue({ token_use: 'id' })],
    ['that is a log-out token', 'invalid_jwt', () => issue({ events: {} })],
    ['of another type', 'invalid_jwt', () => server.signToken(server.claims(), { header: { typ: 'logout+jwt' } })],
    ['that is bound to a key', 'invalid_jwt', () => issue({ cnf: { jkt: 'thumbprint' } })],
    ['that is opaque', 'invalid_jwt', async () => 'an-opaque-token'],
    ['that is none', 'invalid_jwt', async () => ''],
    ['in two parts', 'invalid_jwt', async () => 'eyJhbGciOiJSUzI1NiJ9.e30'],
    ['in five parts', 'invalid_jwt', async () => 'eyJhbGciOiJSUzI1NiJ9.e30.e30.e30.e30'],
  ])('%s is refused: %s', async (_, reason, make) => {
    const { told, misconfigured, bring } = await api();
    const token = await make();
    // A second time, it is not remembered as a good one.
    for (let time = 0; time < 2; time += 1) {
      const guarded = await bring(token);
      expect([guarded.status, guarded.json.error, guarded.headers['www-authenticate']]).toEqual([
        401,
        'ERR_SESSION_REQUIRED',
        invalidToken,
      ]);
      const page = await bring(token, '/public');
      expect([page.status, page.json, page.cookies]).toEqual([
        200,
        { authenticated: false, user: null, reason, retryable: false },
        [],
      ]);
    }
    // Anybody can send it: what it says of itself reaches no log, and alarms no operator.
    expect(told).toHaveLength(4);
    expect(told.every((event) => event.reason === reason && !('sessionId' in event))).toBe(true);
    expect(misconfigured).toEqual([]);
  });

  it('is not replaced by the cookie beside it, which is not refreshed either', async () => {
    const { send, bring } = await api();
    const [good, old] = [await sealedSession(server), await sealedSession(server, expired)];
    expect((await send('/api', cookie(good.sealed))).json.via).toBe('cookie');
    const before = server.refreshCount;
    for (const { sealed } of [good, old]) {
      const sent = await bring(await server.forge.foreignKey(server.claims()), '/public', cookie(sealed));
      expect([sent.json.authenticated, sent.cookies]).toEqual([false, []]);
    }
    const other = await server.issueSession({ user: { id: 'user_02' } });
    const sent = await bring(other.accessToken, '/api', cookie(good.sealed));
    expect([sent.json.user.id, sent.cookies, server.refreshCount]).toEqual(['user_02', [], before]);
  });

  it('is judged neither good nor bad while the keys cannot be had', async () => {
    server.keys.fail(answers.serverError, Infinity);
    const { bring } = await api();
    const token = await issue();
    const guarded = await bring(token);
    expect([guarded.status, guarded.json.error]).toEqual([503, 'ERR_SESSION_UNAVAILABLE']);
    expect(guarded.headers).toMatchObject({ 'retry-after': '5' });
    expect(guarded.headers['www-authenticate']).toBeUndefined();
    expect((await bring(token, '/public')).json).toMatchObject({ reason: 'keys_unavailable', retryable: true });
    server.keys.heal();
    clock.advance(6);
    expect((await bring(token)).status).toBe(200);
  });

  it.each(['Basic dXNlcjpwYXNz', 'DPoP token', 'Bearertoken x', 'Negotiate'])(
    'is not what "%s" brings, and the cookie counts',
    async (authorization) => {
      const { send } = await api();
      const { sealed } = await sealedSession(server);
      expect((await send('/api', { authorization, ...cookie(sealed) })).json).toMatchObject({ via: 'cookie' });
    },
  );

  it('passes where a rule takes it, and where it takes the cookie alone it is forbidden', async () => {
    const { send, bring } = await api();
    const { sealed, accessToken } = await sealedSession(server);
    for (const [path, byCookie, byToken] of [
      ['/page-only', 200, 403],
      ['/api-only', 403, 200],
    ] as const) {
      expect([(await send(path, cookie(sealed))).status, (await bring(accessToken, path)).status]).toEqual([
        byCookie,
        byToken,
      ]);
    }
  });

  it('is refused once its session was signed out, however well it is known', async () => {
    const { send, bring } = await api();
    const { sealed, accessToken } = await sealedSession(server);
    for (let visit = 0; visit < 3; visit += 1) expect((await bring(accessToken)).status).toBe(200);
    await send('/out', cookie(sealed));
    expect((await bring(accessToken, '/public')).json).toMatchObject({ reason: 'session_revoked' });
    expect((await bring(accessToken)).headers['www-authenticate']).toBe(invalidToken);
  });

  it('can sign out, which ends its session and leaves the cookie beside it alone', async () => {
    const { send, bring } = await api();
    const { accessToken } = await server.issueSession();
    const beside = await sealedSession(server);
    const out = await bring(accessToken, '/out', cookie(beside.sealed));
    expect([out.status, out.cookies, out.json.result]).toEqual([200, [], expect.stringContaining('logout')]);
    expect((await bring(accessToken)).status).toBe(401);
    expect((await send('/api', cookie(beside.sealed))).status).toBe(200);
  });

  it('signs nobody out once it is refused', async () => {
    const { send, bring } = await api();
    const beside = await sealedSession(server);
    const out = await bring('nonsense', '/out', cookie(beside.sealed));
    expect([out.json.result, out.cookies]).toEqual([null, []]);
    expect((await send('/api', cookie(beside.sealed))).status).toBe(200);
  });

  it('refreshes nothing and keeps nothing', async () => {
    const { bring } = await api();
    const { accessToken } = await server.issueSession();
    expect((await bring(accessToken, '/refresh')).json.result).toMatchObject({ refreshed: false, retryable: false });
    const saved = await bring(accessToken, '/save');
    expect([saved.status, saved.json.error]).toEqual([500, 'ERR_SESSION_NO_COOKIE']);
  });

  it('is remembered until it expires, without a look at the keys', async () => {
    const { bring } = await api({ cache: { maxSeconds: 86_400 } });
    const exp = now() + 7 * 3_600;
    const [token, other] = [await issue({ exp }), await issue({ exp })];
    for (let visit = 0; visit < 2; visit += 1) expect((await bring(token)).status).toBe(200);
    server.keys.fail(answers.serverError, Infinity);
    // Keys serve for six hours without their server.
    clock.advance(6 * 3_600 + 60);
    expect([(await bring(token)).status, (await bring(other)).status]).toEqual([200, 503]);
    clock.advance(3_600);
    expect((await bring(token)).status).not.toBe(200);
  });

  it('is no seal, and a seal is no token', async () => {
    const { send, bring } = await api({ header: 'X-Session' });
    const { sealed, accessToken } = await sealedSession(server);
    for (let visit = 0; visit < 3; visit += 1) {
      await bring(accessToken);
      await send('/api', cookie(sealed));
    }
    expect((await send('/public', cookie(accessToken))).json.reason).toBe('invalid_session_cookie');
    expect((await send('/public', { 'x-session': accessToken })).json.reason).toBe('invalid_session_cookie');
    expect((await bring(sealed, '/public')).json.reason).toBe('invalid_jwt');
    expect((await send('/api', { 'x-session': sealed })).json.via).toBe('header');
  });

  it('that is refused gets 401 also where a page was opened, and nobody is told an error who has sent nothing', async () => {
    const { send, bring } = await api({}, frameworks[0], { withRoutes: true });
    const page = { accept: 'text/html', 'sec-fetch-mode': 'navigate' };
    expect((await bring('nonsense', '/api', page)).status).toBe(401);
    expect((await send('/api', page)).status).toBe(302);
    const { status, headers } = await send('/api', { accept: 'application/json' });
    expect([status, headers['www-authenticate']]).toEqual([401, 'Bearer realm="api"']);
  });

  it("is no page's doing, so that its origin does not matter", async () => {
    const { send } = await api();
    const foreign = { 'sec-fetch-site': 'cross-site', origin: 'https://spa.example' };
    const authorization = `Bearer ${await issue()}`;
    for (const path of ['/api', '/same-origin']) {
      expect((await send(path, { authorization, ...foreign }, 'post')).status).toBe(200);
      expect((await send(path, { authorization: 'Bearer x', ...foreign }, 'post')).status).not.toBe(200);
    }
  });

  it('is offered no binding to a device: there is no cookie to bind', async () => {
    const { send, bring } = await api({ deviceBound: true }, frameworks[0], { withRoutes: true });
    const document = { 'sec-fetch-dest': 'document', 'sec-fetch-mode': 'navigate', 'sec-fetch-site': 'same-origin' };
    const offerIn = ({ headers }: Sent) => headers['secure-session-registration'];
    const { sealed, accessToken } = await sealedSession(server);
    expect(offerIn(await send('/public', { ...document, ...cookie(sealed) }))).toMatch(/challenge/);
    expect(offerIn(await bring(accessToken, '/public', document))).toBeUndefined();
  });

  it('counts for nothing where the options do not take it', async () => {
    const { send, bring } = await api({ bearer: undefined });
    const { sealed, accessToken } = await sealedSession(server);
    expect((await bring(accessToken, '/api', cookie(sealed))).json.via).toBe('cookie');
    const refused = await send('/api', {});
    expect([refused.status, refused.headers['www-authenticate']]).toEqual([401, undefined]);
  });

  it('of an invented key makes no storm of questions to the provider', async () => {
    const { bring } = await api();
    await bring(await issue());
    const { length } = server.keys.requests;
    const invented = await server.forge.unknownKey(server.claims({ iat: now() + 3, exp: now() + 600 }));
    const [, body = '', signature = ''] = invented.split('.');
    const tokens = Array.from({ length: 20 }, () => {
      const head = Buffer.from(JSON.stringify({ alg: 'RS256', kid: randomUUID() })).toString('base64url');
      return [head, body, signature].join('.');
    });
    const pages = [await bring(tokens[0]!), ...(await Promise.all(tokens.slice(1).map((token) => bring(token))))];
    expect(new Set(pages.map(({ status }) => status))).toEqual(new Set([401]));
    // One question for the first, and one a second later for all others.
    expect(server.keys.requests.length - length).toBe(2);
    // A key that is new in truth is found.
    await server.rotateKeys({ keepOld: true });
    expect((await bring(await issue({ iat: now() }))).status).toBe(200);
  });

  it('must have the audience that the options name', async () => {
    const { bring } = await api({ bearer: { audience: ['https://api.example.com', 'other'] } });
    expect((await bring(await issue({ aud: 'https://api.example.com' }))).status).toBe(200);
    expect((await bring(await issue({ aud: ['x', 'other'], scope: 'a' }))).status).toBe(200);
    expect((await bring(await issue({ aud: 'https://api.example.org' }))).status).toBe(401);
    expect((await bring(await issue())).status).toBe(401);
    expect((await bring(await issue({ aud: 'https://api.example.com', client_id: 'client_02' }))).status).toBe(401);
  });
});

describe('an access token of an OpenID provider', () => {
  const audience = 'https://api.example.com';
  let issuer: Issuer;
  beforeAll(async () => {
    issuer = await startIssuer();
    open.push(issuer);
  });
  const options = (
    more: Partial<OidcOptions> = {},
    bearer: SessionOptions['bearer'] = { audience },
  ): SessionOptions => {
    const { url, clientId, clientSecret } = issuer;
    return { provider: oidc({ issuer: url, clientId, clientSecret, ...more }), password, bearer };
  };
  const sign = (claims: Claims, header = {}) => issuer.sign(issuer.claims({ aud: audience, ...claims }), { header });
  /** As bare as a token can be. */
  const bare = { client_id: undefined, jti: undefined };

  it.each(['auto', 'opaque', 'jwt'] as const)(
    'is verified by the audience of this API, with accessToken: %s for sessions',
    async (accessToken) => {
      const { bring } = await serve(options({ accessToken }));
      // Also one that another client of the provider has got for this API.
      for (const claims of [{}, { client_id: 'mobile' }, { aud: ['other', audience] }]) {
        expect((await bring(await sign({ ...claims, roles: ['admin'] }), '/admin')).json).toMatchObject({
          via: 'bearer',
          user: { id: 'user_01' },
        });
      }
      for (const claims of [{ aud: issuer.clientId }, { aud: undefined }, { aud: 'other' }]) {
        expect((await bring(await sign(claims))).status).toBe(401);
      }
    },
  );

  it.each<[string, Claims, object, number]>([
    ['a token that says nothing', bare, {}, 401],
    ['an ID token of a sign-in', { ...bare, nonce: 'n' }, {}, 401],
    ['an ID token of a refresh, for its client', { ...bare, azp: 'spa' }, {}, 401],
    ['a token with a scope', { ...bare, scope: 'read' }, {}, 200],
    ['a token that names its client', { ...bare, client_id: 'spa' }, {}, 200],
    ['a token for another than its client', { ...bare, aud: [audience], azp: 'spa' }, {}, 200],
    ['a token of the type', bare, { typ: 'at+jwt' }, 200],
    ["a token of Keycloak's type", { ...bare, typ: 'Bearer' }, {}, 200],
  ])('where the audience is a client id: %s', async (name, claims, header, status) => {
    // The client of a front end, whose ID tokens have it as their audience.
    const { bring } = await serve(options({}, { audience: [audience, 'spa'] }));
    const aud = name.includes('another than its client') ? audience : 'spa';
    expect((await bring(await sign({ ...claims, aud }, header))).status).toBe(status);
  });

  it('is of no use to another mount: each has its own audience', async () => {
    const [one, other] = [await serve(options()), await serve(options({}, { audience: 'https://other.example.com' }))];
    const token = await sign({});
    for (let visit = 0; visit < 3; visit += 1) {
      expect([(await one.bring(token)).status, (await other.bring(token)).status]).toEqual([200, 401]);
    }
  });

  it('says of which issuer its user is, where there are several', async () => {
    const { bring } = await serve(
      options({
        issuer: [issuer.url, 'https://other.example'],
        metadata: issuer.url + '/.well-known/openid-configuration',
      }),
    );
    expect((await bring(await sign({}))).json.user).toEqual({ id: 'user_01', issuer: issuer.url });
  });

  it('reads roles where mapClaims says', async () => {
    const { bring } = await serve(options({ mapClaims: { roles: ['realm_access', 'roles'], permissions: 'scope' } }));
    const token = await sign({ realm_access: { roles: ['admin'] }, scope: 'a b' });
    expect((await bring(token, '/admin')).json).toMatchObject({ roles: ['admin'], permissions: ['a', 'b'] });
  });

  it('waits for no refresh token and no cookie: the manager knows nothing of it', async () => {
    const manager = createSessionManager(options());
    expect(await manager.load(await sign({})).authenticate()).toMatchObject({ reason: 'invalid_session_cookie' });
  });

  it.each<[string, () => SessionOptions]>([
    ['without an audience', () => options({}, true)],
    ['with one that is not set', () => options({}, { audience: undefined })],
  ])('is not taken %s: the app does not start', (_, make) => {
    let problems: readonly { path: string }[] = [];
    try {
      withSession(make());
    } catch (error) {
      if (isSessionError(error) && error.code === 'ERR_SESSION_CONFIG') problems = error.problems;
    }
    expect(problems.map(({ path }) => path)).toEqual([expect.stringMatching(/^bearer/)]);
  });

  it("of a provider of the app's own needs an audience too, unless the provider says otherwise", async () => {
    const own = workos({ clientId: 'client_01', apiKey: 'sk_test_01' });
    const provider = { ...own, tokensNameClient: undefined };
    expect(() => withSession({ provider, password, bearer: true })).toThrow(/"bearer" must be \{ audience \}/);
    expect(() => withSession({ provider: own, password, bearer: true })).not.toThrow();
  });
});

describe('an API key', () => {
  let server: WorkosServer;
  beforeAll(async () => {
    server = await startWorkosServer();
    open.push(server);
  });
  const key = `key_${randomUUID()}`;
  plant('an API key', key);
  const holder = { user: { id: 'robot_01' }, organizationId: 'org_01', roles: ['admin'], permissions: ['a'] };
  const api = (apiKeys: unknown, more: Partial<SessionOptions> = {}, framework?: Framework) =>
    serve(workosOptions(server, { apiKeys: apiKeys as SessionOptions['apiKeys'], ...more }), framework);

  it.each(frameworks)('signs in who holds it, on $name', async (framework) => {
    const asked: unknown[] = [];
    const { bring } = await api(
      async (given: string, req: { url?: string }) => {
        asked.push([given, req.url]);
        return given === key ? { ...holder, claims: { plan: 'large' } } : undefined;
      },
      {},
      framework,
    );
    const { status, json, cookies } = await bring(key, '/admin');
    expect([status, cookies]).toEqual([200, []]);
    expect(json).toMatchObject({
      authenticated: true,
      user: { id: 'robot_01' },
      claims: { plan: 'large' },
      organizationId: 'org_01',
      roles: ['admin'],
      permissions: ['a'],
      entitlements: [],
      featureFlags: [],
      expiresAt: '9999-12-31T00:00:00.000Z',
      refreshed: false,
      stale: false,
      via: 'apiKey',
    });
    // An app hands this on to other APIs.
    expect((await bring(key, '/token')).json).toBe('');
    // Each request asks, so that a key that was taken back is worth nothing.
    expect(asked).toEqual([
      [key, '/admin'],
      [key, '/token'],
    ]);
  });

  it.each<[string, unknown, number, string, string | undefined]>([
    ['nobody holds', async () => undefined, 401, 'invalid_api_key', invalidToken],
    ['no row is found for', () => null, 401, 'invalid_api_key', invalidToken],
    [
      'cannot be looked up',
      () => {
        throw new Error(key);
      },
      503,
      'api_keys_unavailable',
      undefined,
    ],
    ['is not found in time', () => Promise.reject(new Error(key)), 503, 'api_keys_unavailable', undefined],
  ])('that %s', async (_, apiKeys, status, reason, challenge) => {
    const { told, bring } = await api(apiKeys);
    const guarded = await bring(key);
    expect([guarded.status, guarded.headers['www-authenticate']]).toEqual([status, challenge]);
    const page = await bring(key, '/public');
    expect([page.status, page.json]).toMatchObject([200, { authenticated: false, reason, retryable: status === 503 }]);
    expect(told.map((event) => event.reason)).toEqual([reason, reason]);
  });

  it.each<[string, unknown, RegExp]>([
    ['a user without an id', { user: { name: 'x' } }, /"apiKeys\(\)\.user" must have an "id"/],
    ['no user', { roles: ['admin'] }, /"apiKeys\(\)\.user"/],
    ['one role that is no list', { ...holder, roles: 'admin' }, /"apiKeys\(\)\.roles" must be a list/],
    [
      'a field that is unknown',
      { ...holder, scopes: ['a'] },
      /"apiKeys\(\)" has a field that is none of these: user, /,
    ],
    ['true', true, /must be an object/],
    ['a text', 'robot', /must be an object/],
  ])('about which the app says %s is an error of the app, which says so', async (_, answer, message) => {
    const { bring } = await api(() => answer);
    const { status, json } = await bring(key, '/public');
    expect([status, json.error, json.message]).toEqual([
      500,
      'ERR_SESSION_API_KEY_RESULT',
      expect.stringMatching(message),
    ]);
  });

  it('is asked for where the value is no JWT, and not longer than 4 KiB', async () => {
    const asked: string[] = [];
    const { bring } = await api((given: string) => {
      asked.push(given);
      return holder;
    });
    expect((await bring('k'.repeat(4_096))).status).toBe(200);
    const { accessToken } = await server.issueSession();
    for (const value of ['k'.repeat(4_097), '', accessToken]) expect((await bring(value)).status).toBe(401);
    expect((await bring('three.part.key')).status).toBe(200);
    expect(asked).toEqual(['k'.repeat(4_096), 'three.part.key']);
  });

  it('goes beside access tokens', async () => {
    const { bring } = await api(() => holder, { bearer: true });
    const { accessToken } = await server.issueSession();
    expect([(await bring(accessToken)).json.via, (await bring(key)).json.via]).toEqual(['bearer', 'apiKey']);
  });

  it('is not replaced by the cookie beside it, and signs nobody out', async () => {
    const { send, bring } = await api((given: string) => (given === key ? holder : undefined));
    const { sealed } = await sealedSession(server);
    expect((await bring('other', '/public', cookie(sealed))).json.authenticated).toBe(false);
    const out = await bring(key, '/out', cookie(sealed));
    expect([out.json.result, out.cookies]).toEqual([null, []]);
    expect((await send('/api', cookie(sealed))).status).toBe(200);
    expect((await bring(key)).status).toBe(200);
  });

  it('makes the whole app answer 503 with whenUnavailable: refuse, and nothing else does', async () => {
    const { bring } = await api(() => Promise.reject(new Error('down')), { whenUnavailable: 'refuse' });
    expect((await bring(key, '/public')).status).toBe(503);
  });
});
