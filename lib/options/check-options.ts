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
  refuseRequest,
  secureBaseUrl,
  text,
  textOrList,
} from '../checks.js';
import { type ConfigProblem, SessionConfigError } from '../errors.js';
import type { EventCallbacks } from '../events.js';
import { safeReturnPath } from '../http/navigation.js';
import { isRecord } from '../json.js';
import type { Provider } from '../provider/provider.js';
import { passwordCheck } from '../seal/passwords.js';
import type {
  CacheOptions,
  CookieOptions,
  LegacyCookie,
  RefreshOptions,
  Rule,
  SessionOptions,
  TransportOptions,
} from './session-options.js';

const path: Check = (value) =>
  typeof value === 'string' && value !== '' && safeReturnPath(value, '') === value
    ? undefined
    : 'must be a path of the app that begins with one slash, such as "/login".';

// A query or a fragment is no part of what a route is compared with.
const routePath: Check = (value) =>
  path(value) ?? (/[?#]/.test(String(value)) ? 'must be a path alone, without a query and a fragment.' : undefined);

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

// The seal comes and goes in it. A bearer token would be tried as a seal, and a server, proxy or browser would act on a
// seal, or keep it to itself.
const spokenFor =
  /^((accept|access-control|content|if|proxy|sec|x-forwarded)-.+|accept|authorization|cache-control|connection|cookie|date|etag|expect|forwarded|host|keep-alive|location|origin|range|referer|retry-after|set-cookie|te|trailer|transfer-encoding|upgrade|user-agent|vary|via|www-authenticate)$/i;

const header: Check = (value) =>
  cookieName(value) ??
  (spokenFor.test(String(value))
    ? 'must be a header of your own, such as "X-Session": this one means something else.'
    : undefined);

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
  domain: optional(cookieDomain),
  path: optional(cookiePath),
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
  domain: optional(cookieDomain),
  path: optional(cookiePath),
};

const transportChecks: Checks<TransportOptions> = {
  header,
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
    const message = providerProblem(value);
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
      secureBaseUrl(value) ??
      (new URL(String(value)).pathname === '/' ? undefined : 'must be an origin, without a path.'),
  ),
  loginPath: optional(routePath),
  callbackPath: optional(routePath),
  logoutPath: optional(routePath),
  afterSignIn: optional(path),
  afterSignOut: optional(path),
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
const optionalProviderMethods: (keyof Provider)[] = ['organizationOf', 'logoutUrl', 'revocationRequest'];

/** What is wrong with a provider object, as the end of a sentence that begins with "It". */
function providerProblem(value: unknown): string | undefined {
  if (!isRecord(value)) return `is not an object; ${kind(value)} was given.`;
  const missing = ['name', 'id', 'cookieName'].filter((name) => text(value[name]) !== undefined);
  if (missing.length > 0) return `must have these as strings that are not empty: ${missing.join(', ')}.`;
  // Only a listed value may allow that a refresh token is sent twice: a misspelt one could end the session.
  const refreshTokens = oneOf('single-use', 'reusable')(value.refreshTokens);
  if (refreshTokens !== undefined) return `has a wrong "refreshTokens", which ${refreshTokens}`;
  const given = optionalProviderMethods.filter((name) => value[name] !== undefined);
  return methods(value, ...providerMethods, ...given);
}

function methods(value: unknown, ...names: string[]): string | undefined {
  const missing = names.filter((name) => typeof (value as Record<string, unknown> | undefined)?.[name] !== 'function');
  return missing.length === 0 ? undefined : `must have these as methods: ${missing.join(', ')}.`;
}

/** Reads a rule, once, and says what is wrong with it. */
export function readRule(at: string, rule: unknown): { readonly given: Rule; readonly problems: ConfigProblem[] } {
  const { given, problems } = readOptions(at, rule, ruleChecks);
  // A misspelt variable would be no demand at all, and let everyone in who is signed in.
  const undemanding = Object.entries(given).filter(([, demand]) => demand === undefined);
  problems.push(...undemanding.map(([name]) => ({ path: `${at}.${name}`, message: 'must not be undefined.' })));
  return { given, problems };
}

/**
 * Reads the options, once, and checks them. What is returned is what was checked; nobody looks at the caller's objects
 * again, but for the provider and the parts with methods.
 *
 * @throws {SessionConfigError} with everything that is wrong, each by its option path
 */
export function readSessionOptions(options: unknown): SessionOptions {
  refuseRequest(options, 'withSession', 'options');
  const { given, problems } = readOptions('', options, checks);
  // Nothing can be said of the parts of what is not an object.
  if (!isRecord(options)) throw new SessionConfigError(problems);
  const isFine = (...names: string[]) => !problems.some(({ path: at }) => names.includes(at));
  function part<Value>(at: string, value: Value, partChecks: Checks<Extract<Value, object>>): Value {
    if (!isRecord(value) || !isFine(at)) return value;
    const read = readOptions(at, value, partChecks);
    problems.push(...read.problems);
    return read.given;
  }

  const { provider, required } = given;
  if (isFine('provider')) problems.push(...(provider.problems ?? []));
  const rule = isRecord(required) ? readRule('required', required) : undefined;
  problems.push(...(rule?.problems ?? []));
  // As it is: middlewares that share their callbacks tell a thing once between them.
  if (given.events && isFine('events')) problems.push(...checkOptions('events', given.events, eventChecks));
  const legacyCookies = isFine('legacyCookies')
    ? given.legacyCookies?.map((each, index) => {
        const at = `legacyCookies[${index}]`;
        const read = readOptions(at, each, legacyCookieChecks);
        problems.push(...read.problems);
        return read.given;
      })
    : undefined;
  const read: SessionOptions = {
    ...given,
    required: rule?.given ?? required,
    legacyCookies,
    transport: part('transport', given.transport, transportChecks),
    refresh: part('refresh', given.refresh, refreshChecks),
    cache: part('cache', given.cache, cacheChecks),
    cookie: part('cookie', given.cookie, cookieChecks),
  };
  if (isFine('provider', 'cookie', 'cookie.name')) problems.push(...findCookieConflicts(read));
  if (isFine(...Object.keys(routePaths(read)))) problems.push(...findSharedPaths(read));
  if (problems.length > 0) throw new SessionConfigError(problems);
  return read;
}

/** Combinations that browsers refuse without a word (RFC 6265bis sections 4.1.3 and 5.7). */
function findCookieConflicts({ cookie = {}, provider }: SessionOptions): ConfigProblem[] {
  const { name = provider.cookieName, domain, path: at = '/', secure = true, sameSite } = cookie;
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
  if (sameSite === 'none' && !secure) conflict('sameSite', 'can be "none" only with "secure".');
  return problems;
}

/** The paths of the routes, with their defaults. */
export function routePaths({
  loginPath = '/login',
  callbackPath = '/callback',
  logoutPath = '/logout',
}: SessionOptions) {
  return { loginPath, callbackPath, logoutPath };
}

function findSharedPaths(options: SessionOptions): ConfigProblem[] {
  const paths = Object.entries(routePaths(options));
  return paths.flatMap(([name, each], index) => {
    const other = paths.slice(0, index).find(([, earlier]) => earlier === each);
    const message = `is also "${other?.[0]}", and only one of them would ever run. Give each a path of its own.`;
    return other ? [{ path: name, message }] : [];
  });
}
