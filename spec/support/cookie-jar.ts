import { isIP } from 'node:net';

export interface JarCookie {
  name: string;
  value: string;
  domain: string;
  /** Without a Domain attribute: sent to this very host only. */
  hostOnly: boolean;
  path: string;
  secure: boolean;
  httpOnly: boolean;
  sameSite: string | undefined;
  /** In milliseconds; undefined lasts as long as the browser. */
  expiresAt: number | undefined;
}

export interface JarOptions {
  /** Browsers take loopback hosts for secure, and so does the jar unless this is false. */
  secureOnLoopback?: boolean;
}

export interface CookieJar {
  /** The live cookies, all hosts. */
  readonly cookies: JarCookie[];
  /** The value of the first live cookie of that name, whatever its host. */
  get: (name: string) => string | undefined;
  /** Plants a cookie as a `Set-Cookie` header of `url` would. */
  set: (url: string | URL, setCookie: string) => void;
  /** The `Cookie` header for a request to `url`; undefined when there is none to send. */
  header: (url: string | URL) => string | undefined;
  /** Forgets one cookie, or all. */
  clear: (name?: string) => void;
  copy: () => CookieJar;
}

/** Keeps cookies as browsers do, ports ignored; a cookie that a browser would refuse is refused without a word. */
export function createCookieJar({ secureOnLoopback = true }: JarOptions = {}, initial: JarCookie[] = []): CookieJar {
  let stored = [...initial];

  const isSecure = ({ protocol, hostname }: URL): boolean =>
    protocol === 'https:' || (secureOnLoopback && ['localhost', '127.0.0.1', '[::1]'].includes(hostname));
  const isLive = ({ expiresAt }: JarCookie): boolean => expiresAt === undefined || expiresAt > Date.now();
  const live = (): JarCookie[] => stored.filter(isLive);

  return {
    get cookies() {
      return live();
    },
    get: (name) => live().find((cookie) => cookie.name === name)?.value,
    set: (from, setCookie) => {
      const url = new URL(from);
      const cookie = parseSetCookie(setCookie, url);
      if (!cookie || !isAcceptable(cookie, isSecure(url))) return;
      const { name, domain, path } = cookie;
      const older = stored.findIndex((one) => one.name === name && one.domain === domain && one.path === path);
      if (older === -1) stored.push(cookie);
      else stored[older] = cookie;
    },
    header: (to) => {
      const url = new URL(to);
      const sent = live()
        .filter((cookie) => belongsTo(cookie, url) && (!cookie.secure || isSecure(url)))
        .sort((one, other) => other.path.length - one.path.length);
      return sent.map(({ name, value }) => `${name}=${value}`).join('; ') || undefined;
    },
    clear: (name) => {
      stored = name === undefined ? [] : stored.filter((cookie) => cookie.name !== name);
    },
    copy: () => createCookieJar({ secureOnLoopback }, stored),
  };
}

function parseSetCookie(setCookie: string, { hostname, pathname }: URL): JarCookie | undefined {
  const [pair = '', ...attributes] = setCookie.split(';');
  const [name, value] = splitAtEquals(pair);
  const given = new Map(attributes.map(splitAtEquals).map(([key, text]) => [key.toLowerCase(), text]));
  const domain = (given.get('domain') ?? '').replace(/^\./, '').toLowerCase();
  const path = given.get('path') ?? '';
  if (domain && !domainMatches(hostname, domain)) return undefined;

  return {
    name,
    value,
    domain: domain || hostname,
    hostOnly: !domain,
    path: path.startsWith('/') ? path : pathname.slice(0, Math.max(pathname.lastIndexOf('/'), 1)),
    secure: given.has('secure'),
    httpOnly: given.has('httponly'),
    sameSite: given.get('samesite'),
    expiresAt: expiry(given.get('max-age'), given.get('expires')),
  };
}

function splitAtEquals(pair: string): [string, string] {
  const at = pair.indexOf('=');
  return at === -1 ? [pair.trim(), ''] : [pair.slice(0, at).trim(), pair.slice(at + 1).trim()];
}

/** Max-Age goes before Expires; either that cannot be read counts as not given. */
function expiry(maxAge: string | undefined, expires: string | undefined): number | undefined {
  if (maxAge !== undefined && /^-?\d+$/.test(maxAge)) return Date.now() + Number(maxAge) * 1000;
  const date = Date.parse(expires ?? '');
  return Number.isNaN(date) ? undefined : date;
}

function isAcceptable(cookie: JarCookie, fromSecure: boolean): boolean {
  const { name, value, secure, hostOnly, path, sameSite } = cookie;
  if (!name || Buffer.byteLength(name + value) > 4096) return false;
  if (secure && !fromSecure) return false;
  if (sameSite?.toLowerCase() === 'none' && !secure) return false;
  if (name.startsWith('__Secure-') && !secure) return false;
  return !name.startsWith('__Host-') || (secure && hostOnly && path === '/');
}

function belongsTo({ domain, hostOnly, path }: JarCookie, { hostname, pathname }: URL): boolean {
  if (hostOnly ? hostname !== domain : !domainMatches(hostname, domain)) return false;
  return pathname === path || pathname.startsWith(path.endsWith('/') ? path : `${path}/`);
}

function domainMatches(hostname: string, domain: string): boolean {
  return hostname === domain || (hostname.endsWith(`.${domain}`) && isIP(hostname) === 0);
}
