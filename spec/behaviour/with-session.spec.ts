import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  createSessionManager,
  getSession,
  ironSealer,
  type Middleware,
  type Provider,
  type Sealer,
  type Session,
  type SessionEvents,
  type SessionOptions,
  withSession,
} from 'express-sealed-session';
import { unsealData } from 'iron-session';

import { type App, type Framework, frameworks, type Listening } from '../support/apps.js';
import { createBrowser } from '../support/browser.js';
import { toJson } from '../support/session-app.js';
import { useClock } from '../support/clock.js';
import { fleetWith } from '../support/fleets.js';
import { answers, startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import {
  cookieHeader,
  expired,
  password,
  sealedSession,
  sessionCookieOf,
  workosOptions,
} from '../support/workos-session.js';

let server: WorkosServer;
const clock = useClock();
const open: Listening[] = [];

beforeAll(async () => {
  server = await startWorkosServer();
});
beforeEach(() => {
  server.mode = 'replay';
  server.token.heal();
  server.keys.heal();
});
afterAll(async () => {
  await Promise.all([server.close(), ...open.map((app) => app.close())]);
});

/** What the handler saw, and whether the cookie was on the response by then. */
function answerSession(app: App): void {
  app.get('/', (req, res) => {
    const session = getSession(req);
    const cookieInPlace = [res.getHeader('set-cookie') ?? []].flat().length > 0;
    res.setHeader('content-type', 'application/json');
    res.end(JSON.stringify({ ...toJson(session), cookieInPlace }));
  });
}

async function serve(
  framework: Framework,
  options: Partial<SessionOptions> = {},
  routes: (app: App) => void = answerSession,
): Promise<Listening> {
  const app = await framework.listen((each) => {
    each.use(withSession(workosOptions(server, options)));
    routes(each);
  });
  open.push(app);
  return app;
}

describe.each(frameworks)('on $name', (framework) => {
  let app: Listening;
  beforeAll(async () => {
    app = await serve(framework);
  });

  it('renews an expired session once, with the new cookie in place before the handler runs', async () => {
    const { sealed, refreshToken } = await sealedSession(server, expired);
    const before = server.refreshCount;
    const page = await createBrowser(app.url).get('/', cookieHeader(sealed));

    expect(page.status).toBe(200);
    expect(page.json).toMatchObject({
      authenticated: true,
      refreshed: true,
      cookieInPlace: true,
      user: { id: 'user_01' },
    });
    expect(server.refreshCount).toBe(before + 1);
    const contents = await unsealData<Record<string, unknown>>(sessionCookieOf(page.setCookies)!, { password });
    expect(contents.refreshToken).not.toBe(refreshToken);
    expect(page.setCookies[0]).toMatch(/; Path=\/; Max-Age=34560000; HttpOnly; Secure; SameSite=Lax$/);
    expect(page.headers.get('cache-control')).toBe('private, no-store');
    expect(page.headers.get('vary')).toMatch(/\bCookie\b/);
    expect(page.headers.get('etag')).toBeNull();
  });

  it('lets a valid session pass, without a refresh and without a cookie', async () => {
    const { sealed } = await sealedSession(server);
    const before = server.refreshCount;
    for (const time of ['first', 'again']) {
      const page = await createBrowser(app.url).get('/', cookieHeader(sealed));
      expect([time, page.status, page.json]).toMatchObject([time, 200, { authenticated: true, refreshed: false }]);
      expect(page.setCookies).toEqual([]);
    }
    expect(server.refreshCount).toBe(before);
  });

  it.each([
    ['no cookie', {}, 'no_session_cookie_provided'],
    ['garbage', cookieHeader('garbage'), 'invalid_session_cookie'],
    ['a seal under another password', cookieHeader('Fe26.2*1*' + 'a'.repeat(64)), 'invalid_session_cookie'],
  ])('lets a visitor with %s pass, not signed in, and leaves the cookie alone', async (_, init, reason) => {
    const page = await createBrowser(app.url).get('/', init);
    expect(page.status).toBe(200);
    expect(page.json).toMatchObject({ authenticated: false, user: null, reason, retryable: false });
    expect(page.setCookies).toEqual([]);
  });

  it('clears the cookie when the provider has ended the session', async () => {
    const { sealed, sessionId } = await sealedSession(server, expired);
    server.sessions.revoke(sessionId);
    const page = await createBrowser(app.url).get('/', cookieHeader(sealed));
    expect(page.json).toMatchObject({ authenticated: false, reason: 'invalid_grant', retryable: false });
    expect(page.setCookies).toHaveLength(1);
    expect(page.setCookies[0]).toMatch(
      /^wos-session=; Path=\/; Max-Age=0; HttpOnly; Secure; SameSite=Lax; Expires=Thu, 01 Jan 1970/,
    );
  });

  it('keeps the cookie and goes on, not signed in, while the provider is away', async () => {
    const { sealed } = await sealedSession(server, expired);
    server.token.fail(answers.unauthorized);
    const page = await createBrowser(app.url).get('/', cookieHeader(sealed));
    expect(page.json).toMatchObject({ authenticated: false, reason: 'provider_misconfigured', retryable: true });
    expect(page.setCookies).toEqual([]);
    server.token.heal();
    clock.advance(1);
    expect((await createBrowser(app.url).get('/', cookieHeader(sealed))).json).toMatchObject({ authenticated: true });
  });

  it('guards a route with `required`', async () => {
    const guarded = await serve(framework, { required: true });
    const { sealed } = await sealedSession(server);
    expect((await createBrowser(guarded.url).get('/', cookieHeader(sealed))).status).toBe(200);
    const refused = await createBrowser(guarded.url).get('/');
    expect([refused.status, refused.json]).toMatchObject([401, { error: 'ERR_SESSION_REQUIRED' }]);
  });

  it('does the work once when mounted twice, and guards all the same', async () => {
    const options = workosOptions(server);
    const twice = await framework.listen((each) => {
      each.use(withSession(options));
      each.use(withSession({ ...options, required: { permissions: 'billing:read' } }));
      answerSession(each);
    });
    open.push(twice);
    const { sealed } = await sealedSession(server, expired);
    const before = server.refreshCount;
    const page = await createBrowser(twice.url).get('/', cookieHeader(sealed));
    expect([page.status, page.json]).toMatchObject([403, { error: 'ERR_SESSION_FORBIDDEN' }]);
    expect(page.setCookies).toHaveLength(1);
    expect(server.refreshCount).toBe(before + 1);
  });

  it('never takes the session of another client for its own', async () => {
    const other = workosOptions(server, { required: true, cookie: { name: 'admin' } });
    const two = await framework.listen((each) => {
      each.use(withSession(workosOptions(server)));
      each.use(withSession(other));
      answerSession(each);
    });
    open.push(two);
    const { sealed } = await sealedSession(server);
    const page = await createBrowser(two.url).get('/', cookieHeader(sealed));
    expect([page.status, page.json]).toMatchObject([500, { error: 'ERR_SESSION_PROPERTY_TAKEN' }]);
  });

  it.each([
    ['session', 'admin'],
    ['admin', 'session'],
  ])('guards its own session beside another one: `req.%s` is there before `req.%s`', async (first, second) => {
    const guarded = withSession(workosOptions(server, { property: second, required: true, cookie: { name: second } }));
    const two = await framework.listen((each) => {
      each.use(withSession(workosOptions(server, { property: first, cookie: { name: first } })));
      each.use(guarded);
      each.get('/', (req, res) => res.end(JSON.stringify(guarded.get(req))));
      each.get('/either', (req) => getSession(req));
    });
    open.push(two);
    const [one, other] = [await sealedSession(server), await sealedSession(server)];
    const visit = (cookie: string) => createBrowser(two.url).get('/', { headers: { cookie } });
    expect((await visit(`${first}=${one.sealed}`)).status).toBe(401);
    const page = await visit(`${first}=${one.sealed}; ${second}=${other.sealed}`);
    expect([page.status, page.json.sessionId]).toEqual([200, other.sessionId]);
    // A file that has only the request cannot say which of the two it means.
    const cookie = `${first}=${one.sealed}; ${second}=${other.sealed}`;
    const either = await createBrowser(two.url).get('/either', { headers: { cookie } });
    expect([either.status, either.json]).toMatchObject([500, { error: 'ERR_SESSION_MIDDLEWARE_MISSING' }]);
  });

  it('has no session where something has taken its place', async () => {
    const replaced = await framework.listen((each) => {
      each.use(withSession(workosOptions(server)));
      each.use((req, _res, next) => {
        Object.assign(req, { session: { authenticated: true, user: { id: 'user_01' } } });
        next();
      });
      answerSession(each);
    });
    open.push(replaced);
    const page = await createBrowser(replaced.url).get('/');
    expect([page.status, page.json]).toMatchObject([500, { error: 'ERR_SESSION_MIDDLEWARE_MISSING' }]);
  });

  it('never takes a foreign `req.session` for its own', async () => {
    const foreign = await framework.listen((each) => {
      each.use((req, _res, next) => {
        Object.assign(req, { session: { authenticated: true, user: { id: 'user_01' } } });
        next();
      });
      each.use(withSession(workosOptions(server)));
      answerSession(each);
    });
    open.push(foreign);
    const page = await createBrowser(foreign.url).get('/');
    expect([page.status, page.json]).toMatchObject([500, { error: 'ERR_SESSION_PROPERTY_TAKEN' }]);
    expect(page.json.message).toContain('"property"');
  });
});

const framework = frameworks[0]!;

describe('what else is on the request', () => {
  type Descriptors = Record<PropertyKey, PropertyDescriptor>;

  /** What is on a request as the middleware gets it, and as it hands it on. */
  async function passing(on: Framework, prepare: (req: IncomingMessage) => void): Promise<Descriptors[]> {
    const seen: Descriptors[] = [];
    const middleware = withSession(workosOptions(server));
    const app = await on.listen((each) => {
      each.use((req, res) => {
        prepare(req);
        seen.push(Object.getOwnPropertyDescriptors(req));
        middleware(req, res, () => {
          seen.push(Object.getOwnPropertyDescriptors(req));
          res.end();
        });
      });
    });
    open.push(app);
    expect((await createBrowser(app.url).get('/')).status).toBe(200);
    return seen;
  }

  it.each(frameworks)('is there as before on $name', async (each) => {
    // Node makes the headers when they are first asked for.
    const [before = {}, { session, ...after } = {}] = await passing(each, (req) => req.headers);
    expect(session).toMatchObject({ value: { authenticated: false }, enumerable: true, writable: true });
    for (const property of Reflect.ownKeys(before)) {
      expect([property, after[property]?.value === before[property]?.value]).toEqual([property, true]);
      expect([property, { ...after[property], value: 0 }]).toEqual([property, { ...before[property], value: 0 }]);
    }
  });

  it('may be unremovable', async () => {
    const [before, after] = await passing(framework, (req) => {
      Object.defineProperty(req, 'res', { configurable: false, writable: false });
    });
    expect(after?.res).toEqual(before?.res);
  });
});

describe('a part of the app’s own that fails', () => {
  const fail = (): never => {
    throw new Error('the part has failed');
  };
  const failing = [fail, () => Promise.reject(new Error('gone'))];

  it.each(frameworks)('is an error of the request on $name, and of no other', async (framework) => {
    for (const refresh of failing) {
      const app = await serve(framework, { fleet: fleetWith({ refresh }) });
      const [old, good] = [await sealedSession(server, expired), await sealedSession(server)];
      const get = async (sealed: string) => createBrowser(app.url).get('/', cookieHeader(sealed));
      const page = await get(old.sealed);
      expect([page.status, page.json.message]).toEqual([500, expect.stringMatching(/^the part has failed$|^gone$/)]);
      expect(await get(good.sealed)).toMatchObject({ status: 200, json: { authenticated: true } });
    }
  });

  it.each<[string, string, Provider['accessToken']]>([
    ['throws', 'keys_unavailable', fail],
    ['rejects', 'keys_unavailable', () => Promise.reject(new Error('gone'))],
    ['returns undefined', 'provider_misconfigured', () => undefined as never],
  ])('keeps the cookie when the accessToken method of the provider %s: %s', async (_, reason, accessToken) => {
    const { provider } = workosOptions(server);
    const app = await serve(framework, { provider: { ...provider, accessToken } });
    const { sealed } = await sealedSession(server);
    const page = await createBrowser(app.url).get('/', cookieHeader(sealed));
    expect(page.json).toMatchObject({ authenticated: false, reason, retryable: true });
    expect(page.setCookies).toEqual([]);
  });
});

describe('what a request waits for', () => {
  /** Runs the middleware on what it needs of a request, and tells whether it was through when the call returned. */
  async function passes(middleware: Middleware, cookie: string): Promise<{ atOnce: boolean; session: Session }> {
    const req = Object.assign(new IncomingMessage(new Socket()), { method: 'GET', headers: { cookie } });
    let through = false;
    const next = new Promise((resolve) => {
      middleware(req, new ServerResponse(req), (error?: unknown) => {
        through = true;
        resolve(error);
      });
    });
    const atOnce = through;
    expect(await next).toBeUndefined();
    return { atOnce, session: getSession(req) };
  }

  it('is not what a later refresh needs: that is loaded when the first visitor has been answered', async () => {
    const seen: string[] = [];
    const sealer: Sealer = {
      ...ironSealer(),
      preload: () => {
        seen.push('loaded');
        return Promise.resolve();
      },
    };
    const app = await serve(frameworks[0]!, { sealer }, (each) => {
      each.get('/', (_req, res) => {
        res.end();
        seen.push('answered');
      });
    });
    const { sealed } = await sealedSession(server);
    await createBrowser(app.url).fetch('/', cookieHeader(sealed));
    await createBrowser(app.url).fetch('/', cookieHeader(sealed));
    expect(seen).toEqual(['answered', 'loaded', 'answered']);
  });

  it('is nothing, for a visitor of whom all is at hand', async () => {
    const options = workosOptions(server);
    const [good, another, old] = [
      await sealedSession(server),
      await sealedSession(server),
      await sealedSession(server, expired),
    ];
    const middleware = withSession(options);
    const visit = (sealed: string) => passes(middleware, `wos-session=${sealed}`);
    // The keys are to be fetched.
    expect(await visit(good.sealed)).toMatchObject({ atOnce: false, session: { authenticated: true } });
    // Once seen, remembered, and never seen before.
    for (const { sealed } of [good, good, another]) {
      expect(await visit(sealed)).toMatchObject({ atOnce: true, session: { authenticated: true } });
    }
    expect(await visit('')).toMatchObject({ atOnce: true, session: { authenticated: false } });
    expect(await visit('Fe26.2*1')).toMatchObject({ atOnce: true, session: { reason: 'invalid_session_cookie' } });
    expect(await visit(old.sealed)).toMatchObject({ atOnce: false, session: { authenticated: true, refreshed: true } });
  });
});

describe('the session on the request', () => {
  it('shows all that is known of who is signed in, and no more', async () => {
    const app = await serve(framework, {}, (each) => {
      each.get('/', (req, res) => res.end(JSON.stringify(getSession(req))));
    });
    const impersonator = { email: 'support@example.com', reason: 'a question' };
    const claims = { role: 'admin', roles: ['admin', 'author'], entitlements: ['audit'], feature_flags: ['beta'] };
    const { sealed } = await sealedSession(server, { organizationId: 'org_01', claims }, { impersonator });
    const known = await createSessionManager(workosOptions(server)).load(sealed).authenticate();
    expect(known).toMatchObject({ entitlements: ['audit'], featureFlags: ['beta'], impersonator });
    const { json } = await createBrowser(app.url).get('/', cookieHeader(sealed));
    expect(json).toEqual(
      JSON.parse(
        JSON.stringify({
          ...known,
          accessToken: undefined,
          via: 'cookie',
          deviceBound: false,
          refreshed: false,
          stale: false,
        }),
      ),
    );
  });

  it('keeps tokens out of JSON and out of what is logged', async () => {
    const { inspect } = await import('node:util');
    let shown = '';
    let accessToken = '';
    const app = await serve(framework, {}, (each) => {
      each.get('/', (req, res) => {
        const session = getSession(req);
        if (session.authenticated) accessToken = session.accessToken;
        shown = JSON.stringify(session) + inspect(session, { depth: 9, showHidden: true }) + inspect({ ...session });
        res.end();
      });
    });
    const { sealed, ...tokens } = await sealedSession(server);
    await createBrowser(app.url).get('/', cookieHeader(sealed));
    expect(accessToken).toBe(tokens.accessToken);
    expect(shown).toContain('user_01');
    expect(shown).not.toContain(tokens.accessToken);
    expect(shown).not.toContain(tokens.refreshToken);
  });

  it('has the claims of one request, which no other request can change', async () => {
    const app = await serve(framework, {}, (each) => {
      each.get('/', (req, res) => {
        const session = getSession(req) as Session & { user: { email: string } };
        let thrown = false;
        try {
          session.user.email = 'changed';
        } catch {
          thrown = true;
        }
        res.end(JSON.stringify({ thrown, email: session.user.email }));
      });
    });
    const { sealed } = await sealedSession(server);
    for (let time = 0; time < 2; time += 1) {
      const { json } = await createBrowser(app.url).get('/', cookieHeader(sealed));
      expect(json).toEqual({ thrown: true, email: expect.stringContaining('@') });
    }
  });

  it('keeps the data of the app, sealed beside the tokens, across a refresh', async () => {
    const app = await serve(framework, {}, (each) => {
      each.get('/set', async (req, res) => {
        const session = getSession(req);
        if (session.authenticated) {
          session.data.theme = 'dark';
          await session.save();
        }
        res.end();
      });
      each.get('/', (req, res) => {
        const session = getSession(req);
        res.end(JSON.stringify(session.authenticated ? session.data : null));
      });
    });
    const browser = createBrowser(app.url);
    const { sealed } = await sealedSession(server);
    browser.jar.set(app.url, `wos-session=${sealed}; Path=/`);
    await browser.get('/set');
    expect((await browser.get('/')).json).toEqual({ theme: 'dark' });
    clock.advance(400);
    const before = server.refreshCount;
    expect((await browser.get('/')).json).toEqual({ theme: 'dark' });
    expect(server.refreshCount).toBe(before + 1);
  });

  it('switches the organization, and stays signed in when that is refused', async () => {
    const results: unknown[] = [];
    const app = await serve(framework, {}, (each) => {
      each.get('/', async (req, res) => {
        const session = getSession(req);
        results.push(await session.refresh({ organizationId: 'org_02' }));
        res.end(JSON.stringify(session));
      });
    });
    const { sealed } = await sealedSession(server, { organizationId: 'org_01' });
    server.token.fail(answers.ssoRequired, 1);
    const refused = await createBrowser(app.url).get('/', cookieHeader(sealed));
    expect(refused.json).toMatchObject({ authenticated: true, organizationId: 'org_01' });
    expect(refused.setCookies).toEqual([]);
    clock.advance(10);
    const switched = await createBrowser(app.url).get('/', cookieHeader(sealed));
    expect(switched.json).toMatchObject({ authenticated: true, organizationId: 'org_02' });
    expect(switched.setCookies).toHaveLength(1);
    expect(results).toEqual([{ refreshed: false, reason: 'sso_required', retryable: false }, { refreshed: true }]);
  });

  it('says why it cannot be refreshed, to a visitor and to a session without a refresh token', async () => {
    const app = await serve(framework, {}, (each) => {
      each.get('/', async (req, res) => {
        res.end(JSON.stringify(await getSession(req).refresh()));
      });
    });
    const before = server.refreshCount;
    expect((await createBrowser(app.url).get('/')).json).toEqual({
      refreshed: false,
      reason: 'no_session_cookie_provided',
      retryable: false,
    });
    const { sealed } = await sealedSession(server, {}, { refreshToken: undefined });
    expect((await createBrowser(app.url).get('/', cookieHeader(sealed))).json).toEqual({
      refreshed: false,
      reason: 'invalid_session_cookie',
      retryable: false,
    });
    expect(server.refreshCount).toBe(before);
  });

  it('keeps the cookie of new tokens that cannot be verified yet, and says so', async () => {
    const app = await serve(framework, {}, (each) => {
      each.get('/', async (req, res) => {
        const result = await getSession(req).refresh();
        res.end(JSON.stringify({ ...toJson(getSession(req)), result }));
      });
    });
    const { sealed } = await sealedSession(server);
    await createBrowser(app.url).get('/', cookieHeader(sealed));
    const other = await sealedSession(server);
    // The key server does not know yet what the token endpoint signs with.
    const published = await (await fetch(`${server.url}/sso/jwks/${server.clientId}`)).json();
    await server.rotateKeys({ keepOld: true });
    server.keys.fail({ status: 200, body: published }, Infinity);
    clock.advance(2);
    const page = await createBrowser(app.url).get('/', cookieHeader(other.sealed));
    expect(page.json).toMatchObject({ authenticated: false, reason: 'keys_unavailable', retryable: true });
    expect(page.json.result).toEqual({ refreshed: false, reason: 'keys_unavailable', retryable: true });
    expect(sessionCookieOf(page.setCookies)).toMatch(/^Fe26/);
    server.keys.heal();
  });

  it('refuses to spend a token when the headers are already sent', async () => {
    let code: unknown;
    const app = await serve(framework, {}, (each) => {
      each.get('/', async (req, res) => {
        res.write('begun');
        await getSession(req)
          .refresh()
          .catch((error: unknown) => {
            code = (error as { code?: unknown }).code;
          });
        res.end();
      });
    });
    const { sealed } = await sealedSession(server);
    const before = server.refreshCount;
    await createBrowser(app.url).get('/', cookieHeader(sealed));
    expect(code).toBe('ERR_SESSION_HEADERS_SENT');
    expect(server.refreshCount).toBe(before);
  });

  it('signs out: the cookie is cleared, the URL names the session, the old cookie is dead', async () => {
    let url: string | undefined;
    const app = await serve(framework, {}, (each) => {
      each.get('/out', async (req, res) => {
        url = await getSession(req).signOut({ returnTo: 'https://app.example.com/' });
        res.end();
      });
      answerSession(each);
    });
    const { sealed, sessionId } = await sealedSession(server);
    const page = await createBrowser(app.url).get('/out', cookieHeader(sealed));
    expect(sessionCookieOf(page.setCookies)).toBe('');
    expect(url).toContain(`session_id=${sessionId}`);
    const after = await createBrowser(app.url).get('/', cookieHeader(sealed));
    expect(after.json).toMatchObject({ authenticated: false, reason: 'session_revoked' });
  });
});

describe('a wrong issuer', () => {
  it('is reported as one misconfiguration, and no token is spent on it', async () => {
    const told: SessionEvents['misconfigured'][] = [];
    const { workos } = await import('express-sealed-session');
    const provider = workos({
      clientId: server.clientId,
      apiKey: server.apiKey,
      baseUrl: server.url,
      issuer: 'https://x.example',
    });
    const app = await serve(framework, { provider, events: { misconfigured: (event) => told.push(event) } });
    const live = await sealedSession(server);
    const old = await sealedSession(server, expired);
    const before = server.refreshCount;
    for (const { sealed } of [live, live, old]) {
      const page = await createBrowser(app.url).get('/', cookieHeader(sealed));
      expect(page.json).toMatchObject({ authenticated: false, reason: 'invalid_jwt', retryable: false });
      expect(page.setCookies).toEqual([]);
    }
    expect(told).toHaveLength(1);
    expect(told[0]).toMatchObject({
      problem: 'issuer',
      option: 'provider.issuer',
      message: expect.stringContaining('provider.issuer'),
    });
    expect(server.refreshCount).toBe(before);
  });
});

describe('events', () => {
  it('cannot change the outcome, whether they throw or reject', async () => {
    const told: unknown[] = [];
    const app = await serve(framework, {
      events: {
        refreshed: (event) => {
          told.push(event);
          throw new Error('from a callback');
        },
        rejected: () => Promise.reject(new Error('from a callback')),
      },
    });
    const { sealed, sessionId } = await sealedSession(server, expired);
    const page = await createBrowser(app.url).get('/', cookieHeader(sealed));
    expect(page.json).toMatchObject({ authenticated: true });
    expect(told).toEqual([
      expect.objectContaining({ sessionId, source: 'leader', ahead: false, durationMs: expect.any(Number) }),
    ]);
    expect((await createBrowser(app.url).get('/', cookieHeader('garbage'))).status).toBe(200);
  });
});

describe('secure: false', () => {
  it('is for localhost only', async () => {
    const app = await serve(framework, { cookie: { secure: false }, events: { misconfigured: () => undefined } });
    expect((await createBrowser(app.url).get('/')).status).toBe(200);
    const { request } = await import('node:http');
    const status = await new Promise((resolve) => {
      request(app.url, { headers: { host: 'app.example.com' } }, (res) => {
        res.resume();
        resolve(res.statusCode);
      }).end();
    });
    expect(status).toBe(500);
  });
});
