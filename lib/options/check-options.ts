import {
  amount,
  type Checks,
  callable,
  checkOptions,
  list,
  object,
  oneOf,
  optional,
  readOptions,
  refuseRequest,
  text,
} from '../checks.js';
import { SessionConfigError } from '../errors.js';
import type { EventCallbacks } from '../events.js';
import { fleetParts } from '../fleet/fleet.js';
import { isRecord } from '../json.js';
import { passwordCheck } from '../seal/passwords.js';
import { bearer, readBearer } from './bearer.js';
import { cookieChecks, findCookieConflicts, header, replacedCookieChecks } from './cookie-checks.js';
import { deviceChecks, findDeviceConflicts } from './device-options.js';
import { providerProblem, sealerProblem } from './provider-checks.js';
import { errorPageChecks, findRouteConflicts, routeChecks, signInChecks, signOutChecks } from './route-checks.js';
import { findUnmeetable, readRules } from './rule-checks.js';
import type {
  CacheOptions,
  LifetimeOptions,
  RefreshOptions,
  ReplacedCookie,
  SessionOptions,
  WhenUnavailable,
} from './session-options.js';
import { baseUrls, origins } from './site-checks.js';

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

const whenUnavailableChecks: Checks<Extract<WhenUnavailable, object>> = {
  staleSeconds: amount('seconds', 0, 86_400),
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
  ended: optional(callable),
  replayed: optional(callable),
  cookieMissed: optional(callable),
  deviceBound: optional(callable),
  deviceProofMissed: optional(callable),
  noticeFailed: optional(callable),
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
  bearer: optional(bearer),
  apiKeys: optional(callable),
  trustedOrigins: optional(origins),
  cacheControl: optional((value) => (value === false ? undefined : oneOf('written', 'authenticated')(value))),
  deviceBound: optional((value) => (typeof value === 'boolean' ? undefined : object(value))),
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
  const rule = isRecord(required) ? readRules('required', required) : undefined;
  problems.push(...(rule?.problems ?? []));
  if (rule?.problems.length === 0 && isFine('provider')) {
    problems.push(...findUnmeetable('required', rule.given, provider));
  }
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
  const tokens = isFine('bearer') ? readBearer(given.bearer, isFine('provider') ? provider : undefined) : undefined;
  problems.push(...(tokens?.problems ?? []));
  const read: SessionOptions = {
    ...given,
    bearer: tokens?.given,
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
    deviceBound: part('deviceBound', given.deviceBound, deviceChecks),
  };
  if (isFine('provider', 'cookie', 'cookie.name', 'cookie.secure')) {
    problems.push(...findCookieConflicts(isFine('baseUrl') ? read : { ...read, baseUrl: undefined }));
  }
  if (isFine('routes', ...Object.keys(routeChecks).map((name) => `routes.${name}`)))
    problems.push(...findRouteConflicts(read));
  if (isFine('baseUrl', 'cookie', 'routes')) problems.push(...findDeviceConflicts(read));
  if (problems.length > 0) throw new SessionConfigError(problems);
  return read;
}
