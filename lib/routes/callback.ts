import type { Awaitable } from '../awaitable.js';
import { SessionSignInError, SessionUnavailableError, SessionUseError } from '../errors.js';
import type { Emit, SessionEvents } from '../events.js';
import { pkceChallenge, type Provider, type SignInRequest } from '../provider/provider.js';
import type { FindSession } from '../request/guard.js';
import type { TokenSet } from '../session/payload.js';
import { failedCheck } from '../wire/check-failed.js';
import { knownErrorCode } from '../wire/error-code.js';
import { failureReason, isProviderFailure } from '../wire/failure.js';
import { send } from '../wire/token-endpoint.js';
import type { Flows } from './flow.js';
import { redirect, type Route } from './route.js';

export interface CallbackParts {
  readonly provider: Provider;
  readonly flows: Flows;
  readonly find: FindSession;
  readonly redirectUri: string;
  readonly timeoutMs: number;
  readonly clockToleranceSeconds: number;
  readonly emit: Emit;
}

/** `/callback`: exchanges the code for tokens, and signs in with them. */
export function callbackRoute(parts: CallbackParts): Route {
  const { flows, find, redirectUri, emit } = parts;

  return async (req, res, query) => {
    try {
      await signIn(req, res, query);
    } catch (error) {
      const failed = failureOf(error);
      if (failed) emit('signInFailed', failed);
      throw error;
    }
  };

  async function signIn(...[req, res, query]: Parameters<Route>): Promise<void> {
    const state = query.get('state') ?? '';
    const flow = await flows.read(req, res, state);
    // A link that this browser's own `/login` did not make would sign the visitor in to somebody else's session.
    if (!flow) throw new SessionSignInError('flow_missing');
    try {
      // The provider's text is not ours to show: anybody who can make a link can write it.
      if (query.has('error')) throw providerError(knownErrorCode({ error: query.get('error') }));
      // Nothing is asked of the provider for an answer without a code, which any link can be.
      if (!query.get('code')) throw new SessionSignInError('check_failed', { check: 'callback_parameters' });
      const { nonce, codeVerifier } = flow;
      const request = { redirectUri, state, nonce, codeVerifier, codeChallenge: pkceChallenge(codeVerifier) };
      await find(req).signIn(await exchangeCode(parts, query, request));
    } catch (error) {
      // While the provider is away the code is still good, and a reload may try it again.
      if (!(error instanceof SessionUnavailableError)) flows.forget(res, state);
      throw error;
    }
    flows.forget(res, state);
    redirect(res, flow.returnTo);
  }
}

/** The provider's own failures pass, and the visitor can try again. Everything else it says is final. */
function providerError(code: string | undefined): Error {
  const isUnavailable = code === 'temporarily_unavailable' || code === 'server_error';
  return isUnavailable
    ? new SessionUnavailableError('server_error')
    : new SessionSignInError('provider_error', { providerError: code });
}

/** What the event says of a failed sign-in. Failures of the app itself, such as headers that are sent, are not its. */
function failureOf(error: unknown): SessionEvents['signInFailed'] | undefined {
  if (error instanceof SessionSignInError) {
    const { failure, providerError, check } = error;
    return { failure, providerError, check, restarted: false };
  }
  if (error instanceof SessionUnavailableError) {
    return { failure: 'provider_unavailable', check: error.reason, restarted: false };
  }
  return error instanceof SessionUseError && error.code === 'ERR_SESSION_TOKENS_INVALID'
    ? { failure: 'check_failed', check: 'access_token', restarted: false }
    : undefined;
}

// These say that the client is set up wrongly. No visitor can bring them about, so they may use up the event.
const setupErrors: ReadonlySet<string | undefined> = new Set([
  'invalid_client',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
  'invalid_target',
]);

/**
 * @throws {SessionUnavailableError} the provider cannot be asked now, or refuses us
 * @throws {SessionSignInError} the code or the answer is not good
 */
async function exchangeCode(
  { provider, timeoutMs, clockToleranceSeconds, emit }: CallbackParts,
  query: URLSearchParams,
  request: SignInRequest,
): Promise<TokenSet> {
  const codeRequest = await asked(() => provider.codeRequest(query, request));
  const answer = await send(codeRequest, { timeoutMs, mayRepeat: false });
  if (answer.kind === 'unanswered') throw new SessionUnavailableError(answer.reason);
  const { status, body, retryAfterSeconds } = answer;
  if (status === 429 || status >= 500) throw new SessionUnavailableError('server_error', retryAfterSeconds);
  if (status < 200 || status >= 300) {
    const error = knownErrorCode(body);
    // A code used twice, by the back button or a reload. A wrong redirect URI says the same.
    if (error === 'invalid_grant') throw new SessionSignInError('code_spent', { providerError: error });
    // A made-up code, at a server that says no more than 400.
    if (error === undefined ? status === 400 : !setupErrors.has(error)) {
      throw new SessionSignInError('exchange_refused', { providerError: error });
    }
    emit('misconfigured', {
      problem: 'code_exchange',
      cause: error ?? `http_${status}`,
      option: 'provider',
      message: `The provider refused to exchange an authorization code, with HTTP status ${status}${error === undefined ? '' : ` and the code ${error}`}. Check the client's id, secret and redirect URI, and how the client authenticates.`,
    });
    throw new SessionUnavailableError('provider_misconfigured');
  }
  const tokens = await asked(() => provider.readSignIn(body, request, { clockToleranceSeconds }));
  if (!tokens) throw new SessionSignInError('check_failed', { check: 'access_token_missing' });
  return tokens;
}

/** Asks a provider object. An answer that fails its checks ends the sign-in; a provider that is away does not. */
async function asked<Value>(ask: () => Awaitable<Value>): Promise<Value> {
  try {
    return await ask();
  } catch (error) {
    if (isProviderFailure(error)) throw new SessionUnavailableError(failureReason(error));
    // Without the cause: it holds the code, or the tokens.
    throw new SessionSignInError('check_failed', { check: failedCheck(error) ?? 'provider' });
  }
}
