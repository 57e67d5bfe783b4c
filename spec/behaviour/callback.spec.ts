import { readFileSync } from 'node:fs';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { getSession, type SessionEvents, type SessionOptions, withSession } from 'express-sealed-session';

import { frameworks } from '../support/apps.js';
import { useClock } from '../support/clock.js';
import { createNavigator, type Navigator, type Visited } from '../support/navigator.js';
import { answers, startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { expired, sealedSession, workosOptions } from '../support/workos-session.js';

const origin = 'https://app.example.com';
const other = 'https://other.example.com';
const clock = useClock();
const open: { close: () => Promise<unknown> }[] = [];
afterAll(() => Promise.all(open.map((each) => each.close())));

interface Served {
  readonly browser: Navigator;
  readonly failures: SessionEvents['signInFailed'][];
  readonly signIns: SessionEvents['signedIn'][];
  readonly newBrowser: (options?: { keepsCookies?: boolean }) => Navigator;
}

/** What the tests set, for one test. */
const now = {
  isRefused: false,
  isRefreshAway: false,
  change: (body: Record<string, unknown>): Record<string, unknown> => body,
};
const usual = { ...now };

async function serve(server: WorkosServer, options: Partial<SessionOptions> = {}): Promise<Served> {
  const failures: SessionEvents['signInFailed'][] = [];
  const signIns: SessionEvents['signedIn'][] = [];
  const sessions = withSession(
    workosOptions(server, {
      baseUrl: [origin, other],
      signIn: { returnTo: '/home' },
      events: { signInFailed: (event) => failures.push(event), signedIn: (event) => signIns.push(event) },
      onSignIn: () => {
        if (now.isRefused) throw Object.assign(new Error('not on the list'), { status: 418, code: 'APP' });
      },
      ...options,
    }),
  );
  const app = await frameworks[0]!.listen((each) => {
    each.use(sessions);
    each.use(sessions.routes());
    each.get('/page', (req, res) => res.end(JSON.stringify(getSession(req))));
    each.get('/home', (req, res) => res.end(JSON.stringify(getSession(req))));
    each.get('/begin', async (req, res) => {
      const asked = { returnTo: '/page', ...(JSON.parse(String(req.headers['x-asked'])) as object) };
      res.setHeader('Location', await getSession(req).beginSignIn(asked));
      res.statusCode = 303;
      res.end();
    });
  });
  open.push(app);
  const servedAt = { [origin]: app.url, [other]: app.url, 'https://evil.example': app.url };
  const newBrowser: Served['newBrowser'] = (how) => createNavigator(servedAt, how);
  return { browser: newBrowser(), failures, signIns, newBrowser };
}

/** Where a callback of a sign-in that has begun leads, without going there. */
async function begun(browser: Navigator, from = '/login?returnTo=/page', asked?: object): Promise<string> {
  const authorize = await browser.open(from, { headers: asked ? { 'x-asked': JSON.stringify(asked) } : {} });
  const callback = (await browser.open(authorize.location!)).location!;
  expect(new URL(callback).pathname).toBe('/callback');
  return callback;
}

const column = { 'Signed in': 'in', 'Not signed in': 'out', 'Not known': 'unknown' } as const;
type Who = (typeof column)[keyof typeof column];
type Row = (served: Served, server: WorkosServer) => Promise<Visited>;

/** Each way a callback can arrive, by its row in the guide. */
const rows: Record<string, Row> = {
  'has a flow and a good code': async ({ browser }) => browser.open(await begun(browser)),
  'comes twice, the second while the first waits': async ({ browser }, server) => {
    const callback = await begun(browser);
    const before = exchangesOf(server);
    const held = server.token.hold();
    const both = [browser.open(callback), browser.open(callback)];
    await held.arrived(1);
    held.release();
    const [first, second] = await Promise.all(both);
    expect(first!.location).toBe(second!.location);
    expect(exchangesOf(server)).toBe(before + 1);
    return second!;
  },
  'comes again within a minute, with its flow': async ({ browser }, server) => {
    const callback = await begun(browser);
    const cookie = browser.cookiesFor(callback);
    await browser.open(callback, { cookie });
    const before = exchangesOf(server);
    const again = await browser.open(callback, { cookie });
    expect(exchangesOf(server)).toBe(before);
    return again;
  },
  'has a flow and a spent code': async ({ browser }) => browser.open(withSpentCode(await begun(browser))),
  'has a spent code, and asked for an organization': async ({ browser }) =>
    browser.open(withSpentCode(await begun(browser, '/begin', { organizationId: 'org_01' }))),
  'has a flow that is too old': async ({ browser }) => {
    const callback = await begun(browser);
    clock.advance(700);
    return browser.open(callback);
  },
  'has no flow, as from a bookmark': async ({ browser, newBrowser }) => browser.open(await begun(newBrowser())),
  'has the flow of another sign-in': async ({ browser }) => {
    const callback = await begun(browser);
    const flow = flowOf(browser);
    const second = new URL(await begun(browser));
    const name = browser.jar.cookies.filter((each) => each.name.includes('-flow-')).at(-1)!.name;
    // As one who can write cookies would do it: another flow under the name that belongs to this state.
    browser.jar.set(origin, `${name}=${flow}; Path=/; Secure`);
    second.searchParams.set('code', new URL(callback).searchParams.get('code')!);
    return browser.open(second.href);
  },
  'has no `state`': async ({ browser }) => {
    const callback = new URL(await begun(browser));
    callback.searchParams.delete('state');
    return browser.open(callback.href);
  },
  'has no flow a second time, without cookies': async ({ newBrowser, browser }) => {
    const blocked = newBrowser({ keepsCookies: false });
    const cookie = browser.cookiesFor('/page');
    const first = await blocked.open(await begun(blocked));
    return blocked.open((await blocked.open(first.location!)).location!, { cookie });
  },
  'has no `state`, a second time within a minute': async ({ browser, newBrowser }) => {
    const stranger = newBrowser();
    await stranger.open('/callback?code=a');
    for (const { name, value } of stranger.jar.cookies) browser.jar.set(origin, `${name}=${value}; Path=/; Secure`);
    return browser.open('/callback?code=a');
  },
  "has no flow, and is a script's request": async ({ browser }) =>
    browser.open('/callback?code=a&state=b', { headers: { 'sec-fetch-mode': 'cors' } }),
  'has an error and no flow': async ({ browser }) => browser.open('/callback?error=access_denied&state=b'),
  'has an error and its flow': async ({ browser }, server) => {
    server.visitor = { error: 'access_denied', error_description: 'text of the provider' };
    const page = await browser.open(await begun(browser));
    expect(page.text).not.toContain('text of the provider');
    return page;
  },
  'has `temporarily_unavailable` and its flow': async ({ browser }, server) => {
    server.visitor = { error: 'temporarily_unavailable' };
    return browser.open(await begun(browser));
  },
  'has an answer that fails a check': async ({ browser }) => {
    now.change = (answer) => ({ ...answer, access_token: undefined });
    return browser.open(await begun(browser));
  },
  'has another organization than was asked for': async ({ browser }, server) => {
    now.change = (answer) => ({ ...answer, organization_id: 'org_02' });
    server.visitor = { claims: { org_id: 'org_02' } };
    return browser.open(await begun(browser, '/begin', { organizationId: 'org_01' }));
  },
  'has an older sign-in than was asked for': async ({ browser }, server) => {
    server.visitor = { claims: { auth_time: Math.trunc(Date.now() / 1000) - 400 } };
    return browser.open(await begun(browser, '/begin', { maxAuthAgeSeconds: 300 }));
  },
  'has its flow, and the provider is away': async ({ browser }, server) => {
    const callback = await begun(browser);
    server.token.fail(answers.htmlBadGateway);
    return browser.open(callback);
  },
  'is refused by `onSignIn`': async ({ browser }) => {
    now.isRefused = true;
    return browser.open(await begun(browser));
  },
  "comes to a host that is none of the app's": ({ browser }) => browser.open('https://evil.example/callback?code=a'),
  'is a prefetch': async ({ browser }) =>
    browser.open(await begun(browser), { headers: { 'sec-purpose': 'prefetch' } }),
};

function withSpentCode(callback: string): string {
  const url = new URL(callback);
  url.searchParams.set('code', 'spent');
  return url.href;
}

const exchangesOf = ({ tokenRequests }: WorkosServer) =>
  tokenRequests.filter(({ body }) => body.grant_type === 'authorization_code').length;

function flowOf(browser: Navigator): string {
  return browser.jar.cookies.find(({ name }) => name.includes('-flow-'))!.value;
}

/** Where a visitor has ended, in the words of the guide. */
function whereTo({ status, location }: Visited, server: WorkosServer): string {
  if (status === 418) return "app's error";
  if (location === undefined) return String(status);
  const { origin: at, pathname } = new URL(location);
  if (at === server.url && pathname === '/user_management/authorize') return 'the provider';
  return at === origin ? ({ '/page': 'the page', '/home': 'home' }[pathname] ?? location) : location;
}

const guide = readFileSync(new URL('../../docs/guide/sign-in.md', import.meta.url), 'utf8');
const lines = guide
  .split('## Where a callback leads')[1]!
  .split('\n## ')[0]!
  .split('\n')
  .filter((line) => line.startsWith('|'))
  .map((line) =>
    line
      .slice(1, -1)
      .split(' | ')
      .map((cell) => cell.trim()),
  );
const [head = [], , ...body] = lines;
const cells = body.flatMap(([row = '', ...ends]) =>
  ends.map((end, index) => [row, head[index + 1] ?? '', end] as const),
);

describe('where a callback leads', () => {
  let server: WorkosServer;
  let served: Served;

  beforeAll(async () => {
    // However far the clock goes on, a refresh token that was spent in an answer that was not whole is none too late.
    server = await startWorkosServer({ replayWindowMs: Infinity });
    open.push(server);
  });
  beforeEach(() => {
    Object.assign(now, usual);
    server.token.heal();
    server.token.reply = (answer, { body }) =>
      body.grant_type === 'refresh_token' && now.isRefreshAway ? {} : now.change(answer);
    server.visitor = {};
  });

  /** A browser that is signed in, is not, or whose session nobody can check. */
  async function be(who: Who): Promise<void> {
    if (who === 'out') return;
    const { sealed } = await sealedSession(server, who === 'unknown' ? expired : {});
    served.browser.jar.set(origin, `wos-session=${sealed}; Path=/; Secure`);
    // The answers to its refreshes are not whole, so nobody knows.
    now.isRefreshAway = who === 'unknown';
  }

  it('is in the guide for each way that is tried here, and for no other', () => {
    expect(body.map(([row]) => row)).toEqual(Object.keys(rows));
    expect(head.slice(1)).toEqual(Object.keys(column));
    expect(cells).toHaveLength(3 * Object.keys(rows).length);
  });

  it.each(cells)('when it %s, %s: %s', async (row, who, end) => {
    served = await serve(server);
    await be(column[who as keyof typeof column]);
    expect(whereTo(await rows[row]!(served, server), server)).toBe(end);
    server.token.heal();
    now.isRefreshAway = false;
    // A session that was there before is still there, unless the new one has taken its place.
    if (who === 'Signed in') expect((await served.browser.open('/page')).json).toMatchObject({ authenticated: true });
    if (who === 'Not known') expect(served.browser.jar.get('wos-session')).toBeDefined();
  });

  describe('and what is told of it', () => {
    beforeEach(async () => {
      served = await serve(server);
    });

    it('reports that a sign-in was begun again, and what came of it', async () => {
      const page = await served.browser.follow('/callback?code=a&state=b');
      expect(new URL(page.url).pathname).toBe('/home');
      expect(page.json).toMatchObject({ authenticated: true });
      expect(served.failures).toEqual([{ failure: 'flow_missing', restarted: true }]);
      // The next stray callback may begin again too.
      expect(served.browser.jar.cookies.map(({ name }) => name)).toEqual(['wos-session']);
    });

    it('ends in an error page, not in a circle, where cookies are blocked', async () => {
      const page = await served.newBrowser({ keepsCookies: false }).follow('/login?returnTo=/page');
      expect(page.status).toBe(400);
      expect(served.failures).toEqual([
        { failure: 'flow_missing', restarted: true },
        { failure: 'flow_missing', restarted: false },
      ]);
    });

    it('ends in an error page, not in a circle, at a provider that drops the state', async () => {
      const { browser } = served;
      const first = await browser.open('/callback?code=a');
      const callback = new URL((await browser.open(first.location!)).location!);
      callback.searchParams.delete('state');
      expect((await browser.open(callback.href)).status).toBe(400);
    });

    it('ends in an error page, not in a circle, where every code is refused', async () => {
      server.token.fail({ status: 400, body: { error: 'invalid_grant' } });
      const page = await served.browser.follow('/login?returnTo=/page');
      expect(page.status).toBe(400);
      expect(served.failures).toEqual([
        { failure: 'code_spent', providerError: 'invalid_grant', restarted: true },
        { failure: 'code_spent', providerError: 'invalid_grant', restarted: false },
      ]);
    });

    it('keeps what was asked for when it begins again', async () => {
      const callback = await begun(served.browser, '/begin', { organizationId: 'org_01', maxAuthAgeSeconds: 60 });
      const again = new URL((await served.browser.open(withSpentCode(callback))).location!);
      expect(Object.fromEntries(again.searchParams)).toMatchObject({ organization_id: 'org_01', max_age: '60' });
    });

    it.each([
      ['access_denied', 'access_denied', 400],
      ['login_required', 'login_required', 400],
      ['server_error', 'server_error', 503],
      ['<script>alert(1)</script>', 'other', 400],
    ])('says the registered code of a provider that answers %s', async (error, providerError, status) => {
      server.visitor = { error };
      const page = await served.browser.open(await begun(served.browser));
      expect(page.status).toBe(status);
      expect(page.text).not.toContain('script');
      expect(page.headers['retry-after']).toBe(status === 503 ? '5' : undefined);
      expect(served.failures).toEqual([{ failure: 'provider_error', providerError, restarted: false }]);
    });

    it('signs in once, and reports it once, for two clicks of one callback', async () => {
      const callback = await begun(served.browser);
      const held = server.token.hold();
      const both = [served.browser.open(callback), served.browser.open(callback)];
      await held.arrived(1);
      held.release();
      const [first, second] = await Promise.all(both);
      const sessionIn = ({ setCookies }: Visited) => setCookies.find((each) => each.startsWith('wos-session='));
      expect(sessionIn(first!)).toBe(sessionIn(second!));
      expect(served.signIns).toHaveLength(1);
      expect((await served.browser.open('/page')).json).toMatchObject({ authenticated: true });
    });

    it('reports a failure once for two clicks of one callback', async () => {
      const callback = withSpentCode(await begun(served.browser));
      const held = server.token.hold();
      const both = [served.browser.open(callback), served.browser.open(callback)];
      await held.arrived(1);
      held.release();
      await Promise.all(both);
      expect(served.failures).toHaveLength(1);
    });

    it('lets two clicks on the link to sign in both end signed in', async () => {
      const { browser } = served;
      const callbacks = await Promise.all([begun(browser), begun(browser, '/login?returnTo=/home')]);
      const pages = await Promise.all(callbacks.map((callback) => browser.follow(callback)));
      expect(pages.map(({ url }) => new URL(url).pathname)).toEqual(['/page', '/home']);
      expect((await browser.open('/page')).json).toMatchObject({ authenticated: true });
      expect((await browser.open('/home')).json).toMatchObject({ authenticated: true });
    });

    it('gives the session of a sign-in to nobody without its flow', async () => {
      const callback = await begun(served.browser);
      await served.browser.open(callback);
      const stranger = served.newBrowser();
      const page = await stranger.open(callback);
      expect(whereTo(page, server)).toBe('the provider');
      expect(stranger.jar.get('wos-session')).toBeUndefined();
    });

    it('gives it for a minute, and no longer', async () => {
      const callback = await begun(served.browser);
      const cookie = served.browser.cookiesFor(callback);
      await served.browser.open(callback, { cookie });
      clock.advance(61);
      const before = exchangesOf(server);
      await served.browser.open(callback, { cookie });
      expect(exchangesOf(server)).toBe(before + 1);
    });
  });
});
