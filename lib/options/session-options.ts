import type { IncomingMessage } from 'node:http';

import type { EventCallbacks } from '../events.js';
import type { Provider } from '../provider/provider.js';
import type { Coordinator } from '../refresh/coordinator.js';
import type { Password } from '../seal/passwords.js';
import type { Sealer } from '../seal/sealer.js';

/**
 * What a session must have to pass. Every part that is given must hold. None may be `undefined`: a misspelt variable
 * would be no demand at all.
 */
export interface Rule {
  /** All of these permissions. */
  readonly permissions?: string | readonly string[];
  /** One of these roles. */
  readonly roles?: string | readonly string[];
  /** All of these entitlements. */
  readonly entitlements?: string | readonly string[];
  /** All of these feature flags. */
  readonly featureFlags?: string | readonly string[];
  /** Signed in to one of these organizations. */
  readonly organizationId?: string | readonly string[];
  /** Whether a visitor who opens a page is sent to sign in rather than told 401. Default: true. */
  readonly redirect?: boolean;
}

export interface CookieOptions {
  /** Default: the provider's (`wos-session` for WorkOS, `__Host-session` for OIDC). */
  readonly name?: string | undefined;
  /** Default: none, so that the cookie belongs to this host alone. */
  readonly domain?: string | undefined;
  /** Default: `/`. */
  readonly path?: string | undefined;
  /** Default: `lax`. With `strict`, the visitor seems signed out on the first page after the provider's. */
  readonly sameSite?: 'lax' | 'strict' | 'none' | undefined;
  /** Default: true. `false` is for development on localhost, and is warned of: any other host is refused. */
  readonly secure?: boolean | undefined;
  /** Seconds. Default and most: 34,560,000 (400 days, where browsers cut off). */
  readonly maxAge?: number | undefined;
}

/** How the seal travels where there are no cookies. */
export interface TransportOptions {
  /**
   * The name of the request header that brings the seal, and of the response header that takes the new one back: one
   * of your own, not one with a meaning, such as `Authorization`.
   */
  readonly header: string;
}

/** Where a cookie of an earlier set-up lies. */
export interface LegacyCookie {
  readonly name: string;
  readonly domain?: string | undefined;
  /** Default: `/`. */
  readonly path?: string | undefined;
}

export interface RefreshOptions {
  /** Refresh this long before the access token expires, or a fifth of its lifetime if that is less. Default: 60. */
  readonly windowSeconds?: number | undefined;
  /**
   * How long a request with the old cookie is given the new one, once a browser has come with the new one. Until then
   * it is kept for a quarter of an hour, for the browser to come back for. Default: 60.
   */
  readonly graceSeconds?: number | undefined;
  /**
   * Whether a request may renew a session ahead of its expiry: `false` for polls, so that they do not keep alive what
   * the provider would let end for inactivity. Default: every request may, except prefetches and `OPTIONS`.
   */
  readonly touch?: ((req: IncomingMessage) => boolean) | undefined;
  /** The longest that a request waits for a refresh, in milliseconds. Default: 5000. */
  readonly waitMs?: number | undefined;
  /** The longest that a refresh runs, in milliseconds; it goes on without the request. Default: 20000. */
  readonly budgetMs?: number | undefined;
  /** Default: one in memory, shared by every middleware of the process. */
  readonly coordinator?: Coordinator | undefined;
}

export interface CacheOptions {
  /** How many verified sessions are remembered. Default: 10,000. */
  readonly maxSessions?: number | undefined;
  /** How long at most, in seconds; never longer than the access token lives. Default: 300. */
  readonly maxSeconds?: number | undefined;
}

export interface SessionOptions {
  /** `workos(…)`, `oidc(…)` or another `Provider`. */
  readonly provider: Provider;
  /** 32 characters or more; or a map of id → password: the highest id seals, all open. */
  readonly password: Password | undefined;
  /** Makes the middleware the guard itself: `true`, or a rule as for `requireSession`. Default: false. */
  readonly required?: boolean | Rule | undefined;
  /** Where the session goes on the request. Default: `session`. */
  readonly property?: string | undefined;
  readonly cookie?: CookieOptions | undefined;
  /**
   * Cookies of an earlier set-up (another name, domain or path), removed from browsers when a cookie is written: two of
   * one name shadow each other. They are not read.
   */
  readonly legacyCookies?: readonly LegacyCookie[] | undefined;
  /** For native apps: a request header that brings the seal in place of the cookie, and takes the new one back. */
  readonly transport?: TransportOptions | undefined;
  /**
   * Which responses are kept out of caches, whatever the handler said: those with a new cookie, those for signed-in
   * visitors as well, or none. Default: `written`.
   */
  readonly cacheControl?: 'written' | 'authenticated' | false | undefined;
  /** The fields of the user that are sealed; `id` always is. Default: all. */
  readonly pickUser?: readonly string[] | undefined;
  /** A session ends this long after signing in, whatever else. Default: when the provider ends it. */
  readonly absoluteSeconds?: number | undefined;
  /** A session ends this long after the last request that `refresh.touch` counts. Default: when the provider ends it. */
  readonly idleSeconds?: number | undefined;
  /** How the cookie is written. Every known format is read. Default: `ironSealer()`. */
  readonly sealer?: Sealer | undefined;
  readonly refresh?: RefreshOptions | undefined;
  /**
   * What becomes of a request while it cannot be known whether its session is good: `defer` lets it go on, not signed
   * in (guards answer 503), `error` answers 503, `stale` serves the old claims for `staleSeconds` while the provider
   * cannot renew them (while its keys cannot be had it is `defer`: nothing unverified is served). Default: `defer`.
   */
  readonly onTransient?: 'defer' | 'error' | 'stale' | undefined;
  /** How long after their expiry the old claims serve, with `onTransient: 'stale'`. Default: 300. */
  readonly staleSeconds?: number | undefined;
  /** How far the provider's clock may be off, for `exp` and `nbf`. Default: 5. */
  readonly clockToleranceSeconds?: number | undefined;
  /** Verified sessions remembered in memory; `false` turns it off. */
  readonly cache?: false | CacheOptions | undefined;
  readonly events?: EventCallbacks | undefined;

  /** The app's own origin, such as `https://app.example.com`. Required by `sessionRoutes`; never read from a request. */
  readonly baseUrl?: string | undefined;
  /** Default: `/login`. */
  readonly loginPath?: string | undefined;
  /** Default: `/callback`. To be registered with the provider as `baseUrl` + `callbackPath`. */
  readonly callbackPath?: string | undefined;
  /** Default: `/logout`. */
  readonly logoutPath?: string | undefined;
  /** Where a visitor goes who signed in without asking for a page. Default: `/`. */
  readonly afterSignIn?: string | undefined;
  /** Where a visitor goes after signing out. Default: `/`. */
  readonly afterSignOut?: string | undefined;
}
