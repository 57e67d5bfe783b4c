import type { IncomingMessage } from 'node:http';

import type { Middleware } from './http/middleware.js';
import type { GuardOptions, Rules } from './options/rule.js';
import { onlySession } from './request/attached.js';
import { guard } from './request/guard.js';
import type { Session } from './request/session.js';

/**
 * A guard for files that have only the request: it asks the one session on it. Where the instance is at hand,
 * `sessions.require(rule)` is the same. Signed in and within the rule, the route runs. A visitor who opens a page without
 * being signed in goes to sign in; all others get 401. Outside the rule: 403. Not known now: 503 with `Retry-After`.
 *
 * @throws {SessionConfigError} when the rule cannot be one; at a request, when it has no session, or two
 * @example
 * router.get('/invoices', requireSession({ permissions: 'billing:read' }), listInvoices);
 */
export function requireSession(rule?: Rules, options?: GuardOptions): Middleware {
  return guard(onlySession, rule, options);
}

/**
 * The one session on a request, for files that have only the request.
 *
 * @throws {SessionConfigError} `ERR_SESSION_MIDDLEWARE_MISSING` where there is none, or more than one
 * @example
 * const session = getSession(req);
 * if (session.authenticated) console.log(session.user.id);
 */
export function getSession(req: IncomingMessage): Session {
  return onlySession(req) as unknown as Session;
}
