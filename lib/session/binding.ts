import { createHash } from 'node:crypto';

/**
 * Names what a seal is for, in a few letters. The seal authenticates it, so it needs no key: with one, a rotated password
 * would orphan every seal. Two providers under one password are told apart by it, and a session from a sign-in.
 *
 * @param purpose `session`, or `flow` for a sign-in that has begun
 * @param more what else the seal is bound to, such as the redirect URI of a flow
 */
export function bindingOf(providerId: string, purpose: 'session' | 'flow', ...more: readonly string[]): string {
  // The same issuer is written with and without a slash at its end.
  const parts = [purpose, providerId.replace(/\/+$/, ''), ...more];
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url').slice(0, 22);
}
