import { isRecord } from '../json.js';
import type { RetryableReason } from '../session/payload.js';

/** The provider could not be asked, or its answer cannot be used. Not an answer about the session. */
export class ProviderFailure extends Error {
  readonly reason: RetryableReason;
  readonly retryAfterSeconds: number | undefined;

  constructor(reason: RetryableReason, message: string, retryAfterSeconds?: number) {
    super(message);
    this.name = 'ProviderFailure';
    this.reason = reason;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

// Of the system, of undici, of the HTTP parser, of OpenSSL, and of Node where it is about a connection: most of Node's
// own (`ERR_INVALID_URL`) are about the call.
const networkCode =
  /^(E(?!RR_)[A-Z_]+|UND_ERR_\w+|HPE_\w+|(?!ERR_)\w*CERT\w*|UNABLE_TO_\w+|HOSTNAME_MISMATCH|ERR_(TLS|SSL|SOCKET_CLOSED)\w*|ERR_STREAM_PREMATURE_CLOSE)$/;

/**
 * What a rejection means, by names and codes along its chain of causes; never by prose. Something that is no
 * failure of the network is a fault in the set-up or in a provider object.
 */
export function failureReason(error: unknown): RetryableReason {
  // Errors can be caused by themselves: the chain is followed a bounded way.
  for (let link: unknown = error, depth = 0; isRecord(link) && depth < 8; link = link.cause, depth += 1) {
    if (link.name === 'ProviderFailure') return link.reason as RetryableReason;
    if (link.name === 'TimeoutError' || link.name === 'AbortError') return 'timeout';
    const code = typeof link.code === 'string' ? link.code : '';
    if (/^(ETIMEDOUT|UND_ERR_(CONNECT|HEADERS|BODY)_TIMEOUT|ERR_ABORTED)$/.test(code)) return 'timeout';
    if (networkCode.test(code)) return 'network_error';
  }
  return 'provider_misconfigured';
}

/**
 * `Retry-After` in whole seconds, from seconds or an HTTP date. Capped, because a number from outside decides how
 * long we wait; undefined when it says nothing usable.
 */
export function readRetryAfter(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined;
  const text = header.trim();
  // `Date.parse` finds a date in almost anything; an HTTP date begins with the day of the week.
  const dateMs = /^[A-Z][a-z]{2,8},? /.test(text) ? Date.parse(text) : NaN;
  const seconds = /^\d+$/.test(text) ? Number(text) : (dateMs - nowMs) / 1000;
  return Number.isFinite(seconds) ? Math.min(Math.max(Math.ceil(seconds), 0), 300) : undefined;
}
