import { createPublicKey, type KeyObject, verify } from 'node:crypto';

import { isRecord } from '../json.js';
import { thumbprintOf } from '../session/device-proof.js';
import { decodePart, parsePart } from './jws-parts.js';

/** The algorithms that a browser may sign with: the first that its security chip can do is used. */
export const deviceAlgorithms = ['ES256', 'RS256'] as const;

/** The public key of a device. */
export interface DeviceKey {
  /** Only the members that make the key: what else came with it is not sealed. */
  readonly jwk: Readonly<Record<string, string>>;
  readonly thumbprint: string;
  readonly algorithm: (typeof deviceAlgorithms)[number];
  readonly key: KeyObject;
}

/** What a browser has signed. */
export interface DeviceJwt {
  readonly challenge: string;
  readonly deviceKey: DeviceKey;
}

// The largest key that is taken has 4096 bits, and its JWT about 2,300 letters.
const longestJwt = 4_096;
const rsaBits = { least: 2_048, most: 4_096 };

// The members of a private key (RFC 7518 section 6). A browser never gives these away: then the key is in no chip.
const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

/**
 * The public key that a JWK describes; undefined for any other. A key of more bits would fill the cookie, and one with a
 * large exponent would cost seconds for each proof.
 */
export function deviceKeyOf(jwk: unknown): DeviceKey | undefined {
  if (!isRecord(jwk) || privateMembers.some((name) => name in jwk)) return undefined;
  const { kty, crv, x, y, n, e } = jwk;
  if (kty === 'EC' && crv === 'P-256' && isText(x, 43) && isText(y, 43)) {
    return withKey('ES256', { crv, kty, x, y });
  }
  if (kty !== 'RSA' || e !== 'AQAB' || !isText(n, Math.ceil(rsaBits.most / 6))) return undefined;
  const found = withKey('RS256', { e, kty, n });
  const bits = found?.key.asymmetricKeyDetails?.modulusLength ?? 0;
  return bits >= rsaBits.least && bits <= rsaBits.most ? found : undefined;
}

function withKey(algorithm: DeviceKey['algorithm'], jwk: Readonly<Record<string, string>>): DeviceKey | undefined {
  try {
    const key = createPublicKey({ key: jwk, format: 'jwk' });
    return { jwk, thumbprint: thumbprintOf(jwk), algorithm, key };
  } catch {
    // A point that is not on the curve.
    return undefined;
  }
}

/**
 * Reads the JWT with which a browser answers a challenge (`dbsc+jwt`). Undefined for every other, and for one whose
 * signature does not hold.
 *
 * @param expected the key that must have signed it. Without one, the JWT brings its own, as at a registration
 */
export function readDeviceJwt(text: string, expected?: DeviceKey): DeviceJwt | undefined {
  const [head = '', body = '', signature = '', ...rest] = text.split('.');
  if (text.length > longestJwt || rest.length > 0) return undefined;
  const header = parsePart(head);
  // A critical extension changes what the token means (RFC 7515 section 4.1.11), and `b64` what was signed (RFC 7797).
  if (header?.typ !== 'dbsc+jwt' || 'crit' in header || 'b64' in header) return undefined;
  const deviceKey = expected ?? deviceKeyOf(header.jwk);
  const bytes = decodePart(signature);
  if (!bytes || !deviceKey || header.alg !== deviceKey.algorithm) return undefined;
  const key = { key: deviceKey.key, dsaEncoding: 'ieee-p1363' as const };
  if (!verify('sha256', Buffer.from(`${head}.${body}`), key, bytes)) return undefined;
  const challenge = parsePart(body)?.jti;
  return typeof challenge === 'string' ? { challenge, deviceKey } : undefined;
}

/** Base64url of at most this many letters. */
function isText(value: unknown, most: number): value is string {
  return typeof value === 'string' && value.length <= most && decodePart(value) !== undefined;
}
