import { createHash, randomUUID } from 'node:crypto';

import { createEndpoint, type Endpoint, type RecordedRequest } from './endpoint.js';
import { listen } from './http-server.js';
import { type Claims, createSigner } from './signer.js';
import { plant } from './watch.js';

export interface IssuerOptions {
  /** What its access tokens are. */
  accessTokens: 'opaque' | 'JWT';
  /** Who signs in. */
  user: string;
  clientId: string;
  /** The claim `aud` of JWT access tokens. Default: the client. */
  audience: string;
}

export type Issuer = Awaited<ReturnType<typeof startIssuer>>;

/**
 * An OpenID provider whose tokens a spec can make itself, with access tokens of either kind. Refresh tokens can be used
 * once: a second use ends the session. `oidc-provider` knows its tokens alone.
 */
export async function startIssuer(options: Partial<IssuerOptions> = {}) {
  const settings: IssuerOptions = {
    accessTokens: 'JWT',
    user: 'user_01',
    clientId: 'client_01',
    audience: options.clientId ?? 'client_01',
    ...options,
  };
  const clientSecret = 'a_secret_of_the_client';
  const signer = await createSigner();
  const live = new Map<string, string>();
  const spent = new Set<string>();
  const codes = new Map<string, { nonce: string; challenge: string; user: string }>();

  const metadata = createEndpoint(() => ({
    status: 200,
    body: {
      issuer: url,
      authorization_endpoint: `${url}/authorize`,
      token_endpoint: `${url}/token`,
      jwks_uri: `${url}/jwks`,
      end_session_endpoint: `${url}/logout`,
      revocation_endpoint: `${url}/revoke`,
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256'],
      authorization_response_iss_parameter_supported: true,
    },
  }));
  const keys = createEndpoint(() => ({ status: 200, body: signer.jwks() }));
  const revocation = createEndpoint(() => ({ status: 200, body: {} }));
  const token = createEndpoint(async ({ body }) => {
    if (body.grant_type === 'refresh_token') {
      const refreshToken = body.refresh_token ?? '';
      const user = live.get(refreshToken);
      if (user === undefined) {
        if (spent.has(refreshToken)) issuer.reuses += 1;
        return { status: 400, body: { error: 'invalid_grant' } };
      }
      live.delete(refreshToken);
      spent.add(refreshToken);
      return { status: 200, body: answerOf(await issue({ user })) };
    }
    const known = codes.get(body.code ?? '');
    codes.delete(body.code ?? '');
    const challenge = createHash('sha256')
      .update(body.code_verifier ?? '')
      .digest('base64url');
    if (known?.challenge !== challenge) return { status: 400, body: { error: 'invalid_grant' } };
    const { user, nonce } = known;
    return { status: 200, body: { ...answerOf(await issue({ user })), id_token: await idToken({ sub: user, nonce }) } };
  });
  const authorize = createEndpoint(({ url: asked }: RecordedRequest) => {
    const query = new URL(asked, url).searchParams;
    const back = new URL(query.get('redirect_uri') ?? '');
    const code = randomUUID();
    plant('a code', code);
    codes.set(code, {
      nonce: query.get('nonce') ?? '',
      challenge: query.get('code_challenge') ?? '',
      user: issuer.user,
    });
    back.searchParams.set('code', code);
    back.searchParams.set('state', query.get('state') ?? '');
    back.searchParams.set('iss', url);
    return { status: 302, headers: { Location: back.href } };
  });

  const endpoints: Record<string, Endpoint> = {
    '/.well-known/openid-configuration': metadata,
    '/jwks': keys,
    '/token': token,
    '/authorize': authorize,
    '/revoke': revocation,
  };
  const { url, close } = await listen((req, res) => {
    const endpoint = endpoints[new URL(req.url ?? '/', 'http://localhost').pathname];
    if (endpoint) void endpoint.handle(req, res);
    else res.writeHead(404).end();
  });

  const now = () => Math.floor(Date.now() / 1000);

  /** A complete set of claims of an access token; `undefined` removes one. */
  function claims(changes: Claims = {}): Claims {
    return {
      iss: url,
      sub: issuer.user,
      aud: issuer.audience,
      client_id: issuer.clientId,
      jti: randomUUID(),
      iat: now() - 30,
      exp: now() + 300,
      ...changes,
    };
  }

  function idToken(changes: Claims = {}): Promise<string> {
    return signer.sign({ iss: url, aud: issuer.clientId, iat: now(), exp: now() + 300, ...changes });
  }

  /** The tokens of a session that has just begun; with a lifetime below nothing, of one whose access token is over. */
  async function issue({ user = issuer.user, lifetimeSeconds = 300, claims: changes = {} } = {}) {
    const refreshToken = `rt-${randomUUID()}`;
    live.set(refreshToken, user);
    const accessToken =
      issuer.accessTokens === 'opaque'
        ? `at-${randomUUID()}`
        : await signer.sign(claims({ sub: user, exp: now() + lifetimeSeconds, ...changes }));
    plant('a refresh token', refreshToken);
    plant('an access token', accessToken.slice(accessToken.indexOf('.') + 1));
    return {
      accessToken,
      refreshToken,
      user: { id: user },
      ...(issuer.accessTokens === 'opaque' && { expiresIn: lifetimeSeconds }),
    };
  }

  const issuer = {
    ...settings,
    url,
    close,
    clientSecret,
    sign: signer.sign,
    forge: signer.forge,
    rotateKeys: signer.rotate,
    claims,
    idToken,
    issue,
    token,
    authorize,
    revocation,
    /** Every request that brings a token or a code. */
    received: () => [...token.requests, ...revocation.requests],
    isLive: (refreshToken: string) => live.has(refreshToken),
    /** How many refresh tokens were presented a second time. */
    reuses: 0,
  };
  return issuer;
}

type Issued = { accessToken: string; refreshToken: string; expiresIn?: number };

function answerOf({ accessToken, refreshToken, expiresIn }: Issued): Record<string, unknown> {
  return { access_token: accessToken, refresh_token: refreshToken, token_type: 'Bearer', expires_in: expiresIn ?? 300 };
}
