import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

import { callable, type Checks, optional, readOptions } from '../checks.js';
import {
  type AnySessionError,
  isSessionError,
  SessionConfigError,
  type SessionSignInError,
  type SwitchOffer,
} from '../errors.js';
import type { Next } from '../http/middleware.js';
import { opensPage } from '../http/navigation.js';
import { forbidCaching } from '../http/response-headers.js';
import type { ErrorPageWords } from '../options/session-options.js';

/** An error handler of Express and Connect, which know one by its four parameters. */
export type ErrorMiddleware = (error: unknown, req: IncomingMessage, res: ServerResponse, next: Next) => void;

/** How `sessions.errorHandler()` answers. */
export interface ErrorHandlerOptions {
  /**
   * The page for people, as HTML: escape what you put into it. Default: a plain page with the words of
   * `signIn.errorPage`.
   */
  readonly page?: ((error: AnySessionError, req: IncomingMessage) => string) | undefined;
}

const checks: Checks<ErrorHandlerOptions> = { page: optional(callable) };

/**
 * Answers the errors of this package: a plain page for people, problem details (RFC 9457) for everybody else. All other
 * errors go on.
 *
 * @param words of the page; `false` for no page
 * @throws {SessionConfigError} for wrong options, as in `app.use(sessions.errorHandler)` without the call
 */
export function errorHandler(words: false | ErrorPageWords, options: ErrorHandlerOptions = {}): ErrorMiddleware {
  const { given, problems } = readOptions<ErrorHandlerOptions>('errorHandler', options, checks);
  if (problems.length > 0) throw new SessionConfigError(problems);
  const pageOf = given.page ?? (words === false ? undefined : (error: AnySessionError) => plainPage(error, words));
  const { demands = {} } = words || {};

  return function sessionErrorHandler(error, req, res, next) {
    const isPage = opensPage(req);
    if (res.headersSent || !isSessionError(error) || (isPage && !pageOf)) {
      next(error);
      return;
    }
    // First of all: the app's function may throw.
    const page = isPage ? pageOf?.(error, req) : undefined;
    // The answer is about this visitor, and this moment.
    forbidCaching(res);
    res.statusCode = error.status;
    for (const [name, value] of Object.entries(error.headers)) res.setHeader(name, value);
    res.setHeader('X-Content-Type-Options', 'nosniff');
    if (page === undefined) {
      sendProblem(res, error, wordsFor(error, demands));
      return;
    }
    // The app's own page has its own styles.
    if (!given.page) res.setHeader('Content-Security-Policy', plainPolicy);
    res.setHeader('Content-Type', 'text/html; charset=utf-8');
    // Without one, the browser would not say that a form on the page is the app's own.
    res.setHeader('Referrer-Policy', offerOf(error) ? 'same-origin' : 'no-referrer');
    res.end(page);
  };
}

/** The message where it is meant for browsers, else a sentence that says nothing of the set-up. */
function textOf({ expose, message, status }: AnySessionError): string {
  if (expose) return message;
  return status === 503 ? 'This cannot be done right now. Try again shortly.' : 'Something went wrong.';
}

/** What the app says of the demand that was not met. */
function wordsFor(error: AnySessionError, demands: Readonly<Record<string, string>>): string | undefined {
  if (!('demand' in error) || !Object.hasOwn(demands, error.demand)) return undefined;
  return demands[error.demand];
}

function sendProblem(res: ServerResponse, error: AnySessionError, detail: string | undefined): void {
  const { status, code } = error;
  const demand = 'demand' in error ? { demand: error.demand } : {};
  const signInUrl = 'signInUrl' in error && error.signInUrl !== undefined ? { signInUrl: error.signInUrl } : {};
  const problem = {
    type: 'about:blank',
    status,
    title: textOf(error),
    ...(detail !== undefined && { detail }),
    code,
    ...demand,
    ...signInUrl,
  };
  res.setHeader('Content-Type', 'application/problem+json');
  res.end(JSON.stringify(problem));
}

const style =
  ':root{color-scheme:light dark}body{margin:0;font:1.125rem/1.5 system-ui,sans-serif}main{max-width:32rem;' +
  'margin:20vh auto;padding:0 1.5rem}h1{font-size:1.5rem;line-height:1.25}a,button{display:inline-block;padding:.625rem 1rem;' +
  'border:1px solid;border-radius:.375rem;color:inherit}button{font:inherit;background:none;cursor:pointer}:focus-visible{outline:3px solid;outline-offset:2px}';
const styleHash = createHash('sha256').update(style).digest('base64');
const plainPolicy = `default-src 'none'; style-src 'sha256-${styleHash}'; frame-ancestors 'none'`;

function plainPage(error: AnySessionError, words: ErrorPageWords): string {
  const { lang = 'en', retry = 'Try again', switchOrganization = 'Switch organization' } = words;
  const offer = offerOf(error);
  const form = offer ? switchForm(offer, switchOrganization) : '';
  const isSignIn = error.code === 'ERR_SESSION_SIGN_IN_FAILED';
  const title = words.title ?? (isSignIn || error.status === 401 ? 'You are not signed in' : 'This did not work');
  const text = wordsFor(error, words.demands ?? {}) ?? words.text ?? textOf(error);
  const again = isSignIn ? retryPath(error) : undefined;
  const link = again === undefined ? '' : `<p><a href="${escaped(again)}">${escaped(retry)}</a></p>`;
  return (
    `<!doctype html><html lang="${escaped(lang)}"><head><meta charset="utf-8">` +
    '<meta name="viewport" content="width=device-width, initial-scale=1">' +
    `<title>${escaped(title)}</title><style>${style}</style></head>` +
    `<body><main><h1>${escaped(title)}</h1><p>${escaped(text)}</p>${link}${form}</main></body></html>\n`
  );
}

function offerOf(error: AnySessionError): SwitchOffer | undefined {
  return error.code === 'ERR_SESSION_FORBIDDEN' ? error.switchOffer : undefined;
}

function switchForm({ path, organizationId, returnTo }: SwitchOffer, label: string): string {
  const field = (name: string, value: string) => `<input type="hidden" name="${name}" value="${escaped(value)}">`;
  const fields = field('organization_id', organizationId) + field('returnTo', returnTo);
  return `<form method="post" action="${escaped(path)}">${fields}<button>${escaped(label)}</button></form>`;
}

/** Where the visitor begins again. An error of another copy of this package may not say. */
function retryPath({ signInPath, returnTo }: SessionSignInError): string {
  return `${signInPath}?returnTo=${encodeURIComponent(returnTo)}`;
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => entities[sign] ?? '');
}
