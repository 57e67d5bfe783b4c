import { SessionUnavailableError } from '../errors.js';
import { isCrossSite, safeReturnPath } from '../http/navigation.js';
import { type Provider, pkceChallenge } from '../provider/provider.js';
import { failureReason } from '../wire/failure.js';
import { type Flows, flowSeconds } from './flow.js';
import { redirect, type Route } from './route.js';

export interface SignInParts {
  readonly provider: Provider;
  readonly flows: Flows;
  readonly redirectUri: string;
  /** Where a visitor goes who asked for no page. */
  readonly returnTo: string;
}

// Another site may send a visitor to a page of ours, but not fill the browser's cookies with its address.
const longestForeignPath = 512;

/** `/login`: remembers what the sign-in needs in a sealed cookie, and sends the browser to the provider. */
export function signInRoute({ provider, flows, redirectUri, returnTo }: SignInParts): Route {
  return async (req, res, query) => {
    const isForeign = isCrossSite(req, new URL(redirectUri).origin);
    const { generateRandomCodeVerifier, generateRandomNonce, generateRandomState } = await import('oauth4webapi');
    const flow = {
      state: generateRandomState(),
      nonce: generateRandomNonce(),
      codeVerifier: generateRandomCodeVerifier(),
      returnTo: safeReturnPath(query.get('returnTo'), returnTo, isForeign ? longestForeignPath : undefined),
      until: Date.now() + flowSeconds * 1000,
    };
    const { state, nonce, codeVerifier } = flow;
    const request = { redirectUri, state, nonce, codeVerifier, codeChallenge: pkceChallenge(codeVerifier) };
    const url = await authorizationUrl(provider, request);
    await flows.write(req, res, flow, isForeign);
    redirect(res, url);
  };
}

/** @throws {SessionUnavailableError} the provider's metadata cannot be had */
async function authorizationUrl(provider: Provider, request: Parameters<Provider['authorizationUrl']>[0]) {
  try {
    return await provider.authorizationUrl(request);
  } catch (error) {
    throw new SessionUnavailableError(failureReason(error));
  }
}
