import { createPrivateKey, KeyObject, randomUUID } from 'node:crypto';

import type { CryptoKey, JWK } from 'jose';

import { isRecord } from '../json.js';

/** A private key of the client: as `node:crypto` or WebCrypto has it, as a JWK, or as text in PEM. */
export type ClientKey = KeyObject | CryptoKey | JWK | string;

/** How the client proves to the token endpoint who it is. */
export type ClientAuthentication =
  | { readonly method: 'client_secret_basic' | 'client_secret_post' | 'client_secret_jwt' }
  | {
      readonly method: 'private_key_jwt';
      readonly key: ClientKey;
      /** The id under which the provider knows the public key. Default: the `kid` of a JWK. */
      readonly keyId?: string | undefined;
      /** Default: what goes with the key, `RS256` for RSA. */
      readonly algorithm?: string | undefined;
    }
  /** Mutual TLS (RFC 8705): the certificate is the `agent`'s. */
  | { readonly method: 'tls_client_auth' | 'self_signed_tls_client_auth' }
  /** A public client, which proves nothing. PKCE is used in any case. */
  | { readonly method: 'none' };

/** A function of `oauth4webapi` that does the same, such as `PrivateKeyJwt(key)`. */
export type ClientAuthenticationFunction = (
  server: { readonly issuer: string },
  client: { readonly client_id: string },
  body: URLSearchParams,
  headers: Headers,
) => void | Promise<void>;

export interface ClientCredentials {
  readonly clientId: string;
  readonly clientSecret: string;
}

/** Adds the client's proof to a request. */
export async function authenticateClient(
  authentication: ClientAuthentication | ClientAuthenticationFunction,
  { clientId, clientSecret }: ClientCredentials,
  issuer: string,
  body: URLSearchParams,
  headers: Headers,
): Promise<void> {
  if (typeof authentication === 'function') {
    await authentication({ issuer }, { client_id: clientId }, body, headers);
    return;
  }
  switch (authentication.method) {
    case 'client_secret_basic':
      headers.set('authorization', basic(clientId, clientSecret));
      return;
    case 'client_secret_post':
      body.set('client_id', clientId);
      body.set('client_secret', clientSecret);
      return;
    case 'client_secret_jwt':
      setAssertion(body, clientId, await assertion(clientId, issuer, new TextEncoder().encode(clientSecret), 'HS256'));
      return;
    case 'private_key_jwt': {
      const key = signingKey(authentication.key);
      const keyId = authentication.keyId ?? keyIdOf(authentication.key);
      const algorithm = authentication.algorithm ?? algorithmOf(authentication.key, key);
      setAssertion(body, clientId, await assertion(clientId, issuer, key, algorithm, keyId));
      return;
    }
    case 'tls_client_auth':
    case 'self_signed_tls_client_auth':
    case 'none':
      body.set('client_id', clientId);
  }
}

/**
 * HTTP Basic in the form encoding of the URL standard, which RFC 6749 section 2.3.1 names. It leaves `-._*` as they are:
 * servers that do not decode (Doorkeeper, Glewlwyd, LemonLDAP) refuse a UUID or a `gloas-…` secret in any other.
 */
function basic(clientId: string, clientSecret: string): string {
  const encode = (value: string) => new URLSearchParams({ v: value }).toString().slice(2);
  return `Basic ${Buffer.from(`${encode(clientId)}:${encode(clientSecret)}`).toString('base64')}`;
}

function setAssertion(body: URLSearchParams, clientId: string, jwt: string): void {
  body.set('client_id', clientId);
  body.set('client_assertion', jwt);
  body.set('client_assertion_type', 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer');
}

/** RFC 7523 section 3. The issuer is the audience, so that no other server can use it (OAuth 2.0 security, 2025). */
async function assertion(
  clientId: string,
  issuer: string,
  key: KeyObject | CryptoKey | JWK | Uint8Array,
  algorithm: string,
  keyId?: string,
): Promise<string> {
  const { SignJWT } = await import('jose');
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({
    iss: clientId,
    sub: clientId,
    aud: issuer,
    jti: randomUUID(),
    iat: now,
    nbf: now,
    exp: now + 60,
  })
    .setProtectedHeader({ alg: algorithm, ...(keyId !== undefined && { kid: keyId }) })
    .sign(key);
}

function signingKey(key: ClientKey): KeyObject | CryptoKey | JWK {
  return typeof key === 'string' ? createPrivateKey(key) : key;
}

function keyIdOf(key: ClientKey): string | undefined {
  return isRecord(key) && typeof key.kid === 'string' ? key.kid : undefined;
}

const curves: Readonly<Record<string, string>> = {
  prime256v1: 'ES256',
  'P-256': 'ES256',
  secp384r1: 'ES384',
  'P-384': 'ES384',
  secp521r1: 'ES512',
  'P-521': 'ES512',
};

/** The algorithm that goes with a key. */
function algorithmOf(given: ClientKey, key: KeyObject | CryptoKey | JWK): string {
  if (key instanceof KeyObject) {
    if (key.asymmetricKeyType === 'ec') return curves[key.asymmetricKeyDetails?.namedCurve ?? ''] ?? 'ES256';
    return key.asymmetricKeyType === 'ed25519' ? 'EdDSA' : key.asymmetricKeyType === 'rsa-pss' ? 'PS256' : 'RS256';
  }
  if ('algorithm' in key) {
    const { name, hash, namedCurve } = key.algorithm as { name: string; hash?: { name: string }; namedCurve?: string };
    const bits = hash?.name.replace('SHA-', '') ?? '256';
    if (name === 'ECDSA') return curves[namedCurve ?? ''] ?? 'ES256';
    return name === 'Ed25519' ? 'EdDSA' : name === 'RSA-PSS' ? `PS${bits}` : `RS${bits}`;
  }
  const { alg, kty, crv } = given as JWK;
  if (alg !== undefined) return alg;
  if (kty === 'EC') return curves[crv ?? ''] ?? 'ES256';
  return kty === 'OKP' ? 'EdDSA' : 'RS256';
}

/** What is wrong with `clientAuthentication`, as the end of a sentence. */
export function clientAuthenticationProblem(value: unknown): string | undefined {
  if (typeof value === 'function') return undefined;
  const methods: readonly unknown[] = [
    'client_secret_basic',
    'client_secret_post',
    'client_secret_jwt',
    'private_key_jwt',
    'tls_client_auth',
    'self_signed_tls_client_auth',
    'none',
  ];
  if (!isRecord(value) || !methods.includes(value.method)) {
    return `must be { method } with one of: ${methods.join(', ')}; or a function of "oauth4webapi".`;
  }
  if (value.method !== 'private_key_jwt') return undefined;
  const { key } = value;
  if (typeof key === 'string') {
    try {
      createPrivateKey(key);
      return undefined;
    } catch {
      return 'must have a "key" that is a private key in PEM.';
    }
  }
  return typeof key === 'object' && key !== null ? undefined : 'must have a "key": a private key of the client.';
}

/** Whether this way of proving needs the client's secret. */
export function needsSecret(value: unknown): boolean {
  return isRecord(value) && typeof value.method === 'string' && value.method.startsWith('client_secret');
}
