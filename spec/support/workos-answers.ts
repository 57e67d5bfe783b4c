import type { Answer } from './endpoint.js';

/** The answers of WorkOS's token endpoint other than success, as recorded: for the server and for `token.fail()`. */
export const answers = {
  invalidGrant: {
    status: 400,
    body: { error: 'invalid_grant', error_description: 'Invalid refresh token.' },
  },
  invalidClient: {
    status: 400,
    body: { error: 'invalid_client', error_description: 'Invalid client ID.' },
  },
  unsupportedGrant: {
    status: 400,
    body: { error: 'unsupported_grant_type', error_description: 'Unsupported grant type.' },
  },
  /** What a wrong API key gets. */
  unauthorized: {
    status: 401,
    body: { message: 'Unauthorized' },
  },
  ssoRequired: {
    status: 403,
    body: {
      error: 'sso_required',
      error_description: 'User must authenticate using one of the matching connections.',
      connection_ids: ['conn_01'],
    },
  },
  mfaEnrollment: {
    status: 403,
    body: {
      code: 'mfa_enrollment',
      message: 'The user must enroll in MFA to finish authenticating.',
      pending_authentication_token: 'pending_01',
      user: { object: 'user', id: 'user_01', email: 'one@example.com' },
    },
  },
  /** A step the visitor has to take at the provider. */
  organizationSelection: {
    status: 403,
    body: {
      code: 'organization_selection_required',
      message: 'The user must choose an organization to finish their authentication.',
      pending_authentication_token: 'pending_01',
      organizations: [{ id: 'org_01', name: 'One' }],
    },
  },
  forbidden: {
    status: 403,
    body: { message: 'Forbidden', error: 'Forbidden' },
  },
  notFound: {
    status: 404,
    body: { message: 'Not Found' },
  },
  unprocessable: {
    status: 422,
    body: {
      code: 'unprocessable_entity',
      message: 'Validation failed',
      errors: [{ field: 'client_id', code: 'required' }],
    },
  },
  requestTimeout: {
    status: 408,
    body: { error: 'request_timeout', error_description: 'Request timed out.' },
  },
  rateLimited: {
    status: 429,
    headers: { 'Retry-After': '1' },
    body: { code: 'too_many_requests', message: 'Too many requests.' },
  },
  serverError: {
    status: 500,
    body: { message: 'Internal server error' },
  },
  unavailable: {
    status: 503,
    body: { message: 'Service unavailable' },
  },
  /** A gateway's page in front of the API: not JSON. */
  htmlBadGateway: {
    status: 502,
    body: '<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>',
  },
  nullBody: {
    status: 400,
    body: null,
  },
} satisfies Record<string, Answer>;
