import type { IncomingMessage } from 'node:http';

import { requestPath } from './navigation.js';

/** Where browsers find the app, and where the app finds its own paths. */
export interface Site {
  /** The path below which browsers see the app: empty, or such as `/app`. */
  readonly publicBase: string;
  /** The origin at which a request came; undefined where `Host` names none of the app's. */
  readonly originOf: (req: IncomingMessage) => string | undefined;
  /** The part of a request's path below the app's base; undefined for a path that is not below it. */
  readonly pathBelow: (req: IncomingMessage) => string | undefined;
  /** The path and query of a request as browsers see it; undefined where that is not known. */
  readonly publicPath: (req: IncomingMessage) => string | undefined;
}

/**
 * @param baseUrls where browsers find the app: origins, each with the same path. A `*` stands for a part of one label
 * @param base the path below which the app sees its own routes: as browsers do, unless a proxy adds or strips a prefix
 */
export function createSite(baseUrls: readonly string[], base = basePathOf(baseUrls[0] ?? '')): Site {
  const publicBase = basePathOf(baseUrls[0] ?? '');
  const origins = baseUrls.map((baseUrl) => new URL(baseUrl).origin);
  const [only = ''] = origins;
  const matchers = origins.map(matcherOf);
  // One origin is the app's, whatever a proxy has made of `Host`. A choice among several needs it.
  const isChosen = origins.length > 1 || only.includes('*');

  function originOf(req: IncomingMessage): string | undefined {
    if (!isChosen) return only;
    const host = hostOf(req);
    return matchers.map((match) => match(host)).find((origin) => origin !== undefined);
  }

  function pathBelow(req: IncomingMessage): string | undefined {
    const path = requestPath(req);
    if (!path.startsWith(base)) return undefined;
    const below = path.slice(base.length);
    // `/apple` is not below `/app`.
    if (/^[/?]/.test(below)) return below;
    return below === '' ? '/' : undefined;
  }

  function publicPath(req: IncomingMessage): string | undefined {
    if (base === publicBase) return requestPath(req);
    const below = pathBelow(req);
    return below === undefined ? undefined : publicBase + below;
  }

  return Object.freeze({ publicBase, originOf, pathBelow, publicPath } satisfies Site);
}

/** The path of a URL without the slash at its end: empty for an origin. */
export function basePathOf(url: string): string {
  return url === '' ? '' : new URL(url).pathname.replace(/\/+$/, '');
}

/** `Host` alone. A forwarded header is whatever its sender likes; a proxy that is trusted sets `Host`. */
export function hostOf({ headers }: IncomingMessage): string {
  return String(headers[':authority'] ?? headers.host ?? '').toLowerCase();
}

/** The origin for a host that it is for. */
function matcherOf(origin: string): (host: string) => string | undefined {
  const { protocol, host } = new URL(origin);
  const defaultPort = protocol === 'https:' ? ':443' : ':80';
  const withoutDefaultPort = (given: string) =>
    given.endsWith(defaultPort) ? given.slice(0, -defaultPort.length) : given;
  if (!host.includes('*')) return (given) => (withoutDefaultPort(given) === host ? origin : undefined);
  const [before = '', after = ''] = host.split('*');
  return (given) => {
    const own = withoutDefaultPort(given);
    const isLongEnough = own.length > before.length + after.length;
    if (!isLongEnough || !own.startsWith(before) || !own.endsWith(after)) return undefined;
    const label = own.slice(before.length, own.length - after.length);
    return /^[a-z\d-]+$/.test(label) ? `${protocol}//${own}` : undefined;
  };
}
