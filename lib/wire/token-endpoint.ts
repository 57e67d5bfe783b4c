import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';

import { parseObject } from '../json.js';
import type { RetryableReason } from '../session/payload.js';
import { maxAnswerBytes } from './answer.js';
import { failureReason, readRetryAfter } from './failure.js';
import type { TokenRequest } from '../provider/provider.js';

/** What a POST to the provider came to. */
export type Answer =
  | {
      readonly kind: 'answered';
      readonly status: number;
      /** The JSON object in the body; empty when the body is none, whatever the status. */
      readonly body: Readonly<Record<string, unknown>>;
      readonly retryAfterSeconds: number | undefined;
    }
  | { readonly kind: 'unanswered'; readonly reason: RetryableReason };

export interface SendOptions {
  /** The longest the whole may take, retries included. */
  readonly budgetMs: number;
  /**
   * Whether the request may be sent again after bytes have left. A refresh token is single-use: where its replay is
   * an attack, only a connection that was never made may be tried again.
   */
  readonly mayRepeat: boolean;
}

// To one provider at a time: an outage or a storm must not open thousands. The wait for one of them counts against the
// budget only, because got measures the time to connect and to answer from when there is a socket.
const maxSockets = 128;

// One that nobody uses is closed after as long as Node's own agent keeps it.
const kept = { keepAlive: true, timeout: 5_000, maxSockets };
const keptConnections = { http: new HttpAgent(kept), https: new HttpsAgent(kept) };
// A connection kept alive may break just as it is used again, which cannot be told from one that broke after the token
// was read. Where that could not be repeated, each request has a connection of its own: by `Connection: close`, for
// Node hands a connection on to whoever waits for one also where it keeps none.
const freshConnections = { http: new HttpAgent({ maxSockets }), https: new HttpsAgent({ maxSockets }) };

// Nothing was sent: there was nobody to send it to.
const neverConnected = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'ENETUNREACH', 'EHOSTUNREACH'];
const brokeOff = ['ETIMEDOUT', 'ECONNRESET', 'EPIPE'];
const passing = [408, 429, 500, 502, 503, 504];

/** Sends a token request. Never rejects: what can happen on the way is a value. */
export async function send(request: TokenRequest, { budgetMs, mayRepeat }: SendOptions): Promise<Answer> {
  const deadline = AbortSignal.timeout(budgetMs);
  const deadlineMs = performance.now() + budgetMs;
  try {
    // Loaded by the first refresh, not at start-up.
    const { got } = await import('got');
    const sending = got.post(request.url, {
      headers: mayRepeat ? request.headers : { ...request.headers, connection: 'close' },
      body: request.body,
      // Judged by status first, then parsed: an HTML error page is a 502, not a parse error.
      responseType: 'text',
      throwHttpErrors: false,
      // The body holds the client's secret. It goes where it was addressed to, and nowhere else.
      followRedirect: false,
      agent: mayRepeat ? keptConnections : freshConnections,
      signal: deadline,
      timeout: { lookup: 3_000, connect: 3_000, secureConnect: 3_000, response: Math.min(10_000, budgetMs) },
      retry: {
        limit: 2,
        methods: ['POST'],
        statusCodes: mayRepeat ? passing : [],
        errorCodes: mayRepeat ? [...neverConnected, ...brokeOff] : neverConnected,
        // Longer waits are for the visitor's next request, not for this one.
        maxRetryAfter: 2_000,
        enforceRetryRules: true,
        calculateDelay: ({ error: { response }, attemptCount }) => {
          const askedSeconds = readRetryAfter(response?.headers['retry-after'], Date.now()) ?? 0;
          const delayMs = Math.max(askedSeconds * 1000, 100 * 3 ** (attemptCount - 1) * (0.75 + Math.random() / 2));
          // Half of what is left is for the answer. An answer that we have says more than a time-out on the way to
          // another: a 429 says when to come back.
          return delayMs < (deadlineMs - performance.now()) / 2 ? delayMs : 0;
        },
      },
    });
    // Counted as it is unpacked.
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
    if ((error as Error).name === 'CancelError') return { kind: 'unanswered', reason: 'server_error' };
    return { kind: 'unanswered', reason: deadline.aborted ? 'timeout' : failureReason(error) };
  }
}
