// What every layer is given alike: one key pair, one user, one access token of about 700 bytes for each visitor.
import { SignJWT } from 'jose';

export const clientId = 'client_bench';
export const apiKey = 'sk_bench';
export const password = 'a password for the bench, of 32 characters or more';
export const signingSecret = 'a secret of the bench for layers that only sign';

const user = {
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

/** The session of one visitor: everyone's differs, so that no cache helps a layer that must not have one. */
export async function visitor(number, { issuer, privateKey }) {
  const claims = {
    sid: `session_${String(number).padStart(26, '0')}`,
    org_id: 'org_01',
    role: 'member',
    roles: ['member'],
    permissions: ['billing:read', 'posts:write'],
    entitlements: [],
    feature_flags: ['beta'],
    jti: `jti_${String(number).padStart(26, '0')}`,
  };
  const accessToken = await new SignJWT(claims)
    .setProtectedHeader({ alg: 'RS256', kid: 'bench' })
    .setIssuer(issuer)
    .setSubject(user.id)
    .setIssuedAt()
    .setExpirationTime('2h')
    .sign(privateKey);
  return { accessToken, refreshToken: `refresh_${number}`, user, organizationId: 'org_01' };
}
