import { userIdOf } from '../fleet/session-names.js';
import { SessionSignInError, SessionUnavailableError } from '../errors.js';
import type { Exchange } from '../http/carrier.js';
import { isForeignDocument, mayBind, openFromHere } from '../http/device-headers.js';
import { opensPage } from '../http/navigation.js';
import { pkceChallenge } from '../provider/provider.js';
import type { RouteActions } from '../request/actions.js';
import type { FindSession } from '../request/guard.js';
import { type AskedByGuard, RequestSession } from '../request/session-object.js';
import { isRetryable } from '../session/reasons.js';
import { knownErrorCode } from '../wire/error-code.js';
import { type Begin, type BeginParts, flowBinding, redirectUriOf, restartsOf } from './begin.js';
import { asksForMore, ExchangeFailure, exchangeOnce, type ExchangeParts, type SignInResult } from './exchange.js';
import type { Flow, Flows } from './flow.js';
import type { IdTokenCookie } from './id-token-cookie.js';
import type { Impersonations } from './impersonation.js';
import type { RestartMarker } from './restart-marker.js';
import { redirect, type Route } from './route.js';
import { foundNobody, isSilentState } from './silent.js';

export interface CallbackParts extends ExchangeParts, Pick<BeginParts, 'site' | 'callbackPath' | 'returnTo'> {
  readonly flows: Flows;
  readonly begin: Begin;
  readonly marker: RestartMarker;
  readonly idTokens: IdTokenCookie;
  readonly impersonations: Impersonations;
  readonly find: FindSession;
  readonly actions: RouteActions;
  /** Where another attempt begins, as browsers see it. */
  readonly signInPath: string;
  /** Whether the page after the sign-in offers to bind the session to its device. */
  readonly isOffered: boolean;
}

/** A sign-in that failed, and what another attempt needs. */
interface Failed {
  readonly failure: ExchangeFailure;
  readonly state: string;
  readonly returnTo: string;
  /** What another attempt asks for. */
  readonly asked?: AskedByGuard;
  /** Whether a visitor who is signed in can go on as if nothing had happened. */
  readonly mayGoOn: boolean;
  /** Whether another attempt may help. */
  readonly mayRestart: boolean;
}

/**
 * `/callback`: exchanges the code for tokens, and signs in with them. Without a flow of this browser the code is never
 * sent: a link made by somebody else would sign the visitor in to that person's session. Each callback leads somewhere;
 * `docs/guide/sign-in.md` has the table.
 */
export function callbackRoute(parts: CallbackParts): Route {
  const { flows, find, provider, actions } = parts;

  return async (req, res, query) => {
    const exchange: Exchange = { req, res };
    const session = find(req);
    const redirectUri = redirectUriOf(parts, exchange);
    const state = query.get('state') ?? '';
    const found = await flows.read(exchange, state, flowBinding(provider, redirectUri));
    const impersonation = await parts.impersonations.exchange(exchange, redirectUri, query);
    if (impersonation) {
      await accept(exchange, impersonation);
      arrive(exchange, impersonation.returnTo);
      return;
    }
    if ('failure' in found) {
      const { failure, returnTo = parts.returnTo } = found;
      await lead(exchange, { ...unmatched, failure: new ExchangeFailure(failure), state, returnTo });
      return;
    }

    const flow = found;
    const { nonce, codeVerifier, asked, returnTo } = flow;
    const codeChallenge = pkceChallenge(codeVerifier);
    const request = { redirectUri, state, nonce, codeVerifier, codeChallenge, parameters: asked };
    try {
      refuseError(query);
      // Nothing is asked of the provider for an answer without a code, which any link can be.
      if (!query.get('code')) throw new ExchangeFailure('check_failed', { check: 'callback_parameters' });
      const earlierUserIds = [flow.userId, userIdOf(RequestSession.stateOf(session).payload)];
      const result = await exchangeOnce(parts, { req, query, flow, request, earlierUserIds });
      await accept(exchange, result);
      flows.forget(res, state);
      arrive(exchange, result.returnTo);
    } catch (error) {
      // While the provider is away the code is still good, and a reload may try it again.
      if (error instanceof SessionUnavailableError) throw error;
      flows.forget(res, state);
      if (!(error instanceof ExchangeFailure)) throw error;
      // Only who is asked anew can use another method.
      const again = { ...asked, ...(asked.amr !== undefined && { prompt: 'login' }), appState: flow.appState };
      await lead(exchange, { ...rulesOf(error, flow), failure: error, state, returnTo, asked: again });
    }
  };

  /**
   * To where the visitor was going. After a redirect the page would still count as opened by the provider, and a browser
   * that registers its device for such a page sends no cookies with it.
   */
  function arrive({ req, res }: Exchange, returnTo: string): void {
    const isBinding = parts.isOffered && isForeignDocument(req) && mayBind(req);
    if (isBinding) openFromHere(res, returnTo, 200);
    else redirect(res, returnTo);
  }

  /** Puts the session of a sign-in on the request and its response. */
  async function accept(exchange: Exchange, result: SignInResult): Promise<void> {
    const { payload, sealed, isNew } = result;
    const check = await checkAgain(payload);
    await actions.acceptSession(exchange, find(exchange.req), { payload, sealed, check, isNew });
    parts.marker.clear(exchange);
    await parts.idTokens.keep(exchange, result);
  }

  /** The verdict on a session that another request has accepted, or this one a moment ago. */
  async function checkAgain(payload: Parameters<typeof parts.life.check>[0]) {
    const check = await parts.life.check(payload, { fresh: true });
    if (check.verdict === 'valid' || check.verdict === 'unknown') return check;
    throw new ExchangeFailure('check_failed', { check: 'access_token' });
  }

  /** After a callback that failed: to where the visitor was going, to the provider once more, or to an error. */
  async function lead(exchange: Exchange, failed: Failed): Promise<void> {
    const { req, res } = exchange;
    const { failure, state, returnTo } = failed;
    const current = RequestSession.stateOf(find(req));
    if (isSilentState(state)) {
      // The visitor has not asked for it, and is not to notice it.
      if (!failed.mayGoOn && !foundNobody(failure.details.providerError)) report(failure, false);
      redirect(res, returnTo);
      return;
    }
    // A visitor who may be signed in is not sent to sign in. The page can tell, or says when to come back.
    if (failed.mayGoOn && (current.signedIn || isRetryable(current.reason))) {
      redirect(res, returnTo);
      return;
    }
    const isFirst = restartsOf(state) === 0 && !parts.marker.isSet(exchange);
    if (failed.mayRestart && isFirst && opensPage(req)) {
      const url = await parts.begin(exchange, { ...failed.asked, returnTo }, { restarts: 1 });
      await parts.marker.set(exchange);
      report(failure, true);
      redirect(res, url);
      return;
    }
    report(failure, false);
    // eslint-disable-next-line @typescript-eslint/only-throw-error -- it is the app's own, whatever that is
    if (failure.thrown !== undefined) throw failure.thrown;
    const { providerError, check } = failure.details;
    const status = isProviderAway(providerError) ? 503 : statusOf(failure);
    throw new SessionSignInError(failure.failure, {
      providerError,
      check,
      returnTo,
      signInPath: parts.signInPath,
      status,
    });
  }

  function report({ failure, details, isNew }: ExchangeFailure, restarted: boolean): void {
    if (isNew) parts.life.emit('signInFailed', { failure, ...details, restarted });
  }
}

const unmatched = { mayGoOn: true, mayRestart: true };

/** What becomes of a visitor whose sign-in was found, and failed. */
function rulesOf({ failure }: ExchangeFailure, flow: Flow): Pick<Failed, 'mayGoOn' | 'mayRestart'> {
  // A reload or the back button. Who is signed in already has what they wanted, unless they asked for more.
  if (failure === 'code_spent') return { mayGoOn: !asksForMore(flow), mayRestart: true };
  return { mayGoOn: false, mayRestart: false };
}

function statusOf({ failure }: ExchangeFailure): number {
  return failure === 'hook_failed' ? 403 : 400;
}

/** @throws {ExchangeFailure} when the provider has sent an error in place of a code */
function refuseError(query: URLSearchParams): void {
  const error = query.get('error');
  if (error === null) return;
  // The provider's text is not ours to show: anybody who can make a link can write it.
  throw new ExchangeFailure('provider_error', { providerError: knownErrorCode({ error }) ?? 'other' });
}

/** What RFC 6749 section 4.1.2.1 has in place of a 503 and a 500, which no redirect can have. */
function isProviderAway(providerError: string | undefined): boolean {
  return providerError === 'temporarily_unavailable' || providerError === 'server_error';
}
