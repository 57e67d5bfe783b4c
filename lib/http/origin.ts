import type { IncomingMessage } from 'node:http';

import { hostOf, type Site } from './site.js';

/** The header that says that a request was made by a page of another origin. */
export type CrossOriginHeader = 'sec_fetch_site' | 'origin' | 'referer';

/** The header by which an unsafe request is known to come from another origin; undefined for every other request. */
export type CrossOriginCheck = (req: IncomingMessage) => CrossOriginHeader | undefined;

/**
 * Tells the requests by which a page of another origin could change something in a visitor's name (RFC 10017 section
 * 6.1.3.3). A browser says itself where a request comes from, and no page can make it say otherwise.
 *
 * @param site where browsers find the app. Without it, the host that a request names counts as the app's
 * @param baseUrls the same as URLs. Pages of each belong to the app, but not those of a pattern: anybody's preview is one
 * @param trustedOrigins other origins whose pages may act for the visitor
 */
export function crossOriginCheck(
  site: Site | undefined,
  baseUrls: readonly string[],
  trustedOrigins: readonly string[],
): CrossOriginCheck {
  const known = new Set([...baseUrls.filter((url) => !url.includes('*')), ...trustedOrigins].map(originOf));

  function isOwn(req: IncomingMessage, origin: string | undefined): boolean {
    // A sandboxed page and a `data:` URL say "null": anybody can make one.
    if (origin === undefined || origin === 'null') return false;
    return known.has(origin) || (site ? origin === site.originOf(req) : isOfHost(origin, hostOf(req)));
  }

  return (req) => {
    const { method, headers } = req;
    const isSafe = method === 'GET' || method === 'HEAD' || method === 'OPTIONS';
    // The handshake of a WebSocket is a GET. What comes over it can change something, and no CORS keeps its answers back.
    if (isSafe && headers.upgrade === undefined) return undefined;
    const { origin, referer } = headers;
    const fetchSite = headers['sec-fetch-site'];
    // A subdomain is on the same site, and may be somebody else's.
    if (fetchSite === 'same-origin' || fetchSite === 'none') return undefined;
    if (fetchSite !== undefined) return isOwn(req, origin) ? undefined : 'sec_fetch_site';
    if (origin !== undefined) return isOwn(req, origin) ? undefined : 'origin';
    // Without any of them it is no browser: every browser sends one of them with a request that is not safe.
    if (referer === undefined) return undefined;
    return isOwn(req, originOf(referer)) ? undefined : 'referer';
  };
}

/** As browsers write an origin. URLs of schemes that are not the web's have no origin for `URL`: it would say "null". */
export function originOf(url: string): string | undefined {
  if (!URL.canParse(url)) return undefined;
  const { origin, protocol, host } = new URL(url);
  if (origin !== 'null') return origin;
  return host === '' ? undefined : `${protocol}//${host}`;
}

/** Whether a page of this origin has sent the request to its own host. A proxy may have ended TLS, so schemes differ. */
function isOfHost(origin: string, host: string): boolean {
  if (!URL.canParse(origin)) return false;
  const own = new URL(origin);
  const asked = `${own.protocol}//${host}`;
  return own.host !== '' && URL.canParse(asked) && new URL(asked).host === own.host;
}
