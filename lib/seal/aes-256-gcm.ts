import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from 'node:crypto';

/** The parts of an encrypted text. In which order they are written is the format's choice. */
export interface Box {
  readonly iv: Buffer;
  readonly tag: Buffer;
  readonly ciphertext: Buffer;
}

/** A text from a box. Unauthenticated text may be anybody's: good for telling what went wrong, for nothing else. */
export type Unboxed =
  { readonly ok: true; readonly text: string } | { readonly ok: false; readonly unauthenticated: string };

export const ivBytes = 12;
export const tagBytes = 16;

/** Encrypts a text under a key of 32 bytes. `context` is authenticated as well, and is not in the box. */
export function encrypt(key: Buffer, text: string, context = ''): Box {
  // A random IV of 96 bits is safe for 2^32 texts under one key (NIST SP 800-38D, section 8.3).
  const iv = randomBytes(ivBytes);
  const cipher = createCipheriv('aes-256-gcm', createSecretKey(key), iv, { authTagLength: tagBytes });
  cipher.setAAD(Buffer.from(context));
  const ciphertext = Buffer.concat([cipher.update(text), cipher.final()]);
  return { iv, tag: cipher.getAuthTag(), ciphertext };
}

/**
 * Decrypts a box.
 *
 * @throws when the IV or the tag has another length
 */
export function decrypt(key: Buffer, { iv, tag, ciphertext }: Box, context = ''): Unboxed {
  // Without the length, Node takes a tag of four bytes, which can be guessed.
  const decipher = createDecipheriv('aes-256-gcm', createSecretKey(key), iv, { authTagLength: tagBytes });
  decipher.setAAD(Buffer.from(context)).setAuthTag(tag);
  const text = decipher.update(ciphertext, undefined, 'utf8');
  try {
    return { ok: true, text: text + decipher.final('utf8') };
  } catch {
    return { ok: false, unauthenticated: text };
  }
}
