import { amount, bool, type Check, type Checks, isLoopback, list, oneOf, optional } from '../checks.js';
import type { ConfigProblem } from '../errors.js';
import { basePathOf } from '../http/site.js';
import type { CookieOptions, ReplacedCookie, SessionOptions } from './session-options.js';

// Cookies and headers are named by the same rule (RFC 6265 section 4.1.1, RFC 9110 section 5.6.2).
const cookieName: Check = (value) =>
  typeof value === 'string' && /^[\w!#$%&'*+\-.^`|~]+$/.test(value)
    ? undefined
    : "must be a name of letters, digits and !#$%&'*+-.^_`|~.";

const cookieDomain: Check = (value) =>
  typeof value === 'string' &&
  /^(?=\.?.{1,253}$)\.?[a-z\d]([a-z\d-]{0,61}[a-z\d])?(\.[a-z\d]([a-z\d-]{0,61}[a-z\d])?)*$/i.test(value)
    ? undefined
    : 'must be the name of a host, such as "example.com": without scheme, port and path.';

// RFC 6265 section 5.2.4: a browser takes a path that does not begin with a slash for none.
const cookiePath: Check = (value) =>
  typeof value === 'string' && /^\/[\x21-\x3a\x3c-\x7e]*$/.test(value)
    ? undefined
    : 'must begin with a slash, and have no spaces, semicolons and control characters.';

// The seal would be taken for what these headers mean: servers, proxies and browsers act on them, or drop them.
const reservedHeaders =
  /^((accept|access-control|content|if|proxy|sec|x-forwarded)-.+|accept|authorization|cache-control|connection|cookie|date|etag|expect|forwarded|host|keep-alive|location|origin|range|referer|retry-after|set-cookie|te|trailer|transfer-encoding|upgrade|user-agent|vary|via|www-authenticate)$/i;

export const header: Check = (value) =>
  cookieName(value) ??
  (reservedHeaders.test(String(value))
    ? 'must be a header of your own, such as "X-Session": this one means something else.'
    : undefined);

export const cookieChecks: Checks<CookieOptions> = {
  name: optional(cookieName),
  domain: optional(cookieDomain),
  path: optional(cookiePath),
  sameSite: optional(oneOf('lax', 'strict', 'none')),
  secure: optional(bool),
  maxAge: optional((value) => (value === false ? undefined : amount('seconds', 1, Infinity)(value))),
  partitioned: optional(bool),
  priority: optional(oneOf('low', 'medium', 'high')),
  replaces: optional(list('{ name, domain, path }')),
};

export const replacedCookieChecks: Checks<ReplacedCookie> = {
  name: cookieName,
  domain: optional(cookieDomain),
  path: optional(cookiePath),
};

/** Where browsers find the app: the first counts for what all of them share. */
export function firstBaseUrl({ baseUrl }: Pick<SessionOptions, 'baseUrl'>): string | undefined {
  return typeof baseUrl === 'string' ? baseUrl : baseUrl?.[0];
}

/** Whether the cookie has `Secure`: as `baseUrl` is reached, unless said otherwise. */
export function isCookieSecure({ cookie = {}, baseUrl }: Pick<SessionOptions, 'baseUrl' | 'cookie'>): boolean {
  const first = firstBaseUrl({ baseUrl });
  return cookie.secure ?? (first === undefined || new URL(first).protocol === 'https:');
}

/**
 * The cookie's name. Browsers take a name with a prefix for `Secure` cookies only, so without it the prefix goes. Two
 * apps on one host would sign each other out under one name, so it carries the path of `baseUrl`.
 */
export function cookieNameOf(options: Pick<SessionOptions, 'baseUrl' | 'cookie' | 'provider'>): string {
  const { cookie = {}, provider } = options;
  if (cookie.name !== undefined) return cookie.name;
  const own = isCookieSecure(options) ? provider.cookieName : provider.cookieName.replace(/^__(Host|Secure)-/i, '');
  return [
    own,
    ...basePathOf(firstBaseUrl(options) ?? '')
      .split('/')
      .slice(1),
  ]
    .map((part, index) => (index === 0 ? part : encodeURIComponent(decodeURIComponent(part)).replace(/[.()]/g, '-')))
    .join('-');
}

/** Combinations that browsers refuse without a word (RFC 6265bis sections 4.1.3 and 5.7). */
export function findCookieConflicts(options: SessionOptions): ConfigProblem[] {
  const { cookie = {} } = options;
  const baseUrl = firstBaseUrl(options);
  const { domain, path: at = '/', sameSite } = cookie;
  const name = cookieNameOf(options);
  const secure = isCookieSecure(options);
  const problems: ConfigProblem[] = [];
  const conflict = (part: keyof CookieOptions, message: string) => problems.push({ path: `cookie.${part}`, message });
  if (name.toLowerCase().startsWith('__host-')) {
    if (domain !== undefined)
      conflict('domain', 'cannot be set for a "__Host-" cookie. Leave it out, or set another "cookie.name".');
    if (at !== '/') conflict('path', 'must be "/" for a "__Host-" cookie.');
  }
  if (/^__(host|secure)-/i.test(name) && !secure) {
    conflict('secure', `cannot be false for a cookie whose name begins with "__". Set another "cookie.name" as well.`);
  }
  if (cookie.partitioned === true && !secure) conflict('partitioned', 'can be true only with "secure".');
  if (sameSite === 'none' && !secure) conflict('sameSite', 'can be "none" only with "secure".');
  if (cookie.secure === false && baseUrl !== undefined && !isLoopback(new URL(baseUrl).hostname)) {
    conflict('secure', 'can be false only where "baseUrl" is on localhost, 127.0.0.1 or [::1]. Leave it out.');
  }
  return problems;
}
