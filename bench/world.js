// What every layer is given alike. Loads nothing, so that what a layer loads can be told.
export const clientId = 'client_bench';
export const apiKey = 'sk_bench';
export const password = 'a password for the bench, of 32 characters or more';
export const signingSecret = 'a secret of the bench for layers that only sign';

export const user = {
  object: 'user',
  id: 'user_01',
  email: 'one@example.com',
  emailVerified: true,
  firstName: 'One',
  lastName: null,
  profilePictureUrl: 'https://images.example.com/one.png',
  lastSignInAt: '2026-01-01T00:00:00.000Z',
  createdAt: '2026-01-01T00:00:00.000Z',
  updatedAt: '2026-01-01T00:00:00.000Z',
  externalId: null,
  metadata: {},
};

/** The claims of one visitor: everyone's differ, so that no cache helps a layer that must not have one. */
export function claimsOf(number) {
  return {
    sid: `session_${String(number).padStart(26, '0')}`,
    org_id: 'org_01',
    role: 'member',
    roles: ['member'],
    permissions: ['billing:read', 'posts:write'],
    entitlements: [],
    feature_flags: ['beta'],
    jti: `jti_${String(number).padStart(26, '0')}`,
  };
}

/** What a visitor's cookie holds, around an access token. */
export function sessionOf(number, accessToken) {
  return { accessToken, refreshToken: `refresh_${number}`, user, organizationId: 'org_01' };
}
