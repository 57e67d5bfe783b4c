import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Reason, type SessionEvents, type SessionOptions, withSession } from 'express-sealed-session';

import { useClock } from '../support/clock.js';
import { frameworks } from '../support/apps.js';
import { createBrowser } from '../support/browser.js';
import { serveSessions, type SessionApp } from '../support/session-app.js';
import { answers, type Fault, startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { cookieHeader, expired, sealedSession, sessionCookieOf, workosOptions } from '../support/workos-session.js';

const clock = useClock();
let server: WorkosServer;
let closers: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  server = await startWorkosServer();
  closers = [() => server.close()];
});
afterEach(() => Promise.all(closers.map((close) => close())));

async function serve(options: Partial<SessionOptions> = {}): Promise<SessionApp> {
  const app = await serveSessions(workosOptions(server, options));
  closers.push(() => app.close());
  return app;
}

const strict = (): Partial<SessionOptions> => ({
  provider: { ...workosOptions(server).provider, refreshTokens: 'single-use' },
});

const faults: [string, Fault, Reason, string][] = [
  ['429 with Retry-After', { ...answers.rateLimited, headers: { 'Retry-After': '7' } }, 'rate_limit_exceeded', '7'],
  ['429 without', { status: 429, body: {} }, 'rate_limit_exceeded', '5'],
  ['500', answers.serverError, 'server_error', '5'],
  ['an HTML 502', answers.htmlBadGateway, 'server_error', '5'],
  ['503 that asks for an hour', { ...answers.unavailable, headers: { 'Retry-After': '3600' } }, 'server_error', '300'],
  ['a 5xx that looks like a refusal', { status: 500, body: { error: 'invalid_grant' } }, 'server_error', '5'],
  ['401 for our API key', answers.unauthorized, 'provider_misconfigured', '5'],
  ['400 without a known code', { status: 400, body: {} }, 'provider_misconfigured', '5'],
  ['400 invalid_client', answers.invalidClient, 'provider_misconfigured', '5'],
  ['408', { status: 408, headers: { 'Retry-After': '2' }, body: {} }, 'timeout', '2'],
  [
    'a redirect that looks like a refusal',
    { status: 302, headers: { location: '/elsewhere' }, body: { error: 'invalid_grant' } },
    'provider_misconfigured',
    '5',
  ],
  ['300', { status: 300, body: { access_token: 'a', refresh_token: 'b' } }, 'provider_misconfigured', '5'],
  ['a redirect', { status: 302, headers: { location: '/elsewhere' } }, 'provider_misconfigured', '5'],
  ['200 with a page in it', { status: 200, body: '<html></html>' }, 'server_error', '5'],
  ['a reset', 'reset', 'network_error', '5'],
  ['no answer', 'hang', 'timeout', '5'],
];

describe.each(faults)('a provider that answers with %s', (_, fault, reason, retryAfter) => {
  it('signs nobody out, and serves again when it is back', async () => {
    const app = await serve({ refresh: { waitMs: 600, timeoutMs: 500 } });
    const { sealed } = await sealedSession(server, expired);
    const valid = await sealedSession(server);
    server.token.fail(fault);

    const guarded = await app.send(sealed, '/guarded');
    expect([guarded.status, guarded.headers.get('retry-after'), guarded.setCookies]).toEqual([503, retryAfter, []]);
    expect(guarded.json).toMatchObject({ error: 'ERR_SESSION_UNAVAILABLE' });
    // Within the pause of this session: it is not asked about again, and has the same answer.
    const asked = server.refreshCount;
    const open = await app.send(sealed);
    expect([open.status, open.setCookies, server.refreshCount]).toEqual([200, [], asked]);
    expect(open.json).toMatchObject({ authenticated: false, reason, retryable: true });
    expect((await app.send(valid.sealed, '/guarded')).status).toBe(200);

    server.token.heal();
    clock.advance(60);
    const back = await app.send(sealed, '/guarded');
    expect(back.json).toMatchObject({ authenticated: true, refreshed: true });
    expect(sessionCookieOf(back.setCookies)).toMatch(/^Fe26/);
  });
});

describe('signing in with tokens that have expired', () => {
  const tokensOf = ({ accessToken, refreshToken, user }: Record<string, unknown>) => ({
    headers: { 'x-tokens': JSON.stringify({ accessToken, refreshToken, user }) },
  });

  it('renews them', async () => {
    const app = await serve();
    const page = await app.browser().fetch('/in', tokensOf(await sealedSession(server, expired)));
    expect(page.json).toMatchObject({ authenticated: true, refreshed: true });
  });

  it('keeps them while the provider is away, for the next request', async () => {
    const app = await serve();
    const tokens = await sealedSession(server, expired);
    server.token.fail(answers.unavailable);
    const page = await app.browser().fetch('/in', tokensOf(tokens));
    expect(page.json).toMatchObject({ authenticated: false, reason: 'server_error', retryable: true });
    server.token.heal();
    clock.advance(1);
    const next = await app.send(sessionCookieOf(page.setCookies)!);
    expect(next.json).toMatchObject({ authenticated: true, refreshed: true });
  });

  it('is refused when the provider has ended their session', async () => {
    const app = await serve();
    const tokens = await sealedSession(server, expired);
    server.sessions.revoke(tokens.sessionId);
    const page = await app.browser().fetch('/in', tokensOf(tokens));
    expect([page.status, page.setCookies]).toEqual([500, []]);
    expect(page.json).toMatchObject({ error: 'ERR_SESSION_TOKENS_INVALID' });
  });
});

describe('a reply that is lost after the provider has rotated', () => {
  it('is asked for again, within the replay window of the provider', async () => {
    const app = await serve();
    const { sealed } = await sealedSession(server, expired);
    server.token.fail('drop-after-rotation', 1);
    expect((await app.send(sealed)).json).toMatchObject({ authenticated: true });
    expect(server.refreshCount).toBe(2);
  });

  it('is not asked for again from a strict provider: the cookie is kept, the request is told to come back', async () => {
    server.mode = 'strict';
    const app = await serve(strict());
    const { sealed } = await sealedSession(server, expired);
    server.token.fail('drop-after-rotation', 1);
    const page = await app.send(sealed, '/guarded');
    expect([page.status, page.setCookies, server.refreshCount]).toEqual([503, [], 1]);
  });
});

describe('the number of times that a refresh token is presented', () => {
  it.each<[string, Fault, number, number]>([
    ['500', answers.serverError, 3, 1],
    ['429', answers.rateLimited, 1, 1],
    ['a reset', 'reset', 3, 1],
    ['400 invalid_client', answers.invalidClient, 1, 1],
    ['401', answers.unauthorized, 1, 1],
    ['a redirect', { status: 307, headers: { location: '/user_management/authenticate' } }, 1, 1],
  ])('on %s', async (_, fault, idempotent, once) => {
    const [app, strictApp] = await Promise.all([serve(), serve(strict())]);
    const [one, other] = await Promise.all([sealedSession(server, expired), sealedSession(server, expired)]);
    server.token.fail(fault);
    await app.send(one.sealed);
    const first = server.refreshCount;
    await strictApp.send(other.sealed);
    expect([first, server.refreshCount - first]).toEqual([idempotent, once]);
  });

  it('is none when a strict provider refuses the connection, which is tried again', async () => {
    const app = await serve(strict());
    const { sealed } = await sealedSession(server, expired);
    const { sealed: valid } = await sealedSession(server);
    await app.send(valid);
    await server.close();
    expect((await app.send(sealed)).json).toMatchObject({ reason: 'network_error', retryable: true });
  });
});

describe('a provider that is away for long', () => {
  it('is asked by one session in a pause; the others learn at once', async () => {
    const app = await serve(strict());
    const sessions = await Promise.all(
      Array.from({ length: 9 }, (_, id) => sealedSession(server, { ...expired, user: { id: `user_${id}` } })),
    );
    server.token.fail(answers.serverError);
    for (const { sealed } of sessions) {
      expect((await app.send(sealed)).json).toMatchObject({ reason: 'server_error', retryable: true });
    }
    expect(server.refreshCount).toBe(3);

    clock.advance(2);
    const hold = server.token.hold();
    const probe = app.send(sessions[5]!.sealed);
    await hold.arrived(1);
    expect((await app.send(sessions[6]!.sealed)).json).toMatchObject({ retryable: true });
    expect(server.refreshCount).toBe(4);
    hold.release();
    await probe;

    server.token.heal();
    expect((await app.send(sessions[7]!.sealed)).json).toMatchObject({ retryable: true });
    clock.advance(2);
    for (const { sealed } of sessions) expect((await app.send(sealed)).json).toMatchObject({ authenticated: true });
  });
});

describe('a key server that is away', () => {
  it('cold: cannot tell, refreshes nothing, keeps the cookie, and is not hammered', async () => {
    const app = await serve();
    const { sealed } = await sealedSession(server);
    server.keys.fail(answers.serverError);
    for (let time = 0; time < 3; time += 1) {
      const page = await app.send(sealed, '/guarded');
      expect([page.status, page.headers.get('retry-after'), page.setCookies]).toEqual([503, '5', []]);
    }
    expect((await app.send(sealed)).json).toMatchObject({ reason: 'keys_unavailable', retryable: true });
    expect([server.refreshCount, server.keyRequests.length]).toEqual([0, 1]);
    server.keys.heal();
    clock.advance(6);
    expect((await app.send(sealed, '/guarded')).status).toBe(200);
  });

  it.each<[string, Fault]>([
    ['an error page', answers.htmlBadGateway],
    ['no keys', { status: 200, body: { keys: [] } }],
    ['more than 100 keys', { status: 200, body: { keys: Array(101).fill({ kty: 'RSA', kid: 'one' }) } }],
    ['something else', { status: 200, body: [] }],
    ['a redirect', { status: 302, headers: { location: '/elsewhere' } }],
    ['a reset', 'reset'],
  ])('cold, with %s: the same', async (_, fault) => {
    const app = await serve();
    const { sealed } = await sealedSession(server);
    server.keys.fail(fault);
    expect((await app.send(sealed)).json).toMatchObject({ reason: 'keys_unavailable', retryable: true });
    expect(server.refreshCount).toBe(0);
  });

  it('also for an expired token: an expiry cannot be told from a token that nobody signed', async () => {
    const app = await serve();
    const { sealed } = await sealedSession(server, expired);
    server.keys.fail(answers.serverError);
    const pages = await Promise.all(Array.from({ length: 10 }, () => app.send(sealed)));
    expect(pages.every((page) => page.json.reason === 'keys_unavailable')).toBe(true);
    expect([server.refreshCount, server.keyRequests.length]).toEqual([0, 1]);
  });

  it.each<[string, Fault]>([
    ['away', answers.serverError],
    ['hanging', 'hang'],
  ])('warm and %s: the known keys serve, for hours', async (_, fault) => {
    const app = await serve({ cache: false });
    await app.send((await sealedSession(server)).sealed);
    server.keys.fail(fault);
    clock.advance(2 * 60 * 60);
    expect((await app.send((await sealedSession(server)).sealed)).json).toMatchObject({ authenticated: true });
    clock.advance(5 * 60 * 60);
    if (fault === 'hang') return;
    expect((await app.send((await sealedSession(server)).sealed)).json).toMatchObject({ reason: 'keys_unavailable' });
  });

  it('is asked once by everybody who waits', async () => {
    const app = await serve();
    const hold = server.keys.hold();
    const sessions = await Promise.all(Array.from({ length: 10 }, () => sealedSession(server)));
    const pages = sessions.map(({ sealed }) => app.send(sealed));
    await hold.arrived(1);
    hold.release();
    expect((await Promise.all(pages)).every((page) => page.json.authenticated)).toBe(true);
    expect(server.keyRequests).toHaveLength(1);
  });
});

describe('a key that was rotated a moment ago', () => {
  it('is fetched when the first token signed with it comes', async () => {
    const app = await serve();
    await app.send((await sealedSession(server)).sealed);
    await server.rotateKeys({ keepOld: true });
    clock.advance(1);
    expect((await app.send((await sealedSession(server)).sealed)).json).toMatchObject({ authenticated: true });
    expect([server.keyRequests.length, server.refreshCount]).toEqual([2, 0]);
  });

  it('makes a token of the withdrawn key count as expired: it is renewed, and not believed', async () => {
    const app = await serve({ cache: false });
    const { sealed } = await sealedSession(server);
    await app.send(sealed);
    await server.rotateKeys({ keepOld: false });
    clock.advance(60);
    await app.send((await sealedSession(server)).sealed);
    expect((await app.send(sealed)).json).toMatchObject({ authenticated: true, refreshed: true });
    expect(server.refreshCount).toBe(1);
  });

  it('and that the key server does not know yet, starts no storm', async () => {
    const app = await serve({ cache: false });
    const { sealed } = await sealedSession(server, expired);
    await app.send((await sealedSession(server)).sealed);
    const unknown = await server.forge.unknownKey(server.claims());
    server.token.reply = (body) => ({ ...(body as object), access_token: unknown });
    let cookie = sealed;
    for (let time = 0; time < 5; time += 1) {
      const page = await app.send(cookie);
      expect(page.json).toMatchObject({ authenticated: false, reason: 'keys_unavailable', retryable: true });
      cookie = sessionCookieOf(page.setCookies) ?? cookie;
      clock.advance(2);
    }
    expect(server.refreshCount).toBe(1);
  });
});

describe('whenUnavailable', () => {
  it("'refuse' answers 503 to every request, also on an open route", async () => {
    const app = await serve({ whenUnavailable: 'refuse' });
    const { sealed } = await sealedSession(server, expired);
    server.token.fail(answers.unauthorized);
    const page = await app.send(sealed);
    expect([page.status, page.headers.get('retry-after'), page.setCookies]).toEqual([503, '5', []]);
    expect((await app.browser().get('/')).status).toBe(200);
  });

  it("'refuse' never stands before the routes that sign in and out", async () => {
    const sessions = withSession(workosOptions(server, { whenUnavailable: 'refuse', baseUrl: 'https://app.example' }));
    const app = await frameworks[0]!.listen((each) => {
      each.use(sessions);
      each.use(sessions.routes());
      each.use((_req, res) => res.end('a route of the app'));
    });
    closers.push(() => app.close());
    const { sealed } = await sealedSession(server, expired);
    server.token.fail(answers.unavailable);
    const visit = (path: string, method = 'GET') =>
      createBrowser(app.url).fetch(path, { method, redirect: 'manual', ...cookieHeader(sealed) });
    expect((await visit('/')).status).toBe(503);
    const login = await visit('/login?returnTo=/a');
    expect([login.status, login.headers.get('location')]).toEqual([303, expect.stringContaining('/authorize')]);
    // What the routes do not answer is a route of the app.
    for (const [path, method] of [
      ['/login', 'POST'],
      ['/login/', 'GET'],
      ['/other', 'GET'],
    ] as const)
      expect([path, (await visit(path, method)).status]).toEqual([path, 503]);
    const logout = await visit('/logout', 'POST');
    expect([logout.status, sessionCookieOf(logout.setCookies)]).toEqual([303, '']);
  });

  it('{ staleSeconds } serves the old claims, flagged as stale, for that long', async () => {
    const app = await serve({ whenUnavailable: { staleSeconds: 120 } });
    const { sealed, sessionId } = await sealedSession(server, expired);
    server.token.fail(answers.unavailable);
    const page = await app.send(sealed, '/guarded');
    expect([page.status, page.setCookies]).toEqual([200, []]);
    expect(page.json).toMatchObject({ authenticated: true, stale: true, refreshed: false, sessionId });
    clock.advance(120);
    expect((await app.send(sealed, '/guarded')).status).toBe(503);
  });

  it.each<[string, Fault]>([
    ['a 400 without a known code', { status: 400, body: {} }],
    ['a wrong secret', answers.unauthorized],
    ['a limit', answers.rateLimited],
    ['an error in a 200', { status: 200, body: { error: 'unknown' } }],
  ])('{ staleSeconds } serves no session after %s, nor in an outage that follows', async (_, fault) => {
    const app = await serve({ whenUnavailable: { staleSeconds: 300 } });
    const { sealed } = await sealedSession(server, expired);
    server.token.fail(fault);
    expect((await app.send(sealed)).json).toMatchObject({ authenticated: false, retryable: true });
    clock.advance(60);
    server.token.fail(answers.unavailable);
    expect((await app.send(sealed)).json).toMatchObject({ authenticated: false, reason: 'server_error' });
  });

  it('{ staleSeconds } serves no copy of a session that has ended, in an outage that follows', async () => {
    const app = await serve({ whenUnavailable: { staleSeconds: 300 } });
    const { sealed, sessionId } = await sealedSession(server, expired);
    server.sessions.revoke(sessionId);
    await app.send(sealed);
    clock.advance(6);
    server.token.fail(answers.unavailable);
    expect((await app.send(sealed)).json).toMatchObject({ authenticated: false, reason: 'server_error' });
  });

  it('{ staleSeconds } serves no session that the provider has ended', async () => {
    const app = await serve({ whenUnavailable: { staleSeconds: 300 } });
    const { sealed, sessionId } = await sealedSession(server, expired);
    server.sessions.revoke(sessionId);
    expect((await app.send(sealed)).json).toMatchObject({ authenticated: false, reason: 'invalid_grant' });
  });

  it('{ staleSeconds } serves no token that cannot be verified', async () => {
    const app = await serve({ whenUnavailable: { staleSeconds: 300 } });
    const { sealed } = await sealedSession(server, expired);
    server.keys.fail(answers.serverError);
    expect((await app.send(sealed)).json).toMatchObject({ authenticated: false, reason: 'keys_unavailable' });
  });

  it.each(['ignore', 'stale', {}, { staleSeconds: -1 }])('is refused at start-up when it is %j', (whenUnavailable) => {
    const options = { ...workosOptions(server), whenUnavailable } as unknown as SessionOptions;
    expect(() => withSession(options)).toThrow(expect.objectContaining({ code: 'ERR_SESSION_CONFIG' }));
  });
});

it('reports each failed refresh by its reason, and whether it can be tried again', async () => {
  const told: SessionEvents['refreshFailed'][] = [];
  const app = await serve({ events: { refreshFailed: (event) => told.push(event) } });
  const { sealed, sessionId } = await sealedSession(server, expired);
  server.token.fail(answers.unauthorized, 1);
  await app.send(sealed);
  await app.send(sealed);
  clock.advance(1);
  server.sessions.revoke(sessionId);
  await app.send(sealed);
  expect(told).toEqual([
    expect.objectContaining({ sessionId, reason: 'provider_misconfigured', retryable: true, status: 401 }),
    expect.objectContaining({ sessionId, reason: 'invalid_grant', retryable: false, status: 400 }),
  ]);
});
