import { SessionCrossOriginError, SessionForbiddenError, SessionUseError } from '../errors.js';
import { isCrossSite, isNavigation, safeReturnPath } from '../http/navigation.js';
import { answerTooLarge, readForm } from '../http/raw-body.js';
import type { Site } from '../http/site.js';
import type { FindSession } from '../request/guard.js';
import { whyNobody } from '../request/judge.js';
import { RequestSession } from '../request/session-object.js';
import { switchTo } from '../request/switching.js';
import { unknownHost } from './begin.js';
import { redirect, type Route } from './route.js';

export interface OrganizationParts {
  readonly find: FindSession;
  readonly site: Site;
  /** Where a visitor goes who asked for no page. */
  readonly returnTo: string;
}

// An id and a path. No page of the app sends more.
const maxBytes = 8_192;
const longestId = 256;

/**
 * `POST /organization`: switches to `organization_id`, and goes on to `returnTo`. A form is led on; a script is told. Only
 * the app's own pages may ask: another site could move a visitor to an organization of its choice.
 */
export function organizationRoute({ find, site, returnTo }: OrganizationParts): Route {
  return async (req, res, query) => {
    const origin = site.originOf(req);
    if (origin === undefined) throw unknownHost();
    if (isCrossSite(req, origin)) throw new SessionCrossOriginError();
    const form = await readForm(req, maxBytes);
    if (!form) {
      answerTooLarge(res);
      return;
    }
    const given = (name: string) => form.get(name) ?? query.get(name);
    const organizationId = given('organization_id');
    if (!organizationId || organizationId.length > longestId) {
      throw new SessionUseError('ERR_SESSION_ORGANIZATION_MISSING', 'Which organization? Send "organization_id".', 400);
    }
    const wanted = safeReturnPath(given('returnTo'), returnTo);
    const session = find(req);
    const nobody = whyNobody(session);
    if (nobody) {
      const signIn = RequestSession.signInOf(session);
      const isAsked = nobody.code === 'ERR_SESSION_REQUIRED' && isNavigation(req);
      const path = isAsked ? await signIn?.pathFor(req, { organizationId, returnTo: wanted }) : undefined;
      if (path === undefined) throw nobody;
      redirect(res, path);
      return;
    }
    const switched = await switchTo(session, organizationId, wanted);
    if (switched.kind === 'refused') throw switched.error;
    const isElsewhere = switched.kind === 'elsewhere';
    if (isNavigation(req)) {
      redirect(res, isElsewhere ? switched.url : wanted);
      return;
    }
    if (isElsewhere) throw new SessionForbiddenError('organizationId', { signInUrl: switched.url });
    res.statusCode = 204;
    res.end();
  };
}
