import { createHash } from 'node:crypto';

import { expect, it } from '@jest/globals';
import { workos } from 'express-sealed-session';

import { tokenKey, tokenSecret } from '../../../lib/refresh/token-key.js';

const provider = workos({ clientId: 'client_01', apiKey: 'sk_test_01' });

/** The derivation that all processes of a fleet share, including those of another version during a deployment. */
const derive = (token: string, use: string, id = provider.id) =>
  createHash('sha256').update(`["express-sealed-session","${use}","${id}","${token}"]`).digest();

it('derives the key of a refresh token', () => {
  expect(tokenKey(provider, 'one')).toBe(derive('one', 'name').toString('base64url'));
});

it('derives the secret of a refresh token', () => {
  expect(tokenSecret(provider, 'one')).toEqual(derive('one', 'secret'));
});

it('derives another key for another provider', () => {
  const other = { ...provider, id: 'another provider' };
  expect(tokenKey(other, 'one')).toBe(derive('one', 'name', 'another provider').toString('base64url'));
});
