import type { createServer } from 'node:http';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import connect from 'connect';
import express, { type RequestHandler, Router } from 'express';
import { getSession, requireSession, type Sessions, type SessionOptions, withSession } from 'express-sealed-session';

import { listen, type Listening } from '../support/apps.js';
import { createNavigator, type Navigator } from '../support/navigator.js';
import { startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { workosOptions } from '../support/workos-session.js';

const origin = 'https://example.com';
const open: { close: () => Promise<unknown> }[] = [];
afterAll(() => Promise.all(open.map((each) => each.close())));

let server: WorkosServer;
beforeAll(async () => {
  server = await startWorkosServer();
  open.push(server);
});

const show: RequestHandler = (req, res) => res.end(JSON.stringify(getSession(req)));

/** Ways of mounting an app below `/shop`, each as its users write it. */
const mounts: Record<string, (sessions: Sessions) => Parameters<typeof createServer>[1]> = {
  'in a Router': (sessions) => {
    const shop = Router();
    shop.use(sessions, sessions.routes());
    shop.get('/page', sessions.require(), show);
    return express().use('/shop', shop);
  },
  'in a Router of a Router': (sessions) => {
    const shop = Router().use(sessions, sessions.routes()).get('/page', sessions.require(), show);
    return express().use('/', Router().use('/shop', shop));
  },
  'in a sub-app': (sessions) => {
    const shop = express().use(sessions, sessions.routes()).get('/page', requireSession(), show);
    return express().use('/shop', shop);
  },
  'at the root, with routes below': (sessions) =>
    express().use(sessions, sessions.routes()).get('/shop/page', sessions.require(), show),
  'as middleware of a path pattern (MiddlewareConsumer of NestJS)': (sessions) =>
    express().use('/shop/{*path}', sessions, sessions.routes()).get('/shop/page', sessions.require(), show),
  'in Connect': (sessions) => {
    const app = connect();
    app.use('/shop', sessions);
    app.use('/shop', sessions.routes());
    app.use('/shop/page', sessions.require());
    app.use('/shop/page', show as never);
    return app;
  },
};

async function serve(
  mount: (sessions: Sessions) => Parameters<typeof createServer>[1],
  options: Partial<SessionOptions>,
  origins = [origin],
): Promise<{ app: Listening; browser: Navigator; sessions: Sessions }> {
  const sessions = withSession(workosOptions(server, options));
  const app = await listen(mount(sessions)!);
  open.push(app);
  return { app, sessions, browser: createNavigator(Object.fromEntries(origins.map((each) => [each, app.url]))) };
}

const pathOf = (url: string | undefined) => url?.replace(origin, '');

describe('an app below a path', () => {
  it.each(Object.entries(mounts))('signs in and out %s', async (_, mount) => {
    const { browser } = await serve(mount, { baseUrl: `${origin}/shop` });
    const guarded = await browser.open(`${origin}/shop/page?tab=2`);
    expect(pathOf(guarded.location)).toBe('/shop/login?returnTo=%2Fshop%2Fpage%3Ftab%3D2');
    const login = await browser.open(guarded.location!);
    expect(new URL(login.location!).searchParams.get('redirect_uri')).toBe(`${origin}/shop/callback`);
    const page = await browser.follow(login.location!);
    expect(pathOf(page.url)).toBe('/shop/page?tab=2');
    expect(page.json).toMatchObject({ authenticated: true });
    // Another app of this host keeps its own cookie.
    expect(browser.jar.cookies.map(({ name }) => name)).toEqual(['wos-session-shop']);

    const out = await browser.open(`${origin}/shop/logout`, { headers: { 'sec-fetch-site': 'same-origin' } });
    expect(new URL(out.location!).searchParams.get('return_to')).toBe(`${origin}/shop/`);
    expect(browser.jar.cookies).toEqual([]);
  });

  it('goes to its own start page without a returnTo, not to that of the host', async () => {
    const { browser } = await serve(mounts['in a Router']!, { baseUrl: `${origin}/shop/` });
    const page = await browser.follow(`${origin}/shop/login`);
    expect(pathOf(page.url)).toBe('/shop/');
  });

  it('answers none of its routes at the root', async () => {
    const { browser } = await serve(mounts['at the root, with routes below']!, { baseUrl: `${origin}/shop` });
    for (const path of ['/login', '/callback', '/logout', '/shopping/login']) {
      expect((await browser.open(`${origin}${path}`)).status).toBe(404);
    }
  });

  it('does not sign another app of the host out', async () => {
    const first = withSession(workosOptions(server, { baseUrl: `${origin}/one` }));
    const second = withSession(workosOptions(server, { baseUrl: `${origin}/two`, property: 'second' }));
    const app = await listen(
      express()
        .use(
          '/one',
          Router()
            .use(first, first.routes())
            .get('/page', first.require(), (req, res) => res.json(first.get(req))),
        )
        .use(
          '/two',
          Router()
            .use(second, second.routes())
            .get('/page', second.require(), (req, res) => res.json(second.get(req))),
        ),
    );
    open.push(app);
    const browser = createNavigator({ [origin]: app.url });
    await browser.follow(`${origin}/one/login`);
    await browser.follow(`${origin}/two/login`);
    await browser.open(`${origin}/two/logout`, { headers: { 'sec-fetch-site': 'same-origin' } });
    expect((await browser.open(`${origin}/one/page`)).json).toMatchObject({ authenticated: true });
    expect((await browser.open(`${origin}/two/page`)).status).toBe(302);
  });
});

describe('an app behind a proxy that changes the path', () => {
  it.each([
    ['strips the prefix', { baseUrl: `${origin}/shop`, routes: { base: '/' } }, '', '/shop'],
    ['adds a prefix', { baseUrl: origin, routes: { base: '/inner' } }, '/inner', ''],
    ['changes the prefix', { baseUrl: `${origin}/shop`, routes: { base: '/inner/' } }, '/inner', '/shop'],
  ])('signs in and out where it %s', async (_, options, inner, outer) => {
    const sessions = withSession(workosOptions(server, options));
    const app = express().use(sessions, sessions.routes()).get(`${inner}/page`, sessions.require(), show);
    // What a proxy does to the path, and nothing else.
    const proxied = await listen((req, res) => {
      req.url = `${inner}${(req.url ?? '').slice(outer.length)}`;
      app(req, res);
    });
    open.push(proxied);
    const browser = createNavigator({ [origin]: proxied.url });
    const page = await browser.follow(`${origin}${outer}/page`);
    expect(page.hops.map(pathOf).filter((hop) => hop?.startsWith('/'))).toEqual([
      `${outer}/page`,
      `${outer}/login?returnTo=${encodeURIComponent(`${outer}/page`)}`,
      expect.stringMatching(new RegExp(`^${outer}/callback\\?`)),
      `${outer}/page`,
    ]);
    expect(page.json).toMatchObject({ authenticated: true });
    const out = await browser.open(`${origin}${outer}/logout`, { headers: { 'sec-fetch-site': 'same-origin' } });
    expect(new URL(out.location!).searchParams.get('return_to')).toBe(`${origin}${outer}/`);
  });

  it('sends a visitor from a path that browsers cannot ask for to signIn.returnTo', async () => {
    const sessions = withSession(
      workosOptions(server, { baseUrl: origin, routes: { base: '/inner' }, signIn: { returnTo: '/home' } }),
    );
    const app = await listen(express().use(sessions, sessions.routes()).get('/else', sessions.require(), show));
    open.push(app);
    const guarded = await createNavigator({ [origin]: app.url }).open(`${origin}/else`);
    expect(pathOf(guarded.location)).toBe('/login?returnTo=%2Fhome');
  });
});

describe('an app at several origins', () => {
  const second = 'https://second.example';
  const preview = 'https://shop-42.preview.example.com';
  const evil = 'https://evil.example';
  let browser: Navigator;
  beforeEach(async () => {
    const baseUrl = [origin, second, 'https://shop-*.preview.example.com'];
    ({ browser } = await serve(
      (sessions) =>
        express().use(sessions, sessions.routes()).get('/page', sessions.require(), show).get('/free', show),
      { baseUrl },
      [origin, second, preview, evil],
    ));
  });

  it.each([origin, second, preview])('signs in and out at %s, and stays there', async (at) => {
    const page = await browser.follow(`${at}/page`);
    expect(page.url).toBe(`${at}/page`);
    expect(page.json).toMatchObject({ authenticated: true });
    const toProvider = page.hops.find((hop) => hop.startsWith(server.url))!;
    expect(new URL(toProvider).searchParams.get('redirect_uri')).toBe(`${at}/callback`);
    const out = await browser.open(`${at}/logout`, { headers: { origin: at } });
    expect(new URL(out.location!).searchParams.get('return_to')).toBe(`${at}/`);
  });

  it('refuses a sign-out that one of its origins makes another one ask for', async () => {
    const out = await browser.open(`${second}/logout`, { method: 'POST', headers: { origin } });
    expect(out.status).toBe(403);
  });

  it('does not end at one origin what began at another', async () => {
    const login = await browser.open(`${origin}/login`);
    const callback = (await browser.open(login.location!)).location!;
    const cookie = browser.cookiesFor(callback);
    const before = server.tokenRequests.length;
    const moved = await browser.open(callback.replace(origin, second), { cookie });
    expect(moved.location).toContain(server.url);
    expect(server.tokenRequests).toHaveLength(before);
  });

  it.each(['/login', '/callback?code=a', '/logout'])(
    'answers 421 at a host that is none of its own: %s',
    async (path) => {
      const page = await browser.open(`${evil}${path}`, { headers: { 'x-forwarded-host': 'example.com' } });
      expect([page.status, page.setCookies]).toEqual([421, []]);
    },
  );

  it('serves every other path there', async () => {
    expect((await browser.open(`${evil}/free`)).status).toBe(200);
  });
});

describe('the options of a site', () => {
  const problemsOf = (options: Partial<SessionOptions>) => {
    try {
      withSession(workosOptions(server, options));
      return [];
    } catch (error) {
      return (error as { problems: { path: string }[] }).problems.map(({ path }) => path);
    }
  };

  it.each<[SessionOptions['baseUrl'] | number, boolean]>([
    [origin, true],
    [`${origin}/shop`, true],
    [[origin], true],
    [[`${origin}/shop`, 'https://b.example/shop/'], true],
    [['http://localhost:3000', 'http://shop.localhost:3000'], true],
    [['https://*.example.com'], true],
    [[], false],
    [[origin, 'http://localhost:3000'], false],
    [[`${origin}/shop`, 'https://b.example/other'], false],
    ['http://app.example.com', false],
    [`${origin}?a=1`, false],
    ['https://*', false],
    ['https://*.com', false],
    ['https://a.*.example.com', false],
    ['https://*.*.example.com', false],
    ['https://*.localhost', false],
    [`${origin}/*`, false],
    [7, false],
  ])('baseUrl: %j is accepted: %s', (baseUrl, isGood) => {
    expect(problemsOf({ baseUrl: baseUrl as never })).toEqual(isGood ? [] : ['baseUrl']);
  });

  it.each<[unknown, boolean]>([
    ['/', true],
    ['/inner', true],
    ['inner', false],
    ['//evil.example', false],
    ['/inner?a=1', false],
    [true, false],
  ])('routes.base: %j is accepted: %s', (base, isGood) => {
    expect(problemsOf({ baseUrl: origin, routes: { base } as never })).toEqual(isGood ? [] : ['routes.base']);
  });

  it('refuses two routes on one path, and a sign-up without a callback', () => {
    expect(problemsOf({ routes: { signUp: '/login' } })).toEqual(['routes.signUp']);
    expect(problemsOf({ routes: { login: false, callback: false, signUp: true } })).toEqual(['routes.callback']);
  });

  it.each([
    [`${origin}/a/b`, 'wos-session-a-b'],
    [`${origin}/caf%C3%A9`, 'wos-session-caf%C3%A9'],
    [origin, 'wos-session'],
  ])('the cookie of %s is %s', async (baseUrl, name) => {
    const { browser } = await serve((sessions) => express().use(sessions, sessions.routes()), { baseUrl });
    await browser.follow(`${baseUrl}/login`);
    expect(browser.jar.cookies.map((each) => each.name)).toEqual([name]);
  });
});
