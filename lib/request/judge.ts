import type { IncomingMessage } from 'node:http';

import type { Awaitable } from '../awaitable.js';
import {
  SessionConfigError,
  SessionCrossOriginError,
  SessionForbiddenError,
  SessionRequiredError,
  SessionUnavailableError,
} from '../errors.js';
import type { Rules } from '../options/rule.js';
import { readRules } from '../options/rule-checks.js';
import { type Demand, isPromise } from '../rules/demand.js';
import { judgeOf } from '../rules/judge.js';
import { isRetryable } from '../session/reasons.js';
import type { SignedInSession } from './session.js';
import { RequestSession } from './session-object.js';

/** Why nobody is signed in. */
type NobodyError = SessionRequiredError | SessionCrossOriginError | SessionUnavailableError;

export type GuardError = NobodyError | SessionForbiddenError;

/** Says whether a session may pass: nothing, or the error that it may not. At once where the rule waits for nothing. */
export type GuardJudge = (session: RequestSession, req: IncomingMessage) => Awaitable<GuardError | undefined>;

/**
 * Reads a rule once and makes a judge of it: 401 without a session, 403 outside the rule, 503 where it cannot be known.
 *
 * @throws {SessionConfigError} when the rule cannot be one
 */
export function judgeBy(rules: Rules): GuardJudge {
  const { given, problems } = readRules('rule', rules);
  if (problems.length > 0) throw new SessionConfigError(problems);
  const judge = judgeOf(given, 'rule');
  return (session, req) => {
    const error = whyNobody(session);
    if (error) return error;
    const unmet = judge({ session: session as unknown as SignedInSession, req });
    return isPromise(unmet)
      ? Promise.resolve(unmet).then((demand) => errorOf(session, demand))
      : errorOf(session, unmet);
  };
}

export function whyNobody(session: RequestSession): NobodyError | undefined {
  const state = RequestSession.stateOf(session);
  if (state.signedIn) return undefined;
  const { reason } = state;
  if (reason === 'cross_origin_request') return new SessionCrossOriginError();
  return isRetryable(reason) ? new SessionUnavailableError(reason, state.why) : new SessionRequiredError(reason);
}

function errorOf(session: RequestSession, unmet: Demand | undefined): GuardError | undefined {
  // The app's own question may have signed the visitor out.
  if (!unmet) return whyNobody(session);
  const state = RequestSession.stateOf(session);
  // The claims are old, and what they say now cannot be known.
  if (unmet.help === 'wait' && state.signedIn && state.stale) {
    return new SessionUnavailableError(state.stale.reason, state.stale);
  }
  return new SessionForbiddenError(unmet.name);
}
