import type { OutgoingHttpHeader, ServerResponse } from 'node:http';

import onHeaders from 'on-headers';

interface Pending {
  readonly header: string;
  /** Asked when the headers are written: `false` takes the cookie off the response. */
  readonly stillWanted: () => boolean;
}

const pendingOf = new WeakMap<ServerResponse, Map<string, Pending>>();

/**
 * Puts a cookie on the response, now and again when the headers are written: `res.setHeader('Set-Cookie', …)` and
 * `res.writeHead(200, { 'Set-Cookie': … })` in a handler replace what is there, and with a rotated refresh token that
 * is a sign-out which nobody can explain later. A later cookie of the same name takes the place of this one.
 */
export function putCookie(
  res: ServerResponse,
  name: string,
  header: string,
  stillWanted: () => boolean = () => true,
): void {
  let pending = pendingOf.get(res);
  if (!pending) {
    pending = new Map();
    pendingOf.set(res, pending);
    onHeaders(res, () => {
      assertCookies(res);
    });
  }
  pending.set(name, { header, stillWanted });
  assertCookies(res);
}

function assertCookies(res: ServerResponse): void {
  const pending = pendingOf.get(res);
  // A response that has begun (a `writeHead` reached from `flushHeaders`, say) cannot take headers any more.
  if (!pending || res.headersSent) return;
  const wanted = [...pending].filter(([, { stillWanted }]) => stillWanted());
  const others = list(res.getHeader('set-cookie')).filter((header) => !pending.has(nameOf(header)));
  const all = [...others, ...wanted.map(([, { header }]) => header)];
  if (all.length > 0) res.setHeader('Set-Cookie', all);
  else res.removeHeader('Set-Cookie');
  if (wanted.length > 0) forbidCaching(res);
}

/** `Set-Cookie` does not keep a response out of a shared cache (RFC 9111 section 7.3): this does. */
export function forbidCaching(res: ServerResponse): void {
  res.setHeader('Cache-Control', 'private, no-store');
  const vary = list(res.getHeader('vary'))
    .flatMap((value) => value.split(','))
    .map((value) => value.trim());
  if (!vary.some((value) => value === '*' || value.toLowerCase() === 'cookie')) {
    res.setHeader('Vary', [...vary.filter(Boolean), 'Cookie'].join(', '));
  }
  // A validator would let a cache answer 304, with our cookie on it, for a page of somebody else's.
  res.removeHeader('ETag');
  res.removeHeader('Last-Modified');
}

function list(value: OutgoingHttpHeader | undefined): string[] {
  return value === undefined ? [] : [value].flat().map(String);
}

function nameOf(header: string): string {
  return header.slice(0, Math.max(header.indexOf('='), 0)).trim();
}
