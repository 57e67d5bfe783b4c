import { createHash, randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

import { type CryptoKey, exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';

import { listen } from './http-server.js';

type Claims = Record<string, unknown>;

/** How one vendor's server speaks. Everything can be changed while it runs. */
export interface Wire {
  /** Instead of the server's own address, as `iss` of its tokens and as `issuer` of its metadata. */
  issuer?: string;
  /** The `issuer` of the metadata, where it is not the one of the tokens. */
  metadataIssuer?: string;
  /** Changes the metadata; a field that is `undefined` is left out. */
  metadata?: Claims;
  /** Where the metadata lies. */
  metadataPath?: string;
  /** Changes the claims of the ID token; `false` for none. */
  idToken?: Claims | false;
  /** The same at a refresh. Default: as at sign-in. */
  idTokenAtRefresh?: Claims | false;
  /** The algorithm of ID tokens; of JWT access tokens too unless said otherwise. */
  algorithm?: string;
  /** The claims of a JWT access token. Default: it is opaque. */
  accessToken?: Claims | undefined;
  /** Signs access tokens with a key that is not published. */
  unpublishedKey?: boolean;
  /** The algorithm of access tokens. */
  accessTokenAlgorithm?: string;
  /** What userinfo answers: claims, a status, or nothing at all. */
  userinfo?: Claims | number | 'nothing';
  /** Changes the answer of the token endpoint; `null` stays, `undefined` leaves out. */
  answer?: Claims;
  /** Scopes that it does not know, and for which it refuses the sign-in. */
  unknownScopes?: readonly string[];
  /** Whether it gives refresh tokens, and under which scope or parameter. */
  refreshToken?: boolean | ((parameters: URLSearchParams) => boolean);
  /** Whether a refresh brings a new refresh token. */
  rotates?: boolean;
  /** What a dead refresh token gets. */
  deadRefresh?: { status: number; body: Claims };
  /** What a code gets that is not known. */
  deadCode?: { status: number; body: Claims };
  /** Knows the client by its TLS certificate (RFC 8705), which the connection was taken for. */
  knowsClientByTls?: boolean;
  /** Compares the Basic credentials without decoding them. */
  doesNotDecode?: boolean;
  /** Parameters of the callback beside code and state. */
  callback?: Record<string, string>;
  /** The status that the key set answers with. */
  keysStatus?: number;
  /** `false`: neither the keys nor the tokens have an id. */
  keyIds?: boolean;
  /** Publishes another key as well, before its own. */
  otherKeys?: boolean;
  /** Signs with another key from now on, and publishes that one alone. */
  keyGeneration?: string;
  /** Signs ID tokens with a key that does not fit its id. */
  breaksSignature?: boolean;
}

export interface OpOptions {
  wire?: Wire;
  clientId?: string;
  clientSecret?: string;
}

export interface OpRequest {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage['headers'];
  form: URLSearchParams;
}

export type OpServer = Awaited<ReturnType<typeof startOpServer>>;

const pairs = new Map<string, Promise<{ privateKey: CryptoKey; publicKey: CryptoKey }>>();
const pairOf = (name: string, algorithm: string) => {
  const pair =
    pairs.get(name) ??
    generateKeyPair(algorithm === 'HS256' || algorithm === 'none' ? 'RS256' : algorithm, { extractable: true });
  pairs.set(name, pair);
  return pair;
};

/**
 * An OpenID provider that speaks as it is told: the wire of a vendor, or the misbehaviour of a conformance test. It signs
 * in whoever comes as `user_01`, without asking.
 */
export async function startOpServer({
  wire: given = {},
  clientId = 'client_01',
  clientSecret = 'the secret of the client',
}: OpOptions = {}) {
  const wire: Wire = { ...given };
  const requests: OpRequest[] = [];
  const issued: string[] = [];
  const codes = new Map<string, URLSearchParams>();
  const refreshTokens = new Map<string, URLSearchParams>();
  const pushed = new Map<string, URLSearchParams>();
  const now = () => Math.floor(Date.now() / 1000);

  const server = await listen((req, res) => {
    handle(req, res).catch((error: unknown) => {
      res.writeHead(500).end(String(error));
    });
  });

  const issuer = () => wire.issuer ?? server.url;
  const algorithm = () => wire.algorithm ?? 'RS256';
  const generation = () => wire.keyGeneration ?? 'first';

  async function sign(claims: Claims, name: string, alg: string, header: Claims = {}, by = name): Promise<string> {
    if (alg === 'none') return new UnsecuredJWT(claims).encode();
    const id = wire.keyIds === false ? {} : { kid: `${name}-${alg}-${generation()}` };
    const key =
      alg === 'HS256'
        ? new TextEncoder().encode(clientSecret)
        : (await pairOf(`${by} ${alg} ${generation()}`, alg)).privateKey;
    return new SignJWT(claims).setProtectedHeader({ alg, ...id, ...header }).sign(key);
  }

  async function jwks() {
    const names = [...new Set([algorithm(), wire.accessTokenAlgorithm ?? algorithm()])].filter(
      (alg) => alg !== 'HS256' && alg !== 'none',
    );
    const all = names.length > 0 ? names : ['RS256'];
    const jwkOf = async (alg: string, name: string) => ({
      ...(await exportJWK((await pairOf(`${name} ${alg} ${generation()}`, alg)).publicKey)),
      alg,
      use: 'sig',
      ...(wire.keyIds !== false && { kid: `${name}-${alg}-${generation()}` }),
    });
    const published = wire.otherKeys ? ['other', 'op'] : ['op'];
    return { keys: await Promise.all(published.flatMap((name) => all.map((alg) => jwkOf(alg, name)))) };
  }

  async function handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const url = new URL(req.url ?? '/', server.url);
    let text = '';
    for await (const chunk of req) text += String(chunk);
    const request: OpRequest = {
      method: req.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      headers: req.headers,
      form: new URLSearchParams(text),
    };
    requests.push(request);
    const json = (status: number, body: unknown) => {
      res.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
    };

    if (url.pathname === (wire.metadataPath ?? '/.well-known/openid-configuration')) {
      json(200, {
        issuer: wire.metadataIssuer ?? issuer(),
        authorization_endpoint: `${server.url}/authorize`,
        token_endpoint: `${server.url}/token`,
        jwks_uri: `${server.url}/jwks`,
        userinfo_endpoint: `${server.url}/userinfo`,
        end_session_endpoint: `${server.url}/logout`,
        revocation_endpoint: `${server.url}/revoke`,
        id_token_signing_alg_values_supported: [algorithm()],
        ...wire.metadata,
      });
      return;
    }
    switch (url.pathname) {
      case '/jwks':
        json(wire.keysStatus ?? 200, await jwks());
        return;
      case '/authorize':
        authorize(request, res);
        return;
      case '/par': {
        const uri = `urn:ietf:params:oauth:request_uri:${randomUUID()}`;
        pushed.set(uri, request.form);
        json(201, { request_uri: uri, expires_in: 60 });
        return;
      }
      case '/token':
        await token(request, json);
        return;
      case '/userinfo': {
        const answer = wire.userinfo ?? 404;
        if (!/^Bearer \S+/.test(req.headers.authorization ?? '')) json(401, {});
        else if (typeof answer === 'number') json(answer, {});
        else if (answer === 'nothing') return;
        else json(200, answer);
        return;
      }
      case '/revoke':
        json(200, {});
        return;
      default:
        json(404, {});
    }
  }

  function authorize({ query }: OpRequest, res: ServerResponse): void {
    const parameters = pushed.get(query.get('request_uri') ?? '') ?? query;
    const back = new URL(parameters.get('redirect_uri') ?? '');
    back.searchParams.set('state', parameters.get('state') ?? '');
    const scopes = (parameters.get('scope') ?? '').split(' ');
    if (scopes.some((scope) => wire.unknownScopes?.includes(scope))) {
      back.searchParams.set('error', 'invalid_scope');
    } else {
      const code = randomUUID();
      codes.set(code, parameters);
      back.searchParams.set('code', code);
      for (const [name, value] of Object.entries(wire.callback ?? {})) back.searchParams.set(name, value);
    }
    if (parameters.get('response_mode') === 'form_post') {
      const { searchParams } = back;
      res.writeHead(200, { 'Content-Type': 'text/html', 'X-Form': searchParams.toString() }).end('<form>');
      return;
    }
    res.writeHead(302, { Location: back.href }).end();
  }

  function isClient({ headers, form }: OpRequest): boolean {
    if (wire.knowsClientByTls) return form.get('client_id') === clientId && form.get('client_secret') === null;
    if (form.get('client_assertion') !== null) return form.get('client_id') === clientId;
    if (form.get('client_secret') !== null) return form.get('client_secret') === clientSecret;
    const [, base64 = ''] = /^Basic (\S+)$/.exec(headers.authorization ?? '') ?? [];
    const [id = '', secret = ''] = Buffer.from(base64, 'base64').toString().split(':');
    const read = (text: string) => (wire.doesNotDecode ? text : decodeURIComponent(text.replaceAll('+', ' ')));
    return read(id) === clientId && read(secret) === clientSecret;
  }

  async function token(request: OpRequest, json: (status: number, body: unknown) => void): Promise<void> {
    if (!isClient(request)) {
      json(401, { error: 'invalid_client' });
      return;
    }
    const { form } = request;
    const isRefresh = form.get('grant_type') === 'refresh_token';
    const presented = form.get(isRefresh ? 'refresh_token' : 'code') ?? '';
    const parameters = (isRefresh ? refreshTokens : codes).get(presented);
    const isProven =
      isRefresh ||
      createHash('sha256')
        .update(form.get('code_verifier') ?? '')
        .digest('base64url') === parameters?.get('code_challenge');
    if (!parameters || !isProven) {
      const { status, body } = (isRefresh ? wire.deadRefresh : wire.deadCode) ?? {
        status: 400,
        body: { error: 'invalid_grant' },
      };
      json(status, body);
      return;
    }
    if (!isRefresh) codes.delete(presented);
    const tokenOf = await accessTokenOf();
    const idToken = await idTokenOf(parameters, isRefresh, tokenOf);
    const next = refreshTokenOf(parameters, isRefresh, presented);
    issued.push(...[tokenOf, idToken, next.refresh_token].filter((each) => typeof each === 'string'));
    json(200, {
      access_token: tokenOf,
      token_type: 'Bearer',
      expires_in: 300,
      ...(idToken !== undefined && { id_token: idToken }),
      ...next,
      ...wire.answer,
    });
  }

  function refreshTokenOf(parameters: URLSearchParams, isRefresh: boolean, presented: string): Claims {
    const { refreshToken = true, rotates = true } = wire;
    const gives = typeof refreshToken === 'function' ? refreshToken(parameters) : refreshToken;
    if (!gives || (isRefresh && !rotates)) return {};
    const next = randomUUID();
    refreshTokens.set(next, parameters);
    if (isRefresh) refreshTokens.delete(presented);
    return { refresh_token: next };
  }

  async function accessTokenOf(): Promise<string> {
    const { accessToken } = wire;
    if (!accessToken) return `opaque-${randomUUID()}`;
    const claims = { iss: issuer(), sub: 'user_01', iat: now(), exp: now() + 300, jti: randomUUID(), ...accessToken };
    return sign(claims, wire.unpublishedKey ? 'hidden' : 'op', wire.accessTokenAlgorithm ?? algorithm(), {
      typ: 'at+jwt',
    });
  }

  async function idTokenOf(
    parameters: URLSearchParams,
    isRefresh: boolean,
    accessToken: string,
  ): Promise<string | undefined> {
    const change = isRefresh ? (wire.idTokenAtRefresh ?? wire.idToken) : wire.idToken;
    if (change === false) return undefined;
    const claims: Claims = {
      iss: issuer(),
      sub: 'user_01',
      aud: clientId,
      iat: now(),
      exp: now() + 600,
      nonce: isRefresh ? undefined : (parameters.get('nonce') ?? undefined),
      at_hash: hashOf(accessToken, algorithm()),
      ...change,
    };
    return sign(
      Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined)),
      'op',
      algorithm(),
      {},
      wire.breaksSignature ? 'another' : 'op',
    );
  }

  return {
    url: server.url,
    clientId,
    clientSecret,
    wire,
    requests,
    /** All tokens that it gave out. */
    issued,
    sign,
    to: (path: string) => requests.filter((request) => request.path === path),
    /** A refresh token, as if somebody had signed in. */
    grant: () => {
      const refreshToken = randomUUID();
      refreshTokens.set(refreshToken, new URLSearchParams());
      return refreshToken;
    },
    /** All refresh tokens are dead from now on. */
    killRefreshTokens: () => {
      refreshTokens.clear();
    },
    refreshes: () => requests.filter(({ form }) => form.get('grant_type') === 'refresh_token').length,
    close: () => server.close(),
  };
}

function hashOf(accessToken: string, algorithm: string): string {
  const name = algorithm.startsWith('Ed') ? 'sha512' : `sha${algorithm.slice(-3)}`;
  const digest = createHash(/^sha\d+$/.test(name) ? name : 'sha256')
    .update(accessToken)
    .digest();
  return digest.subarray(0, digest.length / 2).toString('base64url');
}
