import { createHash } from 'node:crypto';
import { inspect } from 'node:util';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  type AccessTokenRules,
  oidc,
  type OidcOptions,
  pkceChallenge,
  type Provider,
  type SessionPayload,
  type SignInRequest,
} from 'express-sealed-session';
import { None } from 'oauth4webapi';

import { listen, type Listening } from '../../support/http-server.js';
import { pour } from '../../support/endless.js';

const options = { issuer: 'https://issuer.example', clientId: 'client_01', clientSecret: 'cs_a2b3c4' };

const pathsOf = (given: unknown) => (oidc(given as OidcOptions).problems ?? []).map(({ path }) => path).sort();

/** The rules of a provider for a token that is a JWT. */
const rulesOf = async (provider: Provider) => (await provider.accessToken('a.b.c')) as AccessTokenRules;

describe('the options', () => {
  it.each<[string[], unknown]>([
    [['provider'], undefined],
    [['provider'], null],
    [['provider'], 'https://issuer.example'],
    [['provider.clientId'], { ...options, clientId: '' }],
    [['provider.clientSecret'], { ...options, clientSecret: '' }],
    [['provider.clientSecret'], { ...options, clientSecret: undefined }],
    [['provider.clientAuthentication'], { ...options, clientAuthentication: 'client_secret_post' }],
    [['provider.scope'], { ...options, scope: 'profile email' }],
    [['provider.scope'], { ...options, scope: 'openidx' }],
    [['provider.scope'], { ...options, scope: ['openid'] }],
    [['provider.resource'], { ...options, resource: '' }],
    [['provider.resource'], { ...options, resource: [] }],
    [['provider.audience'], { ...options, audience: 'api' }],
    [['provider.accessToken'], { ...options, accessToken: 'reference' }],
    [['provider.accessToken.audience'], { ...options, accessToken: { audience: [] } }],
    [['provider.accessToken.issuers'], { ...options, accessToken: { issuers: [] } }],
    [['provider.mapClaims'], { ...options, mapClaims: { role: [] } }],
    [['provider.mapClaims'], { ...options, mapClaims: { groups: 'groups' } }],
    [['provider.mapClaims'], { ...options, mapClaims: 'roles' }],
    [['provider.userinfo'], { ...options, userinfo: 'yes' }],
    [['provider.idTokenAlgorithm'], { ...options, idTokenAlgorithm: 'none' }],
    [['provider.idTokenAlgorithm'], { ...options, idTokenAlgorithm: 'HS512' }],
    [['provider.responseMode'], { ...options, responseMode: 'query' }],
    [['provider.allowInsecureHosts'], { ...options, allowInsecureHosts: ['http://keycloak:8080'] }],
    [['provider.allowInsecureHosts'], { ...options, allowInsecureHosts: 'keycloak:8080' }],
    [['provider.agent'], { ...options, agent: 'proxy' }],
    [['provider.agent.tls'], { ...options, agent: { tls: {} } }],
    [['provider.tenants'], { ...options, tenants: ['a'] }],
    [['provider.tenants'], { ...options, issuer: 'https://login.example/{tenantid}/v2.0' }],
    [['provider.issuer'], { ...options, issuer: 'https://a.example/.well-known/openid-configuration' }],
    [['provider.issuer'], { ...options, issuer: ['https://a.example', 'http://b.example'] }],
    [['provider.issuer'], { ...options, issuer: 'acme.com' }],
    [['provider.metadata'], { ...options, issuer: 'acme.com', metadata: 'http://keycloak:8080/x' }],
    [
      ['provider.clientSecret'],
      { ...options, clientSecret: undefined, clientAuthentication: { method: 'client_secret_post' } },
    ],
    [['provider.clientAuthentication'], { ...options, clientAuthentication: { method: 'private_key_jwt' } }],
    [
      ['provider.clientAuthentication'],
      { ...options, clientAuthentication: { method: 'private_key_jwt', key: 'PEM?' } },
    ],
    [['provider.refreshTokens'], { ...options, refreshTokens: 'Single-Use' }],
    [['provider.reuse'], { ...options, reuse: 'strict' }],
    [['provider.authorizationParameters'], { ...options, authorizationParameters: { max_age: 60 } }],
    [['provider.authorizationParameters'], { ...options, authorizationParameters: ['prompt'] }],
    [['provider.apiKey'], { ...options, apiKey: 'a' }],
    [[], options],
    [[], { ...options, clientSecret: undefined, clientAuthentication: None() }],
    [[], { ...options, clientSecret: undefined, clientAuthentication: { method: 'none' } }],
    [[], { ...options, issuer: 'https://login.example/{tenantid}/v2.0', tenants: 'any' }],
    [[], { ...options, issuer: 'http://keycloak:8080/realms/a', allowInsecureHosts: ['Keycloak:8080'] }],
    [[], { ...options, issuer: 'acme.com', metadata: { issuer: 'acme.com' } }],
    [[], { ...options, issuer: 'acme.com', metadata: 'http://idp/x', allowInsecureHosts: ['idp:80'] }],
    [[], { ...options, accessToken: { audience: 'api', issuer: 'https://sts.example/', algorithms: ['PS256'] } }],
  ])('have problems at %j', (paths, given) => {
    expect(pathsOf(given)).toEqual(paths);
  });

  it.each(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'])(
    'accept an asymmetric algorithm: %s',
    (algorithm) => {
      expect(pathsOf({ ...options, accessToken: { algorithms: [algorithm] } })).toEqual([]);
    },
  );

  it.each([
    ['HS256'],
    ['HS384'],
    ['HS512'],
    ['none'],
    ['None'],
    ['RS256', 'HS256'],
    ['rs256'],
    ['RS256 '],
    ['XRS256'],
    [''],
    [null],
    [],
  ])('refuse algorithms that are symmetric, unknown or "none": %j', (...algorithms) => {
    expect(pathsOf({ ...options, accessToken: { algorithms } })).toEqual(['provider.accessToken.algorithms']);
  });

  it.each([
    ['https://issuer.example', []],
    ['https://issuer.example/tenant/', []],
    ['http://localhost:9000', []],
    ['http://127.0.0.1', []],
    ['http://[::1]:9000/realm', []],
    ['http://issuer.example', ['provider.issuer']],
    ['http://localhost.issuer.example', ['provider.issuer']],
    ['http://127.0.0.1.nip.example', ['provider.issuer']],
    ['http://localhost@issuer.example', ['provider.issuer']],
    ['http://0.0.0.0', ['provider.issuer']],
    ['https://user:pass@issuer.example', ['provider.issuer']],
    ['https://issuer.example#part', ['provider.issuer']],
    ['https://issuer.example#', ['provider.issuer']],
    ['https://issuer.example?tenant=a', ['provider.issuer']],
    ['https://issuer.example/?', ['provider.issuer']],
    [' https://issuer.example', ['provider.issuer']],
    ['https://issuer.example\n', ['provider.issuer']],
    ['issuer.example', ['provider.issuer']],
    ['', ['provider.issuer']],
    [undefined, ['provider.issuer']],
  ])('accept an issuer of https without a query, and of http on loopback hosts only: %j', (issuer, paths) => {
    expect(pathsOf({ ...options, issuer })).toEqual(paths);
  });

  it('report all problems together', () => {
    expect(pathsOf({})).toEqual(['provider.clientId', 'provider.clientSecret', 'provider.issuer']);
  });
});

describe('the provider', () => {
  it('has an id of its issuer and client, single-use refresh tokens by default, and is frozen', () => {
    const provider = oidc(options);
    expect(provider).toMatchObject({
      name: 'oidc',
      cookieName: '__Host-session',
      refreshTokens: 'single-use',
      problems: [],
    });
    const ids = [
      provider,
      oidc({ ...options, clientId: 'client_02' }),
      oidc({ ...options, issuer: 'https://b.example' }),
    ];
    expect(new Set(ids.map(({ id }) => id)).size).toBe(3);
    expect(oidc({ ...options, refreshTokens: 'reusable' }).refreshTokens).toBe('reusable');
    expect(Object.isFrozen(provider)).toBe(true);
  });

  it('shows its secret neither as JSON nor when it is logged', () => {
    const provider = oidc(options);
    expect(inspect(provider, { depth: Infinity, showHidden: true }) + JSON.stringify(provider)).not.toContain('a2b3c4');
  });

  it.each<[OidcOptions['accessToken'], Record<string, boolean>]>([
    [undefined, { 'a.b.c': false, opaque: true, 'a.b': true, 'a.b.c.d.e': true }],
    ['auto', { 'a.b.c': false, opaque: true }],
    ['jwt', { 'a.b.c': false, opaque: false, '': false }],
    ['opaque', { 'a.b.c': true, opaque: true }],
  ])('decides by the option accessToken which tokens are opaque: %s', async (accessToken, expected) => {
    // A JWT needs the metadata, which this issuer does not have: so whatever is not opaque rejects.
    const provider = oidc({ ...options, issuer: 'http://127.0.0.1:9', accessToken });
    for (const [token, opaque] of Object.entries(expected)) {
      const found = await Promise.resolve(provider.accessToken(token)).catch(() => 'jwt');
      expect([token, found]).toEqual([token, opaque ? 'opaque' : 'jwt']);
    }
  });

  it.each([
    ['invalid_grant', { error: 'invalid_grant', error_description: 'Session not active' }],
    ['invalid_grant', { error: 'token_inactive' }],
    ['interaction_required', { error: 'login_required' }],
    ['interaction_required', { error: 'access_denied', error_description: 'The user is blocked.' }],
    [undefined, {}],
    [undefined, { error: 'invalid_client' }],
    [undefined, { error: 'invalid_request', error_description: 'invalid_grant' }],
    [undefined, { error: 'unauthorized_client' }],
    [undefined, { error: 'invalid_scope' }],
    [undefined, { error: 'sso_required' }],
    [undefined, { code: 'invalid_grant' }],
    [undefined, { code: 'login_required' }],
    [undefined, { error: ['invalid_grant'] }],
  ])('finds the terminal reason %s in %j', (reason, answer) => {
    expect(oidc(options).terminalReason(answer)).toBe(reason);
  });
});

describe('with the metadata of an issuer', () => {
  let issuer: Listening;
  let metadata: Record<string, unknown>;

  beforeAll(async () => {
    issuer = await listen((req, res) => {
      const documents: Record<string, unknown> = {
        '/.well-known/openid-configuration': metadata,
        '/jwks': { keys: [{ kty: 'oct', kid: 'none of ours' }] },
      };
      const document = documents[req.url ?? ''];
      res.writeHead(document ? 200 : 404, { 'Content-Type': 'application/json' });
      res.end(JSON.stringify(document ?? {}));
    });
  });
  afterAll(() => issuer.close());

  /** A provider whose issuer says this of itself. */
  function provide(more: Partial<OidcOptions> = {}, says: Record<string, unknown> = {}): Provider {
    metadata = {
      issuer: issuer.url,
      jwks_uri: `${issuer.url}/jwks`,
      token_endpoint: `${issuer.url}/token`,
      authorization_endpoint: `${issuer.url}/authorize?tenant=a`,
      end_session_endpoint: `${issuer.url}/logout`,
      revocation_endpoint: `${issuer.url}/revoke`,
      ...says,
    };
    return oidc({ ...options, issuer: issuer.url, ...more });
  }

  it('accepts tokens of that issuer only', async () => {
    const rules = await rulesOf(provide());
    expect(rules).toMatchObject({ issuer: [issuer.url], keysUrl: `${issuer.url}/jwks` });
  });

  it('refuses the metadata of another issuer', async () => {
    const provider = provide({}, { issuer: 'https://evil.example' });
    await expect(rulesOf(provider)).rejects.toBeInstanceOf(Error);
    await expect(provider.refreshRequest({ refreshToken: 'rt_1' })).rejects.toBeInstanceOf(Error);
  });

  it.each([
    [undefined, ['RS256']],
    [
      ['RS256', 'ES256'],
      ['RS256', 'ES256'],
    ],
    [['HS256', 'none', 'ES256', 'RSA-OAEP'], ['ES256']],
    [['HS256', 'none'], ['RS256']],
  ])('uses the asymmetric algorithms among %j', async (named, algorithms) => {
    const rules = await rulesOf(provide({}, { id_token_signing_alg_values_supported: named }));
    expect(rules.algorithms).toEqual(algorithms);
  });

  it('uses the algorithms of the options where they are given', async () => {
    const algorithms = ['PS256'];
    const provider = provide({ accessToken: { algorithms } }, { id_token_signing_alg_values_supported: ['RS256'] });
    algorithms.push('HS256');
    expect((await rulesOf(provider)).algorithms).toEqual(['PS256']);
  });

  it.each<[Partial<OidcOptions>, string[] | undefined]>([
    [{}, undefined],
    [{ accessToken: { audience: 'api' } }, ['api']],
    [{ accessToken: { audience: ['api', 'other'] } }, ['api', 'other']],
    [{ resource: 'https://api.example' }, ['https://api.example']],
    [{ resource: ['https://a.example', 'https://b.example'] }, ['https://a.example', 'https://b.example']],
    [{ resource: 'https://api.example', accessToken: { audience: 'api' } }, ['api']],
    [{ authorizationParameters: { audience: 'api' } }, ['api']],
    [{ resource: 'https://api.example', authorizationParameters: { audience: 'api' } }, ['https://api.example']],
  ])('demands the audience of the options: %j', async (more, audience) => {
    expect((await rulesOf(provide(more))).audience).toEqual(audience);
  });

  it('demands the audience as it was at the start when the list changes later', async () => {
    const audience = ['api'];
    const provider = provide({ accessToken: { audience } });
    audience.push('other');
    expect((await rulesOf(provider)).audience).toEqual(['api']);
  });

  it.each<[boolean, boolean | 'unsaid', Record<string, unknown>]>([
    // Without an audience in the options the token must say that it is ours; with one, it must not say otherwise.
    [false, 'unsaid', {}],
    [true, true, { client_id: 'client_01' }],
    [true, true, { azp: 'client_01' }],
    [true, true, { cid: 'client_01' }],
    [true, true, { appid: 'client_01' }],
    [true, true, { aud: 'client_01' }],
    [true, true, { aud: ['api', 'client_01'] }],
    [false, 'unsaid', { aud: 'api' }],
    [false, 'unsaid', { aud: ['client_010'] }],
    [false, false, { client_id: 'client_02' }],
    [false, false, { azp: 'client_02', aud: 'client_01' }],
    [false, false, { client_id: 'client_02', azp: 'client_01' }],
    [false, 'unsaid', { client_id: ['client_01'] }],
    [false, 'unsaid', { aud: { client_01: true } }],
  ])(
    'says of a token whether it is ours: %s without an audience, %s with one: %j',
    async (without, demanded, claims) => {
      expect((await rulesOf(provide())).issuedToUs!(claims)).toBe(without);
      expect((await rulesOf(provide({ accessToken: { audience: 'api' } }))).issuedToUs!(claims)).toBe(demanded);
    },
  );

  const ways: [keyof Provider, (provider: Provider) => Promise<unknown>, string][] = [
    ['accessToken', async (provider) => rulesOf(provider), 'jwks_uri'],
    ['refreshRequest', async (provider) => provider.refreshRequest({ refreshToken: 'rt_1' }), 'token_endpoint'],
    ['authorizationUrl', async (provider) => provider.authorizationUrl(request), 'authorization_endpoint'],
    [
      'codeRequest',
      async (provider) => provider.codeRequest(new URLSearchParams({ code: 'code_01', state: 'state' }), request),
      'token_endpoint',
    ],
  ];
  const request: SignInRequest = {
    redirectUri: 'https://app.example.com/callback',
    state: 'state',
    nonce: 'nonce',
    codeVerifier: 'v'.repeat(43),
    codeChallenge: pkceChallenge('v'.repeat(43)),
    parameters: {},
  };

  it.each(ways)('refuses an endpoint that is not https: %s', async (_, ask, name) => {
    await expect(ask(provide())).resolves.toBeDefined();
    for (const url of ['http://issuer.example/x', 'http://localhost.evil.example/x', undefined, 'javascript:x', '/x']) {
      await expect(ask(provide({}, { [name]: url }))).rejects.toMatchObject({ reason: 'provider_misconfigured' });
    }
  });

  // RFC 6749, sections 3.1 and 3.2: an endpoint may have a query.
  it.each(ways)('accepts an endpoint with a query: %s', async (_, ask, name) => {
    await expect(ask(provide({}, { [name]: `${issuer.url}/endpoint?tenant=a` }))).resolves.toBeDefined();
    const { url } = await provide({}, { token_endpoint: `${issuer.url}/token?tenant=a` }).refreshRequest({
      refreshToken: 'rt_1',
    });
    expect(url).toBe(`${issuer.url}/token?tenant=a`);
  });

  it('does not read metadata beyond 1 MiB', async () => {
    const endless = await listen((_req, res) => {
      pour(res.writeHead(200, { 'Content-Type': 'application/json' }));
    });
    const provider = oidc({ ...options, issuer: endless.url });
    await expect(rulesOf(provider)).rejects.toMatchObject({ reason: 'server_error' });
    await endless.close();
  });

  it.each([['http://issuer.example/x'], [undefined]])(
    'neither signs out nor revokes at the endpoint %s',
    async (url) => {
      const provider = provide({}, { end_session_endpoint: url, revocation_endpoint: url });
      expect(await provider.logoutUrl!({ sessionId: undefined, returnTo: undefined })).toBeUndefined();
      expect(await provider.revocationRequest!({ refreshToken: 'rt_1' })).toBeUndefined();
    },
  );

  /** What is in an `Authorization: Basic` header, whose two parts are encoded as in a form (RFC 6749 section 2.3.1). */
  const decodeBasic = (header = '') => {
    const [, base64 = ''] = /^Basic (\S+)$/.exec(header) ?? [];
    const text = Buffer.from(base64, 'base64').toString().replaceAll('+', '%20');
    return text.split(':').map(decodeURIComponent);
  };
  const basic = ['client_01', 'cs_a2b3c4'];

  it.each<[string, unknown, string[], string | null]>([
    ['by default', undefined, basic, null],
    ['with Basic first', ['client_secret_basic', 'client_secret_post'], basic, null],
    ['with both', ['client_secret_post', 'client_secret_basic'], basic, null],
    ['with the body alone', ['client_secret_post'], [''], 'cs_a2b3c4'],
    ['with what we do not know', ['tls_client_auth'], basic, null],
  ])('authenticates the client as the metadata asks: %s', async (_, supported, authorization, inBody) => {
    const provider = provide({}, { token_endpoint_auth_methods_supported: supported });
    const { url, headers, body } = await provider.refreshRequest({ refreshToken: 'rt_1' });
    expect(url).toBe(`${issuer.url}/token`);
    expect(decodeBasic(headers.authorization)).toEqual(authorization);
    expect(new URLSearchParams(body).get('client_secret')).toBe(inBody);
  });

  it('authenticates the client as the options say', async () => {
    const provider = provide({ clientSecret: undefined, clientAuthentication: None() });
    const { headers, body } = await provider.refreshRequest({ refreshToken: 'rt_1' });
    expect(headers.authorization).toBeUndefined();
    expect(Object.fromEntries(new URLSearchParams(body))).toEqual({
      grant_type: 'refresh_token',
      refresh_token: 'rt_1',
      client_id: 'client_01',
    });
  });

  it('sends the grant as a form, and nothing else', async () => {
    const provider = provide({ resource: 'https://api.example/?a&b' });
    const { headers, body } = await provider.refreshRequest({ refreshToken: 'a b&c=d', organizationId: 'org_01' });
    expect(headers).toMatchObject({
      accept: 'application/json',
      'content-type': 'application/x-www-form-urlencoded;charset=UTF-8',
    });
    expect(Object.fromEntries(new URLSearchParams(body))).toEqual({
      grant_type: 'refresh_token',
      refresh_token: 'a b&c=d',
      resource: 'https://api.example/?a&b',
      organization_id: 'org_01',
    });
  });

  it('revokes the refresh token', async () => {
    const { url, body } = (await provide().revocationRequest!({ refreshToken: 'rt_1' }))!;
    expect(url).toBe(`${issuer.url}/revoke`);
    expect(Object.fromEntries(new URLSearchParams(body))).toEqual({
      token: 'rt_1',
      token_type_hint: 'refresh_token',
    });
  });

  it('begins a sign-in with state, nonce and the PKCE challenge', async () => {
    const url = new URL(await provide().authorizationUrl(request));
    expect(url.origin + url.pathname).toBe(`${issuer.url}/authorize`);
    expect(Object.fromEntries(url.searchParams)).toEqual({
      tenant: 'a',
      client_id: 'client_01',
      response_type: 'code',
      redirect_uri: request.redirectUri,
      scope: 'openid profile email offline_access',
      state: 'state',
      nonce: 'nonce',
      code_challenge: createHash('sha256').update(request.codeVerifier).digest('base64url'),
      code_challenge_method: 'S256',
    });
    expect(url.href).not.toContain(options.clientSecret);
  });

  it.each<[string, Partial<OidcOptions>, Record<string, string | null>]>([
    ['a scope', { scope: 'openid' }, { scope: 'openid', prompt: null }],
    ['a resource', { resource: 'https://api.example' }, { resource: 'https://api.example' }],
    ['a parameter', { authorizationParameters: { ui_locales: 'de' } }, { ui_locales: 'de', prompt: null }],
    ['a response mode', { responseMode: 'form_post' }, { response_mode: 'form_post' }],
    ['a prompt', { authorizationParameters: { prompt: 'login' } }, { prompt: 'login' }],
    [
      'none of what keeps the sign-in safe',
      {
        authorizationParameters: {
          state: 'x',
          nonce: 'x',
          code_challenge_method: 'plain',
          redirect_uri: 'x',
          client_id: 'x',
        },
      },
      {
        state: 'state',
        nonce: 'nonce',
        code_challenge_method: 'S256',
        redirect_uri: request.redirectUri,
        client_id: 'client_01',
      },
    ],
  ])('lets the options set %s', async (_, more, parameters) => {
    const { searchParams } = new URL(await provide(more).authorizationUrl(request));
    expect(Object.fromEntries(Object.keys(parameters).map((name) => [name, searchParams.get(name)]))).toEqual(
      parameters,
    );
  });

  it.each<[string, Record<string, string>]>([
    ['of another state', { code: 'code_01', state: 'other' }],
    ['without a state', { code: 'code_01' }],
    ['of another issuer', { code: 'code_01', state: 'state', iss: 'https://evil.example' }],
    ['of a failure', { error: 'access_denied', state: 'state' }],
  ])('refuses the callback %s', async (_, parameters) => {
    await expect(provide().codeRequest(new URLSearchParams(parameters), request)).rejects.toBeInstanceOf(Error);
  });

  it('exchanges the code with its verifier', async () => {
    const { body } = await provide().codeRequest(new URLSearchParams({ code: 'code_01', state: 'state' }), request);
    expect(Object.fromEntries(new URLSearchParams(body))).toEqual({
      grant_type: 'authorization_code',
      code: 'code_01',
      redirect_uri: request.redirectUri,
      code_verifier: request.codeVerifier,
    });
  });

  describe('an answer to a refresh', () => {
    const previous: SessionPayload = { accessToken: 'opaque', user: { id: 'user_01' } };
    const read = async (answer: Record<string, unknown>, more?: Partial<OidcOptions>, before = previous) =>
      provide(more).readRefresh(answer, before);

    const undecided = { tokenKind: 'undecided' };

    it.each<[string, Record<string, unknown>, object | undefined]>([
      ['a lifetime', { access_token: 'at', expires_in: 60 }, { ...undecided, accessToken: 'at', expiresIn: 60 }],
      [
        'seconds in a string',
        { access_token: 'at', expires_in: '60' },
        { ...undecided, accessToken: 'at', expiresIn: 60 },
      ],
      ['no lifetime', { access_token: 'at' }, { ...undecided, accessToken: 'at' }],
      ['a lifetime that is null', { access_token: 'at', expires_in: null }, { ...undecided, accessToken: 'at' }],
      ['a lifetime that is over', { access_token: 'at', expires_in: -1 }, { ...undecided, accessToken: 'at' }],
      ['a lifetime without end', { access_token: 'at', expires_in: '1e999' }, { ...undecided, accessToken: 'at' }],
      ['a lifetime that is no number', { access_token: 'at', expires_in: 'x' }, { ...undecided, accessToken: 'at' }],
      [
        'a new refresh token',
        { access_token: 'at', refresh_token: 'rt' },
        { ...undecided, accessToken: 'at', refreshToken: 'rt' },
      ],
      [
        'a refresh token that is null',
        { access_token: 'at', refresh_token: null },
        { ...undecided, accessToken: 'at' },
      ],
      ['no access token', { refresh_token: 'rt' }, undefined],
      ['an empty access token', { access_token: '' }, undefined],
      ['an access token that is none', { access_token: ['at'] }, undefined],
    ])('is read: %s', async (_, answer, tokens) => {
      expect(await read(answer)).toEqual(tokens);
    });

    it('has no lifetime of its own for a JWT, which says so itself, and nothing to decide where the options do', async () => {
      const answer = { access_token: 'a.b.c', expires_in: 9 };
      expect(await read(answer, { accessToken: 'jwt' })).toEqual({ accessToken: 'a.b.c' });
      expect(await read(answer, { accessToken: 'opaque' })).toEqual({ accessToken: 'a.b.c', expiresIn: 9 });
    });

    it('is refused when its ID token is not a JWT', async () => {
      await expect(read({ access_token: 'a.b.c', id_token: 'garbage' })).rejects.toMatchObject({
        reason: 'provider_misconfigured',
        detail: 'id_token_malformed',
      });
    });
  });
});
