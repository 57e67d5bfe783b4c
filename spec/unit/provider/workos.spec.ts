import { createHash } from 'node:crypto';
import { inspect } from 'node:util';

import { describe, expect, it } from '@jest/globals';
import {
  type AccessTokenRules,
  type Awaitable,
  pkceChallenge,
  type Provider,
  type SignInRequest,
  type SessionPayload,
  withSession,
  workos,
  type WorkosOptions,
} from 'express-sealed-session';
import fc from 'fast-check';

const options = { clientId: 'client_01', apiKey: 'sk_test_a2b3c4' };
const provider = workos(options);

const pathsOf = (given: unknown) => (workos(given as WorkosOptions).problems ?? []).map(({ path }) => path).sort();
const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const jwt = (claims: object) => `${base64url({ alg: 'RS256' })}.${base64url(claims)}.c2ln`;
const bodyOf = async (request: Awaitable<{ body: string }>) => JSON.parse((await request).body) as unknown;

/** The rules of a provider for a token that is a JWT. */
const rulesOf = async (each: Provider) => (await each.accessToken('a.b.c')) as AccessTokenRules;

describe('the options', () => {
  it.each<[string[], unknown]>([
    [['provider'], undefined],
    [['provider'], null],
    [['provider'], 'sk_test_01'],
    [['provider'], [options]],
    [['provider.apiKey', 'provider.clientId'], {}],
    [['provider.apiKey', 'provider.clientId'], { clientId: '', apiKey: '' }],
    [['provider.apiKey'], { clientId: 'client_01', apiKey: undefined }],
    [['provider.clientId'], { ...options, clientId: 1 }],
    [['provider.issuer'], { ...options, issuer: '' }],
    [['provider.issuer'], { ...options, issuer: [] }],
    [['provider.issuer'], { ...options, issuer: ['https://a.example', ''] }],
    [['provider.issuer'], { ...options, issuer: null }],
    [['provider.issuer'], { ...options, issuer: false }],
    [['provider.audience'], { ...options, audience: [] }],
    [['provider.audience'], { ...options, audience: [1] }],
    [['provider.clientSecret'], { ...options, clientSecret: 'a' }],
    [
      ['provider.apiKey', 'provider.audience', 'provider.baseUrl', 'provider.clientId', 'provider.issuer'],
      { clientId: '', apiKey: '', baseUrl: '', issuer: '', audience: '' },
    ],
  ])('have problems at %j', (paths, given) => {
    expect(pathsOf(given)).toEqual(paths);
  });

  it('never make workos() throw, and are reported by withSession', () => {
    const bad = workos({ clientId: undefined, apiKey: undefined });
    expect(() => withSession({ provider: bad, password: 'p'.repeat(32) })).toThrow(
      expect.objectContaining({ code: 'ERR_SESSION_CONFIG', problems: bad.problems }),
    );
  });

  it.each([
    'https://api.workos.com',
    'https://auth.example.com/',
    'http://localhost:3000',
    'http://127.0.0.1:1',
    'http://127.8.9.1',
    'http://[::1]:3000',
    'http://LOCALHOST',
  ])('accept the base URL %s', (baseUrl) => {
    expect(pathsOf({ ...options, baseUrl })).toEqual([]);
  });

  it.each([
    '',
    'api.workos.com',
    '//api.workos.com',
    'http://api.workos.com',
    'http://localhost.evil.example',
    'http://127.0.0.1.evil.example',
    'http://evil.example#localhost',
    'http://localhost@evil.example',
    'http://0.0.0.0',
    'http://10.0.0.1',
    'http://[::2]',
    'http://[::ffff:10.0.0.1]',
    'http://notlocalhost',
    'ftp://localhost',
    'file:///etc/passwd',
    'https://user:pass@api.workos.com',
    'https://api.workos.com#part',
    'https://api.workos.com#',
    'https://api.workos.com?tenant=a',
    'https://api.workos.com/?',
    ' https://api.workos.com',
    'https://api.workos.com ',
    'https://api.workos.com\n',
    'https://api.\tworkos.com',
    '\u0000https://api.workos.com',
    null,
    1,
  ])('refuse the base URL %s', (baseUrl) => {
    expect(pathsOf({ ...options, baseUrl })).toEqual(['provider.baseUrl']);
  });

  it('are refused when they are inherited', () => {
    expect(pathsOf(Object.create(options) as object)).toEqual(['provider.apiKey', 'provider.clientId']);
    const base = Object.create({ baseUrl: 'http://evil.example', issuer: false }) as object;
    expect(pathsOf(Object.assign(base, options))).toEqual(['provider.baseUrl', 'provider.issuer']);
  });

  it('are read once: a later change has no effect', async () => {
    const issuer = ['https://auth.example.com'];
    const audience = ['api'];
    const given = { ...options, baseUrl: 'https://auth.example.com', issuer, audience };
    const made = workos(given);
    issuer.push('https://evil.example');
    audience.push('other');
    Object.assign(given, { clientId: 'client_99', apiKey: 'sk_test_99', baseUrl: 'https://evil.example' });

    const rules = await rulesOf(made);
    expect(rules).toMatchObject({
      keysUrl: 'https://auth.example.com/sso/jwks/client_01',
      issuer: ['https://auth.example.com'],
      audience: ['api'],
    });
    const request = await made.refreshRequest({ refreshToken: 'rt_1' });
    expect(request.url).toBe('https://auth.example.com/user_management/authenticate');
    expect(request.body).toContain(options.apiKey);
  });
});

describe('the provider', () => {
  it('has an id of its base URL and client, and is frozen', () => {
    expect(provider).toMatchObject({
      name: 'workos',
      cookieName: 'wos-session',
      refreshTokens: 'reusable',
      problems: [],
    });
    const ids = [
      provider,
      workos({ ...options, clientId: 'client_02' }),
      workos({ ...options, baseUrl: 'https://a.example' }),
    ];
    expect(new Set(ids.map(({ id }) => id)).size).toBe(3);
    expect(workos({ ...options, apiKey: 'sk_other' }).id).toBe(provider.id);
    expect(Object.isFrozen(provider)).toBe(true);
  });

  it('shows its key neither as JSON nor when it is logged', () => {
    expect(inspect(provider, { depth: Infinity, showHidden: true }) + JSON.stringify(provider)).not.toContain('a2b3c4');
  });
});

describe('an access token', () => {
  it('may have each issuer that WorkOS uses, and no other', async () => {
    const { issuer, keysUrl, algorithms, audience } = await rulesOf(provider);
    expect([...issuer].sort()).toEqual([
      'https://api.workos.com',
      'https://api.workos.com/',
      'https://api.workos.com/convex/client_01',
      'https://api.workos.com/sso/client_01',
      'https://api.workos.com/user_management/client_01',
    ]);
    expect(keysUrl).toBe('https://api.workos.com/sso/jwks/client_01');
    expect(algorithms).toEqual(['RS256']);
    expect(audience).toBeUndefined();
  });

  it('may have the issuers of another base URL, in any spelling', async () => {
    for (const baseUrl of [
      'https://auth.example.com',
      'https://auth.example.com/',
      'https://auth.example.com//',
      'HTTPS://Auth.Example.com:443',
    ]) {
      const { issuer, keysUrl } = await rulesOf(workos({ ...options, baseUrl }));
      expect(issuer).toContain('https://auth.example.com/user_management/client_01');
      expect(issuer.every((each) => each.startsWith('https://auth.example.com'))).toBe(true);
      expect(keysUrl).toBe('https://auth.example.com/sso/jwks/client_01');
    }
  });

  it('is checked with the keys below the path of the base URL', async () => {
    const made = workos({ ...options, baseUrl: 'https://gateway.example.com/workos/' });
    const { issuer, keysUrl } = await rulesOf(made);
    expect(issuer).toContain('https://gateway.example.com/workos/user_management/client_01');
    expect(keysUrl).toBe('https://gateway.example.com/workos/sso/jwks/client_01');
    const { url } = await made.refreshRequest({ refreshToken: 'rt_1' });
    expect(url).toBe('https://gateway.example.com/workos/user_management/authenticate');
  });

  it.each([
    ['https://auth.example.com', ['https://auth.example.com']],
    [
      ['https://a.example', 'https://b.example'],
      ['https://a.example', 'https://b.example'],
    ],
  ])('may have only the issuer %j of the options', async (issuer, expected) => {
    expect((await rulesOf(workos({ ...options, issuer }))).issuer).toEqual(expected);
  });

  it.each([
    ['api', ['api']],
    [
      ['api', 'other'],
      ['api', 'other'],
    ],
  ])('must have the audience %j of the options', async (audience, expected) => {
    expect((await rulesOf(workos({ ...options, audience }))).audience).toEqual(expected);
  });

  it.each<[boolean | 'unsaid', Record<string, unknown>]>([
    ['unsaid', {}],
    ['unsaid', { iss: 'https://api.workos.com' }],
    [true, { iss: 'https://api.workos.com/user_management/client_01' }],
    [true, { client_id: 'client_01' }],
    [false, { client_id: 'client_02' }],
    [false, { client_id: ['client_01'] }],
    [false, { client_id: null }],
    [false, { client_id: '' }],
    [false, { client_id: 'CLIENT_01' }],
  ])('is issued to us: %s with %j', async (expected, claims) => {
    expect((await rulesOf(provider)).issuedToUs!(claims)).toBe(expected);
  });

  it('is never opaque', async () => {
    for (const token of ['', 'opaque', 'a.b.c']) expect(await provider.accessToken(token)).not.toBe('opaque');
  });
});

describe('the end of a session', () => {
  it.each([
    ['invalid_grant', { error: 'invalid_grant', error_description: 'Session has ended.' }],
    ['sso_required', { error: 'sso_required', connection_ids: ['conn_01'] }],
    ['mfa_enrollment', { code: 'mfa_enrollment', message: 'The user must enroll in MFA.' }],
    ['interaction_required', { code: 'organization_selection_required' }],
    ['interaction_required', { error: 'login_required' }],
    [undefined, {}],
    [undefined, { error: 'invalid_client' }],
    [undefined, { error: 'unauthorized_client' }],
    [undefined, { error: 'unsupported_grant_type' }],
    [undefined, { error: 'temporarily_unavailable' }],
    [undefined, { code: 'too_many_requests' }],
    [undefined, { error: 'Forbidden', message: 'invalid_grant' }],
    [undefined, { message: 'organization_selection_required' }],
    [undefined, { message: 'invalid_grant', error_description: 'sso_required' }],
    [undefined, { error: ' invalid_grant' }],
    [undefined, { error: 'INVALID_GRANT' }],
    [undefined, { error: ['invalid_grant'] }],
    [undefined, { error: { code: 'invalid_grant' } }],
    [undefined, { error: 400, code: null }],
    [undefined, { error: 'session_revoked' }],
  ])('has the reason %s in %j', (reason, answer) => {
    expect(provider.terminalReason(answer)).toBe(reason);
  });
});

describe('a refresh', () => {
  it('sends the grant, the client and its key only', async () => {
    const { url, headers, body } = await provider.refreshRequest({ refreshToken: 'rt_1', organizationId: undefined });
    expect(url).toBe('https://api.workos.com/user_management/authenticate');
    expect(headers).toEqual({
      'content-type': 'application/json',
      accept: 'application/json',
      authorization: `Bearer ${options.apiKey}`,
    });
    expect(JSON.parse(body)).toEqual({
      client_id: 'client_01',
      client_secret: options.apiKey,
      grant_type: 'refresh_token',
      refresh_token: 'rt_1',
    });
  });

  it('asks for the organization when there is one', async () => {
    expect(await bodyOf(provider.refreshRequest({ refreshToken: 'rt_1', organizationId: 'org_01' }))).toEqual({
      client_id: 'client_01',
      client_secret: options.apiKey,
      grant_type: 'refresh_token',
      refresh_token: 'rt_1',
      organization_id: 'org_01',
    });
  });

  it.each<[string | undefined, Partial<SessionPayload>]>([
    [undefined, {}],
    ['org_01', { organizationId: 'org_01' }],
    ['org_02', { accessToken: jwt({ org_id: 'org_02' }) }],
    ['org_01', { organizationId: 'org_01', accessToken: jwt({ org_id: 'org_02' }) }],
    [undefined, { accessToken: jwt({ org_id: '' }) }],
    [undefined, { accessToken: jwt({ org_id: ['org_02'] }) }],
    [undefined, { accessToken: 'not.a.token' }],
    [undefined, { accessToken: '' }],
  ])('stays in the organization %s', (organizationId, payload) => {
    expect(provider.organizationOf!({ accessToken: jwt({}), ...payload })).toBe(organizationId);
  });

  const previous = { accessToken: 'a.b.c', user: { id: 'user_01' } };
  const read = (answer: object, before: SessionPayload = previous) =>
    provider.readRefresh(answer as Record<string, unknown>, before);

  it('reads the answer, with the user in camelCase', async () => {
    const tokens = await read({
      access_token: 'at_2',
      refresh_token: 'rt_2',
      organization_id: 'org_01',
      authentication_method: 'Impersonation',
      impersonator: { email: 'admin@example.com', reason: null },
      user: {
        object: 'user',
        id: 'user_01',
        first_name: 'Ada',
        profile_picture_url: null,
        metadata: { snake_key: 'x' },
      },
      sealed_session: 'Fe26.2*1*…',
    });
    expect(tokens).toEqual({
      accessToken: 'at_2',
      refreshToken: 'rt_2',
      organizationId: 'org_01',
      authenticationMethod: 'Impersonation',
      impersonator: { email: 'admin@example.com', reason: null },
      user: { object: 'user', id: 'user_01', firstName: 'Ada', profilePictureUrl: null, metadata: { snake_key: 'x' } },
    });
  });

  it.each([{}, { access_token: '' }, { access_token: null }, { access_token: 1 }, { refresh_token: 'rt_2' }])(
    'reads half an answer as undefined: %j',
    async (answer) => {
      expect(await read(answer)).toBeUndefined();
    },
  );

  it.each([
    ['no user', { user: undefined }],
    ['a user without an id', { user: { email: 'a@example.com' } }],
    ['a user that is a list', { user: ['user_01'] }],
    ['an impersonator without an address', { impersonator: { reason: 'support' } }],
    ['numbers where strings are due', { organization_id: 1, refresh_token: 2, authentication_method: 3 }],
  ])('leaves out a field of the wrong type: %s', async (_, answer) => {
    expect(await read({ access_token: 'at_2', ...answer })).toEqual({ accessToken: 'at_2' });
  });

  it('refuses an answer about another user', async () => {
    const answer = { access_token: 'at_2', user: { id: 'user_02' } };
    await expect(async () => read(answer)).rejects.toMatchObject({ reason: 'provider_misconfigured' });
    expect(await read(answer, { accessToken: 'a.b.c' })).toMatchObject({ user: { id: 'user_02' } });
  });

  it('reads any JSON without breaking', async () => {
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.string(), fc.jsonValue()), fc.jsonValue(), async (answer, user) => {
        const tokens = await provider.readSignIn({ access_token: 'at_2', ...answer, user }, {} as SignInRequest);
        expect(tokens?.user === undefined || typeof tokens.user.id === 'string').toBe(true);
      }),
    );
  });
});

describe('a sign-in', () => {
  const request: SignInRequest = {
    redirectUri: 'https://app.example.com/callback?a=b&c',
    state: 'state & more',
    nonce: 'nonce',
    codeVerifier: 'v'.repeat(43),
    codeChallenge: pkceChallenge('v'.repeat(43)),
    parameters: {},
  };

  it('begins at WorkOS with the state and the PKCE challenge', async () => {
    const url = new URL(await provider.authorizationUrl(request));
    expect(url.origin + url.pathname).toBe('https://api.workos.com/user_management/authorize');
    expect(Object.fromEntries(url.searchParams)).toEqual({
      client_id: 'client_01',
      redirect_uri: request.redirectUri,
      response_type: 'code',
      provider: 'authkit',
      state: request.state,
      code_challenge: createHash('sha256').update(request.codeVerifier).digest('base64url'),
      code_challenge_method: 'S256',
    });
    expect(url.href).not.toContain(options.apiKey);
  });

  it('exchanges the code, and sends no other parameter of the callback', async () => {
    const callback = new URLSearchParams({ code: 'code_01', state: 'x', client_id: 'evil', grant_type: 'password' });
    expect(await bodyOf(provider.codeRequest(callback, request))).toEqual({
      client_id: 'client_01',
      client_secret: options.apiKey,
      grant_type: 'authorization_code',
      code: 'code_01',
      code_verifier: request.codeVerifier,
    });
  });
});

describe('a sign-out', () => {
  it.each([
    [undefined, undefined, undefined],
    [undefined, undefined, 'https://app.example.com/'],
    ['?session_id=session_01', 'session_01', undefined],
    ['?session_id=session_01&return_to=https%3A%2F%2Fapp.example.com%2F', 'session_01', 'https://app.example.com/'],
    ['?session_id=a%26return_to%3Dhttps%3A%2F%2Fevil.example', 'a&return_to=https://evil.example', undefined],
  ])('goes to %s', async (query, sessionId, returnTo) => {
    const url = query === undefined ? undefined : `https://api.workos.com/user_management/sessions/logout${query}`;
    expect(await provider.logoutUrl!({ sessionId, returnTo })).toBe(url);
  });
});
