import type { FinalReason, RetryableReason } from './session/reasons.js';
import type { SignInCheck } from './session/sign-in-check.js';

/**
 * Every code an error of this package can carry. Match on `code`, not on the class: bundlers and duplicate
 * installations make `instanceof` unreliable.
 */
export type SessionErrorCode = AnySessionError['code'];

/**
 * An error of this package. `message` is fixed text that holds no value from a request or an option, so it may be
 * logged and, when `expose` is true, shown.
 */
export abstract class SessionError extends Error {
  /** Stable name of what happened. */
  abstract readonly code: string;
  /** HTTP status for Express's and Connect's error handling. */
  readonly status: number;
  /** The same, under the name that Connect reads. */
  readonly statusCode: number;
  /** Whether `message` may be sent to the browser: only for 4xx, as `http-errors` has it. */
  readonly expose: boolean;
  /** Response headers that belong to the error; Express's and Connect's final handlers send them. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.status = status;
    this.statusCode = status;
    this.expose = status < 500;
    this.headers = headers;
  }
}

/** One thing wrong with the options: where (`provider.clientId`) and what to do about it, never the value. */
export interface ConfigProblem {
  /** The path of the option: `provider.clientId`. */
  readonly path: string;
  /** What is wrong and what to do, as the end of a sentence that begins with the path. */
  readonly message: string;
}

/** The options cannot work, or a middleware is missing. Thrown while the app starts, with every problem at once. */
export class SessionConfigError extends SessionError {
  // Names are literals: a minifier renames the class.
  /** The name of the class. Match on `code`. */
  override readonly name = 'SessionConfigError';
  readonly code: 'ERR_SESSION_CONFIG' | 'ERR_SESSION_MIDDLEWARE_MISSING' | 'ERR_SESSION_PROPERTY_TAKEN';
  /** Everything that is wrong, each by its option path. */
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[], code: SessionConfigError['code'] = 'ERR_SESSION_CONFIG') {
    const lines = problems.map(({ path, message }) => `"${path}" ${message}`);
    super(
      500,
      lines.length === 1
        ? `express-sealed-session: ${lines.join()}`
        : `express-sealed-session:\n- ${lines.join('\n- ')}`,
    );
    this.code = code;
    this.problems = problems;
  }
}

/** 401: this route needs a signed-in visitor. `reason` says why the visitor is not one. */
export class SessionRequiredError extends SessionError {
  /** The name of the class. Match on `code`. */
  override readonly name = 'SessionRequiredError';
  readonly code = 'ERR_SESSION_REQUIRED';
  /** Why nobody is signed in. */
  readonly reason: FinalReason;

  constructor(reason: FinalReason, headers: Readonly<Record<string, string>> = {}) {
    super(401, 'Sign in to continue.', headers);
    this.reason = reason;
  }
}

/** A form with which the visitor can switch the organization: a POST to `path`, with the other two as its fields. */
export interface SwitchOffer {
  /** Where the form is sent: `routes.organization`. */
  readonly path: string;
  /** The organization that would let the visitor in, as the field `organization_id`. */
  readonly organizationId: string;
  /** Where the visitor comes back to, as the field `returnTo`. */
  readonly returnTo: string;
}

interface ForbiddenDetails {
  readonly switchOffer?: SwitchOffer | undefined;
  readonly signInUrl?: string | undefined;
}

/** 403: signed in, but without what the route's rule asks for. `demand` names the part of the rule. */
export class SessionForbiddenError extends SessionError {
  /** The name of the class. Match on `code`. */
  override readonly name = 'SessionForbiddenError';
  readonly code = 'ERR_SESSION_FORBIDDEN';
  /** The part of the rule that is not met, such as `permissions`. */
  readonly demand: string;
  /** What a form of the app's own page could switch to, where the organization is what is missing. */
  readonly switchOffer: SwitchOffer | undefined;
  /** Where the browser takes the step that the provider asks for before it switches. */
  readonly signInUrl: string | undefined;

  constructor(demand: string, { switchOffer, signInUrl }: ForbiddenDetails = {}) {
    super(403, 'You are signed in, but may not do this.');
    this.demand = demand;
    this.switchOffer = switchOffer;
    this.signInUrl = signInUrl;
  }
}

/** 403: a page of another origin has sent a request that could change something. It comes without the session. */
export class SessionCrossOriginError extends SessionError {
  /** The name of the class. Match on `code`. */
  override readonly name = 'SessionCrossOriginError';
  readonly code = 'ERR_SESSION_CROSS_ORIGIN';

  constructor() {
    super(403, 'Another site has sent this request.');
  }
}

/** What a step-up asks of a sign-in. */
export interface StepUpDetails {
  readonly maxAuthAgeSeconds?: number | undefined;
  readonly acrValues?: readonly string[] | undefined;
}

/** 401: signed in, but too long ago or not in the way that the route's rule asks for (RFC 9470). */
export class SessionStepUpError extends SessionError {
  /** The name of the class. Match on `code`. */
  override readonly name = 'SessionStepUpError';
  readonly code = 'ERR_SESSION_STEP_UP_REQUIRED';
  /** The part of the rule. */
  readonly demand: string;
  /** How recently the visitor must have signed in, in seconds. */
  readonly maxAuthAgeSeconds: number | undefined;
  /** The `acr` values of which the session must have one. */
  readonly acrValues: readonly string[] | undefined;

  constructor(demand: string, { maxAuthAgeSeconds, acrValues }: StepUpDetails = {}) {
    const description = 'Sign in again to continue.';
    const wanted = [
      'error="insufficient_user_authentication"',
      `error_description="${description}"`,
      ...(maxAuthAgeSeconds === undefined ? [] : [`max_age="${maxAuthAgeSeconds}"`]),
      ...(acrValues === undefined ? [] : [`acr_values="${acrValues.join(' ')}"`]),
    ];
    super(401, description, { 'WWW-Authenticate': `Bearer ${wanted.join(', ')}` });
    this.demand = demand;
    this.maxAuthAgeSeconds = maxAuthAgeSeconds;
    this.acrValues = acrValues;
  }
}

/** When to come back, where the provider does not say. */
export const defaultRetryAfterSeconds = 5;

/** What is known of why a session could not be checked. Codes and numbers only: a provider's prose may hold a secret. */
export interface WhyUnavailable {
  /** When the provider wants to be asked again. */
  readonly retryAfterSeconds?: number | undefined;
  /** The HTTP status of its answer, where there was one. */
  readonly status?: number | undefined;
  /** The registered error code of its answer; the system's code where there was none, such as `ECONNREFUSED`. */
  readonly error?: string | undefined;
}

/** The `cause` of a 503: what the provider answered, or why it did not. */
export class ProviderUnavailableError extends Error {
  /** The name of the class. Match on `code`. */
  override readonly name = 'ProviderUnavailableError';
  /** Why it could not be asked. */
  readonly reason: RetryableReason;
  /** The HTTP status of the answer, where there was one. */
  readonly status: number | undefined;
  /** The registered OAuth error code, or the system's code. */
  readonly error: string | undefined;

  constructor(reason: RetryableReason, { status, error }: WhyUnavailable) {
    const known = [
      reason,
      ...(status === undefined ? [] : [`status ${status}`]),
      ...(error === undefined ? [] : [error]),
    ];
    super(`The provider could not be asked: ${known.join(', ')}.`);
    this.reason = reason;
    this.status = status;
    this.error = error;
  }
}

/** 503: whether the visitor is signed in cannot be known right now. Never a sign-out: the cookie is kept. */
export class SessionUnavailableError extends SessionError {
  /** The name of the class. Match on `code`. */
  override readonly name = 'SessionUnavailableError';
  readonly code = 'ERR_SESSION_UNAVAILABLE';
  /** Why it cannot be known now. */
  readonly reason: RetryableReason;
  /** When to come back, in seconds, as `Retry-After` says. */
  readonly retryAfterSeconds: number;
  /** What the provider answered, or why it did not. For logs: it holds codes only. */
  override readonly cause: ProviderUnavailableError;

  constructor(reason: RetryableReason, why: WhyUnavailable = {}) {
    const { retryAfterSeconds = defaultRetryAfterSeconds } = why;
    super(503, 'The session cannot be checked right now. Try again shortly.', {
      'Retry-After': String(retryAfterSeconds),
    });
    this.reason = reason;
    this.retryAfterSeconds = retryAfterSeconds;
    this.cause = new ProviderUnavailableError(reason, why);
  }
}

/** Why a sign-in did not end in a session. */
export type SignInFailure =
  /** This browser has begun no such sign-in. */
  | 'flow_missing'
  /** This browser has begun it too long ago. */
  | 'flow_expired'
  /** The sign-in of this browser is another one, or was begun for another provider or address. */
  | 'state_mismatch'
  /** The provider sent an error in place of a code. */
  | 'provider_error'
  /** The code was used before: the back button, or a reload. */
  | 'code_spent'
  /** The provider refused to exchange the code. */
  | 'exchange_refused'
  /** The provider's answer does not belong to this sign-in, or is not whole. */
  | 'check_failed'
  /** The provider could not be asked. The visitor is answered 503. */
  | 'provider_unavailable'
  /** The provider signed in to another organization than the one that was asked for. */
  | 'other_organization'
  /** The visitor has not given proof of who they are as recently as was asked for. */
  | 'not_recent'
  /** The app's own `onSignIn` has thrown. */
  | 'hook_failed';

const signInMessages = {
  flow_missing: 'This sign-in was not begun in this browser, or too long ago.',
  flow_expired: 'This sign-in was begun too long ago.',
  state_mismatch: 'This sign-in belongs to another one.',
  provider_error: 'The provider did not sign you in.',
  code_spent: 'This sign-in was already used. Begin again.',
  exchange_refused: 'The provider did not finish this sign-in.',
  provider_unavailable: 'The provider cannot be asked right now.',
  check_failed: 'The answer of the provider does not belong to this sign-in.',
  other_organization: 'The provider signed you in to another organization.',
  not_recent: 'The provider did not ask you to sign in anew.',
  hook_failed: 'The app did not accept this sign-in.',
} satisfies Record<SignInFailure, string>;

/** What is known of a sign-in that failed, and what an app needs to offer another attempt. */
export interface SignInErrorDetails {
  readonly status?: number | undefined;
  readonly providerError?: string | undefined;
  readonly check?: SignInCheck | undefined;
  readonly returnTo?: string | undefined;
  readonly signInPath?: string | undefined;
}

/** 400: a sign-in that did not end in a session. `failure` says why. 503 where the provider says to try again. */
export class SessionSignInError extends SessionError {
  /** The name of the class. Match on `code`. */
  override readonly name = 'SessionSignInError';
  readonly code = 'ERR_SESSION_SIGN_IN_FAILED';
  /** Why it did not end in a session. */
  readonly failure: SignInFailure;
  /** The provider's error, where it sent one: a registered code, or `other`. Never its text. */
  readonly providerError: string | undefined;
  /** The check that failed. */
  readonly check: SignInCheck | undefined;
  /** Where the visitor was going: a path of the app. */
  readonly returnTo: string;
  /** Where another attempt begins: a path of the app, which takes `?returnTo=`. */
  readonly signInPath: string;

  constructor(failure: SignInFailure, details: SignInErrorDetails = {}) {
    const { status = 400, providerError, check, returnTo = '/', signInPath = '/' } = details;
    super(status, signInMessages[failure], status === 503 ? { 'Retry-After': String(defaultRetryAfterSeconds) } : {});
    this.failure = failure;
    this.providerError = providerError;
    this.check = check;
    this.returnTo = returnTo;
    this.signInPath = signInPath;
  }
}

/** A call that cannot be done as it was made. `message` says what to change. */
export class SessionUseError extends SessionError {
  /** The name of the class. Match on `code`. */
  override readonly name = 'SessionUseError';
  readonly code:
    | 'ERR_SESSION_HEADERS_SENT'
    | 'ERR_SESSION_COOKIE_TOO_LARGE'
    | 'ERR_SESSION_TOKENS_INVALID'
    | 'ERR_SESSION_SIGN_OUT_REFUSED'
    | 'ERR_SESSION_ORGANIZATION_MISSING'
    | 'ERR_SESSION_UNKNOWN_HOST'
    | 'ERR_SESSION_NO_COOKIE'
    | 'ERR_SESSION_API_KEY_RESULT';

  constructor(code: SessionUseError['code'], message: string, status = 500) {
    super(status, message);
    this.code = code;
  }
}

/** Every error of this package: a union by `code`, so that a `switch` knows each code's fields. */
export type AnySessionError =
  | SessionConfigError
  | SessionRequiredError
  | SessionForbiddenError
  | SessionStepUpError
  | SessionCrossOriginError
  | SessionUnavailableError
  | SessionSignInError
  | SessionUseError;

/**
 * Whether an error is one of this package, also one of a second copy of it.
 *
 * @example
 * app.use((error, req, res, next) => {
 *   if (isSessionError(error) && error.code === 'ERR_SESSION_FORBIDDEN') res.status(403).send(error.demand);
 *   else next(error);
 * });
 */
export function isSessionError(error: unknown): error is AnySessionError {
  return error instanceof Error && /^ERR_SESSION_[A-Z_]+$/.test(String((error as { code?: unknown }).code));
}
