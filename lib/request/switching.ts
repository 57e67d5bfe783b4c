import { SessionForbiddenError, SessionUnavailableError } from '../errors.js';
import type { Exchange } from '../http/carrier.js';
import { isPrefetch, opensPage } from '../http/navigation.js';
import { takesHeaders } from '../http/response-headers.js';
import { isRetryable } from '../session/reasons.js';
import { type GuardError, whyNobody } from './judge.js';
import { RequestSession } from './session-object.js';

/** What became of a switch. */
export type Switched =
  | { readonly kind: 'switched' }
  /** The provider wants something of the visitor first: where the browser goes for it. */
  | { readonly kind: 'elsewhere'; readonly url: string }
  | {
      readonly kind: 'refused';
      readonly error: GuardError;
    };

/** Whether a guard may switch by itself: for a page that the visitor has asked for, and no other site. */
export function maySwitch({ req, res }: Exchange): 'yes' | 'by a click' | 'no' {
  if (req.method !== 'GET' || !opensPage(req) || isPrefetch(req) || !takesHeaders(res)) return 'no';
  // A link on another site could move the visitor to an organization of its choice. A browser that does not say who
  // began the visit may hide just that.
  const site = req.headers['sec-fetch-site'];
  return site === 'same-origin' || site === 'none' ? 'yes' : 'by a click';
}

/** Switches the organization by one refresh. A refusal ends nothing: the session stays where it was. */
export async function switchTo(session: RequestSession, organizationId: string, returnTo?: string): Promise<Switched> {
  if (session.organizationId === organizationId) return { kind: 'switched' };
  const result = await RequestSession.refresh(session, { organizationId, returnTo });
  if (result.refreshed) return { kind: 'switched' };
  const { reason, signInUrl } = result;
  if (signInUrl !== undefined) return { kind: 'elsewhere', url: signInUrl };
  const error =
    whyNobody(session) ??
    (isRetryable(reason) ? new SessionUnavailableError(reason) : new SessionForbiddenError('organizationId'));
  return { kind: 'refused', error };
}
