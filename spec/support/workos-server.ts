import { createHash, randomUUID } from 'node:crypto';
import { createEndpoint, type Answer, type RecordedRequest } from './endpoint.js';
import { listen } from './http-server.js';
import { createSigner, type Claims } from './signer.js';
import { plant } from './watch.js';
import { answers } from './workos-answers.js';

export { answers } from './workos-answers.js';
export type { Answer, Endpoint, Fault, Hold, RecordedRequest } from './endpoint.js';

/** A user as WorkOS's API writes it. */
export interface ApiUser {
  object: 'user';
  id: string;
  email: string;
  email_verified: boolean;
  name: string | null;
  first_name: string | null;
  last_name: string | null;
  profile_picture_url: string | null;
  last_sign_in_at: string | null;
  locale: string | null;
  created_at: string;
  updated_at: string;
  external_id: string | null;
  metadata: Record<string, string>;
}

export interface SessionOverrides {
  user?: Partial<ApiUser>;
  organizationId?: string | undefined;
  /** Of the first access token only, and negative for one that has expired; those after it live as the server says. */
  lifetimeSeconds?: number;
  /** Laid over the claims of this and every later access token; `undefined` removes a claim. */
  claims?: Claims;
  impersonator?: { email: string; reason: string | null };
}

export interface WorkosSettings {
  clientId: string;
  apiKey: string;
  /** Whether a spent refresh token brings its successor again for a while (WorkOS), or ends the session at once. */
  mode: 'replay' | 'strict';
  replayWindowMs: number;
  /** Of access tokens. */
  lifetimeSeconds: number;
  /** Default: `<url>/user_management/<clientId>`. */
  issuer: string | undefined;
  /** Who signs in at the authorize page, or how that fails. */
  visitor: SessionOverrides | { error: string; error_description?: string };
}

interface Session {
  id: string;
  user: ApiUser;
  organizationId: string | undefined;
  claims: Claims;
  impersonator: { email: string; reason: string | null } | undefined;
  alive: boolean;
}

interface RefreshToken {
  session: Session;
  spent?: { at: number; successor: Promise<TokenResponse> };
}

export interface TokenResponse {
  user: ApiUser;
  organization_id?: string;
  access_token: string;
  refresh_token: string;
  authentication_method: string;
  impersonator?: { email: string; reason: string | null };
}

export type WorkosServer = Awaited<ReturnType<typeof startWorkosServer>>;

/**
 * A server that speaks WorkOS's wire: sign-in, the token endpoint with single-use refresh tokens, keys, log-out.
 * Its settings are properties of the server and may be changed at any time.
 */
export async function startWorkosServer(options: Partial<WorkosSettings> = {}) {
  const signer = await createSigner();
  const sessions = new Map<string, Session>();
  const refreshTokens = new Map<string, RefreshToken>();
  const codes = new Map<string, { challenge: string | null; visitor: SessionOverrides }>();

  const token = createEndpoint(authenticate);
  const keys = createEndpoint(() => ({ status: 200, body: signer.jwks() }));
  const authorize = createEndpoint(signIn);
  const logout = createEndpoint(signOut);
  const revoke = createEndpoint(revokeSession);

  const { url, close } = await listen((req, res) => {
    const { pathname } = new URL(req.url ?? '/', url);
    const routes: Record<string, typeof token> = {
      'POST /user_management/authenticate': token,
      [`GET /sso/jwks/${server.clientId}`]: keys,
      'GET /user_management/authorize': authorize,
      'GET /user_management/sessions/logout': logout,
      'POST /user_management/sessions/revoke': revoke,
    };
    const endpoint = routes[`${req.method ?? ''} ${pathname}`] ?? createEndpoint(() => answers.notFound);
    // A client that leaves while it is still sending is no fault of the server.
    endpoint.handle(req, res).catch(() => res.destroy());
  });

  const settings: WorkosSettings = {
    clientId: 'client_01',
    apiKey: 'sk_test_01',
    mode: 'replay',
    replayWindowMs: 30_000,
    lifetimeSeconds: 300,
    issuer: undefined,
    visitor: {},
    ...options,
  };

  const server = {
    ...settings,
    url,
    close,
    token,
    keys,
    authorize,
    logout,
    revoke,
    tokenRequests: token.requests,
    keyRequests: keys.requests,
    /** How many refresh grants were received, answered or not. */
    get refreshCount(): number {
      return token.requests.filter(({ body }) => body.grant_type === 'refresh_token').length;
    },
    signToken: signer.sign,
    forge: signer.forge,
    rotateKeys: signer.rotate,
    /** A complete set of claims for `signToken` and `forge`; `undefined` removes one. */
    claims: (overrides: Claims = {}): Claims => ({
      ...claimsOf(createSession({}), server.lifetimeSeconds),
      ...overrides,
    }),
    issueSession,
    sessions: {
      isAlive: (id: string): boolean => sessions.get(id)?.alive ?? false,
      /** As an administrator does it: refresh tokens die, access tokens live on. */
      revoke: (id: string): void => {
        find(id).alive = false;
      },
      /** What the next refresh brings: a renamed user, other permissions, another organization. */
      update: (id: string, changes: Omit<SessionOverrides, 'lifetimeSeconds'>): void => {
        const session = find(id);
        Object.assign(session, changes, {
          user: { ...session.user, ...changes.user },
          claims: { ...session.claims, ...changes.claims },
        });
      },
    },
  };

  return server;

  /** A session that has just been signed in to: its tokens, and the answer they came in. */
  async function issueSession(overrides: SessionOverrides = {}) {
    const session = createSession(overrides);
    sessions.set(session.id, session);
    const response = await grant(session, overrides.lifetimeSeconds ?? server.lifetimeSeconds);
    return {
      accessToken: response.access_token,
      refreshToken: response.refresh_token,
      user: response.user,
      sessionId: session.id,
      response,
    };
  }

  function find(id: string): Session {
    const session = sessions.get(id);
    if (!session) throw new Error(`No session ${id}`);
    return session;
  }

  function claimsOf(session: Session, lifetimeSeconds: number): Claims {
    const now = Math.floor(Date.now() / 1000);
    const exp = now + lifetimeSeconds;
    return {
      iss: server.issuer ?? `${url}/user_management/${server.clientId}`,
      sub: session.user.id,
      sid: session.id,
      jti: randomUUID(),
      // A token that has expired already was issued before that.
      iat: lifetimeSeconds > 0 ? now : exp - 300,
      exp,
      ...(session.organizationId && {
        org_id: session.organizationId,
        role: 'member',
        roles: ['member'],
        permissions: [],
        entitlements: [],
        feature_flags: [],
      }),
      ...(session.impersonator && { act: { sub: session.impersonator.email } }),
      ...session.claims,
    };
  }

  async function grant(session: Session, lifetimeSeconds: number): Promise<TokenResponse> {
    const refreshToken = randomUUID().replaceAll('-', '');
    refreshTokens.set(refreshToken, { session });
    const accessToken = await signer.sign(claimsOf(session, lifetimeSeconds));
    plant('a refresh token', refreshToken);
    // What comes before is the same in every token.
    plant('an access token', accessToken.slice(accessToken.indexOf('.') + 1));
    const { user, organizationId, impersonator } = session;
    return {
      user,
      ...(organizationId && { organization_id: organizationId }),
      access_token: accessToken,
      refresh_token: refreshToken,
      authentication_method: impersonator ? 'Impersonation' : 'Password',
      ...(impersonator && { impersonator }),
    };
  }

  async function authenticate({ headers, body }: RecordedRequest): Promise<Answer> {
    const credentials = [headers.authorization?.replace(/^Bearer /, ''), body.client_secret].filter(Boolean);
    if (credentials.length === 0 || credentials.some((credential) => credential !== server.apiKey)) {
      return answers.unauthorized;
    }
    if (body.client_id !== server.clientId) return answers.invalidClient;
    if (body.grant_type === 'refresh_token') return refresh(body);
    if (body.grant_type === 'authorization_code') return exchangeCode(body);
    return answers.unsupportedGrant;
  }

  async function refresh({ refresh_token = '', organization_id }: Record<string, string>): Promise<Answer> {
    const known = refreshTokens.get(refresh_token);
    if (!known?.session.alive) return answers.invalidGrant;
    const { session, spent } = known;
    if (!spent) {
      if (organization_id) session.organizationId = organization_id;
      // Spent before anything is awaited: of two requests at the same time one is the second.
      known.spent = { at: Date.now(), successor: grant(session, server.lifetimeSeconds) };
      return { status: 200, body: await known.spent.successor };
    }
    if (server.mode === 'strict') {
      session.alive = false;
      return answers.invalidGrant;
    }
    if (Date.now() - spent.at > server.replayWindowMs) return answers.invalidGrant;
    return { status: 200, body: await spent.successor };
  }

  async function exchangeCode({ code = '', code_verifier = '' }: Record<string, string>): Promise<Answer> {
    const known = codes.get(code);
    codes.delete(code);
    const proven = known && (known.challenge === null || known.challenge === sha256(code_verifier));
    if (!proven) {
      const error_description = `The code '${code}' has expired or is invalid.`;
      return { status: 400, body: { error: 'invalid_grant', error_description } };
    }
    return { status: 200, body: (await issueSession(known.visitor)).response };
  }

  function signIn(request: RecordedRequest): Answer {
    const query = new URL(request.url, url).searchParams;
    const redirectUri = query.get('redirect_uri');
    const selected = query.get('provider') ?? query.get('connection_id') ?? query.get('organization_id');
    const asked = query.get('client_id') === server.clientId && query.get('response_type') === 'code';
    if (!asked || !selected || !redirectUri || !['S256', null].includes(query.get('code_challenge_method'))) {
      return { status: 400, body: { error: 'invalid_request', error_description: `Cannot sign in: ${request.url}` } };
    }

    const back = new URL(redirectUri);
    const state = query.get('state');
    if (state !== null) back.searchParams.set('state', state);
    const { visitor } = server;
    if ('error' in visitor) {
      for (const [name, value] of Object.entries(visitor)) back.searchParams.set(name, value);
    } else {
      const code = randomUUID();
      plant('a code', code);
      const organizationId = query.get('organization_id') ?? visitor.organizationId;
      codes.set(code, { challenge: query.get('code_challenge'), visitor: { ...visitor, organizationId } });
      back.searchParams.set('code', code);
    }
    return { status: 302, headers: { Location: back.href } };
  }

  function revokeSession({ headers, body }: RecordedRequest): Answer {
    if (headers.authorization !== `Bearer ${server.apiKey}`) return answers.unauthorized;
    const session = sessions.get(body.session_id ?? '');
    if (!session?.alive) return answers.notFound;
    session.alive = false;
    return { status: 200, body: { object: 'session', id: session.id, status: 'revoked' } };
  }

  function signOut(request: RecordedRequest): Answer {
    const query = new URL(request.url, url).searchParams;
    const session = sessions.get(query.get('session_id') ?? '');
    if (!session) return { status: 400, body: { message: 'Invalid session ID.' } };
    session.alive = false;
    const returnTo = query.get('return_to');
    return returnTo === null
      ? { status: 200, body: { message: 'Signed out.' } }
      : { status: 302, headers: { Location: returnTo } };
  }
}

function createSession({ user, organizationId, claims = {}, impersonator }: SessionOverrides): Session {
  const id = `session_${randomUUID().replaceAll('-', '')}`;
  return { id, user: { ...someone(), ...user }, organizationId, claims, impersonator, alive: true };
}

function someone(): ApiUser {
  return {
    object: 'user',
    id: 'user_01',
    email: 'one@example.com',
    email_verified: true,
    name: 'User One',
    first_name: 'User',
    last_name: 'One',
    profile_picture_url: null,
    last_sign_in_at: '2026-01-01T00:00:00.000Z',
    locale: 'en',
    created_at: '2026-01-01T00:00:00.000Z',
    updated_at: '2026-01-01T00:00:00.000Z',
    external_id: null,
    metadata: {},
  };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}
