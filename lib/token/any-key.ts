import type { errors, JWTVerifyGetKey, JWTVerifyResult } from 'jose';
import { jwtVerify } from 'jose/jwt/verify';

/** `jwtVerify`. A token without `kid` is tried with each key that fits. */
export async function verifyWithAnyKey(
  token: string,
  getKey: JWTVerifyGetKey | Uint8Array,
  options: Parameters<typeof jwtVerify>[2],
): Promise<JWTVerifyResult> {
  // One signature for both kinds of key, which the types of `jwtVerify` keep apart.
  if (typeof getKey !== 'function') return jwtVerify(token, getKey, options);
  try {
    return await jwtVerify(token, getKey, options);
  } catch (error) {
    if (codeOf(error) !== 'ERR_JWKS_MULTIPLE_MATCHING_KEYS') throw error;
    let last: unknown = error;
    for await (const key of error as errors.JWKSMultipleMatchingKeys) {
      try {
        return await jwtVerify(token, key, options);
      } catch (wrongKey) {
        last = wrongKey;
        if (codeOf(wrongKey) !== 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED') break;
      }
    }
    throw last;
  }
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown }).code;
}
