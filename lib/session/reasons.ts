/** The provider or its key set could not be asked. The session may well be good, so its cookie is kept. */
export type RetryableReason =
  'rate_limit_exceeded' | 'timeout' | 'server_error' | 'network_error' | 'keys_unavailable' | 'provider_misconfigured';

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
  /** The provider refuses this session and no other, without a word that it has ended. Its seal is left alone. */
  | 'refresh_refused'
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
} satisfies Record<RetryableReason, true>;

/** Whether asking again later can have another answer. */
export function isRetryable(reason: Reason): reason is RetryableReason {
  return Object.hasOwn(retryable, reason);
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
