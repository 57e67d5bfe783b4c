import { expect, it } from '@jest/globals';

import { knownErrorCode } from '../../../lib/wire/error-code.js';

it.each<[string | undefined, Record<string, unknown>]>([
  ['invalid_grant', { error: 'invalid_grant', error_description: 'prose' }],
  ['mfa_enrollment', { code: 'mfa_enrollment', message: 'prose' }],
  ['login_required', { error: 'login_required', code: 'mfa_enrollment' }],
  ['mfa_enrollment', { error: 'Forbidden', code: 'mfa_enrollment' }],
  [undefined, { error: 'Your session is over.' }],
  [undefined, { error: 'Invalid_Grant' }],
  [undefined, { error: 'invalid_grant ' }],
  [undefined, { error: 'toString', code: '__proto__' }],
  [undefined, { error: ['invalid_grant'], code: 42 }],
  [undefined, { error_description: 'invalid_grant', message: 'invalid_grant' }],
  [undefined, {}],
])('is %p for %j', (code, body) => {
  expect(knownErrorCode(body)).toBe(code);
});
