import { describe, expect, it } from '@jest/globals';
import type { OidcOptions, SessionEvents } from 'express-sealed-session';

import { useClock } from '../support/clock.js';
import { type OpApp, origin, serveOp } from '../support/op-app.js';
import type { OpServer, Wire } from '../support/op-server.js';

const clock = useClock();
const person = { name: 'Ada', email: 'ada@example.com' };
const now = () => Math.floor(Date.now() / 1000);

type Failed = Partial<SessionEvents['signInFailed']>;
type Row = [what: string, wire: Wire, told: Failed, problem?: string, options?: (op: OpServer) => Partial<OidcOptions>];

/** Each way in which a sign-in can fail for everybody, and what is told of it. */
const rows: Row[] = [
  [
    'the provider refuses the scope',
    { unknownScopes: ['offline_access'] },
    { failure: 'provider_error', providerError: 'invalid_scope' },
  ],
  [
    'the provider says that it is away',
    { callback: { error: 'temporarily_unavailable' } },
    { failure: 'provider_error', providerError: 'temporarily_unavailable' },
  ],
  [
    'the provider says that it failed',
    { callback: { error: 'server_error' } },
    { failure: 'provider_error', providerError: 'server_error' },
  ],
  [
    'the provider says prose',
    { callback: { error: 'Sorry, Ada!' } },
    { failure: 'provider_error', providerError: 'other' },
  ],
  [
    'the client secret is wrong',
    {},
    { failure: 'provider_unavailable', check: 'provider_misconfigured' },
    'code_exchange invalid_client',
    () => ({ clientSecret: 'wrong' }),
  ],
  ['the ID token is missing', { idToken: false }, { failure: 'check_failed', check: 'id_token_missing' }],
  [
    'the ID token is of another issuer',
    { idToken: { iss: 'https://other.example' } },
    { failure: 'check_failed', check: 'id_token_issuer' },
  ],
  [
    'the ID token is for another client',
    { idToken: { aud: 'client_02' } },
    { failure: 'check_failed', check: 'id_token_audience' },
  ],
  [
    'the ID token has no audience',
    { idToken: { aud: undefined } },
    { failure: 'check_failed', check: 'id_token_audience' },
  ],
  [
    'the ID token is for several clients',
    { idToken: { aud: ['client_01', 'client_02'] } },
    { failure: 'check_failed', check: 'id_token_authorized_party' },
  ],
  [
    'the ID token was issued to another client',
    { idToken: { azp: 'client_02' } },
    { failure: 'check_failed', check: 'id_token_authorized_party' },
  ],
  [
    'the ID token has another nonce',
    { idToken: { nonce: 'other' } },
    { failure: 'check_failed', check: 'id_token_nonce' },
  ],
  [
    'the ID token has no nonce',
    { idToken: { nonce: undefined } },
    { failure: 'check_failed', check: 'id_token_nonce' },
  ],
  [
    'the ID token has expired, as with a wrong clock',
    { idToken: { exp: now() - 60 } },
    { failure: 'check_failed', check: 'id_token_expiry' },
  ],
  [
    'the ID token never expires',
    { idToken: { exp: undefined } },
    { failure: 'check_failed', check: 'id_token_expiry' },
  ],
  [
    'the ID token is of tomorrow',
    { idToken: { iat: now() + 86_400, exp: now() + 90_000 } },
    { failure: 'check_failed', check: 'id_token_issued_at' },
  ],
  [
    'the ID token has no time',
    { idToken: { iat: undefined } },
    { failure: 'check_failed', check: 'id_token_issued_at' },
  ],
  [
    'the ID token is not valid yet',
    { idToken: { nbf: now() + 600 } },
    { failure: 'check_failed', check: 'id_token_not_before' },
  ],
  ['the ID token is about nobody', { idToken: { sub: '' } }, { failure: 'check_failed', check: 'id_token_subject' }],
  [
    'the ID token has the hash of another access token',
    { idToken: { at_hash: 'AAAAAAAAAAAAAAAAAAAAAA' } },
    { failure: 'check_failed', check: 'id_token_access_token_hash' },
  ],
  [
    'the ID token is not signed',
    { algorithm: 'none', metadata: { id_token_signing_alg_values_supported: ['none', 'RS256'] } },
    { failure: 'check_failed', check: 'id_token_algorithm' },
  ],
  [
    'the ID token is signed with the secret',
    { algorithm: 'HS256' },
    { failure: 'check_failed', check: 'id_token_algorithm' },
    'unsupported id_token_algorithm',
  ],
  [
    'the ID token has an algorithm that the metadata does not name',
    { algorithm: 'ES256', metadata: { id_token_signing_alg_values_supported: ['RS256'] } },
    { failure: 'check_failed', check: 'id_token_algorithm' },
  ],
  [
    'the ID token is encrypted',
    { answer: { id_token: 'a.b.c.d.e' } },
    { failure: 'check_failed', check: 'id_token_encrypted' },
  ],
  ['the ID token is no JWT', { answer: { id_token: 'abc' } }, { failure: 'check_failed', check: 'id_token_malformed' }],
  [
    'the access token is missing',
    { answer: { access_token: null } },
    { failure: 'check_failed', check: 'access_token_missing' },
  ],
  [
    'the access token is bound to a key (DPoP)',
    { answer: { token_type: 'DPoP' } },
    { failure: 'check_failed', check: 'token_type' },
  ],
  [
    'the callback names another issuer',
    { callback: { iss: 'https://other.example' } },
    { failure: 'check_failed', check: 'callback_issuer' },
  ],
  [
    'the callback names no issuer where it is promised',
    { metadata: { authorization_response_iss_parameter_supported: true } },
    { failure: 'check_failed', check: 'callback_issuer' },
  ],
  ['the keys cannot be had', { keysStatus: 500 }, { failure: 'provider_unavailable', check: 'server_error' }],
  [
    'the token endpoint is not safe',
    { metadata: { token_endpoint: 'http://op.example/token' } },
    { failure: 'provider_unavailable', check: 'provider_misconfigured' },
    'metadata token_endpoint_insecure',
  ],
];

const awayErrors = ['temporarily_unavailable', 'server_error'];

describe('a sign-in that fails for everybody', () => {
  it.each(rows.map(([what, ...row]) => ({ what, row })))('is told with its cause when $what', async ({ row }) => {
    const [wire, expected, problem, options] = row;
    const { signIn, told, problems } = await serveOp({ wire: { idToken: person, ...wire } }, options);
    const page = await signIn();
    const isAway = expected.failure === 'provider_unavailable' || awayErrors.includes(expected.providerError ?? '');
    expect(page.status).toBe(isAway ? 503 : 400);
    expect(told.signInFailed).toEqual([{ restarted: false, ...expected }]);
    expect(problems()).toEqual(problem === undefined ? [] : [problem]);
  });

  it.each<[string, Wire]>([
    ['a refresh token that is null', { answer: { refresh_token: null } }],
    ['a scope that is null', { answer: { scope: null } }],
    ['a scope that is a list', { answer: { scope: ['openid'] } }],
    ['a lifetime that is null', { answer: { expires_in: null } }],
    ['a lifetime that is a text', { answer: { expires_in: '300' } }],
    ['no token type', { answer: { token_type: undefined } }],
    ['a token type in small letters', { answer: { token_type: 'bearer' } }],
    ['an ID token of a moment ahead', { idToken: { ...person, iat: now() + 3 } }],
    ['an ID token with azp', { idToken: { ...person, azp: 'client_01', aud: ['client_01', 'client_02'] } }],
  ])('does not fail for %s', async (_, wire) => {
    const { signIn } = await serveOp({ wire: { idToken: person, ...wire } });
    expect((await signIn()).json).toMatchObject({ authenticated: true });
  });

  it('holds the clock tolerance of the options for ID tokens', async () => {
    const wire = { idToken: { ...person, exp: now() - 60 } };
    const strict = await serveOp({ wire });
    expect((await strict.signIn()).status).toBe(400);
    const tolerant = await serveOp({ wire }, undefined, { clockToleranceSeconds: 120 });
    expect((await tolerant.signIn()).json).toMatchObject({ authenticated: true });
  });

  it('has its keys at hand before the code is spent', async () => {
    const { op, browser, visit, app } = await serveOp({ wire: { idToken: person, keysStatus: 500 } });
    const authorize = (await browser.get('/login')).headers.get('location')!;
    const callback = (await browser.fetch(authorize)).headers.get('location')!.replace(origin, app.url);
    expect((await browser.fetch(callback)).status).toBe(503);
    expect(op.to('/token')).toHaveLength(0);
    op.wire.keysStatus = 200;
    clock.advance(10);
    expect((await visit(callback)).json).toMatchObject({ authenticated: true });
  });

  it('takes the secret as the key where the options say so', async () => {
    const { signIn } = await serveOp({ wire: { algorithm: 'HS256', idToken: person } }, () => ({
      idTokenAlgorithm: 'HS256',
    }));
    expect((await signIn()).json).toMatchObject({ authenticated: true });
  });

  it('says once what to set where no refresh token came', async () => {
    const { signIn, problems, app } = await serveOp({ wire: { idToken: person, refreshToken: false } });
    await signIn();
    await signIn((await import('../support/browser.js')).createBrowser(app.url));
    expect(problems()).toEqual(['no_refresh_token']);
  });
});

describe('what a visitor alone can cause', () => {
  it.each<[string, (app: OpApp) => Promise<string>]>([
    ['a callback without a code', async ({ browser }) => `/callback?state=${await stateOf(browser)}`],
    [
      'a callback with an invented code',
      async ({ browser }) => `/callback?code=invented&state=${await stateOf(browser)}`,
    ],
    [
      'a callback with an invented error',
      async ({ browser }) => `/callback?error=invalid_client&state=${await stateOf(browser)}`,
    ],
    ['a callback out of nowhere', async () => '/callback?code=a&state=b'],
  ])('uses up no event of the set-up: %s', async (_, pathOf) => {
    const served = await serveOp({ wire: { idToken: person } });
    const page = await served.browser.get(await pathOf(served));
    expect(page.status).toBe(400);
    expect(served.problems()).toEqual([]);
    expect(served.told.signInFailed).toHaveLength(1);
  });

  it.each<[string, Wire['deadCode'], Failed]>([
    ['400 and nothing else', { status: 400, body: {} }, { failure: 'exchange_refused', providerError: undefined }],
    [
      'a refusal of the request',
      { status: 400, body: { error: 'invalid_request' } },
      { failure: 'exchange_refused', providerError: 'invalid_request' },
    ],
    [
      'a code that is spent',
      { status: 401, body: { error: 'invalid_grant' } },
      { failure: 'code_spent', providerError: 'invalid_grant' },
    ],
  ])('uses up no event of the set-up where an invented code gets %s', async (_, deadCode, expected) => {
    const { browser, problems, told } = await serveOp({ wire: { idToken: person, ...(deadCode && { deadCode }) } });
    const page = await browser.get(`/callback?code=invented&state=${await stateOf(browser)}`);
    expect(page.status).toBe(400);
    expect(problems()).toEqual([]);
    expect(told.signInFailed).toMatchObject([expected]);
  });

  it('sends nothing to the provider for a callback without a code', async () => {
    const { op, browser } = await serveOp({ wire: { idToken: person } });
    await browser.get(`/callback?state=${await stateOf(browser)}`);
    expect(op.to('/token')).toHaveLength(0);
  });
});

async function stateOf(browser: OpApp['browser']): Promise<string> {
  const authorize = (await browser.get('/login')).headers.get('location')!;
  return new URL(authorize).searchParams.get('state')!;
}
