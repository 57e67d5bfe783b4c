import { createCookieJar, type CookieJar, type JarOptions } from './cookie-jar.js';

export type { CookieJar, JarCookie } from './cookie-jar.js';

export interface Page {
  url: string;
  status: number;
  headers: Headers;
  setCookies: string[];
  text: string;
  /** The body parsed; undefined when it is not JSON. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- specs reach into bodies freely
  json: any;
}

export interface Browser {
  readonly jar: CookieJar;
  /** A request to `path`, or to a whole URL, with the cookies that belong to it. Redirects are not followed. */
  fetch: (path: string, init?: RequestInit) => Promise<Page>;
  get: (path: string, init?: RequestInit) => Promise<Page>;
  /** A form that is sent. A page that is opened, `fetch` cannot imitate: it says itself that it is no navigation. */
  post: (path: string, init?: RequestInit) => Promise<Page>;
  /** As `get`, but goes where redirects lead, to other hosts too; `hops` are the URLs on the way, the last one's own left out. */
  follow: (path: string, init?: RequestInit) => Promise<Page & { hops: string[] }>;
  /** Another tab: the same cookies. */
  tab: () => Browser;
  /** Another browser that starts with a copy of the cookies. */
  clone: () => Browser;
}

const mostHops = 20;

/** As much of a browser as a session notices: cookies and redirects. */
export function createBrowser(baseUrl: string, options: JarOptions = {}): Browser {
  return browse(baseUrl, createCookieJar(options));
}

function browse(baseUrl: string, jar: CookieJar): Browser {
  const request: Browser['fetch'] = async (path, init = {}) => {
    const url = new URL(path, baseUrl).href;
    const headers = new Headers(init.headers);
    const cookie = jar.header(url);
    if (cookie !== undefined && !headers.has('cookie')) headers.set('cookie', cookie);

    const response = await fetch(url, { redirect: 'manual', ...init, headers });
    const setCookies = response.headers.getSetCookie();
    for (const setCookie of setCookies) jar.set(url, setCookie);
    const text = await response.text();
    return { url, status: response.status, headers: response.headers, setCookies, text, json: parse(text) };
  };

  const follow: Browser['follow'] = async (path, init) => {
    const hops: string[] = [];
    let page = await request(path, init);
    for (let next = target(page); next !== undefined; next = target(page)) {
      hops.push(page.url);
      if (hops.length > mostHops) throw new Error(`Redirected in a circle: ${hops.slice(-3).join(' → ')}`);
      page = await request(next, { ...init, method: 'GET', body: null });
    }
    return { ...page, hops };
  };

  return {
    jar,
    fetch: request,
    get: (path, init) => request(path, { ...init, method: 'GET' }),
    post: (path, init) => request(path, { ...init, method: 'POST' }),
    follow,
    tab: () => browse(baseUrl, jar),
    clone: () => browse(baseUrl, jar.copy()),
  };
}

function target({ status, url, headers }: Page): string | undefined {
  const location = headers.get('location');
  return status >= 300 && status < 400 && location !== null ? new URL(location, url).href : undefined;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
