import type { IncomingMessage, ServerResponse } from 'node:http';

import { refuseRequest } from '../checks.js';
import {
  defaultRetryAfterSeconds,
  SessionConfigError,
  SessionCrossOriginError,
  SessionForbiddenError,
  SessionRequiredError,
  SessionUnavailableError,
} from '../errors.js';
import type { Middleware } from '../http/middleware.js';
import { opensPage } from '../http/navigation.js';
import { forbidCaching, takesHeaders } from '../http/response-headers.js';
import { readGuardOptions, readRule } from '../options/rule-checks.js';
import type { GuardOptions, Rule } from '../options/session-options.js';
import { demandsOf } from '../rules/rule.js';
import { isRetryable, type RetryableReason } from '../session/reasons.js';
import { RequestSession, retryAfterOf } from './session-object.js';

/** Whose session a guard asks: that of one mount, or the only one on the request. */
export type FindSession = (req: IncomingMessage) => RequestSession;

/** Says whether a session may pass: nothing, or the error that it may not. */
export type Judge = (session: RequestSession) => GuardError | undefined;

type GuardError = SessionRequiredError | SessionForbiddenError | SessionCrossOriginError | SessionUnavailableError;

/**
 * Reads a rule once and makes a judge of it: 401 without a session, 403 outside the rule, 503 where it cannot be known.
 *
 * @throws {SessionConfigError} when the rule cannot be one
 */
export function judgeBy(rule: Rule): Judge {
  const { given, problems } = readRule('rule', rule);
  if (problems.length > 0) throw new SessionConfigError(problems);
  const demands = demandsOf(given);
  return (session) => {
    const state = RequestSession.stateOf(session);
    if (state.signedIn) {
      const unmet = demands.find((demand) => !demand.isMet(state.profile));
      return unmet && new SessionForbiddenError(unmet.name);
    }
    const { reason } = state;
    if (reason === 'cross_origin_request') return new SessionCrossOriginError();
    return isRetryable(reason)
      ? new SessionUnavailableError(reason, retryAfterOf(session))
      : new SessionRequiredError(reason);
  };
}

/**
 * A guard: the route runs for a session that may pass. A visitor who opens a page without being signed in goes to sign
 * in, where the routes are in use. All others get the error.
 *
 * @throws {SessionConfigError} when the rule or the options cannot be ones
 */
export function guard(find: FindSession, rule: Rule = {}, options: GuardOptions = {}): Middleware {
  refuseRequest(rule, 'requireSession', '');
  const judge = judgeBy(rule);
  const { given, problems } = readGuardOptions(options);
  if (problems.length > 0) throw new SessionConfigError(problems);
  const { redirect = true } = given;

  return function requireSessionMiddleware(req, res, next) {
    let session: RequestSession;
    try {
      session = find(req);
    } catch (error) {
      next(error);
      return;
    }
    const error = judge(session);
    if (!error || error.code === 'ERR_SESSION_FORBIDDEN' || error.code === 'ERR_SESSION_CROSS_ORIGIN') {
      next(error);
      return;
    }
    // The answer is about this visitor: a cache must not give it to the next.
    forbidCaching(res);
    if (error.code === 'ERR_SESSION_UNAVAILABLE') {
      next(unavailableError(res, error.reason, error.retryAfterSeconds));
      return;
    }
    const signIn = RequestSession.signInOf(session);
    const path = redirect && opensPage(req) && takesHeaders(res) ? signIn?.pathFor(req) : undefined;
    if (path === undefined) next(error);
    else if (typeof path === 'string') toSignIn(res, path);
    else {
      path.then(
        (sealed) => {
          toSignIn(res, sealed);
        },
        (failure: unknown) => {
          process.nextTick(next, failure);
        },
      );
    }
  };
}

function toSignIn(res: ServerResponse, path: string): void {
  res.statusCode = 302;
  res.setHeader('Location', path);
  res.end();
}

/** The 503 for a visitor whose session cannot be checked now, with its headers on the response. */
export function unavailableError(
  res: ServerResponse,
  reason: RetryableReason,
  retryAfterSeconds: number = defaultRetryAfterSeconds,
): SessionUnavailableError {
  forbidCaching(res);
  // Also for an error handler that does not look at `error.headers`.
  if (takesHeaders(res)) res.setHeader('Retry-After', retryAfterSeconds);
  return new SessionUnavailableError(reason, retryAfterSeconds);
}
