import { readFileSync } from 'node:fs';
import path from 'node:path';

import { afterEach, describe, expect, it, jest } from '@jest/globals';
import {
  createSessionManager,
  getSession,
  oidc,
  type OidcOptions,
  requireSession,
  type SessionEvents,
  type SessionOptions,
  type Sessions,
  withSession,
} from 'express-sealed-session';

import { createProcessFleet } from '../../lib/fleet/process-fleet.js';
import { type App, frameworks } from '../support/apps.js';
import { createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { type Issuer, type IssuerOptions, startIssuer } from '../support/oidc-issuer.js';

const password = 'one password for both, of 32 characters';
jest.setTimeout(30_000);

const clock = useClock();

const open: (() => Promise<unknown>)[] = [];
afterEach(() => Promise.all(open.splice(0).map((close) => close())));

async function issuerOf(options: Partial<IssuerOptions> = {}): Promise<Issuer> {
  const issuer = await startIssuer(options);
  open.push(() => issuer.close());
  return issuer;
}

function at({ url, clientId, clientSecret }: Issuer, more: Partial<OidcOptions> = {}): SessionOptions {
  return { provider: oidc({ issuer: url, clientId, clientSecret, ...more }), password };
}

async function serve(setup: (app: App) => void): Promise<string> {
  const app = await frameworks[0]!.listen(setup);
  open.push(() => app.close());
  return app.url;
}

let apps = 0;

/** Property names that no other app of this process has: the first request to an app must be judged as the later ones. */
function properties(): [string, string] {
  apps += 1;
  return [`one${apps}`, `other${apps}`];
}

/** What the page says becomes of a request, for each of sixteen combinations. */
function rowsOfPage() {
  const page = readFileSync(path.resolve(import.meta.dirname, '../../docs/guide/several-providers.md'), 'utf8');
  const lines = page.split('\n').filter((line) => /^\| (same|other) /.test(line));
  const cells = lines.map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
  const expand = (values: readonly string[]): string[][] =>
    values.reduce<string[][]>(
      (all, value) => (value === 'any' ? ['same', 'other'] : [value]).flatMap((one) => all.map((row) => [...row, one])),
      [[]],
    );
  return cells.flatMap(([provider = '', property = '', cookie = '', fleet = '', outcome = '']) =>
    expand([provider, property, cookie, fleet]).map((row) => ({ row, outcome })),
  );
}

const rows = rowsOfPage();

// These two come first: what is known of the properties in use is known to the whole process.
it.each([
  ['one property', 'session', /"session" have another provider\./],
  ['two', 'staff', /another provider under the same cookie/],
])('the first request of a process is refused where two providers share a cookie on %s', async (_, property, why) => {
  const [shop, desk] = [await issuerOf(), await issuerOf()];
  const url = await serve((app) => {
    app.use(withSession({ ...at(shop) }));
    app.use(withSession({ ...at(desk), property }));
    app.get('/', (_req, res) => res.end('{}'));
  });
  const page = await createBrowser(url).get('/');
  expect([page.status, page.json.error]).toEqual([500, 'ERR_SESSION_PROPERTY_TAKEN']);
  expect(page.json.message).toMatch(why);
});

it('the table of the page has each combination once', () => {
  expect(new Set(rows.map(({ row }) => row.join(' '))).size).toBe(16);
  expect(rows).toHaveLength(16);
  expect(new Set(rows.map(({ outcome }) => outcome))).toEqual(
    new Set(['has one session, each by its rules', 'is refused', 'has two sessions']),
  );
});

describe.each(['one first', 'other first'])('two instances on one app, %s', (order) => {
  /** Two instances that differ as the row says, and what each sees of a request with these cookies. */
  async function serveTwo([provider, property, cookie, fleet]: readonly string[]) {
    const issuers = [await issuerOf({ user: 'ada' }), await issuerOf({ user: 'bob' })] as const;
    const [own, others] = properties();
    const options = [
      { ...at(issuers[0]), property: own, cookie: { name: 'one' } },
      {
        ...at(provider === 'same' ? issuers[0] : issuers[1]),
        property: property === 'same' ? own : others,
        cookie: { name: cookie === 'same' ? 'one' : 'other' },
        ...(fleet === 'other' && { fleet: createProcessFleet() }),
      },
    ] as const;
    const [one, other] = options.map((each) => withSession(each)) as [Sessions, Sessions];
    const url = await serve((app) => {
      for (const each of order === 'one first' ? [one, other] : [other, one]) app.use(each);
      app.get('/', (req, res) => {
        res.end(JSON.stringify([one.get(req).user?.id ?? null, other.get(req).user?.id ?? null]));
      });
      app.get('/one', one.require(), (_req, res) => res.end('{}'));
      app.get('/other', other.require(), (_req, res) => res.end('{}'));
      app.get('/either', requireSession(), (_req, res) => res.end('{}'));
    });
    const sealOf = async (index: 0 | 1, lifetimeSeconds = 300) => {
      const issuer = index === 1 && provider === 'other' ? issuers[1] : issuers[0];
      const tokens = await issuer.issue({ lifetimeSeconds, ...(index === 1 && { user: 'bob' }) });
      const sealed = await createSessionManager(options[index]).seal(tokens);
      return `${options[index].cookie.name}=${sealed}`;
    };
    const get = (at: string, cookies: string) =>
      createBrowser(url).get(at, cookies === '' ? {} : { headers: { cookie: cookies } });
    return { get, sealOf, reuses: () => issuers[0].reuses + issuers[1].reuses, issuers };
  }

  const named = rows.map(({ row, outcome }) => ({
    what: ['provider', 'property', 'cookie', 'fleet'].map((part, index) => `${row[index]!} ${part}`).join(', '),
    row,
    outcome,
  }));

  it.each(named.filter(({ outcome }) => outcome === 'is refused'))(
    'a request is refused, the first too: $what',
    async ({ row }) => {
      const { get, sealOf, reuses } = await serveTwo(row);
      for (const cookies of ['', await sealOf(0, -30), await sealOf(1, -30)]) {
        const page = await get('/', cookies);
        expect([page.status, page.json.error]).toEqual([500, 'ERR_SESSION_PROPERTY_TAKEN']);
        expect(page.json.message).toMatch(
          /have another (provider|cookie|fleet)\b|another (provider|fleet) under the same/,
        );
      }
      expect(reuses()).toBe(0);
    },
  );

  it.each(named.filter(({ outcome }) => outcome === 'has one session, each by its rules'))(
    'a request has one session, for both: $what',
    async ({ row }) => {
      const { get, sealOf, issuers, reuses } = await serveTwo(row);
      expect((await get('/', '')).json).toEqual([null, null]);
      expect((await get('/', await sealOf(0))).json).toEqual(['ada', 'ada']);
      expect((await get('/', await sealOf(1))).json).toEqual(['bob', 'bob']);
      const expired = await sealOf(0, -30);
      const page = await get('/', expired);
      expect([page.json, page.setCookies.length]).toEqual([['ada', 'ada'], 1]);
      expect([issuers[0].received().length, reuses()]).toEqual([1, 0]);
      for (const guarded of ['/one', '/other']) expect((await get(guarded, expired)).status).toBe(200);
    },
  );

  it.each(named.filter(({ outcome }) => outcome === 'has two sessions'))(
    'a request has two sessions, each its own: $what',
    async ({ row }) => {
      const { get, sealOf, reuses } = await serveTwo(row);
      expect((await get('/', '')).json).toEqual([null, null]);
      for (const lifetime of [300, -30]) {
        const [ada, bob] = [await sealOf(0, lifetime), await sealOf(1, lifetime)];
        expect((await get('/', ada)).json).toEqual(['ada', null]);
        expect((await get('/', bob)).json).toEqual([null, 'bob']);
        expect((await get('/', `${ada}; ${bob}`)).json).toEqual(['ada', 'bob']);
        const guards = async (cookies: string) => [
          (await get('/one', cookies)).status,
          (await get('/other', cookies)).status,
        ];
        expect([await guards(ada), await guards(bob)]).toEqual([
          [200, 401],
          [401, 200],
        ]);
        expect((await get('/either', ada)).json.error).toBe('ERR_SESSION_MIDDLEWARE_MISSING');
      }
      expect(reuses()).toBe(0);
      // Both are refreshed on one response, and none takes the cookie of the other off.
      const both = await get('/', `${await sealOf(0, -30)}; ${await sealOf(1, -30)}`);
      expect(both.setCookies.map((header) => header.split('=', 1)[0]).sort()).toEqual(['one', 'other']);
    },
  );
});

describe('a second, stricter instance on the same sessions', () => {
  interface Option {
    readonly issuer?: Partial<IssuerOptions>;
    readonly base?: (issuer: Issuer) => SessionOptions;
    readonly strict: (issuer: Issuer) => SessionOptions;
    /** The access token of the session. */
    readonly lifetimeSeconds?: number;
    /** What happens between the first visit and the one that is judged. */
    readonly meanwhile?: (issuer: Issuer) => void;
    readonly headers?: Record<string, string>;
    readonly status: number;
    readonly reason: string | null;
  }

  const options: Record<string, Option> = {
    audience: {
      strict: (issuer) => at(issuer, { accessToken: { audience: 'admin-api' } }),
      status: 401,
      reason: 'invalid_jwt',
    },
    algorithms: {
      strict: (issuer) => at(issuer, { accessToken: { algorithms: ['ES256'] } }),
      status: 401,
      reason: 'invalid_jwt_algorithm',
    },
    accessToken: {
      issuer: { accessTokens: 'opaque' },
      strict: (issuer) => at(issuer, { accessToken: 'jwt' }),
      status: 401,
      reason: 'invalid_jwt',
    },
    'lifetime.absoluteSeconds': {
      strict: (issuer) => ({ ...at(issuer), lifetime: { absoluteSeconds: 60 } }),
      meanwhile: () => {
        clock.advance(61);
      },
      status: 401,
      reason: 'session_expired',
    },
    'lifetime.idleSeconds': {
      strict: (issuer) => ({ ...at(issuer), lifetime: { idleSeconds: 60 } }),
      meanwhile: () => {
        clock.advance(61);
      },
      status: 401,
      reason: 'session_expired',
    },
    whenUnavailable: {
      base: (issuer) => ({ ...at(issuer), whenUnavailable: { staleSeconds: 600 } }),
      strict: (issuer) => ({ ...at(issuer), whenUnavailable: 'continue' }),
      meanwhile: (issuer) => {
        issuer.token.fail({ status: 503 });
        clock.advance(310);
      },
      status: 503,
      reason: 'server_error',
    },
    'whenUnavailable: refuse': {
      base: (issuer) => ({ ...at(issuer), whenUnavailable: { staleSeconds: 600 } }),
      strict: (issuer) => ({ ...at(issuer), whenUnavailable: 'refuse' }),
      meanwhile: (issuer) => {
        issuer.token.fail({ status: 503 });
        clock.advance(310);
      },
      status: 503,
      reason: null,
    },
    clockToleranceSeconds: {
      base: (issuer) => ({ ...at(issuer), clockToleranceSeconds: 60 }),
      strict: (issuer) => ({ ...at(issuer), clockToleranceSeconds: 0 }),
      meanwhile: (issuer) => {
        issuer.token.fail({ status: 503 });
        clock.advance(330);
      },
      status: 503,
      reason: 'server_error',
    },
    password: {
      strict: (issuer) => ({ ...at(issuer), password: 'another password, of 32 characters or more' }),
      status: 401,
      reason: 'invalid_session_cookie',
    },
    header: {
      strict: (issuer) => ({ ...at(issuer), header: 'x-session' }),
      headers: { 'x-session': 'junk' },
      status: 401,
      reason: 'invalid_session_cookie',
    },
    required: {
      strict: (issuer) => ({ ...at(issuer), required: { roles: 'admin' } }),
      status: 403,
      reason: null,
    },
  };

  const orders = ['alone', 'after the first', 'before the first'] as const;
  const cases = Object.keys(options).flatMap((name) => orders.map((order) => ({ name, order })));

  it.each(cases)('is stricter $order: $name', async ({ name, order }) => {
    const option = options[name]!;
    const { base: baseOf = at, lifetimeSeconds = 300, meanwhile, headers = {} } = option;
    const issuer = await issuerOf({ user: 'ada', ...option.issuer });
    const [property] = properties();
    const mounts = { property, cookie: { name: 'session' } };
    const base = withSession({ ...baseOf(issuer), ...mounts });
    const strict = withSession({ ...option.strict(issuer), ...mounts });
    const setup: Record<(typeof orders)[number], Sessions[]> = {
      alone: [strict],
      'after the first': [base, strict],
      'before the first': [strict, base],
    };
    let seen: unknown;
    const note = (req: Parameters<Sessions['get']>[0]) => {
      seen = [strict, base].map((each) => {
        try {
          return (each.get(req) as { reason?: string }).reason ?? 'signed in';
        } catch {
          return null;
        }
      });
    };
    const url = await serve((app) => {
      app.get('/base', (req, res) => {
        base(req, res, (error) => res.end(JSON.stringify([error ?? null, base.get(req).authenticated])));
      });
      for (const each of setup[order]) app.use(each);
      app.use((req, _res, next) => {
        note(req);
        next();
      });
      app.get('/strict', strict.require(), (_req, res) => res.end('{}'));
    });
    const browser = createBrowser(url);
    const sealed = await createSessionManager(baseOf(issuer)).seal(await issuer.issue({ lifetimeSeconds }));
    browser.jar.set(url, `session=${sealed}; Path=/`);
    await browser.get('/strict', { headers });
    meanwhile?.(issuer);

    expect((await browser.get('/base', { headers })).json).toEqual([null, true]);
    seen = undefined;
    const page = await browser.get('/strict', { headers });
    expect(page.status).toBe(option.status);
    // With `required` and `refuse` the middleware itself is the guard, and no handler behind it runs.
    if (option.reason === null) expect(seen).toBeUndefined();
    else expect(seen).toEqual([option.reason, order === 'alone' ? null : 'signed in']);
    // What is stricter is not sent on: no refresh token was spent twice.
    expect(issuer.reuses).toBe(0);
  });

  it('has its own answer beside that of the first, and the request shows that of the last', async () => {
    const issuer = await issuerOf({ user: 'ada' });
    const [property] = properties();
    const base = withSession({ ...at(issuer), property });
    const strict = withSession({ ...at(issuer, { accessToken: { audience: 'admin-api' } }), property });
    const url = await serve((app) => {
      app.use(base);
      app.use(strict);
      app.get('/', (req, res) => {
        const ofRequest = (req as unknown as Record<string, unknown>)[property];
        const [isBase, isStrict] = [base, strict].map((each) => each.get(req) === ofRequest);
        res.end(JSON.stringify([isBase, isStrict, getSession(req).authenticated, base.get(req).authenticated]));
      });
    });
    const sealed = await createSessionManager(at(issuer)).seal(await issuer.issue());
    const page = await createBrowser(url).get('/', { headers: { cookie: `__Host-session=${sealed}` } });
    expect(page.json).toEqual([false, true, false, true]);
  });

  it('that is past its own lifetime ends the session for both', async () => {
    const issuer = await issuerOf({ user: 'ada' });
    const mounts = { property: properties()[0], cookie: { name: 'session' } };
    const base = withSession({ ...at(issuer), ...mounts });
    const strict = withSession({ ...at(issuer), ...mounts, lifetime: { absoluteSeconds: 60 } });
    const url = await serve((app) => {
      app.use(base);
      app.get('/admin', strict, strict.require(), (_req, res) => res.end('{}'));
      app.get('/', base.require(), (_req, res) => res.end('{}'));
    });
    const browser = createBrowser(url);
    const sealed = await createSessionManager(at(issuer)).seal(await issuer.issue());
    browser.jar.set(url, `session=${sealed}; Path=/`);
    clock.advance(61);
    const statuses: number[] = [];
    for (const at of ['/', '/admin', '/']) statuses.push((await browser.get(at)).status);
    expect([statuses, browser.jar.cookies]).toEqual([[200, 401, 401], []]);
  });
});

describe('an instance that is mounted twice', () => {
  it.each([
    ['one after the other', (one: Sessions) => [one, one]],
    ['around another', (one: Sessions, other: Sessions) => [one, other, one]],
  ])('works once, and its guard asks each time: %s', async (_, order) => {
    const issuer = await issuerOf({ user: 'ada' });
    const refreshed: SessionEvents['refreshed'][] = [];
    const written: SessionEvents['written'][] = [];
    const mounts = { property: properties()[0], cookie: { name: 'session' } };
    let asked = 0;
    const isActivity = () => {
      asked += 1;
      return true;
    };
    const events = {
      refreshed: (event: SessionEvents['refreshed']) => refreshed.push(event),
      written: (event: SessionEvents['written']) => written.push(event),
    };
    const lifetime = { isActivity, idleSeconds: 3_600 };
    const one = withSession({ ...at(issuer), ...mounts, events, lifetime, required: true });
    const other = withSession({ ...at(issuer), ...mounts });
    const url = await serve((app) => {
      for (const each of order(one, other)) app.use(each);
      app.get('/', (req, res) => res.end(JSON.stringify(one.get(req))));
    });
    const sealed = await createSessionManager(at(issuer)).seal(await issuer.issue({ lifetimeSeconds: -30 }));
    const get = (cookie: string) => createBrowser(url).get('/', { headers: { cookie } });
    const page = await get(`session=${sealed}`);
    expect([page.status, page.json.refreshed, page.setCookies.length]).toEqual([200, true, 1]);
    expect([refreshed.length, written.length, asked, issuer.received().length]).toEqual([1, 1, 1, 1]);
    expect((await get('session=junk')).status).toBe(401);
  });
});
