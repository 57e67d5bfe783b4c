import type { Got } from 'got';

import { parseObject } from '../json.js';
import type { RetryableReason } from '../session/reasons.js';
import { type Agents, agentsFor } from './agents.js';
import { maxAnswerBytes } from './answer.js';
import { failureReason, readRetryAfter, systemErrorCode } from './failure.js';

/** A POST to the provider. `body` and `headers` hold the client's credentials and tokens: never log one. */
export interface TokenRequest {
  /** Where to send it: an https URL; plain http for loopback hosts only. */
  readonly url: string;
  /** The headers. They may hold the credentials of the client. */
  readonly headers: Readonly<Record<string, string>>;
  /** The body. It holds the tokens. */
  readonly body: string;
  /** The connections to use. Default: our own. */
  readonly agent?: Agents | undefined;
}

/** What a POST to the provider brought. */
export type Answer =
  | {
      readonly kind: 'answered';
      readonly status: number;
      /** The JSON object in the body; empty when the body is anything else, whatever the status. */
      readonly body: Readonly<Record<string, unknown>>;
      readonly retryAfterSeconds: number | undefined;
    }
  | {
      readonly kind: 'unanswered';
      readonly reason: RetryableReason;
      /** The system's code for the failure, such as `ECONNREFUSED`, where there is one. */
      readonly error?: string | undefined;
    };

export interface SendOptions {
  /** The longest that the request may take, retries included. */
  readonly timeoutMs: number;
  /**
   * Whether the request may be sent again after bytes have left. Where the provider takes a refresh token that comes
   * twice for a theft, only a connection that was never made may be tried again.
   */
  readonly mayRepeat: boolean;
}

// With these, no byte was sent.
const neverConnected = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'ENETUNREACH', 'EHOSTUNREACH'];
const brokeOff = ['ETIMEDOUT', 'ECONNRESET', 'EPIPE'];
// Not 429: it is answered by a pause, and WorkOS answers one visitor's contention with it.
const retryableStatuses = [408, 500, 502, 503, 504];

/**
 * Loads what `send` needs. Without it the first refresh loads it, and its visitor waits.
 *
 * @throws when the module cannot be loaded: the installation is broken
 */
export async function preload(): Promise<void> {
  await loadClients();
}

let clients: Promise<Clients> | undefined;

interface Clients {
  readonly careful: Got;
  readonly repeating: Got;
}

// Prepared once: got reads the options of an instance when it is made, and those of a call at each call.
async function loadClients(): Promise<Clients> {
  clients ??= import('got').then(({ got }) => {
    const usual = got.extend({
      method: 'POST',
      // The status is judged first, then the body is parsed: an HTML error page is a 502, not a parse error.
      responseType: 'text',
      throwHttpErrors: false,
      // The body holds the client's secret. A redirect would send it to another address.
      followRedirect: false,
      timeout: { lookup: 3_000, connect: 3_000, secureConnect: 3_000, response: 10_000 },
      retry: {
        limit: 2,
        methods: ['POST'],
        statusCodes: [],
        errorCodes: neverConnected,
        // A longer wait is left to the visitor's next request.
        maxRetryAfter: 2_000,
        enforceRetryRules: true,
        calculateDelay: ({ error: { response, options }, attemptCount }) => {
          const askedSeconds = readRetryAfter(response?.headers['retry-after'], Date.now()) ?? 0;
          const delayMs = Math.max(askedSeconds * 1000, 100 * 3 ** (attemptCount - 1) * (0.75 + Math.random() / 2));
          // A retry may spend at most half of the remaining budget on waiting. Otherwise the answer that we have is
          // worth more than a time-out: a 429 says when to come back.
          const remainingMs = (options.context as { deadlineMs: number }).deadlineMs - performance.now();
          return delayMs < remainingMs / 2 ? delayMs : 0;
        },
      },
    });
    return {
      careful: usual.extend({ headers: { connection: 'close' } }),
      repeating: usual.extend({
        retry: { statusCodes: retryableStatuses, errorCodes: [...neverConnected, ...brokeOff] },
      }),
    };
  });
  return clients;
}

/**
 * Sends a token request. What happens on the way is a value, never a rejection.
 *
 * @throws when the HTTP client cannot be loaded: the installation is broken, and the provider was not asked
 */
export async function send(request: TokenRequest, { timeoutMs, mayRepeat }: SendOptions): Promise<Answer> {
  const deadlineMs = performance.now() + timeoutMs;
  // Outside the `try`: a module that is missing must not be reported as a fault of the provider's set-up.
  const { careful, repeating } = await loadClients();
  let isLate = false as boolean;
  let deadline: NodeJS.Timeout | undefined;
  try {
    const sending = (mayRepeat ? repeating : careful)(request.url, {
      headers: request.headers,
      body: request.body,
      agent: agentsFor(request.agent, { mayRepeat }),
      context: { deadlineMs },
    });
    // A timer of ours: a signal for each request costs got a sixth of the whole.
    deadline = setTimeout(() => {
      isLate = true;
      sending.cancel();
    }, deadlineMs - performance.now());
    // Counts decompressed bytes: a small answer may unpack into a large one.
    void sending.on('downloadProgress', ({ transferred }) => {
      if (transferred > maxAnswerBytes) sending.cancel();
    });
    const response = await sending;
    return {
      kind: 'answered',
      status: response.statusCode,
      body: parseObject(response.body) ?? {},
      retryAfterSeconds: readRetryAfter(response.headers['retry-after'], Date.now()),
    };
  } catch (error) {
    if (isLate) return { kind: 'unanswered', reason: 'timeout' };
    if ((error as Error).name === 'CancelError') return { kind: 'unanswered', reason: 'server_error' };
    const reason = failureReason(error);
    return { kind: 'unanswered', reason, error: systemErrorCode(error) };
  } finally {
    clearTimeout(deadline);
  }
}
