import type { IncomingMessage } from 'node:http';

import { type Emit, emitterFor } from '../events.js';
import type { CookieSettings } from '../http/cookies.js';
import type { TransportSettings } from '../http/carrier.js';
import { readSessionOptions, routePaths } from './check-options.js';
import type { Provider } from '../provider/provider.js';
import type { Coordinator } from '../refresh/coordinator.js';
import { processCoordinator } from '../refresh/single-flight.js';
import type { RenewalSettings } from '../refresh/refresh.js';
import { aesGcmSealer } from '../seal/aes-gcm.js';
import { ironSealer } from '../seal/iron.js';
import { type Passwords, readPasswords } from '../seal/passwords.js';
import { type Sealer, type Sealing, sealing } from '../seal/sealer.js';
import { type SessionPayload, snakeCasePayload, type User } from '../session/payload.js';
import type { Rule, SessionOptions } from './session-options.js';
import { type VerifiedSessions, verifiedSessions } from '../session/verified-sessions.js';

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
  readonly verified: VerifiedSessions | undefined;
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

/**
 * Checks the options and fills in the defaults.
 *
 * @throws {SessionConfigError} with everything that is wrong, each by its option path
 */
export function resolveOptions(given: SessionOptions): Config {
  const options = readSessionOptions(given);
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
  const cookie = resolveCookie(options);
  if (!cookie.secure) emit('configuration', { problem: 'insecure cookie', message: insecureMessage });

  return Object.freeze({
    provider,
    passwords,
    required: typeof required === 'object' ? required : required ? {} : undefined,
    property: options.property ?? 'session',
    transport: {
      cookie,
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
    verified: cache ? verifiedSessions(maxSessions) : undefined,
    verifiedMs: maxSeconds * 1000,
    emit,
    routes: {
      baseUrl: options.baseUrl === undefined ? undefined : new URL(options.baseUrl).origin,
      ...routePaths(options),
      afterSignIn: options.afterSignIn ?? '/',
      afterSignOut: options.afterSignOut ?? '/',
    },
  } satisfies Config);
}

/** Seals sessions, with the field names of those who read the seals. */
export function sessionSealing(
  sealer: Sealer,
  passwords: Passwords,
  { sealsUserInCamelCase }: Provider,
): Sealing<SessionPayload> {
  const { sealedUnder, seal } = sealing(sealer, passwords);
  if (sealer.fields !== 'snake_case') return { sealedUnder, seal };
  return { sealedUnder, seal: (payload) => seal(snakeCasePayload(payload, sealsUserInCamelCase)) };
}

const maxCookieAge = 34_560_000;

const cachedMessage =
  'A handler meant a response that carries a session for shared caches (Cache-Control: public or s-maxage). It was ' +
  'sent as "private, no-store": a cache would have handed the session to somebody else.';

const insecureMessage =
  'The session cookie is written without Secure ("cookie.secure" is false), so it travels in clear. That is for ' +
  'development on localhost: requests to any other host are refused. Leave the option out in production.';

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
