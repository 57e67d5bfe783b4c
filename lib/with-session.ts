import type { IncomingMessage } from 'node:http';

import { refuseRequest } from './checks.js';
import { httpCarrier } from './http/carrier.js';
import type { Middleware } from './http/middleware.js';
import { createLifecycle } from './lifecycle.js';
import { managerOf, type SessionManager } from './loaded-session.js';
import type { Config } from './options/config.js';
import type { GuardOptions, Rules } from './options/rule.js';
import type { SessionOptions } from './options/session-options.js';
import { sessionActions } from './request/actions.js';
import { sessionIfAny, sessionOf } from './request/attached.js';
import { bearerSessions } from './request/bearer.js';
import { requireSameOrigin } from './request/cross-origin.js';
import { deviceGate } from './request/device.js';
import { guard } from './request/guard.js';
import { judgeBy, whyNobody } from './request/judge.js';
import { sealPlacer } from './request/put-seal.js';
import type { Session, SignedInSession } from './request/session.js';
import type { Mount, RequestSession } from './request/session-object.js';
import { visitMiddleware } from './request/visit.js';
import { replaceable } from './replaceable.js';
import { type ErrorHandlerOptions, type ErrorMiddleware, errorHandler } from './routes/error-page.js';
import { sessionRoutes } from './routes/routes.js';
import type { SessionUser, User } from './session/payload.js';

/** The sessions of an app: a middleware, with everything else on it. It is the only place where the options live. */
export interface Sessions<U extends User = SessionUser> extends Middleware, SessionManager<U> {
  /**
   * `/login`, `/callback` and `/logout`: the authorization code flow with PKCE, state and nonce. To be mounted after the
   * middleware, and before a parser of bodies.
   *
   * @throws {SessionConfigError} without a `baseUrl`
   * @example
   * app.use(sessions, sessions.routes());
   */
  routes(): Middleware;
  /**
   * A guard. Signed in and within the rule, the route runs. A visitor who opens a page without being signed in goes to
   * sign in, where the routes are in use; all others get 401. Outside the rule: 403. Not known now: 503 with `Retry-After`.
   *
   * @throws {SessionConfigError} when the rule cannot be one
   * @example
   * app.get('/invoices', sessions.require({ permissions: 'billing:read' }), listInvoices);
   */
  require(rule?: Rules<U>, options?: GuardOptions): Middleware;
  /**
   * The session of these sessions on a request, and of no others.
   *
   * @throws {SessionConfigError} `ERR_SESSION_MIDDLEWARE_MISSING` when the middleware has not run for this request
   * @example
   * const session = sessions.get(req);
   * if (session.authenticated) console.log(session.user.id);
   */
  get(req: IncomingMessage): Session<U>;
  /**
   * The same, where a visitor must be signed in.
   *
   * @throws {SessionRequiredError | SessionUnavailableError} as the guard does
   * @example
   * app.get('/account', sessions.require(), (req, res) => res.send(sessions.signedIn(req).user.id));
   */
  signedIn(req: IncomingMessage): SignedInSession<U>;
  /**
   * Whether a request may pass, for GraphQL contexts and guards of other frameworks. It writes nothing and redirects
   * nowhere.
   *
   * @returns the signed-in session; rejects with the guard's error
   * @example
   * const session = await sessions.authorize(req, { roles: 'admin' });
   */
  authorize(req: IncomingMessage, rule?: Rules<U>): Promise<SignedInSession<U>>;
  /**
   * Refuses with 403 the unsafe requests (all but `GET`, `HEAD` and `OPTIONS`) that a page of another origin has sent, also
   * on routes that ask for no session: a sign-in form of your own, or a vote without an account. It needs no session.
   *
   * @example
   * app.post('/sign-in', sessions.requireSameOrigin(), signInWithPassword);
   */
  requireSameOrigin(): Middleware;
  /**
   * Answers this package's errors, to be mounted last: a plain page with a link to try again for people, problem details
   * (RFC 9457) for everybody else. All other errors go on to the next error handler. The words are `signIn.errorPage`.
   *
   * @example
   * app.use(sessions.errorHandler());
   * app.use(sessions.errorHandler({ page: (error) => `<h1>${error.status}</h1>` }));
   */
  errorHandler(options?: ErrorHandlerOptions): ErrorMiddleware;
}

/**
 * The sessions of an app. What is returned is the middleware: the session cookie is unsealed, its access token checked,
 * an expired one refreshed, and the new cookie put on the response, all before the next handler runs.
 *
 * @throws {SessionConfigError} with everything that is wrong with the options
 * @example
 * const sessions = withSession({
 *   provider: workos({ clientId: process.env.WORKOS_CLIENT_ID, apiKey: process.env.WORKOS_API_KEY }),
 *   password: process.env.SESSION_PASSWORD,
 *   baseUrl: 'https://app.example.com',
 * });
 * app.use(sessions, sessions.routes());
 * app.get('/account', sessions.require(), handler);
 */
export function withSession<U extends User = SessionUser>(options: SessionOptions<U>): Sessions<U> {
  return replaceable(options, 'withSession', assemble) as unknown as Sessions<U>;
}

/** Puts the parts together. */
function assemble(config: Config): Sessions {
  const life = createLifecycle(config.life);
  const carrier = httpCarrier(config.carrier);
  const seals = sealPlacer(life, carrier);
  const { property, required } = config.mount;
  const actions = sessionActions(life, carrier, seals);
  const bearer = bearerSessions(life, config.life, config.bearer);
  const mount: Mount = {
    property,
    providerId: config.life.provider.id,
    provider: config.life.provider,
    clockToleranceSeconds: config.life.clockToleranceSeconds,
    cookieName: config.carrier.cookie.name,
    fleet: config.mount.fleet,
    actions,
    via: carrier.via,
    takesTokens: bearer !== undefined,
    signIn: undefined,
  };
  const device = config.device && deviceGate(config.device, { mount, carrier, emit: life.emit });
  if (device) mount.isProven = device.isProven;
  const find = (req: IncomingMessage) => sessionOf(req, mount);

  const middleware = visitMiddleware({
    life,
    carrier,
    seals,
    mount,
    settings: config.visit,
    bearer,
    guard: required && guard(find, required, {}, mount),
    device,
  });

  const members: Omit<Sessions, keyof SessionManager> = {
    routes: (...given: unknown[]) => {
      refuseRequest(given[0], 'sessions.routes', '');
      return sessionRoutes({
        life,
        mount,
        find,
        actions,
        carrier: config.carrier,
        seals: config.life.seals,
        placer: seals,
        device: config.device,
        settings: config.routes,
        provider: config.life.provider,
        coordinator: config.life.fleet.coordinator,
        timeoutMs: config.life.refresh.timeoutMs,
        clockToleranceSeconds: config.life.clockToleranceSeconds,
      });
    },
    errorHandler: (options) => errorHandler(config.routes.errorPage, options),
    require: (rule, guardOptions) => {
      refuseRequest(rule, 'sessions.require', '');
      return guard(find, rule, guardOptions, mount);
    },
    requireSameOrigin: (...given: unknown[]) => {
      refuseRequest(given[0], 'sessions.requireSameOrigin', '');
      return requireSameOrigin(config.visit.crossOriginHeader, (req) => sessionIfAny(req, mount));
    },
    get: (req) => find(req) as unknown as Session,
    signedIn: (req) => {
      const session = find(req);
      return allowed(session, whyNobody(session));
    },
    // Async, so that a rule that cannot be one is a rejection too.
    authorize: async (req, rule = {}) => {
      const session = find(req);
      return allowed(session, (await judgeBy(rule, mount)(session, req))?.error);
    },
  };
  return Object.assign(middleware, members, managerOf(life, config.device));
}

/** The session, if it may pass. */
function allowed(session: RequestSession, error: Error | undefined): SignedInSession {
  if (error) throw error;
  return session as unknown as SignedInSession;
}
