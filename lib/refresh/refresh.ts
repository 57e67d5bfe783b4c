import { nonEmptyString } from '../json.js';
import type { Provider, TokenRequest } from '../provider/provider.js';
import type { Sealing } from '../seal/sealer.js';
import { begunAtMs } from '../session/beginning.js';
import { readPayload } from '../session/codec.js';
import { nextPayload, type SessionPayload } from '../session/payload.js';
import { sessionIdOf } from '../session/profile.js';
import type { RefreshSource } from '../session/reasons.js';
import { unverifiedClaims } from '../session/unverified-claims.js';
import { settleTokens, type SettleSettings } from '../token/settle-tokens.js';
import { failureReason } from '../wire/failure.js';
import { preload, send } from '../wire/token-endpoint.js';
import { createAllowance } from './allowance.js';
import { askFairly } from './ask-fairly.js';
import type { Coordinator, Outcome, Refreshed, SharedToken } from './coordinator.js';
import { isOutage, judgeAnswer, type JudgedAnswer, type Refused, type Terminal, type Unavailable } from './outcome.js';
import { wasRefused } from './session-failures.js';
import { tokenKey, tokenSecret } from './token-key.js';
import { processWide } from '../process-wide.js';

/** What a refresh needs to know of the options. */
export interface RefreshSettings extends Sealing<SessionPayload>, SettleSettings {
  readonly coordinator: Coordinator;
  /** What the seals of these sessions are bound to. */
  readonly binding: string;
  /** The passwords of the sessions, the newest first. */
  readonly passwords: readonly string[];
  /** How long requests with the old cookie get the new one, once a browser has presented the new one. Milliseconds. */
  readonly graceMs: number;
  /** How long the refresh may run, in milliseconds. */
  readonly timeoutMs: number;
  /** How long a request waits for the refresh, in milliseconds. */
  readonly waitMs: number;
  /** The part of a new session that is sealed. */
  readonly shape: (payload: SessionPayload) => SessionPayload;
}

export interface RefreshRequest {
  /** Switches the session to this organization. Default: the session's own. */
  readonly organizationId?: string | undefined;
  /** Whether to wait for a refresh that is already running. If not, the answer may be `elsewhere`. Default: true. */
  readonly wait?: boolean;
  /** A handler has asked for it: at most ten times a minute for each session. Default: false. */
  readonly onDemand?: boolean;
  /** Asked in the moment before the token is presented: whether the session has ended meanwhile. */
  readonly hasEnded?: () => Promise<boolean>;
}

export type RefreshOutcome =
  | {
      readonly kind: 'refreshed';
      readonly payload: SessionPayload;
      readonly sealed: string;
      readonly source: RefreshSource;
      readonly startedMs: number;
    }
  | Terminal
  | Refused
  | (Unavailable & {
      /** Whether the old claims may serve: the provider is away, and has said nothing against this session. */
      readonly isOutage: boolean;
    })
  /** Another request is refreshing this token, and this one did not wait. */
  | { readonly kind: 'elsewhere' };

type Refreshable = SessionPayload & { readonly refreshToken: string };

// A request whose token is still valid waits this long, so that its response carries the new cookie. Then it goes on
// without, and the next request finds the refresh done.
const aheadWaitMs = 1_000;

// Two tabs that switch to two organizations take turns with each other's successors. More turns are a loop.
const maxTurns = 5;

/**
 * Trades the payload's refresh token for new tokens: once, however many requests ask at the same time. Failures are
 * values. Rejects only when a module that is loaded late cannot be loaded.
 */
export async function refreshSession(
  settings: RefreshSettings,
  payload: Refreshable,
  request: RefreshRequest = {},
): Promise<RefreshOutcome> {
  const outcome = await refreshInTurns(settings, payload, request);
  if (outcome.kind !== 'unavailable') return outcome;
  const key = tokenKey(settings.provider, payload.refreshToken);
  return { ...outcome, isOutage: isOutage(outcome) && !wasRefused(key) };
}

async function refreshInTurns(
  settings: RefreshSettings,
  payload: Refreshable,
  request: RefreshRequest,
): Promise<Exclude<RefreshOutcome, Unavailable> | Unavailable> {
  const { provider, coordinator, graceMs, timeoutMs } = settings;
  const { wait = true } = request;
  let organization: string | undefined;
  try {
    organization = request.organizationId ?? (await organizationOf(provider, payload));
  } catch (error) {
    return { kind: 'unavailable', reason: failureReason(error) };
  }
  const organizationId = organization ?? '';
  const startedMs = Date.now();
  let current = payload;

  for (let turn = 0; turn < maxTurns; turn += 1) {
    const ticket = {
      ...sharedToken(settings, current),
      organizationId,
      accessToken: current.accessToken,
      graceMs,
      timeoutMs,
      wait,
    };
    const lead = () => runGrant(settings, current, ticket.key, organization, request);
    const waitMs = wait ? settings.waitMs : Math.min(settings.waitMs, aheadWaitMs);
    const coordinated = await waitAtMost(waitMs, coordinator.refresh(ticket, lead));
    if (coordinated === 'late') return { kind: 'unavailable', reason: 'timeout' };
    if (coordinated === undefined) return { kind: 'elsewhere' };
    const { outcome } = coordinated;
    if (outcome.kind !== 'refreshed') return outcome;
    // Who may write to the fleet's store, and has a refresh token of their own, could make an outcome of any user.
    if (isOtherUser(payload, outcome.payload)) return { kind: 'unavailable', reason: 'provider_misconfigured' };
    if (coordinated.organizationId === organizationId) {
      const adopted = await adopt(settings, payload, outcome);
      return { kind: 'refreshed', ...adopted, source: coordinated.source, startedMs };
    }
    // The token is spent for another organization: go on from its successor.
    const { refreshToken } = outcome.payload;
    if (refreshToken === undefined) break;
    current = { ...outcome.payload, refreshToken };
  }
  return { kind: 'unavailable', reason: 'server_error' };
}

/** What other processes are asked about the refresh token of a session. What they answer is checked as a cookie is. */
export function sharedToken({ provider, passwords, binding }: RefreshSettings, previous: Refreshable): SharedToken {
  return {
    key: tokenKey(provider, previous.refreshToken),
    secret: tokenSecret(provider, previous.refreshToken),
    passwords,
    accept: (value) => {
      const payload = readPayload(value);
      return payload?.boundTo === binding && !isOtherUser(previous, payload) ? payload : undefined;
    },
  };
}

/** The refreshed session as this cookie's: with the newer `data` of the two, bound to its device, sealed under this password. */
async function adopt(
  { seal, sealedUnder }: RefreshSettings,
  own: SessionPayload,
  refreshed: Refreshed,
): Promise<{ payload: SessionPayload; sealed: string }> {
  // Of two seals with other data, the newer one has what was written last.
  const isOlder = (own.sealedAt ?? 0) < (refreshed.payload.sealedAt ?? 0);
  const data = isOlder ? refreshed.payload.data : own.data;
  const hasSameData = JSON.stringify(refreshed.payload.data) === JSON.stringify(data);
  // A copy from before the session was bound may have been refreshed first. What is bound stays so.
  const deviceKey = refreshed.payload.deviceKey ?? own.deviceKey;
  if (hasSameData && deviceKey === refreshed.payload.deviceKey && refreshed.sealedUnder === sealedUnder) {
    return { payload: refreshed.payload, sealed: refreshed.sealed };
  }
  const payload = { ...refreshed.payload, ...(!hasSameData && { data }), ...(deviceKey && { deviceKey }) };
  return { payload, sealed: await seal(payload) };
}

/**
 * Asks the provider, and seals the answer at once: no later failure may lose what the provider has rotated. Rejects
 * only when a module cannot be loaded.
 */
async function runGrant(
  settings: RefreshSettings,
  previous: Refreshable,
  sessionKey: string,
  organizationId: string | undefined,
  { onDemand = false, organizationId: wanted, hasEnded }: RefreshRequest,
): Promise<Outcome> {
  const { provider, shape, seal, sealedUnder, preload: preloadSealer } = settings;
  // Before the token is spent. A broken installation is no value: it would be reported as the operator's settings.
  const [isOver] = await Promise.all([hasEnded?.(), preload(), preloadSealer()]);
  if (isOver) return { kind: 'terminal', reason: 'session_revoked' };
  try {
    const refusedForMs = onDemand ? takeTurn(sessionNameOf(provider, previous)) : 0;
    if (refusedForMs > 0) return tooOften(refusedForMs);
    const request = await provider.refreshRequest({ refreshToken: previous.refreshToken, organizationId });
    const userKey = userOf(previous) ?? sessionKey;
    const asker = { providerId: provider.id, sessionKey, userKey, isSwitch: wanted !== undefined };
    // What changes at the provider from here on may not be in its answer.
    const askedMs = Date.now();
    const answer = await askFairly(asker, () => sendGrant(settings, request, previous));
    if (answer.kind !== 'tokens') return answer;
    const tokens = await settleTokens(settings, answer.tokens, previous);
    const begun = { ...previous, startedAt: previous.startedAt ?? begunAtMs(previous) / 1000 };
    const payload = shape(nextPayload(begun, tokens, askedMs));
    const successorKey = payload.refreshToken && tokenKey(provider, payload.refreshToken);
    return { kind: 'refreshed', payload, sealed: await seal(payload), sealedUnder, successorKey };
  } catch (error) {
    return { kind: 'unavailable', reason: failureReason(error) };
  }
}

/** Sends the grant once, and judges the answer. An answer that cannot be read is a value: the session is paused by it. */
async function sendGrant(
  settings: RefreshSettings,
  request: TokenRequest,
  previous: Refreshable,
): Promise<JudgedAnswer> {
  const { provider, timeoutMs } = settings;
  try {
    const sent = await send(request, { timeoutMs, mayRepeat: provider.refreshTokens === 'reusable' });
    const answer = await judgeAnswer(sent, provider, previous, settings);
    const isOther = answer.kind === 'tokens' && isOtherUser(previous, answer.tokens);
    return isOther ? { kind: 'unavailable', reason: 'provider_misconfigured' } : answer;
  } catch (error) {
    return { kind: 'unavailable', reason: failureReason(error) };
  }
}

// What handlers ask for by `session.refresh()`. A visitor may be able to make a handler run again and again.
const takeTurn = processWide('allowance of refreshes', () => createAllowance({ times: 10, windowMs: 60_000 }));

/** A name of the session that outlives its tokens. */
function sessionNameOf({ id }: Provider, payload: Refreshable): string {
  const sessionId = sessionIdOf(payload, unverifiedClaims(payload.accessToken));
  return `${id} ${sessionId ?? userOf(payload) ?? payload.refreshToken}`;
}

function tooOften(waitMs: number): Unavailable {
  const retryAfterSeconds = Math.max(Math.ceil(waitMs / 1000), 1);
  return { kind: 'unavailable', reason: 'rate_limit_exceeded', retryAfterSeconds, fault: 'limit', isOwn: true };
}

/** The user of a session. A seal without a user holds a token that names one. */
function userOf({ user, accessToken }: SessionPayload): string | undefined {
  return user?.id ?? nonEmptyString(unverifiedClaims(accessToken).sub);
}

/** A refresh brings no other user. A seal without a user holds a token that names one. */
export function isOtherUser(previous: SessionPayload, tokens: Pick<SessionPayload, 'accessToken' | 'user'>): boolean {
  const { user } = previous;
  const before = userOf(previous);
  const after = tokens.user?.id ?? (user ? undefined : unverifiedClaims(tokens.accessToken).sub);
  return before !== undefined && after !== undefined && after !== before;
}

async function organizationOf(provider: Provider, payload: SessionPayload): Promise<string | undefined> {
  // Awaited for an `async` method: a rejection that is not handled ends the process.
  return provider.organizationOf ? Promise.resolve(provider.organizationOf(payload)) : payload.organizationId;
}

/** Waits for `work` no longer than this. The work itself goes on, and later requests find its result. */
async function waitAtMost<Value>(ms: number, work: Promise<Value>): Promise<Value | 'late'> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(resolve, ms, 'late');
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
