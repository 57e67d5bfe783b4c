import type { IncomingMessage, ServerResponse } from 'node:http';

import { clearSeal, clearCookie, type CookieSettings, sealCandidates, type SetCookie, setSeal } from './cookies.js';
import { addCookies, forbidCaching, keepOnResponse, removeCookies } from './response-headers.js';

/** How seals travel; see `SessionOptions`. */
export interface TransportSettings {
  readonly cookie: CookieSettings;
  /** Cookies of an earlier set-up, to be removed when they are met. */
  readonly legacyCookies: readonly Pick<CookieSettings, 'name' | 'domain' | 'path'>[];
  /** For clients without cookies: the header that brings the seal and takes the new one back. Lower case. */
  readonly header: string | undefined;
  readonly cacheControl: 'written' | 'authenticated' | false;
  /** Told when a handler had meant a response with a session in it for a shared cache. */
  readonly tellCached: () => void;
}

/** A request and its response. */
export interface Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
}

/** The seals that a request may have brought: of its header if it has one, else of its cookies. */
export function readSeals(req: IncomingMessage, { cookie, header }: TransportSettings): string[] {
  const sent = sentHeader(req, header);
  if (sent === undefined) return sealCandidates(req.headers.cookie, cookie.name);
  return sent === '' ? [] : [sent];
}

function sentHeader(req: IncomingMessage, header: string | undefined): string | undefined {
  const value = header === undefined ? undefined : req.headers[header];
  return typeof value === 'string' ? value.trim() : undefined;
}

/**
 * Sends a seal back the way it came.
 *
 * @returns how many bytes, in how many pieces; or undefined when it is too large to be sent
 */
export function writeSeal(
  { req, res }: Exchange,
  settings: TransportSettings,
  seal: string,
  { stillWanted, rotated }: { stillWanted: () => boolean; rotated: boolean },
): { bytes: number; pieces: number } | undefined {
  if (sentHeader(req, settings.header) !== undefined) {
    keepHeader(res, settings, seal, stillWanted);
    return { bytes: seal.length, pieces: 1 };
  }
  const cookies = setSeal(seal, settings.cookie, req.headers.cookie, rotated);
  if (!cookies) return undefined;
  keepCookies(res, settings, 'session', [...cookies, ...clearLegacy(req, settings)], stillWanted);
  const written = cookies.filter(({ header }) => !header.includes('; Max-Age=0'));
  return { bytes: written.reduce((sum, { header }) => sum + header.length, 0), pieces: written.length };
}

/** Takes the seal away from the client. */
export function withdrawSeal({ req, res }: Exchange, settings: TransportSettings, stillWanted: () => boolean): void {
  if (sentHeader(req, settings.header) !== undefined) {
    keepHeader(res, settings, '', stillWanted);
    return;
  }
  const cookies = [...clearSeal(settings.cookie, req.headers.cookie), ...clearLegacy(req, settings)];
  keepCookies(res, settings, 'session', cookies, stillWanted);
}

/** Puts cookies on the response and keeps them there; see `keepOnResponse`. */
export function keepCookies(
  res: ServerResponse,
  settings: TransportSettings,
  slot: string,
  cookies: readonly SetCookie[],
  stillWanted: () => boolean = () => true,
): void {
  keepOnResponse(res, slot, {
    put: () => {
      addCookies(res, cookies);
      keepOutOfCaches(res, settings);
    },
    take: () => {
      removeCookies(res, cookies);
    },
    stillWanted,
  });
}

function keepHeader(res: ServerResponse, settings: TransportSettings, seal: string, stillWanted: () => boolean): void {
  const { header = '' } = settings;
  keepOnResponse(res, 'session', {
    put: () => {
      res.setHeader(header, seal);
      keepOutOfCaches(res, settings);
    },
    take: () => {
      res.removeHeader(header);
    },
    stillWanted,
  });
}

/** With `cacheControl: 'authenticated'`: keeps what a signed-in visitor is shown out of caches, cookie or not. */
export function keepPrivate(res: ServerResponse, settings: TransportSettings): void {
  if (settings.cacheControl !== 'authenticated') return;
  keepOnResponse(res, 'cache', {
    put: () => {
      keepOutOfCaches(res, settings);
    },
    take: () => undefined,
    stillWanted: () => true,
  });
}

function keepOutOfCaches(res: ServerResponse, { cacheControl, header, tellCached }: TransportSettings): void {
  if (cacheControl === false) return;
  if (forbidCaching(res, header === undefined ? ['Cookie'] : ['Cookie', header])) tellCached();
}

/** Removals for what the browser has from an earlier set-up. */
function clearLegacy(req: IncomingMessage, { cookie, legacyCookies }: TransportSettings): SetCookie[] {
  return legacyCookies
    .filter(({ name }) => sealCandidates(req.headers.cookie, name).length > (name === cookie.name ? 1 : 0))
    .map((legacy) => ({ name: legacy.name, header: clearCookie({ ...cookie, ...legacy }) }));
}
