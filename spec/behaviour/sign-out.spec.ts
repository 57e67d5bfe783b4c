import { type IncomingMessage, request, type ServerResponse } from 'node:http';

import { describe, expect, it, jest } from '@jest/globals';
import {
  createSessionManager,
  getSession,
  type Provider,
  type SessionEvents,
  type SessionOptions,
  withSession,
} from 'express-sealed-session';
import { unsealData } from 'iron-session';

import { createProcessFleet } from '../../lib/fleet/process-fleet.js';
import { frameworks } from '../support/apps.js';
import { createBrowser, type Page } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { createEndpoint, type RecordedRequest } from '../support/endpoint.js';
import { listen } from '../support/http-server.js';
import { useWorkos } from '../support/use-workos.js';
import {
  cookieHeader,
  expired,
  password,
  sealedSession,
  sessionCookieOf,
  workosOptions,
  signInTokens,
} from '../support/workos-session.js';

const clock = useClock();
const workos = useWorkos();
const hour = 60 * 60;
const minute = 60;

const origin = 'https://app.example.com';
const navigation = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', accept: 'text/html' };

/** Runs what was put off for this long when a test says so. Other timers run as they are. */
function holdTimers(ms: number) {
  const held: (() => void)[] = [];
  const real = globalThis.setTimeout;
  const put = (run: () => void, delay?: number) => {
    if (delay !== ms) return real(run, delay);
    held.push(run);
    return real(() => undefined, 0);
  };
  jest.spyOn(globalThis, 'setTimeout').mockImplementation(put);
  return {
    count: () => held.length,
    run: () => {
      for (const each of held.splice(0)) each();
    },
  };
}

/** A provider like WorkOS that revokes refresh tokens, one by one, at an endpoint of its own. */
async function revokingTokens(options: { [Name in keyof Provider]?: Provider[Name] | undefined } = {}) {
  const endpoint = createEndpoint(() => ({ status: 200, body: {} }));
  const server = workos.closing(await listen((req, res) => void endpoint.handle(req, res)));
  const { provider } = workosOptions(workos.server);
  const made = {
    ...provider,
    revokesSession: false,
    refreshTokens: 'single-use',
    revocationRequest: ({ refreshToken }: { refreshToken: string }) => ({
      url: server.url,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token: refreshToken }),
    }),
    ...options,
  } as SessionOptions['provider'];
  return { provider: made, endpoint, revoked: () => tokensOf(endpoint.requests) };
}

const tokensOf = (requests: readonly RecordedRequest[]) => requests.map(({ body }) => body.token);

/** Asks as a browser or another client does, with these headers alone: `fetch` adds its own Sec-Fetch headers. */
function ask(url: string, headers: Record<string, string>, method = 'GET'): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request(url, { headers, method }, (res) => {
      res.resume().once('end', () => {
        resolve(res);
      });
    })
      .once('error', reject)
      .end();
  });
}

/** What a seal holds, as the Iron format of WorkOS's packages has it. */
async function refreshTokenIn(sealed: string): Promise<string> {
  return (await unsealData<{ refreshToken: string }>(sealed, { password, ttl: 0 })).refreshToken;
}

const isOut = ({ json }: Page) => [json.authenticated, json.reason];
const revokedHere = [false, 'session_revoked'];

describe('a sign-out', () => {
  it('ends and revokes the successors that a thief has, as well as the token that the visitor brings', async () => {
    const { provider, endpoint, revoked } = await revokingTokens();
    const app = await workos.serve({ provider, fleet: createProcessFleet() });
    const { sealed, refreshToken } = await sealedSession(workos.server);
    // Nothing has expired: the visitor's own request knows the first token only.
    const second = sessionCookieOf((await app.send(sealed, '/switch')).setCookies)!;
    const third = sessionCookieOf((await app.send(second, '/switch')).setCookies)!;

    await app.send(sealed, '/out');
    await endpoint.received(3);
    const alive = [refreshToken, await refreshTokenIn(second), await refreshTokenIn(third)];
    expect(revoked().sort()).toEqual(alive.sort());
    for (const copy of [sealed, second, third]) expect(isOut(await app.send(copy))).toEqual(revokedHere);
  });

  it('ends every session that the request has brought', async () => {
    const { provider, endpoint, revoked } = await revokingTokens();
    const app = await workos.serve({ provider, fleet: createProcessFleet() });
    const [one, other] = [await sealedSession(workos.server), await sealedSession(workos.server)];
    const both = { headers: { cookie: `wos-session=${one.sealed}; wos-session=${other.sealed}` } };
    await createBrowser(app.url).fetch('/out', both);
    await endpoint.received(2);
    expect(revoked().sort()).toEqual([one.refreshToken, other.refreshToken].sort());
    for (const { sealed } of [one, other]) expect(isOut(await app.send(sealed))).toEqual(revokedHere);
  });

  it('is remembered until the last access token has expired, counting one that a refresh brings at that moment', async () => {
    const { provider, endpoint } = await revokingTokens();
    const app = await workos.serve({ provider, fleet: createProcessFleet() });
    const { sealed } = await sealedSession(workos.server, { lifetimeSeconds: 24 * hour });
    clock.advance(12 * hour);
    await app.send(sealed, '/out');
    await endpoint.received(1);
    // What was minted at the moment of the sign-out lives a day from then.
    clock.advance(12 * hour - 1);
    expect(isOut(await app.send(sealed))).toEqual(revokedHere);
    clock.advance(12 * hour - 1);
    expect(isOut(await app.send(sealed))).toEqual(revokedHere);
    clock.advance(2 * minute);
    expect((await app.send(sealed)).json.reason).not.toBe('session_revoked');
  });

  it.each<[string, Parameters<typeof revokingTokens>[0]]>([
    ['cannot revoke', { revocationRequest: undefined }],
    ['has nowhere to revoke', { revocationRequest: () => undefined }],
    ['is broken', { revocationRequest: () => Promise.reject(new Error('away')) }],
  ])('is remembered for a year where the provider %s', async (_, changes) => {
    const { provider } = await revokingTokens(changes);
    const app = await workos.serve({ provider, fleet: createProcessFleet() });
    const { sealed } = await sealedSession(workos.server);
    await app.send(sealed, '/out');
    clock.advance(365 * 24 * hour);
    expect(isOut(await app.send(sealed))).toEqual(revokedHere);
    expect(workos.server.refreshCount).toBe(0);
  });

  it('is remembered no longer than sessions live by the options', async () => {
    const { provider } = await revokingTokens({ revocationRequest: undefined });
    const lifetime = { absoluteSeconds: 7 * 24 * hour };
    const app = await workos.serve({ provider, lifetime, fleet: createProcessFleet() });
    const { sealed } = await sealedSession(workos.server);
    await app.send(sealed, '/out');
    clock.advance(7 * 24 * hour - minute);
    expect(isOut(await app.send(sealed))).toEqual(revokedHere);
    clock.advance(2 * minute);
    expect(isOut(await app.send(sealed))).toEqual([false, 'session_expired']);
  });

  it('is remembered for longer when the provider refuses to revoke', async () => {
    const { provider, endpoint } = await revokingTokens();
    endpoint.fail({ status: 401, body: {} });
    const app = await workos.serve({ provider, fleet: createProcessFleet() });
    const { sealed } = await sealedSession(workos.server);
    await app.send(sealed, '/out');
    await endpoint.received(1);
    await app.send(sealed);
    clock.advance(24 * hour);
    expect(isOut(await app.send(sealed))).toEqual(revokedHere);
  });

  it('locks nobody out where the provider gives the same refresh token again', async () => {
    const { provider } = await revokingTokens({ refreshTokens: 'reusable' });
    const app = await workos.serve({ provider, fleet: createProcessFleet() });
    const tokens = await workos.server.issueSession();
    const signedIn = async () => {
      const headers = { 'x-tokens': JSON.stringify(signInTokens(tokens)) };
      return app.browser().fetch('/in', { headers });
    };
    const first = sessionCookieOf((await signedIn()).setCookies)!;
    clock.advance(5);
    await app.send(first, '/out');
    clock.advance(5);
    const second = sessionCookieOf((await signedIn()).setCookies)!;
    expect((await app.send(second)).json).toMatchObject({ authenticated: true });
    expect(isOut(await app.send(first))).toEqual(revokedHere);
  });
});

describe('a sign-out at WorkOS', () => {
  it.each<[string, Record<string, string>]>([
    ['a fetch', { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty', accept: '*/*' }],
    ['a client that is no browser', { accept: 'application/json' }],
  ])('revokes the session at once when %s asks for it, and its successors with it', async (_, headers) => {
    const app = await workos.serve();
    const { sealed, sessionId } = await sealedSession(workos.server, expired);
    const stolen = sessionCookieOf((await app.send(sealed)).setCookies)!;
    await ask(`${app.url}/out`, { ...cookieHeader(sealed).headers, ...headers });
    await workos.server.revoke.received(1);
    expect(workos.server.revoke.requests.map(({ body }) => body)).toEqual([{ session_id: sessionId }]);
    expect(workos.server.sessions.isAlive(sessionId)).toBe(false);
    const elsewhere = createSessionManager({ ...workosOptions(workos.server), fleet: createProcessFleet() });
    expect(await elsewhere.load(stolen).refresh()).toMatchObject({ authenticated: false, reason: 'invalid_grant' });
  });

  it('revokes the session ten seconds after a browser was sent to the log-out page, which finds it alive', async () => {
    const app = await workos.serve();
    const { sealed, sessionId } = await sealedSession(workos.server);
    const timers = holdTimers(10_000);
    await ask(`${app.url}/out`, { ...cookieHeader(sealed).headers, ...navigation });
    expect(timers.count()).toBe(1);
    expect([workos.server.revoke.requests, workos.server.sessions.isAlive(sessionId)]).toEqual([[], true]);
    timers.run();
    await workos.server.revoke.received(1);
    expect(workos.server.sessions.isAlive(sessionId)).toBe(false);
  });

  it('takes a session that the log-out page has ended for revoked', async () => {
    const fleet = createProcessFleet();
    const app = await workos.serve({ fleet });
    const { sealed, sessionId } = await sealedSession(workos.server);
    workos.server.sessions.revoke(sessionId);
    await app.send(sealed, '/out');
    await workos.server.revoke.received(1);
    await app.send(sealed);
    clock.advance(2 * hour);
    expect((await app.send(sealed)).json.reason).toBe('invalid_grant');
  });
});

describe('a sign-in in place of another session', () => {
  async function replaceSession(user: { id: string }) {
    const app = await workos.serve({ fleet: createProcessFleet() });
    const old = await sealedSession(workos.server);
    const tokens = await workos.server.issueSession({ user });
    const headers = { 'x-tokens': JSON.stringify(signInTokens(tokens)) };
    const page = await app.send(old.sealed, '/in', { headers });
    expect(isOut(await app.send(old.sealed))).toEqual(revokedHere);
    expect((await app.send(sessionCookieOf(page.setCookies)!)).json).toMatchObject({ authenticated: true });
    return old;
  }

  it('ends and revokes the session of another user', async () => {
    const old = await replaceSession({ id: 'user_02' });
    await workos.server.revoke.received(1);
    expect(workos.server.revoke.requests.map(({ body }) => body)).toEqual([{ session_id: old.sessionId }]);
  });

  it('ends the session of the same user, and revokes nothing: both may share a grant', async () => {
    const old = await replaceSession({ id: 'user_01' });
    expect(workos.server.revoke.requests).toEqual([]);
    expect(workos.server.sessions.isAlive(old.sessionId)).toBe(true);
  });

  it('revokes nothing of the same user when a refresh of the old session ends later', async () => {
    const { provider, endpoint, revoked } = await revokingTokens();
    const app = await workos.serve({ provider, fleet: createProcessFleet() });
    const { sealed } = await sealedSession(workos.server);
    const hold = workos.server.token.hold();
    const switching = app.send(sealed, '/switch');
    await hold.arrived(1);
    const tokens = await workos.server.issueSession();
    const headers = { 'x-tokens': JSON.stringify(signInTokens(tokens)) };
    await app.send(sealed, '/in', { headers });
    hold.release();
    const late = await switching;
    expect([late.json.result.reason, late.setCookies]).toEqual(['session_revoked', []]);
    // The next revocation is that of another session.
    const another = await sealedSession(workos.server);
    await app.send(another.sealed, '/out');
    await endpoint.received(1);
    expect(revoked()).toEqual([another.refreshToken]);
  });
});

describe('a lifetime that has passed', () => {
  it('revokes the session at the provider, once', async () => {
    const app = await workos.serve({ lifetime: { absoluteSeconds: hour }, fleet: createProcessFleet() });
    const { sealed, sessionId } = await sealedSession(workos.server);
    clock.advance(hour + 1);
    for (let visit = 1; visit <= 3; visit += 1) {
      const page = await app.send(sealed);
      expect([...isOut(page), sessionCookieOf(page.setCookies)]).toEqual([false, 'session_expired', '']);
    }
    await workos.server.revoke.received(1);
    const { sealed: another } = await sealedSession(workos.server);
    await app.send(another, '/out');
    await workos.server.revoke.received(2);
    expect(workos.server.revoke.requests[0]?.body).toEqual({ session_id: sessionId });
    expect(workos.server.revoke.requests).toHaveLength(2);
  });

  it('revokes nothing when it is the idle time of one seal: another may have been used since', async () => {
    const app = await workos.serve({ lifetime: { idleSeconds: minute }, fleet: createProcessFleet() });
    const manager = createSessionManager({ ...workosOptions(workos.server), lifetime: { idleSeconds: minute } });
    const { accessToken, refreshToken, response, sessionId } = await workos.server.issueSession();
    const sealed = await manager.seal({ accessToken, refreshToken, user: { ...response.user } });
    clock.advance(2 * minute);
    expect(isOut(await app.send(sealed))).toEqual([false, 'session_expired']);
    const { sealed: another } = await sealedSession(workos.server);
    await app.send(another, '/out');
    await workos.server.revoke.received(1);
    expect(workos.server.sessions.isAlive(sessionId)).toBe(true);
  });
});

describe('signOut.clearSiteData', () => {
  it.each<[NonNullable<SessionOptions['signOut']>, string | null]>([
    [{ clearSiteData: ['cache'] }, '"cache"'],
    [{ clearSiteData: ['cache', 'storage'] }, '"cache", "storage"'],
    [{}, null],
  ])('%j sends Clear-Site-Data: %s', async (signOut, header) => {
    const app = await workos.serve({ signOut });
    const { sealed } = await sealedSession(workos.server);
    expect((await app.send(sealed, '/out')).headers.get('clear-site-data')).toBe(header);
    expect((await app.send(sealed)).headers.get('clear-site-data')).toBeNull();
  });
});

describe('the log-out path', () => {
  /** An app with routes, and a session of its own for each question. */
  async function asking(signOut: SessionOptions['signOut'] = {}) {
    const app = await frameworks[0]!.listen((each) => {
      const sessions = withSession({ ...workosOptions(workos.server), baseUrl: origin, signOut });
      each.use(sessions);
      each.use(sessions.routes());
      each.use((req, res) => {
        res.end(JSON.stringify(getSession(req)));
      });
    });
    workos.closing(app);
    return async (headers: Record<string, string>, method = 'GET') => {
      const { sealed } = await sealedSession(workos.server);
      const { statusCode } = await ask(`${app.url}/logout`, { ...cookieHeader(sealed).headers, ...headers }, method);
      const after = await createBrowser(app.url).get('/', cookieHeader(sealed));
      return { status: statusCode, isSignedIn: after.json.authenticated as boolean };
    };
  }

  const site = (value: string) => ({ 'sec-fetch-site': value });
  const own = { referer: `${origin}/page` };
  const foreign = { referer: 'https://evil.example/' };

  it.each<[string, Record<string, string>, boolean]>([
    ['a page that was opened', { ...navigation, ...site('same-origin') }, true],
    ['the address bar', { ...navigation, ...site('none') }, true],
    ['a client that is no browser', {}, true],
    ['an old browser, from a page of the app', own, true],
    [
      'an image in a page of the app',
      { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image', ...site('same-origin') },
      false,
    ],
    ['a frame in a page of the app', { ...navigation, 'sec-fetch-dest': 'iframe', ...site('same-origin') }, false],
    [
      'a script of the app, with fetch',
      { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty', ...site('same-origin') },
      false,
    ],
    ['a browser that names the mode alone', { 'sec-fetch-mode': 'no-cors' }, false],
    ['a browser that names the destination alone', { 'sec-fetch-dest': 'image' }, false],
    ['a link on another site', { ...navigation, ...site('cross-site') }, false],
    ['a link on a sibling site', { ...navigation, ...site('same-site') }, false],
    ['an old browser, from another site', foreign, false],
    ['an old browser, from a page without a usable address', { referer: 'about:client' }, false],
  ])('signs out by GET for %s: %j → %p', async (_, headers, signsOut) => {
    const answer = await (await asking())(headers);
    expect(answer).toEqual(signsOut ? { status: 303, isSignedIn: false } : { status: 403, isSignedIn: true });
  });

  it.each<[string, Record<string, string>, boolean]>([
    ['a form of the app', { ...navigation, ...site('same-origin'), origin }, true],
    [
      'a script of the app',
      { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty', ...site('same-origin'), origin },
      true,
    ],
    ['a form on another site', { ...navigation, ...site('cross-site'), origin: 'https://evil.example' }, false],
    ['an old browser, from another site', { origin: 'https://evil.example' }, false],
    ['a sandboxed page', { origin: 'null' }, false],
  ])('signs out by POST for %s: %j → %p', async (_, headers, signsOut) => {
    const answer = await (await asking())(headers, 'POST');
    expect(answer).toEqual(signsOut ? { status: 303, isSignedIn: false } : { status: 403, isSignedIn: true });
  });

  it("is the app's own for the methods that signOut.methods leaves out", async () => {
    const headers = { ...navigation, ...site('same-origin') };
    const byPost = await asking({ methods: ['POST'] });
    expect(await byPost(headers)).toEqual({ status: 200, isSignedIn: true });
    expect(await byPost(headers, 'POST')).toEqual({ status: 303, isSignedIn: false });
    const byGet = await asking({ methods: ['GET'] });
    expect(await byGet(headers, 'POST')).toEqual({ status: 200, isSignedIn: true });
    expect(await byGet(headers)).toEqual({ status: 303, isSignedIn: false });
  });

  it.each([
    ['signOut.methods', { methods: [] }],
    ['signOut.methods', { methods: ['get'] }],
    ['signOut.methods', { methods: 'POST' }],
    ['signOut.clearSiteData', { clearSiteData: ['cookies'] }],
    ['signOut.clearSiteData', { clearSiteData: ['*'] }],
    ['signOut.clearSiteData', { clearSiteData: true }],
  ])('refuses a wrong %s: %j', (path, signOut) => {
    const message = expect.stringMatching(/^must be a list of one or more of "/) as unknown;
    expect(() => withSession({ ...workosOptions(workos.server), signOut: signOut as never })).toThrow(
      expect.objectContaining({ code: 'ERR_SESSION_CONFIG', problems: [{ path, message }] }),
    );
  });
});

describe('an app that removes the session cookie itself', () => {
  const removal = 'wos-session=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT';

  /** What a browser is left with after a request whose handler does this. */
  async function leftAfter(handle: (res: ServerResponse, req: IncomingMessage) => unknown, isDue = true) {
    const problems: string[] = [];
    const events = { misconfigured: ({ problem }: SessionEvents['misconfigured']) => problems.push(problem) };
    const app = await frameworks[0]!.listen((each) => {
      each.use(withSession({ ...workosOptions(workos.server), events, fleet: createProcessFleet() }));
      each.use(async (req, res) => {
        await handle(res, req);
        res.end(JSON.stringify(getSession(req)));
      });
    });
    workos.closing(app);
    const { sealed } = await sealedSession(workos.server, isDue ? expired : {});
    const { setCookies } = await createBrowser(app.url).get('/', cookieHeader(sealed));
    return { setCookies, problems };
  }

  it.each<[string, (res: ServerResponse) => unknown]>([
    [
      'clearCookie()',
      (res) => {
        (res as unknown as { clearCookie: (name: string) => void }).clearCookie('wos-session');
      },
    ],
    ['setHeader()', (res) => res.setHeader('Set-Cookie', removal)],
    ['appendHeader()', (res) => res.appendHeader('Set-Cookie', 'wos-session=; Max-Age=0; path=/')],
    ['writeHead()', (res) => res.writeHead(200, { 'Set-Cookie': [removal] })],
  ])('has its way with %s, also on a request that refreshes, and is told', async (_, clear) => {
    const { setCookies, problems } = await leftAfter(clear);
    expect(sessionCookieOf(setCookies)).toBe('');
    expect(problems).toEqual(['cookie_cleared']);
  });

  it('is not told on a request that writes no cookie', async () => {
    const { setCookies, problems } = await leftAfter((res) => res.setHeader('Set-Cookie', removal), false);
    expect([sessionCookieOf(setCookies), problems]).toEqual(['', []]);
  });

  it.each([
    ['of another domain', `${removal}; Domain=example.com`],
    ['of another path', removal.replace('Path=/', 'Path=/old')],
    ['of another name', removal.replace('wos-session', 'wos-session-old')],
    ['that is none', 'wos-session=mine; Path=/'],
  ])('keeps the new session beside a removal %s', async (_, header) => {
    const { setCookies, problems } = await leftAfter((res) => res.setHeader('Set-Cookie', header));
    const kept = setCookies.filter((each) => each.startsWith('wos-session=Fe26'));
    expect([kept.length, problems]).toEqual([1, []]);
  });

  it.each([true, false])('signs in after a removal that came before; the old session is due: %p', async (isDue) => {
    const { setCookies, problems } = await leftAfter(async (res, req) => {
      res.setHeader('Set-Cookie', removal);
      const { accessToken, refreshToken, response } = await workos.server.issueSession();
      await getSession(req).signIn({ accessToken, refreshToken, user: { ...response.user } });
    }, isDue);
    expect(sessionCookieOf(setCookies)).toMatch(/^Fe26/);
    expect(problems).toEqual([]);
  });
});
