import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

import { jest } from '@jest/globals';
import { exportJWK, generateKeyPair } from 'jose';
import { type ClientMetadata, type Configuration, type KoaContextWithOIDC, Provider } from 'oidc-provider';

import { listen } from './http-server.js';

export interface OidcServerOptions {
  /** Of the first and of every later access token. */
  accessTokenSeconds?: number;
  /** Opaque access tokens instead of JWTs. */
  opaque?: boolean;
  /** Whether a refresh token can be used once only, a second use ending the grant. */
  rotate?: boolean;
  /** Of ID tokens and JWT access tokens. */
  algorithm?: 'RS256' | 'PS256' | 'ES256' | 'EdDSA';
  /** Below which path the issuer lives. */
  path?: string;
  /** Changes the configuration, and that of its one client. */
  configure?: (configuration: Configuration, client: ClientMetadata) => void;
  /** Where browsers may be sent back to. */
  redirectUris?: string[];
  /** Whether the visitor declines, asked at each sign-in. */
  declines?: () => boolean;
  /** How the visitor signs in. */
  loginDetails?: () => { acr?: string; amr?: string[] };
}

export type OidcServer = Awaited<ReturnType<typeof startOidcServer>>;

/** `oidc-provider` itself, in memory: signs in whoever comes as `user_01`, without asking. */
export async function startOidcServer({
  accessTokenSeconds = 300,
  opaque = false,
  rotate = true,
  algorithm = 'RS256',
  path = '',
  configure = () => undefined,
  redirectUris = ['https://app.example.com/callback'],
  declines = () => false,
  loginDetails = () => ({}),
}: OidcServerOptions = {}) {
  const clientId = 'client_01';
  const clientSecret = 'a secret of the client: with % and + in it';
  const audience = 'urn:example:api';
  const grants: { type: string; outcome: 'success' | 'error' }[] = [];
  const grantIds = new Set<string>();
  let handle: (req: IncomingMessage, res: ServerResponse) => unknown = (_req, res) => res.end();

  const server = await listen((req, res) => void handle(req, res));
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true });
  const configuration: Configuration = {
    clients: [
      {
        client_id: clientId,
        client_secret: clientSecret,
        id_token_signed_response_alg: algorithm,
        grant_types: ['authorization_code', 'refresh_token'],
        redirect_uris: redirectUris,
        post_logout_redirect_uris: ['https://app.example.com/'],
      },
    ],
    jwks: { keys: [{ ...(await exportJWK(privateKey)), alg: algorithm, use: 'sig', kid: randomUUID() }] },
    cookies: { keys: [randomUUID()] },
    pkce: { required: () => true },
    claims: { openid: ['sub'], profile: ['name'], email: ['email'] },
    conformIdTokenClaims: false,
    rotateRefreshToken: rotate,
    issueRefreshToken: () => true,
    extraTokenClaims: (_ctx, token) => ({ sid: 'grantId' in token ? token.grantId : undefined }),
    ttl: {
      AccessToken: accessTokenSeconds,
      Interaction: 600,
      Session: 86_400,
      Grant: 86_400,
      RefreshToken: 86_400,
      IdToken: 600,
    },
    features: {
      devInteractions: { enabled: false },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: !opaque,
        defaultResource: () => audience,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          audience,
          scope: '',
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: algorithm } },
          accessTokenTTL: accessTokenSeconds,
        }),
      },
    },
    interactions: { url: (_ctx, { uid }) => `${path}/interaction/${uid}` },
    findAccount: (_ctx, sub) => ({
      accountId: sub,
      claims: () => ({ sub, name: 'One', email: 'one@example.com' }),
    }),
    async loadExistingGrant({ oidc: { account, client } }) {
      const grant = new provider.Grant({ accountId: account!.accountId, clientId: client!.clientId });
      grant.addOIDCScope('openid profile email offline_access');
      grantIds.add(await grant.save());
      return grant;
    },
  };
  if (algorithm !== 'RS256') configuration.enabledJWA = { idTokenSigningAlgValues: [algorithm, 'RS256'] };
  configure(configuration, configuration.clients![0]!);
  // It advises a database and a newer Node, for production.
  jest.spyOn(console, 'warn').mockImplementation(() => undefined);
  jest.spyOn(console, 'info').mockImplementation(() => undefined);
  const provider = new Provider(`${server.url}${path}`, configuration);
  const record = (outcome: 'success' | 'error') => (ctx: KoaContextWithOIDC) => {
    grants.push({ type: String(ctx.oidc.params?.grant_type), outcome });
  };
  provider.on('grant.success', record('success'));
  provider.on('grant.error', record('error'));
  const callback = provider.callback();
  handle = async (req, res) => {
    if (path !== '') Object.assign(req, { originalUrl: req.url, url: req.url?.slice(path.length) });
    if (req.url?.startsWith('/interaction/')) {
      const answer = declines()
        ? { error: 'access_denied' }
        : { login: { accountId: 'user_01', ...loginDetails() }, consent: {} };
      await provider.interactionFinished(req, res, answer);
    } else {
      await callback(req, res);
    }
  };

  return {
    url: `${server.url}${path}`,
    clientId,
    clientSecret,
    audience,
    grants,
    refreshes: (outcome: 'success' | 'error' = 'success') =>
      grants.filter((grant) => grant.type === 'refresh_token' && grant.outcome === outcome).length,
    /** Whether every grant that was ever given still is one: reuse detection ends them. */
    grantsAlive: async () => (await Promise.all([...grantIds].map((id) => provider.Grant.find(id)))).every(Boolean),
    close: () => server.close(),
  };
}
