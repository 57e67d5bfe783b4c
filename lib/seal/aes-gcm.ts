import { createHash } from 'node:crypto';

import { type Box, decrypt, encrypt, ivBytes, tagBytes } from './aes-256-gcm.js';
import type { Passwords } from './passwords.js';
import { fullWork, type Opened, type Sealer, takeWork, type Work } from './sealer.js';

/** Where the parts of a seal lie. Its first byte, or the lack of one, tells which layout it is. */
interface Layout {
  readonly keyOf: (password: string) => Buffer | undefined;
  readonly split: (bytes: Buffer) => Box;
}

const versionByte = 0x01;

/** Version 7 of WorkOS's Ruby SDK: `0x01 | iv | tag | ciphertext`, under the SHA-256 of the password. */
const current: Layout = {
  keyOf: sha256,
  split: (bytes) => ({
    iv: bytes.subarray(1, 1 + ivBytes),
    tag: bytes.subarray(1 + ivBytes, 1 + ivBytes + tagBytes),
    ciphertext: bytes.subarray(1 + ivBytes + tagBytes),
  }),
};

/** Version 6: `iv | ciphertext | tag`, under the password itself, which had to have exactly 32 bytes. */
const older: Layout = {
  keyOf: (password) => {
    const key = Buffer.from(password);
    return key.length === 32 ? key : undefined;
  },
  split: (bytes) => ({
    iv: bytes.subarray(0, ivBytes),
    tag: bytes.subarray(-tagBytes),
    ciphertext: bytes.subarray(ivBytes, -tagBytes),
  }),
};

const leastBytes = 1 + ivBytes + tagBytes;

/**
 * Seals that WorkOS's Ruby SDK reads and writes: AES-256-GCM, in base64, with its field names (`access_token`). It
 * reads the layouts of versions 6 and 7, and writes that of version 7.
 *
 * @example
 * withSession({ ...options, sealer: rubySealer() });
 */
export function rubySealer(): Sealer {
  return Object.freeze({
    name: 'aes-gcm',
    fields: 'snake_case',
    // Iron's asterisks are not in base64.
    recognises: (text: string) => /^[\w+/=\s]{40,}$/.test(text),
    open: openAesGcm,
    seal: (value: object, { sealing }: Passwords) => {
      const { iv, tag, ciphertext } = encrypt(sha256(sealing), JSON.stringify(value));
      const bytes = Buffer.concat([Buffer.of(versionByte), iv, tag, ciphertext]);
      return Promise.resolve(bytes.toString('base64'));
    },
  } satisfies Sealer);
}

function openAesGcm(
  text: string,
  { newestFirst }: Passwords,
  _nowMs: number,
  _binding: string,
  work: Work = fullWork(),
): Opened {
  // Version 6 broke its lines. Node skips what is not base64.
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length < leastBytes) return { ok: false, problem: 'bad_shape' };
  let damaged = false;
  for (const layout of bytes[0] === versionByte ? [current, older] : [older]) {
    for (const [passwordIndex, { password }] of newestFirst.entries()) {
      const key = takeWork(work) ? layout.keyOf(password) : undefined;
      if (!key) continue;
      const unboxed = decrypt(key, layout.split(bytes));
      if (unboxed.ok) return parse(unboxed.text, passwordIndex);
      // For the operator only: under the right password a damaged seal still begins like a JSON object.
      damaged ||= unboxed.unauthenticated.startsWith('{"');
    }
  }
  return { ok: false, problem: damaged ? 'tampered' : 'unknown_password' };
}

function parse(json: string, passwordIndex: number): Opened {
  try {
    return { ok: true, value: JSON.parse(json), passwordIndex };
  } catch {
    return { ok: false, problem: 'bad_shape' };
  }
}

function sha256(password: string): Buffer {
  return createHash('sha256').update(password).digest();
}
