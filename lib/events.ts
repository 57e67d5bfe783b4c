import type { SignInFailure } from './errors.js';
import type { EndCause, Ended } from './session/ended.js';
import type { NoticeCheck } from './session/notice-check.js';
import type { Reason, RefreshSource, RejectedDetail, RetryableReason } from './session/reasons.js';
import type { SignInCheck } from './session/sign-in-check.js';

/** What can be wrong with the set-up and shows only at work. */
export type Misconfiguration =
  /** The cookie travels without `Secure`. */
  | 'insecure_cookie'
  /** A handler meant a response that carries a session for shared caches. */
  | 'shared_cache'
  /** The provider refused to exchange an authorization code. */
  | 'code_exchange'
  /** The access tokens have another issuer than the options ask for. */
  | 'issuer'
  /** The access tokens are for another audience or client than the options ask for. */
  | 'audience'
  /** Seals of another provider come under this cookie name: give each provider a `cookie.name` of its own. */
  | 'other_provider'
  /** The provider object gives no usable rules for its access tokens. */
  | 'provider'
  /** The session does not fit into cookies. */
  | 'cookie_too_large'
  /** The provider refuses the client, or its address is wrong: no session is refreshed. */
  | 'refresh_grant'
  /** The provider's metadata cannot be had, or cannot be used. `cause` says why. */
  | 'metadata'
  /** The metadata demands something that is not built here. `cause` says what. */
  | 'unsupported'
  /** The access tokens are JWTs that are not meant for this app. They count as opaque. */
  | 'access_token_not_ours'
  /** The sign-in brought no refresh token: sessions end with their access token. */
  | 'no_refresh_token'
  /** Refreshes bring no ID token: what guards read of it is as old as the sign-in. */
  | 'old_claims'
  /** The userinfo endpoint did not answer: the ID token alone is the user. */
  | 'userinfo'
  /** A handler has removed the session cookie itself, and the session goes on: `signOut()` ends it. */
  | 'cookie_cleared'
  /** What has ended in the fleet could not be read in time after the start. */
  | 'endings_unread'
  /** A parser of the app has read the body of a webhook before it could be verified. */
  | 'body_parsed_before_webhook';

/** Which session an event is about. */
interface About {
  readonly sessionId: string | undefined;
}

/** What every event has. */
export interface Counted {
  /**
   * For how many events this one stands, where it is more than itself: no visitor can fill a log. Of a kind, at
   * most 30 are told in a minute, and 100 of one session.
   */
  readonly count?: number;
}

/**
 * What the package tells the app, by event name: each a past participle. No event carries a cookie, token, code, key
 * or password. `reason` is a `Reason` wherever it stands. Each is published on `node:diagnostics_channel` too, on
 * `express-sealed-session:` and its name.
 */
export interface SessionEvents {
  /** Somebody has signed in. */
  signedIn: About & { readonly userId: string };
  /** A browser came to the callback, and no sign-in came of it. */
  signInFailed: {
    readonly failure: SignInFailure;
    /** The registered error code of the provider, where it gave one. */
    readonly providerError?: string | undefined;
    /** What did not hold, or why the provider could not be asked. */
    readonly check?: SignInCheck | RetryableReason | undefined;
    /** Whether the sign-in was begun again by itself. */
    readonly restarted: boolean;
  };
  /** A request was given new tokens. */
  refreshed: About & {
    readonly organizationId: string | undefined;
    readonly source: RefreshSource;
    /** Whether the old access token was still valid. */
    readonly ahead: boolean;
    readonly durationMs: number;
  };
  /** A refresh did not end in new tokens. `retryable`: the session may be good, and its cookie is kept. */
  refreshFailed: About & {
    readonly reason: Reason;
    readonly retryable: boolean;
    /** When the provider wants to be asked again. */
    readonly retryAfterSeconds?: number | undefined;
    /** The HTTP status of the answer, where there was one. */
    readonly status?: number | undefined;
    /** The registered OAuth error code of the answer, or the system's code where there was none. */
    readonly error?: string | undefined;
  };
  /**
   * A visitor who came with a session is not signed in, or the session cannot be judged now. Failed refreshes are told by
   * `refreshFailed`.
   */
  rejected: Partial<About> & {
    readonly reason: Reason;
    /** What exactly was wrong. For operators: a browser is told the reason only. */
    readonly detail: RejectedDetail;
    /** Why the key set could not be had: the system's code, or a word such as `http_404`. */
    readonly error?: string | undefined;
  };
  /** Requests came without a session cookie. Told once a minute at most. */
  cookieMissed: {
    /** How many, since it was told last. */
    readonly requests: number;
    /** How many of them brought other cookies: the browser keeps cookies of this host, and ours is not among them. */
    readonly withOtherCookies: number;
  };
  /** Somebody has signed out. */
  signedOut: About;
  /** Sessions have ended, in this process or by its doing. A sign-out of one session is `signedOut`. */
  ended: Ended & { readonly cause: EndCause };
  /**
   * An old seal has come although a browser has had its successor for longer than `graceSeconds`: a copy, or a browser that
   * came back after a crash. Once for each refresh token.
   */
  replayed: About & {
    /** `cookie`: its access token was still good. `refresh_token`: it was to be refreshed. */
    readonly what: 'cookie' | 'refresh_token';
    /** How long ago the successor was presented first. */
    readonly ageSeconds: number;
    /** Whether another browser engine, or a phone in place of a computer, has sent it than signed in. Undefined: not known. */
    readonly differs: boolean | undefined;
  };
  /** A session was bound to a key in its visitor's device. */
  deviceBound: About & { readonly algorithm: 'ES256' | 'RS256' };
  /** A bound session has come without a good proof of its device: a copy, or a browser that could not prove. */
  deviceProofMissed: About & {
    /** What the browser says why, where it says so. */
    readonly skipped: 'quota_exceeded' | 'server_error' | 'unreachable' | 'other' | undefined;
    /** Whether the request went on without the session. `false`: with `reportOnly`. */
    readonly enforced: boolean;
  };
  /**
   * The provider has told that sessions have ended, and nothing came of it. `retryable`: it cannot be told now, and the
   * provider was asked to send it again. Anybody can send what is refused.
   */
  noticeFailed: {
    readonly from: 'backchannel_logout' | 'webhook';
    /** What did not hold; or why it cannot be told. */
    readonly check: NoticeCheck | RetryableReason | 'fleet_unreachable';
    readonly retryable: boolean;
  };
  /** A session was written to the client: how many bytes of headers, in how many cookies. */
  written: About & { readonly bytes: number; readonly pieces: number };
  /** A seal was opened with a password that no longer seals: once these stop, it can go. 0 is the newest. */
  oldPasswordUsed: { readonly index: number };
  /** The store that the fleet shares was lost, or found again. While it is away, each process works alone. */
  fleetChanged: { readonly reachable: boolean };
  /** Something about the set-up is wrong and shows only at work. Told once an hour for each problem and cause. */
  misconfigured: {
    readonly problem: Misconfiguration;
    /** What exactly, in a word or two of ours, or the provider's registered error code. */
    readonly cause?: string | undefined;
    /** The option to look at. */
    readonly option?: string;
    readonly message: string;
  };
}

/** The app's listeners, by event name. What they throw or reject is a warning, never the outcome of a request. */
export type EventCallbacks = {
  readonly [Name in keyof SessionEvents]?: ((event: SessionEvents[Name] & Counted) => unknown) | undefined;
};

export type Emit = <Name extends keyof SessionEvents>(name: Name, event: SessionEvents[Name]) => void;
