import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { inspect } from 'node:util';

import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  createSessionManager,
  type EventCallbacks,
  getSession,
  memoryCoordinator,
  oidc,
  type Reason,
  requireSession,
  type SessionError,
  type SessionErrorCode,
  type SessionEvents,
  type SessionOptions,
  sessionRoutes,
  withSession,
  workos,
} from 'express-sealed-session';
import { redisCoordinator } from 'express-sealed-session/redis';
import { sealData, unsealData } from 'iron-session';

import { type App, frameworks, listen } from '../support/apps.js';
import { type Browser, createBrowser, type Page } from '../support/browser.js';
import { createSecretScanner, type SecretScanner } from '../support/secret-scanner.js';
import { callsOf, fieldOf, interfaceMembers, literalsOf, unionMembers } from '../support/type-members.js';
import {
  answers,
  type Fault,
  type SessionOverrides,
  startWorkosServer,
  type WorkosServer,
} from '../support/workos-server.js';

describe('the scanner', () => {
  const secret = 'Zr8-qW3_xT7vLk29mNp4';
  const piece = secret.slice(4, 16);
  const hidden = (value: unknown) => Object.defineProperty(new Error('public'), 'hidden', { value });
  class Private {
    get token() {
      return secret;
    }
  }
  const places: [string, () => unknown][] = [
    ['a text', () => `the token is ${secret}.`],
    ['a piece in a text', () => `…${piece}…`],
    ['the message of an error', () => new Error(secret)],
    ['the cause of the cause of an error', () => new Error('a', { cause: new Error('b', { cause: { x: [secret] } }) })],
    ['the errors of an AggregateError', () => new AggregateError([new Error(secret)], 'several')],
    ['a field that is not enumerable', () => hidden(secret)],
    ['a field that is not enumerable, deep down', () => hidden({ a: [{ b: hidden(piece) }] })],
    ['a field under a Symbol', () => ({ [Symbol('private')]: secret })],
    ['the name of a Symbol', () => ({ [Symbol(secret)]: 1 })],
    ['the name of a field', () => ({ [secret]: 1 })],
    ['a getter', () => Object.defineProperty({}, 'token', { get: () => secret })],
    ['a getter of a class', () => ({ session: new Private() })],
    [
      'what a getter throws',
      () =>
        Object.defineProperty({}, 'x', {
          get: () => {
            throw new Error(secret);
          },
        }),
    ],
    ['a field of a function', () => Object.assign(() => undefined, { secret })],
    ['a Map', () => new Map([[{ a: secret }, 1]])],
    ['a Set', () => ({ all: new Set([secret]) })],
    ['a URL', () => new URL(`https://example.com/?code=${secret}`)],
    ['bytes', () => ({ body: Buffer.from(`token=${secret}`) })],
    ['bytes of an ArrayBuffer', () => new TextEncoder().encode(secret).buffer],
    ['base64', () => Buffer.from(`user:${secret}`).toString('base64')],
    ['base64 within a text', () => `authorization=Basic${Buffer.from(secret).toString('base64')}`],
    ['base64url of base64', () => Buffer.from(Buffer.from(`xy${secret}`).toString('base64')).toString('base64url')],
    ['hex', () => `0x${Buffer.from(secret).toString('hex')}`],
    ['percent-encoding', () => [...Buffer.from(secret)].map((code) => `%${code.toString(16)}`).join('')],
    ['percent-encoded base64', () => encodeURIComponent(Buffer.from(`a${secret}??`).toString('base64'))],
    [
      'escapes of JSON',
      () => JSON.stringify({ a: secret }).replace(/[a-zA-Z]/g, (sign) => `\\u00${sign.charCodeAt(0).toString(16)}`),
    ],
    ['JSON within JSON', () => JSON.stringify({ body: JSON.stringify({ token: secret }) })],
    [
      'a circle',
      () => {
        const circle: Record<string, unknown> = { secret };
        circle.self = circle;
        return circle;
      },
    ],
  ];

  it.each(places)('finds a secret in %s', (_, make) => {
    const scanner = createSecretScanner();
    scanner.plant('token', secret);
    scanner.watch('here', make());
    expect(scanner.leaks()).toEqual(['token in here']);
  });

  it('finds it whichever came first, and finds nothing where nothing is', () => {
    const scanner = createSecretScanner();
    scanner.watch('here', { fine: secret.slice(0, 11), also: secret.split('').reverse().join('') });
    scanner.plant('token', secret);
    expect(scanner.leaks()).toEqual([]);
    scanner.watch('there', secret);
    expect(scanner.leaks()).toEqual(['token in there']);
  });

  it('refuses a secret that it could not tell from other text', () => {
    expect(() => {
      createSecretScanner().plant('short', 'short');
    }).toThrow('too short');
  });
});

jest.setTimeout(30_000);

const origin = 'https://app.example.com';
const random = () => randomBytes(33).toString('base64url');

const root = path.resolve(import.meta.dirname, '../..');
const source = (file: string) => readFileSync(path.join(root, file), 'utf8');
const surface = 'lib/index.ts';

const codes = unionMembers(surface, 'SessionErrorCode');
const reasons = unionMembers(surface, 'Reason');
const eventNames = interfaceMembers(surface, 'SessionEvents');

interface Meets {
  /** The codes of errors, each with its HTTP status. */
  codes?: Partial<Record<SessionErrorCode, number>>;
  reasons?: Reason[];
  events?: (keyof SessionEvents)[];
}

// Declared beside the tests, not noted while they run: so each test can run by itself, and together they must still
// meet everything there is.
const declared: Meets[] = [];

function declare(meets: Meets): Meets {
  declared.push(meets);
  return meets;
}

function expectMet({ codes = {}, reasons = [], events = [] }: Meets): void {
  expect(Object.fromEntries(met.codes)).toMatchObject(codes);
  expect([...met.reasons]).toEqual(expect.arrayContaining(reasons));
  expect([...met.events]).toEqual(expect.arrayContaining(events));
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

let met: { codes: Map<SessionErrorCode, number>; reasons: Set<Reason>; events: Set<string> };
let scanner: SecretScanner;
let server: WorkosServer;
let apiKey: string;
let password: string;
let warnings: unknown[][];
let closers: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  met = { codes: new Map(), reasons: new Set(), events: new Set() };
  scanner = createSecretScanner();
  warnings = [];
  [apiKey, password] = [`sk_test_${random()}`, random()];
  scanner.plant('API key', apiKey);
  scanner.plant('password', password);
  server = await startWorkosServer({ apiKey });
  closers = [() => server.close()];
  for (const method of ['log', 'info', 'warn', 'error', 'debug', 'trace', 'dir'] as const) {
    jest.spyOn(console, method).mockImplementation((...given: unknown[]) => {
      scanner.watch(`console.${method}`, ...given);
    });
  }
  jest.spyOn(process, 'emitWarning').mockImplementation((...given: unknown[]) => {
    warnings.push(given);
    scanner.watch('a warning', ...given);
  });
});

afterEach(async () => {
  await Promise.all(closers.map((close) => close()));
  expect(scanner.leaks()).toEqual([]);
  // The other way round: what is ours alone was sent to nobody.
  const sent = createSecretScanner();
  sent.plant('password', password);
  for (const { text, url, headers } of [server.token, server.keys].flatMap(({ requests }) => requests)) {
    sent.watch('a request to the provider', text, url, headers);
    expect(text).not.toContain('Fe26');
  }
  expect(sent.leaks()).toEqual([]);
});

/** Every event, each seen. */
function allEvents(): EventCallbacks {
  const callbacks = eventNames.map((name) => {
    const callback = (event: unknown) => {
      met.events.add(name);
      scanner.watch(`the event ${name}`, event);
    };
    return [name, callback] as const;
  });
  return Object.fromEntries(callbacks);
}

function optionsOf(change: Partial<SessionOptions> = {}): SessionOptions {
  return {
    provider: workos({ clientId: server.clientId, apiKey, baseUrl: server.url }),
    password,
    baseUrl: origin,
    events: allEvents(),
    refresh: { coordinator: memoryCoordinator(), waitMs: 600, budgetMs: 500 },
    ...change,
  };
}

function meet(error: unknown, where: string): void {
  const { code, status, reason } = error as Partial<SessionError> & { reason?: Reason };
  if (code !== undefined && status !== undefined) met.codes.set(code, status);
  if (reason !== undefined) met.reasons.add(reason);
  scanner.watch(where, error);
}

/** Goes through it, and keeps what it throws. */
async function attempt(where: string, work: () => unknown): Promise<unknown> {
  try {
    return await work();
  } catch (error) {
    meet(error, where);
    return error;
  }
}

/** An app that prints whatever it has: each session, each error. */
async function serve(options: SessionOptions = optionsOf(), before?: (app: App) => void) {
  const middleware = withSession(options);
  const routes = sessionRoutes(options);
  scanner.watch('what the factories return', middleware, routes, options.provider, options.refresh?.coordinator);
  const show = (session: object) => {
    const { reason } = session as { reason?: Reason };
    if (reason !== undefined) met.reasons.add(reason);
    // Not by its getters: the access token is there for the app, and only where it asks for it by name.
    scanner.watch('a session in a log', inspect(session, { showHidden: true, depth: 9 }), JSON.stringify(session));
  };
  const app = await frameworks[0]!.listen((each) => {
    before?.(each);
    each.use(middleware);
    each.use(routes);
    each.use((req, _res, next) => {
      show(getSession(req));
      next();
    });
    each.get('/', (req, res) => res.end(JSON.stringify(getSession(req))));
    each.get('/guarded', requireSession({ redirect: false }));
    each.get('/page', requireSession());
    each.get('/billing', requireSession({ permissions: 'billing:read' }));
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
    each.get('/late', async (req, res) => {
      res.write('begun');
      await attempt('an action after the headers', () => getSession(req).refresh());
      await attempt('an action after the headers', () => getSession(req).signOut());
      res.end();
    });
    each.get('/large', async (req, res) => {
      const session = getSession(req);
      if (!session.authenticated) throw new Error('Nobody');
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
      meet(error, 'an error');
      res.statusCode = (error as { status?: number }).status ?? 500;
      if ((res as { headersSent?: boolean }).headersSent) next(error);
      else res.end(JSON.stringify({ ...(error as object), stack: (error as Error).stack }));
    }) as never);
  });
  closers.push(() => app.close());
  return {
    ...app,
    browser: () => createBrowser(app.url),
    send: (sealed: string, at = '/', headers: Record<string, string> = {}) =>
      look(createBrowser(app.url).get(at, { headers: { cookie: `wos-session=${sealed}`, ...headers } })),
  };
}

/** Keeps what a browser is shown, but for our own cookies, which become secrets themselves. */
async function look(answer: Promise<Page>): Promise<Page> {
  const page = await answer;
  for (const header of page.setCookies) {
    const [, name = '', value = '', attributes = ''] = /^([^=]*)=([^;]*)(.*)$/s.exec(header) ?? [];
    const own = name.startsWith('wos-session');
    if (own && value !== '') scanner.plant(`the cookie ${name}`, value);
    scanner.watch('a Set-Cookie header', name, attributes, own ? '' : value);
  }
  const others = [...page.headers].filter(([name]) => name !== 'set-cookie');
  scanner.watch('a response', page.text, others, page.status);
  return page;
}

/** A session and its seal, all of it secret. */
async function issue(overrides: SessionOverrides = {}, under: string | Record<string, string> = password) {
  const { accessToken, refreshToken, sessionId } = await server.issueSession(overrides);
  scanner.plant('access token', accessToken);
  scanner.plant('refresh token', refreshToken);
  const user = { id: 'user_01', email: 'one@example.com' };
  const sealed = await sealData({ accessToken, refreshToken, user }, { password: under, ttl: 0 });
  scanner.plant('the cookie of a visitor', sealed);
  return { sealed, accessToken, refreshToken, sessionId };
}

/** From now on, what the provider hands out is secret as well. */
function plantAnswers(): void {
  server.token.reply = (body) => {
    for (const name of ['access_token', 'refresh_token'] as const) scanner.plant(`a new ${name}`, String(body[name]));
    return body;
  };
}

const expired: SessionOverrides = { lifetimeSeconds: -30 };

describe('no secret is seen', () => {
  beforeEach(plantAnswers);

  meeting({
    codes: { ERR_SESSION_REQUIRED: 401, ERR_SESSION_FORBIDDEN: 403, ERR_SESSION_HEADERS_SENT: 500 },
    reasons: ['no_session_cookie_provided', 'session_revoked'],
    events: ['written', 'refreshed', 'signedOut'],
  })('when all goes well', async () => {
    const app = await serve();
    const { sealed } = await issue(expired);
    expect((await app.send(sealed)).json).toMatchObject({ authenticated: true, refreshed: true });
    const valid = await issue({ organizationId: 'org_01' });
    for (const at of ['/', '/guarded', '/page', '/billing', '/late', '/refresh']) await app.send(valid.sealed, at);
    const out = await app.send(valid.sealed, '/logout');
    expect(out.status).toBe(303);
    expect((await app.send(valid.sealed)).json).toMatchObject({ reason: 'session_revoked' });
    expect((await look(app.browser().get('/page', { headers: { accept: 'text/html' } }))).status).toBe(401);
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
    invalidGrant: refused('invalid_grant'),
    ssoRequired: refused('sso_required'),
    mfaEnrollment: refused('mfa_enrollment'),
    unauthorized: refused('provider_misconfigured'),
    rateLimited: refused('rate_limit_exceeded'),
    serverError: refused('server_error'),
    reset: refused('network_error'),
    hang: refused('timeout'),
  } satisfies Partial<Record<keyof typeof answers | 'reset' | 'hang', Meets>>;
  it.each(faults)('when the provider answers with %s', async (name, fault) => {
    // Whatever is tried again is given up soon.
    const options = optionsOf({ refresh: { coordinator: memoryCoordinator(), waitMs: 150, budgetMs: 120 } });
    const app = await serve(options);
    const old = await issue(expired);
    const valid = await issue();
    const secrets = [old.refreshToken, old.accessToken, apiKey].join('.');
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

  const keysUnavailable = declare({ codes: { ERR_SESSION_UNAVAILABLE: 503 }, reasons: ['keys_unavailable'] });
  it.each<[string, Fault]>([
    ['no key', 'reset'],
    ['an error', answers.serverError],
    ['a page', { status: 200, body: '<html></html>' }],
    ['no keys', { status: 200, body: { keys: [] } }],
  ])('when the key server has %s', async (_, fault) => {
    for (const onTransient of ['defer', 'error', 'stale'] as const) {
      server.keys.fail(fault);
      const app = await serve(optionsOf({ onTransient }));
      const { sealed } = await issue();
      const pages = [await app.send(sealed), await app.send(sealed, '/guarded')];
      expect(pages.map(({ status }) => status)).toEqual([onTransient === 'error' ? 503 : 200, 503]);
    }
    expectMet(keysUnavailable);
  });

  meeting({
    reasons: ['invalid_session_cookie', ...(unionMembers(surface, 'TokenReason') as Reason[])],
    events: ['oldPassword', 'rejected'],
  })('in a cookie that is garbage', async () => {
    const app = await serve(optionsOf({ password: { 1: password, 3: plantedPassword() } }));
    const { sealed, accessToken } = await issue();
    const wrong = await issue({}, random());
    await app.send(sealed);
    for (const junk of [
      wrong.sealed,
      accessToken,
      sealed.slice(0, -9),
      sealed.replace('*1*', '*constructor*'),
      sealed.replace(/.(?=.{120}$)/, '_'),
      `${sealed}${sealed}`,
      await sealData({ token: accessToken }, { password, ttl: 0 }),
      await sealData({ accessToken: `${accessToken.slice(0, -8)}AAAAAAAA` }, { password, ttl: 0 }),
      await sealData({ accessToken: await server.forge.none(server.claims()) }, { password, ttl: 0 }),
      await sealData(
        { accessToken: await server.signToken(server.claims(), { alg: 'HS256', key: randomBytes(32) }) },
        { password, ttl: 0 },
      ),
      await sealData({ accessToken: 'not a token at all, not at all' }, { password, ttl: 0 }),
      await sealData({ accessToken: await server.signToken(server.claims({ exp: 1 })) }, { password, ttl: 0 }),
    ]) {
      scanner.plant('a cookie that is none', junk);
      for (const at of ['/', '/guarded']) await app.send(junk, at);
    }
  });

  meeting({
    codes: { ERR_SESSION_TOKENS_INVALID: 500 },
    events: ['configuration'],
  })('in tokens that do not fit the options', async () => {
    const provider = workos({
      clientId: server.clientId,
      apiKey,
      baseUrl: server.url,
      issuer: 'https://other.example',
    });
    const app = await serve(optionsOf({ provider }));
    const { sealed, accessToken, refreshToken } = await issue();
    expect((await app.send(sealed)).json).toMatchObject({ reason: 'invalid_jwt' });
    await app.send(sealed, '/in', { 'x-tokens': JSON.stringify({ accessToken, refreshToken }) });
    await app.send(sealed, '/in', { 'x-tokens': JSON.stringify({ accessToken: [accessToken], refreshToken }) });
  });

  meeting({ codes: { ERR_SESSION_COOKIE_TOO_LARGE: 500 } })('in a session that is too large', async () => {
    const app = await serve();
    const { sealed } = await issue();
    expect((await app.send(sealed, '/large')).status).toBe(500);
    server.token.reply = (body) => {
      const large = {
        ...body,
        user: { ...(body.user as object), metadata: { large: randomBytes(12_000).toString('hex') } },
      };
      scanner.plant('a new access token', String(body.access_token));
      return large;
    };
    await app.send((await issue(expired)).sealed);
  });

  meeting({ codes: { ERR_SESSION_CONFIG: 500 } })('in what is wrong with the options', async () => {
    const secret = random();
    scanner.plant('a secret option', secret);
    const fine = optionsOf();
    const wrong: (() => unknown)[] = [
      () => withSession({ ...fine, password: secret.slice(0, 20) }),
      () => withSession({ ...fine, password: { 1: secret, 2: secret.slice(0, 16) } }),
      () => withSession({ ...fine, password: { [secret]: secret } }),
      () => withSession({ ...fine, password: [secret] as never }),
      () => withSession({ ...fine, password: { toString: () => secret } as never }),
      () => withSession({ ...fine, secret } as never),
      () => withSession({ ...fine, cookie: { name: `${secret};`, domain: `${secret} `, path: `/${secret};` } }),
      () => withSession({ ...fine, cookie: { sameSite: secret as never, maxAge: secret as never } }),
      () => withSession({ ...fine, property: { secret } as never, onTransient: secret as never }),
      () => withSession({ ...fine, refresh: secret as never, cache: secret as never, events: secret as never }),
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
      () => sessionRoutes({ ...fine, baseUrl: `${origin}/#${secret}`, loginPath: secret, afterSignIn: `//${secret}` }),
      () => createSessionManager({ ...fine, password: secret.slice(0, 31) }),
      () =>
        createSessionManager(fine)
          .load('x')
          .refresh({ password: secret.slice(0, 31) }),
      () => createSessionManager(fine).seal({ accessToken: { secret } as never, refreshToken: secret }),
      () => requireSession({ roles: { secret } as never }),
      () => redisCoordinator({ client: { secret } as never, prefix: { secret } as never }),
    ];
    for (const each of wrong) expect(await attempt('an error at start-up', each)).toBeInstanceOf(Error);
  });

  const mountedWrong: Meets = { codes: { ERR_SESSION_PROPERTY_TAKEN: 500, ERR_SESSION_MIDDLEWARE_MISSING: 500 } };
  meeting(mountedWrong)('where the parts are mounted wrong', async () => {
    const { sealed } = await issue();
    const taken = await serve(optionsOf(), (each) => {
      each.use((req, _res, next) => {
        Object.assign(req, { session: { cookie: req.headers.cookie, authenticated: true } });
        next();
      });
    });
    await taken.send(sealed);
    const missing = await frameworks[0]!.listen((each) => {
      each.use(((req: never, res: never, next: (error: unknown) => void) => {
        requireSession()(req, res, (error) => {
          meet(error, 'an error');
          next(error);
        });
      }) as never);
    });
    closers.push(() => missing.close());
    await look(createBrowser(missing.url).get('/', { headers: { cookie: `wos-session=${sealed}` } }));
  });

  const signInEnds: Meets = {
    codes: { ERR_SESSION_SIGN_IN_FAILED: 400, ERR_SESSION_SIGN_OUT_REFUSED: 403 },
    events: ['signedIn'],
  };
  meeting(signInEnds)('in a sign-in, whichever way it ends', async () => {
    const app = await serve();
    const whole = await beginSignIn(app);
    expect((await look(whole.browser.get(whole.back))).status).toBe(303);
    // Once more, by going back.
    whole.browser.jar.set(app.url, `${whole.cookie}; Path=/`);
    expect((await look(whole.browser.get(whole.back))).status).toBe(400);

    const foreign = await beginSignIn(app);
    expect((await look(app.browser().get(foreign.back))).status).toBe(400);
    const mixed = await beginSignIn(app);
    expect((await look(foreign.browser.get(mixed.back))).status).toBe(400);
    const { code, state, verifier } = await beginSignIn(app);
    const refused = await beginSignIn(app, { error: 'access_denied', error_description: `${code} ${verifier}` });
    expect((await look(refused.browser.get(refused.back))).status).toBe(400);
    const odd = await look(app.browser().get(`/callback?error=${code}&error_description=${verifier}&state=${state}`));
    expect(odd.status).toBe(400);
    expect((await look(app.browser().get('/logout', { headers: { 'sec-fetch-site': 'cross-site' } }))).status).toBe(
      403,
    );
  });

  it('in a sign-in whose tokens are refused', async () => {
    const app = await serve();
    for (const claims of [{ iss: 'https://other.example' }, { exp: 1 }, { sub: 'user_02' }, { client_id: 'other' }]) {
      const { browser, back } = await beginSignIn(app, { claims });
      expect((await look(browser.get(back))).status).toBe(500);
    }
  });

  const allFail: Meets = { events: ['coordination'] };
  meeting(allFail)('where a provider, a client of Redis or a callback fails with all it knows', async () => {
    const { sealed, refreshToken, accessToken } = await issue(expired);
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
        refresh: {
          coordinator: redisCoordinator({
            client: { call: (...given) => Promise.reject(new Error(`${given.join()} ${all}`)) },
          }),
        },
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
      await app.send((await issue()).sealed, '/logout');
    }
  });

  it('with an OpenID provider that repeats what it was sent', async () => {
    const clientSecret = random();
    scanner.plant('client secret', clientSecret, Buffer.from(`client:${clientSecret}`).toString('base64'));
    let sent = '';
    const metadata = () => ({
      issuer: provider.url,
      authorization_endpoint: `${provider.url}/authorize`,
      token_endpoint: `${provider.url}/token`,
      jwks_uri: `${provider.url}/keys`,
      response_types_supported: ['code'],
    });
    const provider = await listen((req, res) => {
      if (req.method === 'GET') {
        res.end(JSON.stringify(metadata()));
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
    closers.push(() => provider.close());
    const app = await serve(
      optionsOf({
        provider: oidc({ issuer: provider.url, clientId: 'client', clientSecret, accessToken: 'opaque' }),
        cookie: { name: 'wos-session' },
      }),
    );
    const [accessToken, refreshToken] = [random(), random()];
    scanner.plant('tokens', accessToken, refreshToken);
    const sealed = await sealData({ accessToken, refreshToken, expiresAt: 1, user: { id: 'a' } }, { password, ttl: 0 });
    scanner.plant('the cookie of a visitor', sealed);
    expect((await app.send(sealed)).json).toMatchObject({ reason: 'provider_misconfigured' });
    expect(sent).toContain(refreshToken);
    const login = await look(app.browser().get('/login'));
    const state = new URL(login.headers.get('location')!).searchParams.get('state')!;
    const code = random();
    scanner.plant('code', code);
    const cookie = login.setCookies[0]!.split(';')[0]!;
    await plantVerifier(cookie);
    const back = `/callback?code=${code}&state=${state}&iss=${encodeURIComponent(provider.url)}`;
    expect((await look(app.browser().get(back, { headers: { cookie } }))).status).toBe(503);
    expect(sent).toContain(code);
  });
});

describe('a warning', () => {
  it('stands in for a "configuration" callback, without a secret', async () => {
    const provider = workos({
      clientId: server.clientId,
      apiKey,
      baseUrl: server.url,
      issuer: 'https://other.example',
    });
    const app = await serve(optionsOf({ provider, events: {} }));
    await app.send((await issue()).sealed);
    expect(warnings).toEqual([[expect.any(String), { type: 'SessionWarning', code: 'WARN_SESSION_CONFIGURATION' }]]);
  });
});

function plantedPassword(): string {
  const other = random();
  scanner.plant('another password', other);
  return other;
}

async function plantVerifier(cookie: string): Promise<string> {
  const { codeVerifier } = await unsealData<{ codeVerifier: string }>(cookie.split(/=(.*)/s)[1]!, { password });
  scanner.plant('code verifier', codeVerifier);
  return codeVerifier;
}

/** Up to the point where the provider sends the browser back: all that it has by then is secret. */
async function beginSignIn(app: { browser: () => Browser; url: string }, visitor: WorkosServer['visitor'] = {}) {
  const browser = app.browser();
  const login = await look(browser.get('/login?returnTo=/'));
  const cookie = login.setCookies[0]!.split(';')[0]!;
  const verifier = await plantVerifier(cookie);
  server.visitor = visitor;
  const location = (await browser.get(login.headers.get('location')!)).headers.get('location')!;
  server.visitor = {};
  const { searchParams } = new URL(location);
  const code = searchParams.get('code') ?? '';
  if (code !== '') scanner.plant('authorization code', code);
  const state = searchParams.get('state')!;
  return { browser, back: location.replace(origin, app.url), cookie, code, state, verifier };
}

/** The entries of a part of a document, by their headings. */
function entriesOf(document: string, part: string): Map<string, string> {
  const [, body = ''] = document.split(`\n## ${part}\n`);
  const [own = ''] = body.split('\n## ');
  const entries = own.split('\n### ').slice(1);
  return new Map(entries.map((entry) => [entry.split('\n', 1)[0]!.replaceAll('`', ''), entry]));
}

describe('all of this', () => {
  const declaredCodes = Object.assign({}, ...declared.map((each) => each.codes)) as Record<string, number>;
  const all = (names: (each: Meets) => string[] | undefined) =>
    [...new Set(declared.flatMap((each) => names(each) ?? []))].sort();

  it('meets every code, every reason and every event', () => {
    expect(Object.keys(declaredCodes).sort()).toEqual(codes);
    expect(all((each) => each.reasons)).toEqual(reasons);
    expect(all((each) => each.events)).toEqual(eventNames);
  });

  it('has an entry with the right status in ERRORS.md', () => {
    const entries = entriesOf(source('ERRORS.md'), 'Codes');
    const statuses = [...entries].map(([code, entry]) => [code, Number(/\*\*Status:\*\* (\d+)/.exec(entry)?.[1])]);
    expect(Object.fromEntries(statuses)).toEqual(declaredCodes);
  });
});

describe('ERRORS.md', () => {
  const document = source('ERRORS.md');
  const distinct = (texts: string[]) => [...new Set(texts)];
  const told = callsOf('emit').filter(([name]) => literalsOf(name).includes('configuration'));
  const problems = distinct(told.flatMap(([, event]) => literalsOf(fieldOf(event, 'problem'))));
  const warnings = distinct(callsOf('warn').flatMap(([, code]) => literalsOf(code)));

  it.each<[string, string[], string[]]>([
    ['Codes', codes, ['Status']],
    ['Reasons', reasons, ['Retryable']],
    ['Details of a rejected cookie', unionMembers(surface, 'SealProblem'), []],
    ['Configuration problems', problems, []],
    ['Warnings', warnings, []],
  ])('has an entry for each of its %s, and for nothing else', (part, names, more) => {
    const entries = entriesOf(document, part);
    expect(names.length).toBeGreaterThan(1);
    expect([...entries.keys()].sort()).toEqual([...names].sort());
    for (const entry of entries.values()) {
      const parts = [...entry.matchAll(/^- \*\*([^:]+):\*\* \S/gm)].map(([, name]) => name);
      expect(parts).toEqual([...more, 'Meaning', 'Likely causes', 'What to do']);
    }
  });

  it('says of each reason whether it passes', () => {
    const passing = [...entriesOf(document, 'Reasons')].filter(([, entry]) => entry.includes('**Retryable:** yes'));
    expect(passing.map(([reason]) => reason).sort()).toEqual(unionMembers(surface, 'RetryableReason'));
  });
});

describe('SECURITY.md', () => {
  it('names specs that are there', () => {
    const named = [...source('SECURITY.md').matchAll(/`(spec\/[^`]+)`/g)].map(([, file = '']) => file);
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter((file) => !existsSync(path.join(root, file)))).toEqual([]);
  });
});
