import type { IncomingMessage, ServerResponse } from 'node:http';

import { isLoopback } from '../checks.js';
import { isDebugging } from '../debug.js';
import { SessionConfigError } from '../errors.js';
import type { Carrier, Exchange } from '../http/carrier.js';
import { clientOf } from '../http/client.js';
import type { Middleware, Next } from '../http/middleware.js';
import { isPrefetch } from '../http/navigation.js';
import type { LifeRefresh, Lifecycle, OpenedSeal } from '../lifecycle.js';
import type { VisitSettings } from '../options/config.js';
import type { SessionPayload } from '../session/payload.js';
import { type FinalReason, isRetryable } from '../session/reasons.js';
import type { VerifiedSession } from '../session/verified-sessions.js';
import type { TokenCheck } from '../token/access-token.js';
import { hasRefreshToken, stateAfterRefresh } from './actions.js';
import { attach, sessionBefore } from './attached.js';
import { debugVisit } from './debug-lines.js';
import { unavailableError } from './guard.js';
import { crossOriginRefusal } from './cross-origin.js';
import type { BearerSessions } from './bearer.js';
import type { DeviceGate } from './device.js';
import type { SealPlacer } from './put-seal.js';
import { type Mount, RequestSession } from './session-object.js';
import { type SessionState, signedIn, signedOut, type StaleBecause, undecided } from './state.js';

type Expired = Extract<TokenCheck, { verdict: 'expired' }>;
type Refreshed = Extract<LifeRefresh, { kind: 'refreshed' }>;

// An old seal may be behind by as many generations as fit into the time that successors are remembered.
const maxHops = 100;

/** What handles the visits of one mount. */
export interface VisitParts {
  readonly life: Lifecycle;
  readonly carrier: Carrier;
  readonly seals: SealPlacer;
  readonly mount: Mount;
  readonly settings: VisitSettings;
  /** Takes tokens in place of seals, where the options say so. */
  readonly bearer: BearerSessions | undefined;
  /** Makes the middleware itself the guard. */
  readonly guard: Middleware | undefined;
  /** Asks bound sessions for the proof of their device. */
  readonly device: DeviceGate | undefined;
}

/**
 * The way of a request, from its seal to `next()`. It stays synchronous when the keys are cached and nothing has to be
 * refreshed, which is almost every request. `docs/architecture.md` has a table of every way out.
 */
export function visitMiddleware(parts: VisitParts): Middleware {
  const { life, carrier, seals, mount, settings, bearer, guard, device } = parts;
  const { isActivity, whenUnavailable, staleMs, isInsecure, isPassive } = settings;
  const refuseCrossOrigin = crossOriginRefusal(life, carrier, settings.crossOriginHeader);

  return function sessionMiddleware(req, res, next) {
    const exchange: Exchange = { req, res };
    let found: SessionState | Promise<SessionState>;
    let earlier: RequestSession | undefined;
    try {
      earlier = sessionBefore(req, mount);
      // Mounted twice, the work is done once. A guard asks again.
      if (earlier && RequestSession.ofMount(mount, earlier)) {
        pass(req, res, next);
        return;
      }
      const isNotice = mount.isNotice?.(req) === true;
      // In development the provider may run in a container, for which the app is another host.
      if (isInsecure && !isNotice) refuseOtherHosts(req);
      found = isNotice ? signedOut('no_session_cookie_provided') : findState(exchange);
    } catch (error) {
      next(error);
      return;
    }
    if (!(found instanceof Promise)) {
      goOn(exchange, found, earlier, next);
      return;
    }
    // Express 4 and Connect do not catch rejections, and one that escaped would end the process. The rest of the app
    // runs outside the promise, so that what a handler throws is not taken for ours.
    found.then(
      (state) => {
        process.nextTick(goOn, exchange, state, earlier, next);
      },
      (error: unknown) => {
        process.nextTick(next, error);
      },
    );
  };

  function findState(exchange: Exchange): SessionState | Promise<SessionState> {
    // A process that has just started does not know yet what has ended.
    const reading = life.untilRead();
    return reading ? reading.then(() => findStateNow(exchange)) : findStateNow(exchange);
  }

  function findStateNow(exchange: Exchange): SessionState | Promise<SessionState> {
    // A token in place of a seal. Whatever becomes of it, the cookie beside it counts for nothing.
    const ofToken = bearer?.(exchange);
    if (ofToken) return ofToken;

    // 1. Read the seals. From another origin they count for nothing. If this one was verified recently and nothing is
    // due, stop here.
    const brought = carrier.read(exchange);
    if (brought.length === 0) {
      life.reportMissed(exchange.req.headers.cookie !== undefined);
      return signedOut('no_session_cookie_provided');
    }
    const refused = refuseCrossOrigin(exchange, brought);
    if (refused) return refused;
    const known = knownVisitor(brought);
    if (known) return signedIn(known);

    // 2. Unseal. A seal that does not open is left alone: a wrong password in one deploy must not sign everybody out.
    const opened = life.openNewest(brought);
    if (!opened) return signedOut('invalid_session_cookie');
    const { payload } = opened;

    // 3. Refuse what is over. One that was signed out needs no clearing: its sign-out has done that.
    const over = life.whyOver(payload);
    if (over === 'session_revoked') return signedOut(over);
    if (over === 'session_expired') return endSession(exchange, payload, over);

    const unproven = device?.refuse(exchange, payload);
    if (unproven) return unproven;
    if (life.endsAsReplayed(payload, clientOf(exchange.req))) return signedOut('session_revoked');

    // 4. Check the access token.
    const check = life.check(payload);
    return check instanceof Promise
      ? check.then((verdict) => actOn(exchange, opened, verdict))
      : actOn(exchange, opened, check);
  }

  /** 5. Act on the verdict. */
  function actOn(
    exchange: Exchange,
    { payload, sealed }: OpenedSeal,
    check: TokenCheck,
  ): SessionState | Promise<SessionState> {
    switch (check.verdict) {
      case 'valid': {
        if (life.mustRefresh(payload)) return refreshFirst(exchange, payload);
        const session = life.verified(payload, check);
        life.noteVisit(sealed, session);
        return whileValid(exchange, session);
      }
      case 'expired':
        return refreshFirst(exchange, payload, check);
      case 'invalid':
        // Neither refreshed nor cleared: a wrong `issuer` in the options would spend every session that comes by.
        life.reportRejected(payload, check);
        return signedOut(check.reason, payload);
      case 'unknown':
        // The key set cannot be had. That says nothing about the token, and a refresh would make a storm of it.
        life.reportRejected(payload, check);
        return undecided(check.reason, payload, check);
    }
  }

  /** 5a. Valid: refresh if it is about to expire, or note the visit where idle time is limited. Else go on. */
  function whileValid(exchange: Exchange, session: VerifiedSession): SessionState | Promise<SessionState> {
    const nowMs = Date.now();
    const isDue = nowMs >= session.refreshFromMs || nowMs >= session.noteUseFromMs;
    if (!isDue || !counts(exchange.req) || !carrier.isOpen(exchange)) return signedIn(session);
    return nowMs >= session.refreshFromMs ? refreshAhead(exchange, session) : noteUse(exchange, session);
  }

  /** One request leads the refresh; the others go on with the token that is still valid. */
  async function refreshAhead(exchange: Exchange, session: VerifiedSession): Promise<SessionState> {
    const { payload } = session;
    if (!hasRefreshToken(payload)) return signedIn(session);
    const outcome = await life.refresh(used(exchange, payload), { wait: false, client: clientOf(exchange.req) });
    switch (outcome.kind) {
      case 'refreshed':
        seals.put(exchange, outcome.payload, outcome.sealed, payload);
        return stateAfterRefresh(life, outcome, { ahead: true });
      case 'terminal':
        return refused(exchange, payload, outcome.reason);
      case 'refused':
      case 'unavailable':
      case 'elsewhere':
        return signedIn(session);
    }
  }

  /** 5b. Expired, or its claims are not to be served any more. */
  function refreshFirst(
    exchange: Exchange,
    payload: SessionPayload,
    check?: Expired,
  ): SessionState | Promise<SessionState> {
    // A token is not spent for a seal that cannot be sent: the session is read-only here.
    return carrier.isOpen(exchange)
      ? refreshExpired(exchange, payload, check)
      : expired(payload, 'response_takes_no_cookie');
  }

  /** Every request with this seal waits for the one refresh. */
  async function refreshExpired(
    exchange: Exchange,
    payload: SessionPayload,
    check: Expired | undefined,
    hops = 0,
  ): Promise<SessionState> {
    if (!hasRefreshToken(payload)) return expired(payload, 'no_refresh_token');
    // Only asked how the session is: no problem of it.
    if (isPassive(exchange.req)) return signedOut('expired_jwt', payload);
    const outcome = await life.refresh(used(exchange, payload), { client: clientOf(exchange.req) });
    switch (outcome.kind) {
      case 'refreshed':
        return acceptRefreshed(exchange, payload, outcome, hops);
      case 'terminal':
        return refused(exchange, payload, outcome.reason);
      case 'refused':
        // A guess from the evidence. Where it is wrong, the seal is good again at the next refresh.
        return signedOut(outcome.reason, payload);
      case 'unavailable':
        return (
          (outcome.isOutage && check ? staleState(payload, check, outcome) : undefined) ??
          undecided(outcome.reason, payload, outcome)
        );
      case 'elsewhere':
        life.reportRefused(payload, 'server_error', 'refreshed_elsewhere');
        return undecided('server_error', payload);
    }
  }

  /** The token has expired, and nothing can be done about it here. */
  function expired(payload: SessionPayload, why: 'no_refresh_token' | 'response_takes_no_cookie'): SessionState {
    life.reportRefused(payload, 'expired_jwt', why);
    return signedOut('expired_jwt', payload);
  }

  /**
   * 6. Write: the new seal goes on the response before the new token is checked. A remembered successor may itself have
   * expired: then it is refreshed in turn. A token fresh from the provider that has expired means that a clock is wrong.
   */
  async function acceptRefreshed(
    exchange: Exchange,
    previous: SessionPayload,
    refreshed: Refreshed,
    hops: number,
  ): Promise<SessionState> {
    const { payload, sealed, source } = refreshed;
    seals.put(exchange, payload, sealed, previous);
    // What was asked for before the claims had to be fresh is not fresh.
    if (life.mustRefresh(payload) && hops < maxHops) return refreshExpired(exchange, payload, undefined, hops + 1);
    if ((source === 'remembered' || source === 'fleet') && hops < maxHops) {
      const check = await life.check(payload);
      if (check.verdict === 'expired') return refreshExpired(exchange, payload, check, hops + 1);
    }
    return stateAfterRefresh(life, refreshed);
  }

  /** The provider refuses the session. A seal that may be another provider's is left alone: here it could only be refused. */
  async function refused(exchange: Exchange, payload: SessionPayload, reason: FinalReason): Promise<SessionState> {
    return (await life.isCertainlyOurs(payload)) ? endSession(exchange, payload, reason) : signedOut(reason, payload);
  }

  /** The session is over: there is nothing to come back to, so its seal is cleared. */
  function endSession(exchange: Exchange, payload: SessionPayload, reason: FinalReason): SessionState {
    seals.withdrawOver(exchange, payload);
    return signedOut(reason, payload);
  }

  /** 7. Go on: the session is on the request, then `next()` is called, once. */
  function goOn(exchange: Exchange, found: SessionState, earlier: RequestSession | undefined, next: Next): void {
    const { req, res } = exchange;
    const state = device ? device.admit(exchange, found) : found;
    if (!state) return;
    attach(req, mount.property, new RequestSession(state, mount, exchange, earlier));
    if (isDebugging) debugVisit(req, state, carrier.read(exchange)[0]);
    if (state.signedIn) carrier.keepPrivate(exchange);
    // With `refuse`, no route of the app runs while it cannot be known who is there. Signing in and out stays possible:
    // the cookie is HttpOnly, and a visitor who is locked out could not help themselves.
    else if (whenUnavailable === 'refuse' && isRetryable(state.reason) && !mount.isOwnRoute?.(req)) {
      next(unavailableError(res, state.reason, state.why));
      return;
    }
    pass(req, res, next);
  }

  /** To the guard, where the middleware is one. Signing in and out stays possible: a guard before them would lock out. */
  function pass(req: IncomingMessage, res: ServerResponse, next: Next): void {
    if (guard && !mount.isOwnRoute?.(req)) guard(req, res, next);
    else next();
  }

  /** Seals again that the session was used, a few times within the idle time. */
  async function noteUse(exchange: Exchange, session: VerifiedSession): Promise<SessionState> {
    const payload = used(exchange, session.payload);
    seals.put(exchange, payload, await life.seal(payload));
    return signedIn({ ...session, payload });
  }

  /** The payload with the time of this visit, where idle time is limited and the visit counts. */
  function used<Payload extends SessionPayload>({ req }: Exchange, payload: Payload): Payload {
    if (payload.usedAt === undefined && !life.limitsIdleTime) return payload;
    if (!counts(req)) return payload;
    return { ...payload, usedAt: Math.trunc(Date.now() / 1000) };
  }

  /** Whether this request is its user's doing, as far as idle time is concerned. */
  function counts(req: IncomingMessage): boolean {
    return req.method !== 'OPTIONS' && !isPrefetch(req) && !isPassive(req) && isActivity(req);
  }

  function knownVisitor(brought: readonly string[]): VerifiedSession | undefined {
    if (!isOneCookie(brought)) return undefined;
    let session: VerifiedSession | undefined;
    for (const seal of brought) session ??= life.remembered(seal);
    if (!session) return undefined;
    const nowMs = Date.now();
    if (nowMs >= session.refreshFromMs || nowMs >= session.noteUseFromMs) return undefined;
    life.noteKnownVisit(session);
    return session;
  }

  /** With `staleSeconds`: the claims of an expired token whose signature holds, while it cannot be refreshed. */
  function staleState(payload: SessionPayload, check: Expired, stale: StaleBecause): SessionState | undefined {
    const { claims, expiresAtMs, fromIdToken } = check;
    if (whenUnavailable !== 'stale' || claims === undefined || expiresAtMs === undefined) return undefined;
    if (Date.now() > expiresAtMs + staleMs || life.mustRefresh(payload)) return undefined;
    const profile = life.profile(payload, { claims, fromIdToken });
    return { signedIn: true, payload, profile, expiresAtMs, refreshed: false, stale };
  }
}

/** True when every candidate is a beginning of the first: all are pieces of one cookie. */
function isOneCookie(seals: readonly string[]): boolean {
  return seals.length === 1 || seals.every((run) => seals[0]?.startsWith(run));
}

/**
 * A cookie without `Secure` is for development: on any other host the network could read it.
 *
 * @throws {SessionConfigError}
 */
function refuseOtherHosts(req: IncomingMessage): void {
  // HTTP/2 sends the host as a pseudo-header.
  const host = String(req.headers[':authority'] ?? req.headers.host ?? '');
  if (isLoopback(host.replace(/:\d+$/, ''))) return;
  throw new SessionConfigError([
    {
      path: 'cookie.secure',
      message: 'can be false for localhost, 127.0.0.1 and [::1] only. Leave it out here, and serve https.',
    },
  ]);
}
