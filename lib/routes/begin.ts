import { userIdOf } from '../fleet/session-names.js';
import { SessionUnavailableError, SessionUseError } from '../errors.js';
import type { Exchange } from '../http/carrier.js';
import { isCrossSite, longestLinkedPath } from '../http/navigation.js';
import type { Site } from '../http/site.js';
import { type Provider, pkceChallenge } from '../provider/provider.js';
import type { FindSession } from '../request/guard.js';
import { type AskedByGuard, RequestSession } from '../request/session-object.js';
import { bindingOf } from '../session/binding.js';
import { failureDetail, failureReason } from '../wire/failure.js';
import { type Flow, type Flows, flowSeconds } from './flow.js';

export interface BeginParts {
  /** This mount's session on a request. */
  readonly find: FindSession;
  readonly provider: Provider;
  readonly flows: Flows;
  readonly site: Site;
  /** The callback's path, as browsers see it. */
  readonly callbackPath: string;
  /** Where a visitor goes who asked for no page. */
  readonly returnTo: string;
}

export interface BeginMore {
  /** How often this sign-in was begun again by itself. It travels in `state`, which alone comes back without cookies. */
  readonly restarts?: number;
  /** Whether the visitor is to see no page of the provider. It travels in `state` too. */
  readonly isSilent?: boolean;
  /** More parameters for the provider, as they are. */
  readonly others?: Readonly<Record<string, string>>;
}

/** Begins a sign-in: remembers what it needs in a sealed cookie. Resolves to where to send the browser. */
export type Begin = (exchange: Exchange, asked: AskedByGuard, more?: BeginMore) => Promise<string>;

export function beginSignIn(parts: BeginParts): Begin {
  const { provider, flows } = parts;
  return async (
    exchange,
    { returnTo = parts.returnTo, appState, amr, ...parameters },
    { restarts = 0, isSilent = false, others = {} } = {},
  ) => {
    const { generateRandomCodeVerifier, generateRandomNonce, generateRandomState } = await import('oauth4webapi');
    const redirectUri = redirectUriOf(parts, exchange);
    const isForeign = isCrossSite(exchange.req, new URL(redirectUri).origin);
    // Another site may send a visitor to a page of ours, but not fill the browser's cookies with its address.
    const isTooLong = isForeign && restarts === 0 && !isSilent && returnTo.length > longestLinkedPath;
    const { organizationId, maxAuthAgeSeconds, acrValues } = parameters;
    const flow: Flow = {
      boundTo: flowBinding(provider, redirectUri),
      state: generateRandomState() + (isSilent ? '.s' : restarts === 0 ? '' : `.${restarts}`),
      nonce: generateRandomNonce(),
      codeVerifier: generateRandomCodeVerifier(),
      returnTo: isTooLong ? parts.returnTo : returnTo,
      until: Date.now() + flowSeconds * 1000,
      asked: { organizationId, maxAuthAgeSeconds, acrValues, amr },
      appState,
      userId: userIdOf(RequestSession.stateOf(parts.find(exchange.req)).payload),
    };
    const { state, nonce, codeVerifier } = flow;
    const request = { redirectUri, state, nonce, codeVerifier, codeChallenge: pkceChallenge(codeVerifier), parameters };
    const url = withParameters(await authorizationUrl(provider, request), others);
    await flows.write(exchange, flow, isForeign);
    return url;
  };
}

/** How often the sign-in of a `state` was begun again by itself. Who forges a number gets one more page, or one less. */
export function restartsOf(state: string): number {
  return Number(/\.(\d)$/.exec(state)?.[1] ?? 0);
}

/**
 * Where the provider sends the browser back to.
 *
 * @throws {SessionUseError} `ERR_SESSION_UNKNOWN_HOST`
 */
export function redirectUriOf(
  { site, callbackPath }: Pick<BeginParts, 'site' | 'callbackPath'>,
  { req }: Pick<Exchange, 'req'>,
) {
  const origin = site.originOf(req);
  if (origin === undefined) throw unknownHost();
  return `${origin}${callbackPath}`;
}

export function unknownHost(): SessionUseError {
  return new SessionUseError('ERR_SESSION_UNKNOWN_HOST', 'This host is not one of the app.', 421);
}

/** What a flow is bound to: one that began at one provider or origin ends at no other. */
export function flowBinding({ id }: Provider, redirectUri: string): string {
  return bindingOf(id, 'flow', redirectUri);
}

function withParameters(url: string, others: Readonly<Record<string, string>>): string {
  const names = Object.entries(others);
  if (names.length === 0) return url;
  const more = new URL(url);
  // What the flow itself says stands, whatever a link says.
  for (const [name, value] of names) if (!more.searchParams.has(name)) more.searchParams.set(name, value);
  return more.href;
}

/**
 * @throws {SessionUnavailableError} the provider's metadata cannot be had
 * @throws {TypeError} the provider has no parameter for what was asked
 */
async function authorizationUrl(provider: Provider, request: Parameters<Provider['authorizationUrl']>[0]) {
  try {
    return await provider.authorizationUrl(request);
  } catch (error) {
    const reason = failureReason(error);
    // A mistake in the app's own call, which no later attempt mends.
    if (reason === 'provider_misconfigured' && error instanceof TypeError) throw error;
    throw new SessionUnavailableError(reason, { error: failureDetail(error) });
  }
}
