import type { IncomingMessage } from 'node:http';

import { emitterFor } from '../emitter.js';
import type { Emit, SessionEvents } from '../events.js';
import { type Fleet, type FleetParts, fleetParts } from '../fleet/fleet.js';
import { processFleet } from '../fleet/process-fleet.js';
import type { CarrierSettings } from '../http/carrier.js';
import type { CookieSettings } from '../http/cookies.js';
import { type CrossOriginCheck, crossOriginCheck } from '../http/origin.js';
import { createSite, type Site } from '../http/site.js';
import type { Provider } from '../provider/provider.js';
import type { RefreshSettings } from '../refresh/refresh.js';
import { rubySealer } from '../seal/aes-gcm.js';
import { compactSealer } from '../seal/compact.js';
import { ironSealer } from '../seal/iron.js';
import { type Password, type Passwords, readPasswords } from '../seal/passwords.js';
import { type Sealer, type Sealing, sealing } from '../seal/sealer.js';
import { bindingOf } from '../session/binding.js';
import { snakeCasePayload } from '../session/codec.js';
import type { Lifetimes, SessionPayload, User } from '../session/payload.js';
import { type VerifiedSessions, verifiedSessions } from '../session/verified-sessions.js';
import { readSessionOptions } from './check-options.js';
import type { BearerRules } from '../token/bearer-token.js';
import type { ApiKeyLookup } from './bearer.js';
import { cookieNameOf, isCookieSecure } from './cookie-checks.js';
import { type DeviceSettings, resolveDevice } from './device-options.js';
import { routePaths } from './route-checks.js';
import type { Rules } from './rule.js';
import type { LifetimeOptions, SessionOptions, SignInHook, SignInOptions } from './session-options.js';
import { processWide } from '../process-wide.js';

/** How seals are opened and made. */
export interface SealSettings {
  readonly passwords: Passwords;
  readonly sealers: readonly Sealer[];
  /** How sessions are sealed: the first password, or another one that a caller gives. */
  readonly sealingUnder: (password?: Password) => Sealing<SessionPayload>;
}

/** What the life of a session needs to know. */
export interface LifeSettings {
  readonly provider: Provider;
  readonly seals: SealSettings;
  /** What the seals of these sessions are bound to. */
  readonly binding: string;
  readonly fleet: FleetParts;
  readonly refresh: RefreshSettings;
  /** How long before the expiry of an access token it is refreshed, in milliseconds. */
  readonly aheadMs: number;
  readonly lifetimes: Lifetimes;
  readonly clockToleranceSeconds: number;
  /** How long after their expiry the claims of a token may still serve, in milliseconds. */
  readonly staleMs: number;
  /** What becomes of a session when an old seal of it comes too late. */
  readonly replay: 'report' | 'revoke';
  readonly memory: {
    readonly sessions: VerifiedSessions;
    /** How long a verified session is believed without a look at its token. */
    readonly maxMs: number;
  };
  readonly emit: Emit;
}

/** What the sessions of `Authorization: Bearer` need to know. */
export interface BearerSettings {
  /** Which access tokens are taken, if any. */
  readonly tokens: BearerRules | undefined;
  /** Finds who holds an API key, where keys are taken. */
  readonly apiKeys: ApiKeyLookup | undefined;
  /** Tokens that were verified, as seals are remembered. Apart from these: a token must not count as a seal. */
  readonly memory: VerifiedSessions;
}

/** What a visit needs to know: how requests are judged. */
export interface VisitSettings {
  readonly isActivity: NonNullable<LifetimeOptions['isActivity']>;
  readonly whenUnavailable: 'continue' | 'refuse' | 'stale';
  readonly staleMs: number;
  /** Whether the cookie travels in clear, so that other hosts than localhost are refused. */
  readonly isInsecure: boolean;
  /** How an unsafe request of another origin is known. */
  readonly crossOriginHeader: CrossOriginCheck;
  /** Whether a request only asks how the session is: it refreshes nothing, and is no activity. */
  readonly isPassive: (req: IncomingMessage) => boolean;
}

/** What the place of a session on requests needs to know. */
export interface MountSettings {
  readonly property: string;
  readonly required: Rules | undefined;
  /** Two mounts on one property must share it: it coordinates their refreshes, and remembers what has ended. */
  readonly fleet: Fleet;
}

/** What the routes need to know. */
export interface RouteSettings {
  /** Undefined without a `baseUrl`. */
  readonly site: Site | undefined;
  readonly paths: ReturnType<typeof routePaths>;
  readonly afterSignIn: string;
  readonly afterSignOut: string;
  /** How the log-out path may be asked. */
  readonly signOutMethods: readonly string[];
  readonly forwardParameters: readonly string[];
  readonly isSilent: boolean;
  readonly errorPage: Exclude<SignInOptions['errorPage'], undefined>;
  readonly onSignIn: SignInHook | undefined;
}

/** The options, checked, with every default in its place, in parts named by who reads them. */
export interface Config {
  readonly life: LifeSettings;
  readonly carrier: CarrierSettings;
  readonly visit: VisitSettings;
  readonly bearer: BearerSettings;
  readonly mount: MountSettings;
  readonly routes: RouteSettings;
  /** Undefined where sessions are not bound to devices. */
  readonly device: DeviceSettings | undefined;
}

/**
 * Checks the options and fills in the defaults.
 *
 * @param name the function that was given them, for its messages
 * @throws {SessionConfigError} with everything that is wrong, each by its option path
 */
export function resolveOptions(given: unknown, name: string): Config {
  const options = readSessionOptions(given, name);
  const { provider, required, whenUnavailable = 'continue', signIn = {}, signOut = {} } = options;
  const emit = emitterFor(options.events, provider);
  const cookie = resolveCookie(options);
  const isInsecure = !cookie.secure;
  const site = siteOf(options);
  const home = `${site?.publicBase ?? ''}/`;
  const paths = routePaths(options);
  const device = resolveDevice(options, { cookie, paths }, site);
  // With an http `baseUrl`, which is on localhost, that is what the app asked for. Without one it may be a mistake.
  if (isInsecure && options.baseUrl === undefined) {
    emit('misconfigured', { problem: 'insecure_cookie', option: 'cookie.secure', message: insecureMessage });
  }

  return Object.freeze({
    life: resolveLife(options, emit),
    carrier: {
      cookie,
      proofCookie: device?.cookie,
      replaces: (options.cookie?.replaces ?? []).map(({ name: old, domain, path = '/' }) => ({
        name: old,
        domain,
        path,
      })),
      header: options.header?.toLowerCase(),
      cacheControl: options.cacheControl ?? 'written',
      clearSiteData: [...(signOut.clearSiteData ?? [])],
      onClearedByApp: () => {
        emit('misconfigured', { problem: 'cookie_cleared', option: 'signOut', message: clearedMessage });
      },
      onSharedCache: () => {
        emit('misconfigured', { problem: 'shared_cache', option: 'cacheControl', message: sharedCacheMessage });
      },
    },
    visit: {
      isActivity: options.lifetime?.isActivity ?? (() => true),
      whenUnavailable: typeof whenUnavailable === 'object' ? 'stale' : whenUnavailable,
      staleMs: staleMsOf(whenUnavailable),
      isInsecure,
      crossOriginHeader: crossOriginCheck(site, [options.baseUrl ?? []].flat(), options.trustedOrigins ?? []),
      isPassive: (req) => {
        const passive = req.method === 'GET' ? paths.session : paths.device;
        return passive !== undefined && site?.pathBelow(req)?.split('?', 1)[0] === passive;
      },
    },
    bearer: {
      tokens: bearerRules(options.bearer),
      apiKeys: options.apiKeys,
      memory: memoryOf(options),
    },
    mount: {
      property: options.property ?? 'session',
      required: typeof required === 'object' ? required : required ? {} : undefined,
      fleet: options.fleet ?? processFleet,
    },
    routes: {
      site,
      paths,
      afterSignIn: signIn.returnTo ?? home,
      afterSignOut: signOut.returnTo ?? home,
      signOutMethods: [...(signOut.methods ?? ['GET', 'POST'])],
      isSilent: signIn.silent ?? false,
      forwardParameters: signIn.forwardParameters ?? defaultForwardParameters(provider),
      errorPage: signIn.errorPage ?? {},
      onSignIn: options.onSignIn,
    },
    device,
  } satisfies Config);
}

/** Where the app is, as far as `baseUrl` says it. */
function siteOf({ baseUrl, routes }: SessionOptions): Site | undefined {
  if (baseUrl === undefined) return undefined;
  return createSite([baseUrl].flat(), routes?.base?.replace(/\/+$/, ''));
}

// What a link may hand on without harm: who the visitor says to be, and an invitation that was sent to them.
function defaultForwardParameters({ name }: Provider): string[] {
  return name === 'workos' ? ['login_hint', 'invitation_token'] : ['login_hint'];
}

function resolveLife(options: SessionOptions, emit: Emit): LifeSettings {
  const { provider, password = '', refresh = {}, lifetime = {}, cache = {} } = options;
  const passwords = readPasswords(password);
  const sealer = options.sealer ?? provider.sealer ?? compactSealer();
  const fleet = partsOf(options.fleet ?? processFleet);
  const lifetimes = {
    absoluteMs: (lifetime.absoluteSeconds ?? Infinity) * 1000,
    idleMs: (lifetime.idleSeconds ?? Infinity) * 1000,
  };
  const pickUser = userPicker(options.userFields);
  const binding = bindingOf(provider.id, 'session');
  const { maxSeconds = 300 } = cache || {};
  const sealingUnder = (given?: Password) =>
    sealingOf(sealer, given === undefined ? passwords : readPasswords(given), provider, binding);
  fleet.onChange(listenerFor(emit));
  provider.onMisconfigured?.(misconfiguredListenerFor(emit));
  const clockToleranceSeconds = options.clockToleranceSeconds ?? 5;

  return {
    provider,
    seals: { passwords, sealers: [sealer, ironSealer(), compactSealer(), rubySealer()], sealingUnder },
    binding,
    fleet,
    refresh: {
      provider,
      emit,
      clockToleranceSeconds,
      coordinator: fleet.coordinator,
      binding,
      passwords: passwords.newestFirst.map((each) => each.password),
      graceMs: (refresh.graceSeconds ?? 60) * 1000,
      waitMs: refresh.waitMs ?? 5_000,
      timeoutMs: refresh.timeoutMs ?? 20_000,
      shape: (payload) => stamp({ ...pickUser(payload), boundTo: binding }, lifetimes),
      ...sealingUnder(),
    },
    aheadMs: (refresh.aheadSeconds ?? 60) * 1000,
    lifetimes,
    clockToleranceSeconds,
    staleMs: staleMsOf(options.whenUnavailable),
    replay: refresh.replay ?? 'report',
    memory: {
      sessions: memoryOf(options),
      maxMs: maxSeconds * 1000,
    },
    emit,
  };
}

function memoryOf({ cache = {} }: SessionOptions): VerifiedSessions {
  const { maxSessions = 10_000 } = cache || {};
  return verifiedSessions(maxSessions, { keepsSessions: cache !== false });
}

function bearerRules(bearer: SessionOptions['bearer']): BearerRules | undefined {
  if (bearer === undefined) return undefined;
  return { audience: bearer === true ? undefined : [bearer.audience ?? []].flat() };
}

function staleMsOf(whenUnavailable: SessionOptions['whenUnavailable']): number {
  return typeof whenUnavailable === 'object' ? whenUnavailable.staleSeconds * 1000 : 0;
}

function partsOf(fleet: Fleet): FleetParts {
  const parts = fleetParts(fleet);
  // The checks of the options have seen that it is a fleet.
  if (!parts) throw new TypeError('The fleet has no parts.');
  return parts;
}

/** Seals sessions with the time of the seal, in the field names of those who read the seals. */
function sealingOf(
  sealer: Sealer,
  passwords: Passwords,
  { sealsUserInCamelCase }: Provider,
  binding: string,
): Sealing<SessionPayload> {
  const { seal, ...rest } = sealing(sealer, passwords, binding);
  const isSnakeCase = sealer.fields === 'snake_case';
  return {
    ...rest,
    seal: (payload) => {
      const stamped = { ...payload, sealedAt: Date.now() };
      return seal(isSnakeCase ? snakeCasePayload(stamped, sealsUserInCamelCase) : stamped);
    },
  };
}

// Browsers cut off at 400 days (RFC 6265bis section 5.6.2).
const maxCookieAge = 34_560_000;

const sharedCacheMessage =
  'A handler meant a response that carries a session for shared caches (Cache-Control: public or s-maxage). It was ' +
  'sent as "private, no-store": a cache would have handed the session to another visitor.';

const clearedMessage =
  'A handler has removed the session cookie itself, with res.clearCookie() or Set-Cookie, while the session was being ' +
  'refreshed. The cookie is removed, but the session goes on: call session.signOut(), which ends it.';

const insecureMessage =
  'The session cookie is written without Secure ("cookie.secure" is false), so it travels in clear. That is for ' +
  'development on localhost: requests to any other host are refused. Leave the option out in production.';

/** Keeps the wanted fields of the user, so that the session in memory and the one in the cookie are the same. */
function userPicker(fields: readonly string[] | undefined): (payload: SessionPayload) => SessionPayload {
  if (fields === undefined) return (payload) => payload;
  const wanted = new Set(['id', ...fields]);
  return (payload) => {
    if (!payload.user) return payload;
    const picked = Object.entries(payload.user).filter(([field]) => wanted.has(field));
    return { ...payload, user: Object.fromEntries(picked) as unknown as User };
  };
}

/** Notes when the session began, and where idle time is limited when it was last used, unless that is known. */
function stamp(payload: SessionPayload, { idleMs }: Lifetimes): SessionPayload {
  const now = Date.now() / 1000;
  return {
    ...payload,
    // To the millisecond: what began in the second of an ending began before it, or after.
    startedAt: payload.startedAt ?? now,
    ...(idleMs < Infinity && { usedAt: payload.usedAt ?? Math.trunc(now) }),
  };
}

const fleetListeners = processWide('fleet listeners', () => new WeakMap<Emit, (reachable: boolean) => void>());

/** One listener for each emitter: sessions that share a fleet and their callbacks report a change once. */
function listenerFor(emit: Emit): (reachable: boolean) => void {
  const listener =
    fleetListeners.get(emit) ??
    ((reachable) => {
      emit('fleetChanged', { reachable });
    });
  fleetListeners.set(emit, listener);
  return listener;
}

type TellMisconfigured = (problem: SessionEvents['misconfigured']) => void;

const misconfiguredListeners = processWide('misconfigured listeners', () => new WeakMap<Emit, TellMisconfigured>());

/** One listener for each emitter: a provider that is used again and again does not gather them. */
function misconfiguredListenerFor(emit: Emit): TellMisconfigured {
  const listener =
    misconfiguredListeners.get(emit) ??
    ((problem) => {
      emit('misconfigured', problem);
    });
  misconfiguredListeners.set(emit, listener);
  return listener;
}

function resolveCookie(options: SessionOptions): CookieSettings {
  const { cookie = {}, lifetime = {} } = options;
  return {
    name: cookieNameOf(options),
    domain: cookie.domain,
    path: cookie.path ?? '/',
    sameSite: cookie.sameSite ?? 'lax',
    secure: isCookieSecure(options),
    maxAge:
      cookie.maxAge === false
        ? undefined
        : Math.trunc(Math.min(cookie.maxAge ?? maxCookieAge, lifetime.absoluteSeconds ?? Infinity, maxCookieAge)),
    partitioned: cookie.partitioned ?? false,
    priority: cookie.priority,
  };
}
