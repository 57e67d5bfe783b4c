/** What of a provider's notice did not hold. Words of ours, for events: never the provider's prose. */
export type NoticeCheck =
  /** It is no form with a log-out token, or no body that can be read. */
  | 'logout_token_missing'
  | 'logout_token_malformed'
  | 'logout_token_encrypted'
  | 'logout_token_algorithm'
  | 'logout_token_key'
  | 'logout_token_signature'
  /** The header names another type of token. */
  | 'logout_token_type'
  | 'logout_token_issuer'
  | 'logout_token_audience'
  | 'logout_token_authorized_party'
  | 'logout_token_issued_at'
  | 'logout_token_expiry'
  | 'logout_token_not_before'
  /** It is about another event, as every ID token is. */
  | 'logout_token_events'
  /** It has a nonce, as an ID token has. */
  | 'logout_token_nonce'
  /** It names neither a session nor a user. */
  | 'logout_token_subject'
  /** It has no `jti`, so that it could come again and again. */
  | 'logout_token_id'
  /** It has come before. */
  | 'logout_token_replayed'
  | 'webhook_signature_missing'
  | 'webhook_signature'
  /** It was signed longer ago, or further ahead, than a clock may be wrong. */
  | 'webhook_timestamp'
  /** Its body is no event. */
  | 'webhook_body'
  /** The provider object refuses the notice without saying why. */
  | 'provider';
