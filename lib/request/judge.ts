import type { IncomingMessage } from 'node:http';

import { type Awaitable, isPromiseLike } from '../awaitable.js';
import {
  SessionConfigError,
  SessionCrossOriginError,
  SessionForbiddenError,
  SessionRequiredError,
  SessionStepUpError,
  SessionUnavailableError,
} from '../errors.js';
import type { Rules } from '../options/rule.js';
import { findUnmeetable, readRules } from '../options/rule-checks.js';
import { type Demand, type Help, stepUpOf } from '../rules/demand.js';
import { judgeOf } from '../rules/judge.js';
import { isRetryable } from '../session/reasons.js';
import { challengeOf } from './bearer.js';
import type { SignedInSession } from './session.js';
import { type Mount, RequestSession } from './session-object.js';

/** Why nobody is signed in. */
type NobodyError = SessionRequiredError | SessionCrossOriginError | SessionUnavailableError;

export type GuardError = NobodyError | SessionForbiddenError | SessionStepUpError;

/** Why a session may not pass. */
export interface Refusal {
  readonly error: GuardError;
  /** What it does not meet of the rule, where somebody is signed in. */
  readonly unmet?: Demand;
}

/** Says whether a session may pass: nothing, or why not. At once where the rule waits for nothing. */
export type GuardJudge = (session: RequestSession, req: IncomingMessage) => Awaitable<Refusal | undefined>;

/**
 * Reads a rule once and makes a judge of it: 401 without a session, 403 outside the rule, 503 where it cannot be known.
 *
 * @param helps what the guard can help with
 * @param mount whose sessions are asked. Without it that is known, and checked, only at a request
 * @throws {SessionConfigError} when the rule cannot be one, or none of these sessions could ever meet it
 */
export function judgeBy(rules: Rules, mount?: Mount, helps?: readonly Help[]): GuardJudge {
  const { given, problems } = readRules('rule', rules);
  if (problems.length > 0) throw new SessionConfigError(problems);
  const judge = judgeOf(given, 'rule', helps);
  const checked = new WeakSet<Mount>();
  if (mount) refuseUnmeetable(mount);
  return (session, req) => {
    const own = RequestSession.mountOf(session);
    if (!checked.has(own)) refuseUnmeetable(own);
    const error = whyNobody(session);
    if (error) return { error };
    const { clockToleranceSeconds } = own;
    const unmet = judge({ session: session as unknown as SignedInSession, req, clockToleranceSeconds });
    return isPromiseLike(unmet)
      ? Promise.resolve(unmet).then((demand) => refusalOf(session, demand))
      : refusalOf(session, unmet);
  };

  function refuseUnmeetable(of: Mount): void {
    const unmeetable = findUnmeetable('rule', given, of.provider);
    if (unmeetable.length > 0) throw new SessionConfigError(unmeetable);
    checked.add(of);
  }
}

export function whyNobody(session: RequestSession): NobodyError | undefined {
  const state = RequestSession.stateOf(session);
  if (state.signedIn) return undefined;
  const { reason } = state;
  if (reason === 'cross_origin_request') return new SessionCrossOriginError();
  return isRetryable(reason)
    ? new SessionUnavailableError(reason, state.why)
    : new SessionRequiredError(reason, challengeFor(session));
}

/** A 401 says that tokens are taken, where they are. */
function challengeFor(session: RequestSession): Record<string, string> {
  if (!RequestSession.mountOf(session).takesTokens) return {};
  return { 'WWW-Authenticate': challengeOf(RequestSession.stateOf(session)) };
}

function refusalOf(session: RequestSession, unmet: Demand | undefined): Refusal | undefined {
  if (unmet) return { error: errorOf(session, unmet), unmet };
  // The app's own question may have signed the visitor out.
  const error = whyNobody(session);
  return error && { error };
}

function errorOf(session: RequestSession, unmet: Demand): GuardError {
  const state = RequestSession.stateOf(session);
  // The claims are old, and what they say now cannot be known.
  if (unmet.help === 'wait' && state.signedIn && state.stale) {
    return new SessionUnavailableError(state.stale.reason, state.stale);
  }
  return unmet.help === 'step up'
    ? new SessionStepUpError(unmet.name, stepUpOf(unmet.rule))
    : new SessionForbiddenError(unmet.name);
}
