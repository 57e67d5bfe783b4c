import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { Provider } from 'express-sealed-session';

import type { CoordinatedOutcome, Coordinator, Outcome, Refreshed, Ticket } from '../../../lib/refresh/coordinator.js';
import { type RefreshRequest, refreshSession, type RefreshSettings } from '../../../lib/refresh/refresh.js';
import { inProcessCoordinator } from '../../../lib/refresh/single-flight.js';
import { tokenKey, tokenSecret } from '../../../lib/refresh/token-key.js';
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
let seal: jest.Mock<RefreshSettings['seal']>;
beforeEach(() => {
  seal = jest.fn(({ accessToken, data }) => Promise.resolve(`sealed: ${accessToken} ${JSON.stringify(data)}`));
});

function settings(changes: Partial<RefreshSettings> = {}): RefreshSettings {
  return {
    provider,
    coordinator: inProcessCoordinator({ maxEntries: 100 }),
    binding: 'these sessions',
    passwords: ['a password'],
    graceMs: 60_000,
    timeoutMs: 5_000,
    waitMs: 5_000,
    shape: (payload) => payload,
    clockToleranceSeconds: 5,
    emit: () => undefined,
    sealedUnder: 'this password',
    seal,
    preload: () => Promise.resolve(),
    ...changes,
  };
}

/** A coordinator that answers one ticket after the other, as if other requests had led. */
function answering(...answersInTurn: (CoordinatedOutcome | undefined)[]) {
  const tickets: Ticket[] = [];
  const refresh: Coordinator['refresh'] = (ticket) => {
    tickets.push(ticket);
    return Promise.resolve(answersInTurn.length > 1 ? answersInTurn.shift() : answersInTurn[0]);
  };
  return { tickets, coordinator: { ...inProcessCoordinator({ maxEntries: 100 }), refresh } };
}

const refreshed = (payload: Partial<SessionPayload> = {}): Refreshed => ({
  kind: 'refreshed',
  payload: { accessToken: 'the new one', refreshToken: 'two', ...payload },
  sealed: 'sealed by another',
  sealedUnder: 'this password',
  successorKey: 'of two',
});
const coordinated = (outcome: Outcome, organizationId = ''): CoordinatedOutcome => ({
  outcome,
  organizationId,
  source: 'joined',
});

describe('the ticket', () => {
  it('has the key and the secret of the refresh token, and not the token', async () => {
    const { tickets, coordinator } = answering(undefined);
    await refreshSession(settings({ coordinator }), old);
    expect(tickets).toEqual([
      {
        key: tokenKey(provider, 'one'),
        secret: tokenSecret(provider, 'one'),
        passwords: ['a password'],
        accept: expect.any(Function),
        organizationId: '',
        accessToken: 'the old one',
        graceMs: 60_000,
        timeoutMs: 5_000,
        wait: true,
      },
    ]);
  });

  it.each<[Partial<Ticket>, RefreshRequest, { organizationId?: string }]>([
    [{ organizationId: 'org_01', wait: true }, {}, { organizationId: 'org_01' }],
    [{ organizationId: 'org_02', wait: true }, { organizationId: 'org_02' }, { organizationId: 'org_01' }],
    [{ organizationId: '', wait: false }, { wait: false }, {}],
  ])('has %j for the request %j and the session %j', async (expected, request, payload) => {
    const { tickets, coordinator } = answering(undefined);
    await refreshSession(settings({ coordinator }), { ...old, ...payload }, request);
    expect(tickets).toEqual([expect.objectContaining(expected)]);
  });
});

describe('the outcome', () => {
  it.each<[unknown, CoordinatedOutcome | undefined]>([
    [{ kind: 'elsewhere' }, undefined],
    [{ kind: 'terminal', reason: 'invalid_grant' }, coordinated({ kind: 'terminal', reason: 'invalid_grant' })],
    [
      { kind: 'unavailable', reason: 'timeout', retryAfterSeconds: 3, isOutage: true },
      coordinated({ kind: 'unavailable', reason: 'timeout', retryAfterSeconds: 3 }),
    ],
  ])('is %j as the coordinator answers it', async (result, answer) => {
    expect(await refreshSession(settings(answering(answer)), old)).toEqual(result);
  });

  it.each<[string, Refreshed, SessionPayload['data'], string]>([
    ['the seal as it is', refreshed(), undefined, 'sealed by another'],
    ['the seal as it is, with the same data', refreshed({ data: { cart: 1 } }), { cart: 1 }, 'sealed by another'],
    [
      'a new seal with the data of this cookie',
      refreshed({ data: { cart: 1 } }),
      { cart: 2 },
      'sealed: the new one {"cart":2}',
    ],
    [
      'a new seal without the data of another cookie',
      refreshed({ data: { cart: 1 } }),
      undefined,
      'sealed: the new one undefined',
    ],
    [
      'a new seal under its own password',
      { ...refreshed(), sealedUnder: 'another password' },
      undefined,
      'sealed: the new one undefined',
    ],
  ])('brings %s', async (_, outcome, data, sealed) => {
    const result = await refreshSession(settings(answering(coordinated(outcome))), { ...old, data });
    expect(result).toEqual({
      kind: 'refreshed',
      payload: { accessToken: 'the new one', refreshToken: 'two', data },
      sealed,
      source: 'joined',
      startedMs: expect.any(Number),
    });
    expect(seal).toHaveBeenCalledTimes(sealed === 'sealed by another' ? 0 : 1);
  });

  it('for another organization is refreshed again, and this cookie keeps its data', async () => {
    const { tickets, coordinator } = answering(
      coordinated(refreshed({ organizationId: 'org_01' }), 'org_01'),
      coordinated(refreshed({ accessToken: 'the newest one', organizationId: 'org_02' }), 'org_02'),
    );
    const request = { organizationId: 'org_02', wait: false };
    const result = await refreshSession(settings({ coordinator }), { ...old, data: { cart: 2 } }, request);
    expect(result).toMatchObject({
      payload: { accessToken: 'the newest one', organizationId: 'org_02', data: { cart: 2 } },
      sealed: 'sealed: the newest one {"cart":2}',
    });
    const next = {
      key: tokenKey(provider, 'two'),
      secret: tokenSecret(provider, 'two'),
      accessToken: 'the new one',
      accept: expect.any(Function),
    };
    expect(tickets[1]).toEqual({ ...tickets[0], ...next });
  });

  it.each([
    ['five outcomes in a row are for another organization', 'two', 5],
    ['an outcome for another organization has no refresh token', undefined, 1],
  ])('is unavailable when %s', async (_, refreshToken, turns) => {
    const { tickets, coordinator } = answering(coordinated(refreshed({ refreshToken }), 'org_01'));
    expect(await refreshSession(settings({ coordinator }), old)).toEqual({
      kind: 'unavailable',
      reason: 'server_error',
      isOutage: true,
    });
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
  const never: Coordinator = {
    ...inProcessCoordinator({ maxEntries: 100 }),
    refresh: () => new Promise(() => undefined),
  };

  it.each([
    ['as long as `waitMs` for an expired token', true, 5_000, 5_000],
    ['a second for a refresh ahead of expiry', false, 5_000, 1_000],
    ['as long as a `waitMs` below a second for a refresh ahead of expiry', false, 300, 300],
  ])('lasts %s', async (_, wait, waitMs, endsMs) => {
    let result: unknown;
    void refreshSession(settings({ coordinator: never, waitMs }), old, { wait }).then((value) => (result = value));
    await jest.advanceTimersByTimeAsync(endsMs - 1);
    expect(result).toBeUndefined();
    await jest.advanceTimersByTimeAsync(1);
    expect(result).toEqual({ kind: 'unavailable', reason: 'timeout', isOutage: true });
  });

  it('leaves no timer behind', async () => {
    await refreshSession(settings(answering(undefined)), old);
    expect(jest.getTimerCount()).toBe(0);
  });
});

describe('the grant', () => {
  /** The outcome of the grant, as the coordinator gets it. */
  async function outcomeOf(changes: Partial<RefreshSettings> = {}, payload: Partial<SessionPayload> = {}) {
    const { accessToken, refreshToken } = await server.issueSession({ organizationId: 'org_01' });
    let outcome: Outcome | undefined;
    const refresh: Coordinator['refresh'] = async (_ticket, lead) => {
      outcome = await lead();
      return undefined;
    };
    const coordinator = { ...inProcessCoordinator({ maxEntries: 100 }), refresh };
    await refreshSession(settings({ coordinator, ...changes }), { accessToken, ...payload, refreshToken });
    return { outcome, refreshToken };
  }
  const strictly = (): Provider => ({ ...provider, refreshTokens: 'single-use' });

  it('asks for the organization, and brings the sealed session and the key of the next token', async () => {
    const shape = (payload: SessionPayload) => ({ ...payload, usedAt: 1 });
    const { outcome, refreshToken } = await outcomeOf({ shape }, { data: { cart: 1 } });
    const { payload, successorKey } = outcome as Refreshed;
    expect(server.tokenRequests.map(({ body }) => [body.refresh_token, body.organization_id])).toEqual([
      [refreshToken, 'org_01'],
    ]);
    expect(payload).toMatchObject({ organizationId: 'org_01', usedAt: 1, data: { cart: 1 }, user: { id: 'user_01' } });
    expect(payload.refreshToken).not.toBe(refreshToken);
    expect(outcome).toMatchObject({
      kind: 'refreshed',
      sealed: `sealed: ${payload.accessToken} {"cart":1}`,
      sealedUnder: 'this password',
    });
    expect(successorKey).toBe(tokenKey(provider, payload.refreshToken!));
  });

  it('keeps the refresh token where the provider does not rotate it', async () => {
    server.token.reply = ({ access_token }) => ({ access_token });
    const { outcome, refreshToken } = await outcomeOf();
    expect(outcome).toMatchObject({ payload: { refreshToken }, successorKey: tokenKey(provider, refreshToken) });
  });

  it.each<[string, () => Provider, number, Outcome['kind']]>([
    ['is sent again after a 503 where refresh tokens are reusable', () => provider, 2, 'refreshed'],
    ['is sent once where refresh tokens are single-use', strictly, 1, 'unavailable'],
    [
      'is sent once where `refreshTokens` is misspelt',
      () => ({ ...provider, refreshTokens: 'Reusable' as never }),
      1,
      'unavailable',
    ],
  ])('%s', async (_, by, times, kind) => {
    server.token.fail(answers.unavailable, 1);
    const { outcome } = await outcomeOf({ provider: by() });
    expect([outcome?.kind, server.refreshCount]).toEqual([kind, times]);
  });

  it('seals nothing when it is refused', async () => {
    server.token.fail(answers.invalidGrant);
    expect((await outcomeOf()).outcome).toEqual({
      kind: 'terminal',
      reason: 'invalid_grant',
      status: 400,
      error: 'invalid_grant',
    });
    expect(seal).not.toHaveBeenCalled();
  });

  it('seals nothing, and shares nothing, when it brings another user, by the old token where the seal has no user', async () => {
    server.token.reply = (body) => ({ ...body, user: { id: 'user_02' } });
    for (const payload of [{}, { user: { id: 'user_01' } }]) {
      const { outcome } = await outcomeOf({}, payload);
      expect(outcome).toEqual({ kind: 'unavailable', reason: 'provider_misconfigured' });
    }
    expect(seal).not.toHaveBeenCalled();
  });

  it('is not sent when the modules of the sealer cannot be loaded', async () => {
    const preload = () => Promise.reject(new Error("Cannot find package 'iron-session'"));
    await expect(outcomeOf({ preload })).rejects.toThrow("Cannot find package 'iron-session'");
    expect(server.refreshCount).toBe(0);
  });

  it('is not sent to a provider that has failed for three users', async () => {
    server.token.fail(answers.serverError);
    for (const id of ['user_01', 'user_02', 'user_03']) await outcomeOf({ provider: strictly() }, { user: { id } });
    const { outcome } = await outcomeOf();
    expect(outcome).toEqual({ kind: 'unavailable', reason: 'server_error', retryAfterSeconds: 1 });
    expect(server.refreshCount).toBe(3);
  });

  it('that handlers ask for is sent ten times a minute for each session, whatever became of it', async () => {
    const clockMs = jest.spyOn(performance, 'now').mockReturnValue(1_000_000);
    const { accessToken, refreshToken } = await server.issueSession();
    const asked: SessionPayload & { refreshToken: string } = { accessToken, refreshToken };
    server.token.fail({ status: 400, body: { error: 'invalid_request' } });
    const ask = (payload = asked) =>
      refreshSession(settings(), payload, { onDemand: true, organizationId: `org_${server.refreshCount}` });
    for (let count = 0; count < 10; count += 1) await ask();
    expect(await ask()).toMatchObject({ kind: 'unavailable', reason: 'rate_limit_exceeded', retryAfterSeconds: 60 });
    expect(server.refreshCount).toBe(10);
    // Neither another session nor what no handler has asked for.
    await ask({ ...(await server.issueSession()), user: null });
    await refreshSession(settings(), asked);
    expect(server.refreshCount).toBe(12);
    clockMs.mockReturnValue(1_060_000);
    await ask();
    expect(server.refreshCount).toBe(13);
  });

  it('that handlers ask for too often leaves those who joined it to ask for themselves', async () => {
    const shared = settings();
    const { accessToken, refreshToken } = await server.issueSession();
    const asked = { accessToken, refreshToken };
    server.token.fail({ status: 400, body: { error: 'invalid_request' } });
    for (let count = 0; count < 10; count += 1)
      await refreshSession(settings(), asked, { onDemand: true, organizationId: `org_${count}` });
    server.token.heal();
    const [tooOften, joined] = await Promise.all([
      refreshSession(shared, asked, { onDemand: true }),
      refreshSession(shared, asked),
    ]);
    expect([tooOften, joined]).toMatchObject([{ reason: 'rate_limit_exceeded' }, { kind: 'refreshed' }]);
  });

  it.each<[string, string, () => Partial<RefreshSettings>]>([
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
  ])('signs nobody out after %s', async (_, reason, changes) => {
    expect((await outcomeOf(changes())).outcome).toMatchObject({ kind: 'unavailable', reason });
  });

  const failing = (code: string) => Promise.reject(Object.assign(new Error('for people'), { code }));

  it('ends after `timeoutMs`', async () => {
    server.token.fail('hang');
    const { outcome } = await outcomeOf({ timeoutMs: 50 });
    expect(outcome).toMatchObject({ kind: 'unavailable', reason: 'timeout', fault: 'provider' });
  });
});
