import { hash } from 'node:crypto';

import type { Provider } from '../provider/provider.js';

/**
 * Names a refresh token to everyone who holds it, and tells others nothing: it is random enough that the hash cannot be
 * reversed. A change of password changes no name.
 */
export function tokenKey(provider: Provider, refreshToken: string): string {
  return hash('sha256', textOf(provider, refreshToken, 'name'), 'base64url');
}

/** Encrypts what processes share about a refresh token: without the token, the shared store is unreadable. */
export function tokenSecret(provider: Provider, refreshToken: string): Buffer {
  return hash('sha256', textOf(provider, refreshToken, 'secret'), 'buffer');
}

// Processes of two versions run side by side during a deployment: another text here would separate them. One hash takes a
// fifth of the time of an HMAC, and the first request of every visitor waits for it.
function textOf(provider: Provider, refreshToken: string, use: 'name' | 'secret'): string {
  return JSON.stringify(['express-sealed-session', use, provider.id, refreshToken]);
}
