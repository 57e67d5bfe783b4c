import type { IncomingMessage } from 'node:http';

import type { EventCallbacks } from '../events.js';
import type { Awaitable } from '../awaitable.js';
import type { Fleet } from '../fleet/fleet.js';
import type { Provider } from '../provider/provider.js';
import type { Json } from '../json.js';
import type { Password } from '../seal/passwords.js';
import type { Sealer } from '../seal/sealer.js';
import type { ApiKeyLookup, BearerOptions } from './bearer.js';
import type { SessionData, SessionUser, User } from '../session/payload.js';
import type { Authenticated } from '../session/profile.js';
import type { OneOf, Rules } from './rule.js';

/**
 * The paths of `sessions.routes()`. A path, `true` for the one named here, `false` for none. The first three are on
 * unless said otherwise. Each lies below the path of `baseUrl`.
 */
export interface RouteOptions {
  /**
   * The path below which the app sees its routes, where a proxy strips or adds a prefix: `/` when it strips the path of
   * `baseUrl`. Default: the path of `baseUrl`.
   */
  readonly base?: string | undefined;
  /** Default: `/login`. */
  readonly login?: string | boolean | undefined;
  /** Default: `/callback`. To be registered with the provider as `baseUrl` + this path. */
  readonly callback?: string | boolean | undefined;
  /** Default: `/logout`. */
  readonly logout?: string | boolean | undefined;
  /** As `login`, for visitors who have no account yet. Usual: `/signup`. Default: none. */
  readonly signUp?: string | boolean | undefined;
  /** Tells front ends who is signed in, until when, and where to sign in. Usual: `/session`. Default: none. */
  readonly session?: string | boolean | undefined;
  /**
   * `POST`: switches to the organization of the field `organization_id`, and leads a form to `returnTo`. Usual:
   * `/organization`. Default: none.
   */
  readonly organization?: string | boolean | undefined;
  /** Where browsers bind sessions and prove their device. On with `deviceBound`. Default: `/session/device`. */
  readonly device?: string | boolean | undefined;
  /**
   * Where the provider tells of log-outs (OpenID Connect Back-Channel Logout 1.0), for `oidc()`. To be registered with it
   * as `baseUrl` + this path. Usual: `/backchannel-logout`. Default: none.
   */
  readonly backchannelLogout?: string | boolean | undefined;
  /** Where the provider sends its webhooks, for `workos({ webhookSecret })`. Usual: `/webhook`. Default: none. */
  readonly webhook?: string | boolean | undefined;
}

/** How the sign-in path and the callback answer. */
export interface SignInOptions {
  /** Where a visitor goes who signed in without asking for a page. Default: the path of `baseUrl`, or `/`. */
  readonly returnTo?: string | undefined;
  /**
   * The parameters that a link to `login` or `signUp` may hand on to the provider. One that is given twice, or is longer
   * than 256 characters, is ignored. Default: `login_hint`, and at WorkOS `invitation_token`.
   */
  readonly forwardParameters?: readonly string[] | undefined;
  /**
   * Signs a visitor in without a page (`prompt=none`), once, where they are signed in at the provider already. It is tried
   * at the second page of a visit: the first shows whether the browser keeps cookies. Default: false.
   */
  readonly silent?: boolean | undefined;
  /** The words of the page that `sessions.errorHandler()` shows; `false` for no page. Default: English. */
  readonly errorPage?: false | ErrorPageWords | undefined;
}

/** The words of the page for a visitor whose sign-in failed. */
export interface ErrorPageWords {
  /** The language of these words. Default: `en`. */
  readonly lang?: string | undefined;
  /** Default: `You are not signed in`. */
  readonly title?: string | undefined;
  /** Default: what has happened, in one sentence. */
  readonly text?: string | undefined;
  /** The link that begins again. Default: `Try again`. */
  readonly retry?: string | undefined;
  /** The button that switches the organization. Default: `Switch organization`. */
  readonly switchOrganization?: string | undefined;
  /** What is missing, by the part of the rule that is not met, such as `{ roles: 'This is for managers.' }`. */
  readonly demands?: Readonly<Record<string, string>> | undefined;
}

/** What came with the tokens of a sign-in and is kept nowhere. */
export interface SignInTokens {
  /** The ID token of the sign-in, where the provider gives one. */
  readonly idToken?: string | undefined;
  /** The tokens of the provider behind the provider, where WorkOS hands them on. */
  readonly oauthTokens?: Readonly<Record<string, unknown>> | undefined;
  /** How the user signed in, where the provider says so. */
  readonly authenticationMethod?: string | undefined;
}

/** What `onSignIn` may return: where the visitor goes, and what the new session holds as its `data`. */
export type SignInHookResult =
  string | undefined | { readonly returnTo?: string | undefined; readonly data?: SessionData | undefined };

/** What the app does with a sign-in before the browser goes on: it may add `data`, or say where to go. When it throws, nobody is signed in. */
export type SignInHook<U extends User = User> = (
  signIn: {
    readonly session: Authenticated<U>;
    readonly tokens: SignInTokens;
    readonly appState: Json | undefined;
    readonly returnTo: string;
  },
  req: IncomingMessage,
  // eslint-disable-next-line @typescript-eslint/no-invalid-void-type -- a hook that returns nothing
) => Awaitable<SignInHookResult | void>;

/** How the sign-out path answers. */
export interface SignOutOptions {
  /** Where a visitor goes after signing out. Default: the path of `baseUrl`, or `/`. */
  readonly returnTo?: string | undefined;
  /** How the log-out path may be asked: `['POST']` leaves links and images without effect. Default: `GET` and `POST`. */
  readonly methods?: readonly ('GET' | 'POST')[] | undefined;
  /**
   * What the browser is asked to drop with the sign-out (`Clear-Site-Data`): its `cache` of the app's pages, and what the
   * app keeps in its `storage`. Default: nothing.
   */
  readonly clearSiteData?: readonly ('cache' | 'storage')[] | undefined;
}

/** A cookie that ours replaces: removed from browsers when ours is written, never read. */
export interface ReplacedCookie {
  /** The name of the cookie. */
  readonly name: string;
  /** The domain that it was written with. Default: none. */
  readonly domain?: string | undefined;
  /** Default: `/`. */
  readonly path?: string | undefined;
}

/** How the session travels in its cookie. */
export interface CookieOptions {
  /** Default: the provider's (`wos-session` for WorkOS, `__Host-session` for OpenID Connect). */
  readonly name?: string | undefined;
  /** Default: none, so that the cookie belongs to this host alone. */
  readonly domain?: string | undefined;
  /** Default: `/`. */
  readonly path?: string | undefined;
  /** Default: `lax`. With `strict`, the visitor seems signed out on the first page after the provider's. */
  readonly sameSite?: 'lax' | 'strict' | 'none' | undefined;
  /**
   * Default: whether `baseUrl` is https; true without a `baseUrl`. `false` is for development: requests to any other
   * host than localhost are then refused.
   */
  readonly secure?: boolean | undefined;
  /** Seconds; `false`: the cookie ends with the browser. Default and most: 34,560,000 (400 days, where browsers cut off). */
  readonly maxAge?: number | false | undefined;
  /** Keeps one cookie for each site that embeds the app (CHIPS). It needs `secure`. Default: false. */
  readonly partitioned?: boolean | undefined;
  /** Which cookies Chromium gives up last. Default: none. */
  readonly priority?: 'low' | 'medium' | 'high' | undefined;
  /** Cookies of an earlier set-up (another name, domain or path): two of one name shadow each other. */
  readonly replaces?: readonly ReplacedCookie[] | undefined;
}

/** How long a session lasts by the app's own rules. */
export interface LifetimeOptions {
  /** A session ends this long after signing in, whatever else. Default: when the provider ends it. */
  readonly absoluteSeconds?: number | undefined;
  /** A session ends this long after the last request that counts as activity. Default: when the provider ends it. */
  readonly idleSeconds?: number | undefined;
  /**
   * Whether a request is its user's doing: `false` for polls, so that they keep nothing alive that the provider would
   * let end for inactivity. Default: every request is, except prefetches and `OPTIONS`.
   */
  readonly isActivity?: ((req: IncomingMessage) => boolean) | undefined;
}

/** How sessions are refreshed. */
export interface RefreshOptions {
  /** Refresh this long before the access token expires, or a fifth of its lifetime if that is less. Default: 60. */
  readonly aheadSeconds?: number | undefined;
  /**
   * How long a request with the old cookie is given the new one, once a browser has come with the new one. Until then
   * it is kept for a quarter of an hour, for the browser to come back for. Default: 60.
   */
  readonly graceSeconds?: number | undefined;
  /** The longest that a request waits for a refresh, in milliseconds. Default: 5000. */
  readonly waitMs?: number | undefined;
  /** The longest that a refresh runs, in milliseconds; it goes on without the request. Default: 20000. */
  readonly timeoutMs?: number | undefined;
  /**
   * What becomes of a session when an old cookie of it comes although its browser has had the new one for longer than
   * `graceSeconds`. `report`: the event `replayed`. `revoke`: that, and the session ends. Default: `report`.
   */
  readonly replay?: 'report' | 'revoke' | undefined;
}

/** How many verified sessions one process remembers, and for how long. */
export interface CacheOptions {
  /** How many verified sessions are remembered. Default: 10,000. */
  readonly maxSessions?: number | undefined;
  /** How long at most, in seconds; never longer than the access token lives. Default: 300. */
  readonly maxSeconds?: number | undefined;
}

/** How sessions are bound to the device that they are used on. */
export interface DeviceBoundOptions {
  /**
   * How long a proof is good, in seconds: a copied cookie is worth nothing after that. At least 300, because a browser
   * signs six times in nine minutes. Default: 600.
   */
  readonly proofSeconds?: number | undefined;
  /** Whether a request without a proof is only told, by the event `deviceProofMissed`. Default: false. */
  readonly reportOnly?: boolean | undefined;
  /** Paths of the app that need no session, such as `/static`: browsers do not wait for a proof there. Default: none. */
  readonly exclude?: readonly string[] | undefined;
}

/**
 * What becomes of a request while it cannot be known whether its session is good. `continue`: it goes on, not signed
 * in, and guards answer 503. `refuse`: the middleware answers 503. `{ staleSeconds }`: the old claims serve this long
 * after their expiry while the provider cannot refresh them; while its keys cannot be had, nothing unverified is served.
 */
export type WhenUnavailable = 'continue' | 'refuse' | { readonly staleSeconds: number };

/** The options of `withSession` and `createSessionManager`. */
export interface SessionOptions<U extends User = SessionUser> {
  /** `workos(…)`, `oidc(…)` or a `Provider` of your own. */
  readonly provider: Provider<U>;
  /**
   * 32 characters or more. Of a list `[newest, older]` the first seals, and each opens. A map of id → password is taken
   * too, as iron-session has it: its highest id seals.
   */
  readonly password: Password | undefined;
  /**
   * Where browsers find the app: its origin, such as `https://app.example.com`, with the path below which it lives.
   * Required by `routes()`. Of a list, `Host` chooses one; a `*` stands for a part of one label, as in
   * `https://shop-*.example.com`.
   */
  readonly baseUrl?: OneOf | undefined;
  /** Makes the middleware the guard itself: `true`, or a rule. Default: false. */
  readonly required?: boolean | Rules<U> | undefined;
  /** Where the session is on the request. Default: `session`. */
  readonly property?: string | undefined;
  /** The fields of the user that are sealed; `id` always is. Default: all. */
  readonly userFields?: readonly string[] | undefined;

  /**
   * Runs once for each sign-in of the routes, after all checks and before any cookie. It may say where the visitor goes,
   * and what the session's `data` begins with. When it throws, nobody is signed in, and the error goes to `next`.
   */
  readonly onSignIn?: SignInHook<U> | undefined;

  /** Which paths `sessions.routes()` serves; without it `/login`, `/callback` and `/logout`. */
  readonly routes?: RouteOptions | undefined;
  /** How visitors sign in. */
  readonly signIn?: SignInOptions | undefined;
  /** How visitors sign out. */
  readonly signOut?: SignOutOptions | undefined;

  /** How the session travels in its cookie. */
  readonly cookie?: CookieOptions | undefined;
  /**
   * For native apps: the request header that brings the seal in place of the cookie, and the response header that takes
   * the new one back. One of your own, not one with a meaning, such as `Authorization`. Default: none.
   */
  readonly header?: string | undefined;
  /**
   * Takes access tokens in `Authorization: Bearer` as well: `{ audience }`, the names of this API in their `aud`. `true` at
   * WorkOS, whose tokens have none: there the client's own keys decide. Such a request has no cookie for us. Default: none.
   */
  readonly bearer?: true | BearerOptions | undefined;
  /**
   * Takes keys of the app's own in `Authorization: Bearer`: gets a value that is no JWT, of 4 KiB at most, and says who
   * holds it. Nobody is 401, and what it throws is 503. It is asked at each request. Default: none.
   */
  readonly apiKeys?: ApiKeyLookup<NoInfer<U>> | undefined;
  /**
   * Other origins whose pages may send unsafe requests with the session, such as `https://admin.example.com`. The app's own
   * are those of `baseUrl`. From anywhere else such a request comes without its session. Default: none.
   */
  readonly trustedOrigins?: readonly string[] | undefined;
  /**
   * Which responses are kept out of caches, whatever the handler said: those with a new cookie, those for signed-in
   * visitors as well, or none. Default: `written`.
   */
  readonly cacheControl?: 'written' | 'authenticated' | false | undefined;
  /**
   * Binds each session to a key in its visitor's device, where the browser can do that (Device Bound Session Credentials).
   * A copy of its cookies is then worth nothing once the last proof has expired. It needs `sessions.routes()`. Default:
   * false.
   */
  readonly deviceBound?: boolean | DeviceBoundOptions | undefined;

  /** How long a session lasts; without it as long as the provider refreshes it. */
  readonly lifetime?: LifetimeOptions | undefined;
  /** How sessions are refreshed. */
  readonly refresh?: RefreshOptions | undefined;
  /** Default: `continue`. */
  readonly whenUnavailable?: WhenUnavailable | undefined;
  /** How far the provider's clock may be off, for `exp` and `nbf`. Default: 5. */
  readonly clockToleranceSeconds?: number | undefined;

  /** What coordinates refreshes and remembers endings: `redisFleet(…)` for several processes. Default: this process. */
  readonly fleet?: Fleet | undefined;
  /** Verified sessions remembered in memory; `false` turns it off. */
  readonly cache?: false | CacheOptions | undefined;
  /**
   * How the cookie is written. Every known format is read. Default: what the provider prefers, `ironSealer()` for WorkOS;
   * else `compactSealer()`.
   */
  readonly sealer?: Sealer | undefined;
  /** The app's listeners, by event name. What they throw is a warning, never the outcome of a request. */
  readonly events?: EventCallbacks | undefined;
}
