import { defaultRetryAfterSeconds } from '../errors.js';
import type { Exchange } from '../http/carrier.js';
import {
  isRetryable,
  type Reason,
  type SessionPayload,
  type SessionProfile,
  type TokenSet,
} from '../session/payload.js';

/** What came of `session.refresh()`. A refusal leaves the session as it was. */
export type RefreshResult =
  { readonly refreshed: true } | { readonly refreshed: false; readonly reason: Reason; readonly retryable: boolean };

/** What can be done with any session. Each writes the cookie, so each must come before the response's headers. */
export interface SessionActions {
  /**
   * Runs the refresh grant now, to pick up changed claims or, with `organizationId`, to switch the organization. The
   * session object then shows the new state.
   *
   * @throws {SessionError} `ERR_SESSION_HEADERS_SENT`, before a token is spent
   */
  refresh(options?: { organizationId?: string | undefined }): Promise<RefreshResult>;
  /**
   * Establishes a session from the token response of any flow, replacing the one before.
   *
   * @throws {SessionError} `ERR_SESSION_HEADERS_SENT`; `ERR_SESSION_TOKENS_INVALID` when the tokens make no session
   */
  signIn(tokens: TokenSet): Promise<void>;
  /**
   * Ends the session here and clears the cookie, also when the access token has expired.
   *
   * @returns where to send the browser to end its session at the provider, which then sends it to `returnTo`;
   *   undefined when the provider has no such place or cannot be asked
   * @throws {SessionError} `ERR_SESSION_HEADERS_SENT`
   */
  signOut(options?: { returnTo?: string | undefined }): Promise<string | undefined>;
}

export interface SignedInSession extends SessionProfile, SessionActions {
  readonly authenticated: true;
  /** For calling APIs. Not enumerable: it is in no JSON and no log of the session. */
  readonly accessToken: string;
  readonly expiresAt: Date;
  /** Whether this request renewed the session. */
  readonly refreshed: boolean;
  /** Whether the claims are past their expiry and serve only because the provider is away (`onTransient: 'stale'`). */
  readonly stale: boolean;
  /** The app's own values, sealed beside the tokens. Change it, then `await session.save()`. */
  data: Record<string, unknown>;
  /** Writes `data` into the cookie. */
  save(): Promise<void>;
}

export interface SignedOutSession extends SessionActions {
  readonly authenticated: false;
  readonly user: null;
  readonly reason: Reason;
  /** Whether it is not known if the session is good, rather than known that it is not. The cookie is kept. */
  readonly retryable: boolean;
}

export type Session = SignedInSession | SignedOutSession;

/** Where a request stands. */
export type Standing =
  | {
      readonly signedIn: true;
      readonly payload: SessionPayload;
      readonly profile: SessionProfile;
      readonly expiresAtMs: number;
      readonly refreshed: boolean;
      readonly stale: boolean;
    }
  | {
      readonly signedIn: false;
      readonly reason: Reason;
      /** Set when the reason is one that passes. */
      readonly retryAfterSeconds?: number | undefined;
      /** What the cookie held, where it could be opened: enough to sign out properly. */
      readonly payload?: SessionPayload | undefined;
    };

/** How the actions are done. */
export interface SessionOperations {
  refresh(exchange: Exchange, session: RequestSession, organizationId: string | undefined): Promise<RefreshResult>;
  signIn(exchange: Exchange, session: RequestSession, tokens: TokenSet): Promise<void>;
  signOut(exchange: Exchange, session: RequestSession, returnTo: string | undefined): Promise<string | undefined>;
  save(exchange: Exchange, session: RequestSession, data: Record<string, unknown>): Promise<void>;
}

/**
 * The session on a request. A class for the sake of its private fields: they are the brand by which it is told from
 * what another package put there, and they keep the tokens out of JSON, logs and `console.log`.
 */
export class RequestSession {
  #standing!: Standing;
  #data: Record<string, unknown> | undefined;
  readonly #operations: SessionOperations;
  readonly #exchange: Exchange;
  readonly #origin: string;

  constructor(standing: Standing, operations: SessionOperations, exchange: Exchange, origin: string) {
    this.#operations = operations;
    this.#origin = origin;
    this.#exchange = exchange;
    this.#stand(standing);
  }

  static is(value: unknown): value is RequestSession {
    return typeof value === 'object' && value !== null && #standing in value;
  }

  /** Whether it came from there: of the same provider, client and cookie. */
  static isFrom(origin: string, session: RequestSession): boolean {
    return session.#origin === origin;
  }

  static standingOf(session: RequestSession): Standing {
    return session.#standing;
  }

  /** Shows another state from now on. */
  static stand(session: RequestSession, standing: Standing): void {
    session.#stand(standing);
  }

  #stand(standing: Standing): void {
    this.#standing = standing;
    this.#data = undefined;
    for (const field of Object.keys(this)) Reflect.deleteProperty(this, field);
    if (standing.signedIn) show(this, standing);
    else {
      const { reason } = standing;
      Object.assign(this, { authenticated: false, user: null, reason, retryable: isRetryable(reason) });
    }
  }

  get accessToken(): string | undefined {
    return this.#standing.signedIn ? this.#standing.payload.accessToken : undefined;
  }

  // A copy for each request: what one handler changes and does not save is nobody else's.
  get data(): Record<string, unknown> | undefined {
    if (!this.#standing.signedIn) return undefined;
    this.#data ??= structuredClone(this.#standing.payload.data ?? {}) as Record<string, unknown>;
    return this.#data;
  }

  set data(value: Record<string, unknown> | undefined) {
    this.#data = value;
  }

  refresh({ organizationId }: { organizationId?: string } = {}): Promise<RefreshResult> {
    return this.#operations.refresh(this.#exchange, this, organizationId);
  }

  signIn(tokens: TokenSet): Promise<void> {
    return this.#operations.signIn(this.#exchange, this, tokens);
  }

  signOut({ returnTo }: { returnTo?: string } = {}): Promise<string | undefined> {
    return this.#operations.signOut(this.#exchange, this, returnTo);
  }

  save(): Promise<void> {
    return this.#operations.save(this.#exchange, this, this.data ?? {});
  }
}

/** One field after the other, as `Object.assign` would take several times as long, on every request. */
function show(
  session: object,
  { profile, expiresAtMs, refreshed, stale }: Extract<Standing, { signedIn: true }>,
): void {
  const shown = session as Shown;
  shown.user = profile.user;
  shown.claims = profile.claims;
  shown.sessionId = profile.sessionId;
  shown.organizationId = profile.organizationId;
  shown.role = profile.role;
  shown.roles = profile.roles;
  shown.permissions = profile.permissions;
  shown.entitlements = profile.entitlements;
  shown.featureFlags = profile.featureFlags;
  shown.impersonator = profile.impersonator;
  shown.authenticated = true;
  shown.expiresAt = new Date(expiresAtMs);
  shown.refreshed = refreshed;
  shown.stale = stale;
}

type Shown = { -readonly [Field in keyof SignedInSession]: SignedInSession[Field] };

/** How long a guard tells the visitor to wait, in seconds. */
export function retryAfterOf(session: Session): number {
  const standing = RequestSession.standingOf(session as unknown as RequestSession);
  return (standing.signedIn ? undefined : standing.retryAfterSeconds) ?? defaultRetryAfterSeconds;
}
