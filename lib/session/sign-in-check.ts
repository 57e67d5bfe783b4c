/** What of a provider's answer to a sign-in did not hold. Words of ours, for events: never the provider's prose. */
export type SignInCheck =
  /** The callback has no code, or one of its parameters twice. */
  | 'callback_parameters'
  /** The callback names another issuer, or none where the provider promises one (RFC 9207). */
  | 'callback_issuer'
  /** The answer to the code has no access token. */
  | 'access_token_missing'
  /** The access token does not pass the checks; the event `rejected` says which. */
  | 'access_token'
  /** The access token is of another type than `Bearer`, such as `DPoP`. */
  | 'token_type'
  | 'id_token_missing'
  | 'id_token_malformed'
  | 'id_token_encrypted'
  | 'id_token_algorithm'
  | 'id_token_key'
  | 'id_token_signature'
  | 'id_token_issuer'
  | 'id_token_audience'
  | 'id_token_authorized_party'
  | 'id_token_subject'
  | 'id_token_expiry'
  | 'id_token_issued_at'
  | 'id_token_not_before'
  | 'id_token_nonce'
  | 'id_token_access_token_hash'
  /** The provider's end of the session (`session_expiry`) is past, or is no time. */
  | 'id_token_session_expiry'
  /** The userinfo endpoint speaks of another user than the ID token. */
  | 'userinfo_subject'
  /** The session is of another organization than the one that was asked for. */
  | 'organization'
  /** The visitor signed in at the provider longer ago than was asked for. */
  | 'max_age'
  /** The session has none of the `acr` values that were asked for. */
  | 'acr'
  /** The visitor was not authenticated by the methods that a guard asks for. */
  | 'amr'
  /** The provider object refuses the answer without saying why. */
  | 'provider';
