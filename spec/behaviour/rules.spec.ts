import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { type Rules, SessionConfigError, type SessionOptions, withSession } from 'express-sealed-session';
import request from 'supertest';

import { frameworks, type Listening } from '../support/apps.js';
import { useClock } from '../support/clock.js';
import { answers, type SessionOverrides, startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { sealedSession, workosOptions } from '../support/workos-session.js';

let server: WorkosServer;
const clock = useClock();
const open: Pick<Listening, 'close'>[] = [];

beforeAll(async () => {
  server = await startWorkosServer();
  current = await serveAll();
});
afterEach(() => {
  server.token.heal();
});
afterAll(async () => {
  await Promise.all([server.close(), ...open.map((app) => app.close())]);
});

interface Answer {
  readonly status: number;
  /** The part of the rule that was not met, or the error's code. */
  readonly why: string | undefined;
  readonly message: string | undefined;
}

interface Served {
  rule: Rules;
  error: unknown;
  readonly apps: readonly Listening[];
}

let current: Served;

/** An app on every framework, with a route behind a rule that can be changed. */
async function serveAll(options: Partial<SessionOptions> = {}): Promise<Served> {
  const served: Served & { apps: Listening[] } = { rule: {}, error: undefined, apps: [] };
  for (const framework of frameworks) {
    const sessions = withSession(workosOptions(server, options));
    const app = await framework.listen((each) => {
      each.use(sessions);
      each.use((req, res, next) => {
        sessions.require(served.rule)(req, res, (error) => {
          served.error = error;
          next(error);
        });
      });
      each.use((_req, res) => res.end('served'));
    });
    open.push(app);
    served.apps.push(app);
  }
  return served;
}

/** Asks for the route, on every framework, with a session like this. All must answer alike. */
async function answersOf(
  rule: Rules,
  visitor: SessionOverrides = {},
  path = '/account',
  served = current,
): Promise<Answer> {
  const { sealed } = await sealedSession(server, visitor);
  const all: Answer[] = [];
  served.rule = rule;
  for (const { url } of served.apps) {
    served.error = undefined;
    const { status } = await request(url).get(path).set('Cookie', `wos-session=${sealed}`);
    const { demand, code, message } = (served.error ?? {}) as Record<'demand' | 'code' | 'message', string | undefined>;
    all.push({ status, why: demand ?? code, message: demand === undefined ? message : undefined });
  }
  expect(all).toEqual(frameworks.map(() => all[0]));
  return all[0]!;
}

describe('claims in a rule', () => {
  const claims = {
    tier: 'gold',
    groups: ['staff', 'a b'],
    'https://app.example/level': 3,
    verified: true,
    nothing: null,
    address: { country: 'ch' },
  };
  it.each<[status: number, claims: NonNullable<Extract<Rules, { claims?: unknown }>['claims']>]>([
    [200, { tier: 'gold' }],
    [403, { tier: 'gol' }],
    [403, { Tier: 'gold' }],
    [200, { groups: 'staff' }],
    [403, { groups: 'staf' }],
    [403, { groups: 'a' }],
    [200, { groups: { all: ['a b', 'staff'] } }],
    [403, { groups: { all: ['staff', 'owners'] } }],
    [200, { groups: { any: ['owners', 'staff'] } }],
    [200, { tier: { any: ['silver', 'gold'] } }],
    [200, { 'https://app.example/level': 3 }],
    [403, { 'https://app.example/level': '3' }],
    [200, { verified: true }],
    [403, { verified: 'true' }],
    [403, { verified: { any: [false, 1] } }],
    [200, { nothing: null }],
    [403, { absent: null }],
    [403, { 'address.country': 'ch' }],
    [403, { constructor: 'Object' }],
    [403, { tier: 'gold', groups: 'owners' }],
    [200, { tier: 'gold', verified: true }],
  ])('answers %i to %j', async (status, wanted) => {
    const expected = { status, why: status === 200 ? undefined : 'claims' };
    expect(await answersOf({ claims: wanted }, { claims })).toMatchObject(expected);
  });
});

describe('an organization that the request names', () => {
  const byPath = (req: { url?: string | undefined }) => /^\/orgs\/([^/]+)/.exec(req.url ?? '')?.[1];

  it.each<[status: number, path: string]>([
    [200, '/orgs/org_01/members'],
    [403, '/orgs/org_02/members'],
    [403, '/orgs/'],
    [403, '/account'],
  ])('answers %i at %s', async (status, path) => {
    for (const organizationId of [byPath, async (req: { url?: string | undefined }) => Promise.resolve(byPath(req))]) {
      const answer = await answersOf({ organizationId }, { organizationId: 'org_01' }, path);
      expect(answer).toMatchObject({ status, why: status === 200 ? undefined : 'organizationId' });
    }
  });

  it('may be one of several', async () => {
    const visitor = { organizationId: 'org_01' };
    expect(await answersOf({ organizationId: () => ['org_02', 'org_01'] }, visitor)).toMatchObject({ status: 200 });
    expect(await answersOf({ organizationId: () => [] }, visitor)).toMatchObject({ status: 403 });
  });

  it('lets nobody pass who is in none', async () => {
    const rule = { organizationId: () => undefined };
    expect(await answersOf(rule)).toMatchObject({ status: 403, why: 'organizationId' });
  });

  it.each<[what: string, found: unknown]>([
    ['null', null],
    ['a number', 1],
    ['an object', { id: 'org_01' }],
    ['a list with something else', ['org_01', 1]],
  ])('says what is wrong where the function finds %s', async (_, found) => {
    for (const organizationId of [() => found, () => Promise.resolve(found)]) {
      const answer = await answersOf({ organizationId: organizationId as never }, { organizationId: 'org_01' });
      expect(answer).toMatchObject({ status: 500, why: 'ERR_SESSION_CONFIG' });
      expect(answer.message).toContain('"rule.organizationId" must return a string, a list of strings or undefined');
    }
  });

  it('hands on what the function throws', async () => {
    const organizationId = () => {
      throw new Error('of the app');
    };
    expect(await answersOf({ organizationId })).toMatchObject({ status: 500, message: 'of the app' });
  });
});

describe('a rule against impersonation', () => {
  const impersonator = { email: 'support@example.com', reason: null };
  it.each<[status: number, who: string, SessionOverrides, Record<string, unknown>]>([
    [200, 'the visitor themselves', {}, {}],
    [403, 'somebody who acts as the visitor', { impersonator }, { impersonator }],
    [403, 'somebody whom only the token names', { impersonator }, {}],
    [403, 'somebody whom only the seal names', {}, { impersonator }],
  ])('answers %i to %s', async (status, _, visitor, change) => {
    const { sealed } = await sealedSession(server, visitor, change);
    const sessions = withSession(workosOptions(server));
    const app = await frameworks[0]!.listen((each) => {
      each.use(sessions);
      each.use(sessions.require({ impersonated: false }));
      each.use((_req, res) => res.end());
    });
    open.push(app);
    expect((await request(app.url).get('/').set('Cookie', `wos-session=${sealed}`)).status).toBe(status);
  });
});

describe('a rule against old claims', () => {
  it('answers 503, because it cannot be known now, and 200 once it can', async () => {
    const served = await serveAll({ whenUnavailable: { staleSeconds: 300 } });
    server.token.fail({ ...answers.unavailable, headers: { 'Retry-After': '17' } });
    const old = { lifetimeSeconds: -30 };
    expect(await answersOf({}, old, '/', served)).toMatchObject({ status: 200 });
    clock.advance(20);
    const first = await answersOf({ stale: false }, old, '/', served);
    expect(first).toMatchObject({ status: 503, why: 'ERR_SESSION_UNAVAILABLE' });
    // Also outside the rule: the permissions of now are not known.
    const rule = { stale: false, permissions: 'a' } as const;
    expect(await answersOf(rule, old, '/', served)).toMatchObject({ status: 503 });
    server.token.heal();
    clock.advance(60);
    expect(await answersOf({ stale: false }, old, '/', served)).toMatchObject({ status: 200 });
  });
});

describe("the app's own question", () => {
  it.each<[status: number, what: string, check: () => unknown]>([
    [200, 'true', () => true],
    [200, 'a promise of true', () => Promise.resolve(true)],
    [403, 'false', () => false],
    [403, 'a promise of false', () => Promise.resolve(false)],
  ])('answers %i to %s', async (status, _, check) => {
    const answer = await answersOf({ check: check as never });
    expect(answer).toMatchObject({ status, why: status === 200 ? undefined : 'check' });
  });

  it.each<[what: string, result: unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['a number', 1],
    ['a text', 'yes'],
    ['an object', {}],
    ['a function', () => true],
  ])('is an error that says so where it returns %s', async (_, result) => {
    for (const check of [() => result, () => Promise.resolve(result)]) {
      const answer = await answersOf({ any: [{ roles: 'none' }, { check: check as never }] });
      expect(answer).toMatchObject({ status: 500, why: 'ERR_SESSION_CONFIG' });
      expect(answer.message).toContain('"rule.any[1].check" must return true or false');
    }
  });

  it('hands on what it throws and what it rejects with', async () => {
    const error = new Error('of the app');
    const checks = [
      () => {
        throw error;
      },
      () => Promise.reject(error),
    ];
    for (const check of checks) {
      expect(await answersOf({ check })).toMatchObject({ status: 500, message: 'of the app' });
    }
  });

  it('is asked about the session and the request, for who may pass by all else', async () => {
    const seen: unknown[] = [];
    const check = (session: { user: { id: string }; roles: readonly string[] }, req: { url?: string | undefined }) => {
      seen.push([session.user.id, session.roles, req.url]);
      return true;
    };
    const claims = { roles: ['editor'] };
    await answersOf({ roles: 'editor', check }, { claims }, '/documents/1');
    expect(new Set(seen.map((each) => JSON.stringify(each)))).toEqual(
      new Set([JSON.stringify(['user_01', ['editor'], '/documents/1'])]),
    );
    seen.length = 0;
    await answersOf({ roles: 'owner', check }, { claims });
    expect(seen).toEqual([]);
  });

  it('lets nobody pass whom it has signed out', async () => {
    const check = async (session: { signOut: () => Promise<unknown> }) => {
      await session.signOut();
      return true;
    };
    expect(await answersOf({ check })).toMatchObject({ status: 401, why: 'ERR_SESSION_REQUIRED' });
  });
});

describe('several rules of which one must hold', () => {
  const any = [{ roles: 'admin' }, { permissions: 'billing:read', claims: { tier: 'gold' } }];
  it.each<[status: number, why: string | undefined, SessionOverrides['claims']]>([
    [200, undefined, { roles: ['admin'] }],
    [200, undefined, { permissions: ['billing:read'], tier: 'gold' }],
    [200, undefined, { roles: ['admin'], permissions: ['billing:read'], tier: 'gold' }],
    [403, 'roles', { permissions: ['billing:read'] }],
    [403, 'roles', { tier: 'gold' }],
    [403, 'roles', {}],
  ])('answer %i %s to %j', async (status, why, claims) => {
    expect(await answersOf({ any }, { claims: claims ?? {} })).toMatchObject({ status, why });
  });

  it('are read once: later changes to the objects have no effect', async () => {
    const rules = [{ roles: { any: ['admin'] } }];
    const sessions = withSession(workosOptions(server));
    const guard = sessions.require({ any: rules });
    rules[0]!.roles.any.push('member');
    rules.push({ roles: { any: ['member'] } });
    const { sealed } = await sealedSession(server, { claims: { roles: ['member'] } });
    const app = await frameworks[0]!.listen((each) => {
      each.use(sessions);
      each.use(guard);
    });
    open.push(app);
    expect((await request(app.url).get('/').set('Cookie', `wos-session=${sealed}`)).status).toBe(403);
  });

  it('can be the rule of the middleware, and of authorize()', async () => {
    const { sealed } = await sealedSession(server, { claims: { roles: ['admin'] } });
    const sessions = withSession(workosOptions(server, { required: { any } }));
    const app = await frameworks[0]!.listen((each) => {
      each.use(sessions);
      each.get('/', async (req, res) => {
        const { user } = await sessions.authorize(req, { any });
        const other = await sessions.authorize(req, { any: [{ roles: 'owner' }] }).catch((error: unknown) => error);
        res.end(JSON.stringify([user.id, (other as { demand: string }).demand]));
      });
    });
    open.push(app);
    const page = await request(app.url).get('/').set('Cookie', `wos-session=${sealed}`);
    expect([page.status, page.text]).toEqual([200, '["user_01","roles"]']);
    const error = (() => {
      try {
        return withSession(workosOptions(server, { required: { any: [{ roles: [] as never }] } }));
      } catch (thrown) {
        return thrown;
      }
    })();
    expect(error).toBeInstanceOf(SessionConfigError);
    expect((error as SessionConfigError).problems).toMatchObject([{ path: 'required.any[0].roles' }]);
  });
});
