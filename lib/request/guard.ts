import type { IncomingMessage, ServerResponse } from 'node:http';

import { refuseRequest } from '../checks.js';
import { SessionConfigError, SessionForbiddenError, SessionRequiredError, SessionUnavailableError } from '../errors.js';
import { getSession, signInPathOf } from './attached.js';
import { opensPage, requestPath } from '../http/navigation.js';
import { retryAfterOf } from './session-object.js';
import { forbidCaching } from '../http/response-headers.js';
import { readRule } from '../options/check-options.js';
import type { Reason, SessionProfile } from '../session/payload.js';
import type { Rule } from '../options/session-options.js';

export type Next = (error?: unknown) => void;
export type Middleware = (req: IncomingMessage, res: ServerResponse, next: Next) => void;

/**
 * A guard: may this session pass?
 *
 * Signed in and within the rule: the route runs. Not signed in: a visitor who opens a page goes to sign in where
 * `sessionRoutes` is mounted, everyone else gets a 401 as an error. Outside the rule: 403. Not known whether signed
 * in: 503 with `Retry-After`, never a sign-in.
 *
 * @throws {SessionConfigError} when the rule cannot be one
 */
export function requireSession(rule: Rule = {}): Middleware {
  refuseRequest(rule, 'requireSession', '');
  const { given, problems } = readRule('rule', rule);
  if (problems.length > 0) throw new SessionConfigError(problems);
  const { redirect = true } = given;
  const demands = readDemands(given);

  return function requireSessionMiddleware(req, res, next) {
    let session;
    try {
      session = getSession(req);
    } catch (error) {
      next(error);
      return;
    }
    if (session.authenticated) {
      const missing = demands.find((demand) => !demand.isMet(session));
      next(missing && new SessionForbiddenError(missing.name));
      return;
    }
    // The answer is about this visitor: a cache must not give it to the next.
    forbidCaching(res);
    if (session.retryable) {
      next(unavailable(res, session.reason, retryAfterOf(session)));
      return;
    }
    const loginPath = signInPathOf(req);
    if (redirect && loginPath !== undefined && opensPage(req)) {
      res.statusCode = 302;
      res.setHeader('Location', `${loginPath}?returnTo=${encodeURIComponent(requestPath(req))}`);
      res.end();
      return;
    }
    next(new SessionRequiredError(session.reason));
  };
}

/** The 503 for a visitor of whom it cannot be known now whether they are signed in. */
export function unavailable(res: ServerResponse, reason: Reason, retryAfterSeconds: number): SessionUnavailableError {
  forbidCaching(res);
  // Also for an error handler that does not look at `error.headers`.
  res.setHeader('Retry-After', retryAfterSeconds);
  return new SessionUnavailableError(reason, retryAfterSeconds);
}

interface Demand {
  readonly name: string;
  isMet(session: SessionProfile): boolean;
}

/** The rule's parts, each as a question; read once. */
function readDemands(rule: Rule): Demand[] {
  const demands: Demand[] = [];
  const all = (name: 'permissions' | 'entitlements' | 'featureFlags') => {
    const wanted = [rule[name] ?? []].flat();
    if (wanted.length > 0)
      demands.push({ name, isMet: (session) => wanted.every((item) => session[name].includes(item)) });
  };
  all('permissions');
  all('entitlements');
  all('featureFlags');
  const roles = [rule.roles ?? []].flat();
  if (roles.length > 0) {
    demands.push({ name: 'roles', isMet: (session) => roles.some((role) => session.roles.includes(role)) });
  }
  const organizations = [rule.organizationId ?? []].flat();
  if (organizations.length > 0) {
    demands.push({
      name: 'organizationId',
      isMet: ({ organizationId }) => organizationId !== undefined && organizations.includes(organizationId),
    });
  }
  return demands;
}
