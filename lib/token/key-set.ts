import type { KeyObject } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

import type { FlattenedJWSInput, JSONWebKeySet, JWTHeaderParameters } from 'jose';
import { JWKSNoMatchingKey } from 'jose/errors';
import { createLocalJWKSet } from 'jose/jwks/local';

import { nonEmptyString } from '../json.js';
import { monotonicMs } from '../monotonic.js';
import type { Agents } from '../wire/agents.js';
import { getJson } from '../wire/answer.js';
import { cachedDocument, type Snapshot } from '../wire/cached-document.js';
import { ProviderFailure } from '../wire/failure.js';
import { rsaKeys } from './rs256.js';

type LocalKeySet = ReturnType<typeof createLocalJWKSet>;

interface Keys {
  readonly local: LocalKeySet;
  readonly rsa: ReadonlyMap<string, KeyObject>;
}

type Key = Awaited<ReturnType<LocalKeySet>>;

/** The provider does not publish the key that signed this token. It may have withdrawn it. */
export class KeyNotPublished extends Error {
  // A literal: a minifier changes the names of classes.
  override readonly name = 'KeyNotPublished';
}

export interface KeySet {
  /**
   * The key that a token's header names.
   *
   * @throws {KeyNotPublished} the provider was asked after the token was issued, and does not publish it
   * @throws {ProviderFailure} the key set cannot be had now
   */
  readonly find: (header: JWTHeaderParameters, token: FlattenedJWSInput, issuedAtMs: number) => Promise<Key>;
  /** The published RSA key of this id, when it is known without asking the provider. */
  readonly rsaKey: (kid: string) => KeyObject | undefined;
  /** Notes that the key of a fresh token is not published: the key server lags behind the token server. */
  readonly lagsBehind: () => void;
  /** Fetches the keys unless they are known. Rejects when they cannot be had. */
  readonly ready: () => Promise<unknown>;
}

/** Where the keys of a provider are: given, or published. */
export interface KeySource {
  readonly keys?: readonly Readonly<Record<string, unknown>>[] | undefined;
  readonly keysUrl?: string | undefined;
  readonly agent?: Agents | undefined;
}

// One key set for each provider object, shared by all middlewares that use it.
const keySets = new WeakMap<object, { source: unknown; keys: KeySet }>();

/** The key set of a provider object, made at its first use. */
export function keySetOf(provider: object, { keys: inline, keysUrl = '', agent }: KeySource): KeySet {
  const source = inline ?? keysUrl;
  const known = keySets.get(provider);
  if (known?.source === source) return known.keys;
  const keys = inline ? inlineKeySet(inline) : keySet(keysUrl, agent);
  keySets.set(provider, { source, keys });
  return keys;
}

// For an unknown key the set is fetched again when it is older than this, or older than the token.
const refetchAfterMs = 30_000;
// The shortest time between two fetches for unknown keys: anybody can send tokens with invented ones, and they must not
// cause a storm. Such a token waits until then.
const refetchPauseMs = 1_000;
/**
 * The most keys of a key set that is used. Providers publish two or three. Each is parsed on the event loop, and a token
 * without a key id is tried with all of them.
 */
export const maxKeys = 100;
// While the key server lags behind, an unknown key says nothing about the token.
const lagMs = 30_000;

/** The key set at a URL. It is fetched when needed, shared by all requests that wait, and kept through an outage. */
export function keySet(url: string, agent?: Agents): KeySet {
  const keys = cachedDocument<Keys>(async () => {
    const document = await getJson(url, { agent });
    // With an empty set the key of every session would count as withdrawn.
    if (!Array.isArray(document.keys) || document.keys.length === 0) {
      throw new ProviderFailure('server_error', 'The key set has no keys.');
    }
    if (document.keys.length > maxKeys) {
      throw new ProviderFailure('server_error', `The key set has more than ${maxKeys} keys.`);
    }
    return { local: createLocalJWKSet(document as unknown as JSONWebKeySet), rsa: rsaKeys(document.keys) };
  });
  let laggingUntilMs = 0;
  let missed: { readonly kid: string | undefined; readonly atMs: number } | undefined;
  let next: Promise<Snapshot<Keys>> | undefined;

  const pauseLeftMs = () => (missed ? Math.max(missed.atMs + refetchPauseMs - monotonicMs(), 0) : 0);

  /** Fetches the set for an unknown key, once the pause is over. Whatever keys are asked for meanwhile, it is one fetch. */
  function refetchInTurn(): Promise<Snapshot<Keys>> {
    next ??= sleep(pauseLeftMs())
      .then(() => keys.refetch())
      .finally(() => {
        next = undefined;
      });
    return next;
  }

  async function find(header: JWTHeaderParameters, token: FlattenedJWSInput, issuedAtMs: number): Promise<Key> {
    const known = await keys.get();
    try {
      return await known.value.local(header, token);
    } catch (error) {
      if (!isNoMatch(error)) throw error;
    }
    // `iat` is in whole seconds, so the token may be up to a second younger than it says.
    const outdated = issuedAtMs + 1_000 > known.fetchedAtMs || Date.now() - known.fetchedAtMs > refetchAfterMs;
    const kid = nonEmptyString(header.kid);
    const isMissing = missed?.kid === kid && pauseLeftMs() > 0;
    if (outdated && !isMissing) {
      const { value } = await refetchInTurn();
      try {
        return await value.local(header, token);
      } catch (error) {
        if (!isNoMatch(error)) throw error;
        missed = { kid, atMs: monotonicMs() };
      }
    }
    if (Date.now() < laggingUntilMs) throw new ProviderFailure('server_error', 'The key set lags behind the tokens.');
    throw new KeyNotPublished();
  }

  function lagsBehind(): void {
    laggingUntilMs = Date.now() + lagMs;
  }

  return { find, rsaKey: (kid) => keys.peek()?.value.rsa.get(kid), lagsBehind, ready: () => keys.get() };
}

/** Keys that a provider object holds itself. Nothing is fetched. */
export function inlineKeySet(jwks: readonly Readonly<Record<string, unknown>>[]): KeySet {
  const local = createLocalJWKSet({ keys: jwks } as unknown as JSONWebKeySet);
  const rsa = rsaKeys(jwks);
  return {
    find: async (header, token) => {
      try {
        return await local(header, token);
      } catch (error) {
        throw isNoMatch(error) ? new KeyNotPublished() : error;
      }
    },
    rsaKey: (kid) => rsa.get(kid),
    lagsBehind: () => undefined,
    ready: () => Promise.resolve(),
  };
}

function isNoMatch(error: unknown): boolean {
  return (error as { code?: unknown }).code === JWKSNoMatchingKey.code;
}
