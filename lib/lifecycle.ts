import { randomUUID } from 'node:crypto';

import { createEndings } from './ending.js';
import { SessionUseError } from './errors.js';
import { sidsOf, userIdOf } from './fleet/session-names.js';
import { deepFreeze } from './json.js';
import type { LifeSettings } from './options/config.js';
import { createOverRule, type Over } from './over.js';
import type { Refreshed } from './refresh/coordinator.js';
import { isOtherUser, type RefreshOutcome, type RefreshRequest, refreshSession } from './refresh/refresh.js';
import { claimedMs } from './refresh/shared-outcome.js';
import { tokenKey } from './refresh/token-key.js';
import { createReplayWatch } from './replay.js';
import { createReports } from './reports.js';
import { createRevoking } from './revoke.js';
import type { Password } from './seal/passwords.js';
import { fullWork, isRecognised, open as openSeal, type Work } from './seal/sealer.js';
import { begunAtMs } from './session/beginning.js';
import { readPayload } from './session/codec.js';
import { endsAtMs, nextPayload, type SessionPayload, type TokenSet } from './session/payload.js';
import { newestData } from './session/newest-data.js';
import { type HeldClaims, profileOf, type SessionProfile } from './session/profile.js';
import type { Reason, SealProblem } from './session/reasons.js';
import { idOf } from './session/unverified-claims.js';
import type { VerifiedSession } from './session/verified-sessions.js';
import { checkAccessToken, issuedAtMs, namesUs, type TokenCheck } from './token/access-token.js';
import { settleTokens } from './token/settle-tokens.js';
import { preload } from './wire/token-endpoint.js';

type Valid = Extract<TokenCheck, { verdict: 'valid' }>;
type NotValid = Exclude<TokenCheck, Valid>;

/** A seal, opened. */
export interface OpenedSeal {
  readonly sealed: string;
  readonly payload: SessionPayload;
}

/** What became of refreshing a session. A session that is over is `terminal`, and nothing was sent. */
export type LifeRefresh = RefreshOutcome | { readonly kind: 'terminal'; readonly reason: Over };

/** How a session is refreshed. */
export interface LifeRefreshRequest extends RefreshRequest {
  /** Seals the new tokens in place of the newest password. */
  readonly password?: Password | undefined;
  /** A few bits about the client that asks. */
  readonly client?: string | undefined;
}

/** The life of a session, from its seal to its end. It knows no HTTP: requests, workers and tests share it. */
export type Lifecycle = ReturnType<typeof createLifecycle>;

// More seals than an honest browser sends.
const maxSeals = 10;

// How often a visit is noted at most, as parts of the time that a session may lie idle.
const notesPerIdleTime = 10;

/** Makes the life of sessions from the options that it reads. */
export function createLifecycle(settings: LifeSettings) {
  const { provider, seals, binding, fleet, refresh: refreshSettings, lifetimes, memory, emit } = settings;
  const { coordinator, ledger } = fleet;
  const reports = createReports(provider, emit);
  const sealing = seals.sealingUnder();
  const limitsIdleTime = lifetimes.idleMs < Infinity;
  const endings = createEndings(settings);
  const { isOver, mustRefresh } = endings;
  const whyOver = createOverRule(settings, endings, reports);
  const isReplayed = createReplayWatch(settings, endings);
  // A few kilobytes each, for as long as successors are remembered.
  const data = newestData({ max: 2_000, ttlMs: claimedMs });
  let isPreloaded = false;
  // The reading begins now, not with the first request.
  void ledger.untilRead()?.then(reports.read);

  // Open.

  /** The payload of a seal, in any known format, under any of the passwords; or what is wrong with it. */
  function open(sealed: string, work?: Work): SessionPayload | SealProblem {
    const opened = openSeal(sealed, seals.sealers, seals.passwords, Date.now(), binding, work);
    if (!opened.ok) return opened.problem;
    const payload = readPayload(opened.value, provider.sealsUserInCamelCase);
    if (!payload) return 'bad_shape';
    if (payload.boundTo !== undefined && payload.boundTo !== binding) return 'other_provider';
    if (opened.passwordIndex > 0) emit('oldPasswordUsed', { index: opened.passwordIndex });
    return deepFreeze(data.update(payload));
  }

  /** Loads what a refresh needs, once there is a session: neither start-up, nor its visitor, nor a refresh waits for it. */
  function preloadOnce(): void {
    if (isPreloaded) return;
    isPreloaded = true;
    // By the next turn of the event loop, a handler that answers at once has done so.
    setImmediate(() => {
      // A module that is missing fails the refresh that needs it, before its token is spent.
      Promise.all([preload(), sealing.preload()]).catch(() => undefined);
    });
  }

  /** Tries each seal. Together they cost no more than one request may. */
  function openEach(brought: readonly string[]): readonly (readonly [string, SessionPayload | SealProblem])[] {
    // Runs of pieces that are no whole seals take no part.
    const distinct = brought.length === 1 ? brought : [...new Set(brought)];
    const candidates = distinct.filter((sealed) => isRecognised(sealed, seals.sealers)).slice(0, maxSeals);
    const work = fullWork();
    return candidates.map((sealed, index) => {
      // Each has its share, so that forged ones leave enough for a good one behind them.
      const share: Work = { derivations: Math.floor(work.derivations / (candidates.length - index)) };
      work.derivations -= share.derivations;
      const opened = open(sealed, share);
      work.derivations += share.derivations;
      return [sealed, opened] as const;
    });
  }

  /** The sessions of all seals that open, without a report of those that do not. */
  function openAll(brought: readonly string[]): readonly SessionPayload[] {
    return openEach(brought).flatMap(([, opened]) => (typeof opened === 'string' ? [] : [opened]));
  }

  /**
   * Of the seals that open, the one that was made last: a browser may send several cookies of one name. Where none opens,
   * that is reported.
   */
  function openNewest(brought: readonly string[]): OpenedSeal | undefined {
    const problems: SealProblem[] = [];
    let newest: (OpenedSeal & { readonly madeAtMs: number }) | undefined;
    for (const [sealed, payload] of openEach(brought)) {
      if (typeof payload === 'string') {
        problems.push(payload);
        continue;
      }
      // Other writers do not say when they sealed. Their token was issued shortly before.
      const madeAtMs = brought.length === 1 ? 0 : (payload.sealedAt ?? issuedAtMs(payload.accessToken));
      if (!newest || madeAtMs > newest.madeAtMs) newest = { sealed, payload, madeAtMs };
    }
    if (!newest) reports.unopened(problems);
    return newest;
  }

  /** Whether one of these seals is a session of another provider. */
  function isOtherProviders(brought: readonly string[]): boolean {
    return brought.slice(0, maxSeals).some((sealed) => open(sealed) === 'other_provider');
  }

  // Refuse.

  /**
   * Notices an old seal that comes although its browser has had the next one for a while.
   *
   * @returns whether the session has ended by that, which is an option
   */
  function endsAsReplayed(payload: SessionPayload, client?: string): boolean {
    const isOver = isReplayed(payload, client);
    if (isOver) reports.refused(payload, 'session_revoked', 'replayed');
    return isOver;
  }

  // Check.

  /** Judges the access token. Synchronous where the keys are at hand. `fresh`: it came from the provider just now. */
  function check(payload: SessionPayload, { fresh = false } = {}): TokenCheck | Promise<TokenCheck> {
    return checkAccessToken(provider, payload, { clockToleranceSeconds: settings.clockToleranceSeconds, fresh });
  }

  /** What is remembered of a seal, if its session can still be believed. */
  function remembered(sealed: string): VerifiedSession | undefined {
    const session = memory.sessions.get(sealed);
    return session && isStillGood(session) ? session : undefined;
  }

  /** For a known visitor, one number tells that nothing has ended since. */
  function isStillGood(session: VerifiedSession): boolean {
    if (Date.now() >= session.verifiedUntilMs) return false;
    const version = ledger.version();
    if (session.goodAtVersion === version) return true;
    if (isOver(session.payload) || mustRefresh(session.payload)) return false;
    session.goodAtVersion = version;
    return true;
  }

  /** What a session shows, by the claims that hold. */
  function profile(payload: SessionPayload, held: HeldClaims): SessionProfile {
    return profileOf(payload, held, provider.mapClaims?.bind(provider));
  }

  /** A session whose access token was found valid. */
  function verified(payload: SessionPayload, valid: Valid): VerifiedSession {
    const { expiresAtMs, issuedAtMs } = valid;
    const nowMs = Date.now();
    const lifetimeMs = issuedAtMs > 0 ? expiresAtMs - issuedAtMs : expiresAtMs - nowMs;
    endings.noteTokenLifetime(lifetimeMs);
    preloadOnce();
    // At most a fifth of its lifetime: a token that lives for seconds would be refreshed on each request. The jitter
    // keeps tabs and processes that share an expiry from all starting in the same moment.
    const aheadMs = Math.min(settings.aheadMs, lifetimeMs / 5) * (1 - Math.random() / 4);
    return {
      payload,
      profile: deepFreeze(profile(payload, valid)),
      expiresAtMs,
      refreshFromMs: payload.refreshToken === undefined ? Infinity : expiresAtMs - aheadMs,
      noteUseFromMs: noteUseFromMs(payload),
      verifiedUntilMs: Math.min(expiresAtMs, nowMs + memory.maxMs, endsAtMs(payload, lifetimes)),
      predecessorReleased: false,
      goodAtVersion: -1,
      sealHash: '',
    };
  }

  /**
   * From when on a visit is noted. A session of other options, which limit no idle time, has no time of its last use:
   * the limit begins with the first visit here.
   */
  function noteUseFromMs({ usedAt }: SessionPayload): number {
    if (!limitsIdleTime) return Infinity;
    return usedAt === undefined ? 0 : usedAt * 1000 + lifetimes.idleMs / notesPerIdleTime;
  }

  /** Remembers a session by the seal that is on its way to the browser. */
  function remember(sealed: string, payload: SessionPayload, valid: Valid): VerifiedSession {
    const session = verified(payload, valid);
    memory.sessions.set(sealed, session);
    return session;
  }

  /**
   * Notes that a seal has come. When it comes back, the browser has stored it, and the seal before it is released.
   * A seal made here counts as back at its first visit. With and without the cache, this happens once for each seal.
   */
  function noteVisit(sealed: string, session: VerifiedSession): void {
    if (memory.sessions.noteVisit(sealed, session)) release(session);
  }

  /** The same for a session that is remembered, by comparing one flag. */
  function noteKnownVisit(session: VerifiedSession): void {
    if (session.predecessorReleased) return;
    session.predecessorReleased = true;
    release(session);
  }

  function release({ payload }: VerifiedSession): void {
    const { refreshToken, refreshedAt = begunAtMs(payload) } = payload;
    // What came before older tokens is remembered nowhere.
    if (refreshToken === undefined || refreshedAt < Date.now() - 2 * claimedMs) return;
    coordinator.releasePredecessor(tokenKey(provider, refreshToken), refreshSettings.graceMs);
  }

  // Refresh.

  /**
   * Runs the refresh grant, or joins the one that runs already. Refuses a session that is over before anything is sent,
   * and discards new tokens when the session ended meanwhile.
   */
  async function refresh(
    payload: SessionPayload & { readonly refreshToken: string },
    request: LifeRefreshRequest = {},
  ): Promise<LifeRefresh> {
    const outcome = await refreshUnlessOver(payload, request);
    reports.failed(payload, outcome);
    return outcome;
  }

  async function refreshUnlessOver(
    payload: SessionPayload & { readonly refreshToken: string },
    { password, client, ...request }: LifeRefreshRequest,
  ): Promise<LifeRefresh> {
    const over = whyOver(payload);
    if (over !== undefined) return { kind: 'terminal', reason: over };
    const own = password === undefined ? refreshSettings : { ...refreshSettings, ...seals.sealingUnder(password) };
    // On its way at the same time as the question for the lease: a sign-out of a moment ago still wins.
    const looked = ledger.look();
    const hasEnded = () => looked.then(() => isOver(payload));
    const outcome = await refreshSession(own, payload, { ...request, hasEnded });
    // The fleet may just have said that the successor of this token came long ago.
    if (endsAsReplayed(payload, client)) return { kind: 'terminal', reason: 'session_revoked' };
    if (outcome.kind !== 'refreshed' && outcome.kind !== 'terminal') return outcome;
    const next = outcome.kind === 'refreshed' ? [outcome.payload] : [];
    await ledger.look();
    if (!isOver(payload, ...next)) {
      if (outcome.kind === 'terminal' && endings.isFirstEnd(payload))
        emit('ended', { sessionId: idOf(payload), cause: 'provider' });
      return outcome;
    }
    // The session was signed out while we refreshed: discard the new tokens and leave the cookie alone.
    if (!endings.isReplaced(payload)) void endings.revocation.revokeAll(next);
    return { kind: 'terminal', reason: 'session_revoked' };
  }

  /**
   * Whether a session is certainly of this provider and client, so that a refusal of its token may clear its cookie. Our
   * own seals say so. Those of other writers hold a token that may name neither.
   */
  async function isCertainlyOurs({ boundTo, accessToken }: SessionPayload): Promise<boolean> {
    return boundTo === binding || namesUs(provider, accessToken);
  }

  /** The tokens that another request has received for these, if any. */
  function successorOf(payload: SessionPayload): Refreshed | undefined {
    const { refreshToken } = payload;
    if (refreshToken === undefined) return undefined;
    const successor = coordinator.successorOf(tokenKey(provider, refreshToken));
    if (!successor || isOtherUser(payload, successor.payload)) return undefined;
    // Where refresh tokens are not rotated, the successor may be these very tokens.
    return successor.payload.accessToken === payload.accessToken ? undefined : successor;
  }

  // Establish.

  /**
   * The payload of a new session.
   *
   * @param client a few bits about who signs in, to tell a copy by
   * @throws {SessionUseError} `ERR_SESSION_TOKENS_INVALID`
   */
  async function establish(tokens: TokenSet, client?: string): Promise<SessionPayload> {
    const settled = await settleTokens(settings, tokens);
    const given = nextPayload(undefined, settled, Date.now());
    const payload = readPayload(given);
    if (!payload) {
      throw new SessionUseError(
        'ERR_SESSION_TOKENS_INVALID',
        'A session needs an "accessToken" that is a string. A "refreshToken" must be one too, and a "user" must have an "id".',
      );
    }
    // In another writer's seal such a field is left out. Here the app's own call can be put right.
    const odd = Object.keys(given).find((field) => (given[field] ?? undefined) !== undefined && !(field in payload));
    if (odd !== undefined) {
      const field = odd === 'expiresAt' ? 'expiresIn' : odd;
      throw new SessionUseError('ERR_SESSION_TOKENS_INVALID', `The "${field}" of the tokens is of the wrong type.`);
    }
    return refreshSettings.shape({ ...payload, sessionId: randomUUID(), ...(client !== undefined && { client }) });
  }

  // End.

  /**
   * Signs out every session of these that is known to belong together, with all that followed it.
   *
   * @param isLeaving whether the browser is being sent to the provider's log-out page
   */
  function signOut(payloads: readonly SessionPayload[], { isLeaving }: { readonly isLeaving: boolean }): Promise<void> {
    return endings.end(payloads, { revoke: isLeaving ? 'after log-out' : 'now' });
  }

  /**
   * Ends a session in whose place another one was signed in. It is revoked at the provider only where it was another
   * user's: the sign-ins of one user may share a grant, and revoking the old refresh token would end the new session.
   */
  function replace(previous: SessionPayload, next: SessionPayload): Promise<void> {
    const isSameUser = userIdOf(previous) === userIdOf(next);
    return endings.end([previous], { except: next, revoke: isSameUser ? 'nothing' : 'now' });
  }

  /** Ends new tokens that nobody is to use, where that can be done without the browser. Nothing waits for it. */
  function discard({ accessToken, refreshToken }: Pick<TokenSet, 'accessToken' | 'refreshToken'>): void {
    void endings.revocation.revokeAll([{ accessToken, refreshToken }]);
  }

  /** Where the browser ends the session at the provider. Undefined where there is no such place, or it is not known now. */
  async function logoutUrl(
    payload: SessionPayload | undefined,
    request: { returnTo?: string | undefined; idToken?: string | undefined; state?: string | undefined } = {},
  ): Promise<string | undefined> {
    try {
      const sid = payload && sidsOf(payload)[0];
      return await provider.logoutUrl?.({ sessionId: payload && idOf(payload), sid, ...request });
    } catch {
      return undefined;
    }
  }

  return Object.freeze({
    emit,
    limitsIdleTime,
    open,
    openNewest,
    isOtherProviders,
    openAll,
    whyOver,
    endsAsReplayed,
    isOver,
    mustRefresh,
    untilRead: ledger.untilRead,
    check,
    profile,
    verified,
    remembered,
    isStillGood,
    remember,
    noteVisit,
    noteKnownVisit,
    refresh,
    reportRefreshed: reports.refreshed,
    isCertainlyOurs,
    successorOf,
    establish,
    seal: sealing.seal,
    noteData: data.note,
    signOut,
    ...createRevoking(settings, endings),
    replace,
    discard,
    /** Whether the browser can be sent somewhere to end the session at the provider. */
    hasLogoutPage: provider.logoutUrl !== undefined,
    logoutUrl,
    reportRejected: reports.rejected,
    reportRefused: reports.refused,
    reportMissed: reports.missed,
  });
}

/** The reason that goes with a verdict. */
export function reasonOf(check: NotValid): Reason {
  return check.verdict === 'expired' ? 'expired_jwt' : check.reason;
}
