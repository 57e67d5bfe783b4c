/** Who is to be asked could not be asked. The session may well be good, so its cookie is kept. */
export type RetryableReason =
  | 'rate_limit_exceeded'
  | 'timeout'
  | 'server_error'
  | 'network_error'
  | 'keys_unavailable'
  | 'provider_misconfigured'
  /** The browser could not prove its device now, and says so. */
  | 'device_proof_unavailable'
  /** The app could not look up an API key. */
  | 'api_keys_unavailable';

/** The provider has ended this session, or its user must take a step to go on. */
export type TerminalReason =
  'invalid_grant' | 'sso_required' | 'mfa_enrollment' | 'session_revoked' | 'interaction_required';

/** What is wrong with the access token. */
export type TokenReason = 'invalid_jwt' | 'invalid_jwt_algorithm' | 'invalid_jwt_signature' | 'expired_jwt';

/** Why a visitor is not signed in, where asking again has the same answer. */
export type FinalReason =
  | 'no_session_cookie_provided'
  | 'invalid_session_cookie'
  | 'session_expired'
  /** A page of another origin has sent an unsafe request. The session is good, and this request comes without it. */
  | 'cross_origin_request'
  /** Nobody holds this API key. */
  | 'invalid_api_key'
  /** The provider refuses this session and no other, without a word that it has ended. Its seal is left alone. */
  | 'refresh_refused'
  /** The session is bound to a device, and the request brings no proof of it. Its seal is left alone. */
  | 'device_proof_missing'
  | TokenReason
  | TerminalReason;

/** Why a visitor is not signed in. Stable strings of ours: a provider's prose is never a reason. */
export type Reason = FinalReason | RetryableReason;

const retryable = {
  rate_limit_exceeded: true,
  timeout: true,
  server_error: true,
  network_error: true,
  keys_unavailable: true,
  provider_misconfigured: true,
  device_proof_unavailable: true,
  api_keys_unavailable: true,
} satisfies Record<RetryableReason, true>;

/** Whether asking again later can have another answer. */
export function isRetryable(reason: Reason): reason is RetryableReason {
  return Object.hasOwn(retryable, reason);
}

/** Whether a session was kept out because its device was not proved. */
export function isUnproven(reason: Reason): boolean {
  return reason === 'device_proof_missing' || reason === 'device_proof_unavailable';
}

/** An answer that nobody is signed in, as far as is known. `retryable`: asking again later can have another answer. */
export type NotAuthenticated = { readonly authenticated: false } & (
  | { readonly retryable: true; readonly reason: RetryableReason }
  | { readonly retryable: false; readonly reason: FinalReason }
);

export function notAuthenticated(reason: Reason): NotAuthenticated {
  return isRetryable(reason)
    ? { authenticated: false, retryable: true, reason }
    : { authenticated: false, retryable: false, reason };
}

/** Why a seal was not accepted. For operators: the browser is told `invalid_session_cookie` for each. */
export type SealProblem = 'tampered' | 'unknown_password' | 'expired_seal' | 'bad_shape' | 'other_provider';

/** What is wrong with an access token. For operators, and closed: none is prose of a provider. */
export type TokenProblem =
  | 'not_a_jwt'
  | 'other_token_type'
  | 'algorithm_not_accepted'
  | 'signature_wrong'
  /** The provider publishes no such key. */
  | 'key_not_published'
  /** It names no issuer, or another than the options ask for. */
  | 'other_issuer'
  /** It is of an accepted issuer, but not of the one that the session began with. */
  | 'issuer_changed'
  | 'other_audience'
  | 'other_client'
  | 'other_user'
  | 'subject_missing'
  | 'expiry_missing'
  | 'expiry_malformed'
  | 'not_yet_valid'
  | 'not_before_malformed'
  | 'issued_at_malformed'
  /** It is bound to a key of its client (claim `cnf`), for which a client would have to give proof. */
  | 'bound_to_key'
  /** It may be an ID token: nothing in it shows that it is an access token. */
  | 'access_not_shown'
  | 'opaque_without_provider'
  | 'opaque_without_user'
  | 'opaque_without_expiry';

/** The limit that a session has passed. */
export type PassedLimit =
  /** `lifetime.absoluteSeconds`. */
  | 'absolute_lifetime'
  /** `lifetime.idleSeconds`. */
  | 'idle_lifetime'
  /** The time that the provider has set (`session_expiry`). */
  | 'provider_lifetime';

/** What exactly was wrong, where a visitor was not signed in. For operators: a browser is told the reason only. */
export type RejectedDetail =
  | SealProblem
  | TokenProblem
  | PassedLimit
  /** The access token has expired, and the session has nothing to refresh it with. */
  | 'no_refresh_token'
  /** The access token has expired, and the response takes no cookie any more. Nothing was spent. */
  | 'response_takes_no_cookie'
  /** A token fresh from the provider has expired: a clock is wrong. */
  | 'expired_when_issued'
  /** The key set could not be fetched. */
  | 'keys_not_fetched'
  /** The provider object gives no usable rules for its access tokens. */
  | 'rules_unusable'
  /** A client has sent a token that has expired. */
  | 'bearer_expired'
  /** A client has sent a JWT, and only API keys are taken. */
  | 'jwt_not_taken'
  /** Nobody holds this API key. */
  | 'key_without_holder'
  /** An API key is empty, or longer than 4 KiB. */
  | 'key_too_long'
  /** The option `apiKeys` has thrown. */
  | 'key_lookup_failed'
  /** It was signed out, or revoked. */
  | 'ended'
  /** An old seal came too late, and `refresh.replay` is `revoke`. */
  | 'replayed'
  /** Another process leads the refresh, and this request could not wait for it. */
  | 'refreshed_elsewhere'
  /** A page of another origin has sent the request, as this header says. */
  | 'sec_fetch_site'
  | 'origin'
  | 'referer';

/** Where a refreshed session came from. */
export type RefreshSource =
  /** This request ran the refresh grant. */
  | 'leader'
  /** It waited for the grant that another request was running. */
  | 'joined'
  /** It came with the old cookie after the grant had ended. */
  | 'remembered'
  /** Another process of the fleet ran the grant. */
  | 'fleet';
