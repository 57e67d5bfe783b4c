import type { TerminalReason } from '../session/reasons.js';

// RFC 6749 (and RFC 6750, 7009, 8628, 8707, 9396, 9449, 9470), as the IANA registry "OAuth Extensions Error" lists them.
const oauth = [
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'unauthorized_client',
  'unsupported_grant_type',
  'unsupported_response_type',
  'unsupported_token_type',
  'invalid_scope',
  'access_denied',
  'server_error',
  'temporarily_unavailable',
  'invalid_token',
  'insufficient_scope',
  'authorization_pending',
  'slow_down',
  'expired_token',
  'invalid_target',
  'invalid_authorization_details',
  'invalid_dpop_proof',
  'use_dpop_nonce',
  'insufficient_user_authentication',
];

// OpenID Connect Core 1.0, section 3.1.2.6, and Unmet Authentication Requirements 1.0.
const openid = [
  'interaction_required',
  'login_required',
  'account_selection_required',
  'consent_required',
  'invalid_request_uri',
  'invalid_request_object',
  'request_not_supported',
  'request_uri_not_supported',
  'registration_not_supported',
  'unmet_authentication_requirements',
];

// Servers in the field that say it of a refresh token that has ended.
const others = ['token_inactive'];

// WorkOS's API.
const workos = [
  'sso_required',
  'mfa_enrollment',
  'mfa_challenge',
  'mfa_verification',
  'email_verification_required',
  'organization_selection_required',
  'organization_authentication_methods_required',
  'entity_not_found',
  'request_timeout',
  'too_many_requests',
  'unprocessable_entity',
];

const known: ReadonlySet<unknown> = new Set([...oauth, ...openid, ...others, ...workos]);

/**
 * The provider's error code, for events and errors: `error` in answers of the OAuth kind, `code` in WorkOS's own. Only
 * a code of the lists above: any other text is the provider's, and may hold what was sent to it.
 */
export function knownErrorCode({ error, code }: Readonly<Record<string, unknown>>): string | undefined {
  return [error, code].find((each): each is string => known.has(each));
}

/** What only the operator can mend (RFC 6749 section 5.2): it is about the client, and so about every session. */
export const operatorErrors: readonly string[] = ['invalid_client', 'unauthorized_client', 'unsupported_grant_type'];

/** The codes with which a provider of the OpenID kind ends a session, or asks its user to act. */
export const openidEndings: Readonly<Record<string, TerminalReason>> = {
  invalid_grant: 'invalid_grant',
  invalid_token: 'invalid_grant',
  expired_token: 'invalid_grant',
  token_inactive: 'invalid_grant',
  interaction_required: 'interaction_required',
  login_required: 'interaction_required',
  consent_required: 'interaction_required',
  account_selection_required: 'interaction_required',
  access_denied: 'interaction_required',
  insufficient_user_authentication: 'interaction_required',
  unmet_authentication_requirements: 'interaction_required',
};

/** The same for WorkOS. */
export const workosEndings: Readonly<Record<string, TerminalReason>> = {
  ...openidEndings,
  entity_not_found: 'invalid_grant',
  sso_required: 'sso_required',
  mfa_enrollment: 'mfa_enrollment',
  mfa_challenge: 'interaction_required',
  mfa_verification: 'interaction_required',
  email_verification_required: 'interaction_required',
  organization_selection_required: 'interaction_required',
  organization_authentication_methods_required: 'interaction_required',
};

/** What the first of these codes that has an entry in the table does to a session. */
export function endingOf(
  endings: Readonly<Record<string, TerminalReason>>,
  ...codes: readonly unknown[]
): TerminalReason | undefined {
  const code = codes.find((each): each is string => typeof each === 'string' && Object.hasOwn(endings, each));
  return code === undefined ? undefined : endings[code];
}
