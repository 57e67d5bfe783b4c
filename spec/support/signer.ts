import { randomUUID } from 'node:crypto';
import {
  CompactSign,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  type CryptoKey,
  type GenerateKeyPairResult,
  type JWK,
} from 'jose';

export type Claims = Record<string, unknown>;

export interface SignOptions {
  /** A private key, or the bytes of a symmetric one. */
  key?: CryptoKey | Uint8Array;
  kid?: string;
  alg?: string;
  header?: Record<string, unknown>;
}

interface SigningKey {
  kid: string;
  privateKey: CryptoKey;
  publicKey: CryptoKey;
  jwk: JWK;
}

const encoder = new TextEncoder();

/** The signing keys of a fake provider, and every way to make a token with them or against them. */
export async function createSigner() {
  let current = await createKey(sharedPair('provider'));
  let published = [current];

  /** Signs exactly these claims; a claim that is `undefined` is left out. */
  const sign = async (claims: Claims, options: SignOptions = {}): Promise<string> => {
    const { key = current.privateKey, kid = current.kid, alg = 'RS256', header = {} } = options;
    const protectedHeader = { alg, typ: 'JWT', kid, ...header };
    if (alg === 'none') return `${encode(protectedHeader)}.${encode(claims)}.`;
    return new CompactSign(encoder.encode(JSON.stringify(claims))).setProtectedHeader(protectedHeader).sign(key);
  };

  const forge = {
    /** No signature at all. */
    none: (claims: Claims) => sign(claims, { alg: 'none' }),

    /** The algorithm-confusion attack: the public key, known to all, as the secret of an HMAC. */
    hs256WithPublicKey: async (claims: Claims) =>
      sign(claims, { alg: 'HS256', key: encoder.encode(await exportSPKI(current.publicKey)) }),

    /** Somebody else's key under the provider's key id. */
    foreignKey: async (claims: Claims) => sign(claims, { key: (await sharedPair('foreign')).privateKey }),

    /** Somebody else's key under an id that is not published: looks like a token from before a key rotation. */
    unknownKey: async (claims: Claims) => {
      const { kid, privateKey } = await createKey(sharedPair('foreign'));
      return sign(claims, { key: privateKey, kid });
    },

    /** Somebody else's key, brought along in the header for a reader that trusts it. */
    embeddedKey: async (claims: Claims) => {
      const { privateKey, jwk } = await createKey(sharedPair('foreign'));
      return sign(claims, { key: privateKey, header: { jwk } });
    },

    /** A good token whose claims were changed afterwards. */
    tampered: (token: string, changes: Claims) => {
      const [header = '', payload = '', signature = ''] = token.split('.');
      return `${header}.${encode({ ...decode(payload), ...changes })}.${signature}`;
    },
  };

  return {
    sign,
    forge,
    jwks: () => ({ keys: published.map(({ jwk }) => jwk) }),
    /** Signs with a new key from now on; `keepOld` says whether tokens of the old one can still be checked. */
    rotate: async ({ keepOld }: { keepOld: boolean }): Promise<void> => {
      current = await createKey(generatePair());
      published = keepOld ? [current, ...published] : [current];
    },
  };
}

const pairs = new Map<string, Promise<GenerateKeyPairResult>>();

/** RSA keys take long to make: the servers of one spec file start with the same, each under an id of its own. */
function sharedPair(name: string): Promise<GenerateKeyPairResult> {
  const pair = pairs.get(name) ?? generatePair();
  pairs.set(name, pair);
  return pair;
}

function generatePair(): Promise<GenerateKeyPairResult> {
  return generateKeyPair('RS256', { extractable: true });
}

async function createKey(pair: Promise<GenerateKeyPairResult>): Promise<SigningKey> {
  const { privateKey, publicKey } = await pair;
  const kid = `key_${randomUUID()}`;
  return { kid, privateKey, publicKey, jwk: { ...(await exportJWK(publicKey)), alg: 'RS256', use: 'sig', kid } };
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function decode(part: string): Claims {
  return JSON.parse(Buffer.from(part, 'base64url').toString()) as Claims;
}
