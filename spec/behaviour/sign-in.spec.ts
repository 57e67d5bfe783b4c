import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  type BeginSignIn,
  getSession,
  oidc,
  type SessionEvents,
  type SessionOptions,
  type SignInHook,
  withSession,
} from 'express-sealed-session';
import fc from 'fast-check';

import { createProcessFleet } from '../../lib/fleet/process-fleet.js';
import { frameworks } from '../support/apps.js';
import { runs } from '../support/fuzz.js';
import { createNavigator, type Navigator } from '../support/navigator.js';
import { type OidcServer, startOidcServer } from '../support/oidc-provider.js';
import { startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { password, sealedSession, workosOptions } from '../support/workos-session.js';

const origin = 'https://app.example.com';
const open: { close: () => Promise<unknown> }[] = [];
afterAll(() => Promise.all(open.map((each) => each.close())));

let server: WorkosServer;
beforeAll(async () => {
  server = await startWorkosServer();
  open.push(server);
});
beforeEach(() => {
  server.token.heal();
  server.visitor = {};
});

interface Served {
  readonly browser: Navigator;
  readonly newBrowser: () => Navigator;
  readonly failures: SessionEvents['signInFailed'][];
  readonly errors: unknown[];
  /** Begins a sign-in in a handler: what the provider is asked, or what was thrown. */
  readonly begin: (asked: BeginSignIn, browser?: Navigator) => Promise<URL>;
}

async function serve(options: Partial<SessionOptions> = {}): Promise<Served> {
  const failures: SessionEvents['signInFailed'][] = [];
  const errors: unknown[] = [];
  const sessions = withSession(
    workosOptions(server, {
      baseUrl: origin,
      fleet: createProcessFleet(),
      routes: { signUp: true },
      events: { signInFailed: (event) => failures.push(event) },
      ...options,
    }),
  );
  let next: BeginSignIn = {};
  const app = await frameworks[0]!.listen((each) => {
    each.use(sessions);
    const routes = sessions.routes();
    each.use((req, res, done) => {
      routes(req, res, (error) => {
        if (error !== undefined) errors.push(error);
        done(error);
      });
    });
    each.get('/page', (req, res) => res.end(JSON.stringify({ ...json(getSession(req)), data: dataOf(req) })));
    each.get('/guarded', sessions.require(), (_req, res) => res.end('in'));
    each.get('/late', async (req, res) => {
      res.write('begun');
      const error = await getSession(req)
        .beginSignIn()
        .catch((thrown: unknown) => thrown);
      res.end((error as { code: string }).code);
    });
    each.get('/begin', async (req, res) => {
      try {
        res.setHeader('Location', await getSession(req).beginSignIn(next));
        res.statusCode = 303;
        res.end();
      } catch (error) {
        res.statusCode = 500;
        res.end(JSON.stringify({ name: (error as Error).name, message: (error as Error).message }));
      }
    });
  });
  open.push(app);
  const newBrowser = () => createNavigator({ [origin]: app.url });
  const browser = newBrowser();
  return {
    browser,
    newBrowser,
    failures,
    errors,
    begin: async (asked, at = browser) => {
      next = asked;
      const page = await at.open('/begin');
      if (page.location === undefined) throw Object.assign(new Error(page.json.message), { name: page.json.name });
      return new URL(page.location);
    },
  };
}

const json = (value: unknown) => JSON.parse(JSON.stringify(value)) as object;
const dataOf = (req: Parameters<typeof getSession>[0]) => {
  const session = getSession(req);
  return session.authenticated ? session.data : undefined;
};
const queryOf = (url: URL | string | undefined) => Object.fromEntries(new URL(url!).searchParams);

describe('what a sign-in asks WorkOS for', () => {
  it.each<[BeginSignIn, Record<string, string>]>([
    [{}, { provider: 'authkit' }],
    [{ organizationId: 'org_01' }, { provider: 'authkit', organization_id: 'org_01' }],
    [{ connectionId: 'conn_01' }, { connection_id: 'conn_01' }],
    [
      { domainHint: 'example.com', loginHint: 'a@example.com' },
      { domain_hint: 'example.com', login_hint: 'a@example.com' },
    ],
    [{ screenHint: 'sign-up' }, { screen_hint: 'sign-up' }],
    [{ invitationToken: 'inv' }, { invitation_token: 'inv' }],
    [
      { prompt: 'login', maxAuthAgeSeconds: 0 },
      { prompt: 'login', max_age: '0' },
    ],
    [
      { provider: 'GoogleOAuth', providerScopes: ['a', 'b'] },
      { provider: 'GoogleOAuth', provider_scopes: 'b' },
    ],
  ])('%j: %j', async (asked, expected) => {
    const { begin } = await serve();
    const url = await begin(asked);
    const own = ['client_id', 'redirect_uri', 'response_type', 'state', 'code_challenge', 'code_challenge_method'];
    expect(queryOf(url)).toEqual({
      ...Object.fromEntries(own.map((name) => [name, expect.any(String)])),
      ...(!asked.connectionId && !asked.provider && { provider: 'authkit' }),
      ...expected,
    });
  });

  it.each<[string, BeginSignIn]>([
    ['scope', { scope: 'openid' }],
    ['acrValues', { acrValues: ['a'] }],
    ['screenHint', { screenHint: 'sign-up', provider: 'GoogleOAuth' }],
    ['screenHint', { screenHint: 'other' as never }],
    ['organizationId', { organizationId: '' }],
    ['maxAuthAgeSeconds', { maxAuthAgeSeconds: -1 }],
    ['acrValues', { acrValues: 'a' as never }],
    ['returnTo', { returnTo: 'https://evil.example/' }],
    ['appState', { appState: 'x'.repeat(511) }],
    ['appState', { appState: 1n as never }],
    ['returnTo', { returnTo: `/${'a'.repeat(1_800)}`, appState: 'x'.repeat(400) }],
    ['organisationId', { organisationId: 'org_01' } as never],
  ])('refuses %s: %j', async (name, asked) => {
    const { begin, browser } = await serve();
    await expect(begin(asked)).rejects.toMatchObject({
      name: 'TypeError',
      message: expect.stringContaining(`"${name}"`),
    });
    expect(browser.jar.cookies).toEqual([]);
  });

  it('says so when it is asked too late, and when there are no routes', async () => {
    const { browser } = await serve();
    expect((await browser.open('/late')).text).toBe('begunERR_SESSION_HEADERS_SENT');
    const sessions = withSession(workosOptions(server, { baseUrl: origin }));
    const app = await frameworks[0]!.listen((each) => {
      each.use(sessions);
      each.get('/', async (req, res) => {
        const error = await sessions
          .get(req)
          .beginSignIn()
          .catch((thrown: unknown) => thrown);
        res.end((error as { code: string }).code);
      });
    });
    open.push(app);
    expect((await createNavigator({ [origin]: app.url }).open('/')).text).toBe('ERR_SESSION_CONFIG');
  });

  it('sends the same static parameters each time, none in place of its own', async () => {
    const { workos } = await import('express-sealed-session');
    const provider = workos({
      clientId: server.clientId,
      apiKey: server.apiKey,
      baseUrl: server.url,
      authorizationParameters: { theme: 'dark', state: 'fixed' },
    });
    const { begin, browser } = await serve({ provider, signIn: { forwardParameters: ['theme'] } });
    const query = queryOf(await begin({}));
    expect(query.theme).toBe('dark');
    expect(query.state).not.toBe('fixed');
    // Nor is a link stronger than the app.
    expect(queryOf((await browser.open('/login?theme=light')).location).theme).toBe('dark');
  });

  it('begins at the page for new accounts at /signup', async () => {
    const { browser } = await serve();
    const page = await browser.open('/signup?returnTo=/page');
    expect(queryOf(page.location)).toMatchObject({ screen_hint: 'sign-up' });
    expect((await browser.follow(page.location!)).json).toMatchObject({ authenticated: true });
  });

  it('is signed in to the organization that it asked for', async () => {
    const { browser, begin } = await serve();
    const url = await begin({ organizationId: 'org_07', returnTo: '/page' });
    expect((await browser.follow(url.href)).json).toMatchObject({ authenticated: true, organizationId: 'org_07' });
  });

  it.each([
    ['recent enough', 250, true],
    ['too old', 400, false],
    ['not said', undefined, false],
  ])('accepts a sign-in that is %s: %s seconds ago', async (_, ago, isGood) => {
    const { begin, browser, failures } = await serve();
    const auth_time = ago === undefined ? undefined : Math.trunc(Date.now() / 1000) - ago;
    server.visitor = { claims: { auth_time } };
    await browser.follow((await begin({ maxAuthAgeSeconds: 300 })).href);
    expect(failures).toEqual(isGood ? [] : [{ failure: 'not_recent', check: 'max_age', restarted: false }]);
  });
});

describe('what a link may ask for', () => {
  const linked = async (search: string, options: Partial<SessionOptions> = {}) => {
    const { browser } = await serve(options);
    return queryOf((await browser.open(`/login?${search}`)).location);
  };

  it('is a login hint and an invitation', async () => {
    const query = await linked('login_hint=a@example.com&invitation_token=inv&organization_id=org_01&prompt=none');
    expect(query).toMatchObject({ login_hint: 'a@example.com', invitation_token: 'inv' });
    expect(query).not.toHaveProperty('organization_id');
    expect(query).not.toHaveProperty('prompt');
  });

  it.each([
    ['given twice', 'login_hint=a&login_hint=b'],
    ['empty', 'login_hint='],
    ['too long', `login_hint=${'a'.repeat(257)}`],
  ])('is ignored when it is %s', async (_, search) => {
    expect(await linked(search)).not.toHaveProperty('login_hint');
  });

  it('is what the option says, under any name', async () => {
    const signIn = { forwardParameters: ['organization_id', 'utm_campaign', 'max_age', 'screen_hint'] };
    const query = await linked('organization_id=org_01&utm_campaign=x&max_age=soon&screen_hint=odd&login_hint=a', {
      signIn,
    });
    expect(query).toMatchObject({ organization_id: 'org_01', utm_campaign: 'x', provider: 'authkit' });
    for (const name of ['max_age', 'screen_hint', 'login_hint']) expect(query).not.toHaveProperty(name);
  });

  it('is nothing with an empty list', async () => {
    expect(await linked('login_hint=a', { signIn: { forwardParameters: [] } })).not.toHaveProperty('login_hint');
  });

  it.each([
    'state',
    'redirect_uri',
    'scope',
    'resource',
    'audience',
    'client_id',
    'Nonce',
    'request',
    'claims',
    'a b',
    '',
  ])('may never be %j', (name) => {
    expect(() => withSession(workosOptions(server, { signIn: { forwardParameters: [name] } }))).toThrow(
      expect.objectContaining({ problems: [expect.objectContaining({ path: 'signIn.forwardParameters' })] }),
    );
  });

  it('never changes what the flow itself says, whatever is written', async () => {
    const { browser } = await serve({ signIn: { forwardParameters: ['login_hint', 'theme'] } });
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(
          fc.constantFrom(
            'state',
            'redirect_uri',
            'client_id',
            'response_type',
            'code_challenge',
            'nonce',
            'theme',
            'returnTo',
          ),
          fc.string(),
        ),
        async (query) => {
          const page = await browser.open(`/login?${new URLSearchParams(query).toString()}`);
          const sent = new URL(page.location!);
          expect(sent.origin).toBe(server.url);
          expect(queryOf(sent)).toMatchObject({
            client_id: server.clientId,
            redirect_uri: `${origin}/callback`,
            response_type: 'code',
            code_challenge_method: 'S256',
          });
          expect(sent.searchParams.getAll('state')).toHaveLength(1);
          if (query.state) expect(sent.searchParams.get('state')).not.toBe(query.state);
        },
      ),
      { numRuns: runs(50) },
    );
  });

  it('leads to a path of the app, whatever is written', async () => {
    const { browser } = await serve();
    const hostile = fc.oneof(
      fc.webUrl(),
      fc.string(),
      fc.constantFrom(
        '//evil.example',
        '/\\evil.example',
        '/%09/evil.example',
        '/\r\nSet-Cookie: a=b',
        '/..//evil.example',
      ),
      fc.string().map((text) => `/${text}`),
      fc.string().map((text) => `//${text}`),
    );
    await fc.assert(
      fc.asyncProperty(hostile, async (returnTo) => {
        const login = await browser.open(`/login?returnTo=${encodeURIComponent(returnTo)}`);
        const back = await browser.open((await browser.open(login.location!)).location!);
        expect(new URL(back.location!).origin).toBe(origin);
        expect(back.setCookies.every((each) => each.startsWith('wos-session'))).toBe(true);
      }),
      { numRuns: runs(50) },
    );
  });

  it('may have a path of 512 bytes, and no longer one', async () => {
    const { browser } = await serve();
    for (const [length, expected] of [
      [512, 512],
      [513, 1],
    ] as const) {
      const login = await browser.open(`/login?returnTo=/${'a'.repeat(length - 1)}`);
      const back = await browser.open((await browser.open(login.location!)).location!);
      expect(new URL(back.location!).pathname).toHaveLength(expected);
    }
  });
});

describe('what a guard asks for', () => {
  it('is sealed where it is longer than a link may be, and comes back', async () => {
    const { browser } = await serve();
    const path = `/guarded?q=${'a'.repeat(2_000)}`;
    const guarded = await browser.open(path);
    expect(guarded.location).toMatch(/\/login\?asked=Fe26/);
    const page = await browser.follow(guarded.location!);
    expect(page.url).toBe(origin + path);
    expect(page.text).toBe('in');
  });

  it('is good for a minute, for this provider, and not in place of anything else', async () => {
    const { browser, newBrowser } = await serve();
    const guarded = await browser.open(`/guarded?q=${'a'.repeat(600)}`);
    const { asked } = queryOf(guarded.location);
    // Not a session, and no session is one.
    browser.jar.set(origin, `wos-session=${asked}; Path=/; Secure`);
    expect((await browser.open('/page')).json).toMatchObject({ authenticated: false });
    const { sealed } = await sealedSession(server);
    const stranger = newBrowser();
    await stranger.open(`/login?asked=${encodeURIComponent(sealed)}`);
    const callback = (await stranger.open((await stranger.open(`/login?asked=${'x'.repeat(40)}`)).location!)).location!;
    expect((await stranger.open(callback)).location).toBe(`${origin}/`);
  });
});

describe('onSignIn', () => {
  type SignIn = Parameters<SignInHook>[0];

  it('runs once for each sign-in, with the verified session, before any cookie', async () => {
    const calls: SignIn[] = [];
    const cookies: unknown[] = [];
    const { browser, begin } = await serve({
      onSignIn: (signIn, req) => {
        calls.push(signIn);
        cookies.push(
          (req as unknown as { res?: { getHeader: (name: string) => unknown } }).res?.getHeader('set-cookie'),
        );
      },
    });
    server.token.reply = (body) => ({ ...body, oauth_tokens: { provider: 'GoogleOAuth', access_token: 'theirs' } });
    const url = await begin({ returnTo: '/page', appState: { plan: ['a', 1, null] } });
    expect(url.href).not.toContain('plan');
    const page = await browser.follow(url.href);
    expect(page.json).toMatchObject({ authenticated: true, authenticationMethod: 'Password', data: {} });
    expect(calls).toHaveLength(1);
    const [{ session, ...more }] = calls as [SignIn];
    expect(more).toEqual({
      tokens: {
        idToken: undefined,
        authenticationMethod: 'Password',
        oauthTokens: { provider: 'GoogleOAuth', accessToken: 'theirs' },
      },
      appState: { plan: ['a', 1, null] },
      returnTo: '/page',
    });
    expect(session).toMatchObject({ authenticated: true, user: { id: 'user_01' }, expiresAt: expect.any(Date) });
    expect(session.accessToken.split('.')).toHaveLength(3);
    expect(JSON.stringify(session)).not.toContain(session.accessToken);
    expect(cookies).toEqual([undefined]);
  });

  it('gives the session its first data, and the visitor another page', async () => {
    const { browser } = await serve({ onSignIn: () => ({ returnTo: '/page?welcome', data: { account: 7 } }) });
    const page = await browser.follow('/login?returnTo=/else');
    expect(page.url).toBe(`${origin}/page?welcome`);
    expect(page.json).toMatchObject({ authenticated: true, data: { account: 7 } });
  });

  it.each<[string, unknown, string]>([
    ['a path', '/page', '/page'],
    ['nothing', undefined, '/asked'],
    ['a promise of a path', Promise.resolve('/page'), '/page'],
    ['an address of another host', 'https://evil.example/', '/asked'],
    ['a host of its own', '//evil.example/', '/asked'],
  ])('may return %s', async (_, result, path) => {
    const { browser } = await serve({ onSignIn: () => result as never });
    expect((await browser.follow('/login?returnTo=/asked')).url).toBe(origin + path);
  });

  it.each([7, null, { returnTo: 7 }, { data: 'x' }])('may not return %j', async (result) => {
    const { browser, errors } = await serve({ onSignIn: () => result as never });
    expect((await browser.follow('/login')).status).toBe(500);
    expect(errors).toEqual([expect.objectContaining({ problems: [expect.objectContaining({ path: 'onSignIn' })] })]);
    expect(browser.jar.cookies).toEqual([]);
  });

  it('signs nobody in when it throws, keeps its error, and leaves an earlier session as it was', async () => {
    const thrown = Object.assign(new Error('not on the list'), { status: 403 });
    const { browser, errors, failures } = await serve({
      onSignIn: () => {
        throw thrown;
      },
    });
    const { sealed, sessionId } = await sealedSession(server);
    browser.jar.set(origin, `wos-session=${sealed}; Path=/; Secure`);
    expect((await browser.follow('/login')).status).toBe(403);
    expect(errors).toEqual([thrown]);
    expect(failures).toEqual([{ failure: 'hook_failed', restarted: false }]);
    expect(browser.jar.cookies.map(({ name, value }) => [name, value])).toEqual([['wos-session', sealed]]);
    expect((await browser.open('/page')).json).toMatchObject({ authenticated: true, sessionId });
  });

  it('runs once for two clicks of one callback, and its error reaches both', async () => {
    let calls = 0;
    const { browser, errors } = await serve({
      onSignIn: () => {
        calls += 1;
        throw Object.assign(new Error('not on the list'), { status: 418 });
      },
    });
    const login = await browser.open('/login');
    const callback = (await browser.open(login.location!)).location!;
    const held = server.token.hold();
    const both = [browser.open(callback), browser.open(callback)];
    await held.arrived(1);
    held.release();
    expect((await Promise.all(both)).map(({ status }) => status)).toEqual([418, 418]);
    expect([calls, errors[0] === errors[1]]).toEqual([1, true]);
  });

  it('does not run for a session that cannot be verified', async () => {
    let calls = 0;
    const { browser } = await serve({ onSignIn: () => void (calls += 1) });
    server.keys.fail({ status: 503 });
    const page = await browser.follow('/login?returnTo=/page');
    server.keys.heal();
    expect([page.status, calls]).toEqual([503, 0]);
    expect(browser.jar.get('wos-session')).toBeUndefined();
  });

  it('does not run for signIn() in a handler', async () => {
    let calls = 0;
    const sessions = withSession(workosOptions(server, { baseUrl: origin, onSignIn: () => void (calls += 1) }));
    const app = await frameworks[0]!.listen((each) => {
      each.use(sessions);
      each.get('/', async (req, res) => {
        const { accessToken, refreshToken } = await server.issueSession();
        await sessions.get(req).signIn({ accessToken, refreshToken });
        res.end();
      });
    });
    open.push(app);
    const page = await createNavigator({ [origin]: app.url }).open('/');
    expect([page.status, page.setCookies.length, calls]).toEqual([200, 1, 0]);
  });
});

describe('the tokens of a sign-in that onSignIn refuses', () => {
  let op: OidcServer;
  beforeAll(async () => {
    op = await startOidcServer();
    open.push(op);
  });

  it.each([
    ['are revoked where nobody was signed in', false],
    ['are left alone where this person was signed in', true],
  ])('%s', async (_, isSignedInBefore) => {
    let isRefused = false;
    const provider = oidc({
      issuer: op.url,
      clientId: op.clientId,
      clientSecret: op.clientSecret,
      resource: op.audience,
    });
    const revoked: string[] = [];
    const watched = {
      ...provider,
      revocationRequest: (session: { refreshToken: string }) => {
        revoked.push(session.refreshToken);
        return undefined;
      },
    };
    const { browser } = await serve({
      provider: watched,
      password,
      onSignIn: () => {
        if (isRefused) throw new Error('no');
      },
    });
    if (isSignedInBefore) await browser.follow('/login?returnTo=/page');
    isRefused = true;
    await browser.follow('/login?returnTo=/page');
    expect(revoked).toHaveLength(isSignedInBefore ? 0 : 1);
    expect((await browser.open('/page')).json).toMatchObject({ authenticated: isSignedInBefore });
  });
});

describe('attacks on a sign-in', () => {
  const callbackOf = async (browser: Navigator) => {
    const login = await browser.open('/login?returnTo=/page');
    return new URL((await browser.open(login.location!)).location!);
  };
  const isSignedIn = async (browser: Navigator) => (await browser.open('/page')).json.authenticated as boolean;

  it('a link with the code of an attacker signs nobody in', async () => {
    const { browser, newBrowser } = await serve();
    const attack = await callbackOf(newBrowser());
    const before = server.tokenRequests.length;
    await browser.open(attack.href);
    attack.searchParams.delete('state');
    await browser.open(attack.href);
    expect(server.tokenRequests).toHaveLength(before);
    expect(await isSignedIn(browser)).toBe(false);
  });

  it('a link with a forged state signs nobody in, however it counts', async () => {
    const { browser } = await serve();
    const before = server.tokenRequests.length;
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.string(),
          fc.nat(9).map((n) => `x.${n}`),
        ),
        async (state) => {
          const page = await browser.open(`/callback?code=a&state=${encodeURIComponent(state)}`);
          expect([303, 400]).toContain(page.status);
        },
      ),
      { numRuns: runs(30) },
    );
    expect(server.tokenRequests).toHaveLength(before);
    expect(await isSignedIn(browser)).toBe(false);
  });

  it('a code that comes again to another flow is refused by its verifier', async () => {
    const { browser, newBrowser, failures } = await serve();
    const stolen = (await callbackOf(newBrowser())).searchParams.get('code')!;
    const own = await callbackOf(browser);
    own.searchParams.set('code', stolen);
    await browser.open(own.href);
    expect(failures).toMatchObject([{ failure: 'code_spent' }]);
    expect(await isSignedIn(browser)).toBe(false);
  });

  it('a code of one provider is never sent to another', async () => {
    const op = await startOidcServer();
    open.push(op);
    const provider = oidc({
      issuer: op.url,
      clientId: op.clientId,
      clientSecret: op.clientSecret,
      resource: op.audience,
    });
    const first = await serve();
    const second = await serve({ provider, cookie: { name: 'wos-session' } });
    const begun = await callbackOf(first.browser);
    // The same cookies, as where both are served on one host.
    const cookie = first.browser.cookiesFor('/callback');
    const page = await second.browser.open(begun.href, { cookie });
    expect(page.location).toContain(op.url);
    expect(second.failures).toEqual([{ failure: 'state_mismatch', restarted: true }]);
    expect(op.grants).toEqual([]);
  });

  it('an answer that names another issuer is refused', async () => {
    const op = await startOidcServer();
    open.push(op);
    const provider = oidc({
      issuer: op.url,
      clientId: op.clientId,
      clientSecret: op.clientSecret,
      resource: op.audience,
    });
    const { browser, failures } = await serve({ provider });
    const page = await browser.follow('/login?returnTo=/page');
    const callback = new URL(page.hops.find((hop) => hop.includes('/callback'))!);
    expect(callback.searchParams.get('iss')).toBe(op.url);
    const attacked = await serve({ provider });
    const login = await attacked.browser.open('/login');
    let step = login;
    while (!step.location!.startsWith(origin)) step = await attacked.browser.open(step.location!);
    const mixedUp = new URL(step.location!);
    mixedUp.searchParams.set('iss', 'https://attacker.example');
    expect((await attacked.browser.open(mixedUp.href)).status).toBe(400);
    expect([failures, attacked.failures]).toMatchObject([[], [{ failure: 'check_failed' }]]);
  });

  it('a flood of sign-ins fills no cookie header, and the visitor still signs in', async () => {
    const { browser } = await serve();
    const own = await callbackOf(browser);
    for (let time = 0; time < 20; time += 1) await browser.open(`/login?returnTo=/${'a'.repeat(511)}`);
    expect(browser.cookiesFor('/page').length).toBeLessThan(4_096);
    await browser.follow(own.href);
    expect(await isSignedIn(browser)).toBe(true);
  });

  it('the largest flow is one that a browser keeps', async () => {
    const { browser, begin } = await serve();
    const most = { returnTo: `/page?${'a'.repeat(1_530)}`, appState: 'x'.repeat(510) };
    expect((await browser.follow((await begin(most)).href)).url).toBe(`${origin}${most.returnTo}`);
  });

  it('the flows of two tabs with all that they may hold fit beside each other', async () => {
    const { browser, begin } = await serve();
    const most = { returnTo: `/page?${'a'.repeat(500)}`, appState: 'x'.repeat(510) };
    const urls = [await begin(most), await begin(most)];
    for (const url of urls) {
      const page = await browser.follow(url.href);
      expect(page.url).toBe(`${origin}${most.returnTo}`);
      expect(page.json).toMatchObject({ authenticated: true });
    }
  });

  it('a header of its own cannot be written by any parameter', async () => {
    const { browser } = await serve();
    const odd = encodeURIComponent('a\r\nSet-Cookie: evil=1');
    for (const path of [
      `/login?returnTo=/${odd}`,
      `/login?login_hint=${odd}`,
      `/callback?state=${odd}&code=${odd}`,
      `/callback?error=${odd}`,
      `/logout?returnTo=/${odd}`,
    ]) {
      const page = await browser.open(path);
      expect(page.setCookies.some((each) => each.startsWith('evil'))).toBe(false);
    }
  });
});
