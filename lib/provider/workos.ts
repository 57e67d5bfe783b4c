import {
  bool,
  type Checks,
  list,
  object,
  optional,
  readOptions,
  secureBaseUrl,
  text,
  textOrList,
  textRecord,
} from '../checks.js';
import { isRecord, nonEmptyString } from '../json.js';
import { ironSealer } from '../seal/iron.js';
import { camelCaseFields } from '../session/codec.js';
import type { Impersonator, SessionPayload, SessionUser, TokenSet, User } from '../session/payload.js';
import type { SessionClaims } from '../session/profile.js';
import { unverifiedClaims } from '../session/unverified-claims.js';
import type { Agents } from '../wire/agents.js';
import { endingOf, workosEndings } from '../wire/error-code.js';
import { ProviderFailure } from '../wire/failure.js';
import { definedOnly, refuseParameters } from './parameters.js';
import type { BeginSignIn, NoticeHeaders, Provider, RefreshGrant, SignInRequest, TokenRequest } from './provider.js';
import { readWorkosWebhook } from './workos-webhook.js';

/** A user of WorkOS, in camelCase as its JavaScript packages seal it. */
export interface WorkosUser extends User {
  readonly email: string;
  /** Whether the e-mail address was verified. */
  readonly emailVerified: boolean;
  /** The given name. */
  readonly firstName: string | null;
  /** The family name. */
  readonly lastName: string | null;
  /** Where a picture is. */
  readonly profilePictureUrl: string | null;
  /** When the user signed in last, in ISO 8601. */
  readonly lastSignInAt: string | null;
  /** The app's own id of the user, where one was set. */
  readonly externalId: string | null;
  /** The app's own values at WorkOS. */
  readonly metadata: Readonly<Record<string, string>>;
  /** When the user was created, in ISO 8601. */
  readonly createdAt: string;
  /** When the user was changed last, in ISO 8601. */
  readonly updatedAt: string;
}

/** The options of `workos()`. */
export interface WorkosOptions {
  /** From the WorkOS dashboard, `client_…`. */
  clientId: string | undefined;
  /** The environment's secret key, `sk_…`. Sent to `baseUrl` only. */
  apiKey: string | undefined;
  /** The secret of the webhook endpoint, from the dashboard, for `routes.webhook`. Default: no webhooks. */
  webhookSecret?: string | undefined;
  /** Default: `https://api.workos.com`. Plain http for loopback hosts only. */
  baseUrl?: string | undefined;
  /**
   * Who may have issued an access token. Default: every issuer that WorkOS uses for this base URL and client id.
   * Set it for a custom authentication domain.
   */
  issuer?: string | readonly string[] | undefined;
  /** One of these must be in `aud`. Default: not checked, because WorkOS's tokens have none unless a template adds it. */
  audience?: string | readonly string[] | undefined;
  /** The connections for everything that is sent to WorkOS: `{ http, https }`. Default: our own. */
  agent?: Agents | undefined;
  /**
   * Whether WorkOS's dashboard may sign its users in as somebody else. It sends them to the callback without a `state`.
   * Such a callback is accepted only if WorkOS names the impersonator. Default: false.
   */
  dashboardImpersonation?: boolean | undefined;
  /**
   * The hosts of your AuthKit's own domain. When WorkOS asks a visitor for a step, the browser is sent to its address only
   * on these, on `baseUrl`'s host and below `authkit.app`. Default: none.
   */
  authkitHosts?: readonly string[] | undefined;
  /** More parameters for the authorization request, the same for each sign-in. */
  authorizationParameters?: Readonly<Record<string, string>> | undefined;
}

const checks: Checks<WorkosOptions> = {
  clientId: text,
  apiKey: text,
  webhookSecret: optional(text),
  baseUrl: optional(secureBaseUrl),
  issuer: optional(textOrList),
  audience: optional(textOrList),
  agent: optional(object),
  authorizationParameters: optional(textRecord),
  dashboardImpersonation: optional(bool),
  authkitHosts: optional(list('hosts, such as "auth.example.com"', host)),
};

/**
 * WorkOS AuthKit, through its User Management API. Wrong options are reported by `withSession`, with all others.
 *
 * @example
 * withSession({
 *   provider: workos({ clientId: process.env.WORKOS_CLIENT_ID, apiKey: process.env.WORKOS_API_KEY }),
 *   password: process.env.SESSION_PASSWORD,
 * });
 */
export function workos(options: WorkosOptions): Provider<WorkosUser & SessionUser> {
  const { given, problems } = readOptions('provider', options, checks);
  // With problems there is no provider to build. `withSession` reports them, and no method is called.
  const {
    clientId = '',
    apiKey = '',
    webhookSecret,
    baseUrl,
    issuer,
    audience,
    agent,
    authorizationParameters,
    dashboardImpersonation = false,
    authkitHosts = [],
  }: Partial<WorkosOptions> = problems.length ? {} : given;
  const { origin, pathname } = new URL(baseUrl ?? 'https://api.workos.com');
  const base = origin + pathname.replace(/\/+$/, '');

  const rules = {
    keysUrl: `${base}/sso/jwks/${encodeURIComponent(clientId)}`,
    agent,
    algorithms: ['RS256'],
    issuer: issuer === undefined ? issuersOf(base, clientId) : [issuer].flat(),
    audience: audience === undefined ? undefined : [audience].flat(),
    issuedToUs: (claims: SessionClaims) => issuedTo(clientId, claims),
  };

  function post(path: string, body: Record<string, string | undefined>): TokenRequest {
    return {
      url: `${base}/user_management/${path}`,
      headers: {
        'content-type': 'application/json',
        accept: 'application/json',
        authorization: `Bearer ${apiKey}`,
      },
      body: JSON.stringify(body),
      ...(agent && { agent }),
    };
  }

  function authenticate(grant: Record<string, string | undefined>): TokenRequest {
    return post('authenticate', { client_id: clientId, client_secret: apiKey, ...grant });
  }

  return Object.freeze({
    name: 'workos',
    id: `workos ${base} ${clientId}`,
    cookieName: 'wos-session',
    // A token that comes twice within a while brings the same new tokens.
    refreshTokens: 'reusable',
    sealsUserInCamelCase: true,
    // WorkOS's JavaScript packages read it.
    sealer: ironSealer(),
    acceptsImpersonation: dashboardImpersonation,
    knows: ['auth_time', 'organizations'],
    // Each client has a key set of its own.
    tokensNameClient: true,
    problems,

    accessToken: () => rules,

    // Some writers of the cookie do not seal the organization. The access token names it, even when it has expired.
    organizationOf: ({ organizationId, accessToken }: SessionPayload) =>
      organizationId ?? nonEmptyString(unverifiedClaims(accessToken).org_id),
    refreshRequest: ({ refreshToken, organizationId }: RefreshGrant) =>
      authenticate({ grant_type: 'refresh_token', refresh_token: refreshToken, organization_id: organizationId }),
    readRefresh: (answer, previous) => {
      const tokens = readTokens(answer);
      const was = previous.user?.id;
      if (was !== undefined && tokens?.user !== undefined && tokens.user.id !== was) {
        throw new ProviderFailure('provider_misconfigured', 'The refresh answered with another user.');
      }
      return tokens;
    },
    // Answers of the OAuth kind have `error`, those of the API's own kind have `code`.
    terminalReason: ({ error, code }) => endingOf(workosEndings, error, code),

    authorizationUrl: ({ redirectUri, state, codeChallenge, parameters }: SignInRequest) => {
      const query = new URLSearchParams({
        ...authorizationParameters,
        ...parametersOf(parameters),
        client_id: clientId,
        redirect_uri: redirectUri,
        response_type: 'code',
        state,
        code_challenge: codeChallenge,
        code_challenge_method: 'S256',
      });
      for (const scope of parameters.providerScopes ?? []) query.append('provider_scopes', scope);
      // One of the three says who signs in. AuthKit's own page does, unless something else was asked for.
      if (!query.has('provider') && !query.has('connection_id')) query.set('provider', 'authkit');
      return `${base}/user_management/authorize?${query.toString()}`;
    },
    codeRequest: (callback, { codeVerifier }: SignInRequest) =>
      authenticate({
        grant_type: 'authorization_code',
        code: callback.get('code') ?? undefined,
        // A code that the dashboard has asked for has none.
        code_verifier: codeVerifier || undefined,
      }),
    readSignIn: readTokens,

    interactionUrl: ({ authkit_redirect_url: url }) => {
      if (typeof url !== 'string' || !URL.canParse(url)) return undefined;
      const { origin: itsOrigin, protocol, hostname, username, href } = new URL(url);
      const isKnown = hostname.endsWith('.authkit.app') || authkitHosts.includes(hostname);
      return itsOrigin === origin || (protocol === 'https:' && username === '' && isKnown) ? href : undefined;
    },

    logoutUrl: ({ sessionId, returnTo }) => {
      if (sessionId === undefined) return undefined;
      const query = new URLSearchParams({ session_id: sessionId, ...(returnTo && { return_to: returnTo }) });
      return `${base}/user_management/sessions/logout?${query.toString()}`;
    },
    revokesSession: true,
    revocationRequest: ({ sessionId }) =>
      sessionId === undefined ? undefined : post('sessions/revoke', { session_id: sessionId }),
    ...(webhookSecret !== undefined && {
      readWebhook: (body: Buffer, headers: NoticeHeaders) => readWorkosWebhook(body, headers, webhookSecret),
    }),
  } satisfies Provider) as unknown as Provider<WorkosUser & SessionUser>;
}

function host(value: unknown): string | undefined {
  return typeof value === 'string' && /^[a-z\d-]+(\.[a-z\d-]+)+$/.test(value) ? undefined : 'is no host';
}

/** What a sign-in asks for, in WorkOS's names. */
function parametersOf(asked: BeginSignIn): Record<string, string> {
  refuseParameters('workos', asked, ['acrValues', 'uiLocales', 'scope']);
  const isAuthkit = asked.connectionId === undefined && (asked.provider ?? 'authkit') === 'authkit';
  if (asked.screenHint !== undefined && !isAuthkit) {
    throw new TypeError('"screenHint" is for AuthKit\'s own page: leave out "provider" and "connectionId".');
  }
  return definedOnly({
    organization_id: asked.organizationId,
    connection_id: asked.connectionId,
    domain_hint: asked.domainHint,
    login_hint: asked.loginHint,
    invitation_token: asked.invitationToken,
    screen_hint: asked.screenHint,
    prompt: asked.prompt,
    max_age: asked.maxAuthAgeSeconds?.toString(),
    provider: asked.provider,
  });
}

/** Whether a token names this client: as `client_id`, or at the end of its issuer. Older tokens name none. */
function issuedTo(clientId: string, { client_id: named, iss }: SessionClaims): boolean | 'unsaid' {
  if (named !== undefined) return named === clientId;
  return (typeof iss === 'string' && iss.endsWith(`/${clientId}`)) || 'unsaid';
}

/** Every `iss` that WorkOS is known to use. It depends on the age of the environment and on its features. */
function issuersOf(base: string, clientId: string): string[] {
  return [base, `${base}/`, ...['user_management', 'sso', 'convex'].map((path) => `${base}/${path}/${clientId}`)];
}

function readTokens(answer: Readonly<Record<string, unknown>>): TokenSet | undefined {
  const accessToken = nonEmptyString(answer.access_token);
  if (accessToken === undefined) return undefined;
  const { auth_time: authTime } = unverifiedClaims(accessToken);
  return {
    accessToken,
    // Sealed at the sign-in, so that no refresh renews it.
    ...(typeof authTime === 'number' && { authenticatedAt: authTime }),
    refreshToken: nonEmptyString(answer.refresh_token),
    user: readUser(answer.user),
    organizationId: nonEmptyString(answer.organization_id),
    authenticationMethod: nonEmptyString(answer.authentication_method),
    impersonator: readImpersonator(answer.impersonator),
    oauthTokens: isRecord(answer.oauth_tokens) ? camelCaseFields(answer.oauth_tokens) : undefined,
  };
}

/** The API's snake_case user, under the names that WorkOS's JavaScript packages use. */
function readUser(value: unknown): User | undefined {
  if (!isRecord(value) || nonEmptyString(value.id) === undefined) return undefined;
  return camelCaseFields(value) as unknown as User;
}

function readImpersonator(value: unknown): Impersonator | undefined {
  if (!isRecord(value) || typeof value.email !== 'string') return undefined;
  return { email: value.email, reason: nonEmptyString(value.reason) ?? null };
}
