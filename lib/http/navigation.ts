import type { IncomingMessage } from 'node:http';

/**
 * Whether a person is opening a page, and would rather see a sign-in page than a 401. A `fetch` that accepts
 * anything is not one: a redirect to another origin would only fail there in a way that is harder to read.
 */
export function opensPage(req: IncomingMessage): boolean {
  if (req.method !== 'GET' && req.method !== 'HEAD') return false;
  const mode = req.headers['sec-fetch-mode'];
  if (mode !== undefined) return mode === 'navigate';
  return /\btext\/html\b/.test(req.headers.accept ?? '');
}

/**
 * Whether the answer takes the browser's window along, so that a redirect leads its user to another page. Of a browser that
 * does not say so, the kind of answer that it wants says it.
 */
export function isNavigation(req: IncomingMessage): boolean {
  const mode = req.headers['sec-fetch-mode'];
  return mode === undefined ? /\btext\/html\b/.test(req.headers.accept ?? '') : mode === 'navigate';
}

/** Whether the browser asks ahead of a visit that may never come: no reason to change anything. */
export function isPrefetch(req: IncomingMessage): boolean {
  const purpose = req.headers['sec-purpose'] ?? req.headers.purpose ?? req.headers['x-moz'];
  return /\b(prefetch|prerender|preview)\b/.test(String(purpose ?? ''));
}

/**
 * Whether another site made the browser send this. Browsers that do not tell where a request comes from are told by
 * `Origin`; without either it is no browser, or one that was asked directly.
 */
export function isCrossSite(req: IncomingMessage, ownOrigin: string): boolean {
  const site = req.headers['sec-fetch-site'];
  if (site !== undefined) return site !== 'same-origin' && site !== 'none';
  const { origin } = req.headers;
  return origin !== undefined && origin !== ownOrigin;
}

/**
 * Whether a `GET` is not a person's doing: an image, a frame or a script of a page asks for it. With an image in what one
 * user writes, the app's own page would sign out everybody who reads it. Browsers before Fetch Metadata say only which page
 * it was.
 */
export function isSubresource(req: IncomingMessage, ownOrigin: string): boolean {
  if (req.method !== 'GET') return false;
  const { 'sec-fetch-mode': mode, 'sec-fetch-dest': dest, 'sec-fetch-site': site, referer } = req.headers;
  if (mode !== undefined || dest !== undefined) {
    return (mode !== undefined && mode !== 'navigate') || (dest !== undefined && dest !== 'document');
  }
  return site === undefined && referer !== undefined && originOf(referer) !== ownOrigin;
}

function originOf(url: string): string | undefined {
  return URL.canParse(url) ? new URL(url).origin : undefined;
}

/** The path and query that the browser asked for, also inside an Express router or a Connect mount. */
export function requestPath(req: IncomingMessage): string {
  return (req as { originalUrl?: string }).originalUrl ?? req.url ?? '/';
}

// Control characters and backslashes are what browsers drop or turn into slashes on the way to another host.
// eslint-disable-next-line no-control-regex
const unsafe = /[\u0000-\u001f\u007f\\]/;

// It travels in a cookie.
const longestPath = 2_048;

/** How long a path from a link may be: longer ones would fill the cookies of a sign-in. */
export const longestLinkedPath = 512;

/**
 * A path of our own to return to, or the fallback: `//host`, `/\host` and absolute URLs lead away.
 *
 * @param longest in bytes
 */
export function safeReturnPath(value: string | null | undefined, fallback: string, longest = longestPath): string {
  if (!value?.startsWith('/') || value.startsWith('//') || unsafe.test(value) || value.length > longest)
    return fallback;
  const base = 'http://own.invalid';
  if (!URL.canParse(value, base)) return fallback;
  // `/..//host` is a path of ours until its dots are resolved: what is checked is what will be used.
  const { origin, pathname, search, hash } = new URL(value, base);
  const path = pathname + search + hash;
  return origin === base && !path.startsWith('//') && path.length <= longest ? path : fallback;
}
