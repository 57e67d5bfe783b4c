/** The session cookie's settings; see `SessionOptions.cookie`. */
export interface CookieSettings {
  readonly name: string;
  readonly domain: string | undefined;
  readonly path: string;
  readonly sameSite: 'lax' | 'strict' | 'none';
  readonly secure: boolean;
  /** Seconds. */
  readonly maxAge: number;
}

/**
 * Every value that a `Cookie` header has for a name. There can be several: a sibling subdomain, or an earlier version
 * of the app, may have set one with another domain or path, and the browser sends both without saying which is which.
 */
export function cookieValues(header: string | undefined, name: string): string[] {
  if (!header?.includes(`${name}=`)) return [];
  const values: string[] = [];
  for (const pair of header.split(';')) {
    const at = pair.indexOf('=');
    if (at === -1 || pair.slice(0, at).trim() !== name) continue;
    const value = pair.slice(at + 1).trim();
    values.push(decode(value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value));
  }
  return values;
}

function decode(value: string): string {
  // Iron's alphabet needs no encoding; base64 does, and other writers apply it.
  if (!value.includes('%')) return value;
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

/** A `Set-Cookie` header. `HttpOnly` is always on: no script needs the seal. */
export function setCookie(value: string, { name, domain, path, sameSite, secure, maxAge }: CookieSettings): string {
  return [
    `${name}=${encodeURIComponent(value)}`,
    `Path=${path}`,
    ...(domain === undefined ? [] : [`Domain=${domain}`]),
    `Max-Age=${maxAge}`,
    'HttpOnly',
    ...(secure ? ['Secure'] : []),
    `SameSite=${sameSite.charAt(0).toUpperCase()}${sameSite.slice(1)}`,
  ].join('; ');
}

/** A `Set-Cookie` header that removes the cookie: browsers compare name, domain and path. */
export function clearCookie(settings: CookieSettings): string {
  return `${setCookie('', { ...settings, maxAge: 0 })}; Expires=Thu, 01 Jan 1970 00:00:00 GMT`;
}
