import type { Reason, RetryableReason, TerminalReason } from './session/payload.js';

/** Where a refreshed session came from. */
export type RefreshSource =
  /** This request ran the refresh grant. */
  | 'leader'
  /** It waited for the grant that another request was running. */
  | 'joined'
  /** It came with the old cookie after the grant had ended. */
  | 'remembered'
  /** Another process of the fleet ran the grant. */
  | 'fleet';

/** What the package tells the app, by event name. No event carries a cookie, token, code, key or password. */
export interface SessionEvents {
  /** A request was given new tokens. */
  refreshed: {
    readonly sessionId: string | undefined;
    readonly organizationId: string | undefined;
    readonly source: RefreshSource;
    /** Whether the old access token was still valid. */
    readonly ahead: boolean;
    readonly durationMs: number;
  };
  /** A refresh did not end in new tokens. */
  refreshFailed:
    | { readonly kind: 'terminal'; readonly sessionId: string | undefined; readonly reason: TerminalReason }
    | {
        readonly kind: 'transient';
        readonly sessionId: string | undefined;
        readonly reason: RetryableReason;
        readonly retryAfterSeconds: number | undefined;
      };
  /** A cookie or its access token was not accepted. `detail` is for operators: a `SealProblem`, or what was wrong. */
  rejected: { readonly reason: Reason; readonly detail: string };
  /** Refreshes are coordinated within this process only (the fleet's store is away), or in the fleet again. */
  coordination: { readonly scope: 'process' | 'fleet' };
  /** A session was written to the client: how many bytes of headers, in how many cookies. */
  written: { readonly sessionId: string | undefined; readonly bytes: number; readonly pieces: number };
  /** A cookie was opened with a password that is not the newest: once these stop, the old one can go. */
  oldPassword: { readonly passwordId: string };
  /** Something about the set-up is wrong and shows only at work. Told once per problem. */
  configuration: { readonly problem: string; readonly message: string };
  signedIn: { readonly sessionId: string | undefined };
  signedOut: { readonly sessionId: string | undefined };
}

export type EventCallbacks = {
  readonly [Name in keyof SessionEvents]?: ((event: SessionEvents[Name]) => unknown) | undefined;
};

export type Emit = <Name extends keyof SessionEvents>(name: Name, event: SessionEvents[Name]) => void;

const emitters = new WeakMap<object, Emit>();

/**
 * One emitter for the middlewares of an app, so that they tell a thing once between them: they share their callbacks,
 * or without any their provider.
 */
export function emitterFor(callbacks: EventCallbacks | undefined, provider: object): Emit {
  const shared = callbacks ?? provider;
  const emit = emitters.get(shared) ?? emitter({ ...callbacks });
  emitters.set(shared, emit);
  return emit;
}

/** Calls the app's callbacks. What they throw or reject is a warning, never the outcome of a request. */
function emitter(callbacks: EventCallbacks): Emit {
  const toldProblems = new Set<string>();

  const warn = (message: string, code: string) => {
    process.emitWarning(message, { type: 'SessionWarning', code });
  };
  const callbackFailed = (name: string) => {
    warn(`The "events.${name}" callback failed. The request went on without it.`, 'WARN_SESSION_EVENT_CALLBACK');
  };

  return (name, event) => {
    if (name === 'configuration') {
      const { problem, message } = event as SessionEvents['configuration'];
      if (toldProblems.has(problem)) return;
      toldProblems.add(problem);
      if (!callbacks.configuration) warn(message, 'WARN_SESSION_CONFIGURATION');
    }
    try {
      const result = callbacks[name]?.(event);
      Promise.resolve(result).catch(() => {
        callbackFailed(name);
      });
    } catch {
      callbackFailed(name);
    }
  };
}
