import type { IncomingMessage, ServerResponse } from 'node:http';

import type { Emit, SessionEvents } from '../events.js';
import { defaultRetryAfterSeconds, SessionError } from '../errors.js';
import { answerTooLarge } from '../http/raw-body.js';
import type { Notice } from '../provider/provider.js';
import { failureReason } from '../wire/failure.js';
import { refusedCheck } from '../wire/notice-refused.js';
import type { Route } from './route.js';

/** What a notice does. */
export interface NoticeEnds {
  /** Ends what a notice names, or has it refreshed. @returns whether the fleet was told */
  readonly end: (notice: Notice, cause: NoticeKind) => Promise<boolean>;
  /** Notes that an id has come: true for the first time, false afterwards, undefined when it cannot be told. */
  readonly firstSight: (id: string, untilMs: number) => Promise<boolean | undefined>;
}

/** Which of the provider's notices a route takes. */
export type NoticeKind = SessionEvents['noticeFailed']['from'];

/** What became of a notice that was read. */
export type Taken =
  | 'done'
  | 'too_large'
  /** The rest of the fleet cannot be told now, so the provider is to send it again. */
  | 'untold';

/**
 * Answers a notice of the provider (Back-Channel Logout 1.0, section 2.8): 200 when what it says was done, 400 when it is
 * refused, 503 when it cannot be told. A 400 for an outage would be the last that is heard of the log-out.
 */
export function noticeRoute(from: NoticeKind, emit: Emit, take: (req: IncomingMessage) => Promise<Taken>): Route {
  return async (req, res) => {
    let taken: Taken;
    try {
      taken = await take(req);
    } catch (error) {
      // A fault of the set-up: the app's error handler shows it.
      if (error instanceof SessionError) throw error;
      const check = refusedCheck(error);
      emit('noticeFailed', { from, check: check ?? failureReason(error), retryable: check === undefined });
      if (check === undefined) answerLater(res);
      else answer(res, 400, { error: 'invalid_request', error_description: `The check "${check}" does not hold.` });
      return;
    }
    if (taken === 'done') answer(res, 200, {});
    else if (taken === 'too_large') answerTooLarge(res);
    else {
      emit('noticeFailed', { from, check: 'fleet_unreachable', retryable: true });
      answerLater(res);
    }
  };
}

function answerLater(res: ServerResponse): void {
  res.setHeader('Retry-After', String(defaultRetryAfterSeconds));
  answer(res, 503, { error: 'temporarily_unavailable' });
}

function answer(res: ServerResponse, status: number, body: object): void {
  res.statusCode = status;
  res.setHeader('Content-Type', 'application/json; charset=utf-8');
  res.end(JSON.stringify(body));
}
