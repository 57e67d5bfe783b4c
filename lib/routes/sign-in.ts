import type { BeginSignIn } from '../provider/provider.js';
import { askedByLink } from './asked.js';
import type { Begin } from './begin.js';
import type { GuardNotes } from './guard-notes.js';
import { redirect, type Route } from './route.js';

export interface SignInParts {
  readonly begin: Begin;
  readonly notes: GuardNotes;
  /** What a link may hand on to the provider. */
  readonly forwardParameters: readonly string[];
  /** What this path asks for by itself. */
  readonly asks?: BeginSignIn;
}

/** `/login` and `/signup`: begin a sign-in, and send the browser to the provider. */
export function signInRoute({ begin, notes, forwardParameters, asks = {} }: SignInParts): Route {
  return async (req, res, query) => {
    const { asked, others } = askedByLink(query, forwardParameters, req.headers['sec-fetch-site'] === 'same-origin');
    // What a guard asks for is sealed: a link can neither say it nor take it away.
    const byGuard = notes.open(query.get('asked'));
    redirect(res, await begin({ req, res }, { ...asks, ...asked, ...byGuard }, { others }));
  };
}
