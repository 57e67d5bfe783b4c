import { isRecord } from '../json.js';
import { isRetryable, type RetryableReason } from '../session/reasons.js';

/** The provider could not be asked, or its answer cannot be used. It says nothing about the session. */
export class ProviderFailure extends Error {
  readonly reason: RetryableReason;
  /** What exactly, in a word of ours, for events: `http_404`, `other_issuer`. */
  readonly detail: string | undefined;

  constructor(reason: RetryableReason, message: string, detail?: string) {
    super(message);
    // A literal: a minifier changes the names of classes, and `isProviderFailure` goes by this one.
    this.name = 'ProviderFailure';
    this.reason = reason;
    this.detail = detail;
  }
}

/**
 * An error with which a provider's method says "cannot tell now", and why. The visitor's cookie is kept.
 *
 * @param reason what events and `req.session.reason` report: `rate_limit_exceeded`, `server_error` or another
 *   `RetryableReason`
 * @param message for operators. It may be logged: never put a token, code, key or user into it
 * @returns the error, to be thrown
 * @example
 * if (answer.error === 'slow_down') throw providerFailure('rate_limit_exceeded');
 */
export function providerFailure(reason: RetryableReason, message = 'The provider cannot tell now.'): Error {
  return new ProviderFailure(reason, message);
}

/** Whether an error is a `ProviderFailure`. By name: an app may hold two copies of this package. */
export function isProviderFailure(error: unknown): error is ProviderFailure {
  return isRecord(error) && error.name === 'ProviderFailure';
}

// Codes of libuv, undici, llhttp and OpenSSL, and those of Node that are about a connection. Most of Node's own codes,
// such as `ERR_INVALID_URL`, are about a wrong call.
const networkCode =
  /^(E(?!RR_)[A-Z_]+|UND_ERR_\w+|HPE_\w+|(?!ERR_)\w*CERT\w*|UNABLE_TO_\w+|HOSTNAME_MISMATCH|ERR_(TLS|SSL|SOCKET_CLOSED)\w*|ERR_STREAM_PREMATURE_CLOSE)$/;
const timeoutCode = /^(ETIMEDOUT|UND_ERR_(CONNECT|HEADERS|BODY)_TIMEOUT|ERR_ABORTED)$/;

/**
 * What a rejection means, by the names and codes along its chain of causes, never by its prose. An error that is no
 * failure of the network is a fault in the options or in a provider object.
 */
export function failureReason(error: unknown): RetryableReason {
  for (const link of causesOf(error)) {
    if (isProviderFailure(link)) return isRetryable(link.reason) ? link.reason : 'provider_misconfigured';
    if (link.name === 'TimeoutError' || link.name === 'AbortError') return 'timeout';
    const code = codeOf(link);
    if (timeoutCode.test(code)) return 'timeout';
    if (networkCode.test(code)) return 'network_error';
  }
  return 'provider_misconfigured';
}

/**
 * The system's code for a failure of the network, such as `ECONNREFUSED`; undefined when there is none. Only codes of
 * a known form are passed on, because events report them.
 */
export function systemErrorCode(error: unknown): string | undefined {
  return causesOf(error)
    .map(codeOf)
    .find((code) => code.length <= 64 && networkCode.test(code));
}

/** What exactly went wrong, in a word for events: a failure's own, else the system's code for it, else the reason. */
export function failureDetail(error: unknown): string {
  const own = causesOf(error).find((link) => isProviderFailure(link));
  const said = own?.detail;
  if (typeof said === 'string' && /^\w{1,64}$/.test(said)) return said;
  return systemErrorCode(error) ?? failureReason(error);
}

/** An error and its causes. Errors can cause each other in a circle, so only the first eight are looked at. */
function causesOf(error: unknown): Record<string, unknown>[] {
  const links: Record<string, unknown>[] = [];
  for (let link = error; isRecord(link) && links.length < 8; link = link.cause) links.push(link);
  return links;
}

function codeOf({ code }: Record<string, unknown>): string {
  return typeof code === 'string' ? code : '';
}

/**
 * `Retry-After` in whole seconds, from a number of seconds or an HTTP date; undefined when it is neither. At most 300,
 * because a number from outside decides how long we wait.
 */
export function readRetryAfter(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined;
  const text = header.trim();
  // `Date.parse` finds a date in almost any text. An HTTP date begins with the day of the week.
  const dateMs = /^[A-Z][a-z]{2,8},? /.test(text) ? Date.parse(text) : NaN;
  const seconds = /^\d+$/.test(text) ? Number(text) : (dateMs - nowMs) / 1000;
  return Number.isFinite(seconds) ? Math.min(Math.max(Math.ceil(seconds), 0), 300) : undefined;
}
