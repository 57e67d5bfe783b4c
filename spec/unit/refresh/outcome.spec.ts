import { describe, expect, it } from '@jest/globals';
import { workos } from 'express-sealed-session';

import { ProviderFailure } from '../../../lib/wire/failure.js';
import type { Answer } from '../../../lib/wire/token-endpoint.js';
import { judgeAnswer, type Unavailable } from '../../../lib/refresh/outcome.js';

const provider = workos({ clientId: 'client_01', apiKey: 'sk_test_01' });
const previous = { accessToken: 'the old one', user: { id: 'user_01' } };
const tokens = { access_token: 'the new one', refresh_token: 'the next one' };
// The bodies that mean something in an answer of another status.
const refusal = { error: 'invalid_grant' };
const both = { ...tokens, ...refusal };

const judged = (status: number, body: Record<string, unknown>, by = provider) =>
  judgeAnswer({ kind: 'answered', status, body, retryAfterSeconds: 7 }, by, previous);
const unavailable = (reason: string) => expect.objectContaining({ kind: 'unavailable', reason, retryAfterSeconds: 7 });
const rotated = {
  kind: 'tokens',
  tokens: expect.objectContaining({ accessToken: 'the new one', refreshToken: 'the next one' }) as unknown,
};
const over = expect.objectContaining({ kind: 'terminal', reason: 'invalid_grant' }) as unknown;

describe('judgeAnswer', () => {
  it.each<[number, Record<string, unknown>, unknown]>([
    // Judged by the status alone.
    [429, both, unavailable('rate_limit_exceeded')],
    [408, both, unavailable('timeout')],
    [500, both, unavailable('server_error')],
    [503, both, unavailable('server_error')],
    [599, both, unavailable('server_error')],
    [199, both, unavailable('provider_misconfigured')],
    [300, both, unavailable('provider_misconfigured')],
    [399, both, unavailable('provider_misconfigured')],
    [401, both, unavailable('provider_misconfigured')],
    // Tokens, or half an answer.
    [200, tokens, rotated],
    [299, tokens, rotated],
    [200, both, rotated],
    [200, { refresh_token: 'the next one' }, unavailable('server_error')],
    [200, refusal, unavailable('server_error')],
    [200, {}, unavailable('server_error')],
    // A refusal, or an error in our set-up.
    [400, refusal, over],
    [400, both, over],
    [402, refusal, over],
    [403, refusal, over],
    [499, refusal, over],
    [403, { error: 'sso_required' }, { kind: 'terminal', reason: 'sso_required', status: 403, error: 'sso_required' }],
    [
      403,
      { code: 'mfa_enrollment' },
      { kind: 'terminal', reason: 'mfa_enrollment', status: 403, error: 'mfa_enrollment' },
    ],
    [400, tokens, unavailable('provider_misconfigured')],
    [400, { error: 'invalid_client' }, unavailable('provider_misconfigured')],
    [400, { error_description: 'invalid_grant' }, unavailable('provider_misconfigured')],
    [404, {}, unavailable('provider_misconfigured')],
  ])('judges status %i with %j', async (status, body, judgement) => {
    expect(await judged(status, body)).toEqual(judgement);
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

  it.each<Unavailable>([
    { kind: 'unavailable', reason: 'timeout' },
    { kind: 'unavailable', reason: 'network_error', error: 'ECONNREFUSED' },
  ])('judges no answer as %j', async (expected) => {
    const answer: Answer = { kind: 'unanswered', reason: expected.reason, error: expected.error };
    expect(await judgeAnswer(answer, provider, previous)).toEqual(expected);
  });

  it('rejects with the provider when the answer is about another user', async () => {
    const answer = { ...tokens, user: { id: 'user_02' } };
    await expect(judged(200, answer)).rejects.toBeInstanceOf(ProviderFailure);
  });
});
