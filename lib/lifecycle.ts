import { randomUUID } from 'node:crypto';

import { SessionConfigError, SessionError } from './errors.js';
import { type Config, resolveOptions, sessionSealing } from './options/config.js';
import { deepFreeze } from './json.js';
import { send } from './wire/token-endpoint.js';
import { namesOf } from './refresh/coordinator.js';
import { renew, type Renewal, type RenewalRequest } from './refresh/refresh.js';
import { type Password, passwordCheck, readPasswords } from './seal/passwords.js';
import { open } from './seal/sealer.js';
import {
  endsAtMs,
  isRetryable,
  profileOf,
  readPayload,
  type Reason,
  type SealProblem,
  sessionIdOf,
  type SessionPayload,
  type SessionProfile,
  succeed,
  type TokenSet,
} from './session/payload.js';
import type { SessionOptions } from './options/session-options.js';
import { unverifiedClaims } from './session/unverified-claims.js';
import { checkAccessToken, type TokenCheck, withExpiry } from './token/access-token.js';
import type { VerifiedSession } from './session/verified-sessions.js';

export interface Authenticated extends SessionProfile {
  readonly authenticated: true;
  readonly accessToken: string;
  readonly expiresAt: Date;
}

export interface NotAuthenticated {
  readonly authenticated: false;
  readonly reason: Reason;
  /** Whether asking again later can have another answer. */
  readonly retryable: boolean;
}

export type AuthenticateResult = Authenticated | NotAuthenticated;

export type RefreshSessionResult =
  | (Authenticated & { readonly sealedSession: string })
  /** With a `sealedSession`, the tokens were renewed and must be stored, though the new one could not be verified. */
  | (NotAuthenticated & { readonly sealedSession?: string });

/** One sealed session, without HTTP. */
export interface LoadedSession {
  /** The seal as it is now: after a successful refresh, the new one. */
  readonly sealed: string | undefined;
  /** Who this is, by the access token alone: nothing is refreshed. */
  authenticate(): Promise<AuthenticateResult>;
  /**
   * Runs the refresh grant and seals the new tokens, under `password` if one is given (rotation). What the cookie or
   * the provider can do is a value; nothing changes unless the provider's answer is whole.
   *
   * @throws {SessionConfigError} when `password` cannot be one
   */
  refresh(options?: {
    organizationId?: string | undefined;
    password?: Password | undefined;
  }): Promise<RefreshSessionResult>;
  /** Where a browser ends the session at the provider, also with an expired access token. */
  logoutUrl(options?: { returnTo?: string | undefined }): Promise<string | undefined>;
}

export interface SessionManager {
  /** Never throws: what is wrong with the seal, `authenticate()` and `refresh()` say. */
  load(sealed: string | undefined): LoadedSession;
  /**
   * Seals the tokens of an authentication response.
   *
   * @throws {SessionError} `ERR_SESSION_TOKENS_INVALID` when they make no session
   */
  seal(tokens: TokenSet): Promise<string>;
}

/**
 * The operations of a session for workers, WebSocket servers and tests.
 *
 * @throws {SessionConfigError} with everything that is wrong with the options
 */
export function createSessionManager(options: SessionOptions): SessionManager {
  const config = resolveOptions(options);

  function load(sealed: string | undefined): LoadedSession {
    const opened: OpenedSession | undefined = sealed ? openSession(config, sealed) : undefined;
    let current = opened?.ok ? { payload: opened.payload, sealed } : { payload: undefined, sealed };

    const refused = (reason: Reason): NotAuthenticated => ({
      authenticated: false,
      reason,
      retryable: isRetryable(reason),
    });
    const unusable = () => refused(sealed ? 'invalid_session_cookie' : 'no_session_cookie_provided');

    return {
      get sealed() {
        return current.sealed;
      },

      async authenticate() {
        const { payload } = current;
        if (!payload) return unusable();
        if (hasEnded(config, payload)) return refused('session_revoked');
        if (isOver(config, payload)) return refused('invalid_session_cookie');
        const check = await checkAccessToken(config.provider, payload, config);
        return check.verdict === 'valid' ? authenticated(payload, check) : refused(reasonOf(check));
      },

      async refresh({ organizationId, password } = {}) {
        const settings = password === undefined ? config : withPassword(config, password);
        const { payload } = current;
        if (!payload) return unusable();
        if (!payload.refreshToken) return refused('invalid_session_cookie');
        if (hasEnded(config, payload)) return refused('session_revoked');
        if (isOver(config, payload)) return refused('invalid_session_cookie');
        const renewal = await renewSession(settings, payload, { organizationId });
        if (renewal.kind !== 'refreshed')
          return refused(renewal.kind === 'elsewhere' ? 'server_error' : renewal.reason);
        // The old token is spent: from here on there is only the new seal, whatever the check below says.
        current = { payload: renewal.payload, sealed: renewal.sealed };
        reportRenewal(config, renewal);
        const check = await checkAccessToken(config.provider, renewal.payload, { ...config, fresh: true });
        return check.verdict === 'valid'
          ? { ...authenticated(renewal.payload, check), sealedSession: renewal.sealed }
          : { ...refused(reasonOf(check)), sealedSession: renewal.sealed };
      },

      async logoutUrl({ returnTo } = {}) {
        const { payload } = current;
        return config.provider.logoutUrl?.({ sessionId: payload && idOf(payload), returnTo });
      },
    };
  }

  return Object.freeze({
    load,
    seal: async (tokens: TokenSet) => config.renewal.seal(await establish(config, tokens)),
  });
}

export type OpenedSession =
  { readonly ok: true; readonly payload: SessionPayload } | { readonly ok: false; readonly problem: SealProblem };

/** The payload of a seal, in whichever known format, under whichever known password. */
export function openSession({ sealers, passwords, provider, emit }: Config, sealed: string): OpenedSession {
  const opened = open(sealed, sealers, passwords, Date.now());
  if (!opened.ok) return opened;
  const payload = readPayload(opened.value, provider.sealsUserInCamelCase);
  if (!payload) return { ok: false, problem: 'bad_shape' };
  if (opened.passwordId !== passwords.sealingId) emit('oldPassword', { passwordId: opened.passwordId });
  return { ok: true, payload: deepFreeze(payload) };
}

/** `renew`, for sessions that are not signed out, before or meanwhile; with its failures told to the app. */
export async function renewSession(
  config: Config,
  payload: SessionPayload,
  request: RenewalRequest = {},
): Promise<Renewal> {
  const { emit } = config;
  const renewal = await renewUnlessEnded(config, payload, request);
  const sessionId = idOf(payload);
  if (renewal.kind === 'terminal') {
    emit('refreshFailed', { kind: 'terminal', sessionId, reason: renewal.reason });
  } else if (renewal.kind === 'transient') {
    const { reason, retryAfterSeconds } = renewal;
    emit('refreshFailed', { kind: 'transient', sessionId, reason, retryAfterSeconds });
  }
  return renewal;
}

async function renewUnlessEnded(config: Config, payload: SessionPayload, request: RenewalRequest): Promise<Renewal> {
  const { refreshToken } = payload;
  if (refreshToken === undefined) return { kind: 'terminal', reason: 'invalid_grant' };
  if (await hasEndedAnywhere(config, payload)) return { kind: 'terminal', reason: 'session_revoked' };
  const renewal = await renew(config.renewal, { ...payload, refreshToken }, request);
  if (renewal.kind !== 'refreshed' && renewal.kind !== 'terminal') return renewal;
  const next = renewal.kind === 'refreshed' ? [renewal.payload] : [];
  if (!(await hasEndedAnywhere(config, payload, ...next))) return renewal;
  // Signed out or replaced while this was under way: new tokens are nobody's, and no cookie is to be cleared.
  for (const each of next) void revoke(config, each);
  return { kind: 'terminal', reason: 'session_revoked' };
}

/** Whether one of these was signed out, here or elsewhere in the fleet. */
async function hasEndedAnywhere(config: Config, ...payloads: SessionPayload[]): Promise<boolean> {
  const names = payloads.flatMap((payload) => endNames(config, payload));
  await config.coordinator.learnEnded?.(names);
  return config.coordinator.hasEnded(names);
}

/** Ends the refresh token at the provider, where that can be done without the browser. Nobody waits for it. */
export async function revoke({ provider, renewal }: Config, { refreshToken }: SessionPayload): Promise<void> {
  try {
    const request = refreshToken === undefined ? undefined : await provider.revocationRequest?.({ refreshToken });
    if (request) await send(request, { budgetMs: renewal.budgetMs, mayRepeat: true });
  } catch {
    // The provider cannot be asked. Its own log-out page ends the session, or its expiry does.
  }
}

/** Tells the app of a success: once for each request, however many generations old its cookie was. */
export function reportRenewal({ emit }: Config, renewal: Extract<Renewal, { kind: 'refreshed' }>, ahead = false): void {
  const { payload, source, startedMs } = renewal;
  emit('refreshed', {
    sessionId: idOf(payload),
    organizationId: payload.organizationId,
    source,
    ahead,
    durationMs: Date.now() - startedMs,
  });
}

/** The payload of a new session. */
export async function establish(config: Config, tokens: TokenSet): Promise<SessionPayload> {
  const given = succeed(undefined, await withExpiry(config.provider, tokens), Date.now());
  const payload = readPayload(given);
  if (!payload) {
    throw new SessionError(
      'ERR_SESSION_TOKENS_INVALID',
      500,
      'A session needs an "accessToken" that is a string. A "refreshToken" must be one too, and a "user" must have an "id".',
    );
  }
  // Of another writer's cookie they are left out. Here it is the app's own call that can be put right.
  const odd = Object.keys(given).find((field) => (given[field] ?? undefined) !== undefined && !(field in payload));
  if (odd !== undefined) {
    const field = odd === 'expiresAt' ? 'expiresIn' : odd;
    throw new SessionError('ERR_SESSION_TOKENS_INVALID', 500, `The "${field}" of the tokens is of the wrong type.`);
  }
  return config.shape({ ...payload, sessionId: randomUUID() });
}

// How often the last use is noted at most, within the time that a session may lie idle.
const touchesPerIdle = 10;

/** A verified session, ready to be remembered. */
export function verifiedSession(
  config: Config,
  payload: SessionPayload,
  { claims, expiresAtMs, issuedAtMs }: Extract<TokenCheck, { verdict: 'valid' }>,
): VerifiedSession {
  const nowMs = Date.now();
  const lifetimeMs = issuedAtMs > 0 ? expiresAtMs - issuedAtMs : expiresAtMs - nowMs;
  // A token that lives for seconds would otherwise be renewed on each request. The jitter keeps the tabs and
  // processes that share an expiry from all starting in the same moment.
  const windowMs = Math.min(config.windowMs, lifetimeMs / 5) * (1 - Math.random() / 4);
  return {
    payload,
    profile: deepFreeze(profileOf(payload, claims)),
    expiresAtMs,
    renewFromMs: payload.refreshToken === undefined ? Infinity : expiresAtMs - windowMs,
    touchFromMs: payload.usedAt === undefined ? Infinity : payload.usedAt * 1000 + config.idleMs / touchesPerIdle,
    verifiedUntilMs: Math.min(expiresAtMs, nowMs + config.verifiedMs, endsAtMs(payload, config)),
    claimed: false,
  };
}

/** Whether what was verified a while ago can still be believed. */
export function isStillVerified(config: Config, { payload, verifiedUntilMs }: VerifiedSession): boolean {
  return Date.now() < verifiedUntilMs && !hasEnded(config, payload);
}

/** Whether this session was signed out, as far as this process knows. */
export function hasEnded(config: Config, payload: SessionPayload): boolean {
  const { coordinator } = config;
  return coordinator.anyEnded?.() !== false && coordinator.hasEnded(endNames(config, payload));
}

/** Whether this session is over by our own rules. */
export function isOver(config: Config, payload: SessionPayload): boolean {
  return endsAtMs(payload, config) <= Date.now();
}

const namesByPayload = new WeakMap<SessionPayload, readonly string[]>();

/** The names under which a session ends. They are asked for several times, and cost two hashes. */
export function endNames({ provider }: Config, payload: SessionPayload): readonly string[] {
  const known = namesByPayload.get(payload);
  if (known) return known;
  const names = namesOf(provider, payload, () => idOf(payload));
  namesByPayload.set(payload, names);
  return names;
}

/** The session's id, whether or not the token that names it is still good: enough to end it. */
export function idOf(payload: SessionPayload): string | undefined {
  return sessionIdOf(payload, unverifiedClaims(payload.accessToken));
}

export function reasonOf(check: Exclude<TokenCheck, { verdict: 'valid' }>): Reason {
  return check.verdict === 'expired' ? 'expired_jwt' : check.reason;
}

function authenticated(
  payload: SessionPayload,
  { claims, expiresAtMs }: Extract<TokenCheck, { verdict: 'valid' }>,
): Authenticated {
  const { accessToken } = payload;
  return { authenticated: true, ...profileOf(payload, claims), accessToken, expiresAt: new Date(expiresAtMs) };
}

function withPassword(config: Config, password: Password): Config {
  const message = passwordCheck(password);
  if (message !== undefined) throw new SessionConfigError([{ path: 'refresh.password', message }]);
  return {
    ...config,
    renewal: { ...config.renewal, ...sessionSealing(config.sealer, readPasswords(password), config.provider) },
  };
}
