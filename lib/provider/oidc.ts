import { nonEmptyString } from '../json.js';
import { claimNamesOf, claimsFor, type ClaimMap, grantedBy, withLists } from '../session/claim-map.js';
import type { SessionPayload, SessionUser, TokenKind, TokenSet, User } from '../session/payload.js';
import type { SessionClaims } from '../session/profile.js';
import { unverifiedClaims } from '../session/unverified-claims.js';
import { verifyIdToken } from '../token/id-token.js';
import { verifyLogoutToken } from '../token/logout-token.js';
import type { ProviderTokenRules } from '../token/provider-token.js';
import { isIssuerName, isTemplate } from '../token/issuer.js';
import { type KeySet, keySetOf } from '../token/key-set.js';
import { getJson } from '../wire/answer.js';
import { CheckFailed, failedCheck } from '../wire/check-failed.js';
import { authenticateClient, type ClientAuthentication } from '../wire/client-authentication.js';
import { endingOf, knownErrorCode, openidEndings } from '../wire/error-code.js';
import { failureDetail, isProviderFailure, ProviderFailure } from '../wire/failure.js';
import { send } from '../wire/token-endpoint.js';
import { type Metadata, metadataSource } from './oidc-metadata.js';
import { type Tell, tellNoRefreshToken, tellOldClaims } from './oidc-notices.js';
import { isAsymmetric, type OidcOptions, readOidcOptions } from './oidc-options.js';
import { hasGuardedClaims, lacksScope, readUser, signInFacts, userAfterRefresh, type OidcUser } from './oidc-user.js';
import { definedOnly, refuseParameters } from './parameters.js';
import type {
  AccessTokenRules,
  BeginSignIn,
  Provider,
  ReadSettings,
  RefreshGrant,
  SignInRequest,
  TokenRequest,
} from './provider.js';

type Answer = Readonly<Record<string, unknown>>;
type Parameters = Readonly<Record<string, string | readonly string[] | undefined>>;

const usualSettings: ReadSettings = { clockToleranceSeconds: 5 };

// With these faults an ID token at a refresh is as good as none. Losing the new tokens for them would end the session.
const ignoredAtRefresh: ReadonlySet<string | undefined> = new Set([
  'id_token_key',
  'id_token_expiry',
  'id_token_issued_at',
  'id_token_not_before',
  // The ceiling of before holds on.
  'id_token_session_expiry',
]);

// Of no use to guards, and new in each token.
const ofTheTokenItself = new Set(['nonce', 'at_hash', 'c_hash', 's_hash', 'exp', 'iat', 'nbf', 'jti']);

/**
 * Any OpenID Connect provider, by discovery. The type parameter is what the app knows of its users: nothing checks it. The metadata is fetched when it is first needed, not at the start. Wrong
 * options are reported by `withSession`, with all others.
 *
 * @example
 * withSession({
 *   provider: oidc({ issuer: 'https://id.example.com', clientId, clientSecret }),
 *   password: process.env.SESSION_PASSWORD,
 * });
 */
export function oidc<U extends User = OidcUser & SessionUser>(options: OidcOptions): Provider<U> {
  const { given: own, problems } = readOidcOptions(options);
  // With problems there is no provider to build. `withSession` reports them, and no method is called.
  const given = problems.length ? { issuer: 'https://invalid.example', clientId: '' } : own;
  const { clientId = '', clientSecret = '', resource, refreshTokens = 'single-use', responseMode, agent } = given;
  const { accessToken = 'auto', idTokenAlgorithm, userinfo } = given;
  const tokenOptions = typeof accessToken === 'object' ? accessToken : {};
  const isAuto = accessToken === 'auto';
  const issuers = [given.issuer ?? []].flat();
  const hasSeveralIssuers = issuers.length > 1 || issuers.some(isTemplate);
  const authorizationParameters = given.authorizationParameters ?? {};
  const audience = tokenOptions.audience ?? resource ?? nonEmptyString(authorizationParameters.audience);
  const audiences = audience === undefined ? undefined : [audience].flat();
  const map: ClaimMap | undefined = typeof given.mapClaims === 'function' ? undefined : (given.mapClaims ?? {});

  const ownEndings = (given.sessionEndingErrors ?? []).map((code) => [code, 'invalid_grant'] as const);
  const endings = { ...openidEndings, ...Object.fromEntries(ownEndings) };

  const listeners = new Set<Tell>();
  const tell: Tell = (problem) => {
    for (const listener of listeners) listener(problem);
  };
  const { document: metadata, issuersOf, endpoint, optionalEndpoint } = metadataSource(given, tell);

  // What the access token is.

  let rules: { as: Metadata; made: AccessTokenRules } | undefined;

  function rulesOf(as: Metadata): AccessTokenRules {
    if (rules?.as === as) return rules.made;
    const { issuer, tenants } = issuersOf(as);
    const made = {
      keysUrl: endpoint(as, 'jwks_uri'),
      agent,
      algorithms: tokenOptions.algorithms ?? asymmetricOf(as),
      issuer: tokenOptions.issuer === undefined ? issuer : [tokenOptions.issuer].flat(),
      tenants,
      audience: audiences,
      issuedToUs: (claims: SessionClaims) => issuedTo(clientId, claims, audiences === undefined),
      elseOpaque: isAuto,
    };
    rules = { as, made };
    return made;
  }

  /** Of a token that a client has sent itself, and maybe another client than this one: its audience decides. */
  function bearerRulesOf(as: Metadata): AccessTokenRules {
    return { ...rulesOf(as), issuedToUs: undefined, elseOpaque: false };
  }

  function isOpaque(token: string, kind: TokenKind | undefined): boolean {
    return accessToken === 'opaque' || (isAuto && (kind === 'opaque' || token.split('.').length !== 3));
  }

  // Asking.

  async function tokenRequest(url: string, parameters: Parameters): Promise<TokenRequest> {
    const { value: as } = await metadata.get();
    const body = new URLSearchParams();
    for (const [key, value] of Object.entries(parameters)) {
      for (const each of [value ?? []].flat()) body.append(key, each);
    }
    const headers = new Headers({
      accept: 'application/json',
      'content-type': 'application/x-www-form-urlencoded;charset=UTF-8',
    });
    const authentication = given.clientAuthentication ?? usualAuthentication(as);
    await authenticateClient(authentication, { clientId, clientSecret }, as.issuer, body, headers);
    return { url, headers: Object.fromEntries(headers), body: body.toString(), ...(agent && { agent }) };
  }

  function scopeAt(as: Metadata): string {
    if (given.scope !== undefined) return given.scope;
    const { scopes_supported: known } = as;
    // Google, Cognito and GitLab refuse a scope that they do not know, and with it everybody.
    const hasOffline = !Array.isArray(known) || known.includes('offline_access');
    return hasOffline ? 'openid profile email offline_access' : 'openid profile email';
  }

  /** PAR (RFC 9126): the parameters go ahead, and the browser brings a reference to them. */
  async function pushed(as: Metadata, parameters: Parameters): Promise<Parameters> {
    const url = endpoint(as, 'pushed_authorization_request_endpoint');
    const answer = await send(await tokenRequest(url, parameters), { timeoutMs: 5_000, mayRepeat: false });
    if (answer.kind === 'unanswered') throw new ProviderFailure(answer.reason, 'No answer.', answer.error);
    const requestUri = nonEmptyString(answer.body.request_uri);
    if (answer.status >= 200 && answer.status < 300 && requestUri !== undefined) {
      return { client_id: clientId, request_uri: requestUri };
    }
    const cause = knownErrorCode(answer.body) ?? `http_${answer.status}`;
    const message = `The provider refused a pushed authorization request (${cause}).`;
    tell({ problem: 'metadata', cause: `par_${cause}`, option: 'provider', message });
    throw new ProviderFailure(answer.status >= 500 ? 'server_error' : 'provider_misconfigured', message, cause);
  }

  // Reading.

  function idTokenKeys(as: Metadata): KeySet | Uint8Array {
    if (idTokenAlgorithm === 'HS256') return new TextEncoder().encode(clientSecret);
    return keySetOf(provider, { keysUrl: endpoint(as, 'jwks_uri'), agent });
  }

  /** What every token must satisfy that the provider writes for this client. */
  async function tokenRules({ clockToleranceSeconds }: ReadSettings): Promise<ProviderTokenRules> {
    const { value: as } = await metadata.get();
    return {
      ...issuersOf(as),
      clientId,
      algorithms: idTokenAlgorithm === undefined ? asymmetricOf(as) : [idTokenAlgorithm],
      keys: idTokenKeys(as),
      clockToleranceSeconds,
    };
  }

  async function verified(
    idToken: string,
    accessTokenBeside: string | undefined,
    settings: ReadSettings,
    expected: { nonce?: string; subject?: string | undefined; sameIssuer?: string | undefined },
  ): Promise<SessionClaims> {
    return verifyIdToken(idToken, { ...(await tokenRules(settings)), accessToken: accessTokenBeside, ...expected });
  }

  function readTokens(answer: Answer): TokenSet | undefined {
    const token = nonEmptyString(answer.access_token);
    if (token === undefined) return undefined;
    const lifetime = Number(answer.expires_in);
    const isJwt = !isAuto && accessToken !== 'opaque';
    return {
      accessToken: token,
      refreshToken: nonEmptyString(answer.refresh_token),
      ...(isAuto && { tokenKind: 'undecided' as const }),
      expiresIn: !isJwt && lifetime > 0 && Number.isFinite(lifetime) ? lifetime : undefined,
    };
  }

  /** What guards read of an ID token. A function may read any of it. */
  function guardedClaims(claims: SessionClaims): Record<string, unknown> {
    if (map) return claimsFor(map, claims);
    return Object.fromEntries(Object.entries(claims).filter(([name]) => !ofTheTokenItself.has(name)));
  }

  /** The user, with what the ID token lacks from the userinfo endpoint. */
  async function userOf(claims: SessionClaims, token: string): Promise<User> {
    const { value: as } = await metadata.get();
    const isWanted = userinfo ?? lacksScope(claims, scopeAt(as));
    const url = isWanted ? optionalEndpoint(as, 'userinfo_endpoint') : undefined;
    const more = url === undefined ? {} : await askUserinfo(url, token);
    if (more.sub !== undefined && more.sub !== claims.sub) throw new CheckFailed('userinfo_subject');
    const issuer = hasSeveralIssuers ? { issuer: claims.iss } : {};
    return { ...readUser(more), ...readUser(claims), ...issuer };
  }

  async function askUserinfo(url: string, token: string): Promise<SessionClaims> {
    try {
      const found = await getJson(url, { agent, bearer: token });
      // Core 5.3.2: without `sub`, it cannot be known whose it is.
      return typeof found.sub === 'string' ? found : { sub: '' };
    } catch (error) {
      const cause = failureDetail(error);
      tell({
        problem: 'userinfo',
        cause,
        option: 'provider.userinfo',
        message: `The userinfo endpoint did not answer (${cause}), so users have only what is in the ID token.`,
      });
      return {};
    }
  }

  /** Whose access token it is, where the provider names the user in another way to an API than to a client. */
  function subjectOf(token: string, userId: unknown): string | undefined {
    if (isAuto || accessToken === 'opaque') return undefined;
    const { sub } = unverifiedClaims(token);
    return typeof sub === 'string' && sub !== userId ? sub : undefined;
  }

  const provider: Provider = Object.freeze({
    name: 'oidc',
    id: `oidc ${issuers.map((each) => each.replace(/\/+$/, '')).join(' ')} ${clientId}`,
    cookieName: '__Host-session',
    refreshTokens,
    responseMode,
    accessTokenOptions: 'provider.accessToken',
    problems,

    onMisconfigured: (listen) => {
      listeners.add(listen);
    },

    accessToken: (token: string, kind?: TokenKind | 'bearer') => {
      const isBearer = kind === 'bearer';
      if (!isBearer && isOpaque(token, kind)) return 'opaque';
      const read = isBearer ? bearerRulesOf : rulesOf;
      const known = metadata.peek();
      return known ? read(known.value) : metadata.get().then(({ value }) => read(value));
    },

    mapClaims: (accessClaims: SessionClaims, idClaims: SessionClaims) => {
      if (typeof given.mapClaims === 'function') return withLists(given.mapClaims(accessClaims, idClaims));
      const isVerified = Object.keys(accessClaims).length > 0;
      return withLists(grantedBy(map ?? {}, isVerified ? accessClaims : idClaims));
    },

    refreshRequest: async ({ refreshToken, organizationId }: RefreshGrant) => {
      const { value: as } = await metadata.get();
      return tokenRequest(endpoint(as, 'token_endpoint'), {
        grant_type: 'refresh_token',
        refresh_token: refreshToken,
        resource,
        organization_id: organizationId,
      });
    },
    readRefresh: async (answer, previous: SessionPayload, settings = usualSettings) => {
      const tokens = readTokens(answer);
      const idToken = nonEmptyString(answer.id_token);
      if (!tokens) return undefined;
      if (idToken === undefined) {
        if (hasGuardedClaims(previous) && previous.tokenKind !== 'jwt') tellOldClaims(tell, 'no_id_token');
        return tokens;
      }
      try {
        // OpenID Connect Core 1.0, section 12.2: the same issuer, the same person, the same client.
        const claims = await verified(idToken, tokens.accessToken, settings, {
          subject: previous.user?.id,
          sameIssuer: previous.tokenIssuer,
        });
        const guarded = guardedClaims(claims);
        const saysNothing = Object.keys(guarded).length === 0 && !hasGuardedClaims(previous);
        return {
          ...tokens,
          ...signInFacts(claims),
          ...(!saysNothing && { idClaims: guarded }),
          user: userAfterRefresh(previous.user, claims, map ? claimNamesOf(map) : []),
        };
      } catch (error) {
        const check = failedCheck(error);
        // The keys cannot be had, or the clock is wrong: nothing is taken from this ID token, and nothing is lost.
        if (isProviderFailure(error) || ignoredAtRefresh.has(check)) {
          tellOldClaims(tell, check ?? failureDetail(error));
          return tokens;
        }
        throw new ProviderFailure(
          'provider_misconfigured',
          'The refresh answered with an ID token that does not pass the checks.',
          check,
        );
      }
    },
    terminalReason: ({ error }) => endingOf(endings, error),

    authorizationUrl: async ({ redirectUri, state, nonce, codeChallenge, parameters: asked }: SignInRequest) => {
      const { value: as } = await metadata.get();
      const url = new URL(endpoint(as, 'authorization_endpoint'));
      const parameters: Parameters = {
        ...authorizationParameters,
        ...parametersOf(asked, as),
        client_id: clientId,
        response_type: 'code',
        ...(responseMode && { response_mode: responseMode }),
        redirect_uri: redirectUri,
        scope: asked.scope ?? scopeAt(as),
        resource,
        state,
        nonce,
        code_challenge: codeChallenge,
        code_challenge_method: 'S256',
      };
      const isPushed = as.require_pushed_authorization_requests === true;
      for (const [key, value] of Object.entries(isPushed ? await pushed(as, parameters) : parameters)) {
        if (value !== undefined) url.searchParams.delete(key);
        for (const each of [value ?? []].flat()) url.searchParams.append(key, each);
      }
      return url.href;
    },
    codeRequest: async (callback, { state, redirectUri, codeVerifier }: SignInRequest) => {
      const { value: as } = await metadata.get();
      checkCallback(callback, state, as, issuersOf(as));
      const keys = idTokenKeys(as);
      // Before the code is spent: without keys its answer could not be used.
      if (!(keys instanceof Uint8Array)) await keys.ready();
      return tokenRequest(endpoint(as, 'token_endpoint'), {
        grant_type: 'authorization_code',
        code: callback.get('code') ?? undefined,
        redirect_uri: redirectUri,
        code_verifier: codeVerifier,
        resource,
      });
    },
    readSignIn: async (answer, { nonce }: SignInRequest, settings = usualSettings) => {
      const tokens = readTokens(answer);
      if (!tokens) return undefined;
      const { token_type: type } = answer;
      if (typeof type === 'string' && type.toLowerCase() !== 'bearer') throw new CheckFailed('token_type');
      const idToken = nonEmptyString(answer.id_token);
      if (idToken === undefined) throw new CheckFailed('id_token_missing');
      const claims = await verified(idToken, tokens.accessToken, settings, { nonce });
      if (tokens.refreshToken === undefined) tellNoRefreshToken(tell);
      const guarded = guardedClaims(claims);
      const tokenSubject = subjectOf(tokens.accessToken, claims.sub);
      return {
        ...tokens,
        idToken,
        ...signInFacts(claims),
        ...(Object.keys(guarded).length > 0 && { idClaims: guarded }),
        ...(tokenSubject !== undefined && { tokenSubject }),
        ...(hasSeveralIssuers && typeof claims.iss === 'string' && { tokenIssuer: claims.iss }),
        user: await userOf(claims, tokens.accessToken),
      };
    },

    logoutUrl: async ({ returnTo, idToken, sid, state }) => {
      const page = given.logoutUrl ?? optionalEndpoint((await metadata.get()).value, 'end_session_endpoint');
      if (page === undefined) return undefined;
      const url = new URL(page);
      const parameters = {
        client_id: clientId,
        post_logout_redirect_uri: returnTo,
        // Without a hint, some providers ask the visitor whether to sign out, and others do not come back.
        id_token_hint: idToken,
        logout_hint: idToken === undefined ? sid : undefined,
        state: returnTo === undefined ? undefined : state,
        ...given.logoutParameters,
      };
      for (const [name, value] of Object.entries(definedOnly(parameters))) url.searchParams.set(name, value);
      return url.href;
    },
    revocationRequest: async ({ refreshToken }) => {
      const { value: as } = await metadata.get();
      const url = optionalEndpoint(as, 'revocation_endpoint');
      return url === undefined
        ? undefined
        : tokenRequest(url, { token: refreshToken, token_type_hint: 'refresh_token' });
    },
    readLogoutToken: async (token, settings = usualSettings) => verifyLogoutToken(token, await tokenRules(settings)),
  } satisfies Provider);
  // What its users are is for the app to say.
  return provider as Provider<U>;
}

/** The asymmetric algorithms that the metadata names, or the one that every provider has. */
function asymmetricOf({ id_token_signing_alg_values_supported: named }: Metadata): readonly string[] {
  const asymmetric = Array.isArray(named) ? named.filter(isAsymmetric) : [];
  return asymmetric.length > 0 ? asymmetric : ['RS256'];
}

/** What a sign-in asks for, in the names of OpenID Connect, and in those of common providers where it has none. */
function parametersOf(asked: BeginSignIn, as: Metadata): Record<string, string> {
  refuseParameters('oidc', asked, ['provider', 'providerScopes']);
  const prompts = as.prompt_values_supported;
  // Initiating User Registration via OpenID Connect 1.0. Auth0 has a parameter of its own.
  const knowsCreate = Array.isArray(prompts) && prompts.includes('create');
  const isSignUp = asked.screenHint === 'sign-up';
  return definedOnly({
    organization: asked.organizationId,
    connection: asked.connectionId,
    domain_hint: asked.domainHint,
    login_hint: asked.loginHint,
    invitation: asked.invitationToken,
    screen_hint: isSignUp && !knowsCreate ? 'signup' : undefined,
    prompt: asked.prompt ?? (isSignUp && knowsCreate ? 'create' : undefined),
    max_age: asked.maxAuthAgeSeconds?.toString(),
    acr_values: asked.acrValues?.join(' '),
    ui_locales: asked.uiLocales?.join(' '),
  });
}

/** How the client proves itself with a secret, as the metadata asks for. */
function usualAuthentication({ token_endpoint_auth_methods_supported: named }: Metadata): ClientAuthentication {
  const offered: readonly unknown[] = Array.isArray(named) ? named : ['client_secret_basic'];
  const methods = ['client_secret_basic', 'client_secret_post', 'client_secret_jwt'] as const;
  return { method: methods.find((method) => offered.includes(method)) ?? 'client_secret_basic' };
}

/** Checks what the browser brought back: `state`, and the issuer where it is sent (RFC 9207). */
function checkCallback(
  callback: URLSearchParams,
  state: string,
  as: Metadata,
  issuers: ReturnType<ReturnType<typeof metadataSource>['issuersOf']>,
): void {
  const isOnce = ['code', 'state', 'iss'].every((name) => callback.getAll(name).length <= 1);
  if (!isOnce || callback.get('state') !== state || !callback.get('code') || callback.has('error')) {
    throw new CheckFailed('callback_parameters');
  }
  const iss = callback.get('iss');
  const isPromised = as.authorization_response_iss_parameter_supported === true;
  // Another provider's code must not be sent here.
  if (iss === null ? isPromised : !isIssuerName(iss, issuers)) throw new CheckFailed('callback_issuer');
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
