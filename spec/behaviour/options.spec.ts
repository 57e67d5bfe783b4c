import { inspect } from 'node:util';

import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import {
  type Coordinator,
  createSessionManager,
  getSession,
  memoryCoordinator,
  oidc,
  type Provider,
  SessionConfigError,
  type SessionEvents,
  type SessionOptions,
  sessionRoutes,
  type Ticket,
  withSession,
  workos,
} from 'express-sealed-session';
import { unsealData } from 'iron-session';

import { type App, frameworks, type Handler, type Listening } from '../support/apps.js';
import { createBrowser, type Page } from '../support/browser.js';
import { useClock } from '../support/clock.js';
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
  'coordination',
  'written',
  'oldPassword',
  'configuration',
  'signedIn',
  'signedOut',
] satisfies (keyof SessionEvents)[];

/** The one error that the options come to; undefined when they are taken. */
function errorOf(options: unknown, take: (options: SessionOptions) => unknown = withSession) {
  try {
    take(options as SessionOptions);
  } catch (error) {
    expect(error).toBeInstanceOf(SessionConfigError);
    return error as SessionConfigError;
  }
  return undefined;
}

/** Where the problems are; none when the options are taken. */
const pathsOf = (options: unknown) => (errorOf(options)?.problems ?? []).map(({ path }) => path).sort();

/** What is no name of a host. */
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
const spokenFor = [
  ...['Cookie', 'set-cookie', 'HOST', 'Authorization', 'Proxy-Authorization', 'WWW-Authenticate', 'Content-Length'],
  ...['Content-Type', 'Content-Encoding', 'Connection', 'Keep-Alive', 'Transfer-Encoding', 'TE', 'Trailer', 'Upgrade'],
  ...['Expect', 'Origin', 'Referer', 'Location', 'Cache-Control', 'Vary', 'ETag', 'If-None-Match', 'Retry-After'],
  ...['Date', 'Accept', 'User-Agent', 'Forwarded', 'X-Forwarded-For', 'X-Forwarded-Host', 'Sec-Fetch-Site', 'Range'],
];

describe('an option that cannot be', () => {
  it.each<[string, unknown[]]>([
    ['provider', [undefined, null, 'workos', {}, workos, { accessToken: true }]],
    ['password', [undefined, null, '', 'too short', {}, { 1: 'too short' }, 12]],
    ['required', [null, 'yes', 1, []]],
    ['property', [null, '', 1, Symbol('session')]],
    ['cookie', [null, 'name', true, []]],
    ['cookie.name', ['', 'a b', 'a;b', 'a=b', 'a,b', 'ä', 'a\r\nb', null, 1]],
    ['cookie.domain', [...noHosts, null, 1]],
    ['cookie.path', ['', 'app', 'https://a.example/', '/a b', '/a;b', '/a\r\nb', null, 1]],
    ['cookie.sameSite', ['Lax', '', null, true]],
    ['cookie.secure', [null, 'true', 0]],
    ['cookie.maxAge', [0, -1, NaN, -Infinity, '60', null]],
    ['legacyCookies', [null, {}, 'old', { name: 'old' }]],
    ['transport', [null, 'x-session', true]],
    ['transport.header', [undefined, null, '', 'x session', 'x:', 1, ...spokenFor]],
    ['cacheControl', [null, true, 'private', '']],
    ['pickUser', [null, 'email', [1], ['']]],
    ['absoluteSeconds', [0, -1, NaN, '60', null]],
    ['idleSeconds', [0, -1, NaN, '60', null]],
    ['sealer', [null, 'iron', {}, { open: true }]],
    ['refresh', [null, 60, false, []]],
    ['refresh.windowSeconds', [-1, NaN, Infinity, '60', null]],
    ['refresh.graceSeconds', [-1, NaN, Infinity, '60', null]],
    ['refresh.waitMs', [0, -1, NaN, Infinity, '5000', null]],
    ['refresh.budgetMs', [0, -1, NaN, Infinity, '5000', null]],
    ['refresh.touch', [null, true, false]],
    ['refresh.coordinator', [null, {}, memoryCoordinator, { refresh: true }]],
    ['onTransient', ['', 'throw', null, true]],
    ['staleSeconds', [-1, NaN, Infinity, '60', null]],
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
        'https://app.example.com/app',
        'https://app.example.com?a',
        'https://app.example.com#',
        ' https://app.example.com',
        'https://app.example.com\n',
        1,
      ],
    ],
    ...['loginPath', 'callbackPath', 'logoutPath'].map((name): [string, unknown[]] => [name, ['/a?b', '/a?', '/a#b']]),
    ...['loginPath', 'callbackPath', 'logoutPath', 'afterSignIn', 'afterSignOut'].map((name): [string, unknown[]] => [
      name,
      ['', 'login', '//evil.example', '/\\evil.example', '/.//evil.example', 'https://evil.example/', '/a\nb', null, 1],
    ]),
    ['required.permissions', ['', [], [''], [1], null, {}, new Set(['a'])]],
    ['required.redirect', ['no', 0, null]],
  ])('is told by its path: %s', (path, values) => {
    const [name, part] = path.split('.') as [string, string | undefined];
    for (const value of values) {
      const options = { ...good, [name]: part === undefined ? value : { [part]: value } };
      expect([value, pathsOf(options)]).toEqual([value, [path]]);
    }
  });

  it.each<[string[], unknown]>([
    [['legacyCookies[0]'], ['old']],
    [['legacyCookies[0].name'], [{}]],
    [['legacyCookies[0].name'], [{ name: 'a;b' }]],
    [['legacyCookies[1].domain'], [{ name: 'a' }, { name: 'b', domain: 'x; Path=/' }]],
    [['legacyCookies[0].path'], [{ name: 'a', path: '/a\r\nb' }]],
    [['legacyCookies[0].path'], [{ name: 'a', path: 'app' }]],
    [['legacyCookies[0].domain'], [{ name: 'a', domain: 'https://example.com' }]],
    [
      ['legacyCookies[0].secure', 'legacyCookies[1].name'],
      [{ name: 'a', secure: true }, { name: '' }],
    ],
  ])('is told by its place in a list: %j', (paths, legacyCookies) => {
    expect(pathsOf({ ...good, legacyCookies })).toEqual(paths);
  });

  it.each([
    ['withSession', withSession],
    ['sessionRoutes', sessionRoutes],
    ['createSessionManager', createSessionManager],
  ])('is told together with all others, at once, by %s', (_, take) => {
    const error = errorOf(
      {
        provider: workos({ clientId: '', apiKey: '', baseUrl: 'http://api.workos.com', issuer: [] }),
        password: 'too short',
        required: { permissions: [], redirct: true },
        property: '',
        cookie: { name: '__Host-a', domain: 'example.com', sameSite: 'none', secure: false, maxage: 1 },
        sealer: {},
        refresh: { windowSeconds: -1, retries: 3 },
        onTransient: 'never',
        cache: { maxSessions: 0 },
        events: { refreshed: true, refresh: () => undefined },
        baseUrl: 'http://app.example.com',
        loginPath: 'login',
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
      'loginPath',
      'onTransient',
      'password',
      'property',
      'provider.apiKey',
      'provider.baseUrl',
      'provider.clientId',
      'provider.issuer',
      'refresh.retries',
      'refresh.windowSeconds',
      'required.permissions',
      'required.redirct',
      'sealer',
      'secret',
    ]);
    for (const each of problems) expect(message).toContain(`"${each.path}" ${each.message}`);
  });

  it.each([undefined, null, 'options', 1, true, [], () => good])(
    'is the whole of them, when they are %p',
    (options) => {
      expect(pathsOf(options)).toEqual(['options']);
    },
  );
});

describe('two routes on one path', () => {
  it.each<[object, [path: string, other: string][]]>([
    [{ loginPath: '/sign', logoutPath: '/sign' }, [['logoutPath', 'loginPath']]],
    [{ callbackPath: '/login' }, [['callbackPath', 'loginPath']]],
    [{ loginPath: '/callback' }, [['callbackPath', 'loginPath']]],
    [{ logoutPath: '/callback' }, [['logoutPath', 'callbackPath']]],
    [
      { loginPath: '/a', callbackPath: '/a', logoutPath: '/a' },
      [
        ['callbackPath', 'loginPath'],
        ['logoutPath', 'loginPath'],
      ],
    ],
  ])('are refused by both their names: %j', (paths, expected) => {
    const problems = errorOf({ ...good, ...paths })?.problems ?? [];
    expect(problems.map(({ path, message }) => [path, /"(\w+)"/.exec(message)?.[1]])).toEqual(expected);
  });

  it('are not to be mistaken for two that differ, or for where to go afterwards', () => {
    expect(pathsOf({ ...good, loginPath: '/logout', logoutPath: '/login' })).toEqual([]);
    expect(pathsOf({ ...good, afterSignIn: '/login?again#top', afterSignOut: '/?bye' })).toEqual([]);
  });
});

describe('a header in place of the cookie', () => {
  it.each(['X-Session', 'x-app-session', 'Session', 'X-Content'])('may have a name of its own: %s', (header) => {
    expect(pathsOf({ ...good, transport: { header } })).toEqual([]);
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
    expect(pathsOf({ ...good, cookie: { domain }, legacyCookies: [{ name: 'old', domain }] })).toEqual([]);
  });
});

describe('an option that the object does not have itself', () => {
  const inheriting = (inherited: object, own: object = {}) => Object.assign(Object.create(inherited) as object, own);

  it.each<[string[], object]>([
    [['required'], inheriting({ required: true }, good)],
    [['onTransient'], inheriting({ onTransient: 'never' }, good)],
    [['password', 'provider'], inheriting(good)],
    [['cookie.secure'], { ...good, cookie: inheriting({ secure: false }) }],
    [['refresh.waitMs'], { ...good, refresh: inheriting({ waitMs: -1 }) }],
    [['cache.maxSessions'], { ...good, cache: inheriting({ maxSessions: 0 }) }],
    [['transport.header'], { ...good, transport: inheriting({ header: 'cookie' }) }],
    [['legacyCookies[0].path'], { ...good, legacyCookies: [inheriting({ path: 'x' }, { name: 'old' })] }],
    [['required.permissions'], { ...good, required: inheriting({ permissions: 'a' }) }],
  ])('is refused, not used unseen: %j', (paths, options) => {
    expect(pathsOf(options)).toEqual(paths);
    expect(errorOf(options)?.message).toContain('inherited');
  });

  it('is read once: what was checked is what is used', () => {
    let reads = 0;
    const options = {
      ...good,
      cookie: {
        get name() {
          reads += 1;
          return reads === 1 ? 'fine' : 'a\r\nb';
        },
      },
      get onTransient() {
        return reads === 0 ? 'defer' : 'never';
      },
    } as SessionOptions;
    withSession(options);
    expect(reads).toBe(1);
  });
});

describe('an environment variable that is not set', () => {
  it('is told with all others: WorkOS', () => {
    const options = { provider: workos({ clientId: undefined, apiKey: undefined }), password: undefined };
    expect(pathsOf(options)).toEqual(['password', 'provider.apiKey', 'provider.clientId']);
  });

  it('is told with all others: OpenID Connect', () => {
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
    ['transport.cookie', { transport: { header: 'x-session', cookie: true } }],
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

  it('comes with the names that are', () => {
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

  it("is refused also when the name is the provider's", () => {
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
  ])('is not to be mistaken for: %s', (_, cookie) => {
    expect(() => withSession({ ...good, cookie, events: { configuration: () => undefined } })).not.toThrow();
  });
});

describe('a cookie without Secure', () => {
  it('is told of while the app starts, once', () => {
    const told: SessionEvents['configuration'][] = [];
    const options = {
      ...good,
      baseUrl: 'http://localhost:3000',
      cookie: { secure: false },
      events: { configuration: (event: SessionEvents['configuration']) => told.push(event) },
    };
    withSession(options);
    sessionRoutes(options);
    expect(told).toEqual([{ problem: 'insecure cookie', message: expect.stringContaining('cookie.secure') }]);
  });

  it('is warned of where nobody listens', () => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    withSession({ ...good, provider: { ...provider }, cookie: { secure: false } });
    expect(warn).toHaveBeenCalledWith(
      expect.stringContaining('localhost'),
      expect.objectContaining({ code: 'WARN_SESSION_CONFIGURATION' }),
    );
  });

  it('is nothing to tell of otherwise', () => {
    const told: unknown[] = [];
    withSession({ ...good, cookie: { secure: true }, events: { configuration: (event) => told.push(event) } });
    withSession({ ...good, events: { configuration: (event) => told.push(event) } });
    expect(told).toEqual([]);
  });
});

describe('a provider that is not whole', () => {
  const whole: Provider = { ...provider };
  const optionalMembers = ['problems', 'sealsUserInCamelCase', 'organizationOf', 'logoutUrl', 'revocationRequest'];
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

  it.each(['organizationOf', 'logoutUrl', 'revocationRequest'])(
    'is refused when an optional method is not a method: %s',
    (name) => {
      expect(messageOf({ [name]: 'https://id.example.com' })).toContain(name);
    },
  );
});

describe('the value of a secret', () => {
  const secret = 'zQ7#vX9kW2pL5sT8';
  const longSecret = `${secret}yR4nB6mJ3hG1fD0cA7eU5iO9`;

  /** Everything that a log, a debugger or an error page could show of an error. */
  function everythingIn(error: SessionConfigError | undefined): string {
    if (!error) throw new Error('These options were taken.');
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
    ['a password in a list', { password: [longSecret] }],
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
          'refresh',
          'onTransient',
          'staleSeconds',
          'cache',
          'events',
          'baseUrl',
          'loginPath',
        ].map((name) => [name, [longSecret]]),
      ),
    ],
    ['a secret under a name that is no option', { secret: longSecret, cookie: { keys: [longSecret] } }],
    ['good secrets beside a mistake', { password: longSecret, onTransient: 'never' }],
  ])('is nowhere in the error: %s', (_, options) => {
    const text = everythingIn(errorOf({ ...good, ...options }));
    for (let at = 0; at + 6 <= longSecret.length; at += 1) expect(text).not.toContain(longSecret.slice(at, at + 6));
  });

  it('is nowhere in the error when it is all there is', () => {
    expect(everythingIn(errorOf(longSecret))).not.toContain(secret.slice(0, 6));
  });
});

describe.each(frameworks)('without a call, on $name', ({ listen }) => {
  it.each([
    ['withSession', withSession],
    ['sessionRoutes', sessionRoutes],
  ])('app.use(%s) says what to write, and lets nobody in', async (name, factory) => {
    let served = 0;
    const app = await listen((each) => {
      each.use(factory as unknown as Handler);
      each.get('/', (_req, res) => {
        served += 1;
        res.end('served');
      });
    });
    open.push(app);
    const page = await createBrowser(app.url).get('/');
    expect(page).toMatchObject({ status: 500, json: { error: 'ERR_SESSION_CONFIG' } });
    expect(page.json.message).toMatch(new RegExp(`app\\.use\\(${name}\\(options\\)\\).*not app\\.use\\(${name}\\)`));
    expect(served).toBe(0);
  });
});

describe('with a provider on the wire', () => {
  let server: WorkosServer;

  beforeAll(async () => {
    server = await startWorkosServer();
  });
  afterAll(() => server.close());

  /** An app whose one route runs `handler`, on the first of the frameworks: nothing here is up to them. */
  async function serve(options: SessionOptions, handler: Handler = answerSession, more?: (app: App) => void) {
    const app = await frameworks[0]!.listen((each) => {
      each.use(withSession(options));
      more?.(each);
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
      const get = await serve(workosOptions(server, { cookie, events: { configuration: () => undefined } }), signIn);
      const { setCookies } = await get();
      expect(setCookies).toHaveLength(1);
      const [pair = '', ...written] = setCookies[0]!.split('; ');
      expect(pair).toMatch(/^[^=]+=Fe26\.2\*1\*/);
      expect(pair.split('=')[0]).toBe(name);
      expect(written.sort()).toEqual([...attributes].sort());
    });

    it('has another name by default with OpenID Connect', async () => {
      const get = await serve(
        { provider: oidc({ issuer: 'https://a.example', clientId: 'a', clientSecret: 'b' }), password },
        async (req, res) => {
          await getSession(req).signOut();
          res.end();
        },
      );
      const { setCookies } = await get();
      expect(setCookies).toEqual([expect.stringMatching(/^__Host-session=; Path=\/; Max-Age=0; HttpOnly; Secure;/)]);
    });

    it('is sealed under the highest password', async () => {
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

  it('renews from a minute ahead of the expiry, or as `windowSeconds` says', async () => {
    const { sealed } = await sealedSession(server, { lifetimeSeconds: 1_000 });
    const byDefault = await serve(workosOptions(server, { cache: false }));
    const early = await serve(workosOptions(server, { cache: false, refresh: { windowSeconds: 200 } }));
    const never = await serve(workosOptions(server, { cache: false, refresh: { windowSeconds: 0 } }));
    const renewed = async (get: (init: RequestInit) => Promise<Page>) =>
      (await get(cookieHeader(sealed))).json.refreshed;

    clock.advance(1_000 - 205);
    expect(await renewed(early)).toBe(false);
    clock.advance(205 - 65);
    expect(await renewed(byDefault)).toBe(false);
    clock.advance(65 - 40);
    expect([await renewed(never), await renewed(byDefault)]).toEqual([false, true]);
  });

  it('forgives a clock five seconds, or as many as `clockToleranceSeconds` says', async () => {
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

  it('tells the coordinator how long to remember and how long to try', async () => {
    const tickets: Partial<Ticket>[] = [];
    const coordinator: Coordinator = {
      ...memoryCoordinator(),
      refresh: (ticket) => {
        tickets.push(ticket);
        return Promise.resolve({ outcome: { kind: 'transient', reason: 'timeout' }, variant: '', source: 'leader' });
      },
    };
    const { sealed } = await sealedSession(server, expired);
    for (const refresh of [{}, { graceSeconds: 7, budgetMs: 800 }]) {
      const get = await serve(workosOptions(server, { refresh: { coordinator, ...refresh } }));
      await get(cookieHeader(sealed));
    }
    expect(tickets).toMatchObject([
      { graceMs: 60_000, budgetMs: 20_000 },
      { graceMs: 7_000, budgetMs: 800 },
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
    // Of a single place, those who come once take it from each other, but it is not a session that they take.
    expect(await askedWith({ maxSessions: 1 })).toBe(2);
  });

  it('serves old claims for five minutes with `stale`, or as long as `staleSeconds` says', async () => {
    const { accessToken, user } = await server.issueSession({ lifetimeSeconds: 100 });
    const sealed = await createSessionManager(workosOptions(server)).seal({
      accessToken,
      refreshToken: 'rt_1',
      user: { ...user },
    });
    server.token.fail(answers.unauthorized);
    const served = async (options: Partial<SessionOptions>) => {
      const get = await serve(workosOptions(server, { onTransient: 'stale', ...options }));
      return (await get(cookieHeader(sealed))).json.authenticated;
    };
    clock.advance(100 + 290);
    expect([await served({}), await served({ staleSeconds: 200 })]).toEqual([true, false]);
    clock.advance(20);
    expect([await served({}), await served({ staleSeconds: 400 })]).toEqual([false, true]);
    server.token.heal();
  });

  it('are read once: nothing that becomes of them later has an effect', async () => {
    const told: string[] = [];
    const issuer = [`${server.url}/user_management/${server.clientId}`];
    const providerOptions = { clientId: server.clientId, apiKey: server.apiKey, baseUrl: server.url, issuer };
    const permissions = ['billing:read'];
    const legacyCookies = [{ name: 'older', path: '/old' }];
    const pickUser = ['email'];
    const passwords: Record<number, string> = { 1: password };
    const options = {
      provider: workos(providerOptions),
      password: passwords,
      required: { permissions },
      property: 'session',
      cookie: { name: 'wos-session', path: '/', maxAge: 100 },
      refresh: { windowSeconds: 60, waitMs: 5_000 },
      onTransient: 'defer',
      cache: { maxSessions: 10 },
      legacyCookies,
      pickUser,
      events: { refreshed: () => told.push('before') },
    } as const;
    const get = await serve(options);

    const change = (target: object, changes: object) => Object.assign(target, changes);
    change(providerOptions, { clientId: 'client_99', apiKey: 'sk_test_99', baseUrl: 'https://evil.example' });
    issuer.splice(0, 1, 'https://evil.example');
    permissions.splice(0, 1, 'other');
    change(passwords, { 1: 'x'.repeat(32), 9: 'y'.repeat(32) });
    change(options.required, { permissions: ['other'], roles: ['other'] });
    change(options.cookie, { name: 'other', path: '/other', maxAge: 5 });
    change(legacyCookies[0]!, { name: 'wos-session', path: '/' });
    legacyCookies.push({ name: 'other', path: '/' });
    pickUser.push('locale');
    change(options.refresh, { windowSeconds: 0, waitMs: 1 });
    change(options.cache, { maxSessions: 0 });
    change(options.events, { refreshed: () => told.push('after') });
    change(options, {
      provider: undefined,
      property: 'other',
      onTransient: 'error',
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
    expect(told).toEqual(['before']);
    const { sealed: without } = await sealedSession(server, { claims: { permissions: ['other'], roles: ['other'] } });
    expect((await get(cookieHeader(without))).status).toBe(403);
  });
});
