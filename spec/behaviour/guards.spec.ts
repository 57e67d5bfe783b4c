import type { IncomingMessage } from 'node:http';
import { isDeepStrictEqual } from 'node:util';

import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import {
  getSession,
  type GuardOptions,
  isSessionError,
  type Middleware,
  requireSession,
  type Rule,
  SessionConfigError,
  SessionForbiddenError,
  type SessionOptions,
  SessionRequiredError,
  type Sessions,
  SessionUnavailableError,
  withSession,
} from 'express-sealed-session';
import { unsealData } from 'iron-session';
import request, { type Response } from 'supertest';

import { type App, type Framework, frameworks, type Handler, type Listening } from '../support/apps.js';
import { useClock } from '../support/clock.js';
import { answers, startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { expired, password, sealedSession, workosOptions } from '../support/workos-session.js';

let server: WorkosServer;
const clock = useClock();
const open: Pick<Listening, 'close'>[] = [];

beforeAll(async () => {
  server = await startWorkosServer();
});
afterEach(() => {
  server.token.heal();
});
afterAll(async () => {
  await Promise.all([server.close(), ...open.map((app) => app.close())]);
});

const html = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';
const navigation = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', accept: html };
const script = { 'sec-fetch-mode': 'cors', accept: '*/*' };
type Headers = Readonly<Record<string, string>>;

interface Guarded {
  /** How often the route behind the guard ran. */
  readonly served: () => number;
  /** What the guard handed to `next`, when that was an error. */
  readonly errors: unknown[];
  readonly get: (path?: string, headers?: Headers, method?: 'get' | 'post' | 'head') => Promise<Response>;
}

/** The two ways to a guard: with the sessions at hand, and for files that have only the request. */
type MakeGuard = (sessions: Sessions, rule?: Rule, options?: GuardOptions) => Middleware;

interface Setting {
  readonly framework: Framework;
  readonly guardOf: MakeGuard;
  readonly rule?: Rule;
  readonly options?: GuardOptions;
  /** Mounts the sessions, or something else in their place. */
  readonly mount?: (app: App, sessions: Sessions) => void;
  readonly sessions?: Partial<SessionOptions>;
}

const plainly: NonNullable<Setting['mount']> = (app, sessions) => {
  app.use(sessions);
};
const withRoutes: NonNullable<Setting['mount']> = (app, sessions) => {
  app.use(sessions);
  app.use(sessions.routes());
};

/** An app with one guarded route, and what came of it. */
async function serve({ framework, guardOf, rule, options, mount = plainly, ...setting }: Setting): Promise<Guarded> {
  let served = 0;
  const errors: unknown[] = [];
  const sessions = withSession(workosOptions(server, { baseUrl: 'https://app.example.com', ...setting.sessions }));
  const guard = guardOf(sessions, rule, options);
  const app = await framework.listen((each) => {
    mount(each, sessions);
    each.use((req, res, next) => {
      guard(req, res, (error) => {
        if (error !== undefined) errors.push(error);
        next(error);
      });
    });
    each.use((_req, res) => {
      served += 1;
      res.end('served');
    });
  });
  open.push(app);
  return {
    served: () => served,
    errors,
    get: async (path = '/account', headers = script, method = 'get') =>
      request(app.url)[method](path).set(headers).redirects(0),
  };
}

const cookie = (sealed: string): Headers => ({ cookie: `wos-session=${sealed}` });

const byRequest: MakeGuard = (_sessions, rule, options) => requireSession(rule, options);
const bySessions: MakeGuard = (sessions, rule, options) => sessions.require(rule, options);

describe.each([
  ...frameworks.map((framework) => ({ name: `requireSession on ${framework.name}`, framework, guardOf: byRequest })),
  { name: 'sessions.require on Express 5', framework: frameworks[0]!, guardOf: bySessions },
])('$name', ({ framework, guardOf }) => {
  const given = { framework, guardOf };
  let plain: Guarded;
  let withLogin: Guarded;
  beforeAll(async () => {
    plain = await serve(given);
    withLogin = await serve({ ...given, mount: withRoutes });
  });

  it('lets a signed-in visitor pass, once', async () => {
    const { sealed } = await sealedSession(server);
    for (const app of [plain, withLogin]) {
      const before = app.served();
      const response = await app.get('/account', { ...navigation, ...cookie(sealed) });
      expect([response.status, response.text, app.served() - before]).toEqual([200, 'served', 1]);
      expect(app.errors).toEqual([]);
    }
  });

  it('answers 401 to a visitor who is not signed in, with the reason on the error', async () => {
    const { sealed } = await sealedSession(server, { lifetimeSeconds: -30 });
    const withoutRefreshToken = await sealedSession(server, expired, { refreshToken: undefined });
    const before = plain.served();
    for (const [headers, reason] of [
      [{}, 'no_session_cookie_provided'],
      [cookie('garbage'), 'invalid_session_cookie'],
      [cookie(sealed.replace(/.~2$/, '~2')), 'invalid_session_cookie'],
      [cookie(withoutRefreshToken.sealed), 'expired_jwt'],
    ] as const) {
      plain.errors.length = 0;
      const response = await plain.get('/account', { ...script, ...headers });
      expect([reason, response.status, response.body]).toMatchObject([reason, 401, { error: 'ERR_SESSION_REQUIRED' }]);
      expect(plain.errors).toEqual([expect.any(SessionRequiredError)]);
      expect(plain.errors[0]).toMatchObject({ code: 'ERR_SESSION_REQUIRED', status: 401, expose: true, reason });
      expect(response.headers).toMatchObject({ 'cache-control': 'private, no-store', vary: 'Cookie' });
      expect(response.headers['set-cookie']).toBeUndefined();
    }
    expect(plain.served()).toBe(before);
  });

  describe('without a session', () => {
    it.each<[number, string, 'get' | 'head' | 'post', Headers]>([
      [302, 'a navigation', 'get', navigation],
      [302, 'a navigation that says nothing else', 'get', { 'sec-fetch-mode': 'navigate' }],
      [302, 'a navigation that asks for headers', 'head', navigation],
      [302, 'a browser that does not tell the mode', 'get', { accept: html }],
      [401, 'a script', 'get', script],
      [401, 'a script that accepts HTML', 'get', { 'sec-fetch-mode': 'cors', accept: html }],
      [401, 'a script of the same origin', 'get', { 'sec-fetch-mode': 'same-origin', accept: html }],
      [401, 'an image', 'get', { 'sec-fetch-mode': 'no-cors', accept: 'image/*' }],
      [401, 'a program that takes anything', 'get', { accept: '*/*' }],
      [401, 'a program that wants JSON', 'get', { accept: 'application/json' }],
      [401, 'a program that says nothing', 'get', {}],
      [401, 'a form', 'post', navigation],
    ])('answers %i to %s', async (status, _, method, headers) => {
      const before = withLogin.served();
      const response = await withLogin.get('/account?tab=a b&x=%2F', headers, method);
      expect([response.status, withLogin.served() - before]).toEqual([status, 0]);
      expect(response.headers.location).toBe(
        status === 302 ? `/login?returnTo=${encodeURIComponent('/account?tab=a%20b&x=%2F')}` : undefined,
      );
      expect(response.headers).toMatchObject({ 'cache-control': 'private, no-store', vary: 'Cookie' });
    });

    it('answers 401 to a navigation where the routes are not in use', async () => {
      const response = await plain.get('/account', navigation);
      expect([response.status, response.headers.location]).toEqual([401, undefined]);
    });

    it('sends a navigation to sign in from the moment that routes() is called', async () => {
      let sessions: Sessions | undefined;
      const mount = (app: App, made: Sessions) => {
        sessions = made;
        app.use(made);
      };
      const app = await serve({ ...given, mount });
      expect((await app.get('/account', navigation)).status).toBe(401);
      sessions?.routes();
      const response = await app.get('/account', navigation);
      expect([response.status, response.headers.location]).toEqual([302, '/login?returnTo=%2Faccount']);
    });

    it.each<[SessionOptions['routes'], number, string | undefined]>([
      [{ login: '/sign-in' }, 302, '/sign-in?returnTo=%2Faccount'],
      [{ login: true }, 302, '/login?returnTo=%2Faccount'],
      [{ login: false }, 401, undefined],
    ])('sends a navigation where the routes are %j: %i %s', async (routes, status, location) => {
      const app = await serve({ ...given, mount: withRoutes, sessions: { routes } });
      const response = await app.get('/account', navigation);
      expect([response.status, response.headers.location]).toEqual([status, location]);
    });

    it('answers 401 to a navigation with `redirect: false`', async () => {
      const app = await serve({ ...given, options: { redirect: false }, mount: withRoutes });
      const response = await app.get('/account', navigation);
      expect([response.status, response.headers.location]).toEqual([401, undefined]);
      expect(response.headers).toMatchObject({ 'cache-control': 'private, no-store', vary: 'Cookie' });
    });

    it.each([{ redirect: true }, { redirect: undefined }, {}])(
      'sends a navigation to sign in with %p',
      async (options) => {
        const app = await serve({ ...given, options, mount: withRoutes });
        expect((await app.get('/account', navigation)).status).toBe(302);
      },
    );

    it('leads to sign in, and back to the page', async () => {
      const { headers } = await withLogin.get('/account?tab=a%20b&x=1', navigation);
      const login = await withLogin.get(headers.location, navigation);
      expect([login.status, new URL(login.headers.location!).origin]).toEqual([303, server.url]);
      const [flow = ''] = login.get('Set-Cookie') ?? [];
      const sealed = flow.slice(flow.indexOf('=') + 1, flow.indexOf(';'));
      expect(await unsealData(sealed, { password })).toMatchObject({ returnTo: '/account?tab=a%20b&x=1' });
    });
  });

  describe('while the session cannot be checked', () => {
    const away: [string, Headers][] = [
      ['a navigation', navigation],
      ['a script', script],
    ];

    it.each(away)('answers 503 to %s with Retry-After, and never sends it to sign in', async (_, headers) => {
      const { sealed } = await sealedSession(server, expired);
      server.token.fail({ ...answers.unauthorized, headers: { 'Retry-After': '17' } });
      const before = withLogin.served();
      withLogin.errors.length = 0;
      const response = await withLogin.get('/account', { ...headers, ...cookie(sealed) });

      expect([response.status, response.headers['retry-after'], withLogin.served() - before]).toEqual([503, '17', 0]);
      expect(response.headers.location).toBeUndefined();
      expect(response.headers['set-cookie']).toBeUndefined();
      expect(response.headers).toMatchObject({ 'cache-control': 'private, no-store', vary: 'Cookie' });
      expect(withLogin.errors).toEqual([expect.any(SessionUnavailableError)]);
      expect(withLogin.errors[0]).toMatchObject({
        code: 'ERR_SESSION_UNAVAILABLE',
        status: 503,
        expose: false,
        reason: 'provider_misconfigured',
        retryAfterSeconds: 17,
        headers: { 'Retry-After': '17' },
      });
    });

    it('sets a Retry-After of 5 seconds when the provider names none', async () => {
      const { sealed } = await sealedSession(server, expired);
      server.token.fail(answers.unauthorized);
      const response = await plain.get('/account', { ...script, ...cookie(sealed) });
      expect([response.status, response.headers['retry-after']]).toEqual([503, '5']);
    });

    it('answers 503 also outside the rule, and lets the visitor in again afterwards', async () => {
      const rule = { permissions: 'billing:read' };
      const app = await serve({ ...given, rule, options: { redirect: false }, mount: withRoutes });
      const { sealed } = await sealedSession(server, { ...expired, claims: { permissions: ['billing:read'] } });
      server.token.fail(answers.unauthorized);
      expect((await app.get('/account', { ...navigation, ...cookie(sealed) })).status).toBe(503);
      server.token.heal();
      // After the pause of a session whose refresh has failed.
      clock.advance(2);
      expect((await app.get('/account', { ...navigation, ...cookie(sealed) })).status).toBe(200);
    });

    it('answers 503 while the keys cannot be had', async () => {
      const other = await startWorkosServer();
      open.push(other);
      const app = await serve({ ...given, sessions: workosOptions(other) });
      const { sealed } = await sealedSession(other);
      other.keys.fail(answers.unavailable);
      const response = await app.get('/account', { ...navigation, ...cookie(sealed) });
      expect([response.status, app.errors[0]]).toMatchObject([503, { reason: 'keys_unavailable' }]);
      expect(response.headers['retry-after']).toMatch(/^[1-9]\d*$/);
    });
  });

  describe('a rule', () => {
    const claims = {
      permissions: ['billing:read', 'billing:write'],
      role: 'owner',
      roles: ['member', 'auditor'],
      entitlements: ['audit-logs', 'sso'],
      feature_flags: ['beta', 'dark'],
    };
    const held = {
      permissions: ['billing:read', 'billing:write'],
      roles: ['member', 'auditor'],
      entitlements: ['audit-logs', 'sso'],
      featureFlags: ['beta', 'dark'],
    } as const;
    let signedIn: Headers;
    beforeAll(async () => {
      const { sealed } = await sealedSession(server, { organizationId: 'org_01', claims });
      signedIn = { ...navigation, ...cookie(sealed) };
    });

    const rules: [lacks: keyof Rule | 'nothing', Rule][] = [
      ['nothing', {}],
      ...(['permissions', 'roles', 'entitlements', 'featureFlags'] as const).flatMap(
        (name): [keyof Rule | 'nothing', Rule][] => {
          const [one, two] = held[name];
          return [
            ['nothing', { [name]: one }],
            ['nothing', { [name]: two }],
            [name, { [name]: 'other' }],
            ['nothing', { [name]: { all: [one] } }],
            ['nothing', { [name]: { all: [two, one] } }],
            [name, { [name]: { all: [one, 'other'] } }],
            [name, { [name]: { all: ['other', one, two] } }],
            ['nothing', { [name]: { any: [one] } }],
            ['nothing', { [name]: { any: ['other', two] } }],
            [name, { [name]: { any: ['other'] } }],
            [name, { [name]: { any: ['other', 'another'] } }],
            [name, { [name]: { all: ['other'] } }],
            [name, { [name]: one.slice(0, -1) }],
            [name, { [name]: one.toUpperCase() }],
            [name, { [name]: `${one},${two}` }],
            [name, { [name]: { any: [`${one} ${two}`, 'length', '0', 'constructor'] } }],
          ];
        },
      ),
      // A token with a list of roles has those alone.
      ['roles', { roles: 'owner' }],
      ['nothing', { organizationId: 'org_01' }],
      ['nothing', { organizationId: ['org_02', 'org_01'] }],
      ['organizationId', { organizationId: 'org_02' }],
      ['organizationId', { organizationId: ['org_02', 'org_0'] }],
      [
        'nothing',
        {
          permissions: 'billing:read',
          roles: { any: ['admin', 'auditor'] },
          entitlements: { all: ['sso', 'audit-logs'] },
          featureFlags: 'beta',
          organizationId: 'org_01',
        },
      ],
      ['roles', { permissions: 'billing:read', roles: 'admin', organizationId: 'org_01' }],
      ['organizationId', { permissions: 'billing:read', roles: 'auditor', organizationId: 'org_02' }],
      ['permissions', { permissions: 'users:read', roles: 'auditor', organizationId: 'org_01' }],
      ['permissions', { permissions: { any: ['users:read'] }, roles: { all: ['admin'] } }],
    ];

    it.each(rules)('finds that the session lacks %s: %j', async (lacks, rule) => {
      const app = await serve({ ...given, rule, mount: withRoutes });
      const response = await app.get('/account', signedIn);
      expect([response.status, app.served()]).toEqual(lacks === 'nothing' ? [200, 1] : [403, 0]);
      // Signing in once more would not help, so no visitor is sent there.
      expect(response.headers.location).toBeUndefined();
      if (lacks === 'nothing') {
        expect(app.errors).toEqual([]);
      } else {
        expect(app.errors).toEqual([expect.any(SessionForbiddenError)]);
        expect(app.errors[0]).toMatchObject({
          name: 'SessionForbiddenError',
          code: 'ERR_SESSION_FORBIDDEN',
          status: 403,
          expose: true,
          demand: lacks,
        });
      }
    });

    it.each<[string, object, Rule]>([
      ['no claims', {}, { permissions: 'billing:read' }],
      ['no claims', {}, { roles: 'member' }],
      ['no claims', {}, { organizationId: 'org_01' }],
      ['a permission that is a string', { permissions: 'billing:read' }, { permissions: 'billing:read' }],
      ['permissions in an object', { permissions: { 'billing:read': true } }, { permissions: 'billing:read' }],
      ['permissions that are no strings', { permissions: [['billing:read']] }, { permissions: 'billing:read' }],
      ['an organization that is a list', { org_id: ['org_01'] }, { organizationId: 'org_01' }],
      ['a role among its letters', { role: 'administrator' }, { roles: 'admin' }],
    ])('is not met by a token with %s: %j', async (_, has, rule) => {
      const { sealed } = await sealedSession(server, { claims: { ...has } });
      const app = await serve({ ...given, rule });
      const response = await app.get('/account', { ...navigation, ...cookie(sealed) });
      expect([response.status, app.served()]).toEqual([403, 0]);
    });

    it('takes the one role of a token that has no list', async () => {
      const { sealed } = await sealedSession(server, { claims: { role: 'admin' } });
      const app = await serve({ ...given, rule: { roles: { any: ['admin', 'owner'] } } });
      expect((await app.get('/account', { ...script, ...cookie(sealed) })).status).toBe(200);
    });

    it('answers 401, not 403, to a visitor who is not signed in', async () => {
      const app = await serve({ ...given, rule: { permissions: 'billing:read' } });
      expect((await app.get()).status).toBe(401);
    });

    it('is read once: later changes to the objects have no effect', async () => {
      const all = ['users:read'];
      const any = ['admin'];
      const organizationId = ['org_01'];
      const rule = { permissions: { all }, roles: { any }, organizationId };
      const options = { redirect: false };
      const app = await serve({ ...given, rule, options, mount: withRoutes });
      const demandOf = () => (app.errors.at(-1) as SessionForbiddenError).demand;
      all.splice(0, 1, 'billing:read');
      any.splice(0, 1, 'member');
      organizationId.push('org_02');
      expect([(await app.get('/account', signedIn)).status, demandOf()]).toEqual([403, 'permissions']);
      Object.assign(rule, { permissions: 'billing:read', roles: 'member' });
      Object.assign(options, { redirect: true });
      expect([(await app.get('/account', signedIn)).status, demandOf()]).toEqual([403, 'permissions']);
      expect((await app.get('/account', navigation)).status).toBe(401);
    });
  });

  describe('without withSession before it', () => {
    it.each<[string, Handler]>([
      [
        'nothing at all',
        (_req, _res, next) => {
          next();
        },
      ],
      [
        'a session that looks the part',
        (req, _res, next) => {
          const session = { authenticated: true, user: { id: 'user_01' }, permissions: [], roles: [] };
          Object.assign(req, { session });
          next();
        },
      ],
    ])('says what is missing, and lets no visitor in: %s', async (_, middleware) => {
      const app = await serve({
        ...given,
        mount: (each) => {
          each.use(middleware);
        },
      });
      const response = await app.get('/account', navigation);
      expect([response.status, response.body, app.served()]).toMatchObject([
        500,
        { error: 'ERR_SESSION_MIDDLEWARE_MISSING' },
        0,
      ]);
      expect(app.errors).toEqual([expect.any(SessionConfigError)]);
      expect((app.errors[0] as Error).message).toContain(
        guardOf === bySessions ? 'app.use(sessions)' : 'withSession(options)',
      );
    });
  });
});

describe.each(frameworks)('on $name', (framework) => {
  it.each<[string, (sessions: Sessions) => unknown]>([
    ['requireSession', () => requireSession],
    ['sessions.require', (sessions) => Reflect.get(sessions, 'require')],
    ['sessions.routes', (sessions) => Reflect.get(sessions, 'routes')],
  ])('app.use(%s), without a call, says what to write, and lets no visitor in', async (name, handlerOf) => {
    let served = 0;
    const app = await framework.listen((each) => {
      const sessions = withSession(workosOptions(server, { baseUrl: 'https://app.example.com' }));
      each.use(sessions);
      each.use(handlerOf(sessions) as Handler);
      each.use((_req, res) => {
        served += 1;
        res.end();
      });
    });
    open.push(app);
    const { sealed } = await sealedSession(server);
    const response = await request(app.url).get('/').set(cookie(sealed));
    expect([response.status, response.body, served]).toMatchObject([500, { error: 'ERR_SESSION_CONFIG' }, 0]);
    const { message } = response.body as { message: string };
    expect(message).toContain(`app.use(${name}()), not app.use(${name}).`);
    expect(message).not.toContain('\n');
  });

  it('guards in the middleware itself with `required`', async () => {
    const rules: [SessionOptions['required'], number, number][] = [
      [false, 200, 200],
      [true, 401, 200],
      [{}, 401, 200],
      [{ roles: 'member' }, 401, 200],
      [{ roles: 'admin' }, 401, 403],
    ];
    const { sealed } = await sealedSession(server, { organizationId: 'org_01' });
    for (const [required, anonymous, signedIn] of rules) {
      let served = 0;
      const app = await framework.listen((each) => {
        each.use(withSession(workosOptions(server, { required })));
        each.get('/', (_req, res) => {
          served += 1;
          res.end();
        });
      });
      open.push(app);
      const statuses = [
        (await request(app.url).get('/')).status,
        (await request(app.url).get('/').set(cookie(sealed))).status,
      ];
      expect([required, ...statuses]).toEqual([required, anonymous, signedIn]);
      expect(served).toBe(statuses.filter((status) => status === 200).length);
    }
  });
});

describe('a navigation to a route behind two withSession', () => {
  /** An app whose sessions have routes, and a second `withSession` with the same options as the guard of one page. */
  async function serveBoth(guardOf: (options: SessionOptions) => Handler[]) {
    const options = workosOptions(server, { baseUrl: 'https://app.example.com' });
    const sessions = withSession(options);
    const app = await frameworks[0]!.listen((each) => {
      each.use(sessions);
      each.use(sessions.routes());
      each.get('/account', ...guardOf(options), (_req, res) => res.end());
    });
    open.push(app);
    return request(app.url).get('/account').set(navigation).redirects(0);
  }

  it.each<[string, (options: SessionOptions) => Handler[]]>([
    ['`required`', (options) => [withSession({ ...options, required: true })]],
    ['requireSession', (options) => [withSession(options), requireSession()]],
    [
      'sessions.require of the second',
      (options) => {
        const second = withSession(options);
        return [second, second.require()];
      },
    ],
  ])('is sent to the sign-in of the first by %s', async (_, guardOf) => {
    const response = await serveBoth(guardOf);
    expect([response.status, response.headers.location]).toEqual([302, '/login?returnTo=%2Faccount']);
  });

  it('reaches the sign-in, also when the middleware before it is the guard of the whole app', async () => {
    const sessions = withSession(workosOptions(server, { baseUrl: 'https://app.example.com', required: true }));
    const app = await frameworks[0]!.listen((each) => {
      each.use(sessions);
      each.use(sessions.routes());
    });
    open.push(app);
    const login = await request(app.url).get('/login?returnTo=%2Faccount').set(navigation).redirects(0);
    expect([login.status, login.headers.location]).toEqual([
      303,
      expect.stringContaining('/user_management/authorize'),
    ]);
    const other = await request(app.url).get('/account').set(navigation).redirects(0);
    expect([other.status, other.headers.location]).toEqual([302, '/login?returnTo=%2Faccount']);
  });

  it('is answered 401 where a guard stands before the sign-in itself: a redirect would go in a circle', async () => {
    const sessions = withSession(workosOptions(server, { baseUrl: 'https://app.example.com' }));
    const app = await frameworks[0]!.listen((each) => {
      each.use(sessions);
      each.use(sessions.require());
      each.use(sessions.routes());
    });
    open.push(app);
    const page = await request(app.url).get('/login?returnTo=%2Faccount').set(navigation).redirects(0);
    expect([page.status, page.headers.location]).toEqual([401, undefined]);
  });
});

describe('a rule that cannot be one', () => {
  const problemPaths = (error: unknown) => {
    expect(error).toBeInstanceOf(SessionConfigError);
    return (error as SessionConfigError).problems.map(({ path }) => path).sort();
  };
  const thrownBy = (make: () => unknown): unknown => {
    try {
      make();
    } catch (error) {
      return error;
    }
    return undefined;
  };

  const badValues = ['', [], [''], ['a', 1], 1, true, null, undefined, {}, new Set(['a']), () => true];
  const badLists = ['', 'a', [], [''], ['a', 1], ['a', undefined], new Array(2), null, undefined, { a: true }];
  const badDemands = [
    ...badValues,
    // A bare list says neither "all" nor "any".
    ...[['a'], ['a', 'b'], { all: ['a'], any: ['b'] }, { all: ['a'], some: ['b'] }, { some: ['a'] }, { ALL: ['a'] }],
    ...badLists.flatMap((list) => [{ all: list }, { any: list }]),
    Object.create({ all: ['a'] }),
  ];

  const rules: [paths: string[], rule: unknown][] = [
    [['rule'], null],
    [['rule'], true],
    [['rule'], 'admin'],
    [['rule'], ['admin']],
    [['rule'], () => true],
    [['rule.permission'], { permission: 'a' }],
    [['rule.role'], { role: 'a' }],
    [['rule.all'], { all: ['a'] }],
    [['rule.anyOf', 'rule.roles'], { roles: [], anyOf: true }],
    ...['permissions', 'roles', 'entitlements', 'featureFlags'].flatMap((name) =>
      badDemands.map((value): [string[], unknown] => [[`rule.${name}`], { [name]: value }]),
    ),
    // A function may find it in the request.
    ...[...badValues.filter((value) => typeof value !== 'function'), { any: ['org_01'] }, { all: ['org_01'] }].map(
      (value): [string[], unknown] => [['rule.organizationId'], { organizationId: value }],
    ),
    ...[{}, [], 'email_verified', true, null, undefined, new Map([['a', 1]]), Object.create({ a: 'a' })].map(
      (claims): [string[], unknown] => [['rule.claims'], { claims }],
    ),
    ...[['a'], {}, { all: [] }, { any: [{}] }, { all: ['a'], any: ['b'] }, undefined, NaN, { a: 1 }, () => 'a'].map(
      (value): [string[], unknown] => [['rule.claims'], { claims: { tier: value } }],
    ),
    ...['Cookie', '', [], null, undefined, true, ['cookie', 'x'], new Array(1)].map((via): [string[], unknown] => [
      ['rule.via'],
      { via },
    ]),
    // What only says that nothing is demanded.
    ...['impersonated', 'stale'].flatMap((name) =>
      [true, null, undefined, 'no', 0].map((value): [string[], unknown] => [[`rule.${name}`], { [name]: value }]),
    ),
    ...[false, null, undefined, 'yes', 1].map((each): [string[], unknown] => [
      ['rule.deviceBound'],
      { deviceBound: each },
    ]),
    ...[true, null, undefined, 'isAdmin', {}].map((check): [string[], unknown] => [['rule.check'], { check }]),
    // Several of which one must hold.
    ...[[], undefined, null, 'admin', {}, { roles: 'admin' }].map((any): [string[], unknown] => [
      ['rule.any'],
      { any },
    ]),
    [['rule.any[1]'], { any: [{ roles: 'admin' }, {}] }],
    [['rule.any[0]', 'rule.any[1].roles'], { any: [null, { roles: ['a', 'b'] }] }],
    [['rule.any[0].any'], { any: [{ any: [{ roles: 'admin' }] }] }],
    [['rule'], { any: [{ roles: 'admin' }], permissions: 'a' }],
    [['rule.any'], Object.create({ any: [{ roles: 'admin' }] })],
    [['rule.any[0].roles'], { any: [Object.create({ roles: 'admin' })] }],
    // How a guard answers is no part of its rule.
    [['rule.redirect'], { redirect: false }],
    [['rule.permissions', 'rule.redirect', 'rule.roles'], { permissions: [], roles: '', redirect: true }],
    [['rule.permissions', 'rule.roles'], { permissions: undefined, roles: undefined }],
    // An inherited demand would be one that no reader sees, or one that is never asked.
    [['rule.permissions'], Object.create({ permissions: 'a' })],
    [['rule.roles'], Object.create({ roles: [] })],
  ];

  it.each(rules)('is refused while the app starts: %j %j', async (paths, rule) => {
    const sessions = withSession(workosOptions(server));
    expect(problemPaths(thrownBy(() => requireSession(rule as Rule)))).toEqual(paths);
    expect(problemPaths(thrownBy(() => sessions.require(rule as Rule)))).toEqual(paths);
  });

  it('says what the three forms of a demand are', () => {
    const error = thrownBy(() => requireSession({ roles: ['admin', 'owner'] as never })) as Error;
    expect(error.message).toMatch(/"rule\.roles" must be one value, \{ all: \[...\] \} or \{ any: \[...\] \}/);
    expect(error.message).not.toContain('admin');
  });

  it.each<[string[], unknown]>([
    [['options'], null],
    [['options'], false],
    [['options.redirect'], { redirect: 'no' }],
    [['options.redirect'], { redirect: null }],
    [['options.redirct'], { redirct: false }],
    [['options.redirect'], Object.create({ redirect: false })],
  ])('is refused like guard options that cannot be ones: %j %j', (paths, options) => {
    const sessions = withSession(workosOptions(server));
    expect(problemPaths(thrownBy(() => requireSession({}, options as GuardOptions)))).toEqual(paths);
    expect(problemPaths(thrownBy(() => sessions.require({}, options as GuardOptions)))).toEqual(paths);
  });

  it('does not compile', () => {
    const { env }: { env: { ROLE?: string } } = { env: {} };
    // @ts-expect-error -- a misspelt variable is `undefined`, and would be no demand at all
    expect(() => requireSession({ roles: env.ROLE })).toThrow(SessionConfigError);
    // @ts-expect-error -- a bare list does not say which of the two it means
    expect(() => requireSession({ roles: ['admin', 'owner'] })).toThrow(SessionConfigError);
    // @ts-expect-error -- how to answer is the second argument
    expect(() => requireSession({ redirect: false })).toThrow(SessionConfigError);
  });
});

describe('the sessions, asked in a handler', () => {
  interface Asked {
    /** What the handler was given, or what it threw. */
    readonly value: unknown;
    readonly error: unknown;
    /** Whether asking has left the response as it was. */
    readonly untouched: boolean;
  }

  /** Asks in a handler, for a navigation with these headers. */
  async function ask(
    question: (sessions: Sessions, req: IncomingMessage) => unknown,
    headers: Headers = {},
    options: Partial<SessionOptions> = {},
  ): Promise<Asked> {
    const sessions = withSession(workosOptions(server, { baseUrl: 'https://app.example.com', ...options }));
    let asked: Asked | undefined;
    const app = await frameworks[0]!.listen((each) => {
      each.use(sessions);
      each.use(sessions.routes());
      each.get('/account', async (req, res) => {
        const look = () => [res.statusCode, res.getHeaders(), res.headersSent, res.writableEnded];
        const before = look();
        const answer: { value?: unknown; error?: unknown } = {};
        try {
          answer.value = await question(sessions, req);
        } catch (error) {
          answer.error = error;
        }
        asked = { value: undefined, error: undefined, ...answer, untouched: isDeepStrictEqual(look(), before) };
        res.end();
      });
    });
    open.push(app);
    await request(app.url)
      .get('/account')
      .set({ ...navigation, ...headers });
    return asked!;
  }

  const questions: [string, (sessions: Sessions, req: IncomingMessage) => unknown][] = [
    ['signedIn', (sessions, req) => sessions.signedIn(req)],
    ['authorize', (sessions, req) => sessions.authorize(req)],
  ];

  describe.each(questions)('sessions.%s', (_, question) => {
    it('gives the session of a visitor who is signed in', async () => {
      const { sealed } = await sealedSession(server);
      const same = async (sessions: Sessions, req: IncomingMessage) => [
        (await question(sessions, req)) === sessions.get(req),
        sessions.signedIn(req).user.id,
      ];
      expect(await ask(same, cookie(sealed))).toEqual({ value: [true, 'user_01'], error: undefined, untouched: true });
    });

    it("fails with the guard's error for a visitor who is not signed in, and writes nothing", async () => {
      for (const [headers, reason] of [
        [{}, 'no_session_cookie_provided'],
        [cookie('garbage'), 'invalid_session_cookie'],
      ] as const) {
        const { error, untouched } = await ask(question, headers);
        expect(error).toBeInstanceOf(SessionRequiredError);
        expect([error, untouched]).toMatchObject([{ code: 'ERR_SESSION_REQUIRED', status: 401, reason }, true]);
        expect(isSessionError(error)).toBe(true);
      }
    });

    it("fails with the guard's error while the session cannot be checked, and writes nothing", async () => {
      const { sealed } = await sealedSession(server, expired);
      server.token.fail({ ...answers.unauthorized, headers: { 'Retry-After': '17' } });
      const { error, untouched } = await ask(question, cookie(sealed));
      expect(error).toBeInstanceOf(SessionUnavailableError);
      expect([error, untouched]).toMatchObject([
        { status: 503, reason: 'provider_misconfigured', retryAfterSeconds: 17, headers: { 'Retry-After': '17' } },
        true,
      ]);
    });

    it('fails where these sessions are not mounted', async () => {
      const other = withSession(workosOptions(server));
      const { sealed } = await sealedSession(server);
      const { error } = await ask((_sessions, req) => question(other, req), cookie(sealed));
      expect(error).toMatchObject({ code: 'ERR_SESSION_MIDDLEWARE_MISSING', status: 500 });
    });
  });

  it('sessions.authorize resolves within the rule and rejects outside it, and writes nothing', async () => {
    const { sealed } = await sealedSession(server, { claims: { permissions: ['a', 'b'] } });
    const rules: [Rule, demand?: string][] = [
      [{}],
      [{ permissions: 'a' }],
      [{ permissions: { all: ['a', 'b'] } }],
      [{ permissions: { any: ['c', 'b'] } }],
      [{ permissions: { all: ['a', 'c'] } }, 'permissions'],
      [{ permissions: 'a', roles: 'admin' }, 'roles'],
      [{ organizationId: ['org_01'] }, 'organizationId'],
    ];
    for (const [rule, demand] of rules) {
      const { value, error, untouched } = await ask((sessions, req) => sessions.authorize(req, rule), cookie(sealed));
      expect([rule, untouched]).toEqual([rule, true]);
      if (demand === undefined) expect([value, error]).toMatchObject([{ user: { id: 'user_01' } }, undefined]);
      else expect(error).toMatchObject({ code: 'ERR_SESSION_FORBIDDEN', status: 403, demand });
    }
  });

  it('sessions.authorize answers 401, not 403, and 503 also outside the rule', async () => {
    const question = (sessions: Sessions, req: IncomingMessage) => sessions.authorize(req, { roles: 'admin' });
    expect((await ask(question)).error).toMatchObject({ status: 401 });
    const { sealed } = await sealedSession(server, expired);
    server.token.fail(answers.unauthorized);
    expect((await ask(question, cookie(sealed))).error).toMatchObject({ status: 503 });
  });

  it.each([null, [], 'admin', { role: 'admin' }, { roles: ['admin'] }, { roles: undefined }])(
    'sessions.authorize rejects, and never throws, for a rule that cannot be one: %p',
    async (rule) => {
      const { sealed } = await sealedSession(server);
      const question = (sessions: Sessions, req: IncomingMessage) => {
        const promise = sessions.authorize(req, rule as never);
        return promise.then(
          () => 'resolved',
          (error: unknown) => error,
        );
      };
      expect((await ask(question, cookie(sealed))).value).toMatchObject({ code: 'ERR_SESSION_CONFIG' });
    },
  );
});

describe('two withSession on one request', () => {
  const admin = { property: 'admin', cookie: { name: 'admin-session' } };

  /** Runs `handler` behind these middlewares. */
  async function run(middlewares: readonly Handler[], handler: Handler, cookies = ''): Promise<Response> {
    const app = await frameworks[0]!.listen((each) => {
      for (const middleware of middlewares) each.use(middleware);
      each.get('/', handler);
    });
    open.push(app);
    return request(app.url).get('/').set('Cookie', cookies);
  }

  describe('under one property', () => {
    it('sessions.get gives each its own session, whatever came later', async () => {
      const { sealed } = await sealedSession(server);
      const [first, second] = [withSession(workosOptions(server)), withSession(workosOptions(server))];
      for (const middlewares of [
        [first, second],
        [first, second, first],
      ]) {
        const seen: unknown[] = [];
        await run(
          middlewares,
          (req, res) => {
            const [one, other] = [first.get(req), second.get(req)];
            seen.push(one === other, one.user?.id, other.user?.id, getSession(req) === other);
            seen.push(first.signedIn(req) === one, second.signedIn(req) === other);
            res.end();
          },
          `wos-session=${sealed}`,
        );
        expect(seen).toEqual([false, 'user_01', 'user_01', true, true, true]);
      }
    });

    it('sessions.require asks its own, and requireSession the one on the request', async () => {
      const { sealed } = await sealedSession(server, { claims: { roles: ['member'] } });
      const [first, second] = [withSession(workosOptions(server)), withSession(workosOptions(server))];
      const statuses: number[] = [];
      for (const guard of [first.require(), second.require({ roles: 'member' }), requireSession({ roles: 'admin' })]) {
        const page = await run([first, second, guard], (_req, res) => res.end(), `wos-session=${sealed}`);
        statuses.push(page.status);
      }
      expect(statuses).toEqual([200, 200, 403]);
    });

    it('sessions.get throws for sessions that are not mounted', async () => {
      const [mounted, other] = [withSession(workosOptions(server)), withSession(workosOptions(server))];
      for (const middlewares of [[], [mounted]]) {
        const page = await run(middlewares, (req, res) => res.end(String(other.get(req).authenticated)));
        expect([page.status, page.body]).toMatchObject([
          500,
          { error: 'ERR_SESSION_MIDDLEWARE_MISSING', message: expect.stringContaining('app.use(sessions)') },
        ]);
      }
    });
  });

  describe('under two properties', () => {
    it('sessions.get and sessions.require ask each its own: a visitor of one is not one of the other', async () => {
      const { sealed } = await sealedSession(server);
      const [users, admins] = [withSession(workosOptions(server)), withSession(workosOptions(server, admin))];
      const rows: [string, boolean, boolean][] = [
        [`wos-session=${sealed}`, true, false],
        [`admin-session=${sealed}`, false, true],
        [`wos-session=${sealed}; admin-session=${sealed}`, true, true],
        ['', false, false],
      ];
      for (const [cookies, isUser, isAdmin] of rows) {
        const seen: unknown[] = [];
        const look: Handler = (req, res) => {
          seen.push(users.get(req).authenticated, admins.get(req).authenticated);
          res.end();
        };
        await run([users, admins], look, cookies);
        expect([cookies, seen]).toEqual([cookies, [isUser, isAdmin]]);
        for (const [guard, passes] of [
          [users.require(), isUser],
          [admins.require(), isAdmin],
        ] as const) {
          expect((await run([users, admins, guard], look, cookies)).status).toBe(passes ? 200 : 401);
        }
      }
    });

    it('getSession and requireSession throw, and name the calls that ask one of the two', async () => {
      const { sealed } = await sealedSession(server);
      const [users, admins] = [withSession(workosOptions(server)), withSession(workosOptions(server, admin))];
      let served = 0;
      const serveOne: Handler = (_req, res) => {
        served += 1;
        res.end();
      };
      for (const cookies of ['', `wos-session=${sealed}`, `wos-session=${sealed}; admin-session=${sealed}`]) {
        for (const page of [
          await run([users, admins, requireSession()], serveOne, cookies),
          await run(
            [
              users,
              admins,
              (req, _res, next) => {
                getSession(req);
                next();
              },
            ],
            serveOne,
            cookies,
          ),
        ]) {
          expect([page.status, page.body]).toMatchObject([
            500,
            {
              error: 'ERR_SESSION_MIDDLEWARE_MISSING',
              message: expect.stringMatching(/two sessions.*sessions\.get\(req\)/),
            },
          ]);
        }
      }
      expect(served).toBe(0);
    });

    it('getSession and requireSession ask the only session on a request', async () => {
      const { sealed } = await sealedSession(server);
      for (const options of [{}, admin]) {
        const sessions = withSession(workosOptions(server, options));
        const seen: boolean[] = [];
        const look: Handler = (req, res) => {
          seen.push(getSession(req) === sessions.get(req));
          res.end();
        };
        const page = await run([sessions, requireSession()], look, `wos-session=${sealed}; admin-session=${sealed}`);
        expect([page.status, seen]).toEqual([200, [true]]);
      }
    });
  });
});
