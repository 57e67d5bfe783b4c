import type { CoordinatedOutcome, Ticket } from '../refresh/coordinator.js';
import { isFor } from '../refresh/shared-outcome.js';
import { decrypt, encrypt, ivBytes, tagBytes } from '../seal/aes-256-gcm.js';

type Contents = Pick<CoordinatedOutcome, 'outcome' | 'organizationId'>;

/**
 * An outcome as Redis stores it: AES-256-GCM under the ticket's secret, in base64, as `iv | tag | ciphertext`. The key
 * of the ticket is authenticated too: a record that somebody moves to another key does not open.
 */
export function sealRecord({ secret, key }: Ticket, { outcome, organizationId }: CoordinatedOutcome): string {
  const contents: Contents = { outcome, organizationId };
  const { iv, tag, ciphertext } = encrypt(secret, JSON.stringify(contents), key);
  return Buffer.concat([iv, tag, ciphertext]).toString('base64');
}

/** What another process has published about this refresh token; `undefined` when there is no record for the ticket. */
export function openRecord(ticket: Ticket, record: unknown): CoordinatedOutcome | undefined {
  if (typeof record !== 'string') return undefined;
  try {
    const bytes = Buffer.from(record, 'base64');
    const box = {
      iv: bytes.subarray(0, ivBytes),
      tag: bytes.subarray(ivBytes, ivBytes + tagBytes),
      ciphertext: bytes.subarray(ivBytes + tagBytes),
    };
    const unboxed = decrypt(ticket.secret, box, ticket.key);
    if (!unboxed.ok) return undefined;
    const { outcome, organizationId } = JSON.parse(unboxed.text) as Contents;
    const coordinated: CoordinatedOutcome = { outcome, organizationId, source: 'fleet' };
    return isFor(ticket, coordinated) ? coordinated : undefined;
  } catch {
    // Damaged, forged, or of another version: the same as no record.
    return undefined;
  }
}
