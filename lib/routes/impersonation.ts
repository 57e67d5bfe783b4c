import type { Exchange } from '../http/carrier.js';
import { ExchangeFailure, type ExchangeParts, exchangeUnshared, type SignInResult } from './exchange.js';
import { flowSeconds } from './flow.js';

/** Sign-ins that begin in the provider's dashboard, as somebody else. */
export interface Impersonations {
  /** The session of one, where this callback is one. */
  readonly exchange: (
    exchange: Exchange,
    redirectUri: string,
    query: URLSearchParams,
  ) => Promise<SignInResult | undefined>;
}

// Anybody can write a link with a code in it, and each costs a request to the provider.
const mostInAMinute = 10;

/**
 * A dashboard sends its user back with a code and without a `state`, so no flow tells it from a link that somebody else
 * has made. It is accepted only if the answer says who impersonates whom: such a code is given to no visitor.
 */
export function impersonations(parts: ExchangeParts, returnTo: string): Impersonations {
  const { provider } = parts;
  let timesMs: number[] = [];

  function mayExchange(): boolean {
    timesMs = timesMs.filter((ms) => ms > Date.now() - 60_000);
    if (timesMs.length >= mostInAMinute) return false;
    timesMs.push(Date.now());
    return true;
  }

  return {
    exchange: async ({ req }, redirectUri, query) => {
      if (provider.acceptsImpersonation !== true || query.has('state') || !query.has('code') || !mayExchange()) {
        return undefined;
      }
      const nothing = { state: '', nonce: '', codeVerifier: '', codeChallenge: '' };
      const request = { ...nothing, redirectUri, parameters: {} };
      const flow = { ...nothing, boundTo: '', returnTo, asked: {}, until: Date.now() + flowSeconds * 1000 };
      try {
        const visit = { req, query, flow, request, earlierUserIds: [], mustBeImpersonated: true };
        return await exchangeUnshared(parts, visit);
      } catch (error) {
        // It is a callback without a flow, as any other, but for what the app itself has thrown.
        if (!(error instanceof ExchangeFailure) || error.failure !== 'hook_failed') return undefined;
        parts.life.emit('signInFailed', { failure: 'hook_failed', restarted: false });

        throw error.thrown;
      }
    },
  };
}
