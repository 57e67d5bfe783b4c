import type { IncomingMessage, ServerResponse } from 'node:http';

import { type CarrierSettings, type Exchange, keepCookies } from '../http/carrier.js';
import { cookieValues, setCookie } from '../http/cookies.js';
import { isPrefetch, opensPage } from '../http/navigation.js';
import type { Site } from '../http/site.js';
import type { FindSession } from '../request/guard.js';
import { RequestSession } from '../request/session-object.js';
import { isRetryable } from '../session/reasons.js';
import type { Begin } from './begin.js';

/** Signs visitors in without a page, where they are signed in at the provider already (`prompt=none`). */
export interface SilentSignIn {
  /** Where to send a visitor who opens a page; undefined for one who is not to be asked. */
  readonly attempt: (exchange: Exchange) => Promise<string> | undefined;
  /** Has a browser not asked again, as after a sign-out. */
  readonly stop: (res: ServerResponse) => void;
}

export interface SilentParts {
  readonly find: FindSession;
  readonly site: Site;
  readonly begin: Begin;
  readonly returnTo: string;
}

// Whether a browser keeps cookies shows when the first one comes back. One that keeps none would be asked at each page.
const ready = 'ready';
const asked = 'asked';
const lastsSeconds = 3_600;

export function silentSignIn(carrier: CarrierSettings, parts: SilentParts): SilentSignIn {
  const { find, site, begin } = parts;
  const name = `${carrier.cookie.name}-silent`;
  const sameSite = carrier.cookie.sameSite === 'none' ? ('none' as const) : ('lax' as const);

  /** It decides nothing about who is signed in, so it needs no seal. */
  function mark(res: ServerResponse, value: string): void {
    const header = setCookie(value, { ...carrier.cookie, name, sameSite, maxAge: lastsSeconds });
    keepCookies(res, carrier, 'silent', [{ name, header }]);
  }

  function mayBeAsked(req: IncomingMessage): boolean {
    if (req.method !== 'GET' || !opensPage(req) || isPrefetch(req)) return false;
    const state = RequestSession.stateOf(find(req));
    // Who may be signed in is not asked: their session is checked when that can be done again.
    return !state.signedIn && !isRetryable(state.reason);
  }

  return {
    attempt: (exchange) => {
      const { req, res } = exchange;
      if (!mayBeAsked(req)) return undefined;
      const values = cookieValues(req.headers.cookie, name);
      if (values.includes(asked)) return undefined;
      const isReady = values.includes(ready);
      mark(res, isReady ? asked : ready);
      if (!isReady) return undefined;
      return begin(exchange, { prompt: 'none', returnTo: site.publicPath(req) ?? parts.returnTo }, { isSilent: true });
    },
    stop: (res) => {
      mark(res, asked);
    },
  };
}

/** Whether a `state` is that of a sign-in without a page, also where its flow is lost. */
export function isSilentState(state: string): boolean {
  return state.endsWith('.s');
}

// OpenID Connect Core 1.0, section 3.1.2.6: what the provider answers where it would have to show a page.
const wouldNeedPage: ReadonlySet<string | undefined> = new Set([
  'login_required',
  'interaction_required',
  'consent_required',
  'account_selection_required',
]);

/** Whether a silent sign-in has only found out that nobody is signed in at the provider. */
export function foundNobody(providerError: string | undefined): boolean {
  return wouldNeedPage.has(providerError);
}
