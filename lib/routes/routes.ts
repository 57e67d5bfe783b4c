import type { IncomingMessage, ServerResponse } from 'node:http';

import { SessionConfigError, SessionError } from '../errors.js';
import { type CarrierSettings, type Exchange, httpCarrier } from '../http/carrier.js';
import type { Middleware, Next } from '../http/middleware.js';
import { isPrefetch, longestLinkedPath, opensPage } from '../http/navigation.js';
import { forbidCaching } from '../http/response-headers.js';
import type { Site } from '../http/site.js';
import type { RouteSettings, SealSettings } from '../options/config.js';
import type { DeviceSettings } from '../options/device-options.js';
import type { FindSession } from '../request/guard.js';
import { headersSentError, type RouteActions } from '../request/actions.js';
import type { SealPlacer } from '../request/put-seal.js';
import type { AskedByGuard, Mount, MountSignIn } from '../request/session-object.js';
import { bindingOf } from '../session/binding.js';
import { readAsked } from './asked.js';
import { type Begin, beginSignIn, redirectUriOf } from './begin.js';
import { callbackRoute } from './callback.js';
import { deviceRoute } from './device.js';
import type { ExchangeParts } from './exchange.js';
import { flowCookies } from './flow.js';
import { withFormPost } from './form-post.js';
import { type GuardNotes, guardNotes } from './guard-notes.js';
import { idTokenCookie } from './id-token-cookie.js';
import { impersonations } from './impersonation.js';
import { sealedNotes } from './notes.js';
import { noticeRoutes } from './notice-routes.js';
import { organizationRoute } from './organization.js';
import { restartMarker } from './restart-marker.js';
import { redirect, type Route } from './route.js';
import { sessionRoute } from './session.js';
import { signInRoute } from './sign-in.js';
import { silentSignIn } from './silent.js';
import { type ReturnNotes, signOutRoute } from './sign-out.js';

export interface RouteParts extends Omit<ExchangeParts, 'onSignIn'> {
  readonly mount: Mount;
  /** This mount's session on a request. */
  readonly find: FindSession;
  readonly actions: RouteActions;
  readonly carrier: CarrierSettings;
  readonly seals: SealSettings;
  readonly placer: SealPlacer;
  readonly device: DeviceSettings | undefined;
  readonly settings: RouteSettings;
}

interface Served {
  readonly methods: readonly string[];
  readonly run: Route;
}

/**
 * The paths that sign in and out. It only dispatches: each path is a file of its own.
 *
 * @throws {SessionConfigError} without a `baseUrl`
 */
export function sessionRoutes(parts: RouteParts): Middleware {
  const { provider, mount, find, carrier, seals, settings } = parts;
  const { site, paths, afterSignIn: returnTo, forwardParameters } = settings;
  if (!site) {
    const message = 'must be the app\'s own origin, such as "https://app.example.com", for routes().';
    throw new SessionConfigError([{ path: 'baseUrl', message }]);
  }
  const publicPath = (path: string | undefined) => (path === undefined ? undefined : site.publicBase + path);
  const signInPath = publicPath(paths.login);
  const signOutPath = publicPath(paths.logout);
  const flows = flowCookies(carrier, seals);
  const notes = guardNotes(seals, provider.id);
  const idTokens = idTokenCookie(carrier, seals, provider.id, signOutPath);
  const returns = returnNotes(seals, provider.id);
  const callbackPath = publicPath(paths.callback) ?? '';
  const begin = beginSignIn({ find, provider, flows, site, callbackPath, returnTo });

  const login = signInRoute({ begin, notes, forwardParameters });
  const signUp = signInRoute({ begin, notes, forwardParameters, asks: { screenHint: 'sign-up' } });
  const exchanging: ExchangeParts = { ...parts, onSignIn: settings.onSignIn };
  const silent = settings.isSilent ? silentSignIn(carrier, { find, site, begin, returnTo }) : undefined;
  const callback = callbackRoute({
    ...exchanging,
    find,
    actions: parts.actions,
    site,
    callbackPath,
    flows,
    begin,
    marker: restartMarker(carrier, seals, provider.id),
    idTokens,
    impersonations: impersonations(exchanging, returnTo),
    returnTo,
    signInPath: signInPath ?? returnTo,
    isOffered: parts.device !== undefined,
  });
  const logout = signOutRoute({ find, site, idTokens, returns, silent, returnTo: settings.afterSignOut });
  const session = sessionRoute({ find, site, signInPath, signOutPath });
  const routes = new Map<string | undefined, Served>([
    [paths.login, { methods: ['GET'], run: login }],
    [paths.signUp, { methods: ['GET'], run: signUp }],
    [
      paths.callback,
      {
        methods: provider.responseMode === 'form_post' ? ['GET', 'POST'] : ['GET'],
        run: withFormPost(callback, (req) => redirectUriOf({ site, callbackPath }, { req })),
      },
    ],
    [paths.logout, { methods: settings.signOutMethods, run: logout }],
    [paths.session, { methods: ['GET', 'POST'], run: session }],
    [paths.organization, { methods: ['POST'], run: organizationRoute({ find, site, returnTo }) }],
  ]);
  const { device } = parts;
  if (device) routes.set(paths.device, { methods: ['POST'], run: deviceRoute({ ...parts, device }) });
  const notices = noticeRoutes({ ...parts, paths });
  for (const [path, run] of notices) routes.set(path, { methods: ['POST'], run });
  routes.delete(undefined);
  // From here on guards and handlers know how a visitor signs in.
  const { isOpen } = httpCarrier(carrier);
  mount.signIn = mountSignIn({
    site,
    signInPath,
    organizationPath: publicPath(paths.organization),
    notes,
    begin,
    returnTo,
    isOpen,
    hasCallback: callbackPath !== '',
  });
  mount.isOwnRoute = (req) => routeOf(req) !== undefined;
  mount.isNotice = (req) => req.method === 'POST' && notices.has(pathOf(req) ?? '');

  function pathOf(req: IncomingMessage): string | undefined {
    return site?.pathBelow(req)?.split('?', 1)[0];
  }

  function routeOf(req: IncomingMessage): Served | undefined {
    const route = routes.get(pathOf(req));
    return route?.methods.includes(req.method ?? '') ? route : undefined;
  }

  return function sessionRoutesMiddleware(req, res, next) {
    const [, search = ''] = /^[^?]*\??(.*)$/s.exec(site.pathBelow(req) ?? '') ?? [];
    const query = new URLSearchParams(search);
    const route = routeOf(req);
    if (!route) {
      if (!comesBack(req, res, query)) goOn({ req, res }, next);
      return;
    }
    forbidCaching(res);
    // The callback's address has a code in it: no page or redirect behind it is to learn that.
    res.setHeader('Referrer-Policy', 'no-referrer');
    if (isPrefetch(req)) {
      // No person has clicked yet. An empty answer makes the browser ask again when one does.
      res.statusCode = 503;
      res.end();
      return;
    }
    route.run(req, res, query).catch((error: unknown) => {
      // Also for an error handler that does not look at `error.headers`.
      if (error instanceof SessionError && !res.headersSent) {
        for (const [name, value] of Object.entries(error.headers)) res.setHeader(name, value);
      }
      process.nextTick(next, error);
    });
  };

  function goOn(exchange: Exchange, next: Next): void {
    let url: Promise<string> | undefined;
    try {
      url = silent?.attempt(exchange);
    } catch (error) {
      next(error);
      return;
    }
    if (!url) {
      next();
      return;
    }
    url.then(
      (authorizationUrl) => {
        redirect(exchange.res, authorizationUrl);
      },
      () => {
        // The provider cannot be asked. The visitor has not asked for it, and gets the page.
        process.nextTick(next);
      },
    );
  }

  /** After the provider has signed a visitor out: to the path that `/logout` was given. */
  function comesBack(req: IncomingMessage, res: ServerResponse, query: URLSearchParams): boolean {
    if (req.method !== 'GET' || !query.has('state')) return false;
    if (site?.publicPath(req)?.split('?', 1)[0] !== settings.afterSignOut) return false;
    const note = returns.open(query.get('state'));
    if (note) redirect(res, note.returnTo);
    return note !== undefined;
  }
}

// A visitor may take a while to confirm at the provider.
const returnSeconds = 600;

function returnNotes(seals: SealSettings, providerId: string): ReturnNotes {
  const binding = bindingOf(providerId, 'flow', 'after signing out');
  return sealedNotes(seals, binding, ({ returnTo }) => typeof returnTo === 'string', returnSeconds);
}

interface MountSignInParts {
  readonly site: Site;
  readonly signInPath: string | undefined;
  readonly organizationPath: string | undefined;
  readonly notes: GuardNotes;
  readonly begin: Begin;
  readonly returnTo: string;
  readonly isOpen: (exchange: Exchange) => boolean;
  readonly hasCallback: boolean;
}

/** How guards and handlers begin a sign-in. */
function mountSignIn(parts: MountSignInParts): MountSignIn | undefined {
  const { site, signInPath, organizationPath, notes, begin, isOpen } = parts;
  if (!parts.hasCallback) return undefined;

  /** The page that a request is for. Where it is for something else, a visitor could not come back to it. */
  function pageOf(req: IncomingMessage): string {
    return (opensPage(req) ? site.publicPath(req) : undefined) ?? parts.returnTo;
  }

  function pathFor(req: IncomingMessage, asked: AskedByGuard = {}): string | Promise<string> | undefined {
    const returnTo = asked.returnTo ?? pageOf(req);
    // A guard before the sign-in itself would send the visitor in a circle.
    if (signInPath === undefined || returnTo.split('?', 1)[0] === signInPath) return undefined;
    if (Object.keys(asked).length === 0 && returnTo.length <= longestLinkedPath) {
      return `${signInPath}?returnTo=${encodeURIComponent(returnTo)}`;
    }
    return notes.seal({ ...asked, returnTo }).then((sealed) => `${signInPath}?asked=${encodeURIComponent(sealed)}`);
  }

  return {
    path: signInPath,
    pathFor,
    begin: async (exchange, asked) => {
      const read = readAsked(asked);
      if (!isOpen(exchange)) throw headersSentError('beginSignIn');
      return begin(exchange, read);
    },
    offerFor: (req, organizationId) =>
      organizationPath === undefined ? undefined : { path: organizationPath, organizationId, returnTo: pageOf(req) },
  };
}
