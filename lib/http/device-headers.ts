import type { IncomingMessage, ServerResponse } from 'node:http';

import type { CookieSettings } from './cookies.js';
import { forbidCaching } from './response-headers.js';

/*
 * The headers and the instructions of Device Bound Session Credentials (https://w3c.github.io/webappsec-dbsc/), as far as
 * they are needed. Browsers without it send none of these headers, and pass over ours.
 */

/** What a browser says of a request that it could not give a proof. */
export type SkippedProof = 'quota_exceeded' | 'server_error' | 'unreachable' | 'other';

/** The id of the browser's session, where it asks for a new proof. A registration has none. */
export function deviceSessionId(req: IncomingMessage): string | undefined {
  return bare(req.headers['sec-secure-session-id']);
}

/** The JWT with which a browser answers a challenge. */
export function deviceResponse(req: IncomingMessage): string | undefined {
  return bare(req.headers['secure-session-response']);
}

/** Why the browser has sent a request without a proof, where it says so. Anybody can say so: it excuses, and admits nobody. */
export function skippedProof(req: IncomingMessage): SkippedProof | undefined {
  const value = req.headers['secure-session-skipped'];
  if (value === undefined) return undefined;
  const why = bare(String(value).split(/[;,]/, 1)[0]?.trim());
  return (['quota_exceeded', 'server_error', 'unreachable'] as const).find((each) => each === why) ?? 'other';
}

/** A structured string comes with quotes from some versions, and without from others. */
function bare(value: string | string[] | undefined): string | undefined {
  return value === undefined ? undefined : String(value).replace(/^"(.*)"$/, '$1');
}

export function offerRegistration(
  res: ServerResponse,
  { algorithms, path, challenge }: { algorithms: readonly string[]; path: string; challenge: string },
): void {
  res.setHeader('Secure-Session-Registration', `(${algorithms.join(' ')});path="${path}";challenge="${challenge}"`);
}

export function sendChallenge(res: ServerResponse, id: string, challenge: string): void {
  res.statusCode = 403;
  res.setHeader('Secure-Session-Challenge', `"${challenge}";id="${id}"`);
  res.end();
}

/** The end of a session in the browser: no more refreshes, and requests go without a proof. */
export function endInBrowser(res: ServerResponse, id: string): void {
  sendJson(res, { session_identifier: id, continue: false });
}

export interface Instructions {
  /** The thumbprint of the key: of two registrations that race, each refresh tells which one has won. */
  readonly id: string;
  readonly refreshPath: string;
  readonly includesSite: boolean;
  /** The path below which browsers see the app: empty, or such as `/app`. */
  readonly publicBase: string;
  /** Paths that need no proof, as browsers see them. */
  readonly excluded: readonly string[];
  readonly cookie: CookieSettings;
}

/** Tells the browser which requests wait for a proof, and how to get one. */
export function sendInstructions(res: ServerResponse, instructions: Instructions): void {
  const { id, refreshPath, includesSite, publicBase, excluded, cookie } = instructions;
  const rule = (type: 'include' | 'exclude', path: string) => ({ type, domain: '*', path });
  sendJson(res, {
    session_identifier: id,
    refresh_url: refreshPath,
    scope: {
      include_site: includesSite,
      // The last rule that fits decides.
      scope_specification: [
        ...(publicBase === '' ? [] : [rule('exclude', '/'), rule('include', publicBase)]),
        ...excluded.map((path) => rule('exclude', path)),
      ],
    },
    // They must be those of the real cookie, without its age: else the browser asks for a new proof at each request.
    credentials: [{ type: 'cookie', name: cookie.name, attributes: attributesOf(cookie) }],
  });
}

function attributesOf({ domain, path, secure }: CookieSettings): string {
  const parts = [...(domain === undefined ? [] : [`Domain=${domain}`]), `Path=${path}`, ...(secure ? ['Secure'] : [])];
  return [...parts, 'HttpOnly', 'SameSite=Lax'].join('; ');
}

function sendJson(res: ServerResponse, body: object): void {
  res.setHeader('Content-Type', 'application/json');
  res.end(JSON.stringify(body));
}

/** The settings of the cookie of a proof, beside those of the session's. Its age is that of the proof. */
export function proofCookieSettings(cookie: CookieSettings): CookieSettings {
  const { domain, path, secure } = cookie;
  const bareName = cookie.name.replace(/^__(Host|Secure)-/i, '');
  const prefix = !secure ? '' : domain === undefined && path === '/' ? '__Host-' : '__Secure-';
  return { ...cookie, name: `${prefix}${bareName}-proof`, sameSite: 'lax', priority: undefined };
}

/** Whether the browser opens a page from one of this origin, or because its user has asked for it. */
export function isOwnDocument({ method, headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site'];
  return method === 'GET' && headers['sec-fetch-dest'] === 'document' && (site === 'same-origin' || site === 'none');
}

/**
 * Whether the browser opens a page because another site has led there. It asks for no proof before such a request, and
 * a registration after it would come without cookies.
 */
export function isForeignDocument({ method, headers }: IncomingMessage): boolean {
  return method === 'GET' && headers['sec-fetch-dest'] === 'document' && headers['sec-fetch-site'] === 'cross-site';
}

/** Whether a browser is of the family that binds sessions: only these send client hints. */
export function mayBind({ headers }: IncomingMessage): boolean {
  return headers['sec-ch-ua'] !== undefined;
}

/**
 * Has the browser open this page itself, so that its request comes from this origin: a redirect would still come from the
 * other site. It needs no script, and no policy for contents concerns it.
 *
 * @param url a URL or a path of the app, percent-encoded
 */
export function openFromHere(res: ServerResponse, url: string, status: 200 | 401): void {
  forbidCaching(res);
  res.statusCode = status;
  res.setHeader('Refresh', `0;url=${url}`);
  res.setHeader('Content-Type', 'text/html; charset=utf-8');
  const href = url.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
  res.end(`<!doctype html><html lang="en"><title>…</title><p><a href="${href}">Continue</a></p></html>\n`);
}
