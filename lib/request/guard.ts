import type { IncomingMessage, ServerResponse } from 'node:http';

import { isPromiseLike } from '../awaitable.js';
import { refuseRequest } from '../checks.js';
import { isDebugging } from '../debug.js';
import {
  SessionConfigError,
  SessionForbiddenError,
  type SessionError,
  SessionUnavailableError,
  type WhyUnavailable,
} from '../errors.js';
import type { Exchange } from '../http/carrier.js';
import type { Middleware, Next } from '../http/middleware.js';
import { opensPage } from '../http/navigation.js';
import { forbidCaching, takesHeaders } from '../http/response-headers.js';
import { findNothingToSwitch, readGuardOptions } from '../options/rule-checks.js';
import type { GuardOptions, Rules } from '../options/rule.js';
import { type Demand, organizationIn, stepUpOf } from '../rules/demand.js';
import type { RetryableReason } from '../session/reasons.js';
import { debugGuard } from './debug-lines.js';
import { judgeBy, type Refusal } from './judge.js';
import { type Mount, RequestSession } from './session-object.js';
import { maySwitch, switchTo } from './switching.js';

/** Whose session a guard asks: that of one mount, or the only one on the request. */
export type FindSession = (req: IncomingMessage) => RequestSession;

/**
 * A guard: the route runs for a session that may pass. A visitor who opens a page without being signed in goes to sign
 * in, where the routes are in use. All others get the error.
 *
 * @throws {SessionConfigError} when the rule or the options cannot be ones
 */
export function guard(find: FindSession, rule: Rules = {}, options: GuardOptions = {}, mount?: Mount): Middleware {
  refuseRequest(rule, 'requireSession', '');
  const { given, problems } = readGuardOptions(options);
  const { redirect = true, switchOrganization = false } = given;
  const judge = judgeBy(rule, mount, switchOrganization ? ['wait', 'step up', 'switch'] : undefined);
  problems.push(...findNothingToSwitch(given, rule));
  if (problems.length > 0) throw new SessionConfigError(problems);

  return function requireSessionMiddleware(req, res, next) {
    let session: RequestSession;
    let judged: ReturnType<typeof judge>;
    try {
      session = find(req);
      judged = judge(session, req);
    } catch (error) {
      next(error);
      return;
    }
    if (!isPromiseLike(judged)) {
      act(session, judged, { req, res }, next);
      return;
    }
    // The rest of the app runs outside the promise, so that what a handler throws is not taken for the rule's.
    Promise.resolve(judged).then(
      (refusal) => {
        process.nextTick(act, session, refusal, { req, res }, next);
      },
      (error: unknown) => {
        process.nextTick(next, error);
      },
    );
  };

  /** Answers, after a switch of the organization where that helps. */
  function act(session: RequestSession, refusal: Refusal | undefined, exchange: Exchange, next: Next): void {
    // The token that a client sends is of one organization, and is not ours to refresh.
    const isCookie = RequestSession.stateOf(session).via === undefined;
    const isHelped = switchOrganization && isCookie && refusal?.unmet?.help === 'switch';
    const may = isHelped ? maySwitch(exchange) : 'no';
    if (may === 'no' || !refusal?.unmet) {
      answer(session, refusal, exchange, next);
      return;
    }
    switchBy(session, refusal, refusal.unmet, exchange, may === 'yes').then(
      (then) => {
        if (typeof then === 'string') toSignIn(exchange.res, then);
        else process.nextTick(answer, session, then, exchange, next);
      },
      (error: unknown) => {
        process.nextTick(next, error);
      },
    );
  }

  /** Switches once, and asks the rule again. Resolves to what is left to say, or to where the browser goes. */
  async function switchBy(
    session: RequestSession,
    refusal: Refusal,
    unmet: Demand,
    { req, res }: Exchange,
    isByItself: boolean,
  ): Promise<Refusal | string | undefined> {
    const organizationId = await organizationIn(unmet.rule, req);
    if (organizationId === undefined) return refusal;
    // The answer is about this visitor: a cache must not give it to the next.
    forbidCaching(res);
    if (!isByItself) {
      const switchOffer = RequestSession.signInOf(session)?.offerFor(req, organizationId);
      return { error: new SessionForbiddenError('organizationId', { switchOffer }) };
    }
    const switched = await switchTo(session, organizationId);
    if (switched.kind === 'switched') return judge(session, req);
    return switched.kind === 'elsewhere' ? switched.url : { error: switched.error };
  }

  function answer(session: RequestSession, refusal: Refusal | undefined, { req, res }: Exchange, next: Next): void {
    const error = refusal?.error;
    if (isDebugging) debugGuard(req, error);
    if (!error || error.code === 'ERR_SESSION_FORBIDDEN' || error.code === 'ERR_SESSION_CROSS_ORIGIN') {
      next(error);
      return;
    }
    // The answer is about this visitor: a cache must not give it to the next.
    forbidCaching(res);
    if (error.code === 'ERR_SESSION_UNAVAILABLE') {
      next(withHeaders(res, error));
      return;
    }
    putHeaders(res, error);
    const signIn = RequestSession.signInOf(session);
    // A client that sends tokens can do nothing with a page.
    const isPage = redirect && RequestSession.stateOf(session).via === undefined && opensPage(req);
    const path =
      isPage && takesHeaders(res) ? signIn?.pathFor(req, refusal.unmet && stepUpOf(refusal.unmet.rule)) : undefined;
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
  }
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
  why?: WhyUnavailable,
): SessionUnavailableError {
  return withHeaders(res, new SessionUnavailableError(reason, why));
}

function withHeaders(res: ServerResponse, error: SessionUnavailableError): SessionUnavailableError {
  forbidCaching(res);
  putHeaders(res, error);
  return error;
}

/** Also for an error handler that does not look at `error.headers`. */
function putHeaders(res: ServerResponse, { headers }: SessionError): void {
  if (!takesHeaders(res)) return;
  for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
}
