import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { type Coordinator, memoryCoordinator, type Outcome, type Provider, type Ticket } from 'express-sealed-session';

import { type Led, nameOf, type Refreshed, secretOf } from '../../../lib/refresh/coordinator.js';
import { renew, type RenewalRequest, type RenewalSettings } from '../../../lib/refresh/refresh.js';
import type { SessionPayload } from '../../../lib/session/payload.js';
import { answers, startWorkosServer, type WorkosServer } from '../../support/workos-server.js';
import { workosOptions } from '../../support/workos-session.js';

let server: WorkosServer;
let provider: Provider;
beforeEach(async () => {
  server = await startWorkosServer();
  ({ provider } = workosOptions(server));
});
afterEach(() => server.close());

const old = { accessToken: 'the old one', refreshToken: 'one' };
let seal: jest.Mock<RenewalSettings['seal']>;
beforeEach(() => {
  seal = jest.fn(({ accessToken, data }) => Promise.resolve(`sealed: ${accessToken} ${JSON.stringify(data)}`));
});

function settings(changes: Partial<RenewalSettings> = {}): RenewalSettings {
  return {
    provider,
    coordinator: memoryCoordinator(),
    graceMs: 60_000,
    budgetMs: 5_000,
    waitMs: 5_000,
    shape: (payload) => payload,
    sealedUnder: 'this password',
    seal,
    ...changes,
  };
}

/** A coordinator that answers one ticket after the other, as if others had done the work. */
function answering(...answersInTurn: (Led | undefined)[]) {
  const tickets: Ticket[] = [];
  const refresh: Coordinator['refresh'] = (ticket) => {
    tickets.push(ticket);
    return Promise.resolve(answersInTurn.length > 1 ? answersInTurn.shift() : answersInTurn[0]);
  };
  return { tickets, coordinator: { ...memoryCoordinator(), refresh } };
}

const refreshed = (session: Partial<SessionPayload> = {}): Refreshed => ({
  kind: 'refreshed',
  session: { accessToken: 'the new one', refreshToken: 'two', ...session },
  sealed: 'sealed by another',
  sealedUnder: 'this password',
  successorKey: 'of two',
});
const led = (outcome: Outcome, variant = ''): Led => ({ outcome, variant, source: 'joined' });

describe('what is asked of the coordinator', () => {
  it('names the refresh token and tells it to nobody', async () => {
    const { tickets, coordinator } = answering(undefined);
    await renew(settings({ coordinator }), old);
    expect(tickets).toEqual([
      {
        key: nameOf(provider, 'one'),
        secret: secretOf(provider, 'one'),
        variant: '',
        accessToken: 'the old one',
        graceMs: 60_000,
        budgetMs: 5_000,
        wait: true,
      },
    ]);
  });

  it.each<[Partial<Ticket>, RenewalRequest, { organizationId?: string }]>([
    [{ variant: 'org_01', wait: true }, {}, { organizationId: 'org_01' }],
    [{ variant: 'org_02', wait: true }, { organizationId: 'org_02' }, { organizationId: 'org_01' }],
    [{ variant: '', wait: false }, { wait: false }, {}],
  ])('is %j when it is asked for %j of %j', async (expected, request, payload) => {
    const { tickets, coordinator } = answering(undefined);
    await renew(settings({ coordinator }), { ...old, ...payload }, request);
    expect(tickets).toEqual([expect.objectContaining(expected)]);
  });
});

describe('what the coordinator answers', () => {
  it.each<[unknown, Led | undefined]>([
    [{ kind: 'elsewhere' }, undefined],
    [{ kind: 'terminal', reason: 'invalid_grant' }, led({ kind: 'terminal', reason: 'invalid_grant' })],
    [
      { kind: 'transient', reason: 'timeout', retryAfterSeconds: 3 },
      led({ kind: 'transient', reason: 'timeout', retryAfterSeconds: 3 }),
    ],
  ])('is passed on: %j', async (renewal, answer) => {
    expect(await renew(settings(answering(answer)), old)).toEqual(renewal);
  });

  it.each<[string, Refreshed, SessionPayload['data'], string]>([
    ['as it is', refreshed(), undefined, 'sealed by another'],
    ['as it is, with the same values', refreshed({ data: { cart: 1 } }), { cart: 1 }, 'sealed by another'],
    ['with the values of this cookie', refreshed({ data: { cart: 1 } }), { cart: 2 }, 'sealed: the new one {"cart":2}'],
    ['without values of another', refreshed({ data: { cart: 1 } }), undefined, 'sealed: the new one undefined'],
    [
      'under its own password',
      { ...refreshed(), sealedUnder: 'another password' },
      undefined,
      'sealed: the new one undefined',
    ],
  ])('is taken %s', async (_, outcome, data, sealed) => {
    const renewal = await renew(settings(answering(led(outcome))), { ...old, data });
    expect(renewal).toEqual({
      kind: 'refreshed',
      payload: { accessToken: 'the new one', refreshToken: 'two', data },
      sealed,
      source: 'joined',
      startedMs: expect.any(Number),
    });
    expect(seal).toHaveBeenCalledTimes(sealed === 'sealed by another' ? 0 : 1);
  });

  it('is refreshed on when it is for another organization, and this cookie keeps its values', async () => {
    const { tickets, coordinator } = answering(
      led(refreshed({ organizationId: 'org_01' }), 'org_01'),
      led(refreshed({ accessToken: 'the newest one', organizationId: 'org_02' }), 'org_02'),
    );
    const request = { organizationId: 'org_02', wait: false };
    const renewal = await renew(settings({ coordinator }), { ...old, data: { cart: 2 } }, request);
    expect(renewal).toMatchObject({
      payload: { accessToken: 'the newest one', organizationId: 'org_02', data: { cart: 2 } },
      sealed: 'sealed: the newest one {"cart":2}',
    });
    const next = { key: nameOf(provider, 'two'), secret: secretOf(provider, 'two'), accessToken: 'the new one' };
    expect(tickets[1]).toEqual({ ...tickets[0], ...next });
  });

  it.each([
    ['never is for this organization', 'two', 5],
    ['is for another one and cannot be refreshed on', undefined, 1],
  ])('is no answer when it %s', async (_, refreshToken, turns) => {
    const { tickets, coordinator } = answering(led(refreshed({ refreshToken }), 'org_01'));
    expect(await renew(settings({ coordinator }), old)).toEqual({ kind: 'transient', reason: 'server_error' });
    expect(tickets).toHaveLength(turns);
  });
});

describe('the wait', () => {
  beforeEach(() => {
    jest.useFakeTimers();
  });
  afterEach(() => {
    jest.useRealTimers();
  });
  const never: Coordinator = { ...memoryCoordinator(), refresh: () => new Promise(() => undefined) };

  it.each([
    ['as long as it may, for a token that is needed', true, 5_000, 5_000],
    ['a second at most, for one that is renewed ahead', false, 5_000, 1_000],
    ['less, if it may not be as long', false, 300, 300],
  ])('is %s', async (_, wait, waitMs, endsMs) => {
    let renewal: unknown;
    void renew(settings({ coordinator: never, waitMs }), old, { wait }).then((value) => (renewal = value));
    await jest.advanceTimersByTimeAsync(endsMs - 1);
    expect(renewal).toBeUndefined();
    await jest.advanceTimersByTimeAsync(1);
    expect(renewal).toEqual({ kind: 'transient', reason: 'timeout' });
  });

  it('leaves nothing behind', async () => {
    await renew(settings(answering(undefined)), old);
    expect(jest.getTimerCount()).toBe(0);
  });
});

describe('the grant', () => {
  /** What is led to by a renewal, as the coordinator sees it. */
  async function outcomeOf(changes: Partial<RenewalSettings> = {}, payload: Partial<SessionPayload> = {}) {
    const { accessToken, refreshToken } = await server.issueSession({ organizationId: 'org_01' });
    let outcome: Outcome | undefined;
    const refresh: Coordinator['refresh'] = async (_ticket, lead) => {
      outcome = await lead();
      return undefined;
    };
    const coordinator = { ...memoryCoordinator(), refresh };
    await renew(settings({ coordinator, ...changes }), { accessToken, ...payload, refreshToken });
    return { outcome, refreshToken };
  }
  const strictly = (): Provider => ({ ...provider, refreshTokens: 'single-use' });

  it('asks for the organization, and brings what is to be sealed, sealed, and the name of the next token', async () => {
    const shape = (payload: SessionPayload) => ({ ...payload, usedAt: 1 });
    const { outcome, refreshToken } = await outcomeOf({ shape }, { data: { cart: 1 } });
    const { session, successorKey } = outcome as Refreshed;
    expect(server.tokenRequests.map(({ body }) => [body.refresh_token, body.organization_id])).toEqual([
      [refreshToken, 'org_01'],
    ]);
    expect(session).toMatchObject({ organizationId: 'org_01', usedAt: 1, data: { cart: 1 }, user: { id: 'user_01' } });
    expect(session.refreshToken).not.toBe(refreshToken);
    expect(outcome).toMatchObject({
      kind: 'refreshed',
      sealed: `sealed: ${session.accessToken} {"cart":1}`,
      sealedUnder: 'this password',
    });
    expect(successorKey).toBe(nameOf(provider, session.refreshToken!));
  });

  it('keeps the refresh token where the provider does not rotate it', async () => {
    server.token.reply = ({ access_token }) => ({ access_token });
    const { outcome, refreshToken } = await outcomeOf();
    expect(outcome).toMatchObject({ session: { refreshToken }, successorKey: nameOf(provider, refreshToken) });
  });

  it.each([
    ['is sent again after a bad moment', () => provider, 2, 'refreshed'],
    ['is not, where sending it twice is an attack', strictly, 1, 'transient'],
  ])('%s', async (_, by, times, kind) => {
    server.token.fail(answers.unavailable, 1);
    const { outcome } = await outcomeOf({ provider: by() });
    expect([outcome?.kind, server.refreshCount]).toEqual([kind, times]);
  });

  it('brings a refusal as one, and seals nothing', async () => {
    server.token.fail(answers.invalidGrant);
    expect((await outcomeOf()).outcome).toEqual({ kind: 'terminal', reason: 'invalid_grant' });
    expect(seal).not.toHaveBeenCalled();
  });

  it('is not sent by the sixth visitor of a provider that is away', async () => {
    server.token.fail(answers.serverError);
    for (let count = 0; count < 5; count += 1) await outcomeOf({ provider: strictly() });
    expect((await outcomeOf()).outcome).toMatchObject({ kind: 'transient', reason: 'server_error' });
    expect(server.refreshCount).toBe(5);
  });

  it.each<[string, string, () => Partial<RenewalSettings>]>([
    [
      'a request that cannot be made',
      'network_error',
      () => ({ provider: { ...provider, refreshRequest: () => failing('ECONNRESET') } }),
    ],
    [
      'an answer that cannot be read',
      'timeout',
      () => ({ provider: { ...provider, readRefresh: () => failing('ETIMEDOUT') } }),
    ],
    ['a seal that cannot be made', 'provider_misconfigured', () => ({ seal: () => failing('a fault') })],
  ])('passes with %s: nobody is signed out', async (_, reason, changes) => {
    expect((await outcomeOf(changes())).outcome).toEqual({ kind: 'transient', reason });
  });

  const failing = (code: string) => Promise.reject(Object.assign(new Error('for people'), { code }));

  it('is over after as long as it may take', async () => {
    server.token.fail('hang');
    const { outcome } = await outcomeOf({ budgetMs: 50 });
    expect(outcome).toEqual({ kind: 'transient', reason: 'timeout' });
  });
});
