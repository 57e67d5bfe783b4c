import { type IncomingHttpHeaders, request } from 'node:http';

import { createCookieJar, type CookieJar } from './cookie-jar.js';

export interface Visited {
  /** As the browser shows it. */
  url: string;
  status: number;
  headers: IncomingHttpHeaders;
  setCookies: string[];
  /** Where it leads, as the browser would ask for it. */
  location: string | undefined;
  text: string;
  /** The body parsed; undefined when it is not JSON. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- specs reach into bodies freely
  json: any;
}

export interface VisitInit {
  method?: string;
  headers?: Record<string, string>;
  /** In place of the jar's. */
  cookie?: string | undefined;
}

export interface Navigator {
  readonly servedAt: Readonly<Record<string, string>>;
  readonly jar: CookieJar;
  /** Opens a page, as a person does who follows a link. Redirects are not followed. */
  open: (url: string, init?: VisitInit) => Promise<Visited>;
  /** The same, going where redirects lead; `hops` are the URLs on the way, the last one's own included. */
  follow: (url: string, init?: VisitInit) => Promise<Visited & { hops: string[] }>;
  /** The `Cookie` header that the browser would send. */
  cookiesFor: (url: string) => string;
}

const mostHops = 12;

/**
 * A browser that navigates, which `fetch` cannot say. Public origins are served where `servedAt` says, each under its
 * own name as `Host`, so that cookies belong to the origins that a person sees.
 */
export function createNavigator(
  servedAt: Readonly<Record<string, string>>,
  { keepsCookies = true, ...jarOptions }: { keepsCookies?: boolean } = {},
  jar = createCookieJar(jarOptions),
): Navigator {
  const [home = ''] = Object.keys(servedAt);

  const open: Navigator['open'] = (to, { method = 'GET', headers = {}, ...init } = {}) => {
    const url = new URL(to, home);
    const served = new URL(servedAt[url.origin] ?? url.origin);
    const cookie = 'cookie' in init ? init.cookie : jar.header(url);
    const sent = {
      host: url.host,
      accept: 'text/html',
      'sec-fetch-mode': 'navigate',
      'sec-fetch-dest': 'document',
      ...(cookie !== undefined && { cookie }),
      ...headers,
    };
    return new Promise((resolve, reject) => {
      const { hostname, port } = served;
      const asked = request({ hostname, port, path: url.pathname + url.search, method, headers: sent }, (res) => {
        let text = '';
        res.setEncoding('utf8');
        res.on('data', (chunk: string) => (text += chunk));
        res.on('end', () => {
          const setCookies = res.headers['set-cookie'] ?? [];
          if (keepsCookies) for (const setCookie of setCookies) jar.set(url, setCookie);
          const { location } = res.headers;
          resolve({
            url: url.href,
            status: res.statusCode ?? 0,
            headers: res.headers,
            setCookies,
            location: location === undefined ? undefined : new URL(location, url).href,
            text,
            json: parse(text),
          });
        });
      });
      asked.on('error', reject);
      asked.end();
    });
  };

  return {
    servedAt,
    jar,
    open,
    follow: async (to, init) => {
      let page = await open(to, init);
      const hops = [page.url];
      while (page.location !== undefined) {
        if (hops.length > mostHops) throw new Error(`Redirected in a circle: ${hops.slice(-4).join(' → ')}`);
        page = await open(page.location);
        hops.push(page.url);
      }
      return { ...page, hops };
    },
    cookiesFor: (url) => jar.header(new URL(url, home)) ?? '',
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
