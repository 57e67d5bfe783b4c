import type { IncomingMessage } from 'node:http';
import { inspect } from 'node:util';

import { readCall, refreshChecks, signOutChecks } from '../action-options.js';
import { SessionConfigError, type SwitchOffer } from '../errors.js';
import type { Fleet } from '../fleet/fleet.js';
import type { Exchange } from '../http/carrier.js';
import type { BeginSignIn, Provider } from '../provider/provider.js';
import type { StepUp } from '../rules/demand.js';
import type { SessionData, SessionPayload, TokenSet, User } from '../session/payload.js';
import type { SessionProfile } from '../session/profile.js';
import type { Via } from '../session/via.js';
import { isRetryable, type Reason } from '../session/reasons.js';
import type { RefreshResult, SessionActions, SignedInSession, SignOutOfSession } from './session.js';
import type { SessionState } from './state.js';
import { processWide } from '../process-wide.js';

/** How the methods of a session are done. */
export interface Actions {
  refresh(exchange: Exchange, session: RequestSession, request: RefreshCall): Promise<RefreshResult>;
  signIn(exchange: Exchange, session: RequestSession, tokens: TokenSet): Promise<void>;
  signOut(exchange: Exchange, session: RequestSession, options: SignOutRequest): Promise<string | undefined>;
  save(exchange: Exchange, session: RequestSession, data: SessionData): Promise<void>;
}

/** How a session is refreshed. */
export interface RefreshCall {
  readonly organizationId?: string | undefined;
  /** Where the visitor goes who must take a step at the provider first. Default: the page that this request is for. */
  readonly returnTo?: string | undefined;
}

/** How a session signs out at the provider. */
export interface SignOutRequest {
  readonly returnTo?: string | undefined;
  readonly idToken?: string | undefined;
  readonly state?: string | undefined;
  readonly everywhere?: boolean | undefined;
}

/** One call of `withSession`: whose a session on a request is. */
export interface Mount {
  /** Where the session is on the request. */
  readonly property: string;
  /** Which provider and client its sessions are of, and what it can tell of them. */
  readonly providerId: string;
  readonly provider: Pick<Provider, 'name' | 'knows'>;
  readonly clockToleranceSeconds: number;
  readonly cookieName: string;
  readonly fleet: Fleet;
  readonly actions: Actions;
  /** What a request brings its seal in. */
  readonly via: (exchange: Exchange) => Via;
  /** Whether tokens are taken in place of seals, so that a 401 says so. */
  readonly takesTokens: boolean;
  /** How a visitor signs in, once the routes are in use. */
  signIn: MountSignIn | undefined;
  /** Whether a request is for one of the routes of these sessions, once they are in use. */
  isOwnRoute?: (req: IncomingMessage) => boolean;
  /** Whether a request proves the device of its session, where sessions are bound. */
  isProven?: (req: IncomingMessage, payload: SessionPayload) => boolean;
  /** Whether it is the provider that comes, to tell what has ended: no visitor, and no session. */
  isNotice?: (req: IncomingMessage) => boolean;
}

/** What a guard asks a sign-in for. */
export type AskedByGuard = BeginSignIn & StepUp;

/** How the visitors of a mount sign in. */
export interface MountSignIn {
  /** The sign-in page, as browsers see it. */
  readonly path: string | undefined;
  /**
   * Where a guard sends a visitor to sign in and come back to this request; undefined without such a page, and on that very
   * page. What it asks for is sealed. At once where nothing has to be.
   */
  readonly pathFor: (req: IncomingMessage, asked?: AskedByGuard) => string | Promise<string> | undefined;
  readonly begin: (exchange: Exchange, asked: BeginSignIn) => Promise<string>;
  /** What a form on a page could switch to, to come back to this request; undefined without a path for it. */
  readonly offerFor: (req: IncomingMessage, organizationId: string) => SwitchOffer | undefined;
}

type Fields = Record<Exclude<keyof SignedInSession | 'reason' | 'retryable', keyof SessionActions | 'save'>, unknown>;

/**
 * The session on a request. A class for the sake of its private fields: they are the brand that no other package's
 * object has, and they keep the tokens out of JSON, logs and `console.log`. A field that it lacks does not compile.
 */
class SessionOfThisCopy implements Fields {
  #state: SessionState;
  #data: SessionData | undefined;
  readonly #mount: Mount;
  readonly #exchange: Exchange;
  readonly #earlier: RequestSession | undefined;

  /** @param earlier the session that other options have put under the same property before */
  constructor(state: SessionState, mount: Mount, exchange: Exchange, earlier: RequestSession | undefined) {
    this.#state = state;
    this.#data = undefined;
    this.#mount = mount;
    this.#exchange = exchange;
    this.#earlier = earlier;
    // What another package set here would be in no seal, and gone with the request.
    Object.preventExtensions(this);
  }

  static is(value: unknown): value is RequestSession {
    return typeof value === 'object' && value !== null && #state in value;
  }

  static stateOf(session: RequestSession): SessionState {
    return session.#state;
  }

  /** Shows another state from now on. */
  static setState(session: RequestSession, state: SessionState): void {
    session.#state = state;
    session.#data = undefined;
  }

  static mountOf(session: RequestSession): Mount {
    return session.#mount;
  }

  /** How a visitor signs in by a page: that of this mount, or of one before it under the same property. */
  static signInOf(session: RequestSession): MountSignIn | undefined {
    for (let each: RequestSession | undefined = session; each; each = each.#earlier) {
      const { signIn } = each.#mount;
      if (signIn?.path !== undefined) return signIn;
    }
    return undefined;
  }

  /** As `refresh()`, with what only guards and routes know. */
  static refresh(session: RequestSession, request: RefreshCall): Promise<RefreshResult> {
    return session.#mount.actions.refresh(session.#exchange, session, request);
  }

  /** As `signOut()`, with what only the route knows. */
  static signOut(session: RequestSession, options: SignOutRequest): Promise<string | undefined> {
    return session.#mount.actions.signOut(session.#exchange, session, options);
  }

  /** The one of these sessions, or of those before them, that this mount has made. */
  static ofMount(mount: Mount, session: RequestSession): RequestSession | undefined {
    let each: RequestSession | undefined = session;
    while (each && each.#mount !== mount) each = each.#earlier;
    return each;
  }

  get #profile(): SessionProfile | undefined {
    return this.#state.signedIn ? this.#state.profile : undefined;
  }

  get authenticated(): boolean {
    return this.#state.signedIn;
  }

  get user(): User | null {
    return this.#profile?.user ?? null;
  }

  get claims() {
    return this.#profile?.claims;
  }

  get sessionId() {
    return this.#profile?.sessionId;
  }

  get organizationId() {
    return this.#profile?.organizationId;
  }

  get role() {
    return this.#profile?.role;
  }

  get roles() {
    return this.#profile?.roles;
  }

  get permissions() {
    return this.#profile?.permissions;
  }

  get entitlements() {
    return this.#profile?.entitlements;
  }

  get featureFlags() {
    return this.#profile?.featureFlags;
  }

  get impersonator() {
    return this.#profile?.impersonator;
  }

  get authenticationMethod() {
    return this.#profile?.authenticationMethod;
  }

  get deviceBound(): boolean | undefined {
    if (!this.#state.signedIn) return undefined;
    return this.#mount.isProven?.(this.#exchange.req, this.#state.payload) ?? false;
  }

  // A copy: the one that guards read is shared by the requests of the session.
  get authenticatedAt(): Date | undefined {
    const at = this.#profile?.authenticatedAt;
    return at && new Date(at);
  }

  get acr() {
    return this.#profile?.acr;
  }

  get amr() {
    return this.#profile?.amr;
  }

  get via(): Via | undefined {
    return this.#state.signedIn ? (this.#state.via ?? this.#mount.via(this.#exchange)) : undefined;
  }

  get expiresAt(): Date | undefined {
    return this.#state.signedIn ? new Date(this.#state.expiresAtMs) : undefined;
  }

  get refreshed(): boolean | undefined {
    return this.#state.signedIn ? this.#state.refreshed : undefined;
  }

  get stale(): boolean | undefined {
    return this.#state.signedIn ? this.#state.stale !== undefined : undefined;
  }

  get reason(): Reason | undefined {
    return this.#state.signedIn ? undefined : this.#state.reason;
  }

  get retryable(): boolean | undefined {
    return this.#state.signedIn ? undefined : isRetryable(this.#state.reason);
  }

  get accessToken(): string | undefined {
    return this.#state.signedIn ? this.#state.payload.accessToken : undefined;
  }

  // A copy for each request: what one handler changes and does not save reaches no other.
  get data(): SessionData | undefined {
    if (!this.#state.signedIn) return undefined;
    this.#data ??= structuredClone(this.#state.payload.data ?? {});
    return this.#data;
  }

  set data(value: SessionData | undefined) {
    this.#data = value;
  }

  async refresh(options: { organizationId?: string | undefined } = {}): Promise<RefreshResult> {
    const { organizationId } = readCall('refresh', options, refreshChecks);
    return this.#mount.actions.refresh(this.#exchange, this, { organizationId });
  }

  signIn(tokens: TokenSet): Promise<void> {
    return this.#mount.actions.signIn(this.#exchange, this, tokens);
  }

  async signOut(options: SignOutOfSession = {}): Promise<string | undefined> {
    const { returnTo, everywhere } = readCall('signOut', options, signOutChecks);
    return this.#mount.actions.signOut(this.#exchange, this, { returnTo, everywhere });
  }

  beginSignIn(asked: BeginSignIn = {}): Promise<string> {
    const { signIn } = this.#mount;
    if (signIn) return signIn.begin(this.#exchange, asked);
    const message = 'must be called, and its middleware mounted: the sign-in comes back to its callback.';
    return Promise.reject(new SessionConfigError([{ path: 'sessions.routes()', message }]));
  }

  save(callback?: (error?: unknown) => void): Promise<void> {
    const saved = this.#mount.actions.save(this.#exchange, this, this.data ?? {});
    if (!callback) return saved;
    // Outside the promise: what the callback throws is not a failure to save.
    return saved.then(
      () => {
        process.nextTick(callback);
      },
      (error: unknown) => {
        process.nextTick(callback, error);
      },
    );
  }

  /** For `JSON.stringify`: everything but the access token, the app's data, and what a session of this kind lacks. */
  toJSON(): Record<string, unknown> {
    const fields = shownFields.map((name) => [name, this[name]] as const);
    return Object.fromEntries(fields.filter(([, value]) => value !== undefined));
  }

  [inspect.custom](): Record<string, unknown> {
    return this.toJSON();
  }
}

export type RequestSession = SessionOfThisCopy;

/** One class for all copies of this package: its brand is then known to each. */
export const RequestSession = processWide('session class', () => SessionOfThisCopy);

const hiddenFields: ReadonlySet<string> = new Set(['accessToken', 'data']);
const descriptors = Object.getOwnPropertyDescriptors(SessionOfThisCopy.prototype);
const accessorNames = Object.entries(descriptors)
  .filter(([, descriptor]) => 'get' in descriptor)
  .map(([name]) => name);
const shownFields = accessorNames.filter((name) => !hiddenFields.has(name)) as (keyof Fields)[];

// Without a setter, code that is not strict would assign in vain and learn nothing of it.
for (const name of accessorNames) {
  if (name === 'data') continue;
  Object.defineProperty(SessionOfThisCopy.prototype, name, {
    set: () => {
      throw new TypeError(`session.${name} is read-only. Values of the app's own go into session.data.`);
    },
  });
}

/**
 * What passport, connect-flash, csurf and other packages look for on a session of express-session. There is none of it
 * here: without an error they would wait for ever, or keep what is gone with the request.
 */
const namesOfOthers = ['regenerate', 'destroy', 'reload', 'passport', 'flash', 'csrfSecret'];

for (const name of namesOfOthers) {
  const refuse = () => {
    const message =
      `must be changed: something (passport, connect-flash, csurf?) wants "session.${name}", which express-session's ` +
      'sessions have and these do not. With another "property" here, both have a session of their own.';
    throw new SessionConfigError([{ path: 'property', message }], 'ERR_SESSION_PROPERTY_TAKEN');
  };
  Object.defineProperty(SessionOfThisCopy.prototype, name, { get: refuse, set: refuse });
}
