import { createCipheriv, createDecipheriv, createSecretKey, hash, type KeyObject, randomBytes } from 'node:crypto';

/** The key from which each text gets a key of its own, ready to be derived from. */
export interface RootKey {
  /** `00000001 | key | salt`: the first two are filled in, the salt changes with each text. */
  readonly input: Buffer;
}

const keyAt = 4;
const saltAt = keyAt + 32;
const saltBytes = 12;
const ivBytes = 12;
const tagBytes = 16;
const headBytes = saltBytes + ivBytes;

/** The length of a box with an empty text. */
export const leastBoxBytes = headBytes + tagBytes;

/** Bytes from a box. Unauthenticated bytes may be anybody's: good for telling what went wrong, for nothing else. */
export type OpenedBox =
  { readonly ok: true; readonly bytes: Buffer } | { readonly ok: false; readonly unauthenticated: Buffer };

/** @param key 32 random bytes */
export function rootKey(key: Uint8Array): RootKey {
  const input = Buffer.alloc(saltAt + saltBytes);
  input[keyAt - 1] = 1;
  input.set(key, keyAt);
  return { input };
}

/**
 * AES-256-GCM under a key of its own for each text. Under one key, random IVs of 96 bits are safe for 2^32 texts only
 * (NIST SP 800-38D, section 8.3). Here salt and IV, 192 random bits, would both have to repeat: after 2^64 texts the odds
 * of that are one in 2^65.
 *
 * @param context is authenticated as well, and is not in the box
 * @returns the box: salt, IV, ciphertext and tag
 */
export function encryptFresh(root: RootKey, bytes: Buffer, context: Buffer): Buffer {
  const head = randomBytes(headBytes);
  const key = derive(root, head);
  const cipher = createCipheriv('aes-256-gcm', key, head.subarray(saltBytes), { authTagLength: tagBytes });
  cipher.setAAD(context);
  return Buffer.concat([head, cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
}

/**
 * Decrypts a box.
 *
 * @throws when it is shorter than `leastBoxBytes`
 */
export function decryptFresh(root: RootKey, box: Buffer, context: Buffer): OpenedBox {
  const key = derive(root, box);
  // Without the length, Node takes a tag of four bytes, which can be guessed.
  const iv = box.subarray(saltBytes, headBytes);
  const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: tagBytes });
  decipher.setAAD(context).setAuthTag(box.subarray(-tagBytes));
  const bytes = decipher.update(box.subarray(headBytes, -tagBytes));
  try {
    decipher.final();
    return { ok: true, bytes };
  } catch {
    return { ok: false, unauthenticated: bytes };
  }
}

/**
 * The key of one text, by the one-step derivation of NIST SP 800-56C. All of its input has a fixed length. One hash takes
 * half of the time of an HMAC, and every visitor's first request waits for it.
 */
function derive({ input }: RootKey, head: Buffer): KeyObject {
  head.copy(input, saltAt, 0, saltBytes);
  // A key object, because for bytes Node 24 takes several times as long.
  return createSecretKey(hash('sha256', input, 'buffer'));
}
