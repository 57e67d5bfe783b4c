import { describe, expect, it } from '@jest/globals';
import { workos } from 'express-sealed-session';

import { ProviderFailure } from '../../../lib/wire/failure.js';
import type { Answer } from '../../../lib/wire/token-endpoint.js';
import { judge, type Judgement } from '../../../lib/refresh/outcome.js';

const provider = workos({ clientId: 'client_01', apiKey: 'sk_test_01' });
const previous = { accessToken: 'the old one', user: { id: 'user_01' } };
const tokens = { access_token: 'the new one', refresh_token: 'the next one' };
// Whatever else is in a body, these two could be taken for something.
const refusal = { error: 'invalid_grant' };
const both = { ...tokens, ...refusal };

const judged = (status: number, body: Record<string, unknown>, by = provider) =>
  judge({ kind: 'answered', status, body, retryAfterSeconds: 7 }, by, previous);
const passing = (reason: string) => ({ kind: 'transient', reason, retryAfterSeconds: 7 });
const rotated = {
  kind: 'tokens',
  tokens: expect.objectContaining({ accessToken: 'the new one', refreshToken: 'the next one' }) as unknown,
};
const over = { kind: 'terminal', reason: 'invalid_grant' };

describe('an answer', () => {
  it.each<[number, Record<string, unknown>, unknown]>([
    // By the status alone, whatever the body looks like.
    [429, both, passing('rate_limit_exceeded')],
    [408, both, passing('timeout')],
    [500, both, passing('server_error')],
    [503, both, passing('server_error')],
    [599, both, passing('server_error')],
    [199, both, passing('provider_misconfigured')],
    [300, both, passing('provider_misconfigured')],
    [399, both, passing('provider_misconfigured')],
    [401, both, passing('provider_misconfigured')],
    // Tokens, or half an answer.
    [200, tokens, rotated],
    [299, tokens, rotated],
    [200, both, rotated],
    [200, { refresh_token: 'the next one' }, passing('server_error')],
    [200, refusal, passing('server_error')],
    [200, {}, passing('server_error')],
    // A refusal, or a mistake of ours.
    [400, refusal, over],
    [400, both, over],
    [402, refusal, over],
    [403, refusal, over],
    [499, refusal, over],
    [403, { error: 'sso_required' }, { kind: 'terminal', reason: 'sso_required' }],
    [403, { code: 'mfa_enrollment' }, { kind: 'terminal', reason: 'mfa_enrollment' }],
    [400, tokens, passing('provider_misconfigured')],
    [400, { error: 'invalid_client' }, passing('provider_misconfigured')],
    [400, { error_description: 'invalid_grant' }, passing('provider_misconfigured')],
    [404, {}, passing('provider_misconfigured')],
  ])('of status %i with %j', async (status, body, judgement) => {
    expect(await judged(status, body)).toEqual(judgement);
  });

  it.each<Judgement & Record<'reason', unknown>>([
    { kind: 'transient', reason: 'timeout' },
    { kind: 'transient', reason: 'network_error' },
  ])('that did not come passes: %j', async (judgement) => {
    const answer = { kind: 'unanswered', reason: judgement.reason } as Answer;
    expect(await judge(answer, provider, previous)).toEqual(judgement);
  });

  it('about another user is the provider object’s to refuse, and is no judgement', async () => {
    const answer = { ...tokens, user: { id: 'user_02' } };
    await expect(judged(200, answer)).rejects.toBeInstanceOf(ProviderFailure);
  });
});
