import { SessionUseError } from '../errors.js';
import { isCrossSite, isSubresource } from '../http/navigation.js';
import type { FindSession } from '../request/guard.js';
import { redirect, type Route } from './route.js';

export interface SignOutParts {
  readonly find: FindSession;
  readonly baseUrl: string;
  /** Where a visitor goes afterwards. */
  readonly returnTo: string;
}

/** `/logout`: ends the session here, then sends the browser to end it at the provider. */
export function signOutRoute({ find, baseUrl, returnTo }: SignOutParts): Route {
  return async (req, res) => {
    if (isCrossSite(req, baseUrl)) {
      throw new SessionUseError('ERR_SESSION_SIGN_OUT_REFUSED', 'Another site asked to sign you out.', 403);
    }
    if (isSubresource(req, baseUrl)) {
      const message = 'Only a page that you open can sign you out, or a POST: no image, frame or script.';
      throw new SessionUseError('ERR_SESSION_SIGN_OUT_REFUSED', message, 403);
    }
    const url = await find(req).signOut({ returnTo: `${baseUrl}${returnTo}` });
    redirect(res, url ?? returnTo);
  };
}
