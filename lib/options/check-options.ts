import {
  amount,
  bool,
  callable,
  type Check,
  type Checks,
  checkOptions,
  kind,
  object,
  oneOf,
  optional,
  readOptions,
  isLoopback,
  list,
  refuseRequest,
  text,
  textOrList,
} from '../checks.js';
import { type ConfigProblem, SessionConfigError } from '../errors.js';
import type { EventCallbacks } from '../events.js';
import { safeReturnPath } from '../http/navigation.js';
import { basePathOf } from '../http/site.js';
import type { Provider } from '../provider/provider.js';
import { passwordCheck } from '../seal/passwords.js';
import { fleetParts } from '../fleet/fleet.js';
import { isRecord } from '../json.js';
import { baseUrls, forwardable } from './site-checks.js';
import type {
  CacheOptions,
  CookieOptions,
  ErrorPageWords,
  GuardOptions,
  LifetimeOptions,
  RefreshOptions,
  ReplacedCookie,
  RouteOptions,
  Rule,
  SessionOptions,
  SignInOptions,
  SignOutOptions,
  WhenUnavailable,
} from './session-options.js';

const path: Check = (value) =>
  typeof value === 'string' && value !== '' && safeReturnPath(value, '') === value
    ? undefined
    : 'must be a path of the app that begins with one slash, such as "/login".';

const pathAlone: Check = (value) =>
  /[?#]/.test(String(value)) ? 'must be a path alone, without a query and a fragment.' : undefined;

// A request's path is compared without its query, so a path with one would never match.
const routePath: Check = (value) => {
  if (typeof value === 'boolean') return undefined;
  const message = path(value);
  if (message !== undefined) return `${message.slice(0, -1)}; or true for the usual one, or false for none.`;
  return pathAlone(value);
};

// Cookies and headers are named by the same rule (RFC 6265 section 4.1.1, RFC 9110 section 5.6.2).
const cookieName: Check = (value) =>
  typeof value === 'string' && /^[\w!#$%&'*+\-.^`|~]+$/.test(value)
    ? undefined
    : "must be a name of letters, digits and !#$%&'*+-.^_`|~.";

const cookieDomain: Check = (value) =>
  typeof value === 'string' &&
  /^(?=\.?.{1,253}$)\.?[a-z\d]([a-z\d-]{0,61}[a-z\d])?(\.[a-z\d]([a-z\d-]{0,61}[a-z\d])?)*$/i.test(value)
    ? undefined
    : 'must be the name of a host, such as "example.com": without scheme, port and path.';

// RFC 6265 section 5.2.4: a browser takes a path that does not begin with a slash for none.
const cookiePath: Check = (value) =>
  typeof value === 'string' && /^\/[\x21-\x3a\x3c-\x7e]*$/.test(value)
    ? undefined
    : 'must begin with a slash, and have no spaces, semicolons and control characters.';

// The seal would be taken for what these headers mean: servers, proxies and browsers act on them, or drop them.
const reservedHeaders =
  /^((accept|access-control|content|if|proxy|sec|x-forwarded)-.+|accept|authorization|cache-control|connection|cookie|date|etag|expect|forwarded|host|keep-alive|location|origin|range|referer|retry-after|set-cookie|te|trailer|transfer-encoding|upgrade|user-agent|vary|via|www-authenticate)$/i;

const header: Check = (value) =>
  cookieName(value) ??
  (reservedHeaders.test(String(value))
    ? 'must be a header of your own, such as "X-Session": this one means something else.'
    : undefined);

// Spread, because `every` skips the holes of a list: all of nothing would be met by every session.
const listOfTexts = (value: unknown) =>
  Array.isArray(value) && value.length > 0 && [...(value as unknown[])].every((item) => text(item) === undefined);

const wanted: Check = (value) => {
  if (text(value) === undefined) return undefined;
  if (isRecord(value)) {
    const [name, ...others] = Object.keys(value);
    if (others.length === 0 && (name === 'all' || name === 'any') && listOfTexts(value[name])) return undefined;
  }
  return 'must be one value, { all: [...] } or { any: [...] }: a bare list does not say which of the two it means.';
};

const ruleChecks: Checks<Rule> = {
  permissions: optional(wanted),
  roles: optional(wanted),
  entitlements: optional(wanted),
  featureFlags: optional(wanted),
  organizationId: optional(textOrList),
};

const guardChecks: Checks<GuardOptions> = {
  redirect: optional(bool),
};

const cookieChecks: Checks<CookieOptions> = {
  name: optional(cookieName),
  domain: optional(cookieDomain),
  path: optional(cookiePath),
  sameSite: optional(oneOf('lax', 'strict', 'none')),
  secure: optional(bool),
  maxAge: optional((value) => (value === false ? undefined : amount('seconds', 1, Infinity)(value))),
  partitioned: optional(bool),
  priority: optional(oneOf('low', 'medium', 'high')),
  replaces: optional(list('{ name, domain, path }')),
};

const lifetimeChecks: Checks<LifetimeOptions> = {
  absoluteSeconds: optional(amount('seconds', 1, Infinity)),
  idleSeconds: optional(amount('seconds', 60, Infinity)),
  isActivity: optional(callable),
};

const refreshChecks: Checks<RefreshOptions> = {
  aheadSeconds: optional(amount('seconds', 0, 86_400)),
  graceSeconds: optional(amount('seconds', 0, 3_600)),
  waitMs: optional(amount('milliseconds', 1, 600_000)),
  timeoutMs: optional(amount('milliseconds', 1, 600_000)),
  replay: optional(oneOf('report', 'revoke')),
};

const routeChecks: Checks<RouteOptions> = {
  base: optional((value) => path(value) ?? pathAlone(value)),
  login: optional(routePath),
  callback: optional(routePath),
  logout: optional(routePath),
  signUp: optional(routePath),
  session: optional(routePath),
};

const signInChecks: Checks<SignInOptions> = {
  returnTo: optional(path),
  forwardParameters: optional(forwardable),
  silent: optional(bool),
  errorPage: optional((value) => (value === false ? undefined : object(value))),
};

const errorPageChecks: Checks<ErrorPageWords> = {
  lang: optional(text),
  title: optional(text),
  text: optional(text),
  retry: optional(text),
};

const someOf =
  (...choices: string[]): Check =>
  (value) =>
    listOfTexts(value) && (value as string[]).every((each) => choices.includes(each))
      ? undefined
      : `must be a list of one or more of ${choices.map((choice) => `"${choice}"`).join(', ')}.`;

const signOutChecks: Checks<SignOutOptions> = {
  returnTo: optional(path),
  methods: optional(someOf('GET', 'POST')),
  clearSiteData: optional(someOf('cache', 'storage')),
};

const whenUnavailableChecks: Checks<Extract<WhenUnavailable, object>> = {
  staleSeconds: amount('seconds', 0, 86_400),
};

const replacedCookieChecks: Checks<ReplacedCookie> = {
  name: cookieName,
  domain: optional(cookieDomain),
  path: optional(cookiePath),
};

const cacheChecks: Checks<CacheOptions> = {
  maxSessions: optional(amount('sessions', 1, 10_000_000)),
  maxSeconds: optional(amount('seconds', 1, 86_400)),
};

const eventChecks: Checks<EventCallbacks> = {
  refreshed: optional(callable),
  refreshFailed: optional(callable),
  rejected: optional(callable),
  fleetChanged: optional(callable),
  written: optional(callable),
  oldPasswordUsed: optional(callable),
  misconfigured: optional(callable),
  signedIn: optional(callable),
  signInFailed: optional(callable),
  signedOut: optional(callable),
  replayed: optional(callable),
};

const checks: Checks<SessionOptions> = {
  provider: (value) => {
    const message = providerProblem(value);
    return message && `must be workos({ … }), oidc({ … }) or another Provider. It ${message}`;
  },
  password: passwordCheck,
  baseUrl: optional(baseUrls),
  required: optional((value) => (typeof value === 'boolean' ? undefined : object(value))),
  property: optional(text),
  userFields: optional(list('field names', text)),
  onSignIn: optional(callable),
  routes: optional(object),
  signIn: optional(object),
  signOut: optional(object),
  cookie: optional(object),
  header: optional(header),
  cacheControl: optional((value) => (value === false ? undefined : oneOf('written', 'authenticated')(value))),
  lifetime: optional(object),
  refresh: optional(object),
  whenUnavailable: optional((value) =>
    value === 'continue' || value === 'refuse' || isRecord(value)
      ? undefined
      : 'must be "continue", "refuse" or { staleSeconds }.',
  ),
  clockToleranceSeconds: optional(amount('seconds', 0, 300)),
  fleet: optional((value) =>
    fleetParts(value) ? undefined : 'must be redisFleet({ … }) of "express-sealed-session/redis".',
  ),
  cache: optional((value) => (value === false ? undefined : object(value))),
  sealer: optional(sealerProblem),
  events: optional(object),
};

const providerMethods: (keyof Provider)[] = [
  'accessToken',
  'authorizationUrl',
  'codeRequest',
  'readSignIn',
  'refreshRequest',
  'readRefresh',
  'terminalReason',
];
const optionalProviderMethods: (keyof Provider)[] = [
  'organizationOf',
  'logoutUrl',
  'revocationRequest',
  'mapClaims',
  'onMisconfigured',
];

/** What is wrong with a provider object, as the end of a sentence that begins with "It". */
function providerProblem(value: unknown): string | undefined {
  if (!isRecord(value)) return `is not an object; ${kind(value)} was given.`;
  const missing = ['name', 'id', 'cookieName'].filter((name) => text(value[name]) !== undefined);
  if (missing.length > 0) return `must have these as strings that are not empty: ${missing.join(', ')}.`;
  // Only a listed value may allow that a refresh token is sent twice: a misspelt one could end the session.
  const refreshTokens = oneOf('single-use', 'reusable')(value.refreshTokens);
  if (refreshTokens !== undefined) return `has a wrong "refreshTokens", which ${refreshTokens}`;
  const sealer = optional(sealerProblem)(value.sealer);
  if (sealer !== undefined) return `has a wrong "sealer", which ${sealer}`;
  const given = optionalProviderMethods.filter((name) => value[name] !== undefined);
  return methods(value, ...providerMethods, ...given);
}

function sealerProblem(value: unknown): string | undefined {
  return methods(value, 'recognises', 'open', 'seal');
}

function methods(value: unknown, ...names: string[]): string | undefined {
  const missing = names.filter((name) => typeof (value as Record<string, unknown> | undefined)?.[name] !== 'function');
  return missing.length === 0 ? undefined : `must have these as methods: ${missing.join(', ')}.`;
}

/** Reads a rule, once, and says what is wrong with it. */
export function readRule(at: string, rule: unknown): { readonly given: Rule; readonly problems: ConfigProblem[] } {
  const { given, problems } = readOptions(at, rule, ruleChecks);
  // A misspelt variable would be no demand at all, and let every signed-in visitor pass.
  const undemanding = Object.entries(given).filter(([, demand]) => demand === undefined);
  problems.push(...undemanding.map(([name]) => ({ path: `${at}.${name}`, message: 'must not be undefined.' })));
  // A copy of the lists too: the caller's later changes are not what was checked.
  return { given: problems.length > 0 ? given : structuredClone(given), problems };
}

/** Reads how a guard answers, once, and says what is wrong with it. */
export function readGuardOptions(options: unknown) {
  return readOptions<GuardOptions>('options', options, guardChecks);
}

/**
 * Reads the options, once, and checks them. The result is what was checked: no code reads the caller's objects again,
 * except the provider and the parts with methods.
 *
 * @throws {SessionConfigError} with everything that is wrong, each by its option path
 */
export function readSessionOptions(options: unknown, name: string): SessionOptions {
  refuseRequest(options, name, 'options');
  const { given, problems } = readOptions<SessionOptions>('', options, checks);
  if (!isRecord(options)) throw new SessionConfigError(problems);
  const isFine = (...names: string[]) => !problems.some(({ path: at }) => names.includes(at));
  function part<Value>(at: string, value: Value, partChecks: Checks<Extract<Value, object>>): Value {
    if (!isRecord(value) || !isFine(at)) return value;
    const read = readOptions<Extract<Value, object>>(at, value, partChecks);
    problems.push(...read.problems);
    return read.given;
  }

  const { provider, required } = given;
  if (isFine('provider')) problems.push(...(provider.problems ?? []));
  const rule = isRecord(required) ? readRule('required', required) : undefined;
  problems.push(...(rule?.problems ?? []));
  // Kept as the same object: instances that share their callbacks report a misconfiguration once between them.
  if (given.events && isFine('events')) problems.push(...checkOptions('events', given.events, eventChecks));
  const cookie = part('cookie', given.cookie, cookieChecks);
  const replaces = isFine('cookie', 'cookie.replaces')
    ? cookie?.replaces?.map((each, index) => {
        const read = readOptions<ReplacedCookie>(`cookie.replaces[${index}]`, each, replacedCookieChecks);
        problems.push(...read.problems);
        return read.given;
      })
    : undefined;
  const read: SessionOptions = {
    ...given,
    required: rule?.given ?? required,
    routes: part('routes', given.routes, routeChecks),
    signIn: part('signIn', given.signIn, signInChecks) && {
      ...given.signIn,
      errorPage: part('signIn.errorPage', given.signIn?.errorPage, errorPageChecks),
    },
    signOut: part('signOut', given.signOut, signOutChecks),
    cookie: cookie && { ...cookie, replaces },
    lifetime: part('lifetime', given.lifetime, lifetimeChecks),
    refresh: part('refresh', given.refresh, refreshChecks),
    whenUnavailable: part('whenUnavailable', given.whenUnavailable, whenUnavailableChecks),
    cache: part('cache', given.cache, cacheChecks),
  };
  if (isFine('provider', 'cookie', 'cookie.name', 'cookie.secure')) {
    problems.push(...findCookieConflicts(isFine('baseUrl') ? read : { ...read, baseUrl: undefined }));
  }
  if (isFine('routes', ...Object.keys(routeChecks).map((name) => `routes.${name}`)))
    problems.push(...findRouteConflicts(read));
  if (problems.length > 0) throw new SessionConfigError(problems);
  return read;
}

/** Where browsers find the app: the first counts for what all of them share. */
export function firstBaseUrl({ baseUrl }: Pick<SessionOptions, 'baseUrl'>): string | undefined {
  return typeof baseUrl === 'string' ? baseUrl : baseUrl?.[0];
}

/** Whether the cookie has `Secure`: as `baseUrl` is reached, unless said otherwise. */
export function isCookieSecure({ cookie = {}, baseUrl }: Pick<SessionOptions, 'baseUrl' | 'cookie'>): boolean {
  const first = firstBaseUrl({ baseUrl });
  return cookie.secure ?? (first === undefined || new URL(first).protocol === 'https:');
}

/**
 * The cookie's name. Browsers take a name with a prefix for `Secure` cookies only, so without it the prefix goes. Two
 * apps on one host would sign each other out under one name, so it carries the path of `baseUrl`.
 */
export function cookieNameOf(options: Pick<SessionOptions, 'baseUrl' | 'cookie' | 'provider'>): string {
  const { cookie = {}, provider } = options;
  if (cookie.name !== undefined) return cookie.name;
  const own = isCookieSecure(options) ? provider.cookieName : provider.cookieName.replace(/^__(Host|Secure)-/i, '');
  return [
    own,
    ...basePathOf(firstBaseUrl(options) ?? '')
      .split('/')
      .slice(1),
  ]
    .map((part, index) => (index === 0 ? part : encodeURIComponent(decodeURIComponent(part)).replace(/[.()]/g, '-')))
    .join('-');
}

/** Combinations that browsers refuse without a word (RFC 6265bis sections 4.1.3 and 5.7). */
function findCookieConflicts(options: SessionOptions): ConfigProblem[] {
  const { cookie = {} } = options;
  const baseUrl = firstBaseUrl(options);
  const { domain, path: at = '/', sameSite } = cookie;
  const name = cookieNameOf(options);
  const secure = isCookieSecure(options);
  const problems: ConfigProblem[] = [];
  const conflict = (part: keyof CookieOptions, message: string) => problems.push({ path: `cookie.${part}`, message });
  if (name.toLowerCase().startsWith('__host-')) {
    if (domain !== undefined)
      conflict('domain', 'cannot be set for a "__Host-" cookie. Leave it out, or set another "cookie.name".');
    if (at !== '/') conflict('path', 'must be "/" for a "__Host-" cookie.');
  }
  if (/^__(host|secure)-/i.test(name) && !secure) {
    conflict('secure', `cannot be false for a cookie whose name begins with "__". Set another "cookie.name" as well.`);
  }
  if (cookie.partitioned === true && !secure) conflict('partitioned', 'can be true only with "secure".');
  if (sameSite === 'none' && !secure) conflict('sameSite', 'can be "none" only with "secure".');
  if (cookie.secure === false && baseUrl !== undefined && !isLoopback(new URL(baseUrl).hostname)) {
    conflict('secure', 'can be false only where "baseUrl" is on localhost, 127.0.0.1 or [::1]. Leave it out.');
  }
  return problems;
}

/** The paths of the routes that are switched on, with their defaults. */
export function routePaths(routes: RouteOptions = {}) {
  const { login = true, callback = true, logout = true, signUp = false, session = false } = routes;
  const pathOf = (given: string | boolean, usual: string) =>
    typeof given === 'string' ? given : given ? usual : undefined;
  return {
    login: pathOf(login, '/login'),
    callback: pathOf(callback, '/callback'),
    logout: pathOf(logout, '/logout'),
    signUp: pathOf(signUp, '/signup'),
    session: pathOf(session, '/session'),
  };
}

function findRouteConflicts({ routes }: SessionOptions): ConfigProblem[] {
  const paths = Object.entries(routePaths(routes)).filter(([, each]) => each !== undefined);
  const problems = paths.flatMap(([name, each], index) => {
    const other = paths.slice(0, index).find(([, earlier]) => earlier === each);
    const message = `is also "routes.${other?.[0]}", and only one of them would ever run. Give each a path of its own.`;
    return other ? [{ path: `routes.${name}`, message }] : [];
  });
  const { login, signUp, callback } = routePaths(routes);
  if ((login ?? signUp) !== undefined && callback === undefined) {
    const message = 'cannot be false where "routes.login" or "routes.signUp" is on: every sign-in would end there.';
    problems.push({ path: 'routes.callback', message });
  }
  return problems;
}
