import type { ConfigProblem } from '../errors.js';
import type { Claims, SessionPayload, TerminalReason, TokenSet } from '../session/payload.js';

/**
 * What comes of sending the same refresh token twice, which decides whether a refresh may be retried:
 *
 * - `idempotent`: the same new pair, for a while (WorkOS).
 * - `sibling`: another valid pair, for a while (Auth0, Okta, Cognito with their grace periods).
 * - `none`: refresh tokens are not rotated (Google, Entra).
 * - `strict`: an error, perhaps the end of every token of the session. The safe assumption about anyone.
 */
export type Reuse = 'idempotent' | 'sibling' | 'none' | 'strict';

/** A POST to the provider. `body` and `headers` hold the client's credentials and tokens: never log one. */
export interface TokenRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What an access token of this provider must satisfy. */
export interface AccessTokenRules {
  readonly keysUrl: string;
  /** Asymmetric ones only: with a symmetric one the public key would be the secret. */
  readonly algorithms: readonly string[];
  readonly issuer: readonly string[];
  /** Any one of these in `aud`; nothing is asked of `aud` when undefined. */
  readonly audience?: readonly string[] | undefined;
  /** Whether the token was issued to this client. */
  readonly issuedToUs: (claims: Claims) => boolean;
}

export interface RefreshGrant {
  readonly refreshToken: string;
  readonly organizationId?: string | undefined;
}

/** A sign-in under way: what `/login` remembers until `/callback`. */
export interface SignInRequest {
  readonly redirectUri: string;
  readonly state: string;
  readonly nonce: string;
  readonly codeVerifier: string;
}

/**
 * What differs between providers: endpoints, claims, errors. A plain object, so that one can be written outside
 * this package. Whatever a method rejects with means "cannot tell right now" and never signs anybody out.
 */
export interface Provider {
  /** For events and logs. */
  readonly name: string;
  /** Tells providers and clients apart, also between processes: base URL or issuer, and client id. */
  readonly id: string;
  /** The session cookie's name unless `cookie.name` says otherwise. */
  readonly cookieName: string;
  readonly reuse: Reuse;
  /** Set where the fields of a user have camelCase names here and snake_case ones on the wire. */
  readonly camelCaseUser?: boolean | undefined;
  /** What is wrong with the provider's own options; reported with those of `withSession`. */
  readonly problems?: readonly ConfigProblem[] | undefined;

  /** Whether the access token is a string without meaning, of which only the expiry is known. */
  isOpaque(accessToken: string): boolean;
  /** What is at hand is returned as it is: a request whose token can be checked at once does not wait. */
  accessTokenRules(): AccessTokenRules | Promise<AccessTokenRules>;

  /** The organization that a refresh of this session must ask for, so as not to leave it. */
  organizationOf(payload: SessionPayload): string | undefined;
  refreshRequest(grant: RefreshGrant): Promise<TokenRequest>;
  /**
   * The tokens in a successful answer to a refresh, or `undefined` when the answer is not whole. Must refuse,
   * by rejecting, an answer that is about another user than `previous`.
   */
  readRefresh(answer: Readonly<Record<string, unknown>>, previous: SessionPayload): Promise<TokenSet | undefined>;
  /** The end of the session that this error answer means, or `undefined` when it means none. */
  terminalReason(answer: Readonly<Record<string, unknown>>): TerminalReason | undefined;

  authorizationUrl(request: SignInRequest): Promise<string>;
  /** The code exchange for the parameters with which the browser came back. */
  codeRequest(callback: URLSearchParams, request: SignInRequest): Promise<TokenRequest>;
  /** The tokens in a successful answer to a code exchange. */
  readSignIn(answer: Readonly<Record<string, unknown>>, request: SignInRequest): Promise<TokenSet | undefined>;

  /** Where the browser ends its session at the provider; `undefined` when there is no such place. */
  logoutUrl(session: { sessionId: string | undefined; returnTo: string | undefined }): Promise<string | undefined>;
  /** Ends the refresh token at the provider, where it can be done without the browser. */
  revocationRequest?(refreshToken: string): Promise<TokenRequest | undefined>;
}
