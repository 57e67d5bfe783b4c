import type { IncomingMessage } from 'node:http';

import { SessionCrossOriginError } from '../errors.js';
import type { Carrier, Exchange } from '../http/carrier.js';
import type { Middleware } from '../http/middleware.js';
import type { CrossOriginCheck } from '../http/origin.js';
import type { Lifecycle } from '../lifecycle.js';
import { idOf } from '../session/unverified-claims.js';
import { RequestSession } from './session-object.js';
import { type SessionState, signedOut } from './state.js';

/** The state of a request that comes without its session, because a page of another origin has sent it. */
export type CrossOriginRefusal = (exchange: Exchange, brought: readonly string[]) => SessionState | undefined;

/**
 * Keeps the session from an unsafe request of another origin, whatever the route does with it: `SameSite` does not keep out
 * sibling subdomains. Nothing is refreshed and nothing is written.
 */
export function crossOriginRefusal(life: Lifecycle, carrier: Carrier, headerOf: CrossOriginCheck): CrossOriginRefusal {
  return (exchange, brought) => {
    const header = headerOf(exchange.req);
    // A browser sends cookies by itself. The header of a native app, no page of another origin can set.
    if (header === undefined || carrier.via(exchange) !== 'cookie') return undefined;
    const opened = life.openNewest(brought);
    if (!opened) return signedOut('invalid_session_cookie');
    life.emit('rejected', { sessionId: idOf(opened.payload), reason: 'cross_origin_request', detail: header });
    return signedOut('cross_origin_request');
  };
}

/**
 * Refuses unsafe requests of another origin also where no session is asked for. A token that was accepted is no page's doing:
 * a browser sends none by itself.
 *
 * @param find the session on a request, if it has been looked for
 */
export function requireSameOrigin(
  headerOf: CrossOriginCheck,
  find: (req: IncomingMessage) => RequestSession | undefined,
): Middleware {
  const isByToken = (session: RequestSession | undefined) => {
    const state = session && RequestSession.stateOf(session);
    return state?.signedIn === true && state.via !== undefined;
  };
  return function requireSameOriginMiddleware(req, _res, next) {
    if (headerOf(req) === undefined || isByToken(find(req))) next();
    else next(new SessionCrossOriginError());
  };
}
