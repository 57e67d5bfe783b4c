import { createHmac, createSecretKey } from 'node:crypto';

import { isRecord } from '../json.js';
import type { CoordinatedOutcome, Outcome, Refreshed, SharedToken } from '../refresh/coordinator.js';
import { isTerminalReason } from '../refresh/outcome.js';
import { decrypt, encrypt, ivBytes, tagBytes } from '../seal/aes-256-gcm.js';

/** What a record says: an outcome; nothing; or that the token is spent, in words that this process cannot read. */
export type FoundRecord = CoordinatedOutcome | 'none' | 'spent elsewhere';

/**
 * An outcome as Redis stores it: the id of its password, a dot, and AES-256-GCM in base64, as `iv | tag | ciphertext`. The
 * key is derived from the refresh token and from the password: neither opens it alone, and who holds only the token cannot
 * write one. The key of the ticket is authenticated too: a record that somebody moves to another key does not open.
 */
export function sealRecord(token: SharedToken, { outcome, organizationId }: CoordinatedOutcome): string {
  const [password = ''] = token.passwords;
  const { iv, tag, ciphertext } = encrypt(
    keyOf(token, password),
    JSON.stringify({ outcome, organizationId }),
    token.key,
  );
  return `${idOf(token, password)}.${Buffer.concat([iv, tag, ciphertext]).toString('base64')}`;
}

/**
 * What another process has published about this refresh token. Under a password that this process lacks, as in the middle
 * of a rotation, it still says that the token is spent.
 */
export function openRecord(token: SharedToken, record: unknown): FoundRecord {
  if (typeof record !== 'string') return 'none';
  const [, id, sealed] = /^([\w-]{16})\.([A-Za-z\d+/]+=*)$/.exec(record) ?? [];
  if (id === undefined || sealed === undefined) return 'none';
  const password = token.passwords.find((each) => idOf(token, each) === id);
  if (password === undefined) return 'spent elsewhere';
  try {
    const bytes = Buffer.from(sealed, 'base64');
    const box = {
      iv: bytes.subarray(0, ivBytes),
      tag: bytes.subarray(ivBytes, ivBytes + tagBytes),
      ciphertext: bytes.subarray(ivBytes + tagBytes),
    };
    const unboxed = decrypt(keyOf(token, password), box, token.key);
    return unboxed.ok ? (readContents(token, JSON.parse(unboxed.text)) ?? 'none') : 'none';
  } catch {
    // Damaged, forged, or of another version: the same as no record.
    return 'none';
  }
}

/** The contents of a record. They become a session, so they are checked as a cookie is. */
function readContents({ accept }: SharedToken, contents: unknown): CoordinatedOutcome | undefined {
  if (!isRecord(contents) || typeof contents.organizationId !== 'string' || !isRecord(contents.outcome))
    return undefined;
  const outcome = readOutcome(contents.outcome, accept);
  return outcome && { outcome, organizationId: contents.organizationId, source: 'fleet' };
}

function readOutcome(found: Record<string, unknown>, accept: SharedToken['accept']): Outcome | undefined {
  if (found.kind === 'terminal') return isTerminalReason(found.reason) ? (found as unknown as Outcome) : undefined;
  if (found.kind !== 'refreshed') return undefined;
  const payload = accept(found.payload);
  const { sealed, sealedUnder, successorKey } = found;
  if (!payload || typeof sealed !== 'string' || typeof sealedUnder !== 'string') return undefined;
  return {
    kind: 'refreshed',
    payload,
    sealed,
    sealedUnder,
    successorKey: typeof successorKey === 'string' ? successorKey : undefined,
    signIn: readSignIn(found.signIn),
  };
}

function readSignIn(found: unknown): Refreshed['signIn'] {
  if (!isRecord(found) || typeof found.returnTo !== 'string') return undefined;
  const { returnTo, idToken } = found;
  return { returnTo, idToken: typeof idToken === 'string' ? idToken : undefined };
}

function keyOf({ secret }: SharedToken, password: string): Buffer {
  return createHmac('sha256', password).update('express-sealed-session record').update(secret).digest();
}

/** Names a password to those who hold it and the refresh token. Without the token it cannot be guessed at. */
function idOf({ secret }: SharedToken, password: string): string {
  // A key object, because for bytes Node 24 takes ten times as long.
  return createHmac('sha256', createSecretKey(secret)).update(`password ${password}`).digest('base64url').slice(0, 16);
}
