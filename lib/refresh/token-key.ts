import { createHmac } from 'node:crypto';

import type { Provider } from '../provider/provider.js';

/**
 * Names a refresh token to everyone who holds it, and tells others nothing. The token itself is the key of the HMAC:
 * it is random enough that the result cannot be reversed, and a change of password changes no key.
 */
export function tokenKey(provider: Provider, refreshToken: string): string {
  return derive(provider, refreshToken, 'name').toString('base64url');
}

/** Encrypts what processes share about a refresh token: without the token, the shared store is unreadable. */
export function tokenSecret(provider: Provider, refreshToken: string): Buffer {
  return derive(provider, refreshToken, 'secret');
}

/** Names a session by its id, in the same way. */
export function sessionKey(provider: Provider, sessionId: string): string {
  return derive(provider, sessionId, 'session').toString('base64url');
}

// Processes of two versions run side by side during a deployment: another text here would separate them.
function derive(provider: Provider, secret: string, use: string): Buffer {
  return createHmac('sha256', secret).update(`express-sealed-session ${use} ${provider.id}`).digest();
}
