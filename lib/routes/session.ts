import type { ServerResponse } from 'node:http';

import { SessionCrossOriginError } from '../errors.js';
import { isCrossSite } from '../http/navigation.js';
import type { Site } from '../http/site.js';
import { hasRefreshToken } from '../request/actions.js';
import type { FindSession } from '../request/guard.js';
import { RequestSession } from '../request/session-object.js';
import type { SessionUser, User } from '../session/payload.js';
import { isRetryable, type Reason } from '../session/reasons.js';
import { unknownHost } from './begin.js';
import type { Route } from './route.js';

/** What `routes.session` answers, for the types of a front end. It has no token. */
export type SessionAnswer<U extends User = SessionUser> = {
  /** Where to sign in, and where to sign out: paths of the app. Absent without such a route. */
  readonly signInPath?: string;
  readonly signOutPath?: string;
} & (
  | {
      readonly authenticated: true;
      readonly user: U;
      readonly sessionId?: string;
      readonly organizationId?: string;
      /** When the access token expires, in ISO 8601. */
      readonly expiresAt: string;
      /** Whether a POST here, or the next request, can refresh the session. */
      readonly refreshable: boolean;
    }
  | {
      readonly authenticated: false;
      readonly reason: Reason;
      /** Whether asking again later can have another answer. */
      readonly retryable: boolean;
      /** Whether a POST here, or the next request, may sign the visitor in again without a page. */
      readonly refreshable: boolean;
    }
);

export interface SessionRouteParts {
  readonly find: FindSession;
  readonly site: Site;
  /** As browsers see them. */
  readonly signInPath: string | undefined;
  readonly signOutPath: string | undefined;
}

/**
 * `/session`: tells a front end who is signed in. A GET neither refreshes nor counts as activity, or a page that is left
 * open would keep its session alive for ever. A POST refreshes.
 */
export function sessionRoute({ find, site, signInPath, signOutPath }: SessionRouteParts): Route {
  return async (req, res) => {
    const origin = site.originOf(req);
    if (origin === undefined) throw unknownHost();
    const session = find(req);
    if (req.method === 'POST') {
      if (isCrossSite(req, origin)) throw new SessionCrossOriginError();
      // An expired session was refreshed on the way here.
      if (RequestSession.stateOf(session).signedIn && session.refreshed === false) await session.refresh();
    }
    const paths = { signInPath, signOutPath };
    const state = RequestSession.stateOf(session);
    const refreshable = hasRefreshToken(state.payload);
    const { user, sessionId, organizationId, expiresAt, reason } = session;
    answer(
      res,
      state.signedIn
        ? { authenticated: true, user, sessionId, organizationId, expiresAt, refreshable, ...paths }
        : { authenticated: false, reason, retryable: isRetryable(state.reason), refreshable, ...paths },
    );
  };
}

function answer(res: ServerResponse, body: object): void {
  res.setHeader('Content-Type', 'application/json; charset=utf-8');
  // A page of another site must not read who is signed in, neither through a script tag nor an image.
  res.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
  res.setHeader('X-Content-Type-Options', 'nosniff');
  res.end(JSON.stringify(body));
}
