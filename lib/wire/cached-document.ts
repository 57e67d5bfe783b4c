import { parseObject } from '../json.js';
import { readDocument } from './answer.js';
import { failureReason, ProviderFailure } from './failure.js';

/** A document of the provider's (its key set, its metadata) as of a moment. */
export interface Snapshot<Value> {
  readonly value: Value;
  readonly fetchedAtMs: number;
}

export interface CachedDocument<Value> {
  /** The document, fetched only if none is known that is young enough to go by. */
  get(): Promise<Snapshot<Value>>;
  /** The document, if one is known that is young enough to go by. */
  peek(): Snapshot<Value> | undefined;
  /** The document as it is now. */
  refetch(): Promise<Snapshot<Value>>;
}

// A document is renewed in the background after ten minutes. While that fails, the known one serves for six hours:
// an outage of the key server signs nobody out, and a withdrawn key is not honoured for ever.
const freshMs = 10 * 60_000;
const usableMs = 6 * 60 * 60_000;
// After a failure nobody asks for this long, so that an outage costs a request nothing and the server no storm.
const coolDownMs = 5_000;

/** Keeps one document: one fetch at a time, shared by all who wait for it. */
export function cachedDocument<Value>(load: () => Promise<Value>): CachedDocument<Value> {
  let known: Snapshot<Value> | undefined;
  let failed: { atMs: number; error: ProviderFailure } | undefined;
  let pending: Promise<Snapshot<Value>> | undefined;

  async function fetchNow(): Promise<Snapshot<Value>> {
    // The document is as old as the question, not as the answer.
    const fetchedAtMs = Date.now();
    try {
      known = { value: await load(), fetchedAtMs };
      failed = undefined;
      return known;
    } catch (cause) {
      const error = new ProviderFailure(failureReason(cause), 'A document of the provider could not be fetched.');
      failed = { atMs: Date.now(), error };
      throw error;
    } finally {
      pending = undefined;
    }
  }

  function refetch(): Promise<Snapshot<Value>> {
    if (pending) return pending;
    if (failed && Date.now() - failed.atMs < coolDownMs) return Promise.reject(failed.error);
    pending = fetchNow();
    return pending;
  }

  function peek(): Snapshot<Value> | undefined {
    const age = known ? Date.now() - known.fetchedAtMs : Infinity;
    if (age > usableMs) return undefined;
    // Nobody waits for this one; if it fails, the next request finds out what is left.
    if (age > freshMs) refetch().catch(() => undefined);
    return known;
  }

  async function get(): Promise<Snapshot<Value>> {
    return peek() ?? refetch();
  }

  return { get, peek, refetch };
}

/**
 * GETs a JSON object. Redirects are refused: whoever can redirect the key set chooses the keys.
 *
 * @throws {ProviderFailure} or what `fetch` throws
 */
export async function getJson(url: string): Promise<Record<string, unknown>> {
  const response = await fetch(url, {
    headers: { accept: 'application/json' },
    redirect: 'manual',
    signal: AbortSignal.timeout(5_000),
  });
  const body = parseObject(await readDocument(response));
  if (!body) throw new ProviderFailure('server_error', 'The answer is not a JSON object.');
  return body;
}
