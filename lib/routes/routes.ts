import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

import cookieParser from 'cookie-parser';

import type { Awaitable } from '../awaitable.js';
import { refuseRequest } from '../checks.js';
import { SessionConfigError, SessionError, SessionUnavailableError } from '../errors.js';
import { getSession, offerSignIn } from '../request/attached.js';
import { clearCookie, type CookieSettings, type SetCookie, setCookie } from '../http/cookies.js';
import { isCrossSite, isPrefetch, safeReturnPath } from '../http/navigation.js';
import { forbidCaching } from '../http/response-headers.js';
import { keepCookies } from '../http/carrier.js';
import { type Config, resolveOptions } from '../options/config.js';
import { failureReason, isProviderFailure } from '../wire/failure.js';
import { pkceChallenge, type SignInRequest } from '../provider/provider.js';
import { send } from '../wire/token-endpoint.js';
import type { Middleware } from '../request/guard.js';
import { open } from '../seal/sealer.js';
import { isRecord } from '../json.js';
import type { SessionOptions } from '../options/session-options.js';

/** What a sign-in remembers until the browser comes back, sealed into a cookie of its own. */
interface Flow extends Omit<SignInRequest, 'redirectUri' | 'codeChallenge'> {
  readonly returnTo: string;
  /** Milliseconds since the epoch. */
  readonly until: number;
}

// How long a visitor may take to sign in at the provider. Seconds.
const flowSeconds = 600;

/**
 * `/login`, `/callback` and `/logout`: the authorization code flow with PKCE, state and nonce. To be mounted after
 * `withSession`, with the same options.
 *
 * @throws {SessionConfigError} with everything that is wrong with the options
 */
export function sessionRoutes(options: SessionOptions): Middleware {
  refuseRequest(options, 'sessionRoutes', 'options');
  const config = resolveOptions(options);
  const { baseUrl, loginPath, callbackPath, logoutPath, afterSignIn, afterSignOut } = config.routes;
  if (baseUrl === undefined) {
    throw new SessionConfigError([
      {
        path: 'baseUrl',
        message: 'must be the app\'s own origin, such as "https://app.example.com", for sessionRoutes.',
      },
    ]);
  }
  const redirectUri = baseUrl + callbackPath;
  const readCookies = cookieParser();

  /** What the provider is told of a sign-in, and nothing else of what is remembered of it. */
  function signInRequest({ state, nonce, codeVerifier }: Flow): SignInRequest {
    return { redirectUri, state, nonce, codeVerifier, codeChallenge: pkceChallenge(codeVerifier) };
  }

  async function logIn(req: IncomingMessage, res: ServerResponse, query: URLSearchParams): Promise<void> {
    const oauth = await import('oauth4webapi');
    const flow: Flow = {
      state: oauth.generateRandomState(),
      nonce: oauth.generateRandomNonce(),
      codeVerifier: oauth.generateRandomCodeVerifier(),
      returnTo: safeReturnPath(query.get('returnTo'), afterSignIn),
      until: Date.now() + flowSeconds * 1000,
    };
    const url = await ask(() => config.provider.authorizationUrl(signInRequest(flow)), unavailable);
    const cookie = flowCookie(config, flow.state);
    const sealed = await config.sealer.seal(flow, config.passwords);
    keepCookies(res, config.transport, 'flow', [
      { name: cookie.name, header: setCookie(encodeURIComponent(sealed), cookie) },
      ...abandonedFlows(config, req),
    ]);
    redirect(res, url);
  }

  async function callBack(req: IncomingMessage, res: ServerResponse, query: URLSearchParams): Promise<void> {
    const cookie = flowCookie(config, query.get('state') ?? '');
    const flow = await readFlow(req, res, cookie.name);
    const forget = () => {
      keepCookies(res, config.transport, 'flow', [{ name: cookie.name, header: clearCookie(cookie) }]);
    };
    // Whoever sent the browser here did not get their link from this browser's own `/login`: signing in with it
    // would put the visitor into somebody else's session.
    if (flow?.state !== query.get('state'))
      throw signInFailed('This sign-in was not begun in this browser, or too long ago.');
    try {
      // The provider's text is not ours to show: it can be anybody's who can make a link.
      if (query.has('error')) throw signInFailed('The provider did not sign you in.');
      const tokens = await exchangeCode(query, signInRequest(flow));
      await getSession(req).signIn(tokens);
    } catch (error) {
      // While the provider is away the code is still good, and a reload may try it again.
      if (!(error instanceof SessionUnavailableError)) forget();
      throw error;
    }
    forget();
    redirect(res, flow.returnTo);
  }

  async function exchangeCode(query: URLSearchParams, request: SignInRequest) {
    const refused = (error: unknown): never => {
      if (isProviderFailure(error)) return unavailable(error);
      // Without the cause: it holds the code, or the tokens.
      throw signInFailed('The answer of the provider does not belong to this sign-in.');
    };
    const codeRequest = await ask(() => config.provider.codeRequest(query, request), refused);
    const answer = await send(codeRequest, { budgetMs: config.renewal.budgetMs, mayRepeat: false });
    if (answer.kind === 'unanswered') throw new SessionUnavailableError(answer.reason);
    const { status, body, retryAfterSeconds } = answer;
    if (status === 429 || status >= 500) throw new SessionUnavailableError('server_error', retryAfterSeconds);
    if (status < 200 || status >= 300) {
      const code = body.error ?? body.code;
      // `invalid_grant` is a code used twice: the back button, or a reload. Everything else is the set-up.
      if (code === 'invalid_grant') throw signInFailed('This sign-in was already used. Begin again.');
      config.emit('configuration', {
        problem: `code exchange ${status}`,
        message: `The provider refused to exchange an authorization code, with HTTP status ${status}. Check the client's id, secret and redirect URI.`,
      });
      throw new SessionUnavailableError('provider_misconfigured');
    }
    const tokens = await ask(() => config.provider.readSignIn(body, request), refused);
    if (!tokens) throw signInFailed('The provider answered without an access token.');
    return tokens;
  }

  async function logOut(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const url = await getSession(req).signOut({ returnTo: `${config.routes.baseUrl}${afterSignOut}` });
    redirect(res, url ?? afterSignOut);
  }

  async function readFlow(req: IncomingMessage, res: ServerResponse, name: string): Promise<Flow | undefined> {
    await new Promise<void>((resolve) => {
      readCookies(req as never, res as never, () => {
        resolve();
      });
    });
    const sealed = (req as { cookies?: Record<string, unknown> }).cookies?.[name];
    if (typeof sealed !== 'string') return undefined;
    const opened = open(sealed, config.sealers, config.passwords, Date.now());
    return opened.ok && isFlow(opened.value) && Date.now() < opened.value.until ? opened.value : undefined;
  }

  return function sessionRoutesMiddleware(req, res, next) {
    offerSignIn(req, loginPath);
    const [, path = '', search = ''] = /^([^?]*)\??(.*)$/s.exec(req.url ?? '/') ?? [];
    const isRoute = path === loginPath || path === callbackPath || path === logoutPath;
    if (!isRoute || (req.method !== 'GET' && !(req.method === 'POST' && path === logoutPath))) {
      next();
      return;
    }
    forbidCaching(res);
    // The callback's address has a code in it: it is not to go on to what an error page or a redirect loads.
    res.setHeader('Referrer-Policy', 'no-referrer');
    if (isPrefetch(req)) {
      // Nobody has clicked yet. An empty answer makes the browser ask again when somebody does.
      res.statusCode = 503;
      res.end();
      return;
    }
    const query = new URLSearchParams(search);
    const work =
      path === loginPath
        ? logIn(req, res, query)
        : path === callbackPath
          ? callBack(req, res, query)
          : isCrossSite(req, baseUrl)
            ? Promise.reject(signOutRefused())
            : logOut(req, res);
    work.catch((error: unknown) => {
      // Also for an error handler that does not look at `error.headers`.
      if (error instanceof SessionUnavailableError) res.setHeader('Retry-After', error.retryAfterSeconds);
      process.nextTick(next, error);
    });
  };
}

/** One cookie for each sign-in under way, so that two tabs do not get into each other's way. */
function flowCookie({ transport: { cookie } }: Config, state: string): CookieSettings {
  const id = createHash('sha256').update(state).digest('hex').slice(0, 8);
  return {
    ...cookie,
    name: `${cookie.name}-flow-${id}`,
    sameSite: cookie.sameSite === 'none' ? 'none' : 'lax',
    maxAge: flowSeconds,
  };
}

// A browser that begins to sign in again and again would at last send more cookies than a server takes.
const maxFlows = 5;

/** Removals for what sign-ins have left behind that were not ended, once there are too many. */
function abandonedFlows({ transport: { cookie } }: Config, { headers }: IncomingMessage): SetCookie[] {
  const prefix = `${cookie.name}-flow-`;
  const names = (headers.cookie ?? '').split(';').map((pair) => pair.split('=', 1)[0]?.trim() ?? '');
  const flows = new Set(
    names.filter((name) => name.startsWith(prefix) && /^[0-9a-f]{8}$/.test(name.slice(prefix.length))),
  );
  return flows.size < maxFlows ? [] : [...flows].map((name) => ({ name, header: clearCookie({ ...cookie, name }) }));
}

function isFlow(value: unknown): value is Flow {
  return (
    isRecord(value) &&
    typeof value.until === 'number' &&
    ['state', 'nonce', 'codeVerifier', 'returnTo'].every(
      (field) => typeof value[field] === 'string' && value[field] !== '',
    )
  );
}

function redirect(res: ServerResponse, url: string): void {
  res.statusCode = 303;
  res.setHeader('Location', url);
  res.end();
}

function signInFailed(message: string): SessionError {
  return new SessionError('ERR_SESSION_SIGN_IN_FAILED', 400, message);
}

function signOutRefused(): SessionError {
  return new SessionError('ERR_SESSION_SIGN_OUT_REFUSED', 403, 'Another site asked to sign you out.');
}

/** The result of a provider's method, whether it returns a value or a promise, and throws or rejects. */
async function ask<Value>(call: () => Awaitable<Value>, failed: (error: unknown) => never): Promise<Value> {
  try {
    return await call();
  } catch (error) {
    return failed(error);
  }
}

function unavailable(error: unknown): never {
  throw new SessionUnavailableError(failureReason(error));
}
