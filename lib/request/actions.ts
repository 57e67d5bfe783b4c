import { SessionUseError } from '../errors.js';
import type { Carrier, Exchange } from '../http/carrier.js';
import { clientOf } from '../http/client.js';
import { isNavigation } from '../http/navigation.js';
import { type LifeRefresh, type Lifecycle, reasonOf } from '../lifecycle.js';
import { idOf } from '../session/unverified-claims.js';
import type { SessionPayload, TokenSet } from '../session/payload.js';
import { isRetryable, isUnproven, type Reason } from '../session/reasons.js';
import { refuseUnknownFields } from '../session/token-fields.js';
import type { TokenCheck } from '../token/access-token.js';
import type { SealPlacer } from './put-seal.js';
import type { RefreshResult } from './session.js';
import { type Actions, RequestSession, type SignOutRequest } from './session-object.js';
import { hasSeals, type SessionState, signedIn, signedOut, undecided } from './state.js';

/** What the callback does with a session that it has prepared. */
export interface RouteActions {
  acceptSession(exchange: Exchange, session: RequestSession, next: AcceptedSession): Promise<void>;
}

/** `refresh`, `signIn`, `signOut` and `save` of the sessions on requests. */
export function sessionActions(life: Lifecycle, carrier: Carrier, seals: SealPlacer): Actions & RouteActions {
  /** @throws {SessionUseError} headers that are sent take no cookie; found out before a token is spent for one */
  function assertOpen(exchange: Exchange, action: string): void {
    if (carrier.isOpen(exchange)) return;
    throw headersSentError(action);
  }

  /** Puts a new session on the request and its response, in place of the one before. */
  async function acceptSession(exchange: Exchange, session: RequestSession, next: AcceptedSession): Promise<void> {
    const { payload, sealed, check, isNew } = next;
    assertOpen(exchange, 'signIn');
    // A token that came in place of a cookie goes on beside the new session.
    const state = RequestSession.stateOf(session);
    const previous = hasSeals(state) ? state.payload : undefined;
    const tooLarge = seals.put(exchange, payload, sealed);
    if (tooLarge) throw tooLarge;
    // A late answer to a request with the old session must not take the place of the new one.
    if (previous) await life.replace(previous, payload);
    RequestSession.setState(
      session,
      check.verdict === 'unknown'
        ? undecided(check.reason, payload, check)
        : signedIn(life.remember(sealed, payload, check), true),
    );
    if (isNew) life.emit('signedIn', { sessionId: idOf(payload), userId: payload.user?.id ?? '' });
  }

  /** Ends the session that a token names, and writes nothing. A key is the app's own to take back. */
  async function signOutToken(session: RequestSession, options: SignOutRequest): Promise<string | undefined> {
    const { payload, via } = RequestSession.stateOf(session);
    if (via === undefined || !payload) return undefined;
    RequestSession.setState(session, { ...signedOut('no_session_cookie_provided'), via });
    if (via === 'apiKey') return undefined;
    await life.signOut([payload], { isLeaving: false });
    life.emit('signedOut', { sessionId: idOf(payload) });
    return life.logoutUrl(payload, options);
  }

  return {
    acceptSession,

    async refresh(exchange, session, { organizationId, returnTo }) {
      assertOpen(exchange, 'refresh');
      const state = RequestSession.stateOf(session);
      const { payload } = state;
      // Without its device, a session spends no token.
      if (!state.signedIn && isUnproven(state.reason)) return notRefreshed(state.reason);
      if (!hasRefreshToken(payload)) {
        return notRefreshed(state.signedIn ? 'invalid_session_cookie' : state.reason);
      }
      const outcome = await life.refresh(payload, { organizationId, onDemand: true, client: clientOf(exchange.req) });
      if (outcome.kind === 'refreshed') {
        seals.put(exchange, outcome.payload, outcome.sealed, payload);
        const next = await stateAfterRefresh(life, outcome);
        RequestSession.setState(session, next);
        return next.signedIn ? { refreshed: true } : notRefreshed(next.reason);
      }
      // What one organization refuses does not end the session in another.
      if (outcome.kind === 'terminal' && organizationId === undefined) {
        if (await life.isCertainlyOurs(payload)) seals.withdrawOver(exchange, payload);
        RequestSession.setState(session, signedOut(outcome.reason));
      }
      // A token that is still valid serves until it expires.
      if (outcome.kind === 'refused' && !state.signedIn) {
        RequestSession.setState(session, signedOut(outcome.reason, payload));
      }
      if (outcome.kind === 'elsewhere') return notRefreshed('server_error');
      const { reason } = outcome;
      if (!needsVisitor(reason)) return notRefreshed(reason);
      const { interactionUrl } = outcome.kind === 'terminal' && 'interactionUrl' in outcome ? outcome : {};
      const asked = { ...(organizationId && { organizationId }), ...(returnTo && { returnTo }) };
      const signInUrl = interactionUrl ?? (await RequestSession.signInOf(session)?.pathFor(exchange.req, asked));
      return { ...notRefreshed(reason), ...(signInUrl !== undefined && { signInUrl }) };
    },

    async signIn(exchange, session, tokens) {
      assertOpen(exchange, 'signIn');
      refuseUnknownFields(tokens);
      const { payload, check } = await prepareSession(life, tokens, clientOf(exchange.req));
      const sealed = await life.seal(payload);
      await acceptSession(exchange, session, { payload, sealed, check, isNew: true });
    },

    async signOut(exchange, session, options) {
      assertOpen(exchange, 'signOut');
      const state = RequestSession.stateOf(session);
      const { payload } = state;
      // Another origin cannot sign the visitor out, and a token leaves the cookie beside it alone.
      if (!hasSeals(state)) return signOutToken(session, options);
      const brought = carrier.read(exchange);
      // With two cookies of the name, the one that was not looked at would sign its visitor in at the next request.
      const others = life.openAll(brought);
      // Another provider's session is not ours to end. A seal that does not open is cleared: the visitor asked for it.
      if (payload || !life.isOtherProviders(brought)) seals.withdraw(exchange);
      carrier.clearSiteData(exchange);
      RequestSession.setState(session, signedOut('no_session_cookie_provided'));
      // The visitor is signed out here whatever the provider says, and does not wait for it.
      const isLeaving = payload !== undefined && life.hasLogoutPage && isNavigation(exchange.req);
      const ending = life.signOut(payload ? [payload, ...others] : others, { isLeaving });
      if (options.everywhere) await life.signOutEverywhere(payload ? [payload, ...others] : others);
      await ending;
      if (!payload) return undefined;
      life.emit('signedOut', { sessionId: idOf(payload) });
      return life.logoutUrl(payload, options);
    },

    async save(exchange, session, data) {
      assertOpen(exchange, 'save');
      const state = RequestSession.stateOf(session);
      if (!state.signedIn) return;
      if (!hasSeals(state)) throw noCookieError();
      // Another request may have refreshed the session meanwhile: its tokens are the ones to keep.
      const base = life.successorOf(state.payload)?.payload ?? state.payload;
      const payload = { ...base, data };
      const sealed = await life.seal(payload);
      assertOpen(exchange, 'save');
      const tooLarge = seals.put(exchange, payload, sealed);
      if (tooLarge) throw tooLarge;
      life.noteData(payload);
      RequestSession.setState(session, { ...state, payload });
    },
  };
}

export function headersSentError(action: string): SessionUseError {
  return new SessionUseError(
    'ERR_SESSION_HEADERS_SENT',
    `session.${action}() needs a response that still takes headers: the new cookie goes with them. Call it earlier.`,
  );
}

function noCookieError(): SessionUseError {
  return new SessionUseError(
    'ERR_SESSION_NO_COOKIE',
    'session.save() needs a session in a cookie. This one came with a token or an API key, which keep nothing: look at ' +
      'session.via, and keep the values elsewhere.',
  );
}

/** A new session whose tokens were checked. `unknown`: the keys cannot be had. */
export interface PreparedSession {
  readonly payload: SessionPayload;
  readonly check: Extract<TokenCheck, { verdict: 'valid' | 'unknown' }>;
}

export interface AcceptedSession extends PreparedSession {
  readonly sealed: string;
  /** Whether no other request has accepted it before. */
  readonly isNew: boolean;
}

/**
 * The session that new tokens make. Nothing is written yet.
 *
 * @param client a few bits about who signs in, to tell a copy by
 * @throws {SessionUseError} `ERR_SESSION_TOKENS_INVALID`
 */
export async function prepareSession(life: Lifecycle, tokens: TokenSet, client?: string): Promise<PreparedSession> {
  const { payload, check } = await checkNewSession(life, await life.establish(tokens, client));
  if (check.verdict === 'valid' || check.verdict === 'unknown') return { payload, check };
  life.reportRejected(payload, check);
  throw new SessionUseError(
    'ERR_SESSION_TOKENS_INVALID',
    'The provider issued an access token that does not pass the checks of withSession. The events tell which.',
  );
}

/** Checks the tokens of a new session. Tokens that have expired, as in a migration, are refreshed first. */
async function checkNewSession(
  life: Lifecycle,
  payload: SessionPayload,
): Promise<{ readonly payload: SessionPayload; readonly check: TokenCheck }> {
  const check = await life.check(payload, { fresh: true });
  if (check.verdict !== 'expired' || !hasRefreshToken(payload)) return { payload, check };
  const outcome = await life.refresh(payload);
  switch (outcome.kind) {
    case 'refreshed':
      return { payload: outcome.payload, check: await life.check(outcome.payload, { fresh: true }) };
    case 'unavailable':
      return { payload, check: { verdict: 'unknown', reason: outcome.reason } };
    case 'terminal':
    case 'refused':
    case 'elsewhere':
      return { payload, check };
  }
}

/** What a request knows once refreshed tokens are on its response. */
export async function stateAfterRefresh(
  life: Lifecycle,
  refreshed: Extract<LifeRefresh, { kind: 'refreshed' }>,
  { ahead = false } = {},
): Promise<SessionState> {
  const { payload, sealed } = refreshed;
  life.reportRefreshed(refreshed, ahead);
  // Requests that joined the same refresh share its verification.
  const known = life.remembered(sealed);
  if (known) return signedIn(known, true);
  const check = await life.check(payload, { fresh: true });
  if (check.verdict === 'valid') return signedIn(life.remember(sealed, payload, check), true);
  // The new token is kept: what is wrong is more likely the set-up, and that can be put right.
  life.reportRejected(payload, check);
  return check.verdict === 'unknown' ? undecided(check.reason, payload, check) : signedOut(reasonOf(check), payload);
}

/** Whether there is something to refresh with. */
export function hasRefreshToken(
  payload: SessionPayload | undefined,
): payload is SessionPayload & { readonly refreshToken: string } {
  return payload?.refreshToken !== undefined;
}

/** Whether the visitor has to take a step at the provider. */
function needsVisitor(reason: Reason): boolean {
  return reason === 'sso_required' || reason === 'mfa_enrollment' || reason === 'interaction_required';
}

function notRefreshed(reason: Reason): Extract<RefreshResult, { refreshed: false }> {
  return { refreshed: false, reason, retryable: isRetryable(reason) };
}
