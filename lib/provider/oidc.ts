import type * as oauth4webapi from 'oauth4webapi';

import {
  callable,
  type Checks,
  isLoopback,
  oneOf,
  optional,
  readOptions,
  secureBaseUrl,
  secureUrl,
  text,
  textOrList,
} from '../checks.js';
import { isRecord, nonEmptyString } from '../json.js';
import type { SessionPayload, SessionUser, TokenSet, User } from '../session/payload.js';
import type { SessionClaims } from '../session/profile.js';
import { unverifiedClaims } from '../session/unverified-claims.js';
import { readDocument } from '../wire/answer.js';
import { cachedDocument } from '../wire/cached-document.js';
import { endingOf, openidEndings, operatorErrors } from '../wire/error-code.js';
import { ProviderFailure } from '../wire/failure.js';
import type { AccessTokenRules, Provider, RefreshGrant, SignInRequest, TokenRequest } from './provider.js';

export interface OidcOptions {
  /** The issuer identifier; its metadata is discovered below it. Plain http for loopback hosts only. */
  issuer: string | undefined;
  clientId: string | undefined;
  /** Sent as HTTP Basic, or as the provider's metadata asks for. Required unless `clientAuthentication` is given. */
  clientSecret?: string | undefined;
  /** Another way for the client to prove itself, as made by `oauth4webapi`: `PrivateKeyJwt(key)`, `ClientSecretPost(…)`. */
  clientAuthentication?: oauth4webapi.ClientAuth | undefined;
  /** Default: `openid profile email offline_access`. */
  scope?: string | undefined;
  /** The resource server that the access token is for (RFC 8707). */
  resource?: string | undefined;
  /**
   * One of these must be in the `aud` of a JWT access token. Default: `resource`; without it, the token must name this
   * client in `client_id`, `azp`, `cid`, `appid` or `aud`.
   */
  audience?: string | readonly string[] | undefined;
  /** Algorithms of JWT access tokens. Default: the asymmetric ones among those that the provider's metadata names. */
  algorithms?: readonly string[] | undefined;
  /** Whether access tokens are JWTs to verify. Default: `auto`, those of three parts are. */
  accessToken?: 'auto' | 'jwt' | 'opaque' | undefined;
  /**
   * Whether the provider accepts a refresh token twice. Default: `single-use`, with which a refresh is never repeated.
   * With `reusable` it is sent again when its answer was lost: for providers that do not rotate refresh tokens
   * (Google, Entra), or that have a grace period (Auth0, Okta, Cognito).
   */
  refreshTokens?: Provider['refreshTokens'] | undefined;
  /** More parameters for the authorization request, such as `prompt`. */
  authorizationParameters?: Readonly<Record<string, string>> | undefined;
  /**
   * More error codes with which this provider ends a session. For a provider that does not say `invalid_grant`. Default:
   * those of OAuth and OpenID Connect.
   */
  sessionEndingErrors?: readonly string[] | undefined;
}

const checks: Checks<OidcOptions> = {
  issuer: secureBaseUrl,
  clientId: text,
  clientSecret: optional(text),
  clientAuthentication: optional(callable),
  scope: optional((value) =>
    typeof value === 'string' && value.split(' ').includes('openid')
      ? undefined
      : 'must be a string that contains "openid".',
  ),
  resource: optional(text),
  audience: optional(textOrList),
  algorithms: optional((value) =>
    Array.isArray(value) && value.length > 0 && value.every(isAsymmetric)
      ? undefined
      : 'must be a list of asymmetric algorithms, such as ["RS256"]: with a symmetric one the public key would be the secret.',
  ),
  accessToken: optional(oneOf('auto', 'jwt', 'opaque')),
  refreshTokens: optional(oneOf('single-use', 'reusable')),
  authorizationParameters: optional((value) =>
    isRecord(value) && Object.values(value).every((item) => typeof item === 'string')
      ? undefined
      : 'must be an object of strings.',
  ),
  sessionEndingErrors: optional((value) => {
    if (!Array.isArray(value) || !value.every((code) => text(code) === undefined))
      return 'must be a list of error codes.';
    const wrong = operatorErrors.find((code) => value.includes(code));
    return wrong && `must not hold "${wrong}": a mistake of the operator would sign every visitor out.`;
  }),
};

/**
 * Any OpenID Connect provider, by discovery. The metadata is fetched when it is first needed, not at the start. Wrong
 * options are reported by `withSession`, with all others.
 *
 * @example
 * withSession({
 *   provider: oidc({ issuer: 'https://id.example.com', clientId, clientSecret }),
 *   password: process.env.SESSION_PASSWORD,
 * });
 */
export function oidc(options: OidcOptions): Provider<SessionUser> {
  const { given: own, problems } = readOptions('provider', options, checks);
  if (isRecord(options) && own.clientSecret === undefined && own.clientAuthentication === undefined) {
    problems.push({ path: 'provider.clientSecret', message: 'must be given, or "provider.clientAuthentication".' });
  }
  // With problems there is no provider to build. `withSession` reports them, and no method is called.
  const given: OidcOptions = problems.length ? { issuer: 'https://invalid.example', clientId: '' } : own;
  const {
    issuer = '',
    clientId = '',
    clientSecret = '',
    clientAuthentication,
    resource,
    refreshTokens = 'single-use',
  } = given;
  const { scope = 'openid profile email offline_access', accessToken = 'auto' } = given;
  const audience = given.audience ?? resource;
  const audiences = audience === undefined ? undefined : [audience].flat();
  const algorithms = given.algorithms && [...given.algorithms];
  const authorizationParameters = { ...given.authorizationParameters };
  const client: oauth4webapi.Client = { client_id: clientId };
  const ownEndings = (given.sessionEndingErrors ?? []).map((code) => [code, 'invalid_grant'] as const);
  const endings = { ...openidEndings, ...Object.fromEntries(ownEndings) };

  const metadata = cachedDocument(async () => {
    const oauth = await import('oauth4webapi');
    const url = new URL(issuer);
    const response = await oauth.discoveryRequest(url, {
      // eslint-disable-next-line @typescript-eslint/no-deprecated -- deprecated so as to stand out; loopback hosts only
      [oauth.allowInsecureRequests]: isLoopback(url.hostname),
      signal: AbortSignal.timeout(5_000),
    });
    return oauth.processDiscoveryResponse(url, new Response(await readDocument(response), response));
  });

  let rules: { as: oauth4webapi.AuthorizationServer; made: AccessTokenRules } | undefined;

  async function endpoint(name: Endpoint): Promise<string> {
    return endpointOf((await metadata.get()).value, name);
  }

  function rulesOf(as: oauth4webapi.AuthorizationServer): AccessTokenRules {
    if (rules?.as === as) return rules.made;
    const named = (as.id_token_signing_alg_values_supported ?? []).filter(isAsymmetric);
    const made = {
      keysUrl: endpointOf(as, 'jwks_uri'),
      algorithms: algorithms ?? (named.length ? named : ['RS256']),
      issuer: [as.issuer],
      audience: audiences,
      issuedToUs: (claims: SessionClaims) => issuedTo(clientId, claims, audiences === undefined),
    };
    rules = { as, made };
    return made;
  }

  async function tokenRequest(url: string, parameters: Record<string, string | undefined>): Promise<TokenRequest> {
    const oauth = await import('oauth4webapi');
    const { value: as } = await metadata.get();
    const body = new URLSearchParams();
    for (const [key, parameter] of Object.entries(parameters)) if (parameter !== undefined) body.set(key, parameter);
    const headers = new Headers({
      accept: 'application/json',
      'content-type': 'application/x-www-form-urlencoded;charset=UTF-8',
    });
    const offered = as.token_endpoint_auth_methods_supported ?? ['client_secret_basic'];
    const authenticate =
      clientAuthentication ??
      (offered.includes('client_secret_basic') || !offered.includes('client_secret_post')
        ? oauth.ClientSecretBasic(clientSecret)
        : oauth.ClientSecretPost(clientSecret));
    await authenticate(as, client, body, headers);
    return { url, headers: Object.fromEntries(headers), body: body.toString() };
  }

  function isOpaque(token: string): boolean {
    return accessToken === 'opaque' || (accessToken === 'auto' && token.split('.').length !== 3);
  }

  function readTokens(answer: Readonly<Record<string, unknown>>, user: User | undefined): TokenSet | undefined {
    const token = nonEmptyString(answer.access_token);
    if (token === undefined) return undefined;
    const lifetime = Number(answer.expires_in);
    return {
      accessToken: token,
      refreshToken: nonEmptyString(answer.refresh_token),
      user,
      expiresIn: isOpaque(token) && lifetime > 0 && Number.isFinite(lifetime) ? lifetime : undefined,
    };
  }

  return Object.freeze({
    name: 'oidc',
    id: `oidc ${issuer.replace(/\/+$/, '')} ${clientId}`,
    cookieName: '__Host-session',
    refreshTokens,
    problems,

    accessToken: (token: string) => {
      if (isOpaque(token)) return 'opaque';
      const known = metadata.peek();
      return known ? rulesOf(known.value) : metadata.get().then(({ value }) => rulesOf(value));
    },

    refreshRequest: async ({ refreshToken, organizationId }: RefreshGrant) =>
      tokenRequest(await endpoint('token_endpoint'), {
        grant_type: 'refresh_token',
        refresh_token: refreshToken,
        resource,
        organization_id: organizationId,
      }),
    readRefresh: async (answer, previous: SessionPayload) => {
      const idToken = nonEmptyString(answer.id_token);
      if (idToken === undefined) return readTokens(answer, undefined);
      const { value: as } = await metadata.get();
      const claims = unverifiedClaims(idToken);
      // OpenID Connect Core 1.0, section 12.2: the same issuer, the same person, the same client. Its signature need
      // not be checked, because it came over TLS from the token endpoint (section 3.1.3.7).
      const same =
        claims.iss === as.issuer &&
        [claims.aud].flat().includes(clientId) &&
        (claims.azp === undefined || claims.azp === clientId) &&
        isCurrent(claims) &&
        (previous.user?.id === undefined || claims.sub === previous.user.id);
      if (!same)
        throw new ProviderFailure(
          'provider_misconfigured',
          'The refresh answered with an ID token that is old, or of another user, client or issuer.',
        );
      return readTokens(answer, readUser(claims));
    },
    terminalReason: ({ error }) => endingOf(endings, error),

    authorizationUrl: async ({ redirectUri, state, nonce, codeChallenge }: SignInRequest) => {
      const url = new URL(await endpoint('authorization_endpoint'));
      const parameters = {
        ...authorizationParameters,
        // A provider gives a refresh token for `offline_access` only with consent (OpenID Connect Core, section 11).
        ...(scope.split(' ').includes('offline_access') &&
          authorizationParameters.prompt === undefined && { prompt: 'consent' }),
        client_id: clientId,
        response_type: 'code',
        redirect_uri: redirectUri,
        scope,
        ...(resource !== undefined && { resource }),
        state,
        nonce,
        code_challenge: codeChallenge,
        code_challenge_method: 'S256',
      };
      for (const [key, parameter] of Object.entries(parameters)) url.searchParams.set(key, parameter);
      return url.href;
    },
    codeRequest: async (callback, { state, redirectUri, codeVerifier }: SignInRequest) => {
      const oauth = await import('oauth4webapi');
      const { value: as } = await metadata.get();
      // Checks `state`, and `iss` where the provider sends it (RFC 9207): another provider's code must not be sent here.
      const checked = oauth.validateAuthResponse(as, client, callback, state);
      return tokenRequest(await endpoint('token_endpoint'), {
        grant_type: 'authorization_code',
        code: checked.get('code') ?? undefined,
        redirect_uri: redirectUri,
        code_verifier: codeVerifier,
        resource,
      });
    },
    readSignIn: async (answer, { nonce }: SignInRequest) => {
      const oauth = await import('oauth4webapi');
      const { value: as } = await metadata.get();
      const response = Response.json(answer);
      const checked = await oauth.processAuthorizationCodeResponse(as, client, response, {
        expectedNonce: nonce,
        requireIdToken: true,
      });
      const claims = oauth.getValidatedIdTokenClaims(checked);
      return readTokens(answer, claims && readUser(claims));
    },

    logoutUrl: async ({ returnTo }) => {
      const { value: as } = await metadata.get();
      if (secureUrl(as.end_session_endpoint) !== undefined) return undefined;
      const url = new URL(as.end_session_endpoint ?? '');
      url.searchParams.set('client_id', clientId);
      if (returnTo !== undefined) url.searchParams.set('post_logout_redirect_uri', returnTo);
      return url.href;
    },
    revocationRequest: async ({ refreshToken }) => {
      const { value: as } = await metadata.get();
      if (secureUrl(as.revocation_endpoint) !== undefined) return undefined;
      return tokenRequest(as.revocation_endpoint ?? '', { token: refreshToken, token_type_hint: 'refresh_token' });
    },
  } satisfies Provider);
}

type Endpoint = 'authorization_endpoint' | 'token_endpoint' | 'jwks_uri';

function endpointOf(as: oauth4webapi.AuthorizationServer, name: Endpoint): string {
  const url = as[name];
  // Tokens and the client's secret are sent there, so every endpoint must be as safe as `issuer`.
  if (secureUrl(url) !== undefined) {
    throw new ProviderFailure('provider_misconfigured', `The provider's metadata names no https "${name}".`);
  }
  return url ?? '';
}

function isAsymmetric(algorithm: unknown): boolean {
  return typeof algorithm === 'string' && /^((RS|PS|ES)(256|384|512)|EdDSA|Ed25519|ML-DSA-\d+)$/.test(algorithm);
}

/**
 * Whether the token names this client as the one it was issued to. Vendors use different claims for it. Without any of
 * them, the token must have this client as its audience, or an audience that the options demand.
 */
function issuedTo(clientId: string, claims: SessionClaims, mustSay: boolean): boolean | 'unsaid' {
  const named = ['client_id', 'azp', 'cid', 'appid'].map((claim) => claims[claim]).find((id) => typeof id === 'string');
  if (named !== undefined) return named === clientId;
  return [claims.aud].flat().includes(clientId) || (mustSay ? false : 'unsaid');
}

// How far the clocks of a provider and of ours may be apart. Seconds.
const clockSkewSeconds = 300;

/** Whether an ID token was made just now: an old one says what the user was long ago (OpenID Connect Core 12.2). */
function isCurrent({ exp, iat }: SessionClaims): boolean {
  const now = Date.now() / 1000;
  return (
    typeof exp === 'number' &&
    exp > now - clockSkewSeconds &&
    (iat === undefined || (typeof iat === 'number' && iat < now + clockSkewSeconds))
  );
}

// Claims of an ID token about itself and about the sign-in, not about the person.
const protocolClaims = new Set(
  'iss sub aud exp iat nbf jti nonce azp at_hash c_hash s_hash auth_time sid acr amr sub_jwk'.split(' '),
);

function readUser(claims: Readonly<Record<string, unknown>>): User | undefined {
  if (typeof claims.sub !== 'string') return undefined;
  const personal = Object.entries(claims).filter(([claim]) => !protocolClaims.has(claim));
  return { ...Object.fromEntries(personal), id: claims.sub };
}
