import { inspect } from 'node:util';

import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import {
  createSessionManager,
  getSession,
  ironSealer,
  oidc,
  type Provider,
  SessionConfigError,
  type SessionEvents,
  type SessionOptions,
  withSession,
  workos,
} from 'express-sealed-session';
import { unsealData } from 'iron-session';
import request from 'supertest';

import { frameworks, type Handler, type Listening } from '../support/apps.js';
import { createBrowser, type Page } from '../support/browser.js';
import { createProcessFleet } from '../../lib/fleet/process-fleet.js';
import type { Ticket } from '../../lib/refresh/coordinator.js';
import { useClock } from '../support/clock.js';
import { fleetWith } from '../support/fleets.js';
import { answers, startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import {
  cookieHeader,
  expired,
  password,
  sealedSession,
  sessionCookieOf,
  workosOptions,
} from '../support/workos-session.js';

const clock = useClock();
const provider = workos({ clientId: 'client_01', apiKey: 'sk_test_01' });
const good = { provider, password };

const open: Listening[] = [];
afterAll(async () => {
  await Promise.all(open.map((app) => app.close()));
});

const eventNames = [
  'refreshed',
  'refreshFailed',
  'rejected',
  'fleetChanged',
  'written',
  'oldPasswordUsed',
  'misconfigured',
  'signedIn',
  'signedOut',
] satisfies (keyof SessionEvents)[];

/** The one error for these options; undefined when they are accepted. */
function errorOf(options: unknown, take: (options: SessionOptions) => unknown = withSession) {
  try {
    take(options as SessionOptions);
  } catch (error) {
    expect(error).toBeInstanceOf(SessionConfigError);
    return error as SessionConfigError;
  }
  return undefined;
}

/** Where the problems are; none when the options are accepted. */
const pathsOf = (options: unknown) => (errorOf(options)?.problems ?? []).map(({ path }) => path).sort();

/** None of these is the name of a host. */
const noHosts = [
  ...[
    '',
    '.',
    'a b',
    'a;b',
    'a\r\nb',
    'https://example.com',
    'example.com:443',
    'example.com/',
    '[::1]',
    '*.example.com',
  ],
  ...['..example.com', 'a..example.com', '-a.example.com', 'a-.example.com', 'example.com.', 'b\u00fccher.example'],
  ...['a_b.example.com', `${'a'.repeat(64)}.example.com`, 'a.'.repeat(126) + 'ab'],
];

/** Headers that mean something already, to a server, a proxy or a browser. */
const reservedHeaders = [
  ...['Cookie', 'set-cookie', 'HOST', 'Authorization', 'Proxy-Authorization', 'WWW-Authenticate', 'Content-Length'],
  ...['Content-Type', 'Content-Encoding', 'Connection', 'Keep-Alive', 'Transfer-Encoding', 'TE', 'Trailer', 'Upgrade'],
  ...['Expect', 'Origin', 'Referer', 'Location', 'Cache-Control', 'Vary', 'ETag', 'If-None-Match', 'Retry-After'],
  ...['Date', 'Accept', 'User-Agent', 'Forwarded', 'X-Forwarded-For', 'X-Forwarded-Host', 'Sec-Fetch-Site', 'Range'],
];

describe('an option with a wrong value', () => {
  const badPaths = [
    ...['', 'login', '//evil.example', '/\\evil.example', '/.//evil.example', 'https://evil.example/', '/a\nb'],
    ...[null, 1],
  ];
  const noSeconds = [-1, NaN, '60', null];

  it.each<[string, unknown[]]>([
    ['provider', [undefined, null, 'workos', {}, workos, { accessToken: true }]],
    [
      'password',
      [
        ...[undefined, null, '', 'too short', 12, true, () => password],
        ...[{}, { 1: 'too short' }, { 1: undefined }, { first: password }, { '01': password }, { '-1': password }],
        ...[
          [],
          ['too short'],
          [password, 'too short'],
          [password, undefined],
          [undefined, password],
          [password, [password]],
        ],
        ...[new Array(2), [{ 1: password }]],
      ],
    ],
    ['required', [null, 'yes', 1, []]],
    ['property', [null, '', 1, Symbol('session')]],
    ['userFields', [null, 'email', [1], [''], {}, new Set(['email'])]],
    ['routes', [null, '/login', true, []]],
    ...['routes.login', 'routes.callback', 'routes.logout', 'routes.backchannelLogout', 'routes.webhook'].map(
      (name): [string, unknown[]] => [name, [...badPaths, '/a?b', '/a?', '/a#b']],
    ),
    ['signIn', [null, '/', true, []]],
    ['signIn.returnTo', [...badPaths, true, false]],
    ['signOut', [null, '/', true, []]],
    ['signOut.returnTo', [...badPaths, true, false]],
    ['cookie', [null, 'name', true, []]],
    ['cookie.name', ['', 'a b', 'a;b', 'a=b', 'a,b', 'ä', 'a\r\nb', null, 1]],
    ['cookie.domain', [...noHosts, null, 1]],
    ['cookie.path', ['', 'app', 'https://a.example/', '/a b', '/a;b', '/a\r\nb', null, 1]],
    ['cookie.sameSite', ['Lax', '', null, true]],
    ['cookie.secure', [null, 'true', 0]],
    ['cookie.maxAge', [0, -1, NaN, -Infinity, '60', null]],
    ['cookie.replaces', [null, {}, 'old', { name: 'old' }]],
    ['header', [null, '', 'x session', 'x:', 1, true, { header: 'x-session' }, ...reservedHeaders]],
    ['bearer', [null, false, 'api', [], () => true]],
    ['bearer.audience', [undefined, null, '', [], [''], true, {}]],
    ['apiKeys', [null, true, {}, 'key']],
    [
      'trustedOrigins',
      [
        ...[null, 'https://a.example', {}, true, [1], ['']],
        ...[
          'https://a.example/',
          'https://a.example/path',
          'https://a.example?b',
          'https://u@a.example',
          'a.example',
        ].map((one) => [one]),
        ...['http://a.example', 'https://*.a.example', '*', 'null', 'https://a.example:443', 'data:x'].map((one) => [
          one,
        ]),
        new Array(1),
      ],
    ],
    ['cacheControl', [null, true, 'private', '']],
    ['lifetime', [null, 60, false, []]],
    ['lifetime.absoluteSeconds', [0, ...noSeconds]],
    ['lifetime.idleSeconds', [0, 59, ...noSeconds]],
    ['lifetime.isActivity', [null, true, false]],
    ['sealer', [null, 'iron', {}, { open: true }]],
    ['refresh', [null, 60, false, []]],
    ['refresh.aheadSeconds', [Infinity, ...noSeconds]],
    ['refresh.graceSeconds', [Infinity, ...noSeconds]],
    ['refresh.waitMs', [0, -1, NaN, Infinity, '5000', null]],
    ['refresh.timeoutMs', [0, -1, NaN, Infinity, '5000', null]],
    ['fleet', [null, 'redis', {}, { kind: 'redis' }, () => undefined]],
    ['whenUnavailable', ['', 'throw', 'Continue', 'stale', null, true, false, 60, [], ['continue']]],
    ['whenUnavailable.staleSeconds', [undefined, Infinity, ...noSeconds]],
    ['clockToleranceSeconds', [-1, NaN, 3_600, '5', null]],
    ['cache', [null, true, 100, []]],
    ['cache.maxSessions', [0, NaN, Infinity, '100', null]],
    ['cache.maxSeconds', [0, NaN, Infinity, '100', null]],
    ['events', [null, true, []]],
    ...eventNames.map((name): [string, unknown[]] => [`events.${name}`, [null, 'log', {}]]),
    [
      'baseUrl',
      [
        '',
        '/',
        'app.example.com',
        'http://app.example.com',
        'https://user:secret@app.example.com',
        'https://app.example.com?a',
        'https://app.example.com#',
        ' https://app.example.com',
        'https://app.example.com\n',
        1,
      ],
    ],
    [
      'required.permissions',
      ['', [], [''], [1], ['a'], null, undefined, {}, { all: [] }, { any: 'a' }, new Set(['a'])],
    ],
    ['required.organizationId', ['', [], [''], [1], null, undefined, {}, { any: ['a'] }]],
    // How to answer is no part of a rule.
    ['required.redirect', [true, false]],
  ])('is named by its path: %s', (path, values) => {
    const [name, part] = path.split('.') as [string, string | undefined];
    for (const value of values) {
      const options = { ...good, [name]: part === undefined ? value : { [part]: value } };
      expect([value, pathsOf(options)]).toEqual([value, [path]]);
    }
  });

  it.each<[string[], unknown]>([
    [['cookie.replaces[0]'], ['old']],
    [['cookie.replaces[0].name'], [{}]],
    [['cookie.replaces[0].name'], [{ name: 'a;b' }]],
    [['cookie.replaces[1].domain'], [{ name: 'a' }, { name: 'b', domain: 'x; Path=/' }]],
    [['cookie.replaces[0].path'], [{ name: 'a', path: '/a\r\nb' }]],
    [['cookie.replaces[0].path'], [{ name: 'a', path: 'app' }]],
    [['cookie.replaces[0].domain'], [{ name: 'a', domain: 'https://example.com' }]],
    [
      ['cookie.replaces[0].secure', 'cookie.replaces[1].name'],
      [{ name: 'a', secure: true }, { name: '' }],
    ],
  ])('is named by its place in a list: %j', (paths, replaces) => {
    expect(pathsOf({ ...good, cookie: { replaces } })).toEqual(paths);
  });

  it('says what a password may be: one string, a list with the newest first, or a map', () => {
    const messageOf = (given: unknown) => errorOf({ ...good, password: given })?.message;
    expect(messageOf([])).toMatch(
      /a list of such strings with the newest first, or a map .*; an empty list was given\.$/,
    );
    expect(messageOf({})).toMatch(/an empty map was given\.$/);
    expect(messageOf([password, undefined])).toMatch(/nothing was given at 1\.$/);
    expect(messageOf({ 7: 'short' })).toMatch(/a string of 5 characters was given for id 7\.$/);
    expect(messageOf('short')).toMatch(/a string of 5 characters was given\. Make one with: openssl rand -base64 32$/);
  });

  it.each<[string, (options: SessionOptions) => unknown]>([
    ['withSession', withSession],
    ['createSessionManager', createSessionManager],
  ])('is named together with all others, at once, by %s', (_, take) => {
    const error = errorOf(
      {
        provider: workos({ clientId: '', apiKey: '', baseUrl: 'http://api.workos.com', issuer: [] }),
        password: 'too short',
        required: { permissions: [], redirct: true },
        property: '',
        cookie: { name: '__Host-a', domain: 'example.com', sameSite: 'none', secure: false, maxage: 1 },
        sealer: {},
        header: 'cookie',
        lifetime: { idleSeconds: 1, touch: () => true },
        refresh: { aheadSeconds: -1, retries: 3 },
        whenUnavailable: 'never',
        fleet: {},
        cache: { maxSessions: 0 },
        events: { refreshed: true, refresh: () => undefined },
        baseUrl: 'http://app.example.com',
        routes: { login: 'login', logout: '/callback' },
        signIn: { returnTo: 'home' },
        signOut: { after: '/' },
        userFields: [''],
        secret: 'x',
      },
      take,
    );
    expect(error).toMatchObject({ name: 'SessionConfigError', code: 'ERR_SESSION_CONFIG', status: 500, expose: false });
    const { problems, message } = error!;
    const paths = problems.map(({ path }) => path).sort();
    expect(paths).toEqual([
      'baseUrl',
      'cache.maxSessions',
      'cookie.domain',
      'cookie.maxage',
      'cookie.sameSite',
      'cookie.secure',
      'events.refresh',
      'events.refreshed',
      'fleet',
      'header',
      'lifetime.idleSeconds',
      'lifetime.touch',
      'password',
      'property',
      'provider.apiKey',
      'provider.baseUrl',
      'provider.clientId',
      'provider.issuer',
      'refresh.aheadSeconds',
      'refresh.retries',
      'required.permissions',
      'required.redirct',
      'routes.login',
      'sealer',
      'secret',
      'signIn.returnTo',
      'signOut.after',
      'userFields',
      'whenUnavailable',
    ]);
    for (const each of problems) expect(message).toContain(`"${each.path}" ${each.message}`);
  });

  it.each([undefined, null, 'options', 1, true, [], () => good])(
    'is named "options" when all of them are %p',
    (options) => {
      expect(pathsOf(options)).toEqual(['options']);
    },
  );
});

describe('routes that conflict', () => {
  it.each<[object, [path: string, other: string][]]>([
    [{ login: '/sign', logout: '/sign' }, [['routes.logout', 'routes.login']]],
    [{ callback: '/login' }, [['routes.callback', 'routes.login']]],
    [{ login: '/callback' }, [['routes.callback', 'routes.login']]],
    [{ login: true, logout: '/login' }, [['routes.logout', 'routes.login']]],
    [{ logout: '/callback' }, [['routes.logout', 'routes.callback']]],
    [{ login: false, callback: '/logout' }, [['routes.logout', 'routes.callback']]],
    [
      { login: '/a', callback: '/a', logout: '/a' },
      [
        ['routes.callback', 'routes.login'],
        ['routes.logout', 'routes.login'],
      ],
    ],
  ])('are refused when two share a path, by both their names: %j', (routes, expected) => {
    const problems = errorOf({ ...good, routes })?.problems ?? [];
    expect(problems.map(({ path, message }) => [path, /"([\w.]+)"/.exec(message)?.[1]])).toEqual(expected);
  });

  it.each<object>([{ callback: false }, { login: '/sign-in', callback: false }, { login: true, callback: false }])(
    'are refused when a sign-in has no callback: %j',
    (routes) => {
      const problems = errorOf({ ...good, routes })?.problems ?? [];
      expect(problems).toEqual([{ path: 'routes.callback', message: expect.stringContaining('"routes.login"') }]);
    },
  );

  it.each<object>([
    {},
    { login: undefined, callback: undefined, logout: undefined },
    { login: true, callback: true, logout: true },
    { login: false, callback: false, logout: false },
    { login: false },
    { logout: false },
    { login: false, callback: false },
    { login: '/logout', logout: '/login' },
    { login: '/logout', logout: false },
    { login: false, logout: '/login' },
    { login: false, callback: '/login' },
  ])('are not these: %j', (routes) => {
    expect(pathsOf({ ...good, routes })).toEqual([]);
  });

  it('are not where a visitor goes afterwards', () => {
    const signIn = { returnTo: '/login?again#top' };
    expect(pathsOf({ ...good, signIn, signOut: { returnTo: '/?bye' } })).toEqual([]);
  });
});

describe('whenUnavailable', () => {
  it.each(['continue', 'refuse', { staleSeconds: 0 }, { staleSeconds: 86_400 }, undefined])('accepts %j', (value) => {
    expect(pathsOf({ ...good, whenUnavailable: value })).toEqual([]);
  });

  it('refuses an object without its number, and one with more than that', () => {
    expect(pathsOf({ ...good, whenUnavailable: {} })).toEqual(['whenUnavailable.staleSeconds']);
    expect(pathsOf({ ...good, whenUnavailable: { staleSeconds: 60, refuse: true } })).toEqual([
      'whenUnavailable.refuse',
    ]);
  });
});

describe('password', () => {
  const other = 'another password of thirty-two letters';
  it.each<[string, SessionOptions['password']]>([
    ['one', password],
    ['a list of one', [password]],
    ['a list with the newest first', [password, other]],
    ['a map', { 0: other, 12: password }],
  ])('accepts %s', (_, given) => {
    expect(pathsOf({ ...good, password: given })).toEqual([]);
  });
});

describe('a header in place of the cookie', () => {
  it.each(['X-Session', 'x-app-session', 'Session', 'X-Content'])('may have a name of its own: %s', (header) => {
    expect(pathsOf({ ...good, header })).toEqual([]);
  });
});

describe('a domain', () => {
  it.each([
    'example.com',
    '.example.com',
    'EXAMPLE.com',
    'localhost',
    'xn--bcher-kva.example',
    '127.0.0.1',
    'a-b.1.example',
  ])('is the name of a host: %s', (domain) => {
    expect(pathsOf({ ...good, cookie: { domain, replaces: [{ name: 'old', domain }] } })).toEqual([]);
  });
});

describe('an option that the object does not have itself', () => {
  const inheriting = (inherited: object, own: object = {}) => Object.assign(Object.create(inherited) as object, own);

  it.each<[string[], object]>([
    [['required'], inheriting({ required: true }, good)],
    [['whenUnavailable'], inheriting({ whenUnavailable: 'refuse' }, good)],
    [['password', 'provider'], inheriting(good)],
    [['cookie.secure'], { ...good, cookie: inheriting({ secure: false }) }],
    [['refresh.waitMs'], { ...good, refresh: inheriting({ waitMs: -1 }) }],
    [['cache.maxSessions'], { ...good, cache: inheriting({ maxSessions: 0 }) }],
    [['header'], inheriting({ header: 'x-session' }, good)],
    [['routes.login'], { ...good, routes: inheriting({ login: false }) }],
    [['signIn.returnTo'], { ...good, signIn: inheriting({ returnTo: '/' }) }],
    [['signOut.returnTo'], { ...good, signOut: inheriting({ returnTo: '/' }) }],
    [['lifetime.idleSeconds'], { ...good, lifetime: inheriting({ idleSeconds: 600 }) }],
    [['whenUnavailable.staleSeconds'], { ...good, whenUnavailable: inheriting({ staleSeconds: 60 }) }],
    [['cookie.replaces[0].path'], { ...good, cookie: { replaces: [inheriting({ path: 'x' }, { name: 'old' })] } }],
    [['required.permissions'], { ...good, required: inheriting({ permissions: 'a' }) }],
  ])('is refused, neither used nor ignored: %j', (paths, options) => {
    expect(pathsOf(options)).toEqual(paths);
    expect(errorOf(options)?.message).toContain('inherited');
  });

  it('is read once: what was checked is what is used', () => {
    let reads = 0;
    let staleReads = 0;
    const options = {
      ...good,
      cookie: {
        get name() {
          reads += 1;
          return reads === 1 ? 'fine' : 'a\r\nb';
        },
      },
      whenUnavailable: {
        get staleSeconds() {
          staleReads += 1;
          return staleReads === 1 ? 60 : -1;
        },
      },
      get property() {
        return reads === 0 ? 'session' : '';
      },
    } as SessionOptions;
    withSession(options);
    expect([reads, staleReads]).toEqual([1, 1]);
  });
});

describe('an environment variable that is not set', () => {
  it('is named with all others: WorkOS', () => {
    const options = { provider: workos({ clientId: undefined, apiKey: undefined }), password: undefined };
    expect(pathsOf(options)).toEqual(['password', 'provider.apiKey', 'provider.clientId']);
  });

  it('is named with all others: OpenID Connect', () => {
    const options = {
      provider: oidc({ issuer: undefined, clientId: undefined, clientSecret: undefined }),
      password: undefined,
    };
    expect(pathsOf(options)).toEqual(['password', 'provider.clientId', 'provider.clientSecret', 'provider.issuer']);
  });
});

describe('a name that is no option', () => {
  it.each<[string, object]>([
    ['secret', { secret: 1 }],
    ['cookieName', { cookieName: 1 }],
    ['cookie.httpOnly', { cookie: { httpOnly: false } }],
    ['cookie.expires', { cookie: { expires: 1 } }],
    ['refresh.window', { refresh: { window: 1 } }],
    ['cache.max', { cache: { max: 1 } }],
    ['cookie.legacy', { cookie: { legacy: [] } }],
    ['routes.signIn', { routes: { signIn: '/sign-in' } }],
    ['signIn.path', { signIn: { path: '/sign-in' } }],
    ['signOut.after', { signOut: { after: '/' } }],
    ['lifetime.maxSeconds', { lifetime: { maxSeconds: 1 } }],
    ['whenUnavailable.stale', { whenUnavailable: { staleSeconds: 1, stale: true } }],
    ['events.error', { events: { error: () => undefined } }],
    ['required.permission', { required: { permission: 'a' } }],
    ['provider.organizationId', { provider: workos({ clientId: 'a', apiKey: 'b', organizationId: 'c' } as never) }],
    [
      'provider.tenant',
      { provider: oidc({ issuer: 'https://a.example', clientId: 'a', clientSecret: 'b', tenant: 'c' } as never) },
    ],
    ['constructor', { constructor: 1 }],
    ['toString', { toString: 1 }],
    ['options', { options: good }],
    ['__proto__', JSON.parse('{ "__proto__": 1 }') as object],
  ])('is named: %s', (path, options) => {
    expect(pathsOf(Object.defineProperties({ ...good }, Object.getOwnPropertyDescriptors(options)))).toEqual([path]);
  });

  it('hides no other mistake', () => {
    expect(pathsOf({ ...good, options: good, cookie: { maxage: 1 } })).toEqual(['cookie.maxage', 'options']);
  });

  it('is answered with the names that are options', () => {
    expect(errorOf({ ...good, cookie: { maxage: 1 } })?.message).toMatch(/\bmaxAge\b/);
  });
});

describe('a cookie that browsers refuse', () => {
  it.each<[string, NonNullable<SessionOptions['cookie']>, string[]]>([
    ['__Host- with a domain', { name: '__Host-a', domain: 'example.com' }, ['cookie.domain']],
    ['__Host- below a path', { name: '__Host-a', path: '/app' }, ['cookie.path']],
    ['__Host- without Secure', { name: '__Host-a', secure: false }, ['cookie.secure']],
    ['__Secure- without Secure', { name: '__Secure-a', secure: false }, ['cookie.secure']],
    ['SameSite=None without Secure', { sameSite: 'none', secure: false }, ['cookie.sameSite']],
    ['prefixes in other letters', { name: '__hOST-a', domain: 'example.com' }, ['cookie.domain']],
    [
      'everything at once',
      { name: '__Host-a', domain: 'example.com', path: '/app', sameSite: 'none', secure: false },
      ['cookie.domain', 'cookie.path', 'cookie.sameSite', 'cookie.secure'],
    ],
  ])('is refused: %s', (_, cookie, paths) => {
    expect(pathsOf({ ...good, cookie })).toEqual(paths);
  });

  it("is refused also when its name is the provider's", () => {
    const options = {
      provider: oidc({ issuer: 'https://a.example', clientId: 'a', clientSecret: 'b' }),
      password,
    };
    expect(pathsOf({ ...options, cookie: { domain: 'example.com' } })).toEqual(['cookie.domain']);
    expect(() => withSession({ ...options, cookie: { domain: 'example.com', name: 'session' } })).not.toThrow();
  });

  it.each<[string, NonNullable<SessionOptions['cookie']>]>([
    ['__Secure- with a domain', { name: '__Secure-a', domain: 'example.com' }],
    ['__Host- as it is meant to be', { name: '__Host-a', path: '/' }],
    ['SameSite=None with Secure', { sameSite: 'none' }],
    ['no Secure, for development', { secure: false }],
  ])('is not this one: %s', (_, cookie) => {
    expect(() => withSession({ ...good, cookie, events: { misconfigured: () => undefined } })).not.toThrow();
  });
});

describe('cookie.secure', () => {
  const http = 'http://localhost:3000';
  const https = 'https://app.example.com';

  it.each<[string, Partial<SessionOptions>, string[]]>([
    ['a name with a prefix, over http', { baseUrl: http, cookie: { name: '__Host-a' } }, ['cookie.secure']],
    ['SameSite=None over http', { baseUrl: http, cookie: { sameSite: 'none' } }, ['cookie.sameSite']],
    ['false where the app is on another host', { baseUrl: https, cookie: { secure: false } }, ['cookie.secure']],
  ])('is refused: %s', (_, options, paths) => {
    expect(pathsOf({ ...good, ...options })).toEqual(paths);
  });

  it.each<[string, Partial<SessionOptions>]>([
    ['true over http', { baseUrl: http, cookie: { secure: true, name: '__Host-a', sameSite: 'none' } }],
    ['false on localhost over https', { baseUrl: 'https://localhost', cookie: { secure: false } }],
    ['false over http', { baseUrl: 'http://127.0.0.1:3000', cookie: { secure: false } }],
    ['left out over http', { baseUrl: 'http://[::1]:3000' }],
    ['left out over https', { baseUrl: https, cookie: { sameSite: 'none', name: '__Host-a' } }],
    ['true', { cookie: { secure: true } }],
    ['left out', {}],
  ])('is accepted without a warning: %s', (_, options) => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const told: unknown[] = [];
    const misconfigured = (event: unknown) => told.push(event);
    withSession({ ...good, ...options, events: { misconfigured } });
    withSession({ ...good, provider: { ...provider }, ...options });
    expect([told, warn.mock.calls]).toEqual([[], []]);
  });

  it('is reported once while the app starts when it is false and no baseUrl says that the app is local', () => {
    const told: SessionEvents['misconfigured'][] = [];
    const options = {
      ...good,
      cookie: { secure: false },
      events: { misconfigured: (event: SessionEvents['misconfigured']) => told.push(event) },
    };
    withSession(options);
    createSessionManager(options);
    expect(told).toEqual([
      { problem: 'insecure_cookie', option: 'cookie.secure', message: expect.stringContaining('localhost') },
    ]);
  });

  it('is a warning of the process when it is false and there is no listener', () => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    withSession({ ...good, provider: { ...provider }, cookie: { secure: false } });
    expect(warn).toHaveBeenCalledWith(
      expect.stringContaining('localhost'),
      expect.objectContaining({ code: 'WARN_SESSION_MISCONFIGURED' }),
    );
  });
});

describe('a provider that is not whole', () => {
  const whole: Provider = { ...provider };
  const optionalMembers = [
    'problems',
    'sealer',
    'sealsUserInCamelCase',
    'organizationOf',
    'logoutUrl',
    'revocationRequest',
    'revokesSession',
    'acceptsImpersonation',
    'knows',
    'tokensNameClient',
    'interactionUrl',
  ];
  const members = Object.keys(whole).filter((name) => !optionalMembers.includes(name));
  const messageOf = (changes: object) => {
    const problems = errorOf({ ...good, provider: { ...whole, ...changes } })?.problems ?? [];
    expect(problems.map(({ path }) => path)).toEqual(['provider']);
    return problems[0]!.message.slice(problems[0]!.message.indexOf('Provider.'));
  };

  it.each(members)('is refused at the start, and only the missing member is named: %s', (name) => {
    const message = messageOf({ [name]: undefined });
    expect(members.filter((each) => new RegExp(`\\b${each}\\b`).test(message))).toEqual([name]);
  });

  it('is refused with all missing methods named at once', () => {
    const message = messageOf({ readSignIn: undefined, readRefresh: 'readRefresh' });
    expect(message).toBe('Provider. It must have these as methods: readSignIn, readRefresh.');
  });

  it.each(['Single-Use', 'strict', 'idempotent', 'Reusable', '', true, null])(
    'is refused when its refreshTokens is neither of the two values: %j',
    (refreshTokens) => {
      expect(messageOf({ refreshTokens })).toMatch(/"refreshTokens".*must be one of: single-use, reusable\.$/);
    },
  );

  it('is accepted without its optional members', () => {
    const none = Object.fromEntries(optionalMembers.map((name) => [name, undefined]));
    expect(pathsOf({ ...good, provider: { ...whole, ...none } })).toEqual([]);
  });

  it.each(['organizationOf', 'logoutUrl', 'interactionUrl', 'revocationRequest'])(
    'is refused when an optional method is not a method: %s',
    (name) => {
      expect(messageOf({ [name]: 'https://id.example.com' })).toContain(name);
    },
  );

  it('is refused when its sealer is not a sealer, and the missing methods are named', () => {
    const message = messageOf({ sealer: { ...ironSealer(), open: undefined } });
    expect(message).toMatch(/"sealer".*must have these as methods: open\.$/);
  });
});

describe('the value of a secret', () => {
  const secret = 'zQ7#vX9kW2pL5sT8';
  const longSecret = `${secret}yR4nB6mJ3hG1fD0cA7eU5iO9`;

  /** Everything that a log, a debugger or an error page could show of an error. */
  function everythingIn(error: SessionConfigError | undefined): string {
    if (!error) throw new Error('These options were accepted.');
    return [
      String(error),
      error.message,
      error.stack,
      JSON.stringify(error),
      JSON.stringify(error.problems),
      inspect(error, { depth: Infinity, showHidden: true }),
    ].join('\n');
  }

  it.each<[string, object]>([
    ['a password too short', { password: secret }],
    ['a password too short in a map', { password: { 1: longSecret, 2: secret } }],
    ['a password in place of its id', { password: { [longSecret]: 1 } }],
    ['a key in place of the provider', { provider: longSecret }],
    ['a key in place of the provider options', { provider: workos(longSecret as never) }],
    ['a key in a list', { provider: workos({ clientId: 'a', apiKey: [longSecret] as never }) }],
    ['a key beside a bad client id', { provider: workos({ clientId: '', apiKey: longSecret }) }],
    [
      'a base URL with a password',
      { provider: workos({ clientId: 'a', apiKey: 'b', baseUrl: `https://a:${secret}@b` }) },
    ],
    [
      'a client secret that is no string',
      { provider: oidc({ issuer: 'https://a', clientId: 'a', clientSecret: { secret: longSecret } as never }) },
    ],
    [
      'a client secret beside a bad issuer',
      { provider: oidc({ issuer: `http://a/?${secret}`, clientId: 'a', clientSecret: longSecret }) },
    ],
    ['a secret in a cookie name', { cookie: { name: `a=${secret}` } }],
    [
      'a secret in every other place',
      Object.fromEntries(
        [
          'required',
          'property',
          'cookie',
          'sealer',
          'routes',
          'signIn',
          'signOut',
          'header',
          'lifetime',
          'refresh',
          'whenUnavailable',
          'fleet',
          'cache',
          'cacheControl',
          'clockToleranceSeconds',
          'events',
          'baseUrl',
        ].map((name) => [name, [longSecret]]),
      ),
    ],
    ['a secret under a name that is no option', { secret: longSecret, cookie: { keys: [longSecret] } }],
    ['a password too short in a list', { password: [longSecret, secret] }],
    ['a secret in a rule', { required: { permissions: [longSecret] } }],
    ['a secret in place of a path', { routes: { login: longSecret }, signIn: { returnTo: longSecret } }],
    ['good secrets beside a mistake', { password: longSecret, whenUnavailable: 'never' }],
  ])('is nowhere in the error: %s', (_, options) => {
    const text = everythingIn(errorOf({ ...good, ...options }));
    for (let at = 0; at + 6 <= longSecret.length; at += 1) expect(text).not.toContain(longSecret.slice(at, at + 6));
  });

  it('is nowhere in the error when it is all there is', () => {
    expect(everythingIn(errorOf(longSecret))).not.toContain(secret.slice(0, 6));
  });
});

describe.each(frameworks)('without a call, on $name', ({ listen }) => {
  it('app.use(withSession) says what to write, and lets no visitor in', async () => {
    let served = 0;
    const app = await listen((each) => {
      each.use(withSession as unknown as Handler);
      each.get('/', (_req, res) => {
        served += 1;
        res.end('served');
      });
    });
    open.push(app);
    const page = await createBrowser(app.url).get('/');
    expect(page).toMatchObject({ status: 500, json: { error: 'ERR_SESSION_CONFIG' } });
    expect(page.json.message).toContain('app.use(withSession(options)), not app.use(withSession).');
    expect(served).toBe(0);
  });
});

describe('with a provider on the wire', () => {
  let server: WorkosServer;

  beforeAll(async () => {
    server = await startWorkosServer();
  });
  afterEach(() => {
    server.token.heal();
  });
  afterAll(() => server.close());

  /** An app whose one route runs `handler`, on the first of the frameworks: nothing here is up to them. */
  async function serve(options: SessionOptions, handler: Handler = answerSession) {
    const app = await frameworks[0]!.listen((each) => {
      each.use(withSession(options));
      each.get('/', handler);
    });
    open.push(app);
    return (init?: RequestInit): Promise<Page> => createBrowser(app.url).get('/', init);
  }

  const answerSession: Handler = (req, res) => {
    res.end(JSON.stringify(getSession(req)));
  };

  const signIn: Handler = async (req, res) => {
    const { accessToken, refreshToken, user } = await server.issueSession();
    await getSession(req).signIn({ accessToken, refreshToken, user: { ...user } });
    res.end();
  };

  describe('the cookie as it is written', () => {
    const defaults = ['Path=/', 'Max-Age=34560000', 'HttpOnly', 'Secure', 'SameSite=Lax'];
    const without = (...attributes: string[]) => defaults.filter((each) => !attributes.includes(each));

    it.each<[string, SessionOptions['cookie'], string, string[]]>([
      ['no options', undefined, 'wos-session', defaults],
      ['an empty object', {}, 'wos-session', defaults],
      ['a name', { name: '__Host-id' }, '__Host-id', defaults],
      ['a domain', { domain: '127.0.0.1' }, 'wos-session', [...defaults, 'Domain=127.0.0.1']],
      ['a path', { path: '/app' }, 'wos-session', [...without('Path=/'), 'Path=/app']],
      ['strict', { sameSite: 'strict' }, 'wos-session', [...without('SameSite=Lax'), 'SameSite=Strict']],
      ['none', { sameSite: 'none' }, 'wos-session', [...without('SameSite=Lax'), 'SameSite=None']],
      ['not secure', { secure: false }, 'wos-session', without('Secure')],
      ['an hour', { maxAge: 3_600 }, 'wos-session', [...without('Max-Age=34560000'), 'Max-Age=3600']],
      ['a fraction', { maxAge: 3_600.9 }, 'wos-session', [...without('Max-Age=34560000'), 'Max-Age=3600']],
      ['longer than browsers keep it', { maxAge: Infinity }, 'wos-session', defaults],
    ])('is what the options ask for: %s', async (_, cookie, name, attributes) => {
      const get = await serve(workosOptions(server, { cookie, events: { misconfigured: () => undefined } }), signIn);
      const { setCookies } = await get();
      expect(setCookies).toHaveLength(1);
      const [pair = '', ...written] = setCookies[0]!.split('; ');
      expect(pair).toMatch(/^[^=]+=Fe26\.2\*1\*/);
      expect(pair.split('=')[0]).toBe(name);
      expect(written.sort()).toEqual([...attributes].sort());
    });

    const openId = {
      provider: oidc({ issuer: 'https://a.example', clientId: 'a', clientSecret: 'b' }),
      password,
    };
    const signOut: Handler = async (req, res) => {
      await getSession(req).signOut();
      res.end();
    };

    it('has another name by default with OpenID Connect', async () => {
      const { setCookies } = await (await serve(openId, signOut))();
      expect(setCookies).toEqual([expect.stringMatching(/^__Host-session=; Path=\/; Max-Age=0; HttpOnly; Secure;/)]);
    });

    it.each<[string, Partial<SessionOptions>, string, boolean]>([
      ['over https', { baseUrl: 'https://app.example.com' }, '__Host-session', true],
      ['over http', { baseUrl: 'http://localhost:3000' }, 'session', false],
      [
        'over http, with Secure',
        { baseUrl: 'http://localhost:3000', cookie: { secure: true } },
        '__Host-session',
        true,
      ],
      [
        'over http, with a name of its own',
        { baseUrl: 'http://localhost:3000', cookie: { name: 'sid' } },
        'sid',
        false,
      ],
      ['without Secure', { cookie: { secure: false }, events: { misconfigured: () => undefined } }, 'session', false],
    ])('is Secure, and has its prefix, as baseUrl says: %s', async (_, options, name, isSecure) => {
      const get = await serve({ ...openId, ...options }, signOut);
      const { setCookies } = await get();
      expect(setCookies).toEqual([expect.stringMatching(new RegExp(`^${name}=; Path=/; Max-Age=0;`))]);
      expect(setCookies[0]!.includes('; Secure')).toBe(isSecure);
    });

    it.each([
      ['with a baseUrl of http', { baseUrl: 'http://localhost:3000' }],
      ['with cookie.secure false', { cookie: { secure: false }, events: { misconfigured: () => undefined } }],
    ])('without Secure, is for localhost alone, %s', async (_, options) => {
      const app = await frameworks[0]!.listen((each) => {
        each.use(withSession(workosOptions(server, options)));
        each.get('/', answerSession);
      });
      open.push(app);
      for (const [host, status] of [
        ['localhost:3000', 200],
        ['127.0.0.1', 200],
        ['[::1]:3000', 200],
        ['app.example.com', 500],
        ['localhost.example.com', 500],
        ['', 500],
      ] as const) {
        const page = await request(app.url).get('/').set('Host', host);
        expect([host, page.status]).toEqual([host, status]);
        if (status === 500) expect(page.body).toMatchObject({ error: 'ERR_SESSION_CONFIG' });
      }
    });

    it('is sealed under the first password of a list', async () => {
      const passwords = ['another password of thirty-two letters', password];
      const get = await serve(workosOptions(server, { password: passwords }), signIn);
      const sealed = sessionCookieOf((await get()).setCookies);
      expect(sealed).toMatch(/^Fe26\.2\*1\*/);
      expect(await unsealData(sealed!, { password: passwords[0]! })).toMatchObject({ user: { id: 'user_01' } });
    });

    it('is sealed under the highest password of a map', async () => {
      const passwords = {
        1: password,
        12: 'another password of thirty-two letters',
        3: 'a third of thirty-two letters or more',
      };
      const get = await serve(workosOptions(server, { password: passwords }), signIn);
      const sealed = sessionCookieOf((await get()).setCookies);
      expect(sealed).toMatch(/^Fe26\.2\*12\*/);
      expect(await unsealData(sealed!, { password: { 12: passwords[12] } })).toMatchObject({ user: { id: 'user_01' } });
    });
  });

  it('puts the session on req.session, or where `property` says', async () => {
    const seen: unknown[] = [];
    const look: Handler = (req, res) => {
      const { session, auth } = req as { session?: unknown; auth?: unknown };
      seen.push([session === getSession(req), auth === getSession(req)]);
      res.end();
    };
    await (
      await serve(workosOptions(server), look)
    )();
    await (
      await serve(workosOptions(server, { property: 'auth' }), look)
    )();
    expect(seen).toEqual([
      [true, false],
      [false, true],
    ]);
  });

  it('refreshes from a minute ahead of the expiry, or as `refresh.aheadSeconds` says', async () => {
    const { sealed } = await sealedSession(server, { lifetimeSeconds: 1_000 });
    const byDefault = await serve(workosOptions(server, { cache: false }));
    const early = await serve(workosOptions(server, { cache: false, refresh: { aheadSeconds: 200 } }));
    const never = await serve(workosOptions(server, { cache: false, refresh: { aheadSeconds: 0 } }));
    const refreshes = async (get: (init: RequestInit) => Promise<Page>) =>
      (await get(cookieHeader(sealed))).json.refreshed;

    clock.advance(1_000 - 205);
    expect(await refreshes(early)).toBe(false);
    clock.advance(205 - 65);
    expect(await refreshes(byDefault)).toBe(false);
    clock.advance(65 - 40);
    expect([await refreshes(never), await refreshes(byDefault)]).toEqual([false, true]);
  });

  it('tolerates a clock that is off by five seconds, or by `clockToleranceSeconds`', async () => {
    const { accessToken } = await server.issueSession({ lifetimeSeconds: 100 });
    const sealed = await createSessionManager(workosOptions(server)).seal({ accessToken });
    const reasonOf = async (options: Partial<SessionOptions>) => {
      const result = await createSessionManager(workosOptions(server, options)).load(sealed).authenticate();
      return result.authenticated || result.reason;
    };
    clock.advance(103);
    expect([await reasonOf({}), await reasonOf({ clockToleranceSeconds: 0 })]).toEqual([true, 'expired_jwt']);
    clock.advance(4);
    expect([await reasonOf({}), await reasonOf({ clockToleranceSeconds: 60 })]).toEqual(['expired_jwt', true]);
  });

  it('shares an outcome for `refresh.graceSeconds` and tries for `refresh.timeoutMs`', async () => {
    const tickets: Partial<Ticket>[] = [];
    const fleet = fleetWith({
      refresh: (ticket) => {
        tickets.push(ticket);
        const outcome = { kind: 'unavailable', reason: 'timeout' } as const;
        return Promise.resolve({ outcome, organizationId: '', source: 'leader' });
      },
    });
    const { sealed } = await sealedSession(server, expired);
    for (const refresh of [{}, { graceSeconds: 7, timeoutMs: 800 }]) {
      const get = await serve(workosOptions(server, { fleet, refresh }));
      await get(cookieHeader(sealed));
    }
    expect(tickets).toMatchObject([
      { graceMs: 60_000, timeoutMs: 20_000 },
      { graceMs: 7_000, timeoutMs: 800 },
    ]);
  });

  it('remembers verified sessions from their second visit on, unless `cache` is false', async () => {
    let asked = 0;
    const { sealed } = await sealedSession(server);
    const options = workosOptions(server);
    const counting: Provider = {
      ...options.provider,
      accessToken: (token) => {
        asked += 1;
        return options.provider.accessToken(token);
      },
    };
    const askedWith = async (cache: SessionOptions['cache'], seconds = 0) => {
      const get = await serve({ ...options, provider: counting, cache });
      asked = 0;
      await get(cookieHeader(sealed));
      await get(cookieHeader(sealed));
      clock.advance(seconds);
      expect((await get(cookieHeader(sealed))).json.authenticated).toBe(true);
      clock.advance(-seconds);
      return asked;
    };
    expect(await askedWith(undefined)).toBe(2);
    expect(await askedWith({})).toBe(2);
    expect(await askedWith(false)).toBe(3);
    expect(await askedWith({ maxSeconds: 30 }, 20)).toBe(2);
    expect(await askedWith({ maxSeconds: 30 }, 40)).toBe(3);
    // With a single place, those who come once take it from each other, but they take no session.
    expect(await askedWith({ maxSessions: 1 })).toBe(2);
  });

  it('whenUnavailable: goes on without the session, refuses, or serves old claims for `staleSeconds`', async () => {
    const { accessToken, user } = await server.issueSession({ lifetimeSeconds: 100 });
    const tokens = { accessToken, refreshToken: 'rt_1', user: { ...user } };
    const sealed = await createSessionManager(workosOptions(server)).seal(tokens);
    server.token.fail(answers.unavailable);
    const answer = async (whenUnavailable: SessionOptions['whenUnavailable']) => {
      const get = await serve(workosOptions(server, { whenUnavailable }));
      const { status, json } = await get(cookieHeader(sealed));
      return [status, json.authenticated, json.stale ?? json.retryable ?? json.error] as unknown[];
    };
    const goesOn = [200, false, true];
    const isStale = [200, true, true];
    clock.advance(100 + 290);
    expect(await answer(undefined)).toEqual(goesOn);
    expect(await answer('continue')).toEqual(goesOn);
    expect(await answer('refuse')).toEqual([503, undefined, 'ERR_SESSION_UNAVAILABLE']);
    expect([await answer({ staleSeconds: 300 }), await answer({ staleSeconds: 200 })]).toEqual([isStale, goesOn]);
    clock.advance(20);
    expect([await answer({ staleSeconds: 300 }), await answer({ staleSeconds: 400 })]).toEqual([goesOn, isStale]);
    expect(await answer({ staleSeconds: 0 })).toEqual(goesOn);
  });

  it('fleet: sends one refresh for the apps that share one, as all apps of a process do by default', async () => {
    const refreshesWith = async (...fleets: SessionOptions['fleet'][]) => {
      const { sealed } = await sealedSession(server, expired);
      const before = server.refreshCount;
      for (const fleet of fleets) {
        const get = await serve(workosOptions(server, { fleet }));
        expect((await get(cookieHeader(sealed))).json).toMatchObject({ authenticated: true, refreshed: true });
      }
      return server.refreshCount - before;
    };
    const fleet = createProcessFleet();
    expect(await refreshesWith(fleet, fleet)).toBe(1);
    expect(await refreshesWith(undefined, undefined)).toBe(1);
    expect(await refreshesWith(createProcessFleet(), createProcessFleet())).toBe(2);
  });

  it('are read once: later changes to the objects have no effect', async () => {
    const told: string[] = [];
    const issuer = [`${server.url}/user_management/${server.clientId}`];
    const providerOptions = { clientId: server.clientId, apiKey: server.apiKey, baseUrl: server.url, issuer };
    const all = ['billing:read'];
    const replaces = [{ name: 'older', path: '/old' }];
    const userFields = ['email'];
    const passwords = [password];
    const options = {
      provider: workos(providerOptions),
      password: passwords,
      required: { permissions: { all } },
      property: 'session',
      cookie: { name: 'wos-session', path: '/', maxAge: 100, replaces },
      header: 'X-Session',
      lifetime: { absoluteSeconds: 3_600, idleSeconds: 600, isActivity: () => true },
      refresh: { aheadSeconds: 60, waitMs: 5_000 },
      whenUnavailable: 'continue',
      fleet: createProcessFleet(),
      cache: { maxSessions: 10 },
      userFields,
      events: { refreshed: () => told.push('before') },
    } as const;
    const get = await serve(options);

    const change = (target: object, changes: object) => Object.assign(target, changes);
    change(providerOptions, { clientId: 'client_99', apiKey: 'sk_test_99', baseUrl: 'https://evil.example' });
    issuer.splice(0, 1, 'https://evil.example');
    all.splice(0, 1, 'other');
    passwords.splice(0, 1, 'x'.repeat(32), 'y'.repeat(32));
    change(options.required, { permissions: 'other', roles: 'other' });
    change(options.cookie, { name: 'other', path: '/other', maxAge: 5 });
    change(replaces[0]!, { name: 'wos-session', path: '/' });
    replaces.push({ name: 'other', path: '/' });
    userFields.push('locale');
    change(options.lifetime, { absoluteSeconds: 1, idleSeconds: 60, isActivity: () => false });
    change(options.refresh, { aheadSeconds: 0, waitMs: 1 });
    change(options.cache, { maxSessions: 0 });
    change(options.events, { refreshed: () => told.push('after') });
    change(options, {
      provider: undefined,
      property: 'other',
      header: 'X-Other',
      whenUnavailable: 'refuse',
      fleet: undefined,
      sealer: undefined,
      required: false,
    });

    const { sealed } = await sealedSession(server, { ...expired, claims: { permissions: ['billing:read'] } });
    const page = await get({ headers: { cookie: `older=1; wos-session=${sealed}; other=2` } });
    expect(page).toMatchObject({ status: 200, json: { authenticated: true, refreshed: true } });
    expect(Object.keys(page.json.user).sort()).toEqual(['email', 'id']);
    expect(page.setCookies).toEqual([
      expect.stringMatching(/^wos-session=Fe26\.2\*1\*\S+; Path=\/; Max-Age=100;/),
      expect.stringMatching(/^older=; Path=\/old; Max-Age=0;/),
    ]);
    const next = sessionCookieOf(page.setCookies)!;
    expect(await unsealData(next, { password })).toMatchObject({ user: { id: 'user_01' } });
    expect(told).toEqual(['before']);
    const { sealed: without } = await sealedSession(server, { claims: { permissions: ['other'], roles: ['other'] } });
    expect((await get(cookieHeader(without))).status).toBe(403);
    // The lifetimes are those of the start: the second visit is noted, and ends no session.
    clock.advance(120);
    const later = await get({ headers: { 'x-session': next } });
    expect([later.json.authenticated, later.headers.get('x-session')]).toEqual([true, expect.stringMatching(/^Fe26/)]);
  });

  it('of the routes are read once, too', async () => {
    const options = {
      ...workosOptions(server),
      baseUrl: 'https://app.example.com',
      routes: { login: '/sign-in', logout: false as boolean },
      signIn: { returnTo: '/welcome' },
      signOut: { returnTo: '/bye' },
    };
    const sessions = withSession(options);
    Object.assign(options.routes, { login: '/login', logout: true });
    Object.assign(options.signIn, { returnTo: '//evil.example' });
    Object.assign(options.signOut, { returnTo: '//evil.example' });
    Object.assign(options, { baseUrl: 'https://evil.example' });
    const app = await frameworks[0]!.listen((each) => {
      each.use(sessions);
      each.use(sessions.routes());
    });
    open.push(app);
    const browser = createBrowser(app.url);
    const login = await browser.get('/sign-in');
    const authorize = new URL(login.headers.get('location')!);
    expect(authorize.searchParams.get('redirect_uri')).toBe('https://app.example.com/callback');
    for (const path of ['/login', '/logout']) expect((await browser.get(path)).status).toBe(404);
    const callback = new URL((await browser.get(authorize.href)).headers.get('location')!);
    const back = await browser.get(callback.pathname + callback.search);
    expect(back.headers.get('location')).toBe('/welcome');
  });
});
