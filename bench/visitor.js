// Visitors with a session: an access token of about 700 bytes each.
import { importPKCS8, SignJWT } from 'jose';

import { claimsOf, sessionOf, user } from './world.js';

const hour = 3_600;

/** Mints sessions, signed with the provider's key. With `expired`, their access tokens are past their time. */
export async function visitors({ url, key }) {
  const privateKey = await importPKCS8(key, 'RS256');
  return async (number, { expired = false, claims = {} } = {}) => {
    const now = Math.trunc(Date.now() / 1000);
    const issued = expired ? now - 2 * hour : now;
    const accessToken = await new SignJWT({ ...claimsOf(number), ...claims })
      .setProtectedHeader({ alg: 'RS256', kid: 'bench' })
      .setIssuer(url)
      .setSubject(user.id)
      .setIssuedAt(issued)
      .setExpirationTime(issued + (expired ? hour : 2 * hour))
      .sign(privateKey);
    return sessionOf(number, accessToken);
  };
}
