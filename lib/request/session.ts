import type { BeginSignIn } from '../provider/provider.js';
import type { SessionData, SessionUser, TokenSet, User } from '../session/payload.js';
import type { SessionProfile } from '../session/profile.js';
import type { Via } from '../session/via.js';
import type { NotAuthenticated, Reason } from '../session/reasons.js';

/** What became of `session.refresh()`. A refusal leaves the session as it was. */
export type RefreshResult =
  | { readonly refreshed: true }
  | {
      readonly refreshed: false;
      readonly reason: Reason;
      readonly retryable: boolean;
      /** Where to send the browser, when the provider asks the visitor for a step, such as single sign-on. */
      readonly signInUrl?: string;
    };

/** What can be done with any session. Each writes the cookie, so each must come before the response's headers. */
export interface SessionActions {
  /**
   * Runs the refresh grant now, to pick up changed claims or, with `organizationId`, to switch the organization. The
   * session object then shows the new state.
   *
   * @throws {SessionUseError} `ERR_SESSION_HEADERS_SENT`, before a token is spent
   * @throws {TypeError} naming an option that is not known
   * @example
   * const result = await req.session.refresh({ organizationId: 'org_02' });
   * if (!result.refreshed) res.status(result.retryable ? 503 : 403).end();
   */
  refresh(options?: { organizationId?: string | undefined }): Promise<RefreshResult>;
  /**
   * Establishes a session from the token response of any flow, replacing the one before: the answer of WorkOS's SDK as it
   * is, or the fields of a `TokenSet`.
   *
   * @throws {SessionUseError} `ERR_SESSION_HEADERS_SENT`; `ERR_SESSION_TOKENS_INVALID` when the tokens make no session, or
   *   have a field that is not known
   * @example
   * await req.session.signIn(await workos.userManagement.authenticateWithPassword({ ... }));
   */
  signIn(tokens: TokenSet): Promise<void>;
  /**
   * Begins a sign-in from a handler, as `/login` does from a link: writes the cookie of the sign-in. It needs
   * `sessions.routes()`, where the visitor comes back to.
   *
   * @returns where to send the browser, once
   * @throws {TypeError} naming an option that is of the wrong kind, or that the provider has no parameter for
   * @throws {SessionUseError} `ERR_SESSION_HEADERS_SENT`; `ERR_SESSION_UNKNOWN_HOST`
   * @throws {SessionUnavailableError} the provider's metadata cannot be had
   * @example
   * res.redirect(303, await req.session.beginSignIn({ returnTo: '/team', organizationId: 'org_02' }));
   */
  beginSignIn(options?: BeginSignIn): Promise<string>;
  /**
   * Ends the session here and clears the cookie, also when the access token has expired. With `everywhere`, all other
   * sessions of the user end too, in the whole fleet.
   *
   * @returns where to send the browser to end its session at the provider, which then sends it to `returnTo`;
   *   undefined when the provider has no such place or cannot be asked
   * @throws {SessionUseError} `ERR_SESSION_HEADERS_SENT`
   * @throws {TypeError} naming an option that is not known
   * @example
   * res.redirect((await req.session.signOut({ returnTo: 'https://app.example.com/' })) ?? '/');
   */
  signOut(options?: SignOutOfSession): Promise<string | undefined>;
}

/** How a session is signed out. */
export interface SignOutOfSession {
  /** Where the provider sends the browser afterwards. It must be registered there. Default: none. */
  readonly returnTo?: string | undefined;
  /** Whether every session of the user that has begun by now ends, on all their devices. Default: false. */
  readonly everywhere?: boolean | undefined;
}

/** A signed-in visitor. Its fields are read-only, except `data`. */
export interface SignedInSession<U extends User = SessionUser> extends SessionProfile<U>, SessionActions {
  /** Always true: what tells a signed-in session from the others. */
  readonly authenticated: true;
  /** For calling APIs. It is in no JSON and no log of the session. Empty for an API key. */
  readonly accessToken: string;
  /** When the access token expires. For an API key the end of the year 9999. */
  readonly expiresAt: Date;
  /** Whether the session is bound to a device, and this request proves it. See the option `deviceBound`. */
  readonly deviceBound: boolean;
  /** How the request has said who it is. */
  readonly via: Via;
  /** Whether this request refreshed the session. */
  readonly refreshed: boolean;
  /** Whether the claims are past their expiry and serve only because the provider cannot be asked (`whenUnavailable`). */
  readonly stale: boolean;
  /** The app's own values, sealed beside the tokens. Change it, then `await session.save()`. */
  data: SessionData;
  /**
   * Writes `data` into the cookie. With a callback, as of express-session, an error goes to it.
   *
   * @throws {SessionUseError} `ERR_SESSION_HEADERS_SENT`, `ERR_SESSION_COOKIE_TOO_LARGE`; `ERR_SESSION_NO_COOKIE` where a
   *   token or a key has come in place of the cookie
   * @example
   * req.session.data.theme = 'dark';
   * await req.session.save();
   */
  save(callback?: (error?: unknown) => void): Promise<void>;
}

/** A visitor who is not signed in, with the reason. */
export type SignedOutSession = NotAuthenticated & SessionActions & { readonly user: null };

/** The session of a request. `authenticated` tells the two apart. */
export type Session<U extends User = SessionUser> = SignedInSession<U> | SignedOutSession;
