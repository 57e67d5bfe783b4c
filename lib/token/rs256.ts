import { createPublicKey, type KeyObject, verify } from 'node:crypto';

import { isRecord } from '../json.js';
import type { SessionClaims } from '../session/profile.js';
import { decodePart, parsePart } from './jws-parts.js';

/**
 * The claims of a token whose RS256 signature fits the key that its header names. `node:crypto` verifies at once, in a
 * third of the time that jose needs through WebCrypto. Undefined for every token that is unusual or wrong: jose then
 * decides what it is.
 */
export function signedClaims(token: string, keyOf: (kid: string) => KeyObject | undefined): SessionClaims | undefined {
  const [head = '', body = '', signature = '', ...rest] = token.split('.');
  if (rest.length > 0) return undefined;
  const kid = keyIdOf(head);
  const key = kid === undefined ? undefined : keyOf(kid);
  const bytes = decodePart(signature);
  if (!key || !bytes || !verify('sha256', Buffer.from(`${head}.${body}`), key, bytes)) return undefined;
  return parsePart(body);
}

/** The keys of a key set that `signedClaims` can use, by id. Two keys with the same id are left out: either could be meant. */
export function rsaKeys(keys: readonly unknown[]): ReadonlyMap<string, KeyObject> {
  const found = new Map<string, KeyObject>();
  // Counted once: comparing each key with all others would take minutes for a hostile key set.
  const times = new Map<unknown, number>();
  for (const jwk of keys) if (isRecord(jwk)) times.set(jwk.kid, (times.get(jwk.kid) ?? 0) + 1);
  for (const jwk of keys) {
    if (!isRecord(jwk) || typeof jwk.kid !== 'string' || times.get(jwk.kid) !== 1) continue;
    const key = rsaKey(jwk);
    if (key) found.set(jwk.kid, key);
  }
  return found;
}

function rsaKey({ kty, n, e, use, alg, key_ops: operations }: Record<string, unknown>): KeyObject | undefined {
  const isUsable =
    kty === 'RSA' &&
    typeof n === 'string' &&
    typeof e === 'string' &&
    (use === undefined || use === 'sig') &&
    (alg === undefined || alg === 'RS256') &&
    operations === undefined;
  if (!isUsable) return undefined;
  try {
    const key = createPublicKey({ key: { kty, n, e }, format: 'jwk' });
    // RFC 7518 section 3.3: 2048 bits or more.
    return (key.asymmetricKeyDetails?.modulusLength ?? 0) >= 2048 ? key : undefined;
  } catch {
    return undefined;
  }
}

const ordinaryTypes: ReadonlySet<unknown> = new Set([undefined, 'JWT', 'at+jwt', 'application/at+jwt']);

// As long as a provider signs with one key, all its tokens have the same header. Parsing it once is enough.
let lastHead: { readonly text: string; readonly kid: string | undefined } | undefined;

/** The id of the key that a header names; undefined when the header is unusual. */
function keyIdOf(head: string): string | undefined {
  if (lastHead?.text === head) return lastHead.kid;
  const header = parsePart(head);
  // A critical extension changes what the token means (RFC 7515 section 4.1.11), and `b64` what was signed (RFC 7797).
  // A `typ` such as `logout+jwt` is another kind of token (RFC 8725 section 3.11).
  const isOrdinary =
    header?.alg === 'RS256' && !('crit' in header) && !('b64' in header) && ordinaryTypes.has(header.typ);
  const kid = isOrdinary ? header.kid : undefined;
  lastHead = { text: head, kid: typeof kid === 'string' ? kid : undefined };
  return lastHead.kid;
}
