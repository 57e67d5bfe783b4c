import type { IncomingMessage } from 'node:http';

import type { Awaitable } from '../awaitable.js';
import type { SignedInSession } from '../request/session.js';
import type { SessionUser, User } from '../session/payload.js';
import type { Via } from '../session/via.js';

/** Of what a session may have many of: this one, all of these, or any of these. */
export type Wanted<Value = string> = Value | { readonly all: readonly Value[] } | { readonly any: readonly Value[] };

/** Of what a session has one of: this one, or one of these. */
export type OneOf<Value = string> = Value | readonly Value[];

/** What a claim is compared with. */
export type ClaimValue = string | number | boolean | null;

/** A request, with what Express has found in its path. */
export interface RuleRequest extends IncomingMessage {
  /** The parameters of the route, where the framework has them. */
  readonly params?: Readonly<Record<string, OneOf | undefined>>;
}

// As methods, so that a function may take the request of its framework, such as Express's `Request`.
interface RuleFunctions<U extends User> {
  find(req: RuleRequest): Awaitable<OneOf | undefined>;
  check(session: SignedInSession<U>, req: RuleRequest): Awaitable<boolean>;
}

/**
 * Who may pass. Every part that is given must hold. None may be `undefined`: a misspelt variable would be no demand at
 * all. A bare list of permissions or roles is refused, because one reader takes it for "all" and another for "any".
 */
export interface Rule<U extends User = SessionUser> {
  /** Permissions that the session must have: one, or `{ all }` or `{ any }` of several. */
  readonly permissions?: Wanted;
  /** Roles that the session must have: one, or `{ all }` or `{ any }` of several. */
  readonly roles?: Wanted;
  /** Entitlements that the session must have: one, or `{ all }` or `{ any }` of several. */
  readonly entitlements?: Wanted;
  /** Feature flags that must be on for the session: one, or `{ all }` or `{ any }` of several. */
  readonly featureFlags?: Wanted;
  /**
   * Claims of `session.claims` by their exact names, dots included. A claim that is a list holds each of its items; any
   * other holds itself.
   */
  readonly claims?: Readonly<Record<string, Wanted<ClaimValue>>>;
  /**
   * Signed in to this organization, or to one of these; or to what the function finds in the request. Where it finds
   * `undefined`, nobody may pass.
   */
  readonly organizationId?: OneOf | RuleFunctions<U>['find'];
  /** By which methods the user was authenticated (`amr`). */
  readonly amr?: Wanted;
  /** How surely the user was authenticated (`acr`): in this way, or in one of these. */
  readonly acr?: OneOf;
  /** The user gave proof of who they are within this time, at least 30 seconds. A provider that does not say when: never. */
  readonly maxAuthAgeSeconds?: number;
  /** Only for who comes in this way, or in one of these: `cookie` for pages, `bearer` for an API. */
  readonly via?: OneOf<Via>;
  /** Not while somebody acts as the user. */
  readonly impersonated?: false;
  /** Not on claims that have expired (`whenUnavailable`). It is answered 503, because it cannot be known now. */
  readonly stale?: false;
  /** Bound to its visitor's device, and proved by this request. See the option `deviceBound`. */
  readonly deviceBound?: true;
  /**
   * The app's own question, asked last: `true` passes, `false` is 403. What it throws goes to `next`; any other result is
   * an error that says so.
   */
  readonly check?: RuleFunctions<U>['check'];
}

/** A rule, or several of which one must hold. */
export type Rules<U extends User = SessionUser> = Rule<U> | { readonly any: readonly Rule<U>[] };

/** How a guard answers, which is no part of who may pass. */
export interface GuardOptions {
  /** Whether a visitor who opens a page is sent to sign in rather than answered 401. Default: true. */
  readonly redirect?: boolean | undefined;
  /**
   * Whether a page that lacks only the rule's `organizationId` switches to it, by one refresh, ten a minute for each session.
   * Of a list, the first. A visit that another site has begun gets 403, and can switch by a click. Default: false.
   */
  readonly switchOrganization?: boolean | undefined;
}
