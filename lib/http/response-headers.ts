import type { IncomingMessage, OutgoingHttpHeader, ServerResponse } from 'node:http';

import onHeaders from 'on-headers';

import type { SetCookie } from './cookies.js';
import { processWide } from '../process-wide.js';

/** Something that must be on the response when its headers are written, whatever handlers do in between. */
interface Kept {
  put(res: ServerResponse): void;
  /** Takes it off again, if it turns out not to be wanted. */
  take(res: ServerResponse): void;
  isWanted(): boolean;
}

/**
 * Whether a response can still take headers. Handshakes of WebSockets come with all kinds of responses: `{}`, as in the
 * examples of ws, or engine.io's, whose headers are gone once the 101 is written.
 */
export function takesHeaders(res: ServerResponse): boolean {
  if (res.headersSent) return false;
  const { getHeader, setHeader, removeHeader } = res as Partial<ServerResponse>;
  if (![getHeader, setHeader, removeHeader].every((method) => typeof method === 'function')) return false;
  try {
    res.getHeader('Set-Cookie');
    return true;
  } catch {
    return false;
  }
}

/**
 * Whether nothing is written to this response any more, as far as it says. HTTP/2's has no `destroyed`, engine.io's has
 * neither, and the answer to an upgrade is written by others, at once.
 */
export function isOver({ req, res }: { readonly req: IncomingMessage; readonly res: ServerResponse }): boolean {
  const { headersSent, destroyed, writableEnded, stream } = res as Partial<ServerResponse> & {
    readonly stream?: { readonly destroyed: boolean };
  };
  const isUpgrade = (req as { upgrade?: boolean }).upgrade === true;
  return (
    isUpgrade || headersSent !== false || destroyed === true || writableEnded === true || stream?.destroyed === true
  );
}

const keptOf = processWide('kept on responses', () => new WeakMap<ServerResponse, Map<string, Kept>>());

/**
 * Puts something on the response, now and again when the headers are written: `res.setHeader('Set-Cookie', …)` and
 * `res.writeHead(200, { 'Set-Cookie': … })` in a handler replace what is there, and with a rotated refresh token that
 * is a sign-out which nobody can explain later. What is put into the same slot later takes its place.
 */
export function keepOnResponse(res: ServerResponse, slot: string, next: Kept): void {
  if (!takesHeaders(res)) return;
  let kept = keptOf.get(res);
  if (!kept) {
    const all = new Map<string, Kept>();
    keptOf.set(res, all);
    onHeaders(res, () => {
      assertKept(res, all);
    });
    kept = all;
  }
  kept.get(slot)?.take(res);
  kept.set(slot, next);
  assertKept(res, kept);
}

function assertKept(res: ServerResponse, kept: ReadonlyMap<string, Kept>): void {
  if (!takesHeaders(res)) return;
  for (const each of kept.values()) {
    if (each.isWanted()) each.put(res);
    else each.take(res);
  }
}

/** Adds cookies to the response, each once and behind those of others. */
export function addCookies(res: ServerResponse, cookies: readonly SetCookie[]): void {
  const others = without(res, cookies);
  res.setHeader('Set-Cookie', [...others, ...cookies.map(({ header }) => header)]);
}

export function removeCookies(res: ServerResponse, cookies: readonly SetCookie[]): void {
  const others = without(res, cookies);
  if (others.length > 0) res.setHeader('Set-Cookie', others);
  else res.removeHeader('Set-Cookie');
}

function without(res: ServerResponse, cookies: readonly SetCookie[]): string[] {
  const names = new Set(cookies.map(({ name }) => name));
  return list(res.getHeader('Set-Cookie')).filter((header) => !names.has(nameIn(header)));
}

/**
 * Keeps the response out of every cache: `Set-Cookie` alone does not do that (RFC 9111 section 7.3). Headers for single
 * caches win over `Cache-Control` (RFC 9213 section 2.1), so they are taken off.
 *
 * @returns whether somebody had meant it for a shared cache
 */
export function forbidCaching(res: ServerResponse, varyBy: readonly string[] = ['Cookie']): boolean {
  if (!takesHeaders(res)) return false;
  const said = list(res.getHeader('Cache-Control')).join();
  const saidToOne = removeTargeted(res);
  // `no-transform` is not about storing: compression and proxies go by it.
  res.setHeader(
    'Cache-Control',
    /\bno-transform\b/i.test(said) ? 'private, no-store, no-transform' : 'private, no-store',
  );
  const vary = list(res.getHeader('Vary'))
    .flatMap((value) => value.split(','))
    .map((value) => value.trim());
  const missing = varyBy.filter(
    (name) => !vary.some((value) => value === '*' || value.toLowerCase() === name.toLowerCase()),
  );
  if (missing.length > 0) res.setHeader('Vary', [...vary.filter(Boolean), ...missing].join(', '));
  // A validator would let a cache answer 304, with our cookie on it, for a page of somebody else's.
  res.removeHeader('ETag');
  res.removeHeader('Last-Modified');
  // For the same reason the answer to this request is not 304: Express compares before it writes the headers.
  const { headers } = (res as { req?: ServerResponse['req'] }).req ?? {};
  delete headers?.['if-none-match'];
  delete headers?.['if-modified-since'];
  return /\b(public|s-maxage)\b/i.test(said) || saidToOne.some((value) => !/\b(no-store|private)\b/i.test(value));
}

// `CDN-Cache-Control`, `Cloudflare-CDN-Cache-Control` and their kin; Fastly's and Varnish's; nginx's.
const targeted = /^(.+-cache-control|surrogate-control|x-accel-expires)$/i;

/** Takes off what speaks to single caches, and `Expires`, which speaks to old ones. Returns what the former said. */
function removeTargeted(res: ServerResponse): string[] {
  // engine.io's response cannot list its headers. No cache sees them.
  const names = (res as Partial<ServerResponse>).getHeaderNames?.() ?? [];
  const found = names.filter((name) => targeted.test(name));
  const said = found.map((name) => list(res.getHeader(name)).join());
  for (const name of [...found, 'Expires']) res.removeHeader(name);
  return said;
}

/**
 * Whether the response removes this cookie in a header that is none of ours: an app's own `res.clearCookie()`. Browsers take
 * it for the same cookie when name, domain and path are the same.
 */
export function isRemovedByOthers(
  res: ServerResponse,
  { name, domain, path }: { readonly name: string; readonly domain: string | undefined; readonly path: string },
  ours: readonly SetCookie[],
): boolean {
  const own = new Set(ours.map(({ header }) => header));
  return list(res.getHeader('set-cookie')).some((header) => {
    if (own.has(header) || nameIn(header) !== name) return false;
    const attributes = new Map(
      header.split(';').map((part) => {
        const at = part.indexOf('=');
        return [
          (at === -1 ? part : part.slice(0, at)).trim().toLowerCase(),
          at === -1 ? '' : part.slice(at + 1).trim(),
        ];
      }),
    );
    const maxAge = attributes.get('max-age');
    const isRemoval =
      maxAge === undefined ? Date.parse(attributes.get('expires') ?? '') <= Date.now() : Number(maxAge) <= 0;
    const hasDomain = (attributes.get('domain') ?? '').replace(/^\./, '').toLowerCase();
    return (
      isRemoval && hasDomain === (domain ?? '').replace(/^\./, '').toLowerCase() && attributes.get('path') === path
    );
  });
}

function list(value: OutgoingHttpHeader | undefined): string[] {
  return value === undefined ? [] : [value].flat().map(String);
}

function nameIn(header: string): string {
  return header.slice(0, Math.max(header.indexOf('='), 0)).trim();
}
