import { createHash } from 'node:crypto';

import type { Awaitable } from '../awaitable.js';
import type { ConfigProblem } from '../errors.js';
import type { SessionEvents } from '../events.js';
import type { Json } from '../json.js';
import type { Sealer } from '../seal/sealer.js';
import type { ClaimMapper } from '../session/claim-map.js';
import type { SessionPayload, TokenKind, TokenSet, User } from '../session/payload.js';
import type { SessionClaims } from '../session/profile.js';
import type { TerminalReason } from '../session/reasons.js';
import type { LogoutToken } from '../token/logout-token.js';
import type { Agents } from '../wire/agents.js';
import type { TokenRequest } from '../wire/token-endpoint.js';

export type { TokenRequest } from '../wire/token-endpoint.js';

/** What a JWT access token of the provider must satisfy. */
export interface AccessTokenRules {
  /** The public keys themselves, as JWKs. When they are given, `keysUrl` is not asked. */
  readonly keys?: readonly Readonly<Record<string, unknown>>[] | undefined;
  /** Where the key set (RFC 7517) is published. An https URL; plain http for loopback hosts only. */
  readonly keysUrl?: string | undefined;
  /** Asymmetric algorithms only. With a symmetric one, everybody who knows the public key could sign. */
  readonly algorithms: readonly string[];
  /** The connections to use for the key set. Default: our own. */
  readonly agent?: Agents | undefined;
  /**
   * The token's `iss` must be one of these. One with `{tenantid}` in it is a template: the token's own `tid` stands there,
   * and must be one of `tenants`.
   */
  readonly issuer: readonly string[];
  /** The tenants that a template may stand for, or `any`. Without it a template stands for none. */
  readonly tenants?: readonly string[] | 'any' | undefined;
  /** The token's `aud` must hold one of these. Without it, `aud` is not checked. */
  readonly audience?: readonly string[] | undefined;
  /**
   * Whether the token was issued to this client: `true`, `false`, or `'unsaid'` for a token that names no client and is
   * accepted. Every other value refuses it. Give this or `audience`: without both, a token that the provider issued to
   * another app signs its user in here. It is also asked of tokens whose signature cannot be checked.
   */
  readonly issuedToUs?: ((claims: SessionClaims) => boolean | 'unsaid') | undefined;
  /**
   * Whether a token fresh from the token endpoint that fails these rules is meant for another API. It then counts as
   * opaque. It applies only to a `TokenSet` with `tokenKind: 'undecided'`. Default: false.
   */
  readonly elseOpaque?: boolean | undefined;
}

/** How answers of the provider are read. */
export interface ReadSettings {
  /** How far the provider's clock may be off, in seconds. */
  readonly clockToleranceSeconds: number;
}

/** What is presented to get new tokens. */
export interface RefreshGrant {
  /** The refresh token of the session. */
  readonly refreshToken: string;
  /** The organization that the new access token must be for. Undefined where the session has none. */
  readonly organizationId?: string | undefined;
}

/** What a sign-in may ask for. A provider refuses with a `TypeError` what it cannot ask for. */
export interface BeginSignIn {
  /** A path of the app, where the visitor goes afterwards. Default: `signIn.returnTo`. */
  readonly returnTo?: string | undefined;
  /** The app's own: up to 512 bytes of JSON. It is sealed, never sent, and comes back in `onSignIn`. */
  readonly appState?: Json | undefined;
  /** The session must then be of this organization, else the sign-in fails. */
  readonly organizationId?: string | undefined;
  /** The SSO connection to sign in with, at WorkOS. */
  readonly connectionId?: string | undefined;
  /** The domain of an identity provider of Google or Microsoft, at WorkOS. */
  readonly domainHint?: string | undefined;
  /** The e-mail address to fill in for the visitor. */
  readonly loginHint?: string | undefined;
  /** The invitation that the visitor accepts. */
  readonly invitationToken?: string | undefined;
  /** Whether to show the page to sign in or to sign up. Default: the provider's. */
  readonly screenHint?: 'sign-in' | 'sign-up' | undefined;
  /** What the provider must ask, such as `login` or `consent`. */
  readonly prompt?: string | undefined;
  /** The visitor must have signed in at the provider within this time, else the sign-in fails. Seconds. */
  readonly maxAuthAgeSeconds?: number | undefined;
  /** The session must then have one of these as its `acr`, else the sign-in fails. */
  readonly acrValues?: readonly string[] | undefined;
  /** The languages that the visitor reads, the best first. */
  readonly uiLocales?: readonly string[] | undefined;
  /** In place of the scope of the options, for this sign-in. */
  readonly scope?: string | undefined;
  /** Which of the provider's own providers signs in, such as `GoogleOAuth` at WorkOS. */
  readonly provider?: string | undefined;
  /** More scopes to ask of the provider's own provider. */
  readonly providerScopes?: readonly string[] | undefined;
}

/** A sign-in that has begun. `state`, `nonce` and `codeVerifier` are random and new for each sign-in. */
export interface SignInRequest {
  /** Where the provider sends the browser back to, with the code. */
  readonly redirectUri: string;
  /** Must be in the authorization URL. The callback is refused unless it brings the same one back. */
  readonly state: string;
  /** For OpenID providers: the ID token must repeat it. */
  readonly nonce: string;
  /** Proves at the code exchange who began the sign-in (RFC 7636). */
  readonly codeVerifier: string;
  /** The S256 challenge of `codeVerifier`, for the authorization URL. */
  readonly codeChallenge: string;
  /** What this sign-in asks for. At the callback, only what the answer is checked for. */
  readonly parameters: BeginSignIn;
}

/** The headers of a request, by their names in lower case. */
export type NoticeHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

/** What a notice of the provider says: this session is over, all of this user's are, or their claims have changed. */
export type Notice = (
  | {
      /** The provider's own id of the session. */
      readonly sessionId: string;
    }
  | {
      readonly userId: string;
      /** Not over: the next request refreshes before it is served. Default: false. */
      readonly refresh?: boolean | undefined;
    }
) & {
  /** When it happened: what began later goes on. Default: now. */
  readonly at?: Date | undefined;
};

/**
 * What differs between providers: endpoints, claims and errors. A provider is a plain object, so that it can be
 * written outside this package; `docs/guide/own-provider.md` has one of 60 lines.
 *
 * A method returns its result or a promise of it. A method that throws or rejects says "cannot tell now": the request
 * fails as unavailable, and no cookie is cleared. `providerFailure()` makes an error that says why.
 */
export interface Provider<U extends User = User> {
  /** Names the provider in events and messages. */
  readonly name: string;
  /** Tells providers and clients apart, also between processes. Made of the issuer and the client id, never of a secret. */
  readonly id: string;
  /** The session cookie's name, unless the option `cookie.name` says otherwise. */
  readonly cookieName: string;
  /**
   * Whether the provider accepts a refresh token twice. With `single-use` a refresh is never repeated, because a second
   * use may end the session. With `reusable` it is sent again when its answer was lost.
   */
  readonly refreshTokens: 'single-use' | 'reusable';
  /**
   * Set where the user's fields are camelCase in the seals of JavaScript packages and snake_case in those of Ruby
   * packages, as with WorkOS. It matters only for a sealer with Ruby's field names. Default: false.
   */
  readonly sealsUserInCamelCase?: boolean | undefined;
  /** How its sessions are sealed where the options do not say, if other packages read them. Default: `compactSealer()`. */
  readonly sealer?: Sealer | undefined;
  /** Where the options for its access tokens are, for messages. Default: `provider`. */
  readonly accessTokenOptions?: string | undefined;
  /**
   * Whether `revocationRequest` ends the provider's whole session, by its `sid`, rather than one refresh token. It is then
   * asked once for each session; and ten seconds after a browser was sent to `logoutUrl`, which may not know a session that
   * is revoked already. Default: false.
   */
  readonly revokesSession?: boolean | undefined;
  /**
   * What the provider can tell of a sign-in, and whether it has organizations. A rule that asks for anything else is refused
   * at the start: no visitor could ever meet it. Default: all of it.
   */
  readonly knows?: readonly ('auth_time' | 'acr' | 'amr' | 'organizations')[] | undefined;
  /** What is wrong with the provider's own options. It is reported with the problems of the other options. */
  readonly problems?: readonly ConfigProblem[] | undefined;

  /**
   * How an access token is checked: `opaque` when it says nothing to us and only its expiry counts, else the rules of
   * a JWT. Return a plain value where possible: then a request whose token is good need not wait. `kind` is what was
   * decided when the token came, where the rules have `elseOpaque`. `bearer`: a client has sent it itself, and the option
   * `bearer` says its audience, which takes the place of the one in the rules.
   */
  accessToken(token: string, kind?: TokenKind | 'bearer'): Awaitable<'opaque' | AccessTokenRules>;
  /**
   * Whether the rules alone tell that a token is an access token for this app, so that the option `bearer` may be `true`.
   * Say so only where the keys or the claims name the client, and no ID token is signed with these keys. Default: false, and
   * `bearer` must have an `audience`.
   */
  readonly tokensNameClient?: boolean | undefined;
  /**
   * The provider's own names for what guards read. `accessToken` is empty where the access token is opaque; `idToken` has
   * the `idClaims` of the tokens. Default: `role`, `roles`, `permissions`, `entitlements`, `feature_flags`, `org_id`.
   */
  readonly mapClaims?: ClaimMapper | undefined;
  /** Registers who is to be told what shows only at work, as the event `misconfigured`. */
  onMisconfigured?(listen: (problem: SessionEvents['misconfigured']) => void): void;
  /** The organization that a refresh must ask for. Default: `organizationId` of the payload. */
  organizationOf?(payload: SessionPayload): string | undefined;

  /** Where the browser signs in. Must carry `state`, `codeChallenge` and the method `S256`. */
  authorizationUrl(request: SignInRequest): Awaitable<string>;
  /** `form_post`: the browser comes back with a POST (OAuth 2.0 Form Post Response Mode). Default: with a GET. */
  readonly responseMode?: 'form_post' | undefined;
  /** The code exchange. `state` was compared before; `callback` holds everything that the browser brought back. */
  codeRequest(callback: URLSearchParams, request: SignInRequest): Awaitable<TokenRequest>;
  /**
   * The tokens in a successful answer to the code exchange; undefined when it holds no access token. An opaque access
   * token without `expiresIn` counts for 300 seconds.
   */
  readSignIn(
    answer: Readonly<Record<string, unknown>>,
    request: SignInRequest,
    settings?: ReadSettings,
  ): Awaitable<(TokenSet & { readonly user?: U | undefined }) | undefined>;

  /** The refresh grant. Must carry the refresh token, and the organization where there is one. */
  refreshRequest(grant: RefreshGrant): Awaitable<TokenRequest>;
  /**
   * The tokens in a successful answer to a refresh; undefined when it holds no access token.
   *
   * @throws when the answer is about another user than `previous`: a session never changes its user
   */
  readRefresh(
    answer: Readonly<Record<string, unknown>>,
    previous: SessionPayload,
    settings?: ReadSettings,
  ): Awaitable<TokenSet | undefined>;
  /**
   * Why an error answer ends the session, or undefined when it does not. Only codes that are about this one session
   * may end it: the mistakes of an operator must not sign everybody out.
   */
  terminalReason(answer: Readonly<Record<string, unknown>>): TerminalReason | undefined;

  /**
   * Where the browser takes the step that an error answer asks its user for, such as single sign-on. Check where it leads:
   * visitors are sent there. Default: the sign-in begins again.
   */
  interactionUrl?(answer: Readonly<Record<string, unknown>>): string | undefined;

  /** Where the browser signs out at the provider. Undefined, or no such method, when there is no such page. */
  logoutUrl?(session: {
    readonly sessionId?: string | undefined;
    /** The provider's own id of the session (`sid`), where it has told one. */
    readonly sid?: string | undefined;
    /** The ID token of the sign-in, for `id_token_hint`, where it was kept. */
    readonly idToken?: string | undefined;
    /** To be given back with the visitor, at `returnTo`. */
    readonly state?: string | undefined;
    readonly returnTo?: string | undefined;
  }): Awaitable<string | undefined>;
  /** Whether a callback without `state` is accepted where its tokens name an impersonator. Default: false. */
  readonly acceptsImpersonation?: boolean | undefined;
  /**
   * Ends the session at the provider without the browser: revokes the refresh token (RFC 7009), or with `revokesSession` the
   * session. Undefined when it cannot be done. `sessionId` is the `sid` of the access token. `refreshToken` is empty where
   * only the session's id is known.
   */
  revocationRequest?(session: {
    readonly refreshToken: string;
    readonly sessionId?: string | undefined;
  }): Awaitable<TokenRequest | undefined>;

  /**
   * What has ended by a webhook of the provider, for `routes.webhook`; an empty list where nothing has. Undefined for a
   * request that is not the provider's: it is refused. To be verified here, by `body` as it was sent.
   */
  readWebhook?(body: Buffer, headers: NoticeHeaders): Awaitable<readonly Notice[] | undefined>;
  /**
   * What a log-out token says (OpenID Connect Back-Channel Logout 1.0), for `routes.backchannelLogout`. Undefined for one
   * that does not pass the checks: it is refused.
   */
  readLogoutToken?(token: string, settings?: ReadSettings): Awaitable<LogoutToken | undefined>;
}

/**
 * The S256 code challenge of a code verifier (RFC 7636). A provider finds it ready in `SignInRequest`.
 *
 * @param codeVerifier 43 to 128 letters, digits and `-._~`
 * @returns the SHA-256 hash in base64url, without padding
 * @example
 * url.searchParams.set('code_challenge', pkceChallenge(codeVerifier));
 */
export function pkceChallenge(codeVerifier: string): string {
  return createHash('sha256').update(codeVerifier).digest('base64url');
}
