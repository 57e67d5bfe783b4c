import type { IncomingMessage } from 'node:http';

import { LRUCache } from 'lru-cache';

import {
  amount,
  bool,
  callable,
  type Check,
  type Checks,
  checkOptions,
  object,
  oneOf,
  optional,
  secureUrl,
  text,
  textOrList,
} from './checks.js';
import { type ConfigProblem, SessionConfigError } from './errors.js';
import { type Emit, emitterFor, type EventCallbacks } from './events.js';
import type { CookieSettings } from './http/cookies.js';
import type { TransportSettings } from './http/transport.js';
import { safeReturnPath } from './http/navigation.js';
import type { Provider } from './provider/provider.js';
import type { Coordinator } from './refresh/coordinator.js';
import { processCoordinator } from './refresh/memory-coordinator.js';
import type { RenewalSettings } from './refresh/renew.js';
import { aesGcmSealer } from './seal/aes-gcm.js';
import { ironSealer } from './seal/iron.js';
import { type Password, passwordCheck, type Passwords, readPasswords } from './seal/passwords.js';
import { type Sealer, type Sealing, sealing } from './seal/sealer.js';
import { type SessionPayload, snakeCasePayload, type User } from './session.js';
import type { VerifiedSession } from './token/verified-session.js';

/** What a session must have to pass. Every part that is given must hold. */
export interface Rule {
  /** All of these permissions. */
  readonly permissions?: string | readonly string[] | undefined;
  /** One of these roles. */
  readonly roles?: string | readonly string[] | undefined;
  /** All of these entitlements. */
  readonly entitlements?: string | readonly string[] | undefined;
  /** All of these feature flags. */
  readonly featureFlags?: string | readonly string[] | undefined;
  /** Signed in to one of these organizations. */
  readonly organizationId?: string | readonly string[] | undefined;
  /** Whether a visitor who opens a page is sent to sign in rather than told 401. Default: true. */
  readonly redirect?: boolean | undefined;
}

export interface CookieOptions {
  /** Default: the provider's (`wos-session` for WorkOS, `__Host-session` for OIDC). */
  readonly name?: string | undefined;
  /** Default: none, so that the cookie belongs to this host alone. */
  readonly domain?: string | undefined;
  /** Default: `/`. */
  readonly path?: string | undefined;
  /** Default: `lax`. With `strict`, the visitor seems signed out on the first page after the provider's. */
  readonly sameSite?: 'lax' | 'strict' | 'none' | undefined;
  /** Default: true. `false` is for development on localhost: any other host is refused. */
  readonly secure?: boolean | undefined;
  /** Seconds. Default and most: 34,560,000 (400 days, where browsers cut off). */
  readonly maxAge?: number | undefined;
}

/** How the seal travels where there are no cookies. */
export interface TransportOptions {
  /** The name of the request header that brings the seal, and of the response header that takes the new one back. */
  readonly header: string;
}

/** Where a cookie of an earlier set-up lies. */
export interface LegacyCookie {
  readonly name: string;
  readonly domain?: string | undefined;
  /** Default: `/`. */
  readonly path?: string | undefined;
}

export interface RefreshOptions {
  /** Refresh this long before the access token expires, or a fifth of its lifetime if that is less. Default: 60. */
  readonly windowSeconds?: number | undefined;
  /**
   * How long a request with the old cookie is given the new one, once a browser has come with the new one. Until then
   * it is kept for a quarter of an hour, for the browser to come back for. Default: 60.
   */
  readonly graceSeconds?: number | undefined;
  /**
   * Whether a request may renew a session ahead of its expiry: `false` for polls, so that they do not keep alive what
   * the provider would let end for inactivity. Default: every request may, except prefetches and `OPTIONS`.
   */
  readonly touch?: ((req: IncomingMessage) => boolean) | undefined;
  /** The longest that a request waits for a refresh, in milliseconds. Default: 5000. */
  readonly waitMs?: number | undefined;
  /** The longest that a refresh runs, in milliseconds; it goes on without the request. Default: 20000. */
  readonly budgetMs?: number | undefined;
  /** Default: one in memory, shared by every middleware of the process. */
  readonly coordinator?: Coordinator | undefined;
}

export interface CacheOptions {
  /** How many verified sessions are remembered. Default: 10,000. */
  readonly maxSessions?: number | undefined;
  /** How long at most, in seconds; never longer than the access token lives. Default: 300. */
  readonly maxSeconds?: number | undefined;
}

export interface SessionOptions {
  /** `workos(…)`, `oidc(…)` or another `Provider`. */
  readonly provider: Provider;
  /** 32 characters or more; or a map of id → password: the highest id seals, all open. */
  readonly password: Password | undefined;
  /** Makes the middleware the guard itself: `true`, or a rule as for `requireSession`. Default: false. */
  readonly required?: boolean | Rule | undefined;
  /** Where the session goes on the request. Default: `session`. */
  readonly property?: string | undefined;
  readonly cookie?: CookieOptions | undefined;
  /**
   * Cookies of an earlier set-up (another name, domain or path), removed from browsers when a cookie is written: two of
   * one name shadow each other. They are not read.
   */
  readonly legacyCookies?: readonly LegacyCookie[] | undefined;
  /** For native apps: a request header that brings the seal in place of the cookie, and takes the new one back. */
  readonly transport?: TransportOptions | undefined;
  /**
   * Which responses are kept out of caches, whatever the handler said: those with a new cookie, those for signed-in
   * visitors as well, or none. Default: `written`.
   */
  readonly cacheControl?: 'written' | 'authenticated' | false | undefined;
  /** The fields of the user that are sealed; `id` always is. Default: all. */
  readonly pickUser?: readonly string[] | undefined;
  /** A session ends this long after signing in, whatever else. Default: when the provider ends it. */
  readonly absoluteSeconds?: number | undefined;
  /** A session ends this long after the last request that `refresh.touch` counts. Default: when the provider ends it. */
  readonly idleSeconds?: number | undefined;
  /** How the cookie is written. Every known format is read. Default: `ironSealer()`. */
  readonly sealer?: Sealer | undefined;
  readonly refresh?: RefreshOptions | undefined;
  /**
   * What becomes of a request while it cannot be known whether its session is good: `defer` lets it go on, not signed
   * in (guards answer 503), `error` answers 503, `stale` serves the old claims for `staleSeconds` while the provider
   * cannot renew them (while its keys cannot be had it is `defer`: nothing unverified is served). Default: `defer`.
   */
  readonly onTransient?: 'defer' | 'error' | 'stale' | undefined;
  /** How long after their expiry the old claims serve, with `onTransient: 'stale'`. Default: 300. */
  readonly staleSeconds?: number | undefined;
  /** How far the provider's clock may be off, for `exp` and `nbf`. Default: 5. */
  readonly clockToleranceSeconds?: number | undefined;
  /** Verified sessions remembered in memory; `false` turns it off. */
  readonly cache?: false | CacheOptions | undefined;
  readonly events?: EventCallbacks | undefined;

  /** The app's own origin, such as `https://app.example.com`. Required by `sessionRoutes`; never read from a request. */
  readonly baseUrl?: string | undefined;
  /** Default: `/login`. */
  readonly loginPath?: string | undefined;
  /** Default: `/callback`. To be registered with the provider as `baseUrl` + `callbackPath`. */
  readonly callbackPath?: string | undefined;
  /** Default: `/logout`. */
  readonly logoutPath?: string | undefined;
  /** Where a visitor goes who signed in without asking for a page. Default: `/`. */
  readonly afterSignIn?: string | undefined;
  /** Where a visitor goes after signing out. Default: `/`. */
  readonly afterSignOut?: string | undefined;
}

/** The options, checked, with every default in its place. Nobody looks at the caller's object again. */
export interface Config {
  readonly provider: Provider;
  readonly passwords: Passwords;
  readonly required: Rule | undefined;
  readonly property: string;
  readonly transport: TransportSettings;
  readonly absoluteMs: number;
  readonly idleMs: number;
  readonly shape: (payload: SessionPayload) => SessionPayload;
  readonly sealer: Sealer;
  readonly sealers: readonly Sealer[];
  readonly coordinator: Coordinator;
  readonly renewal: RenewalSettings;
  readonly windowMs: number;
  readonly touch: (req: IncomingMessage) => boolean;
  readonly onTransient: 'defer' | 'error' | 'stale';
  readonly staleMs: number;
  readonly clockToleranceSeconds: number;
  readonly verified: LRUCache<string, VerifiedSession> | undefined;
  readonly verifiedMs: number;
  readonly emit: Emit;
  readonly routes: {
    readonly baseUrl: string | undefined;
    readonly loginPath: string;
    readonly callbackPath: string;
    readonly logoutPath: string;
    readonly afterSignIn: string;
    readonly afterSignOut: string;
  };
}

const path: Check = (value) =>
  typeof value === 'string' && value !== '' && safeReturnPath(value, '') === value
    ? undefined
    : 'must be a path of the app that begins with one slash, such as "/login".';

// Cookies and headers are named by the same rule (RFC 6265 section 4.1.1, RFC 9110 section 5.6.2).
const cookieName: Check = (value) =>
  typeof value === 'string' && /^[\w!#$%&'*+\-.^`|~]+$/.test(value)
    ? undefined
    : "must be a name of letters, digits and !#$%&'*+-.^_`|~.";

const cookieAttribute: Check = (value) =>
  typeof value === 'string' && /^[\x21-\x3a\x3c-\x7e]+$/.test(value)
    ? undefined
    : 'must be a string without spaces, semicolons and control characters.';

const ruleChecks: Checks<Rule> = {
  permissions: optional(textOrList),
  roles: optional(textOrList),
  entitlements: optional(textOrList),
  featureFlags: optional(textOrList),
  organizationId: optional(textOrList),
  redirect: optional(bool),
};

const cookieChecks: Checks<CookieOptions> = {
  name: optional(cookieName),
  domain: optional(cookieAttribute),
  path: optional(cookieAttribute),
  sameSite: optional(oneOf('lax', 'strict', 'none')),
  secure: optional(bool),
  maxAge: optional(amount('seconds', 1, Infinity)),
};

const refreshChecks: Checks<RefreshOptions> = {
  windowSeconds: optional(amount('seconds', 0, 86_400)),
  graceSeconds: optional(amount('seconds', 0, 3_600)),
  waitMs: optional(amount('milliseconds', 1, 600_000)),
  budgetMs: optional(amount('milliseconds', 1, 600_000)),
  touch: optional(callable),
  coordinator: optional((value) => methods(value, 'refresh', 'claim', 'successorOf', 'end', 'hasEnded')),
};

const legacyCookieChecks: Checks<LegacyCookie> = {
  name: cookieName,
  domain: optional(cookieAttribute),
  path: optional(cookieAttribute),
};

const transportChecks: Checks<TransportOptions> = {
  header: cookieName,
};

const cacheChecks: Checks<CacheOptions> = {
  maxSessions: optional(amount('sessions', 1, 10_000_000)),
  maxSeconds: optional(amount('seconds', 1, 86_400)),
};

const eventChecks: Checks<EventCallbacks> = {
  refreshed: optional(callable),
  refreshFailed: optional(callable),
  rejected: optional(callable),
  coordination: optional(callable),
  written: optional(callable),
  oldPassword: optional(callable),
  configuration: optional(callable),
  signedIn: optional(callable),
  signedOut: optional(callable),
};

const checks: Checks<SessionOptions> = {
  provider: (value) => {
    const { name, id, cookieName: ownName, reuse } = (value ?? {}) as Partial<Record<keyof Provider, unknown>>;
    const message = [name, id, ownName, reuse].every((each) => typeof each === 'string' && each !== '')
      ? methods(value, ...providerMethods)
      : 'must have "name", "id", "cookieName" and "reuse".';
    return message && `must be workos({ … }), oidc({ … }) or another Provider. It ${message}`;
  },
  password: passwordCheck,
  required: optional((value) => (typeof value === 'boolean' ? undefined : object(value))),
  property: optional(text),
  cookie: optional(object),
  legacyCookies: optional((value) => (Array.isArray(value) ? undefined : 'must be a list of { name, domain, path }.')),
  transport: optional(object),
  cacheControl: optional((value) => (value === false ? undefined : oneOf('written', 'authenticated')(value))),
  pickUser: optional((value) =>
    Array.isArray(value) && value.every((item) => text(item) === undefined)
      ? undefined
      : 'must be a list of field names.',
  ),
  absoluteSeconds: optional(amount('seconds', 1, Infinity)),
  idleSeconds: optional(amount('seconds', 60, Infinity)),
  sealer: optional((value) => methods(value, 'recognises', 'open', 'seal')),
  refresh: optional(object),
  onTransient: optional(oneOf('defer', 'error', 'stale')),
  staleSeconds: optional(amount('seconds', 0, 86_400)),
  clockToleranceSeconds: optional(amount('seconds', 0, 300)),
  cache: optional((value) => (value === false ? undefined : object(value))),
  events: optional(object),
  baseUrl: optional(
    (value) =>
      secureUrl(value) ??
      (new URL(String(value)).pathname + new URL(String(value)).search === '/'
        ? undefined
        : 'must be an origin, without a path.'),
  ),
  loginPath: optional(path),
  callbackPath: optional(path),
  logoutPath: optional(path),
  afterSignIn: optional(path),
  afterSignOut: optional(path),
};

const providerMethods: (keyof Provider)[] = [
  'isOpaque',
  'accessTokenRules',
  'organizationOf',
  'refreshRequest',
  'readRefresh',
  'terminalReason',
  'authorizationUrl',
  'codeRequest',
  'readSignIn',
  'logoutUrl',
];

function methods(value: unknown, ...names: string[]): string | undefined {
  const missing = names.filter((name) => typeof (value as Record<string, unknown> | undefined)?.[name] !== 'function');
  return missing.length === 0 ? undefined : `must have the methods: ${names.join(', ')}.`;
}

/** What is wrong with a rule, by option path. */
export function checkRule(at: string, rule: unknown): ConfigProblem[] {
  const problems = checkOptions(at, rule, ruleChecks);
  if (typeof rule !== 'object' || rule === null) return problems;
  // A misspelt variable would be no demand at all, and let everyone in who is signed in.
  const undemanding = Object.entries(rule).filter(([, demand]) => demand === undefined);
  return [...problems, ...undemanding.map(([name]) => ({ path: `${at}.${name}`, message: 'must not be undefined.' }))];
}

/**
 * Checks the options and fills in the defaults.
 *
 * @throws {SessionConfigError} with everything that is wrong, each by its option path
 */
export function resolveOptions(options: SessionOptions): Config {
  const problems = findProblems(options);
  if (problems.length > 0) throw new SessionConfigError(problems);

  const { provider, password = '', refresh = {}, cache = {}, required } = options;
  const passwords = readPasswords(password);
  const sealer = options.sealer ?? ironSealer();
  const coordinator = refresh.coordinator ?? processCoordinator;
  const { maxSessions = 10_000, maxSeconds = 300 } = cache || {};
  const emit = emitterFor(options.events, provider);
  const absoluteMs = (options.absoluteSeconds ?? Infinity) * 1000;
  const idleMs = (options.idleSeconds ?? Infinity) * 1000;
  const pickUser = userPicker(options.pickUser);
  const shape = (payload: SessionPayload) => stamp(pickUser(payload), absoluteMs, idleMs);
  coordinator.onScope?.(scopeListener(emit));

  return Object.freeze({
    provider,
    passwords,
    required: typeof required === 'object' ? required : required ? {} : undefined,
    property: options.property ?? 'session',
    transport: {
      cookie: resolveCookie(options),
      legacyCookies: (options.legacyCookies ?? []).map(({ name, domain, path: at = '/' }) => ({
        name,
        domain,
        path: at,
      })),
      header: options.transport?.header.toLowerCase(),
      cacheControl: options.cacheControl ?? 'written',
      tellCached: () => {
        emit('configuration', { problem: 'cache-control', message: cachedMessage });
      },
    },
    absoluteMs,
    idleMs,
    shape,
    sealer,
    sealers: [sealer, ironSealer(), aesGcmSealer()],
    coordinator,
    renewal: {
      provider,
      coordinator,
      graceMs: (refresh.graceSeconds ?? 60) * 1000,
      waitMs: refresh.waitMs ?? 5_000,
      budgetMs: refresh.budgetMs ?? 20_000,
      shape,
      ...sessionSealing(sealer, passwords, provider),
    },
    touch: refresh.touch ?? (() => true),
    windowMs: (refresh.windowSeconds ?? 60) * 1000,
    onTransient: options.onTransient ?? 'defer',
    staleMs: (options.staleSeconds ?? 300) * 1000,
    clockToleranceSeconds: options.clockToleranceSeconds ?? 5,
    verified: cache ? new LRUCache({ max: maxSessions }) : undefined,
    verifiedMs: maxSeconds * 1000,
    emit,
    routes: {
      baseUrl: options.baseUrl === undefined ? undefined : new URL(options.baseUrl).origin,
      loginPath: options.loginPath ?? '/login',
      callbackPath: options.callbackPath ?? '/callback',
      logoutPath: options.logoutPath ?? '/logout',
      afterSignIn: options.afterSignIn ?? '/',
      afterSignOut: options.afterSignOut ?? '/',
    },
  } satisfies Config);
}

/** Seals sessions, with the field names of those who read the seals. */
export function sessionSealing(
  sealer: Sealer,
  passwords: Passwords,
  { camelCaseUser }: Provider,
): Sealing<SessionPayload> {
  const { sealedUnder, seal } = sealing(sealer, passwords);
  if (sealer.fields !== 'snake_case') return { sealedUnder, seal };
  return { sealedUnder, seal: (payload) => seal(snakeCasePayload(payload, camelCaseUser)) };
}

const maxCookieAge = 34_560_000;

const cachedMessage =
  'A handler meant a response that carries a session for shared caches (Cache-Control: public or s-maxage). It was ' +
  'sent as "private, no-store": a cache would have handed the session to somebody else.';

/** Keeps the wanted fields of the user. The session in memory and the one in the cookie are to be the same. */
function userPicker(fields: readonly string[] | undefined): (payload: SessionPayload) => SessionPayload {
  if (fields === undefined) return (payload) => payload;
  const wanted = new Set(['id', ...fields]);
  return (payload) => {
    if (!payload.user) return payload;
    const picked = Object.entries(payload.user).filter(([field]) => wanted.has(field));
    return { ...payload, user: Object.fromEntries(picked) as unknown as User };
  };
}

const scopeListeners = new WeakMap<Emit, (scope: 'process' | 'fleet') => void>();

/** One listener for each emitter: what several middlewares share is told once. */
function scopeListener(emit: Emit): (scope: 'process' | 'fleet') => void {
  const listener =
    scopeListeners.get(emit) ??
    ((scope) => {
      emit('coordination', { scope });
    });
  scopeListeners.set(emit, listener);
  return listener;
}

/** Where a lifetime is limited, notes when the session began and was last used, unless that is known. */
function stamp(payload: SessionPayload, absoluteMs: number, idleMs: number): SessionPayload {
  const now = Math.trunc(Date.now() / 1000);
  return {
    ...payload,
    ...(absoluteMs < Infinity && { startedAt: payload.startedAt ?? now }),
    ...(idleMs < Infinity && { usedAt: payload.usedAt ?? now }),
  };
}

function resolveCookie({ cookie = {}, provider, absoluteSeconds = Infinity }: SessionOptions): CookieSettings {
  return {
    name: cookie.name ?? provider.cookieName,
    domain: cookie.domain,
    path: cookie.path ?? '/',
    sameSite: cookie.sameSite ?? 'lax',
    secure: cookie.secure ?? true,
    maxAge: Math.trunc(Math.min(cookie.maxAge ?? maxCookieAge, absoluteSeconds, maxCookieAge)),
  };
}

function findProblems(options: SessionOptions): ConfigProblem[] {
  if (typeof (options as { socket?: unknown } | undefined)?.socket === 'object') {
    return [
      { path: 'options', message: 'is a request. Write app.use(withSession(options)), not app.use(withSession).' },
    ];
  }
  const problems = checkOptions('', options, checks);
  // Nothing can be said of the parts of what is not an object.
  if (problems.some(({ path: at }) => at === 'options')) return problems;
  const isFine = (name: string) => !problems.some(({ path: at }) => at === name);
  const { provider, required, cookie, legacyCookies, transport, refresh, cache, events } = options;

  if (isFine('provider')) problems.push(...(provider.problems ?? []));
  if (typeof required === 'object' && isFine('required')) problems.push(...checkRule('required', required));
  if (refresh && isFine('refresh')) problems.push(...checkOptions('refresh', refresh, refreshChecks));
  if (cache && isFine('cache')) problems.push(...checkOptions('cache', cache, cacheChecks));
  if (transport && isFine('transport')) problems.push(...checkOptions('transport', transport, transportChecks));
  if (legacyCookies && isFine('legacyCookies')) {
    legacyCookies.forEach((each, index) => {
      problems.push(...checkOptions(`legacyCookies[${index}]`, each, legacyCookieChecks));
    });
  }
  if (events && isFine('events')) problems.push(...checkOptions('events', events, eventChecks));
  if (isFine('cookie')) {
    problems.push(...checkOptions('cookie', cookie ?? {}, cookieChecks));
    if (isFine('provider') && isFine('cookie.name')) problems.push(...findCookieConflicts(resolveCookie(options)));
  }
  return problems;
}

/** Combinations that browsers refuse without a word (RFC 6265bis sections 4.1.3 and 5.7). */
function findCookieConflicts({ name, domain, path: cookiePath, secure, sameSite }: CookieSettings): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const conflict = (at: string, message: string) => problems.push({ path: `cookie.${at}`, message });
  if (name.toLowerCase().startsWith('__host-')) {
    if (domain !== undefined)
      conflict('domain', 'cannot be set for a "__Host-" cookie. Leave it out, or set another "cookie.name".');
    if (cookiePath !== '/') conflict('path', 'must be "/" for a "__Host-" cookie.');
  }
  if (/^__(host|secure)-/i.test(name) && !secure) {
    conflict('secure', `cannot be false for a cookie whose name begins with "__". Set another "cookie.name" as well.`);
  }
  if (sameSite === 'none' && !secure) conflict('sameSite', 'can be "none" only with "secure".');
  return problems;
}
