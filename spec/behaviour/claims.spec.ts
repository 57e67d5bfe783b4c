import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  createSessionManager,
  getSession,
  requireSession,
  type SessionEvents,
  type SessionOptions,
  withSession,
  workos,
} from 'express-sealed-session';
import { sealData } from 'iron-session';

import { bindingOf } from '../../lib/session/binding.js';
import { frameworks, type Listening } from '../support/apps.js';
import { createBrowser, type Page } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import type { Claims } from '../support/signer.js';
import { startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import {
  cookieHeader,
  expired,
  password,
  sealedSession,
  sessionCookieOf,
  workosOptions,
} from '../support/workos-session.js';

jest.setTimeout(30_000);

const clock = useClock();
const origin = 'https://app.example.com';
let server: WorkosServer;
let closers: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  server = await startWorkosServer();
  closers = [() => server.close()];
});
afterEach(() => Promise.all(closers.map((close) => close())));

const now = () => Math.floor(Date.now() / 1000);

/** An app, and what it is told at work. */
async function serve(change: Partial<SessionOptions> = {}) {
  const rejected: SessionEvents['rejected'][] = [];
  const problems: string[] = [];
  const options: SessionOptions = {
    ...workosOptions(server),
    baseUrl: origin,
    events: {
      rejected: (event) => rejected.push(event),
      misconfigured: ({ problem, option }) => {
        expect(option).toBe(`provider.${problem}`);
        problems.push(problem);
      },
    },
    ...change,
  };
  const app: Listening = await frameworks[0]!.listen((each) => {
    const sessions = withSession(options);
    each.use(sessions);
    each.use(sessions.routes());
    each.get('/', (req, res) => res.end(JSON.stringify(getSession(req))));
    each.get('/member', requireSession(), (_req, res) => res.end('{}'));
    each.get('/billing', requireSession({ permissions: 'billing:read' }), (_req, res) => res.end('{}'));
    each.get('/admin', requireSession({ roles: 'admin' }), (_req, res) => res.end('{}'));
    each.get('/org', requireSession({ organizationId: 'org_01' }), (_req, res) => res.end('{}'));
  });
  closers.push(() => app.close());
  const get = (sealed: string, path = '/'): Promise<Page> => createBrowser(app.url).get(path, cookieHeader(sealed));
  return { app, get, rejected, problems };
}

/** A cookie around a token of the provider's own signing, with these claims for those that it would have. */
async function sealedClaims(claims: Claims, change: Record<string, unknown> = {}): Promise<string> {
  const accessToken = await server.signToken(server.claims(claims));
  return sealData({ accessToken, refreshToken: 'refresh', user: { id: 'user_01' }, ...change }, { password, ttl: 0 });
}

const gone = undefined;
const withAudience = (): Partial<SessionOptions> => ({
  provider: workos({ clientId: server.clientId, apiKey: server.apiKey, baseUrl: server.url, audience: 'urn:api' }),
});

// What an operator is told of each claim.
const details: Record<string, RegExp> = {
  iss: /^other_issuer$/,
  sub: /^(subject_missing|other_user)$/,
  exp: /^(expiry_missing|expiry_malformed)$/,
  nbf: /^(not_yet_valid|not_before_malformed)$/,
  iat: /^issued_at_malformed$/,
  client_id: /^other_client$/,
  aud: /^other_audience$/,
};

type Row = [
  claim: string,
  what: string,
  claims: () => Claims,
  problem?: string,
  options?: () => Partial<SessionOptions>,
];

const refused: Row[] = [
  ['iss', 'missing', () => ({ iss: gone }), 'issuer'],
  ['iss', 'another', () => ({ iss: 'https://evil.example' }), 'issuer'],
  ['iss', 'of another client', () => ({ iss: `${server.url}/user_management/client_02` }), 'issuer'],
  ['iss', 'a number', () => ({ iss: 1 }), 'issuer'],
  ['iss', 'null', () => ({ iss: null }), 'issuer'],
  ['iss', 'a list that holds the right one', () => ({ iss: [`${server.url}/user_management/client_01`] }), 'issuer'],
  ['sub', 'missing', () => ({ sub: gone })],
  ['sub', 'another', () => ({ sub: 'user_02' })],
  ['sub', 'empty', () => ({ sub: '' })],
  ['sub', 'null', () => ({ sub: null })],
  ['sub', 'a number', () => ({ sub: 1 })],
  ['sub', 'a list that holds the right one', () => ({ sub: ['user_01'] })],
  ['exp', 'missing', () => ({ exp: gone })],
  ['exp', 'null', () => ({ exp: null })],
  ['exp', 'a string', () => ({ exp: String(now() + 300) })],
  ['exp', 'a date', () => ({ exp: new Date(Date.now() + 300_000).toISOString() })],
  ['exp', 'a list', () => ({ exp: [now() + 300] })],
  ['nbf', 'two minutes from now', () => ({ nbf: now() + 120 })],
  ['nbf', 'a string', () => ({ nbf: '0' })],
  ['nbf', 'null', () => ({ nbf: null })],
  ['iat', 'a string', () => ({ iat: String(now()) })],
  ['iat', 'null', () => ({ iat: null })],
  ['client_id', 'another', () => ({ client_id: 'client_02' }), 'audience'],
  ['client_id', 'null', () => ({ client_id: null }), 'audience'],
  ['client_id', 'empty', () => ({ client_id: '' }), 'audience'],
  ['client_id', 'a list that holds the right one', () => ({ client_id: ['client_01'] }), 'audience'],
  ['aud', 'missing where one is asked for', () => ({}), 'audience', withAudience],
  ['aud', 'another', () => ({ aud: 'urn:other' }), 'audience', withAudience],
  ['aud', 'a number', () => ({ aud: 1 }), 'audience', withAudience],
  ['aud', 'an object', () => ({ aud: { 'urn:api': true } }), 'audience', withAudience],
  ['aud', 'an empty list', () => ({ aud: [] }), 'audience', withAudience],
];

describe('a signed token is refused', () => {
  it.each(refused)('whose "%s" is %s', async (claim, _, claims, ...[problem, options]) => {
    const { get, rejected, problems } = await serve(options?.());
    const sealed = await sealedClaims({ sid: 'session_01', ...claims() });
    const page = await get(sealed);
    expect([page.status, page.json]).toMatchObject([
      200,
      { authenticated: false, user: null, reason: 'invalid_jwt', retryable: false },
    ]);
    expect((await get(sealed, '/member')).status).toBe(401);
    // Neither refreshed nor cleared: the options are as likely wrong as the token.
    expect([page.setCookies, server.refreshCount]).toEqual([[], 0]);
    expect(rejected).toHaveLength(2);
    expect(rejected[0]).toEqual({
      sessionId: 'session_01',
      reason: 'invalid_jwt',
      detail: expect.stringMatching(details[claim]!),
    });
    expect(problems).toEqual(problem === undefined ? [] : [problem]);
  });

  it.each([
    ['a number', 1],
    ['empty', ''],
    ['null', null],
    ['a list', ['user_01']],
  ])('whose "sub" is %s, also beside no user', async (_, sub) => {
    const { get } = await serve();
    const page = await get(await sealedClaims({ sub }, { user: undefined }));
    expect(page.json).toMatchObject({ authenticated: false, reason: 'invalid_jwt' });
  });
});

const accepted: [
  claim: string,
  what: string,
  claims: () => Claims,
  session: Claims,
  options?: () => Partial<SessionOptions>,
][] = [
  ['iss', 'of an older environment', () => ({ iss: server.url }), {}],
  ['nbf', 'missing', () => ({ nbf: gone }), {}],
  ['nbf', 'now', () => ({ nbf: now() }), {}],
  ['nbf', 'within the tolerance', () => ({ nbf: now() + 4 }), {}],
  ['nbf', 'within a wider tolerance', () => ({ nbf: now() + 120 }), {}, () => ({ clockToleranceSeconds: 130 })],
  ['iat', 'missing', () => ({ iat: gone }), {}],
  ['iat', 'two minutes from now', () => ({ iat: now() + 120 }), {}],
  ['exp', 'with a fraction', () => ({ exp: now() + 300.5 }), {}],
  ['client_id', 'missing', () => ({ client_id: gone }), {}],
  ['client_id', 'ours', () => ({ client_id: 'client_01' }), {}],
  ['aud', 'another, where none is asked for', () => ({ aud: 'urn:other' }), {}],
  ['aud', 'the one that is asked for', () => ({ aud: 'urn:api' }), {}, withAudience],
  ['aud', 'a list that holds it', () => ({ aud: ['urn:other', 'urn:api'] }), {}, withAudience],
  ['sid', 'a number', () => ({ sid: 1 }), { sessionId: 'own' }],
  ['sid', 'missing', () => ({ sid: gone }), { sessionId: 'own' }],
  ['sid', 'there', () => ({ sid: 'session_01' }), { sessionId: 'session_01' }],
  ['org_id', 'there', () => ({ org_id: 'org_01' }), { organizationId: 'org_01' }],
  ['role', 'without roles', () => ({ role: 'admin' }), { role: 'admin', roles: ['admin'] }],
  ['roles', 'a list with more than strings in it', () => ({ roles: [1, 'a', null] }), { roles: ['a'] }],
  ['permissions', 'missing', () => ({ permissions: gone }), { permissions: [] }],
  ['entitlements', 'an object', () => ({ entitlements: { 0: 'a', length: 1 } }), { entitlements: [] }],
  ['feature_flags', 'a string', () => ({ feature_flags: 'beta' }), { featureFlags: [] }],
  ['a claim', 'of any name', () => ({ 'urn:x': { y: 1 } }), { claims: { 'urn:x': { y: 1 } } }],
];

describe('a signed token is accepted', () => {
  it.each(accepted)('whose "%s" is %s', async (_claim, _what, claims, session, ...[options]) => {
    const { get, rejected, problems } = await serve(options?.());
    const page = await get(await sealedClaims(claims(), { sessionId: 'own' }));
    expect(page.json).toMatchObject({ authenticated: true, user: { id: 'user_01' }, ...session });
    expect([rejected, problems, server.refreshCount]).toEqual([[], [], 0]);
  });
});

it('a token is accepted for the tolerance beyond its expiry when there is no refresh token', async () => {
  const { get } = await serve();
  const send = async (exp: number) => (await get(await sealedClaims({ exp }, { refreshToken: undefined }))).json.reason;
  expect([await send(now() - 3), await send(now() - 8)]).toEqual([undefined, 'expired_jwt']);
});

describe('a rule', () => {
  const billing = 'billing:read';
  const wrong: [path: string, what: string, claims: Claims][] = [
    ['/billing', 'permissions are missing', { permissions: gone }],
    ['/billing', 'permissions are a string', { permissions: billing }],
    ['/billing', 'permissions are an object with the key', { permissions: { [billing]: true } }],
    ['/billing', 'permissions hold it in a list of their own', { permissions: [[billing]] }],
    ['/billing', 'permissions hold more than it', { permissions: [`${billing} and more`, 'billing'] }],
    ['/admin', 'there is no role', { role: gone, roles: gone }],
    ['/admin', 'role is a list', { role: ['admin'] }],
    ['/admin', 'role is true', { role: true }],
    ['/admin', 'roles are a string', { roles: 'admin' }],
    ['/admin', 'roles hold it in an object', { roles: [{ name: 'admin' }] }],
    ['/admin', 'roles are other ones, whatever the role says', { role: 'admin', roles: ['member'] }],
    ['/org', 'there is no organization', { org_id: gone }],
    ['/org', 'the organization is another', { org_id: 'org_02' }],
    ['/org', 'the organization is a list', { org_id: ['org_01'] }],
    ['/org', 'the organization is null', { org_id: null }],
  ];
  it.each(wrong)('is not met at %s when %s', async (path, _, claims) => {
    const { get } = await serve();
    const page = await get(await sealedClaims(claims), path);
    expect([page.status, page.json]).toMatchObject([403, { error: 'ERR_SESSION_FORBIDDEN' }]);
  });

  it.each([
    ['/billing', { permissions: [billing] }],
    ['/admin', { roles: ['admin', 'member'] }],
    ['/org', { org_id: 'org_01' }],
  ])('is met at %s when the claim is there', async (path, claims) => {
    const { get } = await serve();
    expect((await get(await sealedClaims(claims), path)).status).toBe(200);
  });
});

describe('a session with a field of another kind', () => {
  const odd: [field: string, value: unknown][] = [
    ['organizationId', 5],
    ['organization_id', {}],
    ['authenticationMethod', ['Password']],
    ['impersonator', { reason: 'support' }],
    ['impersonator', 'support@example.com'],
    ['data', ['basket']],
    ['sessionId', {}],
    ['startedAt', '2020-01-01T00:00:00Z'],
    ['usedAt', {}],
    ['expiresAt', 'x'],
  ];

  it.each(odd)('is good without the field: "%s" as %j', async (field, value) => {
    const { get, rejected } = await serve({ lifetime: { absoluteSeconds: 3_600, idleSeconds: 600 } });
    const page = await get(await sealedClaims({}, { [field]: value }));
    expect(page.json).toMatchObject({ authenticated: true, user: { id: 'user_01' }, sessionId: expect.any(String) });
    expect([page.json.organizationId, page.json.impersonator, rejected]).toEqual([undefined, undefined, []]);
  });

  it.each<[string, Record<string, unknown>]>([
    ['an access token', { accessToken: 5 }],
    ['an empty access token', { accessToken: '' }],
    ['a refresh token', { refreshToken: {} }],
    ['an empty refresh token', { refreshToken: '' }],
    ['a user', { user: 'user_01' }],
    ["a user's id", { user: { id: 5 } }],
    ['the name of its provider', { boundTo: 5 }],
    ['the key of its device', { deviceKey: 'x' }],
  ])('is no session with %s of another kind', async (_, change) => {
    const { get, rejected } = await serve();
    const page = await get(await sealedClaims({}, change));
    expect(page.json).toMatchObject({ authenticated: false, reason: 'invalid_session_cookie' });
    expect(rejected).toEqual([{ reason: 'invalid_session_cookie', detail: 'bad_shape' }]);
  });

  it.each(['x', {}, true, [1e15]])('is refused when its token is opaque and its expiry is %j', async (expiresAt) => {
    const { provider } = workosOptions(server);
    const { get, rejected } = await serve({ provider: { ...provider, accessToken: () => 'opaque' as const } });
    const boundTo = bindingOf(provider.id, 'session');
    const page = await get(await sealedClaims({}, { accessToken: 'opaque', boundTo, expiresAt }));
    expect(page.json).toMatchObject({ authenticated: false, reason: 'invalid_jwt' });
    expect(rejected).toMatchObject([{ reason: 'invalid_jwt', detail: 'opaque_without_expiry' }]);
  });
});

describe('a clock that is off', () => {
  it('is mentioned where a token is not valid yet, and only there', async () => {
    const { get, rejected } = await serve();
    await get(await sealedClaims({ nbf: now() + 120 }));
    await get(await sealedClaims({ nbf: 'tomorrow' }));
    expect(rejected.map(({ detail }) => detail)).toEqual(['not_yet_valid', 'not_before_malformed']);
  });

  it.each([
    ['behind the clock of the provider', -120],
    ['ahead of the clock of the provider', 120],
  ])('%s by two minutes makes no difference to a token of five', async (_, seconds) => {
    const { get, rejected } = await serve();
    const { sealed } = await sealedSession(server);
    clock.advance(seconds);
    const page = await get(sealed);
    expect(page.json).toMatchObject({ authenticated: true, refreshed: false });
    expect([rejected, server.refreshCount]).toEqual([[], 0]);
  });

  it('ahead by two minutes refreshes a token of one minute, and reports the clock', async () => {
    const { get, rejected } = await serve();
    // As the provider sees it, each of its tokens is good for a minute.
    const theirs = now();
    const { sealed, sessionId } = await sealedSession(server, { claims: { iat: theirs, exp: theirs + 60 } });
    clock.advance(120);
    const page = await get(sealed);
    expect(page.json).toMatchObject({ authenticated: false, reason: 'expired_jwt', retryable: false });
    expect(server.refreshCount).toBe(1);
    expect(rejected).toEqual([{ sessionId, reason: 'expired_jwt', detail: 'expired_when_issued' }]);
  });

  it('behind by two minutes accepts a token that has expired, as a guard does', async () => {
    const { get } = await serve();
    const { sealed } = await sealedSession(server, { lifetimeSeconds: -30 });
    clock.advance(-120);
    expect((await get(sealed, '/member')).status).toBe(200);
    expect(server.refreshCount).toBe(0);
  });

  it.each([-120, 120])('that moves by %i seconds after a cookie was written signs no visitor out', async (seconds) => {
    const { get } = await serve({ lifetime: { absoluteSeconds: 3_600, idleSeconds: 600 } });
    const { accessToken, refreshToken, user } = await server.issueSession({ lifetimeSeconds: 3_600 });
    const manager = createSessionManager(
      workosOptions(server, { lifetime: { absoluteSeconds: 3_600, idleSeconds: 600 } }),
    );
    const sealed = await manager.seal({ accessToken, refreshToken, user: { ...user } });
    clock.advance(seconds);
    expect((await get(sealed)).json).toMatchObject({ authenticated: true });
  });

  it('that goes back after a refresh causes no second refresh', async () => {
    const { get } = await serve();
    const { sealed } = await sealedSession(server, expired);
    const next = sessionCookieOf((await get(sealed)).setCookies)!;
    clock.advance(-120);
    expect((await get(next)).json).toMatchObject({ authenticated: true });
    expect((await get(sealed)).json).toMatchObject({ authenticated: true });
    expect(server.refreshCount).toBe(1);
  });
});

describe('a fresh token that has already expired', () => {
  const wrongClock = () => ({ claims: { iat: now() - 600, exp: now() - 300 } });

  it('is kept, reported, and refreshed once by each request', async () => {
    const { get, rejected, problems } = await serve();
    const { sealed, sessionId } = await sealedSession(server, wrongClock());
    let cookie = sealed;
    for (let request = 1; request <= 4; request += 1) {
      const page = await get(cookie);
      expect(page.json).toMatchObject({ authenticated: false, reason: 'expired_jwt', retryable: false });
      expect(server.refreshCount).toBe(request);
      const next = sessionCookieOf(page.setCookies);
      expect(next).toMatch(/^Fe26/);
      expect(next).not.toBe(cookie);
      cookie = next!;
    }
    expect(rejected).toHaveLength(4);
    expect(rejected[0]).toEqual({ sessionId, reason: 'expired_jwt', detail: 'expired_when_issued' });
    expect(problems).toEqual([]);

    // Once the clock is right, the visitor is signed in: nothing was lost.
    server.sessions.update(sessionId, { claims: { iat: now(), exp: now() + 300 } });
    expect((await get(cookie)).json).toMatchObject({ authenticated: true, refreshed: true });
  });

  it('is refreshed once by each request that keeps the old cookie', async () => {
    const { get } = await serve();
    const { sealed } = await sealedSession(server, wrongClock());
    for (let request = 1; request <= 4; request += 1) {
      const page = await get(sealed);
      expect([page.json.reason, server.refreshCount]).toEqual(['expired_jwt', request]);
    }
  });

  it('is refreshed once for 10 parallel requests', async () => {
    const { app, get } = await serve();
    // With the keys at hand, a request waits for the refresh as soon as the app has it.
    await get((await sealedSession(server)).sealed);
    const { sealed } = await sealedSession(server, wrongClock());
    const hold = server.token.hold();
    const allHere = new Promise<void>((resolve) => {
      let count = 0;
      app.server.on('request', () => {
        count += 1;
        if (count === 10) resolve();
      });
    });
    const pages = Promise.all(Array.from({ length: 10 }, () => get(sealed)));
    await Promise.all([allHere, hold.arrived(1)]);
    hold.release();
    const reasons = (await pages).map(({ json }) => json.reason as string);
    expect(new Set(reasons)).toEqual(new Set(['expired_jwt']));
    expect(server.refreshCount).toBe(1);
  });

  it('is kept by a session manager, whose refresh() says what is wrong', async () => {
    const { sealed } = await sealedSession(server, wrongClock());
    const session = createSessionManager(workosOptions(server)).load(sealed);
    const result = await session.refresh();
    expect(result).toEqual({
      authenticated: false,
      reason: 'expired_jwt',
      retryable: false,
      sealedSession: expect.stringMatching(/^Fe26/),
    });
    expect(session.sealed).toBe((result as { sealedSession: string }).sealedSession);
    expect(server.refreshCount).toBe(1);
  });

  it('ends a sign-in with an error, and sends the visitor nowhere', async () => {
    const { app, rejected } = await serve();
    server.visitor = wrongClock();
    const browser = createBrowser(app.url);
    const authorize = (await browser.get('/login?returnTo=/member')).headers.get('location')!;
    const back = (await browser.get(authorize)).headers.get('location')!.replace(origin, app.url);
    const page = await browser.get(back);
    expect([page.status, page.json]).toMatchObject([500, { error: 'ERR_SESSION_TOKENS_INVALID' }]);
    expect(page.headers.get('location')).toBeNull();
    expect(browser.jar.cookies).toEqual([]);
    expect(rejected).toEqual([{ sessionId: expect.any(String), reason: 'expired_jwt', detail: 'expired_when_issued' }]);
  });
});

describe('a token that does not name its key', () => {
  it('is checked with each key that could have signed it', async () => {
    const { get } = await serve();
    const sealed = async (claims: Claims = {}) => {
      const accessToken = await server.signToken(server.claims(claims), { header: { kid: gone } });
      return sealData({ accessToken, refreshToken: 'refresh', user: { id: 'user_01' } }, { password, ttl: 0 });
    };
    const old = await sealed();
    await server.rotateKeys({ keepOld: true });
    const young = await sealed();
    const late = await sealed({ nbf: now() + 120 });
    await server.rotateKeys({ keepOld: true });
    for (const each of [old, young]) expect((await get(each)).json).toMatchObject({ authenticated: true });
    expect((await get(late)).json).toMatchObject({ authenticated: false, reason: 'invalid_jwt' });

    const accessToken = await server.forge.foreignKey(server.claims());
    const [, ...rest] = accessToken.split('.');
    const header = Buffer.from('{"alg":"RS256"}').toString('base64url');
    const foreign = await sealData(
      { accessToken: [header, ...rest].join('.'), user: { id: 'user_01' } },
      { password, ttl: 0 },
    );
    expect((await get(foreign)).json).toMatchObject({ authenticated: false, reason: 'invalid_jwt_signature' });
    expect(server.refreshCount).toBe(0);
  });
});

describe('a fresh token with a wrong claim', () => {
  it.each<[string, () => Claims, string | undefined]>([
    ['iss', () => ({ iss: 'https://evil.example' }), 'issuer'],
    ['client_id', () => ({ client_id: 'client_02' }), 'audience'],
    ['sub', () => ({ sub: 'user_02' }), gone],
    ['exp', () => ({ exp: gone }), gone],
    ['nbf', () => ({ nbf: now() + 120 }), gone],
  ])('(%s) signs no visitor in, and is kept without a second refresh', async (_, claims, ...[problem]) => {
    const { get, problems } = await serve();
    const { sealed, sessionId } = await sealedSession(server, expired);
    server.sessions.update(sessionId, { claims: claims() });
    const page = await get(sealed);
    expect(page.json).toMatchObject({ authenticated: false, reason: 'invalid_jwt', retryable: false });
    const next = sessionCookieOf(page.setCookies)!;
    expect(next).toMatch(/^Fe26/);
    expect((await get(next)).json).toMatchObject({ authenticated: false, reason: 'invalid_jwt' });
    expect((await get(sealed)).json).toMatchObject({ authenticated: false, reason: 'invalid_jwt' });
    expect([server.refreshCount, problems]).toEqual([1, problem === undefined ? [] : [problem]]);
  });
});
