import { AssertionError } from 'node:assert';
import { createHmac } from 'node:crypto';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { oidc, type Provider, type SignInRequest, type TokenRequest, workos } from 'express-sealed-session';
import { type ProviderAnswers, testProviderConformance } from 'express-sealed-session/testing';

import { listen, type Listening } from '../../support/http-server.js';

let metadata: Listening;
beforeAll(async () => {
  metadata = await listen((_req, res) => {
    const endpoints = ['authorization', 'token', 'end_session', 'revocation'];
    const urls = endpoints.map((name) => [`${name}_endpoint`, `${metadata.url}/${name}?tenant=a`]);
    const keys = [{ kty: 'oct', kid: 'one' }];
    const document = { issuer: metadata.url, jwks_uri: `${metadata.url}/keys`, keys, ...Object.fromEntries(urls) };
    res.setHeader('Content-Type', 'application/json');
    res.end(JSON.stringify(document));
  });
});
afterAll(() => metadata.close());

const client = { clientId: 'client_01', clientSecret: 'secret-4kL7' };
const made = workos({ clientId: 'client_01', apiKey: 'secret-4kL7' });

/** Registers the suite for a provider, and runs it. Returns the names of all tests, and the failures by name. */
async function runSuite(provider: Provider, answers?: ProviderAnswers) {
  const tests = new Map<string, () => Promise<void>>();
  testProviderConformance(provider, (name, test) => tests.set(name, test), answers);
  const failures = new Map<string, unknown>();
  for (const [name, test] of tests) await test().catch((error: unknown) => failures.set(name, error));
  return { names: [...tests.keys()], failures };
}

/** Each method as an `async` one; the two whose result must be at hand stay as they are. */
function asynchronous(provider: Provider): Provider {
  const methods = Object.entries(provider).map(([name, member]: [string, unknown]) => {
    if (typeof member !== 'function' || name === 'terminalReason' || name === 'organizationOf') return [name, member];
    return [name, async (...given: unknown[]) => (member as (...values: unknown[]) => unknown)(...given)];
  });
  return Object.fromEntries(methods);
}

describe('a provider that keeps the contract passes', () => {
  it.each<[string, () => Provider]>([
    ['workos()', () => made],
    ['workos() with an audience', () => workos({ clientId: 'client_01', apiKey: 'secret-4kL7', audience: 'api' })],
    ['workos() with promises', () => asynchronous(made)],
    ['oidc()', () => oidc({ issuer: metadata.url, ...client })],
    ['oidc() with an audience', () => oidc({ issuer: metadata.url, ...client, resource: 'https://api.example.com' })],
    ['oidc() with opaque tokens', () => oidc({ issuer: metadata.url, ...client, accessToken: 'opaque' })],
  ])('%s', async (_, make) => {
    const { failures, names } = await runSuite(make());
    expect([...failures]).toEqual([]);
    expect(names.length).toBeGreaterThan(15);
  });

  it('with answers of another form, when they are given', async () => {
    const readRefresh: Provider['readRefresh'] = ({ tokens, owner }, { user }) => {
      if (!Array.isArray(tokens)) return undefined;
      if (owner !== user?.id) throw new Error('another user');
      return { accessToken: String(tokens[0]) };
    };
    const provider = { ...made, readRefresh };
    expect([...(await runSuite(provider)).failures.keys()]).toEqual([
      'reads the tokens of a whole answer to a refresh',
    ]);
    const refresh = { tokens: ['a'], owner: 'user_a' };
    const answers = { refresh, otherUser: { ...refresh, owner: 'user_b' } };
    expect([...(await runSuite(provider, answers)).failures]).toEqual([]);
    const careless = { ...made, readRefresh: () => ({ accessToken: 'a', user: { id: 'user_b' } }) };
    expect([...(await runSuite(careless, answers)).failures.keys()]).toContain(aboutAnother);
  });
});

const unsigned = 'refuses a webhook that nobody has signed';
const changed = 'reads a signed webhook, and refuses it once a byte of it has changed';
const unsignedToken = 'refuses a log-out token that nobody has signed';

describe('a provider with webhooks', () => {
  const webhookSecret = 'secret-9qW2';
  const withWebhooks = workos({ clientId: 'client_01', apiKey: 'secret-4kL7', webhookSecret });
  const body = Buffer.from('{"event":"session.revoked","data":{"id":"session_01"}}');
  const time = String(Date.now());
  const hash = createHmac('sha256', webhookSecret).update(`${time}.`).update(body).digest('hex');
  const webhook = { body, headers: { 'workos-signature': `t=${time}, v1=${hash}` } };

  it('passes with one that it has signed', async () => {
    expect([...(await runSuite(withWebhooks, { webhook })).failures]).toEqual([]);
  });

  it.each<[string, Partial<Provider>]>([
    ['it refuses everything', { readWebhook: () => undefined }],
    ['it does not look at the body', { readWebhook: (_, headers) => withWebhooks.readWebhook!(body, headers) }],
    ['its answer is no list', { readWebhook: () => ({ sessionId: 'session_01' }) as never }],
    ['it names neither session nor user', { readWebhook: () => [{} as never] }],
    ['it names both', { readWebhook: () => [{ sessionId: 'a', userId: 'b' }] }],
    ['it names nobody', { readWebhook: () => [{ userId: '' }] }],
    ['it refreshes a session', { readWebhook: () => [{ sessionId: 'a', refresh: true }] }],
    ['its time is a number', { readWebhook: () => [{ userId: 'a', at: 1 as never }] }],
    ['its time is no time', { readWebhook: () => [{ userId: 'a', at: new Date(NaN) }] }],
  ])('fails where %s', async (_, methods) => {
    const { failures } = await runSuite({ ...withWebhooks, ...methods }, { webhook });
    expect([...failures.keys()]).toContain(changed);
    for (const failure of failures.values()) expect(String(failure)).not.toContain(webhookSecret);
  });
});

const aboutAnother = 'refuses an answer to a refresh that is about another user';
const exchange = 'exchanges the code with its verifier, in the body';
const refresh = 'refreshes with the refresh token and the organization, in the body';
const begin = 'sends the browser to a safe URL with the state and the PKCE challenge';
const rules = 'checks an access token by complete rules, or says that it is opaque';
const ends = 'ends a session for errors about this session only';
const out = 'signs the browser out at a safe URL';
const revokes = 'revokes the refresh token in the body, or the session';
const whole = 'reads the tokens of a whole answer to a refresh';
const half = 'reads half an answer to a refresh as undefined';
const halfSignIn = 'makes no session of half an answer to the code exchange';
const signIn = 'reads an answer to the code exchange as tokens with a user that has an id, or refuses it';
const only = 'sends nothing but what its requests need';
const without = 'refreshes without an organization where the session has none';
const organization = 'finds the organization that is sealed in the session';

const url = 'https://id.example.com/token';
const form = (fields: object): TokenRequest => ({
  url,
  headers: { 'content-type': 'application/x-www-form-urlencoded' },
  body: new URLSearchParams(fields as Record<string, string>).toString(),
});
/** The authorization URL of a good provider, with changes to its query. */
const authorize = (changes: Record<string, string | undefined>, at = 'https://id.example.com/authorize') => ({
  authorizationUrl: (request: SignInRequest) => {
    const query = new URL(made.authorizationUrl(request)).searchParams;
    for (const [name, value] of Object.entries(changes)) {
      if (value === undefined) query.delete(name);
      else query.set(name, value === 'verifier' ? request.codeVerifier : value);
    }
    return `${at}?${query.toString()}`;
  },
});
const jwtRules = { keysUrl: `${url}/keys`, algorithms: ['RS256'], issuer: [url], audience: ['api'] };
const ruled = (changes: object) => ({ accessToken: () => ({ ...jwtRules, ...changes }) });
const whatIsRead = (tokens: object) => ({ readRefresh: () => ({ accessToken: 'a', ...tokens }) });

const broken: [string, object, string[]][] = [
  ['an empty name', { name: '' }, ['has a name and an id that do not change']],
  [
    'an id that changes',
    {
      get id() {
        return String(Math.random());
      },
    },
    ['has a name and an id that do not change'],
  ],
  ['a cookie name with a space', { cookieName: 'my session' }, ['has a cookie name that browsers accept']],
  ['no cookie name', { cookieName: undefined }, ['has a cookie name that browsers accept']],
  ['problems', { problems: [{ path: 'provider.url', message: 'is wrong.' }] }, ['has no problems with its options']],
  ['another word', { refreshTokens: 'strict' }, ['says whether a refresh token may be sent twice']],

  ['no rules', { accessToken: () => undefined }, [rules]],
  ['neither keys nor a URL', ruled({ keysUrl: undefined }), [rules]],
  ['no keys in the list', ruled({ keys: [] }), [rules]],
  ['keys over plain http', ruled({ keysUrl: 'http://id.example.com/keys' }), [rules]],
  ['no algorithm', ruled({ algorithms: [] }), [rules]],
  ['a symmetric algorithm', ruled({ algorithms: ['RS256', 'HS256'] }), [rules]],
  ['an issuer that is a string', ruled({ issuer: url }), [rules]],
  ['an audience that is a string', ruled({ audience: 'api' }), [rules]],
  ['neither audience nor issuedToUs', ruled({ audience: undefined }), [rules]],
  ['an issuedToUs that is no function', ruled({ issuedToUs: true }), [rules]],
  ['an issuedToUs that accepts every client', ruled({ audience: undefined, issuedToUs: () => true }), [rules]],
  ['an asynchronous issuedToUs', ruled({ issuedToUs: async () => false }), [rules]],

  ['an authorization URL over plain http', authorize({}, 'http://id.example.com/authorize'), [begin]],
  ['no authorization URL', { authorizationUrl: () => undefined }, [begin]],
  ['no state', authorize({ state: undefined }), [begin]],
  ['no redirect URI', authorize({ redirect_uri: undefined }), [begin]],
  ['no challenge', authorize({ code_challenge: undefined }), [begin]],
  ['the plain challenge method', authorize({ code_challenge_method: 'plain' }), [begin]],
  ['the verifier in the authorization URL', authorize({ verifier: 'verifier' }), [begin]],
  [
    'a changed request',
    {
      authorizationUrl: (request: { nonce: string }) => {
        request.nonce = 'x';
        return made.authorizationUrl(request as SignInRequest);
      },
    },
    // All tests share the request, so the others find what is left of it.
    [begin],
  ],

  ['no code', { codeRequest: (_: unknown, { codeVerifier }: SignInRequest) => form({ codeVerifier }) }, [exchange]],
  ['no verifier', { codeRequest: (callback: URLSearchParams) => form({ code: callback.get('code') }) }, [exchange]],
  [
    'a changed callback',
    {
      codeRequest: (callback: URLSearchParams, request: SignInRequest) => {
        const sent = made.codeRequest(callback, request);
        callback.delete('code');
        return sent;
      },
    },
    [exchange],
  ],
  [
    'the whole sign-in in the code exchange',
    { codeRequest: (callback: URLSearchParams, request: object) => form({ ...request, code: callback.get('code') }) },
    [only],
  ],

  [
    'no refresh token',
    {
      refreshRequest: ({ organizationId }: object & { organizationId?: string }) =>
        form({ organizationId: organizationId ?? '' }),
    },
    [refresh, without],
  ],
  [
    'no organization',
    { refreshRequest: ({ refreshToken }: { refreshToken: string }) => form({ refreshToken }) },
    [refresh],
  ],
  [
    'the word undefined',
    {
      refreshRequest: ({ refreshToken, organizationId }: { refreshToken: string; organizationId?: string }) =>
        form({ refreshToken, organizationId }),
    },
    [without],
  ],
  ['the whole grant', { refreshRequest: (grant: object) => form(JSON.parse(JSON.stringify(grant)) as object) }, [only]],
  [
    'a refresh over plain http',
    {
      refreshRequest: (grant: never) => ({
        ...(made.refreshRequest(grant) as TokenRequest),
        url: 'http://id.example.com',
      }),
    },
    [refresh, without],
  ],
  [
    'a refresh token in the URL',
    {
      refreshRequest: (grant: { refreshToken: string }) => ({
        ...(made.refreshRequest(grant) as TokenRequest),
        url: `${url}?token=${encodeURIComponent(grant.refreshToken)}`,
      }),
    },
    [refresh, without],
  ],
  ['a body that is no string', { refreshRequest: () => ({ url, headers: {}, body: {} }) }, [refresh, without]],
  [
    'headers that are no strings',
    { refreshRequest: (grant: never) => ({ ...(made.refreshRequest(grant) as TokenRequest), headers: { a: 1 } }) },
    [refresh, without, only],
  ],
  ['nothing to send', { refreshRequest: () => undefined }, [refresh, without]],

  ['no tokens', { readRefresh: () => undefined }, [whole]],
  ['half an answer for a whole one', whatIsRead({}), [half]],
  ['an access token that is no string', { readRefresh: () => ({ accessToken: 42 }) }, [whole, half]],
  ['an empty refresh token', whatIsRead({ refreshToken: '' }), [whole, half]],
  ['an expiry that is no number', whatIsRead({ expiresIn: '300' }), [whole, half]],
  ['an expiry of zero', whatIsRead({ expiresIn: 0 }), [whole, half]],
  ['a user without an id', whatIsRead({ user: { sub: 'user_a' } }), [whole, half, aboutAnother]],
  ['another user', { readRefresh: (answer: never) => made.readRefresh(answer, { accessToken: 'a' }) }, [aboutAnother]],
  [
    'a changed answer',
    {
      readRefresh: (answer: Record<string, unknown>, previous: never) => {
        const tokens = made.readRefresh({ ...answer }, previous);
        answer.seen = true;
        return tokens;
      },
    },
    [whole],
  ],
  ['a session of half an answer', { readSignIn: () => ({ accessToken: 'a' }) }, [halfSignIn]],
  [
    'a user without an id at sign-in',
    {
      readSignIn: ({ access_token: a }: { access_token: unknown }) =>
        typeof a === 'string' && a !== '' ? { accessToken: a, user: {} } : undefined,
    },
    [signIn],
  ],

  ['every error', { terminalReason: () => 'invalid_grant' }, [ends]],
  [
    'a wrong secret',
    { terminalReason: ({ error }: { error: unknown }) => (error === 'invalid_client' ? 'invalid_grant' : undefined) },
    [ends],
  ],
  [
    'a reason of its own',
    { terminalReason: ({ error }: { error: unknown }) => (error === 'invalid_grant' ? 'session_is_over' : undefined) },
    [ends],
  ],
  ['an asynchronous terminalReason', { terminalReason: async () => undefined }, [ends]],
  ['no organization of the session', { organizationOf: () => undefined }, [organization]],
  ['an organization where there is none', { organizationOf: () => 'org_01' }, [organization]],
  [
    'an asynchronous organizationOf',
    { organizationOf: async ({ organizationId }: { organizationId?: string }) => organizationId },
    [organization],
  ],

  ['a sign-out over plain http', { logoutUrl: () => 'http://id.example.com/logout' }, [out]],
  [
    'the word undefined in the sign-out',
    { logoutUrl: ({ sessionId }: { sessionId?: string }) => `${url}?session=${String(sessionId)}` },
    [out],
  ],
  ['no refresh token to revoke', { revocationRequest: () => form({}) }, [revokes]],
  [
    'no session to revoke, where it revokes sessions',
    { revokesSession: true, revocationRequest: ({ refreshToken }: { refreshToken: string }) => form({ refreshToken }) },
    [revokes],
  ],
  [
    'a refresh token to revoke in the URL',
    {
      revocationRequest: ({ refreshToken }: { refreshToken: string }) => ({
        ...form({ refreshToken }),
        url: `${url}?t=${encodeURIComponent(refreshToken)}`,
      }),
    },
    [revokes],
  ],

  ['webhooks from anybody', { readWebhook: () => [] }, [unsigned]],
  [
    'log-out tokens from anybody',
    { readLogoutToken: (token: string) => ({ id: token, issuer: '', subject: 'user_a' }) },
    [unsignedToken],
  ],
];

describe('a broken provider fails', () => {
  it.each(broken)('with %s', async (_, changes, expected) => {
    const provider = Object.defineProperties({ ...made }, Object.getOwnPropertyDescriptors(changes)) as Provider;
    const { failures } = await runSuite(provider);
    expect([...failures.keys()].sort()).toEqual([...expected].sort());
    for (const failure of failures.values()) expect(String(failure)).not.toContain('secret-4kL7');
  });

  it('with each test of the suite at least once', async () => {
    const { names } = await runSuite(made);
    const failing = new Set([changed, ...broken.flatMap(([, , expected]) => expected)]);
    expect([...failing].sort()).toEqual([...names].sort());
  });

  it('by an assertion that says what to do', async () => {
    const { failures } = await runSuite({ ...made, logoutUrl: () => 'http://id.example.com/logout' });
    const failure = failures.get(out);
    expect(failure).toBeInstanceOf(AssertionError);
    expect(String(failure)).toContain('logoutUrl must give an https URL. Plain http is for loopback hosts only.');
  });
});
