import { createHmac, generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { get } from 'node:http';
import path from 'node:path';

import { beforeEach, describe, expect, it, jest } from '@jest/globals';
import express from 'express';
import {
  type BeginSignIn,
  createSessionManager,
  getSession,
  type Misconfiguration,
  oidc,
  type OidcOptions,
  type Reason,
  requireSession,
  type SealProblem,
  type SessionErrorCode,
  type SessionEvents,
  type SessionOptions,
  type SignInFailure,
  withSession,
  workos,
} from 'express-sealed-session';
import { redisFleet } from 'express-sealed-session/redis';
import { sealData } from 'iron-session';

import { type App, frameworks, listen } from '../support/apps.js';
import { createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { createDevice, documentFrom } from '../support/device.js';
import { startOpServer, type Wire } from '../support/op-server.js';
import { printed } from '../support/printed.js';
import { expired, kinds, origin, random, tokenReasons, useScanned } from '../support/scanned-app.js';
import { answers, type Fault } from '../support/workos-server.js';

jest.setTimeout(30_000);

interface Meets {
  /** The codes of errors, each with its HTTP status. */
  codes?: Partial<Record<SessionErrorCode, number>>;
  reasons?: Reason[];
  events?: (keyof SessionEvents)[];
  problems?: Misconfiguration[];
  failures?: SignInFailure[];
  sealProblems?: SealProblem[];
}

// Declared beside the tests, not noted while they run: so each test can run by itself, and together they must still
// meet everything there is.
const declared: Meets[] = [];

function declare(meets: Meets): Meets {
  declared.push(meets);
  return meets;
}

function expectMet({ codes = {}, ...others }: Meets): void {
  const { met } = scanned;
  expect(Object.fromEntries(met.codes)).toMatchObject(codes);
  for (const [kind, names] of Object.entries(others) as [Exclude<keyof Meets, 'codes'>, string[]][]) {
    expect([...met[kind]]).toEqual(expect.arrayContaining(names));
  }
}

/** `it`, for a test that fails unless it meets these. */
function meeting(meets: Meets) {
  declare(meets);
  return (name: string, test: () => Promise<void>): void => {
    it(name, async () => {
      await test();
      expectMet(meets);
    });
  };
}

const clock = useClock();
const scanned = useScanned();
const { attempt, beginSignIn, issue, look, optionsOf } = scanned;

/**
 * An app that prints all it has: each session, each error.
 *
 * @param asked what the app's own `/login` asks for, where `routes.login` leaves that path to it
 */
async function serve(options: SessionOptions = optionsOf(), before?: (app: App) => void, asked: BeginSignIn = {}) {
  const { scanner } = scanned;
  const sessions = withSession(options);
  const show = (session: object) => {
    scanned.meetReason((session as { reason?: Reason }).reason);
    scanner.watch('a session in a log', ...printed(session));
  };
  const app = await frameworks[0]!.listen((each) => {
    before?.(each);
    each.use(sessions);
    if (options.baseUrl !== undefined) each.use(sessions.routes());
    each.use((req, _res, next) => {
      show(sessions.get(req));
      next();
    });
    each.get('/', (req, res) => res.end(JSON.stringify(getSession(req))));
    each.get('/guarded', sessions.require({}, { redirect: false }));
    each.get('/page', requireSession());
    each.get('/safe', requireSession({ maxAuthAgeSeconds: 300 }, { redirect: false }));
    each.get('/billing', requireSession({ permissions: 'billing:read' }));
    each.get('/asked', async (req, res) => {
      await attempt('what signedIn() throws', () => sessions.signedIn(req));
      await attempt('what authorize() throws', () => sessions.authorize(req, { roles: { any: ['admin', 'owner'] } }));
      res.end();
    });
    each.get('/login', async (req, res) => {
      res.setHeader('Location', await getSession(req).beginSignIn(asked));
      res.statusCode = 303;
      res.end();
    });
    each.get('/cleared', (_req, res) => res.setHeader('Set-Cookie', 'wos-session=; Path=/; Max-Age=0').end());
    each.get('/public', (_req, res) => res.setHeader('Cache-Control', 'public, s-maxage=60').end());
    each.get('/refresh', async (req, res) => {
      const session = getSession(req);
      const result = await session.refresh({ organizationId: 'org_02' });
      scanner.watch('what refresh() says', result);
      show(session);
      res.end(JSON.stringify(result));
    });
    each.get('/in', async (req, res) => {
      await getSession(req).signIn(JSON.parse(String(req.headers['x-tokens'])) as never);
      res.end();
    });
    each.get('/save', async (req, res) => {
      const session = getSession(req);
      await attempt('what save() throws', () => session.authenticated && session.save());
      res.end();
    });
    each.get('/out', async (req, res) => {
      await getSession(req).signOut();
      res.end();
    });
    each.get('/late', async (req, res) => {
      const session = getSession(req);
      res.write('begun');
      await attempt('an action after the headers', () => session.refresh());
      await attempt('an action after the headers', () => session.signOut());
      await attempt('an action after the headers', () => session.authenticated && session.save());
      res.end();
    });
    each.get('/large', async (req, res) => {
      const session = sessions.signedIn(req);
      session.data.basket = randomBytes(12_000).toString('base64');
      await session.save();
      res.end();
    });
    // As a careless app would have it: the whole error goes to the browser.
    each.use(((
      error: unknown,
      _req: unknown,
      res: { statusCode: number; end: (text: string) => void },
      next: (error: unknown) => void,
    ) => {
      scanned.meetError(error, 'an error');
      res.statusCode = (error as { status?: number }).status ?? 500;
      if ((res as { headersSent?: boolean }).headersSent) next(error);
      else res.end(JSON.stringify({ ...(error as object), stack: (error as Error).stack }));
    }) as never);
  });
  scanned.closing(app);
  return {
    ...app,
    browser: () => createBrowser(app.url),
    send: (sealed: string, at?: string, headers?: Record<string, string>) => scanned.send(app.url, sealed, at, headers),
  };
}

describe('no secret is shown', () => {
  beforeEach(() => {
    scanned.plantAnswers();
  });

  meeting({
    codes: {
      ERR_SESSION_REQUIRED: 401,
      ERR_SESSION_FORBIDDEN: 403,
      ERR_SESSION_STEP_UP_REQUIRED: 401,
      ERR_SESSION_HEADERS_SENT: 500,
    },
    reasons: ['no_session_cookie_provided', 'session_revoked'],
    events: ['written', 'refreshed', 'signedOut'],
    problems: ['shared_cache'],
  })('in visits, refreshes and sign-outs that go well', async () => {
    const app = await serve();
    const { sealed } = await issue(expired);
    expect((await app.send(sealed)).json).toMatchObject({ authenticated: true, refreshed: true });
    // A response that carries a session, and is meant for shared caches.
    expect((await app.send((await issue(expired)).sealed, '/public')).headers.get('cache-control')).not.toMatch(
      'public',
    );
    const valid = await issue({ organizationId: 'org_01' });
    const paths = ['/', '/guarded', '/page', '/safe', '/billing', '/asked', '/late', '/refresh'];
    for (const at of paths) await app.send(valid.sealed, at);
    const headers = { cookie: `wos-session=${valid.sealed}` };
    expect((await look(app.browser().post('/logout', { headers }))).status).toBe(303);
    expect((await app.send(valid.sealed)).json).toMatchObject({ reason: 'session_revoked' });
    expect((await look(app.browser().get('/page', { headers: { accept: 'text/html' } }))).status).toBe(401);
  });

  meeting({ events: ['replayed', 'ended'], problems: ['cookie_cleared'] })(
    'in an old cookie that comes again, one whose session has ended, and one that the app itself removes',
    async () => {
      const app = await serve();
      const { sealed: old } = await issue(expired);
      const next = (await app.send(old)).setCookies[0]!.split(/[=;]/)[1]!;
      await app.send(next);
      clock.advance(120);
      await app.send(old);
      const { sealed: ended, sessionId } = await issue(expired);
      scanned.server.sessions.revoke(sessionId);
      await app.send(ended);
      const cleared = await app.send((await issue(expired)).sealed, '/cleared');
      expect(cleared.setCookies).toEqual([expect.stringMatching(/^wos-session=;/)]);
    },
  );

  meeting({
    events: ['deviceBound', 'deviceProofMissed'],
    reasons: ['device_proof_missing', 'device_proof_unavailable'],
  })('in sessions that are bound to a device, and in copies of them', async () => {
    const app = await serve(optionsOf({ deviceBound: true }));
    const browser = app.browser();
    browser.jar.set(app.url, `wos-session=${(await issue()).sealed}; Path=/; Secure`);
    const device = await createDevice(browser);
    const page = await browser.get('/', documentFrom('none'));
    expect((await look(device.register(page))).status).toBe(200);
    browser.jar.clear('__Host-wos-session-proof');
    for (const headers of [{}, { 'secure-session-skipped': 'quota_exceeded' }, documentFrom('cross-site').headers]) {
      for (const at of ['/', '/guarded', '/asked', '/refresh']) await look(browser.get(at, { headers }));
    }
    expect((await look(device.post({ 'sec-secure-session-id': 'another' }))).json).toMatchObject({ continue: false });
  });

  const echo = (secrets: string) => ({ error: secrets, error_description: secrets, message: secrets, code: secrets });
  const faults: [string, Fault | ((secrets: string) => Fault)][] = [
    ...Object.entries(answers),
    ['429 for a while', { status: 429, body: {}, headers: { 'retry-after': '60' } }],
    ['reset', 'reset'],
    ['hang', 'hang'],
    ['drop-after-rotation', 'drop-after-rotation'],
    ...[200, 400, 401, 403, 404, 422, 429, 500, 503].map((status): [string, (secrets: string) => Fault] => [
      `${status} with all it was sent`,
      (secrets) => ({ status, body: echo(secrets), headers: { 'retry-after': secrets, 'x-request-id': secrets } }),
    ]),
    ['a page with all it was sent', (secrets) => ({ status: 502, body: `<html>${secrets}</html>` })],
    ['a redirect with all it was sent', (secrets) => ({ status: 302, headers: { location: `/x?${secrets}` } })],
    ['another user', (secrets) => ({ status: 200, body: { access_token: secrets, user: { id: secrets } } })],
    ['a token that is none', (secrets) => ({ status: 200, body: { access_token: secrets, refresh_token: secrets } })],
  ];
  const refused = (reason: Reason) => declare({ reasons: [reason], events: ['refreshFailed'] });
  const meetsOf: Record<string, Meets> = {
    invalidGrant: { ...refused('invalid_grant'), ...declare({ failures: ['code_spent'] }) },
    ssoRequired: refused('sso_required'),
    organizationSelection: { ...refused('interaction_required'), ...declare({ failures: ['exchange_refused'] }) },
    mfaEnrollment: refused('mfa_enrollment'),
    unauthorized: {
      ...refused('provider_misconfigured'),
      ...declare({ problems: ['code_exchange', 'refresh_grant'] }),
    },
    rateLimited: refused('rate_limit_exceeded'),
    serverError: {
      ...refused('server_error'),
      ...declare({ failures: ['provider_unavailable'], events: ['refreshFailed', 'signInFailed'] }),
    },
    reset: refused('network_error'),
    hang: refused('timeout'),
  } satisfies Partial<Record<keyof typeof answers | 'reset' | 'hang', Meets>>;
  it.each(faults)('when the provider answers with %s', async (name, fault) => {
    // Whatever is tried again is given up soon.
    const options = optionsOf({ refresh: { waitMs: 150, timeoutMs: 120 } });
    const { met, scanner, server } = scanned;
    const app = await serve(options);
    const old = await issue(expired);
    const valid = await issue();
    const secrets = [old.refreshToken, old.accessToken, scanned.apiKey].join('.');
    server.token.fail(typeof fault === 'function' ? fault(secrets) : fault);
    for (const at of ['/', '/guarded', '/page']) await app.send(old.sealed, at, { 'sec-fetch-mode': 'navigate' });
    await app.send(valid.sealed, '/refresh');
    const loaded = createSessionManager(options).load(old.sealed);
    const result = await loaded.refresh();
    if (!result.authenticated) {
      met.reasons.add(result.reason);
      const { sealedSession, ...said } = result;
      if (sealedSession !== undefined) scanner.plant('a new seal', sealedSession);
      scanner.watch('what a session manager says', said);
    }
    // And at the end of a sign-in.
    const { browser, back } = await beginSignIn(app);
    const page = await look(browser.get(back));
    expect(page.status).toBeGreaterThanOrEqual(300);
    server.token.heal();
    expectMet(meetsOf[name] ?? {});
  });

  meeting({
    reasons: ['refresh_refused'],
    events: ['refreshFailed'],
  })('in a session that the provider refuses while it refreshes another', async () => {
    const { met, server } = scanned;
    const app = await serve();
    const [refused, other] = [
      await issue(expired),
      await issue({ ...expired, user: { id: 'user_02' } }, { more: { user: { id: 'user_02' } } }),
    ];
    server.token.fail({ status: 400, body: echo(`${refused.refreshToken}.${refused.accessToken}.${scanned.apiKey}`) });
    await app.send(refused.sealed);
    expect(met.reasons).not.toContain('refresh_refused');
    server.token.heal();
    expect((await app.send(other.sealed)).json).toMatchObject({ refreshed: true });
    for (const at of ['/', '/guarded', '/page', '/asked', '/refresh']) await app.send(refused.sealed, at);
  });

  const keysUnavailable = declare({ codes: { ERR_SESSION_UNAVAILABLE: 503 }, reasons: ['keys_unavailable'] });
  it.each<[string, Fault]>([
    ['no key', 'reset'],
    ['an error', answers.serverError],
    ['a page', { status: 200, body: '<html></html>' }],
    ['no keys', { status: 200, body: { keys: [] } }],
  ])('when the key server has %s', async (_, fault) => {
    for (const whenUnavailable of ['continue', 'refuse', { staleSeconds: 60 }] as const) {
      scanned.server.keys.fail(fault);
      const app = await serve(optionsOf({ whenUnavailable }));
      const { sealed } = await issue();
      const pages = [await app.send(sealed), await app.send(sealed, '/guarded'), await app.send(sealed, '/asked')];
      const refused = whenUnavailable === 'refuse' ? 503 : 200;
      expect(pages.map(({ status }) => status)).toEqual([refused, 503, refused]);
    }
    expectMet(keysUnavailable);
  });

  meeting({
    reasons: ['invalid_session_cookie', ...tokenReasons],
    events: ['oldPasswordUsed', 'rejected'],
    problems: ['other_provider'],
    sealProblems: kinds.sealProblems as SealProblem[],
  })('in the refusal of cookies that are no session', async () => {
    const { password, scanner, server } = scanned;
    const app = await serve(optionsOf({ password: { 1: password, 3: scanned.plantedPassword() } }));
    const { sealed, accessToken, refreshToken } = await issue();
    const other = oidc({
      issuer: 'https://other.example',
      clientId: 'a',
      clientSecret: random(),
      accessToken: 'opaque',
    });
    const ofOther = createSessionManager({ ...optionsOf({ provider: other }), baseUrl: undefined });
    const wrong = await issue({}, { under: random() });
    const unknown = await issue({}, { under: { 2: random() } });
    await app.send(sealed);
    const seal = (fields: object, ttl = 0) => sealData(fields, { password, ttl });
    jest.spyOn(Date, 'now').mockReturnValueOnce(1);
    const old = await seal({ accessToken }, 1);
    for (const junk of [
      wrong.sealed,
      unknown.sealed,
      await ofOther.seal({ accessToken, refreshToken, user: { id: 'user_01' } }),
      old,
      accessToken,
      sealed.slice(0, -9),
      sealed.replace('*1*', '*constructor*'),
      sealed.replace(/.(?=.{120}$)/, '_'),
      `${sealed}${sealed}`,
      await seal({ token: accessToken }),
      await seal({ accessToken: `${accessToken.slice(0, -8)}AAAAAAAA` }),
      await seal({ accessToken: await server.forge.none(server.claims()) }),
      await seal({ accessToken: await server.signToken(server.claims(), { alg: 'HS256', key: randomBytes(32) }) }),
      await seal({ accessToken: 'not a token at all, not at all' }),
      await seal({ accessToken: await server.signToken(server.claims({ exp: 1 })) }),
    ]) {
      scanner.plant('a cookie that is none', junk);
      for (const at of ['/', '/guarded']) await app.send(junk, at);
    }
  });

  meeting({ reasons: ['session_expired'], events: ['rejected'] })('in a session past its lifetime', async () => {
    const options = optionsOf({ lifetime: { absoluteSeconds: 3_600, idleSeconds: 600 } });
    const app = await serve(options);
    const now = Math.trunc(Date.now() / 1000);
    for (const more of [
      { startedAt: now - 4_000, usedAt: now },
      { startedAt: now, usedAt: now - 700 },
    ]) {
      const { sealed } = await issue({}, { more });
      expect((await app.send(sealed)).json).toMatchObject({ authenticated: false, reason: 'session_expired' });
      for (const at of ['/guarded', '/asked', '/refresh', '/logout']) await app.send(sealed, at);
      const loaded = createSessionManager(options).load(sealed);
      scanned.scanner.watch('what a session manager says', await loaded.authenticate(), await loaded.refresh());
    }
  });

  const unfit = (problem: Misconfiguration) =>
    declare({ codes: { ERR_SESSION_TOKENS_INVALID: 500 }, events: ['misconfigured'], problems: [problem] });
  it.each<[string, Partial<Parameters<typeof workos>[0]>, Meets]>([
    ['issuer', { issuer: 'https://other.example' }, unfit('issuer')],
    ['audience', { audience: 'https://other.example/api' }, unfit('audience')],
  ])('in tokens that do not fit the option %s', async (_, change, meets) => {
    const { apiKey, server } = scanned;
    const provider = workos({ clientId: server.clientId, apiKey, baseUrl: server.url, ...change });
    const app = await serve(optionsOf({ provider }));
    const { sealed, accessToken, refreshToken } = await issue();
    expect((await app.send(sealed)).json).toMatchObject({ reason: 'invalid_jwt' });
    await app.send(sealed, '/in', { 'x-tokens': JSON.stringify({ accessToken, refreshToken }) });
    await app.send(sealed, '/in', { 'x-tokens': JSON.stringify({ accessToken: [accessToken], refreshToken }) });
    expectMet(meets);
  });

  meeting({ problems: ['provider'] })('where the rules of a provider object are not whole', async () => {
    const { provider } = optionsOf();
    const rules = (accessToken: string) => ({ keysUrl: `https://id.example/${accessToken}`, issuer: accessToken });
    const app = await serve(optionsOf({ provider: { ...provider, accessToken: rules as never } }));
    const { sealed } = await issue();
    expect((await app.send(sealed, '/guarded')).status).toBe(503);
  });

  meeting({
    codes: { ERR_SESSION_CONFIG: 500 },
    problems: ['insecure_cookie'],
  })('with a cookie that is not Secure, on another host than localhost', async () => {
    const app = await serve(optionsOf({ baseUrl: undefined, cookie: { secure: false } }));
    const { sealed } = await issue();
    expect((await app.send(sealed)).status).toBe(200);
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const headers = { host: 'app.example.com', cookie: `wos-session=${sealed}` };
      get(app.url, { headers }, (res) => {
        resolve(res.resume().statusCode);
      }).on('error', reject);
    });
    expect(status).toBe(500);
  });

  meeting({
    codes: { ERR_SESSION_COOKIE_TOO_LARGE: 500 },
    problems: ['cookie_too_large'],
  })('in a session that is too large', async () => {
    const app = await serve();
    const { sealed } = await issue();
    expect((await app.send(sealed, '/large')).status).toBe(500);
    scanned.server.token.reply = (body) => {
      const large = {
        ...body,
        user: { ...(body.user as object), metadata: { large: randomBytes(12_000).toString('hex') } },
      };
      scanned.scanner.plant('a new access token', String(body.access_token));
      return large;
    };
    await app.send((await issue(expired)).sealed);
  });

  meeting({ codes: { ERR_SESSION_CONFIG: 500 } })('in errors about options', async () => {
    const secret = random();
    scanned.scanner.plant('a secret option', secret);
    const fine = optionsOf();
    const wrong: (() => unknown)[] = [
      () => withSession({ ...fine, password: secret.slice(0, 20) }),
      () => withSession({ ...fine, password: { 1: secret, 2: secret.slice(0, 16) } }),
      () => withSession({ ...fine, password: { [secret]: secret } }),
      () => withSession({ ...fine, password: [secret, secret.slice(0, 16)] }),
      () => withSession({ ...fine, password: [{ secret }] as never }),
      () => withSession({ ...fine, password: { toString: () => secret } }),
      () => withSession({ ...fine, secret } as never),
      () => withSession({ ...fine, cookie: { name: `${secret};`, domain: `${secret} `, path: `/${secret};` } }),
      () => withSession({ ...fine, cookie: { sameSite: secret as never, maxAge: secret as never } }),
      () => withSession({ ...fine, property: { secret } as never, whenUnavailable: secret as never }),
      () => withSession({ ...fine, refresh: secret as never, cache: secret as never, events: secret as never }),
      () => withSession({ ...fine, whenUnavailable: { staleSeconds: secret } as never }),
      () => withSession({ ...fine, lifetime: { absoluteSeconds: secret, isActivity: secret } as never }),
      () => withSession({ ...fine, header: `${secret}:`, userFields: secret as never, fleet: { secret } as never }),
      () => withSession({ ...fine, required: { permissions: [secret] as never } }),
      () => withSession({ ...fine, provider: { secret } as never }),
      () => withSession(secret as never),
      () => withSession({ ...fine, provider: workos({ clientId: '', apiKey: secret, baseUrl: `http://${secret}` }) }),
      () =>
        withSession({
          ...fine,
          provider: workos({ clientId: 'a', apiKey: [secret] as never, baseUrl: `https://a:${secret}@b` }),
        }),
      () =>
        withSession({ ...fine, provider: oidc({ issuer: `ftp://${secret}`, clientId: 'a', clientSecret: secret }) }),
      () =>
        withSession({
          ...fine,
          provider: oidc({ issuer: 'https://a', clientId: '', clientSecret: secret, scope: secret }),
        }),
      () => withSession({ ...fine, baseUrl: `${origin}/#${secret}` }),
      () => withSession({ ...fine, routes: { login: secret, callback: `//${secret}`, logout: { secret } as never } }),
      () => withSession({ ...fine, signIn: { returnTo: `//${secret}` }, signOut: { returnTo: secret } }),
      () => withSession({ ...fine, baseUrl: undefined }).routes(),
      () => createSessionManager({ ...fine, password: secret.slice(0, 31) }),
      () =>
        createSessionManager(fine)
          .load('x')
          .refresh({ password: secret.slice(0, 31) }),
      () => createSessionManager(fine).seal({ accessToken: { secret } as never, refreshToken: secret }),
      () => requireSession({ roles: { secret } as never }),
      () => withSession(fine).require({ roles: { all: secret as never } }, { redirect: secret as never }),
      () => redisFleet({ client: { secret } as never, prefix: { secret } as never }),
    ];
    for (const each of wrong) expect(await attempt('an error at start-up', each)).toBeInstanceOf(Error);
  });

  const mountedWrong: Meets = { codes: { ERR_SESSION_PROPERTY_TAKEN: 500, ERR_SESSION_MIDDLEWARE_MISSING: 500 } };
  meeting(mountedWrong)('where the middleware is missing, or its property is taken', async () => {
    const { sealed } = await issue();
    const taken = await serve(optionsOf(), (each) => {
      each.use((req, _res, next) => {
        Object.assign(req, { session: { cookie: req.headers.cookie, authenticated: true } });
        next();
      });
    });
    await taken.send(sealed);
    const missing = await frameworks[0]!.listen((each) => {
      each.use((req, res, next) => {
        requireSession()(req, res, (error) => {
          scanned.meetError(error, 'an error');
          next(error);
        });
      });
    });
    scanned.closing(missing);
    await scanned.send(missing.url, sealed);
  });

  const signInEnds: Meets = {
    codes: { ERR_SESSION_SIGN_IN_FAILED: 400, ERR_SESSION_SIGN_OUT_REFUSED: 403 },
    events: ['signedIn', 'cookieMissed'],
    failures: ['flow_missing', 'provider_error', 'code_spent', 'check_failed'],
  };
  meeting(signInEnds)('in sign-ins that end well, are refused, repeated or mixed up', async () => {
    const app = await serve();
    const whole = await beginSignIn(app);
    expect((await look(whole.browser.get(whole.back))).status).toBe(303);
    // Once more, by going back: at once, and when the first answer is forgotten.
    for (const seconds of [0, 120]) {
      clock.advance(seconds);
      whole.browser.jar.set(app.url, `${whole.cookie}; Path=/`);
      const again = await look(whole.browser.get(whole.back));
      expect([again.status, again.headers.get('location')]).toEqual([303, '/']);
    }
    // And in a browser that is not signed in.
    const signedOut = app.browser();
    signedOut.jar.set(app.url, `${whole.cookie}; Path=/`);
    expect((await look(signedOut.get(whole.back))).status).toBe(400);

    const foreign = await beginSignIn(app);
    expect((await look(app.browser().get(foreign.back))).status).toBe(400);
    const mixed = await beginSignIn(app);
    expect((await look(foreign.browser.get(mixed.back))).status).toBe(400);
    const { code, state, verifier } = await beginSignIn(app);
    const refused = await beginSignIn(app, { error: 'access_denied', error_description: `${code} ${verifier}` });
    expect((await look(refused.browser.get(refused.back))).status).toBe(400);
    const odd = await look(app.browser().get(`/callback?error=${code}&error_description=${verifier}&state=${state}`));
    expect(odd.status).toBe(400);
    const headers = { 'sec-fetch-site': 'cross-site' };
    expect((await look(app.browser().post('/logout', { headers }))).status).toBe(403);
    // The provider's answer is not whole.
    const partial = await beginSignIn(app);
    scanned.server.token.reply = ({ access_token, ...rest }) => {
      scanned.scanner.plant('a new access token', String(access_token));
      return { ...rest, accessToken: access_token };
    };
    expect((await look(partial.browser.get(partial.back))).status).toBe(400);
  });

  meeting({ failures: ['flow_expired', 'state_mismatch'] })(
    'in a sign-in that comes back too late, or to another provider',
    async () => {
      const app = await serve();
      const late = await beginSignIn(app);
      clock.advance(700);
      expect((await look(late.browser.get(late.back))).status).toBe(400);

      const { apiKey, server } = scanned;
      const provider = workos({ clientId: 'client_other', apiKey, baseUrl: server.url });
      const other = await serve(optionsOf({ provider }));
      const { back, cookie } = await beginSignIn(app);
      // The same cookies, as where both are served on one host.
      const moved = other.browser().get(back.replace(app.url, other.url), { headers: { cookie } });
      expect((await look(moved)).status).toBe(400);
    },
  );

  meeting({ failures: ['not_recent', 'other_organization'] })(
    'in a sign-in that is not what the app asked for',
    async () => {
      const answered = { organization_id: 'org_02' };
      scanned.server.token.reply = (body) => {
        for (const name of ['access_token', 'refresh_token'])
          scanned.scanner.plant(`a new ${name}`, String(body[name]));
        return { ...body, ...answered };
      };
      const claims = { org_id: 'org_02', auth_time: Math.trunc(Date.now() / 1000) - 400 };
      for (const asked of [{ maxAuthAgeSeconds: 300 }, { organizationId: 'org_01' }]) {
        const app = await serve(optionsOf({ routes: { login: '/sign-in' } }), undefined, asked);
        const { browser, back } = await beginSignIn(app, { claims });
        expect((await look(browser.get(back))).status).toBe(400);
      }
    },
  );

  meeting({ failures: ['hook_failed'] })('in a sign-in that the app itself refuses', async () => {
    const app = await serve(
      optionsOf({
        onSignIn: (given) => {
          // As a careless hook would have it: all that it is given is printed in every way, and sent to the browser.
          scanned.scanner.watch('what onSignIn is given', ...printed(given));
          throw Object.assign(new Error(JSON.stringify(given)), { status: 403, given: { ...given.session } });
        },
      }),
    );
    const { browser, back } = await beginSignIn(app);
    expect((await look(browser.get(back))).status).toBe(403);
  });

  const wrongPlace: Meets = {
    codes: { ERR_SESSION_CROSS_ORIGIN: 403, ERR_SESSION_UNKNOWN_HOST: 421, ERR_SESSION_ORGANIZATION_MISSING: 400 },
    reasons: ['cross_origin_request'],
    events: ['rejected'],
  };
  meeting(wrongPlace)('in requests that another site makes, or that come to an unknown host', async () => {
    const { sealed } = await issue();
    const app = await serve(optionsOf({ routes: { session: '/session', organization: true } }));
    const headers = { cookie: `wos-session=${sealed}`, origin: 'https://evil.example' };
    // Two are routes of our own. The third is none, and whatever it is, it comes without the session.
    for (const path of ['/session', '/logout']) {
      expect((await look(app.browser().post(path, { headers }))).status).toBe(403);
    }
    await look(app.browser().post('/elsewhere', { headers }));
    expect((await look(app.browser().post('/organization', { headers: { cookie: headers.cookie } }))).status).toBe(400);

    const several = await serve(optionsOf({ baseUrl: [origin, 'https://other.example.com'] }));
    const { searchParams } = new URL((await beginSignIn(app)).back);
    for (const at of ['/login', `/callback?${searchParams.toString()}`, '/logout']) {
      expect((await several.send(sealed, at)).status).toBe(421);
    }
  });

  const inPlaceOfCookies: Meets = {
    codes: {
      ERR_SESSION_REQUIRED: 401,
      ERR_SESSION_UNAVAILABLE: 503,
      ERR_SESSION_NO_COOKIE: 500,
      ERR_SESSION_API_KEY_RESULT: 500,
    },
    reasons: ['invalid_jwt', 'expired_jwt', 'session_revoked', 'invalid_api_key', 'api_keys_unavailable'],
    events: ['rejected', 'signedOut'],
  };
  meeting(inPlaceOfCookies)('in tokens and API keys that are sent in place of a cookie', async () => {
    const keys = ['held', 'not held', 'odd', 'unknown'].map((name) => [name, random()] as const);
    for (const [name, key] of keys) scanned.scanner.plant(`an API key that is ${name}`, key);
    const app = await serve(
      optionsOf({
        bearer: true,
        // As a careless app would have it: each error and each odd answer has the key in it.
        apiKeys: (key): never => {
          const name = keys.find(([, each]) => each === key)?.[0];
          if (name === 'held') return { user: { id: 'robot_01' } } as never;
          if (name === 'odd') return { user: { key }, [key]: key } as never;
          if (name === 'unknown') throw Object.assign(new Error(key), { key });
          return undefined as never;
        },
      }),
    );
    const bring = (value: string, at: string) =>
      look(app.browser().get(at, { headers: { authorization: `Bearer ${value}` } }));
    const { server } = scanned;
    const { accessToken } = await issue();
    const tokens = [
      accessToken,
      (await issue(expired)).accessToken,
      await server.forge.foreignKey(server.claims()),
      await server.signToken(server.claims({ nonce: random() })),
    ];
    const ends = ['/', '/guarded', '/asked', '/save', '/refresh', '/late', '/out', '/guarded'];
    for (const value of [...tokens, ...keys.map(([, key]) => key)]) {
      scanned.scanner.plant('the end of a token', value.slice(-40));
      for (const at of ends) await bring(value, at);
    }
  });

  it('in a sign-in whose tokens are refused', async () => {
    const app = await serve();
    for (const claims of [{ iss: 'https://other.example' }, { exp: 1 }, { sub: 'user_02' }, { client_id: 'other' }]) {
      const { browser, back } = await beginSignIn(app, { claims });
      expect((await look(browser.get(back))).status).toBe(500);
    }
  });

  const allFail: Meets = { events: ['fleetChanged'], problems: ['endings_unread'] };
  meeting(allFail)('where a provider, a client of Redis or a callback throws every secret', async () => {
    const { sealed, refreshToken, accessToken } = await issue(expired);
    const { apiKey, password } = scanned;
    const all = [refreshToken, accessToken, apiKey, password, sealed].join(' ');
    const fail = () => Promise.reject(Object.assign(new Error(all), { response: { body: all }, options: { all } }));
    const good = optionsOf().provider;
    const broken: Partial<SessionOptions>[] = [
      { provider: { ...good, refreshRequest: fail } },
      { provider: { ...good, readRefresh: fail } },
      { provider: { ...good, accessToken: fail } },
      { provider: { ...good, authorizationUrl: fail } },
      { provider: { ...good, codeRequest: fail } },
      { provider: { ...good, readSignIn: fail } },
      { provider: { ...good, logoutUrl: fail, revocationRequest: fail } },
      {
        fleet: redisFleet({
          client: { call: (...given) => Promise.reject(new Error(`${given.join()} ${all}`)) },
        }),
      },
      {
        events: {
          refreshed: fail,
          written: () => {
            throw new Error(all);
          },
          rejected: fail,
          signedIn: fail,
        },
      },
    ];
    for (const change of broken) {
      const app = await serve(optionsOf(change));
      await app.send((await issue(expired)).sealed, '/guarded');
      await app.send((await issue()).sealed, '/refresh');
      await app.send('garbage', '/');
      const login = await look(app.browser().get('/login'));
      if (login.status === 303) {
        const { browser, back } = await beginSignIn(app);
        await look(browser.get(back));
      }
      await app.send((await issue()).sealed, '/logout', { method: 'POST' });
    }
    expect(scanned.warnings).toContainEqual([
      expect.any(String),
      { type: 'SessionWarning', code: 'WARN_SESSION_EVENT_CALLBACK' },
    ]);
  });

  const noticed: Meets = { events: ['noticeFailed', 'ended'], problems: ['body_parsed_before_webhook'] };
  meeting(noticed)('in webhooks that are good, forged, or parsed before', async () => {
    const { server, apiKey, scanner } = scanned;
    const secret = random();
    scanner.plant('the secret of webhooks', secret);
    const { clientId, url: baseUrl } = server;
    const provider = workos({ clientId, apiKey, baseUrl, webhookSecret: secret });
    const options = () => optionsOf({ provider, routes: { webhook: true } });
    const body = `{ "event": "user.deleted", "data": { "id": "user_01" } }`;
    const t = String(Date.now());
    const v1 = createHmac('sha256', secret).update(`${t}.${body}`).digest('hex');
    scanner.plant('the signature of a webhook', v1);
    const parsed = await serve(options(), (app) => {
      app.use(express.json() as never);
    });
    const app = await serve(options());
    const post = (url: string, signature: string) =>
      look(
        createBrowser(url).post('/webhook', {
          headers: { 'workos-signature': `t=${t}, v1=${signature}`, 'content-type': 'application/json' },
          body,
        }),
      );
    expect((await post(parsed.url, v1)).status).toBe(500);
    expect((await post(app.url, v1)).status).toBe(200);
    expect((await post(app.url, 'forged')).status).toBe(400);
  });

  /** An app of an OpenID provider. All that the two send each other is secret. */
  async function serveOpenid(wireOf: (secret: string) => Wire, options: Partial<OidcOptions> = {}) {
    const { scanner } = scanned;
    const clientSecret = random();
    scanner.plant('client secret', clientSecret);
    const op = await startOpServer({ wire: { idToken: { name: 'Ada' }, ...wireOf(clientSecret) }, clientSecret });
    scanned.closing({
      close: async () => {
        scanner.plant('tokens', ...op.issued);
        for (const { form, headers } of op.to('/token')) {
          const sent = [form.get('code'), form.get('code_verifier'), headers.authorization?.split(' ')[1]];
          scanner.plant('what the provider was sent', ...sent.filter((each) => typeof each === 'string'));
        }
        await op.close();
      },
    });
    const provider = oidc({ issuer: op.url, clientId: op.clientId, clientSecret, ...options });
    const app = await serve(optionsOf({ provider, cookie: { name: 'wos-session' } }));
    const browser = app.browser();
    return {
      browser,
      signIn: async () => {
        const login = await look(browser.get('/login'));
        const authorize = login.headers.get('location');
        if (authorize === null) return login;
        const { headers } = await browser.get(authorize);
        return look(browser.get(headers.get('location')!.replace(origin, app.url)));
      },
    };
  }

  const openid = (problem: Misconfiguration) => declare({ problems: [problem], events: ['misconfigured'] });
  it.each<[string, number, (secret: string) => Wire, Partial<OidcOptions>, Meets]>([
    ['metadata of another issuer', 503, (secret) => ({ metadataIssuer: `https://${secret}` }), {}, openid('metadata')],
    [
      'an endpoint that is not safe',
      503,
      (secret) => ({ metadata: { authorization_endpoint: `http://op.example/${secret}` } }),
      {},
      openid('metadata'),
    ],
    [
      'a response mode that is not built',
      303,
      (secret) => ({ metadata: { response_modes_supported: [secret] } }),
      {},
      openid('unsupported'),
    ],
    [
      'access tokens for another app',
      303,
      (secret) => ({ accessToken: { sub: undefined, aud: secret } }),
      {},
      openid('access_token_not_ours'),
    ],
    ['no refresh token', 303, () => ({ refreshToken: false }), {}, openid('no_refresh_token')],
    [
      'no ID token at a refresh',
      303,
      () => ({ idToken: { groups: ['admin'] }, idTokenAtRefresh: false }),
      { mapClaims: { roles: 'groups' } },
      openid('old_claims'),
    ],
    ['no answer of userinfo', 303, () => ({ userinfo: 503 }), { userinfo: true }, openid('userinfo')],
  ])('with an OpenID provider that has %s', async (_, status, wire, options, meets) => {
    const { browser, signIn } = await serveOpenid(wire, options);
    expect((await signIn()).status).toBe(status);
    clock.advance(400);
    for (const at of ['/', '/guarded', '/asked', '/refresh', '/logout']) await look(browser.get(at));
    expectMet(meets);
  });

  it('with an OpenID provider that repeats what it was sent', async () => {
    const { scanner } = scanned;
    const clientSecret = random();
    scanner.plant('client secret', clientSecret, Buffer.from(`client:${clientSecret}`).toString('base64'));
    let sent = '';
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const keys = { keys: [{ ...publicKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig' }] };
    const metadata = () => ({
      issuer: provider.url,
      authorization_endpoint: `${provider.url}/authorize`,
      token_endpoint: `${provider.url}/token`,
      jwks_uri: `${provider.url}/keys`,
      response_types_supported: ['code'],
    });
    const provider = await listen((req, res) => {
      if (req.method === 'GET') {
        res.end(JSON.stringify(req.url === '/keys' ? keys : metadata()));
        return;
      }
      sent = '';
      req
        .on('data', (chunk: Buffer) => (sent += chunk.toString()))
        .on('end', () => {
          const everything = `${sent} ${req.headers.authorization ?? ''}`;
          res.statusCode = 400;
          res.end(JSON.stringify({ error: everything, error_description: everything }));
        });
    });
    scanned.closing(provider);
    const options = optionsOf({
      provider: oidc({ issuer: provider.url, clientId: 'client', clientSecret, accessToken: 'opaque' }),
      cookie: { name: 'wos-session' },
    });
    const app = await serve(options);
    const [accessToken, refreshToken] = [random(), random()];
    scanner.plant('tokens', accessToken, refreshToken);
    const tokens = { accessToken, refreshToken, expiresIn: 1, user: { id: 'a' } };
    const sealed = await createSessionManager(options).seal(tokens);
    scanner.plant('the cookie of a visitor', sealed);
    clock.advance(60);
    expect((await app.send(sealed)).json).toMatchObject({ reason: 'provider_misconfigured' });
    expect(sent).toContain(refreshToken);
    const login = await look(app.browser().get('/login'));
    const state = new URL(login.headers.get('location')!).searchParams.get('state')!;
    const code = random();
    scanner.plant('code', code);
    const cookie = login.setCookies[0]!.split(';')[0]!;
    const back = `/callback?code=${code}&state=${state}&iss=${encodeURIComponent(provider.url)}`;
    expect((await look(app.browser().get(back, { headers: { cookie } }))).status).toBe(400);
    expect(sent).toContain(code);
    scanner.plant('code verifier', new URLSearchParams(sent).get('code_verifier')!);
  });
});

describe('a warning', () => {
  it('is printed without a secret where there is no callback for misconfigurations', async () => {
    const { apiKey, server } = scanned;
    const provider = workos({
      clientId: server.clientId,
      apiKey,
      baseUrl: server.url,
      issuer: 'https://other.example',
    });
    const app = await serve(optionsOf({ provider, events: {} }));
    await app.send((await issue()).sealed);
    expect(scanned.warnings).toEqual([
      [expect.stringContaining('issuer'), { type: 'SessionWarning', code: 'WARN_SESSION_MISCONFIGURED' }],
    ]);
  });
});

/** The entries of a part of a document, by their headings. */
function entriesOf(document: string, part: string): Map<string, string> {
  const [, body = ''] = document.split(`\n## ${part}\n`);
  const [own = ''] = body.split('\n## ');
  const entries = own.split('\n### ').slice(1);
  return new Map(entries.map((entry) => [entry.split('\n', 1)[0]!.replaceAll('`', ''), entry]));
}

describe('these tests', () => {
  const errorsPage = path.resolve(import.meta.dirname, '../../docs/reference/errors.md');
  const declaredCodes = Object.assign({}, ...declared.map((each) => each.codes)) as Record<string, number>;
  const all = (names: (each: Meets) => string[] | undefined) =>
    [...new Set(declared.flatMap((each) => names(each) ?? []))].sort();

  it.each(Object.entries(kinds).filter(([kind]) => kind !== 'codes'))('meet all %s', (kind, names) => {
    expect(names.length).toBeGreaterThan(3);
    expect(all((each) => each[kind as keyof Meets] as string[] | undefined)).toEqual(names);
  });

  it('meet all codes of errors', () => {
    expect(Object.keys(declaredCodes).sort()).toEqual(kinds.codes);
  });

  it('meet each code with the status that docs/reference/errors.md says', () => {
    const entries = entriesOf(readFileSync(errorsPage, 'utf8'), 'Codes');
    const statuses = [...entries].map(([code, entry]) => [code, Number(/\*\*Status:\*\* (\d+)/.exec(entry)?.[1])]);
    expect(Object.fromEntries(statuses)).toEqual(declaredCodes);
  });
});
