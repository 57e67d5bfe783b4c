import type { Awaitable } from '../awaitable.js';
import { SessionSignInError, SessionUnavailableError } from '../errors.js';
import type { Emit } from '../events.js';
import { pkceChallenge, type Provider, type SignInRequest } from '../provider/provider.js';
import type { FindSession } from '../request/guard.js';
import type { TokenSet } from '../session/payload.js';
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
  readonly emit: Emit;
}

/** `/callback`: exchanges the code for tokens, and signs in with them. */
export function callbackRoute(parts: CallbackParts): Route {
  const { flows, find, redirectUri } = parts;

  return async (req, res, query) => {
    const state = query.get('state') ?? '';
    const flow = await flows.read(req, res, state);
    // A link that this browser's own `/login` did not make would sign the visitor in to somebody else's session.
    if (!flow) throw new SessionSignInError('flow_missing');
    try {
      // The provider's text is not ours to show: anybody who can make a link can write it.
      if (query.has('error')) throw new SessionSignInError('provider_error');
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
  };
}

/**
 * @throws {SessionUnavailableError} the provider cannot be asked now, or refuses us
 * @throws {SessionSignInError} the code or the answer is not good
 */
async function exchangeCode(
  { provider, timeoutMs, emit }: CallbackParts,
  query: URLSearchParams,
  request: SignInRequest,
): Promise<TokenSet> {
  const codeRequest = await asked(() => provider.codeRequest(query, request));
  const answer = await send(codeRequest, { timeoutMs, mayRepeat: false });
  if (answer.kind === 'unanswered') throw new SessionUnavailableError(answer.reason);
  const { status, body, retryAfterSeconds } = answer;
  if (status === 429 || status >= 500) throw new SessionUnavailableError('server_error', retryAfterSeconds);
  if (status < 200 || status >= 300) {
    // `invalid_grant` is a code used twice: the back button, or a reload. Everything else is the set-up.
    if ((body.error ?? body.code) === 'invalid_grant') throw new SessionSignInError('code_spent');
    emit('misconfigured', {
      problem: 'code_exchange',
      option: 'provider',
      message: `The provider refused to exchange an authorization code, with HTTP status ${status}. Check the client's id, secret and redirect URI.`,
    });
    throw new SessionUnavailableError('provider_misconfigured');
  }
  const tokens = await asked(() => provider.readSignIn(body, request));
  if (!tokens) throw new SessionSignInError('check_failed');
  return tokens;
}

/** Asks a provider object. An answer that fails its checks ends the sign-in; a provider that is away does not. */
async function asked<Value>(ask: () => Awaitable<Value>): Promise<Value> {
  try {
    return await ask();
  } catch (error) {
    if (isProviderFailure(error)) throw new SessionUnavailableError(failureReason(error));
    // Without the cause: it holds the code, or the tokens.
    throw new SessionSignInError('check_failed');
  }
}
