import { SessionUseError } from '../errors.js';
import type { Exchange } from '../http/carrier.js';
import type { Lifecycle } from '../lifecycle.js';
import { type ApiKeyLookup, readHolder } from '../options/bearer.js';
import type { RejectedDetail } from '../session/reasons.js';
import { profileOf } from '../session/profile.js';
import type { SessionState } from './state.js';

// More than any key. It is the app's function that a longer one would reach.
const longestKey = 4_096;

// A key has no expiry that is known here, and a date must say something.
const noExpiryMs = Date.UTC(9999, 11, 31);

/** Who comes with an API key, as the app says. */
export type ApiKeySessions = (key: string, exchange: Exchange) => Promise<SessionState>;

/**
 * Asks the app who holds a key: at each request, so that a key that is taken back is worth nothing from then on.
 *
 * Rejects with a `SessionUseError` `ERR_SESSION_API_KEY_RESULT` where the app's answer is neither nobody nor somebody.
 */
export function apiKeySessions(life: Lifecycle, lookUp: ApiKeyLookup): ApiKeySessions {
  function refused(reason: 'invalid_api_key' | 'api_keys_unavailable', detail: RejectedDetail): SessionState {
    life.emit('rejected', { reason, detail });
    return { signedIn: false, reason, via: 'apiKey' };
  }

  return async (key, { req }) => {
    if (key === '' || key.length > longestKey) return refused('invalid_api_key', 'key_too_long');
    let answer: unknown;
    try {
      answer = await lookUp(key, req);
    } catch {
      // What was thrown may have the key in it.
      return refused('api_keys_unavailable', 'key_lookup_failed');
    }
    if (answer === undefined || answer === null) return refused('invalid_api_key', 'key_without_holder');
    const { given, problems } = readHolder(answer);
    if (problems.length > 0) throw wrongResult(problems.map(({ path, message }) => `"${path}" ${message}`));
    const { user, organizationId, claims = {}, roles, permissions, entitlements, featureFlags } = given;
    const granted = { organizationId, roles, permissions, entitlements, featureFlags };
    // Never the key: an app hands `session.accessToken` to other APIs.
    const payload = { accessToken: '', user, organizationId };
    const profile = profileOf(payload, { claims }, () => granted);
    return {
      signedIn: true,
      payload,
      profile,
      expiresAtMs: noExpiryMs,
      refreshed: false,
      stale: undefined,
      via: 'apiKey',
    };
  };
}

function wrongResult(problems: readonly string[]): SessionUseError {
  const message = `The function "apiKeys" must return who holds the key, or undefined: ${problems.join(' ')}`;
  return new SessionUseError('ERR_SESSION_API_KEY_RESULT', message);
}
