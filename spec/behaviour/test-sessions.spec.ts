import { afterEach, describe, expect, it } from '@jest/globals';
import express, { type Express } from 'express';
import {
  createSessionManager,
  oidc,
  SessionConfigError,
  type SessionOptions,
  type Sessions,
  withSession,
  workos,
} from 'express-sealed-session';
import { testProvider, type TestSessions, testSessions } from 'express-sealed-session/testing';
import request from 'supertest';

import { createFleet } from '../../lib/fleet/fleet.js';
import { password } from '../support/workos-session.js';

// Nobody has this host: an app that asked its own provider would get no answer.
const nowhere = 'https://id.invalid';

const providers = {
  'workos()': () => workos({ clientId: 'client_01', apiKey: 'sk_test_01', baseUrl: nowhere }),
  'oidc()': () => oidc({ issuer: nowhere, clientId: 'shop', clientSecret: 'secret', accessToken: 'opaque' }),
};

/** A fleet that fails the test when it is asked. */
const otherFleet = createFleet(
  'other',
  new Proxy({} as never, {
    get: (_, part) => (part === 'onChange' ? () => undefined : unreachable(part)),
  }),
);

function unreachable(part: string | symbol): unknown {
  return new Proxy({}, { get: (_, member) => unasked(`${String(part)}.${String(member)}`) });
}

function unasked(what: string): unknown {
  if (what === 'ledger.isShared') return true;
  // What an instance begins with, before a test can take it over.
  if (what === 'ledger.untilRead') return () => undefined;
  return () => {
    throw new Error(`The app's own fleet was asked: ${what}`);
  };
}

/** An app as it ships: it knows nothing of tests. */
function appWith(options: Partial<SessionOptions> = {}): { app: Express; sessions: Sessions } {
  const sessions = withSession({
    provider: providers['workos()'](),
    password,
    baseUrl: 'https://app.example.com',
    fleet: otherFleet,
    ...options,
  });
  const app = express();
  app.use(sessions, sessions.routes());
  app.get('/', (req, res) => void res.json(sessions.get(req)));
  app.get('/account', sessions.require(), (req, res) => void res.json(sessions.signedIn(req).user));
  app.get('/invoices', sessions.require({ permissions: 'billing:read' }), (_req, res) => void res.json([]));
  app.get('/save', async (req, res) => {
    const session = sessions.signedIn(req);
    session.data.theme = 'dark';
    await session.save();
    res.end();
  });
  app.get('/out', async (req, res) => {
    await sessions.get(req).signOut();
    res.end();
  });
  app.get('/switch', async (req, res) => {
    const result = await sessions.get(req).refresh({ organizationId: 'org_02' });
    res.json({ result, organizationId: sessions.signedIn(req).organizationId });
  });
  app.use(sessions.errorHandler());
  return { app, sessions };
}

const restores: TestSessions[] = [];
afterEach(() => {
  for (const test of restores.splice(0)) test.restore();
});

function tested(sessions: Sessions, options?: Parameters<typeof testSessions>[1]): TestSessions {
  const test = testSessions(sessions, options);
  restores.push(test);
  return test;
}

describe.each(Object.entries(providers))('the sessions of an app with %s, in its tests', (_, provider) => {
  it('take a cookie of the test for their own, and ask nobody', async () => {
    const { app, sessions } = appWith({ provider: provider() });
    const test = tested(sessions);
    const ada = await test.cookie({ user: { id: 'user_ada' }, permissions: ['billing:read'], data: { theme: 'dark' } });
    expect((await request(app).get('/account').set('Cookie', ada)).body).toMatchObject({ id: 'user_ada' });
    expect((await request(app).get('/invoices').set('Cookie', ada)).status).toBe(200);
    expect(
      (
        await request(app)
          .get('/invoices')
          .set('Cookie', await test.cookie())
      ).status,
    ).toBe(403);
    expect((await request(app).get('/invoices')).status).toBe(401);
  });

  it('refresh a session that has expired, once', async () => {
    const { app, sessions } = appWith({ provider: provider() });
    const test = tested(sessions);
    const cookie = await test.cookie({ expiresIn: -1, permissions: ['billing:read'], data: { theme: 'dark' } });
    const responses = await Promise.all([1, 2, 3].map(() => request(app).get('/invoices').set('Cookie', cookie)));
    expect(responses.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(test.provider.refreshes).toBe(1);
    const read = await test.read(responses[0]!);
    expect(read).toMatchObject({
      wrote: true,
      cleared: false,
      session: { permissions: ['billing:read'], data: { theme: 'dark' }, expiresIn: expect.closeTo(300, -1) },
    });
  });

  it('sign in by their own routes', async () => {
    const { app, sessions } = appWith({ provider: provider() });
    const test = tested(sessions);
    test.provider.signInAs({ user: { id: 'user_ada' }, permissions: ['billing:read'] });
    const browser = request.agent(app);
    const { headers } = await browser.get('/login?returnTo=/invoices').set('Host', 'app.example.com');
    const { pathname, search } = new URL(headers.location!);
    const flow = String(headers['set-cookie']).split(';', 1)[0]!;
    expect(pathname).toBe('/callback');
    const response = await request(app)
      .get(pathname + search)
      .set('Cookie', flow);
    expect(response.headers.location).toBe('/invoices');
    expect(await test.read(response)).toMatchObject({ wrote: true, session: { user: { id: 'user_ada' } } });
  });

  it('send a visitor without a session to sign in', async () => {
    const { app, sessions } = appWith({ provider: provider() });
    tested(sessions);
    const page = { 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document', Accept: 'text/html' };
    const response = await request(app).get('/account').set(page);
    expect([response.status, response.headers.location]).toEqual([302, '/login?returnTo=%2Faccount']);
  });

  it('sign out', async () => {
    const { app, sessions } = appWith({ provider: provider() });
    const test = tested(sessions);
    const cookie = await test.cookie();
    const response = await request(app).get('/out').set('Cookie', cookie);
    expect(await test.read(response)).toEqual({ wrote: false, cleared: true });
    expect((await request(app).get('/account').set('Cookie', cookie)).status).toBe(401);
  });

  it('end where the provider refuses them, and are kept through an outage', async () => {
    const { app, sessions } = appWith({ provider: provider() });
    const test = tested(sessions);
    const expired = () => test.cookie({ expiresIn: -1 });
    test.provider.down();
    const away = await request(app)
      .get('/account')
      .set('Cookie', await expired());
    expect([away.status, (await test.read(away)).cleared]).toEqual([503, false]);
    test.provider.refuseRefresh();
    const refused = await request(app)
      .get('/account')
      .set('Cookie', await expired());
    expect([refused.status, (await test.read(refused)).cleared]).toEqual([401, true]);
    test.provider.up();
    expect(
      (
        await request(app)
          .get('/account')
          .set('Cookie', await expired())
      ).status,
    ).toBe(200);
  });
});

describe('the provider of a test', () => {
  it('has forgotten an outage of many users as soon as it is up', async () => {
    const { app, sessions } = appWith();
    const test = tested(sessions);
    test.provider.down();
    for (const id of ['one', 'two', 'three', 'four']) {
      const cookie = await test.cookie({ user: { id }, expiresIn: 0 });
      await request(app).get('/account').set('Cookie', cookie).expect(503);
    }
    test.provider.up();
    const cookie = await test.cookie({ user: { id: 'five' }, expiresIn: 0 });
    await request(app).get('/account').set('Cookie', cookie).expect(200);
  });

  it('keeps a request waiting no longer than the options say', async () => {
    const { app, sessions } = appWith({ refresh: { waitMs: 50 } });
    const test = tested(sessions);
    test.provider.slow(400);
    const response = await request(app)
      .get('/')
      .set('Cookie', await test.cookie({ expiresIn: 0 }));
    expect(response.body).toMatchObject({ reason: 'timeout', retryable: true });
  });

  it('gives a refresh token that comes twice no other answer, and ends the session after its grace', async () => {
    const statuses = async (graceSeconds: number) => {
      const provider = testProvider({ graceSeconds });
      // Two processes that share no fleet.
      const apps = [appWith({ provider }), appWith({ provider })];
      const [test] = apps.map(({ sessions }) => tested(sessions));
      const cookie = await test!.cookie({ expiresIn: 0 });
      const responses = [];
      for (const { app } of apps) responses.push(await request(app).get('/account').set('Cookie', cookie));
      return responses.map(({ status }) => status);
    };
    expect([await statuses(0), await statuses(60)]).toEqual([
      [200, 401],
      [200, 200],
    ]);
  });

  it('brings the same refresh token again without rotation', async () => {
    const { app, sessions } = appWith();
    const test = tested(sessions, { rotation: false, graceSeconds: 0 });
    let cookie = await test.cookie({ expiresIn: 0 });
    for (let times = 0; times < 3; times += 1) {
      const response = await request(app).get('/account').set('Cookie', cookie).expect(200);
      cookie = String(response.headers['set-cookie']).split(';', 1)[0]!;
      test.clock.advance(600);
    }
    expect(test.provider.refreshes).toBe(3);
  });

  it('refreshes for another organization', async () => {
    const { app, sessions } = appWith();
    const test = tested(sessions);
    const cookie = await test.cookie({ organizationId: 'org_01' });
    const { body } = await request(app).get('/switch').set('Cookie', cookie);
    expect(body).toEqual({ result: { refreshed: true }, organizationId: 'org_02' });
  });

  it('serves an app that is made anew, and its cookies come from its sessions', async () => {
    const provider = testProvider();
    const { app, sessions } = appWith({ provider, fleet: undefined });
    const test = tested(sessions);
    await request(app)
      .get('/account')
      .set('Cookie', await test.cookie({ expiresIn: -1 }))
      .expect(200);
    expect([provider.refreshes, test.provider.refreshes]).toEqual([1, 1]);
  });

  it('reads roles by the names of the app, and by those of the test', async () => {
    const mapClaims = { roles: ['realm_access', 'roles'] };
    const provider = oidc({ issuer: nowhere, clientId: 'shop', clientSecret: 'secret', mapClaims });
    const { app, sessions } = appWith({ provider });
    const test = tested(sessions);
    const rolesOf = async (cookie: string) =>
      ((await request(app).get('/').set('Cookie', cookie)).body as { roles: string[] }).roles;
    expect(await rolesOf(await test.cookie({ roles: ['clerk'] }))).toEqual(['clerk']);
    expect(await rolesOf(await test.cookie({ claims: { realm_access: { roles: ['owner'] } } }))).toEqual(['owner']);
    expect(await rolesOf(await test.cookie({ claims: { roles: ['owner'] } }))).toEqual([]);
  });
});

describe('testSessions()', () => {
  it('takes over every instance with the same provider: a guard of its own passes the cookie too', async () => {
    const options: SessionOptions = { provider: providers['workos()'](), password, fleet: otherFleet };
    const sessions = withSession(options);
    const app = express();
    app.use(sessions);
    app.get('/account', withSession({ ...options, required: true }), (_req, res) => void res.end('in'));
    const test = tested(sessions);
    await request(app)
      .get('/account')
      .set('Cookie', await test.cookie({ expiresIn: 0 }))
      .expect(200);
    await request(app).get('/account').expect(401);
  });

  it('gives the manager of a worker its seals', async () => {
    const manager = createSessionManager({ provider: providers['workos()'](), password });
    const test = testSessions(manager);
    restores.push(test);
    const session = manager.load(await test.seal({ user: { id: 'user_ada' }, expiresIn: 0 }));
    expect(await session.refresh()).toMatchObject({ authenticated: true, user: { id: 'user_ada' } });
  });

  it('seals for a header', async () => {
    const { app, sessions } = appWith({ header: 'x-session' });
    const test = tested(sessions);
    const response = await request(app)
      .get('/account')
      .set('x-session', await test.seal({ expiresIn: 0 }));
    expect(await test.read(response)).toMatchObject({ wrote: true, session: { user: { id: 'user_test' } } });
  });

  it('reads what a session was saved with, in as many cookies as it takes', async () => {
    const { app, sessions } = appWith();
    const test = tested(sessions);
    const basket = 'x'.repeat(4_000);
    const cookie = await test.cookie({ data: { basket } });
    expect(cookie).toContain('wos-session.1=');
    const response = await request(app).get('/save').set('Cookie', cookie);
    expect((await test.read(response)).session?.data).toEqual({ basket, theme: 'dark' });
    expect(await test.read(await request(app).get('/').set('Cookie', cookie))).toEqual({
      wrote: false,
      cleared: false,
    });
  });

  it('moves the time', async () => {
    const { app, sessions } = appWith();
    const test = tested(sessions);
    const cookie = await test.cookie();
    const before = Date.now();
    test.clock.advance(3_600);
    expect(Date.now() - before).toBeGreaterThanOrEqual(3_600_000);
    const response = await request(app).get('/').set('Cookie', cookie);
    expect(response.body).toMatchObject({ authenticated: true, refreshed: true });
    test.restore();
    expect(Date.now() - before).toBeLessThan(3_600_000);
  });

  it('gives everything back: a cookie of the test is nobody, also one that was just accepted', async () => {
    const { app, sessions } = appWith({ fleet: undefined, provider: providers['workos()']() });
    const test = testSessions(sessions);
    const cookie = await test.cookie();
    await request(app).get('/account').set('Cookie', cookie).expect(200);
    test.restore();
    const response = await request(app).get('/').set('Cookie', cookie);
    expect(response.body).toMatchObject({ authenticated: false });
  });

  it('refuses production, and what are no sessions', () => {
    const { sessions } = appWith();
    const { NODE_ENV } = process.env;
    process.env.NODE_ENV = 'production';
    try {
      expect(() => testSessions(sessions)).toThrow(SessionConfigError);
      expect(() => testProvider()).toThrow('"NODE_ENV" is "production"');
    } finally {
      process.env.NODE_ENV = NODE_ENV;
    }
    expect(() => testSessions((() => undefined) as never)).toThrow('"testSessions" must be what withSession()');
  });

  it('refuses what no session of a test has, by its name', async () => {
    const test = tested(appWith().sessions);
    await expect(test.cookie({ permission: ['billing:read'] } as never)).rejects.toThrow('has no "permission"');
    expect(() => {
      test.provider.signInAs({ email: 'ada@example.com' } as never);
    }).toThrow('has no "email"');
  });
});
