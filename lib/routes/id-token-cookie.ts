import { type CarrierSettings, type Exchange, keepCookies } from '../http/carrier.js';
import { clearCookie, type CookieSettings, cookieValues, setCookie } from '../http/cookies.js';
import type { SealSettings } from '../options/config.js';
import { bindingOf } from '../session/binding.js';
import type { SessionPayload } from '../session/payload.js';
import { sealedNotes } from './notes.js';
import type { SignInResult } from './exchange.js';

/**
 * Keeps the ID token for `id_token_hint`, without which some providers ask whether to sign out, or do not come back. It
 * is in a cookie that only the sign-out path gets, so that it weighs on no other request.
 */
export interface IdTokenCookie {
  readonly keep: (exchange: Exchange, result: Pick<SignInResult, 'payload' | 'idToken'>) => Promise<void>;
  /** The ID token of this very session. */
  readonly read: (exchange: Exchange, payload: SessionPayload) => string | undefined;
  readonly clear: (exchange: Exchange) => void;
}

interface Kept {
  readonly idToken: string;
  readonly sessionId: string;
}

// One cookie holds as much, its name and attributes included, and what nginx takes of all cookies together.
const maxCookieBytes = 4_096;
const maxTotalBytes = 7_680;

/** @param logoutPath as browsers see it; undefined without such a route, where nothing is kept */
export function idTokenCookie(
  carrier: CarrierSettings,
  seals: SealSettings,
  providerId: string,
  logoutPath: string | undefined,
): IdTokenCookie {
  const { cookie } = carrier;
  const notes = sealedNotes<Kept>(
    seals,
    bindingOf(providerId, 'flow', 'ID token'),
    ({ idToken, sessionId }) => typeof idToken === 'string' && typeof sessionId === 'string',
  );
  // `__Host-` demands the path `/`.
  const bare = cookie.name.replace(/^__(Host|Secure)-/i, '');
  const settings: CookieSettings = {
    ...cookie,
    name: `${cookie.secure && bare !== cookie.name ? '__Secure-' : ''}${bare}-id-token`,
    path: logoutPath ?? '/',
    // Only the app's own pages lead to the sign-out.
    sameSite: 'strict',
  };

  /** How many bytes of session cookies the response sets. */
  function sessionBytes({ res }: Exchange): number {
    const headers = [res.getHeader('set-cookie') ?? []].flat().map(String);
    const own = headers.filter(
      (header) => /^(\.\d)?=/.test(header.slice(cookie.name.length)) && header.startsWith(cookie.name),
    );
    return own.reduce((sum, header) => sum + (header.split(';', 1)[0] ?? '').length, 0);
  }

  return {
    keep: async (exchange, { payload: { sessionId }, idToken }) => {
      if (logoutPath === undefined || idToken === undefined || sessionId === undefined) return;
      const header = setCookie(encodeURIComponent(await notes.seal({ idToken, sessionId })), settings);
      if (header.length > maxCookieBytes || header.length + sessionBytes(exchange) > maxTotalBytes) return;
      keepCookies(exchange.res, carrier, 'ID token', [{ name: settings.name, header }]);
    },
    read: ({ req }, { sessionId }) =>
      cookieValues(req.headers.cookie, settings.name)
        .map((value) => notes.open(value))
        .find((kept) => kept?.sessionId === sessionId)?.idToken,
    clear: ({ req, res }) => {
      if (cookieValues(req.headers.cookie, settings.name).length === 0) return;
      keepCookies(res, carrier, 'ID token', [{ name: settings.name, header: clearCookie(settings) }]);
    },
  };
}
