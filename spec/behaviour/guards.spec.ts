import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import {
  requireSession,
  type Rule,
  SessionConfigError,
  SessionForbiddenError,
  type SessionOptions,
  SessionRequiredError,
  sessionRoutes,
  SessionUnavailableError,
  withSession,
} from 'express-sealed-session';
import { unsealData } from 'iron-session';
import request, { type Response } from 'supertest';

import { type App, type Framework, frameworks, type Handler, type Listening } from '../support/apps.js';
import { answers, startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { expired, password, sealedSession, workosOptions } from '../support/workos-session.js';

let server: WorkosServer;
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

/** An app with one guarded route, and what came of it. */
async function serve(
  framework: Framework,
  rule?: Rule,
  before: (app: App) => void = (app) => {
    app.use(withSession(workosOptions(server)));
  },
): Promise<Guarded> {
  let served = 0;
  const errors: unknown[] = [];
  const guard = requireSession(rule);
  const app = await framework.listen((each) => {
    before(each);
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

const withRoutes = (app: App) => {
  const options = workosOptions(server, { baseUrl: 'https://app.example.com' });
  app.use(withSession(options));
  app.use(sessionRoutes(options));
};

const cookie = (sealed: string): Headers => ({ cookie: `wos-session=${sealed}` });

describe.each(frameworks)('requireSession on $name', (framework) => {
  let plain: Guarded;
  let withLogin: Guarded;
  beforeAll(async () => {
    plain = await serve(framework);
    withLogin = await serve(framework, undefined, withRoutes);
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

  it('answers 401 to everyone else', async () => {
    const { sealed } = await sealedSession(server, { lifetimeSeconds: -30 });
    const unrenewable = await sealedSession(server, expired, { refreshToken: undefined });
    const before = plain.served();
    for (const [headers, reason] of [
      [{}, 'no_session_cookie_provided'],
      [cookie('garbage'), 'invalid_session_cookie'],
      [cookie(sealed.replace(/.~2$/, '~2')), 'invalid_session_cookie'],
      [cookie(unrenewable.sealed), 'expired_jwt'],
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

    it('answers 401 to a navigation where there is nowhere to sign in', async () => {
      const response = await plain.get('/account', navigation);
      expect([response.status, response.headers.location]).toEqual([401, undefined]);
    });

    it('answers 401 to a navigation with `redirect: false`', async () => {
      const app = await serve(framework, { redirect: false }, withRoutes);
      const response = await app.get('/account', navigation);
      expect([response.status, response.headers.location]).toEqual([401, undefined]);
    });

    it('leads to sign in, and back to the page', async () => {
      const { headers } = await withLogin.get('/account?tab=a%20b&x=1', navigation);
      const login = await withLogin.get(headers.location, navigation);
      expect([login.status, new URL(login.headers.location!).origin]).toEqual([303, server.url]);
      const [flow = ''] = login.get('Set-Cookie') ?? [];
      const sealed = flow.slice(flow.indexOf('=') + 1, flow.indexOf(';'));
      expect(await unsealData(sealed, { password })).toMatchObject({ returnTo: '/account?tab=a%20b&x=1' });
    });
  });

  describe('while it cannot be known who is there', () => {
    const away: [string, Headers][] = [
      ['a navigation', navigation],
      ['a script', script],
    ];

    it.each(away)('answers 503 to %s, and when to come back; never a sign-in', async (_, headers) => {
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

    it('names a time of its own when the provider names none', async () => {
      const { sealed } = await sealedSession(server, expired);
      server.token.fail(answers.unauthorized);
      const response = await plain.get('/account', { ...script, ...cookie(sealed) });
      expect([response.status, response.headers['retry-after']]).toEqual([503, '5']);
    });

    it('answers 503 also outside the rule, and lets the visitor in again afterwards', async () => {
      const app = await serve(framework, { permissions: 'billing:read', redirect: false }, withRoutes);
      const { sealed } = await sealedSession(server, { ...expired, claims: { permissions: ['billing:read'] } });
      server.token.fail(answers.unauthorized);
      expect((await app.get('/account', { ...navigation, ...cookie(sealed) })).status).toBe(503);
      server.token.heal();
      expect((await app.get('/account', { ...navigation, ...cookie(sealed) })).status).toBe(200);
    });

    it('answers 503 while the keys cannot be had', async () => {
      const other = await startWorkosServer();
      open.push(other);
      const app = await serve(framework, undefined, (each) => {
        each.use(withSession(workosOptions(other)));
      });
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
      role: 'member',
      roles: ['member', 'auditor'],
      entitlements: ['audit-logs', 'sso'],
      feature_flags: ['beta', 'dark'],
    };
    let signedIn: Headers;
    beforeAll(async () => {
      const { sealed } = await sealedSession(server, { organizationId: 'org_01', claims });
      signedIn = { ...navigation, ...cookie(sealed) };
    });

    const rules: [string | undefined, Rule][] = [
      [undefined, {}],
      [undefined, { permissions: 'billing:read' }],
      [undefined, { permissions: ['billing:write', 'billing:read'] }],
      ['permissions', { permissions: 'users:read' }],
      ['permissions', { permissions: ['billing:read', 'users:read'] }],
      ['permissions', { permissions: 'billing' }],
      ['permissions', { permissions: 'Billing:Read' }],
      ['permissions', { permissions: 'billing:read,billing:write' }],
      ['permissions', { permissions: 'length' }],
      [undefined, { roles: 'member' }],
      [undefined, { roles: ['admin', 'auditor'] }],
      ['roles', { roles: 'admin' }],
      ['roles', { roles: ['admin', 'owner'] }],
      ['roles', { roles: 'mem' }],
      [undefined, { entitlements: ['sso', 'audit-logs'] }],
      ['entitlements', { entitlements: ['sso', 'scim'] }],
      [undefined, { featureFlags: ['dark', 'beta'] }],
      ['featureFlags', { featureFlags: ['dark', 'gamma'] }],
      [undefined, { organizationId: 'org_01' }],
      [undefined, { organizationId: ['org_02', 'org_01'] }],
      ['organizationId', { organizationId: 'org_02' }],
      ['organizationId', { organizationId: ['org_02', 'org_0'] }],
      [
        undefined,
        {
          permissions: 'billing:read',
          roles: 'auditor',
          entitlements: 'sso',
          featureFlags: 'beta',
          organizationId: 'org_01',
        },
      ],
      ['roles', { permissions: 'billing:read', roles: 'admin', organizationId: 'org_01' }],
      ['organizationId', { permissions: 'billing:read', roles: 'auditor', organizationId: 'org_02' }],
      ['permissions', { permissions: 'users:read', roles: 'auditor', organizationId: 'org_01' }],
    ];

    it.each(rules)('has %s missing: %j', async (missing, rule) => {
      const app = await serve(framework, rule, withRoutes);
      const response = await app.get('/account', signedIn);
      expect([response.status, app.served()]).toEqual(missing === undefined ? [200, 1] : [403, 0]);
      // Signing in once more would not help, so nobody is sent there.
      expect(response.headers.location).toBeUndefined();
      if (missing === undefined) {
        expect(app.errors).toEqual([]);
      } else {
        expect(app.errors).toEqual([expect.any(SessionForbiddenError)]);
        expect(app.errors[0]).toMatchObject({ code: 'ERR_SESSION_FORBIDDEN', status: 403, expose: true, missing });
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
      const app = await serve(framework, rule);
      const response = await app.get('/account', { ...navigation, ...cookie(sealed) });
      expect([response.status, app.served()]).toEqual([403, 0]);
    });

    it('takes the one role of a token that has no list', async () => {
      const { sealed } = await sealedSession(server, { claims: { role: 'admin' } });
      const app = await serve(framework, { roles: ['admin', 'owner'] });
      expect((await app.get('/account', { ...script, ...cookie(sealed) })).status).toBe(200);
    });

    it('says 401, not 403, to those who are not signed in', async () => {
      const app = await serve(framework, { permissions: 'billing:read' });
      expect((await app.get()).status).toBe(401);
    });

    it('is read once: what becomes of it later has no effect', async () => {
      const permissions = ['users:read'];
      const rule: { permissions: string[]; roles?: string; redirect: boolean } = { permissions, redirect: false };
      const app = await serve(framework, rule, withRoutes);
      permissions.splice(0, 1, 'billing:read');
      Object.assign(rule, { permissions: ['billing:read'], redirect: true });
      expect((await app.get('/account', signedIn)).status).toBe(403);
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
    ])('says what is missing, and lets nobody in: %s', async (_, middleware) => {
      const app = await serve(framework, undefined, (each) => {
        each.use(middleware);
      });
      const response = await app.get('/account', navigation);
      expect([response.status, response.body, app.served()]).toMatchObject([
        500,
        { error: 'ERR_SESSION_MIDDLEWARE_MISSING' },
        0,
      ]);
      expect(app.errors).toEqual([expect.any(SessionConfigError)]);
      expect((app.errors[0] as Error).message).toContain('withSession(options)');
    });
  });

  it('lets nobody in when it is mounted without a call', async () => {
    let served = 0;
    const app = await framework.listen((each) => {
      each.use(withSession(workosOptions(server)));
      each.use(requireSession as unknown as Handler);
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
    expect(message).toContain('app.use(requireSession())');
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

describe('a rule that cannot be one', () => {
  it.each<[string[], unknown]>([
    [['rule'], null],
    [['rule'], true],
    [['rule'], 'admin'],
    [['rule'], ['admin']],
    [['rule'], () => true],
    [['rule.permission'], { permission: 'a' }],
    [['rule.role'], { role: 'a' }],
    [['rule.anyOf', 'rule.roles'], { roles: [], anyOf: true }],
    ...['permissions', 'roles', 'entitlements', 'featureFlags', 'organizationId'].flatMap((name) =>
      ['', [], [''], ['a', 1], 1, true, null, {}, new Set(['a'])].map((value): [string[], unknown] => [
        [`rule.${name}`],
        { [name]: value },
      ]),
    ),
    [['rule.redirect'], { redirect: 'no' }],
    [['rule.redirect'], { redirect: null }],
    [['rule.permissions', 'rule.redirect', 'rule.roles'], { permissions: [], roles: '', redirect: 1 }],
    [['rule.permissions', 'rule.redirect'], { permissions: undefined, redirect: undefined }],
    // Neither a demand that nobody checks nor one that nobody asks.
    [['rule.permissions'], Object.create({ permissions: 'a' })],
    [['rule.roles'], Object.create({ roles: [] })],
  ])('is refused while the app starts: %j %j', (paths, rule) => {
    let error: unknown;
    try {
      requireSession(rule as Rule);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(SessionConfigError);
    expect((error as SessionConfigError).problems.map(({ path }) => path).sort()).toEqual(paths);
  });

  it('is refused by its type where a variable may be misspelt: undefined is no demand', () => {
    const { env }: { env: { ROLE?: string } } = { env: {} };
    // @ts-expect-error -- `undefined` is not a role
    expect(() => requireSession({ roles: env.ROLE })).toThrow(SessionConfigError);
    // @ts-expect-error -- nor is it a choice
    expect(() => requireSession({ redirect: undefined })).toThrow(SessionConfigError);
  });
});
