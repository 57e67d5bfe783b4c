import { createHash } from 'node:crypto';

/**
 * A short name for a secret, by which two lines of a log can be told to be about the same one. It shows nothing of it:
 * everything that is named by it is too long to be guessed.
 */
export function fingerprint(secret: string): string {
  return `#${createHash('sha256').update(secret).digest('hex').slice(0, 8)}`;
}
