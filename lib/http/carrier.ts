import type { IncomingMessage, ServerResponse } from 'node:http';

import { clearSeal, clearCookie, type CookieSettings, sealCandidates, type SetCookie, setSeal } from './cookies.js';
import { crowdedOut } from './flow-room.js';
import {
  addCookies,
  forbidCaching,
  isOver,
  isRemovedByOthers,
  keepOnResponse,
  removeCookies,
  takesHeaders,
} from './response-headers.js';

/** A request and its response. */
export interface Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
}

/** How a seal comes to us and goes back to the client. */
export interface Carrier {
  /** What a request brings its seals in. */
  readonly via: (exchange: Exchange) => 'cookie' | 'header';
  /** The seals that a request may have brought, each to be tried. */
  readonly read: (exchange: Exchange) => readonly string[];
  /** Whether the answer can still take a seal: found out before a token is spent for one. */
  readonly isOpen: (exchange: Exchange) => boolean;
  /** Whether no headers will be written any more, so that nothing needs to be learnt for them. */
  readonly isOver: (exchange: Exchange) => boolean;
  /**
   * Sends a seal back the way it came, if it is still wanted when the headers are written.
   *
   * @returns how many bytes, in how many pieces; or undefined when it is too large to be sent
   */
  readonly write: (exchange: Exchange, seal: string, options: WriteOptions) => Written | undefined;
  /** Takes the seal away from the client, if that is still wanted when the headers are written. */
  readonly withdraw: (exchange: Exchange, isWanted: () => boolean) => void;
  /** Has the browser drop what it has stored of the app, where the options ask for that at a sign-out. */
  readonly clearSiteData: (exchange: Exchange) => void;
  /** Keeps what a signed-in visitor is shown out of caches, where the options say so. */
  readonly keepPrivate: (exchange: Exchange) => void;
}

export interface WriteOptions {
  /** Asked when the headers are written. */
  readonly isWanted: () => boolean;
  /** Whether the seal holds what the provider has just rotated: such a seal is sent even if it is large. */
  readonly isRotated: boolean;
}

export interface Written {
  readonly bytes: number;
  readonly pieces: number;
}

/** How seals travel over HTTP; see `SessionOptions`. */
export interface CarrierSettings {
  readonly cookie: CookieSettings;
  /** The cookie that proves the device of a session, and goes with it. */
  readonly proofCookie: CookieSettings | undefined;
  /** Cookies of an earlier set-up, removed when they are met. */
  readonly replaces: readonly Pick<CookieSettings, 'name' | 'domain' | 'path'>[];
  /** For clients without cookies: the header that brings the seal and takes the new one back. Lower case. */
  readonly header: string | undefined;
  readonly cacheControl: 'written' | 'authenticated' | false;
  /** What the browser drops at a sign-out. */
  readonly clearSiteData: readonly string[];
  /** Called when a handler has removed the session cookie itself, on a response that was to carry a new one. */
  readonly onClearedByApp: () => void;
  /** Called when a handler meant a response with a session in it for a shared cache. */
  readonly onSharedCache: () => void;
}

/** Carries seals in a cookie, or in a header of the app's own. */
export function httpCarrier(settings: CarrierSettings): Carrier {
  const { cookie, replaces, header } = settings;
  // Of its own name: sessions of two providers can be on one response.
  const slot = `session ${cookie.name}`;

  /** The seal in the app's own header. A request with that header has no cookie for us, so that the two never mix. */
  function sentHeader({ headers }: IncomingMessage): string | undefined {
    const value = header === undefined ? undefined : headers[header];
    return typeof value === 'string' ? value.trim() : undefined;
  }

  function keepHeader(res: ServerResponse, seal: string, isWanted: () => boolean): void {
    keepOnResponse(res, `session ${header ?? ''}`, {
      put: () => {
        res.setHeader(header ?? '', seal);
        keepOutOfCaches(res, settings);
      },
      take: () => {
        res.removeHeader(header ?? '');
      },
      isWanted,
    });
  }

  /**
   * Keeps a new seal on the response, unless the app removes the cookie afterwards: that is how apps sign out that know
   * nothing of `signOut()`, and putting the seal back would sign their visitors in again without a word.
   */
  function keepSeal({ req, res }: Exchange, cookies: readonly SetCookie[], isWanted: () => boolean): void {
    const removals = clearSeal(cookie, req.headers.cookie);
    let isPut = false;
    let isCleared = false;
    keepOnResponse(res, slot, {
      put: () => {
        if (isPut && !isCleared && isRemovedByOthers(res, cookie, [...cookies, ...removals])) {
          isCleared = true;
          settings.onClearedByApp();
        }
        isPut = true;
        if (isCleared) removeCookies(res, cookies);
        addCookies(res, isCleared ? removals : cookies);
        keepOutOfCaches(res, settings);
      },
      take: () => {
        removeCookies(res, isCleared ? removals : cookies);
      },
      isWanted,
    });
  }

  /** Removals for what the browser has from an earlier set-up. */
  function clearReplaced({ headers }: IncomingMessage): SetCookie[] {
    return replaces
      .filter(({ name }) => sealCandidates(headers.cookie, name).length > (name === cookie.name ? 1 : 0))
      .map((old) => ({ name: old.name, header: clearCookie({ ...cookie, ...old }) }));
  }

  function clearProof({ headers }: IncomingMessage): SetCookie[] {
    const { proofCookie } = settings;
    if (!proofCookie || !headers.cookie?.includes(`${proofCookie.name}=`)) return [];
    return [{ name: proofCookie.name, header: clearCookie(proofCookie) }];
  }

  return Object.freeze({
    via: ({ req }: Exchange) => (sentHeader(req) === undefined ? 'cookie' : 'header'),

    read: ({ req }: Exchange) => {
      const sent = sentHeader(req);
      if (sent === undefined) return sealCandidates(req.headers.cookie, cookie.name);
      return sent === '' ? [] : [sent];
    },

    isOpen: ({ res }: Exchange) => takesHeaders(res),

    isOver,

    write: ({ req, res }: Exchange, seal: string, { isWanted, isRotated }: WriteOptions) => {
      if (sentHeader(req) !== undefined) {
        keepHeader(res, seal, isWanted);
        return { bytes: seal.length, pieces: 1 };
      }
      const cookies = setSeal(seal, cookie, req.headers.cookie, isRotated);
      if (!cookies) return undefined;
      const written = cookies.filter((each) => !each.header.includes('; Max-Age=0'));
      const bytes = written.reduce((sum, each) => sum + each.header.length, 0);
      // A session that has grown may leave no room for the sign-ins under way.
      const crowded = crowdedOut(req.headers.cookie, cookie, { session: bytes });
      keepSeal({ req, res }, [...cookies, ...crowded, ...clearReplaced(req)], isWanted);
      return { bytes, pieces: written.length };
    },

    withdraw: ({ req, res }: Exchange, isWanted: () => boolean) => {
      if (sentHeader(req) !== undefined) {
        keepHeader(res, '', isWanted);
        return;
      }
      const cookies = [...clearSeal(cookie, req.headers.cookie), ...clearReplaced(req), ...clearProof(req)];
      keepCookies(res, settings, slot, cookies, isWanted);
    },

    clearSiteData: ({ res }: Exchange) => {
      if (settings.clearSiteData.length > 0) {
        res.setHeader('Clear-Site-Data', settings.clearSiteData.map((kind) => `"${kind}"`).join(', '));
      }
    },

    keepPrivate: ({ res }: Exchange) => {
      if (settings.cacheControl !== 'authenticated') return;
      keepOnResponse(res, 'cache', {
        put: () => {
          keepOutOfCaches(res, settings);
        },
        take: () => undefined,
        isWanted: () => true,
      });
    },
  } satisfies Carrier);
}

/** Puts cookies on the response and keeps them there; see `keepOnResponse`. */
export function keepCookies(
  res: ServerResponse,
  settings: CarrierSettings,
  slot: string,
  cookies: readonly SetCookie[],
  isWanted: () => boolean = () => true,
): void {
  keepOnResponse(res, slot, {
    put: () => {
      addCookies(res, cookies);
      keepOutOfCaches(res, settings);
    },
    take: () => {
      removeCookies(res, cookies);
    },
    isWanted,
  });
}

function keepOutOfCaches(res: ServerResponse, { cacheControl, header, onSharedCache }: CarrierSettings): void {
  if (cacheControl === false) return;
  if (forbidCaching(res, header === undefined ? ['Cookie'] : ['Cookie', header])) onSharedCache();
}
