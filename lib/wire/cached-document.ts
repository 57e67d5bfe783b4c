import { monotonicMs } from '../monotonic.js';
import { failureDetail, failureReason, ProviderFailure } from './failure.js';

/** A document of the provider (its key set, its metadata), and when it was asked for. */
export interface Snapshot<Value> {
  readonly value: Value;
  readonly fetchedAtMs: number;
}

export interface CachedDocument<Value> {
  /** The document. It is fetched only when none is known, or the known one is too old. */
  get(): Promise<Snapshot<Value>>;
  /** The known document, unless it is too old. */
  peek(): Snapshot<Value> | undefined;
  /** Fetches the document. */
  refetch(): Promise<Snapshot<Value>>;
}

// A document is fetched again in the background after ten minutes. While that fails, the known one serves for six
// hours: an outage of the key server signs no visitor out, and a withdrawn key does not count for ever.
const freshMs = 10 * 60_000;
const usableMs = 6 * 60 * 60_000;
// After a failure the server is left alone for this long: no request waits for it, and no storm delays its recovery.
const coolDownMs = 5_000;

/** Keeps one document. One fetch runs at a time, and all requests that wait for it share it. */
export function cachedDocument<Value>(load: () => Promise<Value>): CachedDocument<Value> {
  let known: Snapshot<Value> | undefined;
  let failed: { atMs: number; error: ProviderFailure } | undefined;
  let pending: Promise<Snapshot<Value>> | undefined;

  async function fetchNow(): Promise<Snapshot<Value>> {
    // Taken before the fetch: a key that was published during it may be missing from the answer.
    const fetchedAtMs = Date.now();
    try {
      known = { value: await load(), fetchedAtMs };
      failed = undefined;
      return known;
    } catch (cause) {
      const message = 'A document of the provider could not be fetched.';
      const error = new ProviderFailure(failureReason(cause), message, failureDetail(cause));
      failed = { atMs: monotonicMs(), error };
      throw error;
    } finally {
      pending = undefined;
    }
  }

  function refetch(): Promise<Snapshot<Value>> {
    if (pending) return pending;
    if (failed && monotonicMs() - failed.atMs < coolDownMs) return Promise.reject(failed.error);
    pending = fetchNow();
    return pending;
  }

  function peek(): Snapshot<Value> | undefined {
    const age = known ? Date.now() - known.fetchedAtMs : Infinity;
    if (age > usableMs) return undefined;
    // In the background: the known document still serves when this fails.
    if (age > freshMs) refetch().catch(() => undefined);
    return known;
  }

  async function get(): Promise<Snapshot<Value>> {
    return peek() ?? refetch();
  }

  return { get, peek, refetch };
}
