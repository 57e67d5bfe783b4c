import { SessionUseError } from '../errors.js';
import { isCrossSite, isSubresource, longestLinkedPath, safeReturnPath } from '../http/navigation.js';
import type { Site } from '../http/site.js';
import type { FindSession } from '../request/guard.js';
import { RequestSession } from '../request/session-object.js';
import { unknownHost } from './begin.js';
import type { IdTokenCookie } from './id-token-cookie.js';
import type { Notes } from './notes.js';
import { redirect, type Route } from './route.js';
import type { SilentSignIn } from './silent.js';

export interface SignOutParts {
  readonly find: FindSession;
  readonly site: Site;
  readonly idTokens: IdTokenCookie;
  readonly returns: ReturnNotes;
  readonly silent: SilentSignIn | undefined;
  /** Where a visitor goes afterwards. */
  readonly returnTo: string;
}

/** Where a visitor goes once the provider has sent them back from signing out. */
export type ReturnNotes = Notes<{ readonly returnTo: string }>;

/** `/logout`: ends the session here, then sends the browser to end it at the provider. */
export function signOutRoute({ find, site, idTokens, returns, silent, returnTo }: SignOutParts): Route {
  return async (req, res, query) => {
    const exchange = { req, res };
    const origin = site.originOf(req);
    if (origin === undefined) throw unknownHost();
    if (isCrossSite(req, origin)) {
      throw new SessionUseError('ERR_SESSION_SIGN_OUT_REFUSED', 'Another site asked to sign you out.', 403);
    }
    if (isSubresource(req, origin)) {
      const message = 'Only a page that you open can sign you out, or a POST: no image, frame or script.';
      throw new SessionUseError('ERR_SESSION_SIGN_OUT_REFUSED', message, 403);
    }
    const session = find(req);
    const wanted = safeReturnPath(query.get('returnTo'), returnTo, longestLinkedPath);
    const { payload } = RequestSession.stateOf(session);
    // Read before it is cleared, and only for the session that it came with.
    const idToken = payload && idTokens.read(exchange, payload);
    // The provider goes back to registered addresses only. The path that was asked for comes back beside it.
    const state = wanted === returnTo ? undefined : await returns.seal({ returnTo: wanted });
    const url = await RequestSession.signOut(session, { returnTo: `${origin}${returnTo}`, idToken, state });
    idTokens.clear(exchange);
    // Where the provider's session lives on, the next page would sign the visitor in again.
    silent?.stop(res);
    redirect(res, url ?? wanted);
  };
}
