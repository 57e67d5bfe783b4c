import { describe, expect, it } from '@jest/globals';
import { oidc, workos, type Provider } from 'express-sealed-session';

import { ProviderFailure } from '../../../lib/wire/failure.js';
import type { Answer } from '../../../lib/wire/token-endpoint.js';
import { type Fault, isOutage, judgeAnswer, type Unavailable } from '../../../lib/refresh/outcome.js';

const openid = oidc({ issuer: 'https://issuer.example', clientId: 'client_01', clientSecret: 'cs_a2b3c4' });
const provider = workos({ clientId: 'client_01', apiKey: 'sk_test_01' });
const previous = { accessToken: 'the old one', user: { id: 'user_01' } };
const tokens = { access_token: 'the new one', refresh_token: 'the next one' };
// The bodies that mean something in an answer of another status.
const refusal = { error: 'invalid_grant' };
const both = { ...tokens, ...refusal };

const judged = (status: number, body: Record<string, unknown>, by: Provider = provider) =>
  judgeAnswer({ kind: 'answered', status, body, retryAfterSeconds: 7 }, by, previous);
const unavailable = (reason: string, fault: Fault) =>
  expect.objectContaining({ kind: 'unavailable', reason, fault, retryAfterSeconds: 7 });
const away = unavailable('server_error', 'provider');
const operator = unavailable('provider_misconfigured', 'operator');
const undecided = unavailable('provider_misconfigured', 'undecided');
const rotated = {
  kind: 'tokens',
  tokens: expect.objectContaining({ accessToken: 'the new one', refreshToken: 'the next one' }) as unknown,
};
const over = expect.objectContaining({ kind: 'terminal', reason: 'invalid_grant' }) as unknown;

describe('judgeAnswer', () => {
  it.each<[number, object, unknown]>([
    // Judged by the status alone.
    [429, both, unavailable('rate_limit_exceeded', 'limit')],
    [408, both, unavailable('timeout', 'provider')],
    [500, both, away],
    [503, both, away],
    [599, both, away],
    [199, both, operator],
    [300, both, operator],
    [399, both, operator],
    // Tokens, or half an answer.
    [200, tokens, rotated],
    [299, tokens, rotated],
    [200, both, rotated],
    [200, { refresh_token: 'the next one' }, away],
    [200, {}, away],
    // An error in a 200 is an error.
    [200, refusal, over],
    [200, { error: 'invalid_client' }, operator],
    [200, { error: 'something else' }, undecided],
    // A refusal, or an error in our set-up.
    [400, refusal, over],
    [400, both, over],
    [401, refusal, over],
    [402, refusal, over],
    [403, refusal, over],
    [499, refusal, over],
    [403, { error: 'sso_required' }, { kind: 'terminal', reason: 'sso_required', status: 403, error: 'sso_required' }],
    [
      403,
      { code: 'mfa_enrollment' },
      { kind: 'terminal', reason: 'mfa_enrollment', status: 403, error: 'mfa_enrollment' },
    ],
    [400, { error: 'temporarily_unavailable' }, away],
    // The operator's: about the client, or not the word of a token endpoint.
    ...['invalid_client', 'unauthorized_client', 'unsupported_grant_type'].flatMap((error) =>
      [400, 401, 403, 422].map((status): [number, object, unknown] => [status, { error }, operator]),
    ),
    ...[401, 402, 403, 404, 405, 413].flatMap((status): [number, Record<string, unknown>, unknown][] => [
      [status, {}, operator],
      [status, { error: 'user_not_found', message: 'Not Found' }, operator],
    ]),
    // This session's or the operator's.
    ...[400, 409, 410, 422].flatMap((status): [number, Record<string, unknown>, unknown][] => [
      [status, {}, undecided],
      [status, tokens, undecided],
      [status, { error: 'unknown_error', error_description: 'invalid_grant' }, undecided],
    ]),
    ...[400, 401, 403, 404].map((status): [number, object, unknown] => [
      status,
      { error: 'invalid_request' },
      undecided,
    ]),
  ])('judges status %i with %j', async (status, body, judgement) => {
    expect(await judged(status, body as Record<string, unknown>)).toEqual(judgement);
  });

  it.each<[number, Record<string, unknown>, object]>([
    [503, {}, { status: 503, error: undefined }],
    [500, { error: 'server_error' }, { status: 500, error: 'server_error' }],
    [429, { code: 'too_many_requests' }, { status: 429, error: 'too_many_requests' }],
    [200, refusal, { status: 200, error: 'invalid_grant' }],
    [400, refusal, { status: 400, error: 'invalid_grant' }],
    [401, { error: 'invalid_client' }, { status: 401, error: 'invalid_client' }],
    [400, { error: 'the old one', error_description: 'prose' }, { status: 400, error: undefined }],
  ])('adds the status and a known error code to status %i with %j', async (status, body, added) => {
    expect(await judged(status, body)).toMatchObject(added);
  });

  const asksToAct = ['interaction_required', 'login_required', 'consent_required', 'account_selection_required'];
  const acts = ['access_denied', 'insufficient_user_authentication', 'unmet_authentication_requirements'];
  const dead = ['invalid_grant', 'invalid_token', 'expired_token', 'token_inactive'];
  const workosActs = [
    ...['organization_selection_required', 'email_verification_required', 'mfa_challenge', 'mfa_verification'],
    'organization_authentication_methods_required',
  ];
  it.each([
    ...[...asksToAct, ...acts].flatMap((code) => [
      ['OpenID', 'interaction_required', { error: code }, openid] as const,
      ['WorkOS', 'interaction_required', { error: code }, provider] as const,
    ]),
    ...dead.flatMap((code) => [
      ['OpenID', 'invalid_grant', { error: code }, openid] as const,
      ['WorkOS', 'invalid_grant', { error: code }, provider] as const,
    ]),
    ...workosActs.map((code) => ['WorkOS', 'interaction_required', { code }, provider] as const),
    ['WorkOS', 'invalid_grant', { code: 'entity_not_found' }, provider] as const,
    ['WorkOS', 'sso_required', { error: 'Forbidden', code: 'sso_required' }, provider] as const,
  ])('ends a session of %s, with %s for %j', async (_, reason, body, by) => {
    for (const status of [400, 401, 403, 404, 200])
      expect(await judged(status, body, by)).toMatchObject({ kind: 'terminal', reason });
  });

  it.each(['organization_selection_required', 'sso_required', 'entity_not_found'])(
    'takes %s for a word of WorkOS only',
    async (code) => {
      expect(await judged(403, { error: code }, openid)).toEqual(undecided);
      expect(await judged(403, { code }, openid)).toEqual(undecided);
    },
  );

  it('ends a session for the codes of sessionEndingErrors too', async () => {
    const given = { issuer: 'https://issuer.example', clientId: 'client_01', clientSecret: 'cs_a2b3c4' };
    const own = oidc({ ...given, sessionEndingErrors: ['user_not_found'] });
    expect(await judged(404, { error: 'user_not_found' }, own)).toEqual(over);
    expect(await judged(404, { error: 'user_not_found' }, openid)).toEqual(operator);
  });

  it.each<[boolean, Unavailable]>([
    [true, { kind: 'unavailable', reason: 'server_error', fault: 'provider', status: 503 }],
    [true, { kind: 'unavailable', reason: 'network_error', fault: 'provider' }],
    [true, { kind: 'unavailable', reason: 'timeout' }],
    [false, { kind: 'unavailable', reason: 'timeout', fault: 'provider', status: 408 }],
    [false, { kind: 'unavailable', reason: 'rate_limit_exceeded', fault: 'limit', status: 429 }],
    [false, { kind: 'unavailable', reason: 'rate_limit_exceeded' }],
    [false, { kind: 'unavailable', reason: 'provider_misconfigured', fault: 'undecided', status: 200 }],
    [false, { kind: 'unavailable', reason: 'provider_misconfigured' }],
  ])('answers whether old claims may serve: %s for %j', (expected, outcome) => {
    expect(isOutage(outcome)).toBe(expected);
  });

  it.each<Unavailable>([
    { kind: 'unavailable', reason: 'timeout', fault: 'provider' },
    { kind: 'unavailable', reason: 'network_error', error: 'ECONNREFUSED', fault: 'provider' },
  ])('judges no answer as %j', async (expected) => {
    const answer: Answer = { kind: 'unanswered', reason: expected.reason, error: expected.error };
    expect(await judgeAnswer(answer, provider, previous)).toEqual(expected);
  });

  it('rejects with the provider when the answer is about another user', async () => {
    const answer = { ...tokens, user: { id: 'user_02' } };
    await expect(judged(200, answer)).rejects.toBeInstanceOf(ProviderFailure);
  });
});
