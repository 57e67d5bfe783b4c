import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import {
  oidc,
  type Provider,
  requireSession,
  type Rules,
  SessionConfigError,
  type SessionEvents,
  type SessionOptions,
  SessionStepUpError,
  withSession,
  workos,
} from 'express-sealed-session';

import { type Framework, frameworks } from '../support/apps.js';
import { useClock } from '../support/clock.js';
import { createNavigator, type Navigator } from '../support/navigator.js';
import { type OpServer, startOpServer } from '../support/op-server.js';
import { startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { password, workosOptions } from '../support/workos-session.js';

const origin = 'https://app.example.com';
const clock = useClock();
const open: { close: () => Promise<unknown> }[] = [];
afterAll(() => Promise.all(open.map((each) => each.close())));

const now = () => Math.trunc(Date.now() / 1000);
const script = { 'sec-fetch-mode': 'cors', accept: '*/*' };

/** Long enough for what is done in the background. */
async function visits(browser: Navigator): Promise<void> {
  for (let times = 0; times < 20; times += 1) await browser.open('/');
}

interface Served {
  readonly browser: Navigator;
  readonly failures: SessionEvents['signInFailed'][];
  /** What the guard handed to `next`. */
  readonly errors: unknown[];
}

/** An app whose pages below `/safe` are behind a rule. */
async function serve(
  provider: Provider,
  rule: Rules,
  {
    framework = frameworks[0]!,
    options = {},
    redirect,
  }: { framework?: Framework; options?: Partial<SessionOptions>; redirect?: boolean } = {},
): Promise<Served> {
  const failures: SessionEvents['signInFailed'][] = [];
  const errors: unknown[] = [];
  const sessions = withSession({
    provider,
    password,
    baseUrl: origin,
    events: { signInFailed: (event) => failures.push(event) },
    ...options,
  });
  const guard = sessions.require(rule, { redirect });
  const app = await framework.listen((each) => {
    each.use(sessions);
    each.use(sessions.routes());
    each.get('/', (req, res) => res.end(JSON.stringify(sessions.get(req))));
    each.get('/refresh', async (req, res) => {
      await sessions.get(req).refresh();
      res.end(JSON.stringify(sessions.get(req)));
    });
    each.use((req, res, next) => {
      if (!req.url?.startsWith('/safe')) {
        next();
        return;
      }
      guard(req, res, (error) => {
        if (error === undefined) {
          res.end(JSON.stringify(sessions.signedIn(req)));
          return;
        }
        errors.push(error);
        next(error);
      });
    });
  });
  open.push(app);
  return { browser: createNavigator({ [origin]: app.url }), failures, errors };
}

describe.each(frameworks.slice(0, 2))('step-up at an OpenID provider, on $name', (framework) => {
  let op: OpServer;
  beforeAll(async () => {
    op = await startOpServer();
    open.push(op);
  });
  afterEach(() => {
    op.wire.idToken = {};
    op.requests.length = 0;
  });

  const served = (rule: Rules, more: Parameters<typeof serve>[2] = {}) =>
    serve(oidc({ issuer: op.url, clientId: op.clientId, clientSecret: op.clientSecret }), rule, { framework, ...more });
  const asked = () => Object.fromEntries(op.to('/authorize').at(-1)!.query);

  it('sends a page to sign in with max_age, and back to it', async () => {
    const { browser, failures } = await served({ maxAuthAgeSeconds: 300 });
    op.wire.idToken = { auth_time: now() - 1_000 };
    const first = await browser.follow('/login');
    expect(first.json).toMatchObject({ authenticated: true, authenticatedAt: expect.any(String) });
    expect(asked()).not.toHaveProperty('max_age');
    op.wire.idToken = { auth_time: now() };
    const page = await browser.follow('/safe/page?a=1');
    expect([page.status, page.url, failures]).toEqual([200, `${origin}/safe/page?a=1`, []]);
    expect(asked()).toMatchObject({ max_age: '300' });
    expect(page.json.authenticatedAt).toBe(new Date((op.wire.idToken.auth_time as number) * 1000).toISOString());
    // From then on for as long as the rule says, and with a refresh between.
    op.to('/authorize').length = 0;
    clock.advance(290);
    expect((await browser.open('/safe/page')).status).toBe(200);
    clock.advance(20);
    expect((await browser.open('/safe/page')).status).toBe(302);
  });

  it('answers 401 to everything else, in the words of RFC 9470', async () => {
    const { browser, errors } = await served({ maxAuthAgeSeconds: 300, acr: ['mfa', 'hwk'] });
    op.wire.idToken = { auth_time: now() - 1_000, acr: 'mfa' };
    await browser.follow('/login');
    for (const init of [
      { headers: script },
      { headers: { accept: 'application/json', 'sec-fetch-mode': 'same-origin' } },
      { method: 'POST', headers: { 'sec-fetch-site': 'same-origin' } },
    ]) {
      const answer = await browser.open('/safe/page', init);
      expect([answer.status, answer.location, answer.setCookies]).toEqual([401, undefined, []]);
      expect(answer.headers['www-authenticate']).toBe(
        'Bearer error="insufficient_user_authentication", error_description="Sign in again to continue.", max_age="300", acr_values="mfa hwk"',
      );
      expect(answer.headers['cache-control']).toBe('private, no-store');
    }
    expect(errors).toEqual([1, 2, 3].map(() => expect.any(SessionStepUpError)));
    expect(errors[0]).toMatchObject({
      code: 'ERR_SESSION_STEP_UP_REQUIRED',
      status: 401,
      expose: true,
      demand: 'maxAuthAgeSeconds',
      maxAuthAgeSeconds: 300,
      acrValues: ['mfa', 'hwk'],
    });
  });

  it('answers 401 to a page with `redirect: false`', async () => {
    const { browser } = await served({ maxAuthAgeSeconds: 300 }, { redirect: false });
    op.wire.idToken = { auth_time: now() - 1_000 };
    await browser.follow('/login');
    expect((await browser.open('/safe')).status).toBe(401);
  });

  it.each<[why: string, idToken: Record<string, unknown>]>([
    ['did not ask again', { auth_time: now() - 1_000 }],
    ['does not say when it asked', {}],
    ['says it in milliseconds', { auth_time: Date.now() }],
    ['says it as a text', { auth_time: String(now()) }],
  ])('goes in no circle where the provider %s', async (_, idToken) => {
    const { browser, failures } = await served({ maxAuthAgeSeconds: 300 });
    op.wire.idToken = idToken;
    await browser.follow('/login');
    const before = browser.cookiesFor('/');
    const page = await browser.follow('/safe');
    expect([page.status, page.url.split('?')[0], page.json]).toMatchObject([
      400,
      `${origin}/callback`,
      { error: 'ERR_SESSION_SIGN_IN_FAILED' },
    ]);
    expect(failures).toEqual([{ failure: 'not_recent', check: 'max_age', restarted: false }]);
    // The session from before goes on, and what it has at the provider too.
    expect(browser.cookiesFor('/')).toBe(before);
    await visits(browser);
    expect(op.to('/revoke')).toEqual([]);
    expect((await browser.open('/refresh')).json).toMatchObject({ authenticated: true, refreshed: true });
  });

  it('revokes no tokens of the visitor whose cookie the callback does not see', async () => {
    const { browser } = await served({ maxAuthAgeSeconds: 300 });
    op.wire.idToken = {};
    await browser.follow('/login');
    const toProvider = await browser.open((await browser.open('/safe')).location!);
    const back = (await browser.open(toProvider.location!)).location!;
    // As with `sameSite: strict`: the flow's cookie comes, the session's does not.
    const cookie = browser
      .cookiesFor('/')
      .split('; ')
      .filter((each) => !each.startsWith('__Host-session='))
      .join('; ');
    expect((await browser.open(back, { cookie })).status).toBe(400);
    await visits(browser);
    expect(op.to('/revoke')).toEqual([]);
  });

  it('revokes the tokens that a refused sign-in has brought of somebody else', async () => {
    const { browser } = await served({ maxAuthAgeSeconds: 300 });
    await browser.follow('/login');
    op.wire.idToken = { sub: 'user_02' };
    expect((await browser.follow('/safe')).status).toBe(400);
    for (let turn = 0; turn < 50 && op.to('/revoke').length === 0; turn += 1) await browser.open('/');
    expect(op.to('/revoke')).toHaveLength(1);
    op.wire.idToken = {};
    expect((await browser.open('/refresh')).json).toMatchObject({ user: { id: 'user_01' }, refreshed: true });
  });

  it.each<[rule: Rules, got: Record<string, unknown>, query: object, failure: object | undefined]>([
    [{ acr: 'mfa' }, { acr: 'mfa' }, { acr_values: 'mfa' }, undefined],
    [{ acr: ['mfa', 'hwk'] }, { acr: 'hwk' }, { acr_values: 'mfa hwk' }, undefined],
    [{ acr: 'mfa' }, { acr: 'pwd' }, { acr_values: 'mfa' }, { failure: 'check_failed', check: 'acr' }],
    [{ amr: 'otp' }, { amr: ['pwd', 'otp'] }, { prompt: 'login' }, undefined],
    [{ amr: { any: ['otp', 'hwk'] } }, { amr: ['hwk'] }, { prompt: 'login' }, undefined],
    [
      { amr: { all: ['pwd', 'otp'] } },
      { amr: ['otp'] },
      { prompt: 'login' },
      { failure: 'check_failed', check: 'amr' },
    ],
    [{ acr: 'mfa', amr: 'otp' }, { acr: 'mfa', amr: ['otp'] }, { acr_values: 'mfa', prompt: 'login' }, undefined],
  ])('asks for %j and is given %j', async (rule, got, query, failure) => {
    const { browser, failures } = await served(rule);
    op.wire.idToken = { acr: 'pwd', amr: ['pwd'] };
    await browser.follow('/login');
    expect((await browser.open('/safe', { headers: script })).status).toBe(401);
    op.wire.idToken = got;
    const page = await browser.follow('/safe');
    expect(asked()).toMatchObject(query);
    expect(page.status).toBe(failure ? 400 : 200);
    expect(failures).toEqual(failure ? [{ ...failure, restarted: false }] : []);
    if (!failure) expect(page.json).toMatchObject(got);
  });

  it('asks at once for all that the rule wants of a sign-in', async () => {
    const { browser } = await served({ acr: 'mfa', maxAuthAgeSeconds: 300 });
    op.wire.idToken = { acr: 'mfa', auth_time: now() - 1_000 };
    await browser.follow('/login');
    // A new sign-in that is less sure than the one before.
    op.wire.idToken = { acr: 'pwd', auth_time: now() };
    const page = await browser.follow('/safe');
    expect(asked()).toMatchObject({ max_age: '300', acr_values: 'mfa' });
    expect(page.status).toBe(400);
  });

  it('asks nobody to sign in who may not pass for another reason', async () => {
    const { browser } = await served({ maxAuthAgeSeconds: 300, roles: 'admin' });
    op.wire.idToken = { auth_time: now() - 1_000 };
    await browser.follow('/login');
    const page = await browser.open('/safe');
    expect([page.status, page.json]).toMatchObject([403, { error: 'ERR_SESSION_FORBIDDEN' }]);
  });

  it('asks for what the first of several rules lacks that can be helped', async () => {
    const { browser } = await served({ any: [{ roles: 'admin' }, { maxAuthAgeSeconds: 60 }] });
    op.wire.idToken = { auth_time: now() - 1_000 };
    await browser.follow('/login');
    op.wire.idToken = { auth_time: now() };
    expect((await browser.follow('/safe')).status).toBe(200);
    expect(asked()).toMatchObject({ max_age: '60' });
  });

  it('takes no refresh for a new proof of who the visitor is', async () => {
    const { browser } = await served({ maxAuthAgeSeconds: 300 });
    const signedIn = now() - 1_000;
    op.wire.idToken = { auth_time: signedIn };
    op.wire.idTokenAtRefresh = { auth_time: now() };
    await browser.follow('/login');
    const refreshed = await browser.open('/refresh');
    expect(refreshed.json).toMatchObject({
      refreshed: true,
      authenticatedAt: new Date(signedIn * 1000).toISOString(),
    });
    expect((await browser.open('/safe', { headers: script })).status).toBe(401);
    delete op.wire.idTokenAtRefresh;
  });
});

describe('step-up at WorkOS', () => {
  let server: WorkosServer;
  beforeAll(async () => {
    server = await startWorkosServer();
    open.push(server);
  });

  it('asks for max_age, and takes no refresh for a new proof', async () => {
    const { provider } = workosOptions(server);
    const { browser } = await serve(provider, { maxAuthAgeSeconds: 300 });
    server.visitor = { claims: { auth_time: now() - 1_000 } };
    const { json } = await browser.follow('/login');
    server.sessions.update(json.sessionId as string, { claims: { auth_time: now() } });
    expect((await browser.open('/refresh')).json).toMatchObject({ refreshed: true });
    expect((await browser.open('/safe', { headers: script })).status).toBe(401);
    server.visitor = { claims: { auth_time: now() } };
    expect((await browser.follow('/safe')).status).toBe(200);
    expect(server.authorize.requests.at(-1)?.url).toContain('max_age=300');
  });

  it('ends in an error where WorkOS did not ask again', async () => {
    const { browser, failures } = await serve(workosOptions(server).provider, { maxAuthAgeSeconds: 300 });
    server.visitor = { claims: { auth_time: now() - 1_000 } };
    await browser.follow('/login');
    const page = await browser.follow('/safe');
    expect([page.status, failures]).toMatchObject([400, [{ failure: 'not_recent' }]]);
    expect((await browser.open('/')).json).toMatchObject({ authenticated: true });
  });
});

describe('a rule that no session of the provider could ever meet', () => {
  const workosProvider = workos({ clientId: 'client_01', apiKey: 'sk_test_01' });
  const mute: Provider = { ...workosProvider, name: 'mute', knows: [] };
  const problemsOf = (make: () => unknown) => {
    try {
      make();
    } catch (error) {
      expect(error).toBeInstanceOf(SessionConfigError);
      return (error as SessionConfigError).problems.map(({ path, message }) => `${path} ${message}`);
    }
    return [];
  };

  it.each<[Provider, Rules, string[]]>([
    [workosProvider, { acr: 'mfa' }, ['rule.acr can never be met: the workos provider never tells "acr".']],
    [
      workosProvider,
      { amr: 'otp', maxAuthAgeSeconds: 300 },
      ['rule.amr can never be met: the workos provider never tells "amr".'],
    ],
    [workosProvider, { maxAuthAgeSeconds: 300, organizationId: 'org_01' }, []],
    [
      mute,
      { maxAuthAgeSeconds: 300 },
      ['rule.maxAuthAgeSeconds can never be met: the mute provider never tells "auth_time".'],
    ],
    [
      mute,
      { any: [{ roles: 'a' }, { organizationId: 'a' }] },
      ['rule.any[1].organizationId can never be met: the mute provider has no organizations.'],
    ],
    [
      mute,
      { organizationId: () => 'org_01' },
      ['rule.organizationId can never be met: the mute provider has no organizations.'],
    ],
    [mute, { roles: 'a', claims: { a: 1 } }, []],
  ])('is refused at the start: %#', async (provider, rule, problems) => {
    const sessions = withSession({ provider, password });
    expect(problemsOf(() => sessions.require(rule))).toEqual(problems);
    expect(problemsOf(() => withSession({ provider, password, required: rule }))).toEqual(
      problems.map((each) => each.replace('rule', 'required')),
    );
  });

  it('is refused at the first request where the guard does not know the sessions before', async () => {
    const guard = requireSession({ maxAuthAgeSeconds: 300 });
    const app = await frameworks[0]!.listen((each) => {
      each.use(withSession({ provider: mute, password }));
      each.use(guard);
    });
    open.push(app);
    const page = await createNavigator({ [origin]: app.url }).open('/');
    expect([page.status, page.json]).toMatchObject([500, { error: 'ERR_SESSION_CONFIG' }]);
  });

  it.each<[unknown]>([['auth_time'], [['auth-time']], [[1]], [true]])(
    'is not known of a provider with knows: %j',
    (knows) => {
      expect(problemsOf(() => withSession({ provider: { ...mute, knows: knows as never }, password }))).toEqual([
        expect.stringContaining('It has a wrong "knows"'),
      ]);
    },
  );
});
