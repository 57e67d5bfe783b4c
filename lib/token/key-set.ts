import type { KeyObject } from 'node:crypto';

import type { FlattenedJWSInput, JSONWebKeySet, JWTHeaderParameters } from 'jose';
import { JWKSNoMatchingKey } from 'jose/errors';
import { createLocalJWKSet } from 'jose/jwks/local';

import { cachedDocument, getJson } from '../wire/cached-document.js';
import { ProviderFailure } from '../wire/failure.js';
import { rsaKeys } from './rs256.js';

type LocalKeySet = ReturnType<typeof createLocalJWKSet>;
type Key = Awaited<ReturnType<LocalKeySet>>;

/** The provider does not publish the key that signed this token: it did once, or never. */
export class KeyNotPublished extends Error {
  override readonly name = 'KeyNotPublished';
}

export interface KeySet {
  /**
   * The key that a token's header names.
   *
   * @throws {KeyNotPublished} the provider, asked since the token was issued, does not publish it
   * @throws {ProviderFailure} it cannot be known now
   */
  readonly find: (header: JWTHeaderParameters, token: FlattenedJWSInput, issuedAtMs: number) => Promise<Key>;
  /** The published RSA key of this id, if that is known without asking. */
  readonly rsaKey: (kid: string) => KeyObject | undefined;
  /** Tells that a token fresh from the provider has a key that is not published: the key server lags behind. */
  readonly lagsBehind: () => void;
}

// A key that we do not know is looked for again when the set is older than this, or older than the token.
const refetchAfterMs = 30_000;
// The least time between two looks for the same key, whatever the clocks say.
const refetchPauseMs = 1_000;
// While the key server is known to lag, an unknown key says nothing about the token.
const lagMs = 30_000;

/** The key set at a URL: fetched when needed, shared by everyone who waits, kept through an outage. */
export function keySet(url: string): KeySet {
  const keys = cachedDocument(async () => {
    const document = await getJson(url);
    // An empty set would turn every session's key into a withdrawn one.
    if (!Array.isArray(document.keys) || document.keys.length === 0) {
      throw new ProviderFailure('server_error', 'The key set has no keys.');
    }
    return { local: createLocalJWKSet(document as unknown as JSONWebKeySet), rsa: rsaKeys(document.keys) };
  });
  let laggingUntilMs = 0;
  let missed: { kid: string | undefined; atMs: number } | undefined;

  async function find(header: JWTHeaderParameters, token: FlattenedJWSInput, issuedAtMs: number): Promise<Key> {
    const known = await keys.get();
    try {
      return await known.value.local(header, token);
    } catch (error) {
      if (!isNoMatch(error)) throw error;
    }
    // `iat` has whole seconds: the token may be as young as the end of its second.
    const outdated = issuedAtMs + 1_000 > known.fetchedAtMs || Date.now() - known.fetchedAtMs > refetchAfterMs;
    const lookedAlready =
      missed !== undefined && missed.kid === header.kid && Date.now() - missed.atMs < refetchPauseMs;
    if (outdated && !lookedAlready) {
      const { value } = await keys.refetch();
      try {
        return await value.local(header, token);
      } catch (error) {
        if (!isNoMatch(error)) throw error;
        missed = { kid: header.kid, atMs: Date.now() };
      }
    }
    if (Date.now() < laggingUntilMs) throw new ProviderFailure('server_error', 'The key set lags behind.');
    throw new KeyNotPublished();
  }

  function lagsBehind(): void {
    laggingUntilMs = Date.now() + lagMs;
  }

  return { find, rsaKey: (kid) => keys.peek()?.value.rsa.get(kid), lagsBehind };
}

function isNoMatch(error: unknown): boolean {
  return (error as { code?: unknown }).code === JWKSNoMatchingKey.code;
}
