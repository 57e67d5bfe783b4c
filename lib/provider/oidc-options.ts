import {
  type Check,
  type Checks,
  list,
  object,
  oneOf,
  optional,
  readOptions,
  secureBaseUrl,
  secureUrl,
  text,
  textOrList,
  textRecord,
} from '../checks.js';
import type { ConfigProblem } from '../errors.js';
import { isRecord } from '../json.js';
import { type ClaimMap, claimMapProblem, type ClaimMapper } from '../session/claim-map.js';
import { isTemplate } from '../token/issuer.js';
import type { Agents } from '../wire/agents.js';
import {
  type ClientAuthentication,
  type ClientAuthenticationFunction,
  clientAuthenticationProblem,
  needsSecret,
} from '../wire/client-authentication.js';
import { operatorErrors } from '../wire/error-code.js';
import type { Provider } from './provider.js';

/** What a JWT access token must say. */
export interface AccessTokenOptions {
  /** Its `iss`, where that is not the provider's. Default: `issuer`. */
  readonly issuer?: string | readonly string[] | undefined;
  /**
   * One of these must be in its `aud`. Default: `resource`, else the parameter `audience` of the authorization request.
   * Without any, the token must name this client.
   */
  readonly audience?: string | readonly string[] | undefined;
  /** Asymmetric algorithms. Default: those that the metadata names. */
  readonly algorithms?: readonly string[] | undefined;
}

/** The options of `oidc()`. */
export interface OidcOptions {
  /**
   * The issuer identifier, below which the metadata is found. A list for a provider with several, or a template such as
   * `https://login.microsoftonline.com/{tenantid}/v2.0`, with `tenants`.
   */
  issuer: string | readonly string[] | undefined;
  /** The metadata, or its address, where it does not lie below the issuer. Default: found by discovery. */
  metadata?: string | Readonly<Record<string, unknown>> | undefined;
  /** Whose users may sign in, where the issuer is a template: tenant ids, or `any` for every Microsoft account. */
  tenants?: readonly string[] | 'any' | undefined;
  /** The id of the client that is registered with the provider. */
  clientId: string | undefined;
  /** Sent as HTTP Basic, or as the provider's metadata asks for. Required unless `clientAuthentication` is given. */
  clientSecret?: string | undefined;
  /**
   * How the client proves itself: `{ method: 'private_key_jwt', key }`, `{ method: 'client_secret_post' }` and others, or
   * a function of `oauth4webapi`. Default: what the metadata asks for.
   */
  clientAuthentication?: ClientAuthentication | ClientAuthenticationFunction | undefined;
  /** Default: `openid profile email`, and `offline_access` unless the metadata lists scopes without it. */
  scope?: string | undefined;
  /** The resource server that the access token is for (RFC 8707), or several. */
  resource?: string | readonly string[] | undefined;
  /**
   * What the access token is to this app. `auto` decides whenever tokens come: a JWT for us is verified, any other counts
   * as opaque. `opaque` never looks into it. `jwt` verifies it on each request; an object says with what. Default: `auto`.
   */
  accessToken?: 'auto' | 'opaque' | 'jwt' | AccessTokenOptions | undefined;
  /**
   * Where roles, permissions and the organization stand in the tokens: `{ roles: ['realm_access', 'roles'] }`, or a
   * function. Default: `role`, `roles`, `permissions`, `entitlements`, `feature_flags`, `org_id`.
   */
  mapClaims?: ClaimMap | ClaimMapper | undefined;
  /**
   * Whether the userinfo endpoint is asked at sign-in: `true` always, `false` never. Default: when the ID token lacks what
   * the scope asks for.
   */
  userinfo?: boolean | undefined;
  /** The algorithm of ID tokens. `HS256` takes the client's secret as the key. Default: the asymmetric ones of the metadata. */
  idTokenAlgorithm?: string | undefined;
  /**
   * Whether the provider accepts a refresh token twice. Default: `single-use`, with which a refresh is never repeated.
   * With `reusable` it is sent again when its answer was lost: for providers that do not rotate refresh tokens
   * (Google, Entra), or that have a grace period (Auth0, Okta, Cognito).
   */
  refreshTokens?: Provider['refreshTokens'] | undefined;
  /** More parameters for the authorization request, such as `prompt`. */
  authorizationParameters?: Readonly<Record<string, string>> | undefined;
  /** More parameters for the address that signs out at the provider, such as Auth0's `federated`. */
  logoutParameters?: Readonly<Record<string, string>> | undefined;
  /** Where the browser signs out at the provider. Default: the metadata's `end_session_endpoint`. */
  logoutUrl?: string | undefined;
  /**
   * More error codes with which this provider ends a session. For a provider that does not say `invalid_grant`. Default:
   * those of OAuth and OpenID Connect.
   */
  sessionEndingErrors?: readonly string[] | undefined;
  /** `form_post`: the code comes back in a form rather than in the address. Default: in the address. */
  responseMode?: 'form_post' | undefined;
  /** Hosts that may be asked over plain http, such as `keycloak:8080` inside a cluster. Default: none but loopback. */
  allowInsecureHosts?: readonly string[] | undefined;
  /** The connections for everything that is sent to the provider: `{ http, https }`. Default: our own. */
  agent?: Agents | undefined;
}

/** Whether an algorithm has a public key. With a symmetric one, everybody who knows the public key could sign. */
export function isAsymmetric(algorithm: unknown): algorithm is string {
  return typeof algorithm === 'string' && /^((RS|PS|ES)(256|384|512)|EdDSA|Ed25519|ML-DSA-\d+)$/.test(algorithm);
}

/** A host as `URL` writes it, so that `KEYCLOAK:80` and `keycloak` are the same. */
export function hostOf(host: string): string | undefined {
  const url = `http://${host}`;
  return /^[\w.\-:[\]]+$/.test(host) && URL.canParse(url) ? new URL(url).host : undefined;
}

/** What is wrong with a URL of the provider; nothing for plain http to a host that the options allow. */
export function urlProblem(
  value: unknown,
  allowInsecureHosts: readonly string[],
  check: Check = secureUrl,
): string | undefined {
  const isAllowed =
    typeof value === 'string' &&
    /^http:/i.test(value) &&
    URL.canParse(value) &&
    allowInsecureHosts.some((host) => hostOf(host) === new URL(value).host);
  return check(isAllowed ? value.replace(/^http:/i, 'https:') : value);
}

const accessTokenChecks: Checks<AccessTokenOptions> = {
  issuer: optional(textOrList),
  audience: optional(textOrList),
  algorithms: optional((value) =>
    Array.isArray(value) && value.length > 0 && value.every(isAsymmetric)
      ? undefined
      : 'must be a list of asymmetric algorithms, such as ["RS256"]: with a symmetric one the public key would be the secret.',
  ),
};

const agentChecks: Checks<Agents> = { http: optional(object), https: optional(object) };

const checks: Checks<OidcOptions> = {
  issuer: textOrList,
  metadata: optional((value) => (isRecord(value) ? undefined : text(value))),
  tenants: optional((value) => (value === 'any' ? undefined : list('tenant ids, or "any"', text)(value))),
  clientId: text,
  clientSecret: optional(text),
  clientAuthentication: optional(clientAuthenticationProblem),
  scope: optional((value) =>
    typeof value === 'string' && value.split(' ').includes('openid')
      ? undefined
      : 'must be a string that contains "openid".',
  ),
  resource: optional(textOrList),
  accessToken: optional((value) =>
    isRecord(value) || ['auto', 'opaque', 'jwt'].includes(value as string)
      ? undefined
      : 'must be "auto", "opaque", "jwt" or { issuer, audience, algorithms }.',
  ),
  mapClaims: optional(claimMapProblem),
  userinfo: optional((value) => (typeof value === 'boolean' ? undefined : 'must be true or false.')),
  idTokenAlgorithm: optional((value) =>
    value === 'HS256' || isAsymmetric(value) ? undefined : 'must be an asymmetric algorithm, or "HS256".',
  ),
  refreshTokens: optional(oneOf('single-use', 'reusable')),
  authorizationParameters: optional(textRecord),
  logoutParameters: optional(textRecord),
  logoutUrl: optional(secureUrl),
  sessionEndingErrors: optional((value) => {
    if (!Array.isArray(value) || !value.every((code) => text(code) === undefined))
      return 'must be a list of error codes.';
    const wrong = operatorErrors.find((code) => value.includes(code));
    return wrong && `must not hold "${wrong}": a mistake of the operator would sign every visitor out.`;
  }),
  responseMode: optional(oneOf('form_post')),
  allowInsecureHosts: optional(
    list('hosts such as "keycloak:8080", without a scheme', (value) =>
      typeof value === 'string' && hostOf(value) !== undefined ? undefined : 'is no host',
    ),
  ),
  agent: optional(object),
};

/** Reads the options, once, and says what is wrong with them. */
export function readOidcOptions(options: unknown): {
  readonly given: OidcOptions;
  readonly problems: ConfigProblem[];
} {
  const { given, problems } = readOptions<OidcOptions>('provider', options, checks);
  if (!isRecord(options)) return { given, problems };
  const isFine = (name: string) => !problems.some(({ path }) => path === `provider.${name}`);
  const add = (name: string, message: string | undefined) => {
    if (message !== undefined && isFine(name)) problems.push({ path: `provider.${name}`, message });
  };
  const { accessToken, agent, clientAuthentication, clientSecret } = given;

  if (isRecord(accessToken)) {
    problems.push(...readOptions<AccessTokenOptions>('provider.accessToken', accessToken, accessTokenChecks).problems);
  }
  if (isRecord(agent)) {
    problems.push(...readOptions<Agents>('provider.agent', agent, agentChecks).problems);
  }
  const wantsSecret =
    clientAuthentication === undefined || needsSecret(clientAuthentication) || given.idTokenAlgorithm === 'HS256';
  if (clientSecret === undefined && wantsSecret) {
    add(
      'clientSecret',
      clientAuthentication === undefined
        ? 'must be given, or "provider.clientAuthentication".'
        : 'must be given: it is the key.',
    );
  }
  if (isFine('issuer') && isFine('allowInsecureHosts') && isFine('metadata')) problems.push(...whereProblems(given));
  return { given: problems.length > 0 ? given : copyOf(given), problems };
}

/** A copy of the options: the caller's later changes are not what was checked. Keys and agents cannot be copied. */
function copyOf(options: OidcOptions): OidcOptions {
  const { accessToken, metadata } = options;
  return {
    ...options,
    issuer: copied(options.issuer),
    tenants: copied(options.tenants),
    resource: copied(options.resource),
    allowInsecureHosts: copied(options.allowInsecureHosts),
    authorizationParameters: { ...options.authorizationParameters },
    logoutParameters: { ...options.logoutParameters },
    accessToken: isRecord(accessToken) ? structuredClone(accessToken) : accessToken,
    metadata: isRecord(metadata) ? structuredClone(metadata) : metadata,
    mapClaims: typeof options.mapClaims === 'function' ? options.mapClaims : structuredClone(options.mapClaims),
  };
}

function copied<Value>(value: Value): Value {
  return Array.isArray(value) ? ([...(value as unknown[])] as Value) : value;
}

/** What is wrong with where the provider is said to be. */
function whereProblems({ issuer, metadata, tenants, allowInsecureHosts = [] }: OidcOptions): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const add = (name: keyof OidcOptions, message: string) => problems.push({ path: `provider.${name}`, message });
  const issuers = [issuer ?? []].flat();
  if (typeof metadata === 'string') {
    const message = urlProblem(metadata, allowInsecureHosts);
    if (message !== undefined) add('metadata', message);
  }
  if (issuers.some((each) => each.includes('/.well-known/'))) {
    add('issuer', 'is the address of metadata. Give that as "provider.metadata", and here the "issuer" that it names.');
  } else if (metadata === undefined) {
    // Where the metadata is found below it, an issuer must be a safe address. Elsewhere it is only a name.
    const message = issuers
      .map((each) => urlProblem(each.replaceAll('{tenantid}', 'tenant'), allowInsecureHosts, secureBaseUrl))
      .find((each) => each !== undefined);
    if (message !== undefined) add('issuer', message);
  }
  const hasTemplate = issuers.some(isTemplate);
  if (hasTemplate && tenants === undefined) {
    add('tenants', 'must be given with a template: a list of tenant ids, or "any" for every Microsoft account.');
  }
  if (!hasTemplate && tenants !== undefined) add('tenants', 'is for an "issuer" with "{tenantid}" in it.');
  return problems;
}
