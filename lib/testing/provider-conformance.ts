import assert from 'node:assert/strict';

import type { Awaitable } from '../awaitable.js';
import { secureUrl } from '../checks.js';
import { isRecord, nonEmptyString, parseObject } from '../json.js';
import { pkceChallenge, type Provider, type SignInRequest, type TokenRequest } from '../provider/provider.js';
import type { SessionPayload, TokenSet } from '../session/payload.js';
import type { TerminalReason } from '../session/reasons.js';
import { type SignedWebhook, testNoticeConformance } from './notice-conformance.js';
import { settled } from './settled.js';

type Json = Readonly<Record<string, unknown>>;

/** What the suite cannot know of a provider. */
export interface ProviderAnswers {
  /** A successful answer to a refresh. Default: `access_token`, `refresh_token`, `token_type` and `expires_in`. */
  readonly refresh?: Json | undefined;
  /** The same about a user whose id is `user_b`. Default: with `user`, `user_id`, `sub` and an ID token. */
  readonly otherUser?: Json | undefined;
  /** A webhook that the provider has signed, for a provider with `readWebhook`. Default: only unsigned ones are tried. */
  readonly webhook?: SignedWebhook | undefined;
}

const signInRequest: SignInRequest = {
  redirectUri: 'https://app.example.com/callback?tenant=a',
  state: 'state-4mY2 &=',
  nonce: 'nonce-8kQ1',
  parameters: {},
  codeVerifier: 'verifier-0123456789-0123456789-0123456789-abc',
  codeChallenge: pkceChallenge('verifier-0123456789-0123456789-0123456789-abc'),
};
const callback = 'code=code-7hT3%20%26%3D&state=state-4mY2+%26%3D';
const code = 'code-7hT3 &=';
const refreshToken = 'refresh-5sW9 &=';
const organizationId = 'org-3dF6';
const previousSession: SessionPayload = { accessToken: 'access-1aB2', refreshToken, user: { id: 'user_a' } };
// Not part of any input's type. A provider that passes on whatever it was given would send them to the token endpoint.
const strangers = { sealedSession: 'Fe26.2*1*seal-6gH8', password: 'password-9jK4', cookie: 'wos-session=seal-6gH8' };

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const jwt = (claims: Json) => `${encode({ alg: 'RS256', kid: 'one' })}.${encode(claims)}.c2ln`;

const wholeAnswer: Json = {
  access_token: 'access-2cD3',
  refresh_token: 'refresh-7uV8',
  token_type: 'Bearer',
  expires_in: 300,
};
const otherUserAnswer: Json = {
  ...wholeAnswer,
  user: { id: 'user_b', sub: 'user_b', email: 'b@example.com' },
  user_id: 'user_b',
  sub: 'user_b',
  id_token: jwt({ iss: 'https://another.example', aud: 'another-client', sub: 'user_b' }),
};
const halfAnswers: readonly Json[] = [
  {},
  { refresh_token: 'refresh-7uV8' },
  ...['', null, 42, ['access-2cD3'], { access_token: 'access-2cD3' }].map((value) => ({ access_token: value })),
];
// Mistakes of the operator, passing failures, and codes that nobody has heard of.
const otherErrors: readonly Json[] = [
  {},
  ...[
    'invalid_client',
    'invalid_request',
    'invalid_scope',
    'unauthorized_client',
    'unsupported_grant_type',
    'temporarily_unavailable',
    'server_error',
    'slow_down',
    'an_error_of_the_future',
    '',
    null,
    42,
  ].map((error) => ({ error })),
  { error: 'invalid_client', error_description: 'invalid_grant' },
  { message: 'invalid_grant' },
];
const terminalReasons: Readonly<Record<TerminalReason, true>> = {
  invalid_grant: true,
  sso_required: true,
  mfa_enrollment: true,
  session_revoked: true,
  interaction_required: true,
};

/**
 * Tests that a provider keeps the contract of `Provider`, with made-up answers. Nothing is sent. A provider that must
 * fetch its metadata before it can answer needs a server for that; it may be one on the loopback interface.
 *
 * @param provider with working options: any client id and secret will do
 * @param run registers one test with a test runner, as `it` of Jest and Mocha does. A test rejects when it fails
 * @param answers for a provider whose answers do not have the form of RFC 6749, or with webhooks
 * @throws never by itself: each finding is the rejection of one test. Its message holds no value of the provider
 * @example
 * import { it } from 'mocha';
 *
 * testProviderConformance(acme('https://id.example.com', 'client', 'secret'), (name, test) => it(name, test));
 */
export function testProviderConformance(
  provider: Provider,
  run: (name: string, test: () => Promise<void>) => void,
  answers: ProviderAnswers = {},
): void {
  // Copies: a provider that changes its input must not disturb the suite of another.
  const request = structuredClone(signInRequest);
  const previous = structuredClone(previousSession);
  const refreshAnswer = structuredClone(answers.refresh ?? wholeAnswer);
  const grant = { refreshToken, organizationId };

  run('has a name and an id that do not change', async () => {
    await Promise.resolve();
    for (const field of ['name', 'id'] as const) {
      const value = nonEmptyString(provider[field]);
      assert.ok(value !== undefined, `"${field}" must be a string that is not empty.`);
      assert.ok(provider[field] === value, `"${field}" must be the same each time: processes know each other by it.`);
    }
  });

  run('has a cookie name that browsers accept', async () => {
    await Promise.resolve();
    // RFC 6265 section 4.1.1: a token.
    const isToken = /^[\w!#$%&'*+\-.^`|~]+$/.test(nonEmptyString(provider.cookieName) ?? '');
    assert.ok(isToken, '"cookieName" must be made of letters, digits and !#$%&\'*+-.^_`|~.');
  });

  run('has no problems with its options', async () => {
    await Promise.resolve();
    assert.ok((provider.problems ?? []).length === 0, '"problems" must be empty: test it with options that work.');
  });

  run('says whether a refresh token may be sent twice', async () => {
    await Promise.resolve();
    const known: readonly unknown[] = ['single-use', 'reusable'];
    assert.ok(known.includes(provider.refreshTokens), '"refreshTokens" must be "single-use" or "reusable".');
  });

  run('checks an access token by complete rules, or says that it is opaque', async () => {
    for (const token of ['access-1aB2', jwt({ sub: 'user_a' })]) {
      const rules: unknown = await provider.accessToken(token);
      if (rules !== 'opaque') assertRules(rules);
    }
  });

  run('sends the browser to a safe URL with the state and the PKCE challenge', async () => {
    const url = await unchanged('authorizationUrl', () => provider.authorizationUrl(request), request);
    assertSafeUrl('authorizationUrl', url);
    const query = new URL(url).searchParams;
    assert.ok(query.get('state') === request.state, 'The authorization URL must carry "state" as it is.');
    assert.ok(query.get('redirect_uri') === request.redirectUri, 'The authorization URL must carry "redirect_uri".');
    assert.ok(query.get('code_challenge') === request.codeChallenge, 'The authorization URL must carry the challenge.');
    assert.ok(query.get('code_challenge_method') === 'S256', 'The challenge method must be "S256", not "plain".');
    assert.ok(!url.includes(request.codeVerifier), 'The authorization URL must not hold the code verifier.');
  });

  run('exchanges the code with its verifier, in the body', async () => {
    const parameters = new URLSearchParams(callback);
    const sent = await unchanged('codeRequest', () => provider.codeRequest(parameters, request), request);
    assert.ok(parameters.toString() === new URLSearchParams(callback).toString(), 'codeRequest must change nothing.');
    assertRequest('codeRequest', sent, [code, request.codeVerifier]);
  });

  run('refreshes with the refresh token and the organization, in the body', async () => {
    const sent = await unchanged('refreshRequest', () => provider.refreshRequest(grant), grant);
    assertRequest('refreshRequest', sent, [refreshToken], [organizationId]);
  });

  run('refreshes without an organization where the session has none', async () => {
    const sent = await provider.refreshRequest({ refreshToken, organizationId: undefined });
    assertRequest('refreshRequest', sent, [refreshToken]);
  });

  run('sends nothing but what its requests need', async () => {
    const requests = {
      codeRequest: await provider.codeRequest(new URLSearchParams(callback), { ...request, ...strangers }),
      refreshRequest: await provider.refreshRequest({ ...grant, ...strangers }),
      revocationRequest: await provider.revocationRequest?.({ refreshToken, sessionId: 'session-2', ...strangers }),
    };
    for (const [method, sent] of Object.entries(requests)) {
      const parts = sent ? [sent.url, ...Object.values(sent.headers), ...valuesIn(sent)] : [];
      const leaked = Object.values(strangers).some((secret) => parts.some((part) => part.includes(secret)));
      assert.ok(!leaked, `${method} must send neither the password nor the cookie: name the fields that you send.`);
    }
  });

  run('reads the tokens of a whole answer to a refresh', async () => {
    const tokens = await unchanged(
      'readRefresh',
      () => provider.readRefresh(refreshAnswer, previous),
      refreshAnswer,
      previous,
    );
    assert.ok(
      tokens !== undefined,
      'readRefresh returned undefined for a whole answer. Give one of yours when it does not follow RFC 6749.',
    );
    assertTokens('readRefresh', tokens);
  });

  run('reads half an answer to a refresh as undefined', async () => {
    for (const answer of halfAnswers) {
      const tokens = await provider.readRefresh(answer, previous);
      assert.ok(tokens === undefined, 'readRefresh must return undefined for an answer without an access token.');
    }
  });

  run('makes no session of half an answer to the code exchange', async () => {
    for (const answer of halfAnswers) {
      const tokens = await settled(() => provider.readSignIn(answer, request));
      assert.ok(tokens === undefined, 'readSignIn must return undefined for an answer without an access token.');
    }
  });

  run('reads an answer to the code exchange as tokens with a user that has an id, or refuses it', async () => {
    const tokens = await settled(() =>
      unchanged('readSignIn', () => provider.readSignIn(refreshAnswer, request), refreshAnswer, request),
    );
    if (tokens !== undefined) assertTokens('readSignIn', tokens);
  });

  run('refuses an answer to a refresh that is about another user', async () => {
    const answer = answers.otherUser ?? otherUserAnswer;
    const tokens = await settled(() => provider.readRefresh(answer, previous));
    const user = tokens?.user;
    assert.ok(!user || user.id === 'user_a', 'readRefresh must throw when the answer is about another user.');
  });

  run('ends a session for errors about this session only', async () => {
    await Promise.resolve();
    for (const answer of otherErrors) {
      const reason: unknown = provider.terminalReason(answer);
      assert.ok(reason === undefined, 'terminalReason must return undefined for errors that it does not know.');
    }
    const reason: unknown = provider.terminalReason({ error: 'invalid_grant' });
    const isListed = typeof reason === 'string' && Object.hasOwn(terminalReasons, reason);
    const listed = Object.keys(terminalReasons).join(', ');
    assert.ok(reason === undefined || isListed, `terminalReason must return undefined or one of: ${listed}.`);
  });

  run('finds the organization that is sealed in the session', async () => {
    await Promise.resolve();
    if (!provider.organizationOf) return;
    const found = [{ ...previous, organizationId }, previous].map((payload) => provider.organizationOf?.(payload));
    assert.ok(found[0] === organizationId, 'organizationOf must return the organization of the session.');
    assert.ok(found[1] === undefined, 'organizationOf must return undefined where the session has no organization.');
  });

  run('signs the browser out at a safe URL', async () => {
    for (const session of [{ sessionId: 'session-2', returnTo: 'https://app.example.com/?a=b&c' }, {}]) {
      const url = await unchanged('logoutUrl', () => provider.logoutUrl?.(session), session);
      if (url === undefined) continue;
      assertSafeUrl('logoutUrl', url);
      assertNoEmptyWords('logoutUrl', [...new URL(url).searchParams.values()]);
    }
  });

  run('revokes the refresh token in the body, or the session', async () => {
    const session = { refreshToken, sessionId: 'session-2' };
    const sent = await unchanged('revocationRequest', () => provider.revocationRequest?.(session), session);
    const revoked = provider.revokesSession === true ? session.sessionId : refreshToken;
    if (sent !== undefined) assertRequest('revocationRequest', sent, [revoked]);
  });

  testNoticeConformance(provider, run, answers.webhook);
}

/** The result of a method, after it was found that the method changed nothing that it was given. */
async function unchanged<Value>(
  method: string,
  call: () => Awaitable<Value>,
  ...given: readonly object[]
): Promise<Value> {
  const before = JSON.stringify(given);
  const result = await call();
  assert.ok(JSON.stringify(given) === before, `${method} must not change what it is given.`);
  return result;
}

function assertSafeUrl(method: string, url: unknown): asserts url is string {
  // What is wrong is said without the URL, which may hold a client's secret.
  assert.ok(secureUrl(url) === undefined, `${method} must give an https URL. Plain http is for loopback hosts only.`);
}

/** `undefined` that became a part of a query or form is a parameter that should have been left out. */
function assertNoEmptyWords(method: string, values: readonly string[]): void {
  const isEmptyWord = (value: string) => value === 'undefined' || value === 'null';
  assert.ok(!values.some(isEmptyWord), `${method} must leave out a parameter that has no value.`);
}

function assertRequest(
  method: string,
  sent: TokenRequest,
  secrets: readonly string[],
  others: readonly string[] = [],
): void {
  assert.ok(isRecord(sent) && isRecord(sent.headers), `${method} must return { url, headers, body }.`);
  assertSafeUrl(method, sent.url);
  assert.ok(typeof sent.body === 'string', `${method} must return the body as a string.`);
  const headers: unknown[] = Object.values(sent.headers);
  assert.ok(
    headers.every((value) => typeof value === 'string'),
    `${method} must return headers whose values are strings.`,
  );
  const values = valuesIn(sent);
  const inUrl = [sent.url, decodeURI(sent.url), ...new URL(sent.url).searchParams.values()].join(' ');
  for (const secret of secrets) {
    // URLs are logged by servers and proxies.
    assert.ok(!inUrl.includes(secret), `${method} must not put a token or code into the URL.`);
    assert.ok(values.includes(secret), `${method} must carry the tokens and codes that it is given, as they are.`);
  }
  for (const other of others) {
    const isCarried = [inUrl, ...Object.values(sent.headers), ...values].some((part) => part.includes(other));
    assert.ok(isCarried, `${method} must ask for the organization that it is given.`);
  }
  assertNoEmptyWords(method, values);
}

/** The values in a body that is JSON or a form. */
function valuesIn({ body }: TokenRequest): string[] {
  const json = parseObject(body);
  return json ? texts(json) : [...new URLSearchParams(body).values()];
}

function texts(value: unknown): string[] {
  if (typeof value === 'object' && value !== null) return Object.values(value).flatMap(texts);
  return typeof value === 'string' ? [value] : [];
}

function assertTokens(method: string, tokens: TokenSet): void {
  const { accessToken, refreshToken: next, expiresIn, user } = tokens as { [Name in keyof TokenSet]: unknown };
  assert.ok(nonEmptyString(accessToken) !== undefined, `${method} must give "accessToken" as a string.`);
  const hasToken = next === undefined || nonEmptyString(next) !== undefined;
  assert.ok(hasToken, `${method} must give "refreshToken" as a string that is not empty, or leave it out.`);
  const hasExpiry = expiresIn === undefined || (Number.isFinite(expiresIn) && (expiresIn as number) > 0);
  assert.ok(hasExpiry, `${method} must give "expiresIn" as a number of seconds, or leave it out.`);
  const hasUser = user === undefined || (isRecord(user) && nonEmptyString(user.id) !== undefined);
  assert.ok(hasUser, `${method} must give a "user" that has an "id", or leave it out.`);
}

function assertRules(rules: unknown): void {
  assert.ok(isRecord(rules), 'accessToken must return "opaque" or the rules of a JWT.');
  const { keys, keysUrl, algorithms, issuer, audience, issuedToUs } = rules;
  assert.ok(keys === undefined || (Array.isArray(keys) && keys.length > 0), '"keys" must be a list of JWKs.');
  assert.ok(keys !== undefined || keysUrl !== undefined, 'A JWT needs "keys" or "keysUrl".');
  if (keysUrl !== undefined) assertSafeUrl('keysUrl', keysUrl);
  assert.ok(isListOfText(algorithms), '"algorithms" must be a list.');
  const isSafe = algorithms.every((algorithm) => !/^(HS|none)/i.test(algorithm));
  assert.ok(isSafe, '"algorithms" must be asymmetric: with HS256, everybody who has the public key can sign.');
  assert.ok(isListOfText(issuer), '"issuer" must be a list.');
  assert.ok(audience === undefined || isListOfText(audience), '"audience" must be a list, or left out.');
  if (typeof issuedToUs !== 'function') {
    assert.ok(issuedToUs === undefined, '"issuedToUs" must be a function, or left out.');
    assert.ok(audience !== undefined, 'Give "audience" or "issuedToUs": else tokens of other apps are accepted.');
    return;
  }
  const another = 'another-client';
  const claims = { client_id: another, azp: another, cid: another, appid: another, aud: another };
  const answer = (issuedToUs as (given: Json) => unknown)(claims);
  const isAnswer = typeof answer === 'boolean' || answer === 'unsaid';
  assert.ok(isAnswer, '"issuedToUs" must return true, false or "unsaid".');
  assert.ok(
    answer === false || audience !== undefined,
    '"issuedToUs" must return false for a token of another client.',
  );
}

function isListOfText(value: unknown): value is string[] {
  return Array.isArray(value) && value.length > 0 && value.every((item) => nonEmptyString(item) !== undefined);
}
