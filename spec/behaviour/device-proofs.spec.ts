import { describe, expect, it } from '@jest/globals';
import type { SessionConfigError } from 'express-sealed-session';
import { createSessionManager, type SessionOptions, withSession } from 'express-sealed-session';

import { createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { challengeOf, createDevice, devicePath, documentFrom, offerOf } from '../support/device.js';
import { proofName, shown, useDeviceApps, who } from '../support/device-app.js';
import { createNavigator } from '../support/navigator.js';
import { password, sealedSession, sessionCookieOf } from '../support/workos-session.js';

const clock = useClock();
const apps = useDeviceApps();
const { bind, optionsOf, serve, visitor } = apps;

/** A bound browser whose proof has expired. */
async function withoutProof(change?: Partial<SessionOptions>) {
  const bound = await bind(change);
  clock.advance(601);
  return bound;
}

describe('a request of a bound session without a proof', () => {
  it('opens a page anew where another site has led to it', async () => {
    const { browser } = await withoutProof();
    const page = await browser.get('/account?a=1&b="2"', documentFrom('cross-site'));
    expect([page.status, page.headers.get('refresh')]).toEqual([
      401,
      '0;url=https://app.example.com/account?a=1&b=%222%22',
    ]);
    expect(page.headers.get('cache-control')).toBe('private, no-store');
    expect(page.setCookies).toEqual([]);
  });

  it('leads to no other site where the path looks like one', async () => {
    const { browser, app } = await withoutProof();
    const page = await browser.get(`${app.url}//evil.example/`, documentFrom('cross-site'));
    expect(page.headers.get('refresh')).toBe('0;url=https://app.example.com//evil.example/');
  });

  it('goes to sign in with any other page, and is 401 without one', async () => {
    const { app, browser } = await withoutProof();
    const person = createNavigator({ 'https://app.example.com': app.url });
    const cookie = browser.jar.header(app.url);
    const page = await person.open('https://app.example.com/account', { cookie });
    expect([page.status, page.location]).toEqual([302, 'https://app.example.com/login?returnTo=%2Faccount']);
    expect(await who(browser)).toBe(401);
  });

  it.each(['quota_exceeded', 'server_error', 'unreachable', '"quota_exceeded"', 'another'])(
    'is asked to come again where the browser says %s',
    async (why) => {
      const { browser } = await withoutProof();
      const headers = { 'secure-session-skipped': `${why};session_identifier="a"` };
      const page = await browser.get('/account', { headers });
      expect([page.status, page.headers.get('retry-after')]).toEqual([503, '60']);
      expect(await shown(browser, { headers })).toMatchObject({ reason: 'device_proof_unavailable', retryable: true });
      expect(apps.told.deviceProofMissed?.[0]).toMatchObject({
        skipped: why === 'another' ? 'other' : why.replaceAll('"', ''),
      });
    },
  );

  it('is only told with reportOnly', async () => {
    const { browser } = await withoutProof({ deviceBound: { reportOnly: true } });
    expect(await who(browser)).toBe(200);
    expect(await shown(browser)).toMatchObject({ authenticated: true, deviceBound: false });
    expect(apps.told.deviceProofMissed).toEqual(
      [1, 2].map(() => ({ sessionId: expect.any(String), skipped: undefined, enforced: false })),
    );
  });

  it('can sign out', async () => {
    const { browser, before } = await withoutProof();
    const page = await browser.post('/logout');
    expect([page.status, sessionCookieOf(page.setCookies)]).toEqual([303, '']);
    expect(await shown(before)).toMatchObject({ reason: 'session_revoked' });
  });

  it('goes on where sessions are not bound any more', async () => {
    const { browser } = await withoutProof();
    const plain = await serve({ deviceBound: false });
    const cookie = browser.jar.header(plain.url)!;
    expect((await browser.get(`${plain.url}/account`, { headers: { cookie } })).status).toBe(200);
  });
});

describe('the page after a sign-in', () => {
  it.each([
    ['Chromium, which opens it from here, and may then bind the session', { 'sec-ch-ua': '"Chromium";v="156"' }, 200],
    ['any other browser, by a redirect', {}, 303],
  ])('is for %s', async (_, headers, status) => {
    const app = await serve();
    const person = createNavigator({ 'https://app.example.com': app.url });
    const { location: authorize } = await person.open('https://app.example.com/login?returnTo=/account');
    const { location: back } = await person.open(authorize!);
    const page = await person.open(back!, { headers: { 'sec-fetch-site': 'cross-site', ...headers } });
    expect([page.status, page.headers.refresh]).toEqual([status, status === 200 ? '0;url=/account' : undefined]);
    expect(page.headers['referrer-policy']).toBe('no-referrer');
    const next = await person.open('https://app.example.com/account', { headers: { 'sec-fetch-site': 'same-origin' } });
    expect(next.headers['secure-session-registration']).toBeDefined();
  });
});

describe('the refresh endpoint', () => {
  it('sends a challenge, and a new proof for its answer', async () => {
    const { browser, device, id } = await withoutProof();
    const asked = await device.post({ 'sec-secure-session-id': id });
    expect([asked.status, asked.headers.get('secure-session-challenge')]).toEqual([
      403,
      expect.stringMatching(new RegExp(`^"[\\w.-]+";id="${id}"$`)),
    ]);
    const page = await device.refresh(id, { challenge: challengeOf(asked)! });
    expect([page.status, page.json.session_identifier]).toEqual([200, id]);
    expect(page.setCookies).toEqual([expect.stringMatching(/^__Host-wos-session-proof=.*Max-Age=(600|599);/)]);
    expect(await who(browser)).toBe(200);
    // The browser has asked for the proof that it lacks: nothing to tell.
    expect(apps.told.deviceProofMissed).toBeUndefined();
  });

  it('gives an answer that leaked, and is sent again, no more time', async () => {
    const { browser, device, id } = await withoutProof();
    const challenge = challengeOf(await device.post({ 'sec-secure-session-id': id }))!;
    await device.refresh(id, { challenge });
    const proof = browser.jar.get(proofName);
    clock.advance(30);
    const again = await device.refresh(id, { challenge });
    expect(again.setCookies[0]).toMatch(/Max-Age=(570|569);/);
    expect(browser.jar.get(proofName)).toBe(proof);
    clock.advance(31);
    expect((await device.refresh(id, { challenge })).status).toBe(403);
  });

  it.each<[string, Parameters<Awaited<ReturnType<typeof createDevice>>['refresh']>[1], number]>([
    ['with another type', { header: { typ: 'JWT' } }, 400],
    ['with a critical extension', { header: { crit: ['b64'], b64: true } }, 400],
    ['that is none', { text: 'a.b.c' }, 400],
    ['to a challenge of its own', { challenge: 'a.b.c' }, 403],
  ])('gives no proof for an answer %s', async (_, forgery, status) => {
    const { device, id } = await withoutProof();
    const page = await device.refresh(id, forgery);
    expect([page.status, page.setCookies]).toEqual([status, []]);
  });

  it('takes no challenge of a registration', async () => {
    const app = await serve();
    const browser = await visitor(app);
    const device = await createDevice(browser);
    const page = await browser.get('/', documentFrom('none'));
    const { json } = await device.register(page);
    const challenge = /challenge="([^"]+)"/.exec(page.headers.get('secure-session-registration')!)![1]!;
    expect((await device.refresh(json.session_identifier as string, { challenge })).status).toBe(403);
  });

  const ended = (id: string) => [200, { session_identifier: id, continue: false }];
  const answered = ({ status, json }: { status: number; json: unknown }) => [status, json];

  it('ends the session of a browser that has signed out, or signed in anew', async () => {
    const { app, browser, device, id } = await bind();
    const { sealed } = await sealedSession(apps.server);
    await browser.post('/logout');
    expect([browser.jar.get('wos-session'), browser.jar.get(proofName)]).toEqual([undefined, undefined]);
    expect(answered(await device.post({ 'sec-secure-session-id': id }))).toEqual(ended(id));
    browser.jar.set(app.url, `wos-session=${sealed}; Path=/; Secure`);
    expect(answered(await device.post({ 'sec-secure-session-id': id }))).toEqual(ended(id));
    // The new session has a key of its own.
    const next = await createDevice(browser);
    expect((await next.register(await browser.get('/', documentFrom('same-origin')))).status).toBe(200);
    expect(await shown(browser)).toMatchObject({ deviceBound: true });
  });

  it('ends the session of a copy that outlived a sign-out', async () => {
    const { browser, id } = await bind();
    const copy = browser.clone();
    const device = await createDevice(copy);
    await browser.post('/logout');
    expect(answered(await device.post({ 'sec-secure-session-id': id }))).toEqual(ended(id));
  });

  it('ends nothing where it cannot tell: a process without the password', async () => {
    const { browser, id } = await bind();
    const other = await serve({ password: 'another password that is long enough' });
    const cookie = browser.jar.header(other.url)!;
    const headers = { cookie, 'sec-secure-session-id': id, 'sec-fetch-site': 'same-origin' };
    expect((await createBrowser(other.url).post(devicePath, { headers })).status).toBe(503);
  });

  it('needs neither the provider nor a valid access token', async () => {
    const { browser, device, id } = await withoutProof();
    apps.server.token.fail('reset');
    apps.server.keys.fail('reset');
    expect((await device.refresh(id)).status).toBe(200);
    expect(await shown(browser)).toMatchObject({ retryable: true, reason: 'network_error' });
    apps.server.token.heal();
  });

  it('keeps no session from ending for want of activity', async () => {
    const { browser, device, id } = await bind({ lifetime: { idleSeconds: 1_000 } });
    // Its proof is still good, so nothing else keeps it from counting.
    clock.advance(500);
    expect((await device.refresh(id)).setCookies.map((each) => each.split('=')[0])).toEqual([proofName]);
    clock.advance(501);
    expect(await shown(browser)).toMatchObject({ reason: 'session_expired' });
  });
});

describe('a proof', () => {
  it('outlives a change of the password, and goes with the old one', async () => {
    const newer = 'a newer password, of more than 32 letters';
    const { browser, device, id } = await bind();
    const both = await serve({ password: [newer, password] });
    const at = (url: string) => browser.get(`${url}/account`, { headers: { cookie: browser.jar.header(url)! } });
    expect((await at(both.url)).status).toBe(200);
    browser.jar.clear(proofName);
    expect((await device.refresh(id)).status).toBe(200);
    expect((await at(both.url)).status).toBe(200);
  });

  it('is good in every process, without a memory that they share', async () => {
    const { browser } = await bind();
    const other = await serve();
    const cookie = browser.jar.header(other.url)!;
    expect((await createBrowser(other.url).get('/account', { headers: { cookie } })).status).toBe(200);
  });

  it('serves 20 requests at once, and a native client only together with its seal', async () => {
    const { browser } = await bind({ header: 'X-Session' });
    const all = await Promise.all(Array.from({ length: 20 }, () => who(browser)));
    expect(new Set(all)).toEqual(new Set([200]));
    const seal = browser.jar.get('wos-session')!;
    expect(await who(browser, '/account', { headers: { cookie: '', 'x-session': seal } })).toBe(401);
    expect(await who(browser, '/account', { headers: { 'x-session': seal } })).toBe(200);
  });

  it('is asked for where a seal is loaded without HTTP', async () => {
    const { browser } = await bind();
    const manager = createSessionManager(optionsOf());
    const sealed = browser.jar.get('wos-session');
    const proof = browser.jar.get(proofName)!;
    const asked = apps.server.token.requests.length;
    const alone = manager.load(sealed);
    expect(await alone.authenticate()).toMatchObject({ authenticated: false, reason: 'device_proof_missing' });
    expect(await alone.refresh()).toMatchObject({ authenticated: false, reason: 'device_proof_missing' });
    expect(apps.server.token.requests.length).toBe(asked);
    expect(await manager.load(sealed, { proof }).authenticate()).toMatchObject({ authenticated: true });
    expect(await withSession(optionsOf()).load(sealed, { proof }).refresh()).toMatchObject({ authenticated: true });
    const reporting = createSessionManager(optionsOf({ deviceBound: { reportOnly: true } }));
    expect(await reporting.load(sealed).authenticate()).toMatchObject({ authenticated: true });
  });
});

describe('the options of bound sessions', () => {
  const problems = (change: Partial<SessionOptions>) => {
    try {
      withSession(optionsOf(change));
      return [];
    } catch (error) {
      return (error as SessionConfigError).problems.map(({ path }) => path);
    }
  };
  const domain = { cookie: { domain: 'example.com' } };
  it.each<[string, Partial<SessionOptions>, string[]]>([
    ['a proof of less than five minutes', { deviceBound: { proofSeconds: 299 } }, ['deviceBound.proofSeconds']],
    ['a proof of five minutes', { deviceBound: { proofSeconds: 300 } }, []],
    ['a path that is none', { deviceBound: { exclude: ['static'] } }, ['deviceBound.exclude']],
    ['no route', { routes: { device: false } }, ['routes.device']],
    ['no route, and nothing bound', { routes: { device: false }, deviceBound: false }, []],
    ['a cookie in other sites', { cookie: { sameSite: 'none' } }, ['cookie.sameSite']],
    ['a cookie for each other site', { cookie: { partitioned: true } }, ['cookie.partitioned']],
    ['a domain that is no host of the app', domain, ['cookie.domain']],
    ['a domain that is one', { ...domain, baseUrl: ['https://example.com', 'https://a.example.com'] }, []],
    ['another route on its path', { routes: { session: '/session/device' } }, ['routes.device']],
  ])('with %s', (_, change, expected) => {
    expect(problems(change)).toEqual(expected);
  });

  it('cover all subdomains with a domain, where its own host offers it', async () => {
    const baseUrl = ['https://example.com', 'https://a.example.com'];
    const app = await serve({ baseUrl, cookie: { domain: 'example.com' } });
    const person = createNavigator({ 'https://example.com': app.url, 'https://a.example.com': app.url });
    const { sealed } = await sealedSession(apps.server);
    const open = async (
      url: string,
      { method, headers }: { method?: string; headers?: RequestInit['headers'] } = {},
    ) => {
      const given = { ...documentFrom('none').headers, ...(headers as Record<string, string>) };
      const visited = await person.open(url, {
        method: method ?? 'GET',
        headers: given,
        cookie: `wos-session=${sealed}`,
      });
      return { ...visited, headers: new Headers(visited.headers as Record<string, string>) };
    };
    expect(offerOf(await open('https://a.example.com/'))).toBeUndefined();
    const page = await open('https://example.com/');
    const device = await createDevice({
      post: (path, { headers = {} } = {}) => open(`https://example.com${path}`, { method: 'POST', headers }),
    });
    const { json, setCookies } = await device.register(page);
    expect(json).toMatchObject({
      scope: { include_site: true },
      credentials: [
        {
          name: '__Secure-wos-session-proof',
          attributes: 'Domain=example.com; Path=/; Secure; HttpOnly; SameSite=Lax',
        },
      ],
    });
    expect(setCookies.find((each) => each.startsWith('__Secure-'))).toMatch(
      /; Path=\/; Domain=example.com; Max-Age=\d+; HttpOnly; Secure; SameSite=Lax$/,
    );
  });

  it('cover the path of the app, and leave out what needs no session', async () => {
    const app = await serve({ baseUrl: 'https://app.example.com/shop', deviceBound: { exclude: ['/shop/static'] } });
    const browser = createBrowser(app.url);
    browser.jar.set(app.url, `wos-session-shop=${(await sealedSession(apps.server)).sealed}; Path=/; Secure`);
    const device = await createDevice(browser, 'ES256', '/shop/session/device');
    const { json } = await device.register(await browser.get('/', documentFrom('none')));
    expect(json).toMatchObject({
      refresh_url: '/shop/session/device',
      scope: {
        scope_specification: [
          { type: 'exclude', path: '/' },
          { type: 'include', path: '/shop' },
          ...['/shop/login', '/shop/callback', '/shop/logout', '/shop/static'].map((path) => ({
            type: 'exclude',
            path,
          })),
        ],
      },
    });
  });
});
