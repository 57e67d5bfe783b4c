import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createSessionManager, getSession, type SessionOptions, withSession, workos } from 'express-sealed-session';
import { sealData } from 'iron-session';

import { type Framework, frameworks, type Handler, type Listening } from '../support/apps.js';
import { createBrowser, type Page } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { toJson } from '../support/session-app.js';
import { answers, startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import {
  cookieHeader,
  expired,
  password,
  sealedSession,
  sessionCookieOf,
  workosOptions,
} from '../support/workos-session.js';

/** The rows of the table in `docs/architecture.md`, as its cells: the request, the session, the cookie, then. */
const documented = readFileSync(path.resolve(import.meta.dirname, '../../docs/architecture.md'), 'utf8')
  .split('## Every way out of a request')[1]!
  .split('\n## ')[0]!
  .split('\n')
  .filter((line) => line.startsWith('| ') && !/^\| (The request|-)/.test(line))
  .map((line) =>
    line
      .slice(2, -2)
      .split(' | ')
      .map((cell) => cell.trim()),
  );

let server: WorkosServer;
const clock = useClock();
const open: Listening[] = [];

beforeAll(async () => {
  server = await startWorkosServer();
});
beforeEach(() => {
  server.token.heal();
  server.keys.heal();
});
afterAll(() => Promise.all([server.close(), ...open.map((app) => app.close())]));

interface Way {
  /** As the table says it: the request, the session, the cookie, then. */
  readonly row: readonly [string, string, 'left alone' | 'written' | 'cleared', string];
  readonly options?: Partial<SessionOptions>;
  /** Prepares the servers, and returns the seal that the request brings. What it returns besides runs afterwards. */
  readonly bring: (app: Listening) => Promise<string | undefined | { seal: string; after: () => Promise<unknown> }>;
  /** What the handler saw, or the error. */
  readonly shows: Record<string, unknown>;
  readonly status?: number;
  readonly path?: string;
  readonly before?: Handler;
  readonly mounted?: 'twice';
  /** Whether the path is one where the provider tells what has ended. */
  readonly hears?: boolean;
  /** Makes it a POST with these headers. */
  readonly headers?: Record<string, string>;
}

const seal = async (...[overrides, change]: [Parameters<typeof sealedSession>[1]?, Record<string, unknown>?]) =>
  (await sealedSession(server, overrides, change)).sealed;

/** A seal made with these options, which may note when it began. */
async function sealWith(options: Partial<SessionOptions>): Promise<string> {
  const { accessToken, refreshToken, user } = await server.issueSession();
  return createSessionManager(workosOptions(server, options)).seal({ accessToken, refreshToken, user: { ...user } });
}

/** A seal whose token expires in ten seconds. */
async function sealAboutToExpire(): Promise<string> {
  const sealed = await seal({ lifetimeSeconds: 300 });
  clock.advance(290);
  return sealed;
}

const ends = async (sealed: { sealed: string; sessionId: string }) => {
  server.sessions.revoke(sealed.sessionId);
  return sealed.sealed;
};

/** A session that is bound to a device, and comes without a proof. */
async function sealBound(): Promise<string> {
  const { accessToken, refreshToken, user } = await server.issueSession();
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const deviceKey = publicKey.export({ format: 'jwk' });
  return sealData({ accessToken, refreshToken, user, sessionId: 'session_bound', deviceKey }, { password, ttl: 0 });
}

const bound = { deviceBound: true, baseUrl: 'https://app.example.com' };
const saying =
  (headers: Record<string, string>): Handler =>
  (req, _res, next) => {
    Object.assign(req.headers, headers);
    next();
  };
let bearer = '';
const withBearer: Handler = (req, _res, next) => {
  req.headers.authorization = `Bearer ${bearer}`;
  next();
};

/** The provider brings no cookie. That it is not looked at shows with one. */
const hearing = (): Partial<SessionOptions> => ({
  provider: { ...workosOptions(server).provider, readWebhook: () => [] },
  baseUrl: 'https://app.example.com',
  routes: { webhook: '/' },
});

const ways: readonly Way[] = [
  {
    row: ['has no seal', '`no_session_cookie_provided`', 'left alone', 'goes on'],
    bring: async () => undefined,
    shows: { authenticated: false, reason: 'no_session_cookie_provided', retryable: false },
  },
  {
    row: ['is a notice of the provider', '`no_session_cookie_provided`', 'left alone', 'goes on'],
    hears: true,
    bring: () => seal(),
    headers: {},
    shows: { authenticated: false, reason: 'no_session_cookie_provided' },
  },
  {
    row: ['has a seal that was verified a moment ago', 'signed in', 'left alone', 'goes on, synchronously'],
    bring: async (app) => {
      const sealed = await seal();
      for (let visit = 0; visit < 2; visit += 1) await send(app, sealed);
      return sealed;
    },
    shows: { authenticated: true, synchronous: true },
  },
  {
    row: ['brings a bearer token that is good', 'signed in', 'left alone', 'goes on'],
    options: { bearer: true },
    before: withBearer,
    bring: async () => {
      bearer = (await server.issueSession()).accessToken;
      return seal(expired);
    },
    shows: { authenticated: true, via: 'bearer', refreshed: false },
  },
  {
    row: ['brings a bearer token that is not', '`invalid_jwt` and its kin', 'left alone', 'goes on'],
    options: { bearer: true },
    before: withBearer,
    bring: async () => {
      bearer = await server.forge.foreignKey(server.claims());
      return seal(expired);
    },
    shows: { authenticated: false, reason: 'invalid_jwt_signature', retryable: false },
  },
  {
    row: ['is an unsafe one of another origin', '`cross_origin_request`', 'left alone', 'goes on'],
    headers: { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' },
    bring: () => seal(expired),
    shows: { authenticated: false, reason: 'cross_origin_request', retryable: false },
  },
  {
    row: ['has a seal that does not open', '`invalid_session_cookie`', 'left alone', 'goes on'],
    bring: async () => 'Fe26.2*nonsense',
    shows: { authenticated: false, reason: 'invalid_session_cookie', retryable: false },
  },
  {
    row: ['has a seal of another provider', '`invalid_session_cookie`', 'left alone', 'goes on'],
    bring: async () => {
      const { accessToken, refreshToken } = await server.issueSession(expired);
      const provider = workos({ clientId: 'client_02', apiKey: 'sk_test_02', baseUrl: server.url });
      return createSessionManager(workosOptions(server, { provider })).seal({ accessToken, refreshToken });
    },
    shows: { authenticated: false, reason: 'invalid_session_cookie', retryable: false },
  },
  {
    row: ['has a session that was signed out', '`session_revoked`', 'left alone', 'goes on'],
    bring: async (app) => {
      const sealed = await seal();
      await send(app, sealed, '/out');
      return sealed;
    },
    shows: { authenticated: false, reason: 'session_revoked', retryable: false },
  },
  {
    row: ['has a session past its lifetime', '`session_expired`', 'cleared', 'goes on'],
    options: { lifetime: { absoluteSeconds: 60 } },
    bring: async () => {
      const sealed = await sealWith({ lifetime: { absoluteSeconds: 60 } });
      clock.advance(61);
      return sealed;
    },
    shows: { authenticated: false, reason: 'session_expired', retryable: false },
  },
  {
    row: ['has a bound session without a proof of its device', '`device_proof_missing`', 'left alone', 'goes on'],
    options: bound,
    bring: sealBound,
    shows: { authenticated: false, reason: 'device_proof_missing', retryable: false },
  },
  {
    row: [
      'the same, and its browser says that it cannot prove it now',
      '`device_proof_unavailable`',
      'left alone',
      'goes on',
    ],
    options: bound,
    before: saying({ 'secure-session-skipped': 'quota_exceeded' }),
    bring: sealBound,
    shows: { authenticated: false, reason: 'device_proof_unavailable', retryable: true },
  },
  {
    row: ['the same, for a page that another site has led to', 'none', 'left alone', '401, and the page opens anew'],
    options: bound,
    before: saying({ 'sec-fetch-dest': 'document', 'sec-fetch-site': 'cross-site' }),
    bring: sealBound,
    status: 401,
    shows: {},
  },
  {
    row: ['has a token that is invalid', '`invalid_jwt` and its kin', 'left alone', 'goes on'],
    bring: () => seal({}, { user: { id: 'user_02' } }),
    shows: { authenticated: false, reason: 'invalid_jwt', retryable: false },
  },
  {
    row: ['has a token whose keys cannot be had', '`keys_unavailable`', 'left alone', 'goes on'],
    bring: async () => {
      server.keys.fail(answers.serverError);
      return seal();
    },
    shows: { authenticated: false, reason: 'keys_unavailable', retryable: true },
  },
  {
    row: ['has a valid token', 'signed in', 'left alone', 'goes on'],
    bring: () => seal(),
    shows: { authenticated: true, refreshed: false, stale: false },
  },
  {
    row: ['has a valid token, and a visit is due to be noted', 'signed in', 'written', 'goes on'],
    options: { lifetime: { idleSeconds: 600 } },
    bring: async () => {
      const sealed = await sealWith({ lifetime: { idleSeconds: 600 } });
      clock.advance(120);
      return sealed;
    },
    shows: { authenticated: true, refreshed: false },
  },
  {
    row: ['has a token about to expire, and leads the refresh', 'signed in, `refreshed`', 'written', 'goes on'],
    bring: sealAboutToExpire,
    shows: { authenticated: true, refreshed: true },
  },
  {
    row: ['has a token about to expire, and another request leads', 'signed in', 'left alone', 'goes on'],
    bring: async (app) => {
      const sealed = await sealAboutToExpire();
      const hold = server.token.hold();
      const leader = send(app, sealed);
      await hold.arrived(1);
      return {
        seal: sealed,
        after: () => {
          hold.release();
          return leader;
        },
      };
    },
    shows: { authenticated: true, refreshed: false },
  },
  {
    row: ['has a token about to expire, and the provider is unavailable', 'signed in', 'left alone', 'goes on'],
    bring: async () => {
      server.token.fail(answers.unauthorized);
      return sealAboutToExpire();
    },
    shows: { authenticated: true, refreshed: false },
  },
  {
    row: [
      'has a token about to expire, and the provider ends the session',
      'its terminal reason',
      'cleared',
      'goes on',
    ],
    bring: async () => {
      const sealed = await ends(await sealedSession(server, { lifetimeSeconds: 300 }));
      clock.advance(290);
      return sealed;
    },
    shows: { authenticated: false, reason: 'invalid_grant', retryable: false },
  },
  {
    row: ['has an expired token without a refresh token', '`expired_jwt`', 'left alone', 'goes on'],
    bring: () => seal(expired, { refreshToken: undefined }),
    shows: { authenticated: false, reason: 'expired_jwt', retryable: false },
  },
  {
    row: ['has an expired token, and the response takes no cookie', '`expired_jwt`', 'left alone', 'goes on'],
    before: (_req, res, next) => {
      res.flushHeaders();
      next();
    },
    bring: () => seal(expired),
    shows: { authenticated: false, reason: 'expired_jwt', retryable: false },
  },
  {
    row: ['has an expired token, and it is refreshed', 'signed in, `refreshed`', 'written', 'goes on'],
    bring: () => seal(expired),
    shows: { authenticated: true, refreshed: true },
  },
  {
    row: ['has an expired token, and the new one is invalid', '`invalid_jwt` and its kin', 'written', 'goes on'],
    bring: async () => {
      const foreign = await server.signToken(server.claims({ iss: 'https://other.example' }));
      server.token.reply = (body) => ({ ...body, access_token: foreign });
      return seal(expired);
    },
    shows: { authenticated: false, reason: 'invalid_jwt', retryable: false },
  },
  {
    row: ['has an expired token, and the new one cannot be checked', '`keys_unavailable`', 'written', 'goes on'],
    bring: async (app) => {
      await send(app, await seal());
      const sealed = await seal(expired);
      // The key server does not know yet what the token endpoint signs with.
      const published: unknown = await (await fetch(`${server.url}/sso/jwks/${server.clientId}`)).json();
      await server.rotateKeys({ keepOld: true });
      server.keys.fail({ status: 200, body: published }, Infinity);
      clock.advance(2);
      return sealed;
    },
    shows: { authenticated: false, reason: 'keys_unavailable', retryable: true },
  },
  {
    row: ['has an expired token, and the provider ends the session', 'its terminal reason', 'cleared', 'goes on'],
    bring: async () => ends(await sealedSession(server, expired)),
    shows: { authenticated: false, reason: 'invalid_grant', retryable: false },
  },
  {
    row: ['the same, and neither seal nor token says that it is ours', 'its terminal reason', 'left alone', 'goes on'],
    bring: async () => {
      // As an older environment of WorkOS signs, and another package seals.
      const claims = { iss: server.url };
      const { accessToken, refreshToken, user, sessionId } = await server.issueSession({ ...expired, claims });
      const sealed = await sealData({ accessToken, refreshToken, user }, { password, ttl: 0 });
      return ends({ sealed, sessionId });
    },
    shows: { authenticated: false, reason: 'invalid_grant', retryable: false },
  },
  {
    row: ['has an expired token, and the provider is unavailable', 'its retryable reason', 'left alone', 'goes on'],
    bring: async () => {
      server.token.fail(answers.unauthorized);
      return seal(expired);
    },
    shows: { authenticated: false, reason: 'provider_misconfigured', retryable: true },
  },
  {
    row: ["the same, with `whenUnavailable: 'refuse'`", 'its retryable reason', 'left alone', '503'],
    options: { whenUnavailable: 'refuse' },
    bring: async () => {
      server.token.fail(answers.unauthorized);
      return seal(expired);
    },
    status: 503,
    shows: { error: 'ERR_SESSION_UNAVAILABLE' },
  },
  {
    row: ['the same, with `whenUnavailable: { staleSeconds }`', 'signed in, `stale`', 'left alone', 'goes on'],
    options: { whenUnavailable: { staleSeconds: 60 } },
    bring: async () => {
      server.token.fail(answers.unavailable);
      return seal(expired);
    },
    shows: { authenticated: true, stale: true, refreshed: false },
  },
  {
    row: ['has an expired token, and the provider refuses it alone', '`refresh_refused`', 'left alone', 'goes on'],
    bring: async (app) => {
      server.token.fail({ status: 400, body: { error: 'invalid_request' } });
      const sealed = await seal(expired);
      for (const seconds of [1, 2]) {
        await send(app, sealed);
        clock.advance(seconds);
      }
      return sealed;
    },
    shows: { authenticated: false, reason: 'refresh_refused', retryable: false },
  },
  {
    row: ['comes to the same middleware a second time', 'as before', 'left alone', 'goes on'],
    mounted: 'twice',
    bring: () => seal(),
    shows: { authenticated: true, refreshed: false },
  },
  {
    row: ['comes to sessions with other options on the same property', 'as these say', 'left alone', 'goes on'],
    options: { password: 'another password, of 32 characters or more' },
    before: (req, res, next) => {
      withSession(workosOptions(server))(req, res, next);
    },
    bring: () => seal(),
    shows: { authenticated: false, reason: 'invalid_session_cookie' },
  },
  {
    row: ['already has something else under the property', 'none', 'left alone', '`ERR_SESSION_PROPERTY_TAKEN`'],
    before: (req, _res, next) => {
      Object.assign(req, { session: { authenticated: true } });
      next();
    },
    bring: () => seal(),
    status: 500,
    shows: { error: 'ERR_SESSION_PROPERTY_TAKEN' },
  },
  {
    row: ['comes to another host while the cookie is not `Secure`', 'none', 'left alone', '`ERR_SESSION_CONFIG`'],
    options: { cookie: { secure: false } },
    before: (req, _res, next) => {
      req.headers.host = 'app.example.com';
      next();
    },
    bring: () => seal(),
    status: 500,
    shows: { error: 'ERR_SESSION_CONFIG' },
  },
  {
    row: ["meets a part of the app's own that throws", 'none', 'left alone', 'that error'],
    options: {
      lifetime: {
        isActivity: () => {
          throw Object.assign(new Error("the app's own"), { code: 'APP', status: 500 });
        },
      },
    },
    bring: sealAboutToExpire,
    status: 500,
    shows: { error: 'APP' },
  },
];

/** Serves the middleware, and behind it a handler that says what it saw. */
async function serve(
  framework: Framework,
  { hears = false, options = hears ? hearing() : {}, before, mounted }: Way,
): Promise<Listening> {
  const app = await framework.listen((each) => {
    if (before) each.use(before);
    const sessions = withSession(workosOptions(server, { events: { misconfigured: () => undefined }, ...options }));
    // Which paths are its own, a middleware knows by the routes.
    if (hears) sessions.routes();
    let isSynchronous = false;
    each.use((req, res, next) => {
      isSynchronous = true;
      sessions(req, res, next);
      isSynchronous = false;
    });
    if (mounted === 'twice') each.use(sessions);
    each.use((req, _res, next) => {
      Object.assign(req, { synchronous: isSynchronous });
      next();
    });
    each.get('/out', async (req, res) => {
      await getSession(req).signOut();
      res.end();
    });
    each.use((req, res, next) => {
      if (req.url !== '/') {
        next();
        return;
      }
      const { synchronous } = req as unknown as { synchronous: boolean };
      res.end(JSON.stringify({ ...toJson(getSession(req)), ...(synchronous && { synchronous }) }));
    });
  });
  open.push(app);
  return app;
}

function send(app: Listening, sealed: string | undefined, at = '/', headers?: Way['headers']): Promise<Page> {
  const cookie = sealed === undefined ? {} : cookieHeader(sealed).headers;
  return createBrowser(app.url).fetch(at, { method: headers ? 'POST' : 'GET', headers: { ...cookie, ...headers } });
}

function becameOfCookie(page: Page): string {
  const cookie = sessionCookieOf(page.setCookies);
  if (cookie === undefined) return 'left alone';
  return cookie === '' ? 'cleared' : 'written';
}

describe('every way out of a request', () => {
  it('is in the table of docs/architecture.md, and only there', () => {
    expect(documented).toEqual(ways.map(({ row }) => [...row]));
  });

  describe.each(frameworks)('on $name', (framework) => {
    it.each(ways.map((way) => [way.row[0], way] as const))('a request that %s', async (_, way) => {
      const app = await serve(framework, way);
      const brought = await way.bring(app);
      const { seal: sealed, after } =
        typeof brought === 'object' ? brought : { seal: brought, after: () => Promise.resolve() };
      const page = await send(app, sealed, '/', way.headers);
      await after();
      expect([page.status, becameOfCookie(page)]).toEqual([way.status ?? 200, way.row[2]]);
      expect(page.json ?? {}).toMatchObject(way.shows);
    });
  });
});
