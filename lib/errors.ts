/**
 * Every code an error of this package can carry. Match on `code`, not on the class: bundlers and duplicate
 * installations make `instanceof` unreliable.
 */
export type SessionErrorCode =
  | 'ERR_SESSION_CONFIG'
  | 'ERR_SESSION_MIDDLEWARE_MISSING'
  | 'ERR_SESSION_PROPERTY_TAKEN'
  | 'ERR_SESSION_REQUIRED'
  | 'ERR_SESSION_FORBIDDEN'
  | 'ERR_SESSION_UNAVAILABLE'
  | 'ERR_SESSION_HEADERS_SENT'
  | 'ERR_SESSION_COOKIE_TOO_LARGE'
  | 'ERR_SESSION_TOKENS_INVALID'
  | 'ERR_SESSION_SIGN_IN_FAILED'
  | 'ERR_SESSION_SIGN_OUT_REFUSED';

/**
 * An error of this package. `message` is fixed text that holds no value from a request or an option, so it may be
 * logged and, when `expose` is true, shown.
 */
export class SessionError extends Error {
  /** Stable name of what happened. */
  readonly code: SessionErrorCode;
  /** HTTP status for Express's and Connect's error handling. */
  readonly status: number;
  readonly statusCode: number;
  /** Whether `message` may be sent to the browser: only for 4xx, as `http-errors` has it. */
  readonly expose: boolean;
  /** Response headers that belong to the error; Express's and Connect's final handlers send them. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    code: SessionErrorCode,
    status: number,
    message: string,
    { headers = {}, cause }: { headers?: Record<string, string>; cause?: unknown } = {},
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    this.status = status;
    this.statusCode = status;
    this.expose = status < 500;
    this.headers = headers;
  }
}

/** One thing wrong with the options: where (`provider.clientId`) and what to do about it, never the value. */
export interface ConfigProblem {
  readonly path: string;
  readonly message: string;
}

/** The options cannot work. Thrown while the app starts, with every problem at once. */
export class SessionConfigError extends SessionError {
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[], code: SessionErrorCode = 'ERR_SESSION_CONFIG') {
    const lines = problems.map(({ path, message }) => `"${path}" ${message}`);
    super(
      code,
      500,
      lines.length === 1
        ? `express-sealed-session: ${lines.join()}`
        : `express-sealed-session:\n- ${lines.join('\n- ')}`,
    );
    this.problems = problems;
  }
}

/** 401: this route needs a signed-in visitor. `reason` says why the visitor is not one. */
export class SessionRequiredError extends SessionError {
  readonly reason: string;

  constructor(reason: string) {
    super('ERR_SESSION_REQUIRED', 401, 'Sign in to continue.');
    this.reason = reason;
  }
}

/** 403: signed in, but without what the route's rule asks for. `missing` names the part of the rule. */
export class SessionForbiddenError extends SessionError {
  readonly missing: string;

  constructor(missing: string) {
    super('ERR_SESSION_FORBIDDEN', 403, 'You are signed in, but may not do this.');
    this.missing = missing;
  }
}

/** When to come back, where the provider does not say. */
export const defaultRetryAfterSeconds = 5;

/** 503: whether the visitor is signed in cannot be known right now. Never a sign-out: the cookie is kept. */
export class SessionUnavailableError extends SessionError {
  readonly reason: string;
  readonly retryAfterSeconds: number;

  constructor(reason: string, retryAfterSeconds = defaultRetryAfterSeconds) {
    super('ERR_SESSION_UNAVAILABLE', 503, 'The session cannot be checked right now. Try again shortly.', {
      headers: { 'Retry-After': String(retryAfterSeconds) },
    });
    this.reason = reason;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}
