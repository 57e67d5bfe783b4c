import type { IncomingMessage } from 'node:http';

import { SessionConfigError, SessionUnavailableError } from '../errors.js';
import type { CarrierSettings } from '../http/carrier.js';
import type { Middleware } from '../http/middleware.js';
import { isPrefetch } from '../http/navigation.js';
import { forbidCaching } from '../http/response-headers.js';
import type { Lifecycle } from '../lifecycle.js';
import type { RouteSettings, SealSettings } from '../options/config.js';
import type { Provider } from '../provider/provider.js';
import type { FindSession } from '../request/guard.js';
import type { Mount } from '../request/session-object.js';
import { bindingOf } from '../session/binding.js';
import { callbackRoute } from './callback.js';
import { flowCookies } from './flow.js';
import { withFormPost } from './form-post.js';
import type { Route } from './route.js';
import { signInRoute } from './sign-in.js';
import { signOutRoute } from './sign-out.js';

export interface RouteParts {
  readonly life: Lifecycle;
  readonly provider: Provider;
  readonly mount: Mount;
  /** This mount's session on a request. */
  readonly find: FindSession;
  readonly carrier: CarrierSettings;
  readonly seals: SealSettings;
  readonly settings: RouteSettings;
  /** The longest that the exchange of a code runs, in milliseconds. */
  readonly timeoutMs: number;
  readonly clockToleranceSeconds: number;
}

/**
 * The paths that sign in and out. It only dispatches: each path is a file of its own.
 *
 * @throws {SessionConfigError} without a `baseUrl`
 */
export function sessionRoutes(parts: RouteParts): Middleware {
  const { provider, mount, find, settings, timeoutMs, clockToleranceSeconds, life } = parts;
  const { baseUrl, paths } = settings;
  if (baseUrl === undefined) {
    const message = 'must be the app\'s own origin, such as "https://app.example.com", for routes().';
    throw new SessionConfigError([{ path: 'baseUrl', message }]);
  }
  const redirectUri = `${baseUrl}${paths.callback ?? ''}`;
  const flows = flowCookies(parts.carrier, parts.seals, bindingOf(provider.id, 'flow', redirectUri));
  const routes = new Map<string | undefined, { readonly methods: readonly string[]; readonly run: Route }>([
    [
      paths.login,
      { methods: ['GET'], run: signInRoute({ provider, flows, redirectUri, returnTo: settings.afterSignIn }) },
    ],
    [
      paths.callback,
      {
        methods: provider.responseMode === 'form_post' ? ['GET', 'POST'] : ['GET'],
        run: withFormPost(
          callbackRoute({ provider, flows, find, redirectUri, timeoutMs, clockToleranceSeconds, emit: life.emit }),
          redirectUri,
        ),
      },
    ],
    [
      paths.logout,
      { methods: settings.signOutMethods, run: signOutRoute({ find, baseUrl, returnTo: settings.afterSignOut }) },
    ],
  ]);
  routes.delete(undefined);
  // From here on the guards know where a visitor signs in.
  mount.signInPath = paths.login;
  mount.isOwnRoute = (req) => routeOf(req) !== undefined;

  function routeOf({ url = '/', method = '' }: IncomingMessage) {
    const route = routes.get(url.split('?', 1)[0]);
    return route?.methods.includes(method) ? route : undefined;
  }

  return function sessionRoutesMiddleware(req, res, next) {
    const [, search = ''] = /^[^?]*\??(.*)$/s.exec(req.url ?? '/') ?? [];
    const route = routeOf(req);
    if (!route) {
      next();
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
    route.run(req, res, new URLSearchParams(search)).catch((error: unknown) => {
      // Also for an error handler that does not look at `error.headers`.
      if (error instanceof SessionUnavailableError) res.setHeader('Retry-After', error.retryAfterSeconds);
      process.nextTick(next, error);
    });
  };
}
