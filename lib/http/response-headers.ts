import type { OutgoingHttpHeader, ServerResponse } from 'node:http';

import onHeaders from 'on-headers';

import type { SetCookie } from './cookies.js';

/** Something that must be on the response when its headers are written, whatever handlers do in between. */
interface Kept {
  put(res: ServerResponse): void;
  /** Takes it off again, if it turns out not to be wanted. */
  take(res: ServerResponse): void;
  isWanted(): boolean;
}

const keptOf = new WeakMap<ServerResponse, Map<string, Kept>>();

/**
 * Puts something on the response, now and again when the headers are written: `res.setHeader('Set-Cookie', …)` and
 * `res.writeHead(200, { 'Set-Cookie': … })` in a handler replace what is there, and with a rotated refresh token that
 * is a sign-out which nobody can explain later. What is put into the same slot later takes its place.
 */
export function keepOnResponse(res: ServerResponse, slot: string, next: Kept): void {
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
  if (res.headersSent) return;
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
  return list(res.getHeader('set-cookie')).filter((header) => !names.has(nameIn(header)));
}

/**
 * Keeps the response out of every cache: `Set-Cookie` alone does not do that (RFC 9111 section 7.3).
 *
 * @returns whether somebody had meant it for a shared cache
 */
export function forbidCaching(res: ServerResponse, varyBy: readonly string[] = ['Cookie']): boolean {
  const said = list(res.getHeader('cache-control')).join();
  // `no-transform` is not about storing: compression and proxies go by it.
  res.setHeader(
    'Cache-Control',
    /\bno-transform\b/i.test(said) ? 'private, no-store, no-transform' : 'private, no-store',
  );
  const vary = list(res.getHeader('vary'))
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
  return /\b(public|s-maxage)\b/i.test(said);
}

function list(value: OutgoingHttpHeader | undefined): string[] {
  return value === undefined ? [] : [value].flat().map(String);
}

function nameIn(header: string): string {
  return header.slice(0, Math.max(header.indexOf('='), 0)).trim();
}
