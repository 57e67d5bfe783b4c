import { createHash, hkdfSync } from 'node:crypto';

import { packValue, unpackValue } from './compact-layout.js';
import { decryptFresh, encryptFresh, leastBoxBytes, type RootKey, rootKey } from './fresh-key-gcm.js';
import type { Passwords } from './passwords.js';
import { fullWork, type Opened, type Sealer, takeWork, type Work } from './sealer.js';

// No letter of base64, so that the seals of the Ruby SDK are not taken for these. Another version is another prefix.
const prefix = 'c1.';

// The first bytes of the plaintext, for the operator: of a seal that does not authenticate, they tell which password made it.
const magic = Buffer.from('es');
const markBytes = 2;

type Entry = Passwords['newestFirst'][number];

/**
 * Seals in a third of Iron's bytes, which no other package reads: tokens as bytes and not as letters, names and claims
 * compressed, AES-256-GCM. A seal is bound to its provider and purpose: elsewhere it does not open, whatever it holds.
 * The default for every provider but WorkOS.
 *
 * @example
 * withSession({ provider: workos({ clientId, apiKey }), password, sealer: compactSealer() });
 */
export function compactSealer(): Sealer {
  return Object.freeze({
    name: 'compact 1',
    recognises: (text: string) => text.startsWith(prefix),
    open: openCompact,
    seal: (value: object, { newestFirst: [newest] }: Passwords, binding: string) => {
      const bytes = Buffer.concat([magic, markOf(binding), packValue(value, binding)]);
      const key = keyOf(newest ?? { id: '', password: '' });
      return Promise.resolve(prefix + encryptFresh(key, bytes, contextOf(binding)).toString('base64url'));
    },
  } satisfies Sealer);
}

function openCompact(
  text: string,
  { newestFirst }: Passwords,
  _nowMs: number,
  binding: string,
  work: Work = fullWork(),
): Opened {
  const letters = text.slice(prefix.length);
  const box = Buffer.from(letters, 'base64url');
  // base64url has several spellings of the same bytes. Only one of them is accepted.
  const isShaped = text.startsWith(prefix) && box.length >= leastBoxBytes && box.toString('base64url') === letters;
  if (!isShaped) return { ok: false, problem: 'bad_shape' };
  let madeHere: Buffer | undefined;
  for (const [passwordIndex, entry] of newestFirst.entries()) {
    if (!takeWork(work)) break;
    const opened = decryptFresh(keyOf(entry), box, contextOf(binding));
    if (opened.ok) return unpack(opened.bytes, binding, passwordIndex);
    if (opened.unauthenticated.subarray(0, magic.length).equals(magic)) madeHere = opened.unauthenticated;
  }
  if (!madeHere) return { ok: false, problem: 'unknown_password' };
  const mark = madeHere.subarray(magic.length, magic.length + markBytes);
  return { ok: false, problem: mark.equals(markOf(binding)) ? 'tampered' : 'other_provider' };
}

function unpack(bytes: Buffer, binding: string, passwordIndex: number): Opened {
  try {
    return { ok: true, value: unpackValue(bytes, magic.length + markBytes, binding), passwordIndex };
  } catch {
    // Sealed under our password, but not by this format.
    return { ok: false, problem: 'bad_shape' };
  }
}

const keys = new WeakMap<Entry, RootKey>();

/** The key of a password, derived once. The password is random (its check says so), so nothing has to stretch it. */
function keyOf(entry: Entry): RootKey {
  const known = keys.get(entry);
  if (known) return known;
  const key = rootKey(new Uint8Array(hkdfSync('sha256', entry.password, '', 'express-sealed-session compact 1', 32)));
  keys.set(entry, key);
  return key;
}

function contextOf(binding: string): Buffer {
  return Buffer.from(prefix + binding);
}

function markOf(binding: string): Buffer {
  return createHash('sha256').update(binding).digest().subarray(0, markBytes);
}
