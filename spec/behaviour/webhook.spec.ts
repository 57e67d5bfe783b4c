import { createHmac } from 'node:crypto';

import { afterAll, describe, expect, it } from '@jest/globals';
import express, { type RequestHandler } from 'express';
import express4 from 'express4';
import {
  oidc,
  type Provider,
  providerFailure,
  type SessionEvents,
  type SessionOptions,
  type Sessions,
  withSession,
  workos,
} from 'express-sealed-session';

import { createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { frameworks, type Listening } from '../support/apps.js';
import { listen } from '../support/http-server.js';
import { useWorkos } from '../support/use-workos.js';
import { plant, watchEvents } from '../support/watch.js';
import { cookieHeader, expired, password, sealedSession, workosOptions } from '../support/workos-session.js';

const clock = useClock();
const wire = useWorkos();
const secret = 'whsec_T4k9vQ2mX7';
plant('the secret of webhooks', secret);
const open: Listening[] = [];
afterAll(() => Promise.all(open.map((each) => each.close())));

type Told = { [Name in 'noticeFailed' | 'ended' | 'misconfigured']: SessionEvents[Name][] };

function withWebhooks(options: Partial<SessionOptions> = {}): { sessions: Sessions; told: Told } {
  const told: Told = { noticeFailed: [], ended: [], misconfigured: [] };
  const { clientId, apiKey, url: baseUrl } = wire.server;
  const sessions = withSession(
    workosOptions(wire.server, {
      provider: workos({ clientId, apiKey, baseUrl, webhookSecret: secret }),
      baseUrl: 'https://app.example.com',
      routes: { webhook: true },
      events: watchEvents({
        noticeFailed: (each) => told.noticeFailed.push(each),
        ended: (each) => told.ended.push(each),
        misconfigured: (each) => told.misconfigured.push(each),
      }),
      ...options,
    }),
  );
  return { sessions, told };
}

/** A webhook as WorkOS sends it. */
function webhook(event: string, data: object, { atMs = Date.now(), signedMs = Date.now(), by = secret } = {}) {
  // As a parser of JSON would not write it again.
  const body = `{ "id":"event_01", "event":"${event}", "data":${JSON.stringify(data)}, "created_at":"${new Date(atMs).toISOString()}" }`;
  const t = String(signedMs);
  const v1 = createHmac('sha256', by).update(`${t}.${body}`).digest('hex');
  return {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'workos-signature': `t=${t}, v1=${v1}` } as Record<string, string>,
    body,
  };
}

async function serve(options: Partial<SessionOptions> = {}, framework = frameworks[0]!) {
  const { sessions, told } = withWebhooks(options);
  const app = await framework.listen((each) => {
    each.use(sessions);
    each.use(sessions.routes());
    each.get('/', (req, res) => res.end(JSON.stringify(sessions.get(req))));
  });
  open.push(app);
  const isIn = async (sealed: string) => {
    const { json } = await createBrowser(app.url).fetch('/', cookieHeader(sealed));
    return (json as { authenticated: boolean }).authenticated;
  };
  const send = (init: ReturnType<typeof webhook>) => fetch(`${app.url}/webhook`, init);
  return { app, told, isIn, send };
}

async function expectAnswer(response: Response, status: number): Promise<void> {
  expect([response.status, response.headers.get('cache-control')]).toEqual([status, 'private, no-store']);
  expect(response.headers.getSetCookie()).toEqual([]);
  await response.arrayBuffer();
}

const member = { id: 'om_01', user_id: 'user_01', organization_id: 'org_01', status: 'active' };

describe.each(frameworks)('a webhook of WorkOS, with $name', (framework) => {
  it('ends exactly the session that was revoked, also when it comes again', async () => {
    const { isIn, send, told } = await serve({}, framework);
    const [one, other] = [await sealedSession(wire.server), await sealedSession(wire.server)];
    const event = webhook('session.revoked', { object: 'session', id: one.sessionId, user_id: 'user_01' });
    for (let time = 0; time < 2; time += 1) {
      await expectAnswer(await send(event), 200);
      expect([await isIn(one.sealed), await isIn(other.sealed)]).toEqual([false, true]);
    }
    expect(told.ended[0]).toEqual({ sessionId: one.sessionId, cause: 'webhook' });
    expect(told.noticeFailed).toEqual([]);
  });
});

describe('a webhook of WorkOS', () => {
  it.each([
    ['user.deleted', { id: 'user_01' }],
    ['organization_membership.deleted', member],
    ['organization_membership.updated', { ...member, status: 'inactive' }],
  ])('%s ends all sessions of the user', async (event, data) => {
    const { isIn, send } = await serve();
    const sessions = [await sealedSession(wire.server), await sealedSession(wire.server)];
    const other = await sealedSession(wire.server, { user: { id: 'user_02' } });
    await expectAnswer(await send(webhook(event, data)), 200);
    expect(await Promise.all([...sessions, other].map(({ sealed }) => isIn(sealed)))).toEqual([false, false, true]);
  });

  it('organization_membership.updated has the sessions of the user refreshed before they are served', async () => {
    const { app, send } = await serve();
    const { sealed } = await sealedSession(wire.server);
    const other = await sealedSession(wire.server, { user: { id: 'user_02' } });
    const see = async (each: string) => (await createBrowser(app.url).fetch('/', cookieHeader(each))).json as object;
    expect(await see(sealed)).toMatchObject({ authenticated: true, refreshed: false });
    clock.advance(2);
    await expectAnswer(await send(webhook('organization_membership.updated', member)), 200);
    expect(await see(sealed)).toMatchObject({ authenticated: true, refreshed: true });
    expect(await see(other.sealed)).toMatchObject({ authenticated: true, refreshed: false });
  });

  it('ends nothing by other events', async () => {
    const { isIn, send, told } = await serve();
    const { sealed, sessionId } = await sealedSession(wire.server);
    await expectAnswer(await send(webhook('session.created', { id: sessionId, user_id: 'user_01' })), 200);
    await expectAnswer(await send(webhook('user.updated', { id: 'user_01' })), 200);
    expect([await isIn(sealed), told.ended]).toEqual([true, []]);
  });

  it('ends nothing that began after the event, in whatever order events come', async () => {
    const { isIn, send } = await serve();
    const before = await sealedSession(wire.server);
    const left = webhook('organization_membership.deleted', member, { atMs: Date.now() + 1_000 });
    const leftMs = Date.now() + 1_000;
    clock.advance(60);
    const between = await sealedSession(wire.server);
    const again = Date.now() + 1_000;
    clock.advance(60);
    const after = await sealedSession(wire.server);
    expect(left.body).toContain(new Date(leftMs).toISOString().slice(0, 18));
    // The second comes first, and the first is sent again days later, signed anew.
    await expectAnswer(await send(webhook('user.deleted', { id: 'user_01' }, { atMs: again })), 200);
    await expectAnswer(await send(webhook('organization_membership.deleted', member, { atMs: leftMs })), 200);
    const all = [before, between, after];
    expect(await Promise.all(all.map(({ sealed }) => isIn(sealed)))).toEqual([false, false, true]);
  });

  it('ends a session by its id, whatever the clock of WorkOS says', async () => {
    const { isIn, send } = await serve();
    const { sealed, sessionId } = await sealedSession(wire.server);
    await send(webhook('session.revoked', { id: sessionId }, { atMs: Date.now() - 100_000 }));
    expect(await isIn(sealed)).toBe(false);
  });

  it('keeps an ended session from being refreshed', async () => {
    const { isIn, send } = await serve();
    const { sealed, sessionId } = await sealedSession(wire.server, expired);
    await send(webhook('session.revoked', { id: sessionId }));
    expect([await isIn(sealed), wire.server.token.requests.length]).toEqual([false, 0]);
  });

  type Sent = ReturnType<typeof webhook>;
  it.each<[string, (good: Sent, data: object) => Sent, string]>([
    ['without a signature', (good) => ({ ...good, headers: {} }), 'signature_missing'],
    ['with another secret', (_, data) => webhook('session.revoked', data, { by: 'whsec_other' }), 'signature'],
    ['with a changed body', (good) => ({ ...good, body: `${good.body} ` }), 'signature'],
    [
      'of three minutes ago',
      (_, data) => webhook('session.revoked', data, { signedMs: Date.now() - 181_000 }),
      'timestamp',
    ],
    [
      'of three minutes ahead',
      (_, data) => webhook('session.revoked', data, { signedMs: Date.now() + 185_000 }),
      'timestamp',
    ],
    ['that names no session', () => webhook('session.revoked', {}), 'body'],
  ])('%s is refused, and ends nothing', async (_, forge, check) => {
    const { isIn, send, told } = await serve();
    const { sealed, sessionId } = await sealedSession(wire.server);
    const data = { id: sessionId };
    const response = await send(forge(webhook('session.revoked', data), data));
    expect(await response.clone().json()).toMatchObject({ error: 'invalid_request' });
    await expectAnswer(response, 400);
    expect(await isIn(sealed)).toBe(true);
    expect(told).toMatchObject({
      ended: [],
      noticeFailed: [{ from: 'webhook', check: `webhook_${check}`, retryable: false }],
    });
  });

  it('is refused when it is larger than any', async () => {
    const { send } = await serve();
    expect((await send(webhook('session.revoked', { id: 'a'.repeat(300_000) }))).status).toBe(413);
  });

  it('is refused at the start without its secret, or with another provider', () => {
    const { clientId, apiKey } = wire.server;
    const options = { password, baseUrl: 'https://app.example.com', routes: { webhook: true } };
    expect(() => withSession({ ...options, provider: workos({ clientId, apiKey }) })).toThrow(
      '"routes.webhook" is for workos() with "webhookSecret"',
    );
    const other = oidc({ issuer: 'https://id.example.com', clientId, clientSecret: 'secret' });
    expect(() => withSession({ ...options, provider: other })).toThrow('"routes.webhook" is for workos()');
    expect(() => withSession({ ...options, provider: workos({ clientId, apiKey, webhookSecret: '' }) })).toThrow(
      '"provider.webhookSecret" must be a string that is not empty',
    );
  });
});

describe.each([
  ['Express 5', express],
  ['Express 4', express4],
])('a webhook whose body was parsed before, in %s', (_, create) => {
  async function serveBehind(...parsers: RequestHandler[]) {
    const { sessions, told } = withWebhooks();
    const app = create();
    for (const parser of parsers) app.use(parser);
    app.use(sessions as RequestHandler, sessions.routes() as RequestHandler);
    app.use(((error: { code?: string; status?: number; message?: string }, _req, res, next) => {
      if (error.code === undefined) next(error);
      else res.status(error.status ?? 500).json({ code: error.code, message: error.message });
    }) as express.ErrorRequestHandler);
    const server = await listen((req, res) => {
      (app as unknown as (...given: unknown[]) => void)(req, res);
    });
    open.push(server);
    const { sessionId } = await sealedSession(wire.server);
    return { told, send: () => fetch(`${server.url}/webhook`, webhook('session.revoked', { id: sessionId })) };
  }

  it('is answered 500 with what to do, and tells it', async () => {
    const { send, told } = await serveBehind(create.json());
    const response = await send();
    expect([response.status, await response.json()]).toMatchObject([
      500,
      { code: 'ERR_SESSION_CONFIG', message: expect.stringContaining('Mount sessions.routes() before express.json()') },
    ]);
    expect(told.misconfigured).toMatchObject([{ problem: 'body_parsed_before_webhook', option: 'routes.webhook' }]);
    expect(told.ended).toEqual([]);
  });

  it('is taken where the bytes were kept', async () => {
    const keep = (req: object, _res: unknown, rawBody: Buffer) => Object.assign(req, { rawBody });
    const parsers = [create.raw({ type: '*/*' }), create.text({ type: '*/*' }), create.json({ verify: keep })];
    for (const parser of [...parsers, create.urlencoded({ extended: false })]) {
      const { send, told } = await serveBehind(parser);
      expect([(await send()).status, told.ended]).toMatchObject([200, [{ cause: 'webhook' }]]);
    }
  });
});

describe('a webhook of a provider of one’s own', () => {
  const own = (readWebhook: NonNullable<Provider['readWebhook']>): Partial<SessionOptions> => {
    const { clientId, apiKey, url: baseUrl } = wire.server;
    return { provider: { ...workos({ clientId, apiKey, baseUrl }), readWebhook } };
  };

  it('is refused where the provider returns nothing, and answered 503 where it cannot tell', async () => {
    const refusing = await serve(own(() => undefined));
    await expectAnswer(await refusing.send(webhook('a', {})), 400);
    expect(refusing.told.noticeFailed).toEqual([{ from: 'webhook', check: 'provider', retryable: false }]);
    const failing = await serve(
      own(() => {
        throw providerFailure('rate_limit_exceeded');
      }),
    );
    await expectAnswer(await failing.send(webhook('a', {})), 503);
    expect(failing.told.noticeFailed).toEqual([{ from: 'webhook', check: 'rate_limit_exceeded', retryable: true }]);
  });

  it('may end several at once, and may be read later', async () => {
    const { isIn, send } = await serve(
      own(async (body) => {
        await Promise.resolve();
        const { data } = JSON.parse(body.toString()) as { data: { ids: string[] } };
        return data.ids.map((sessionId) => ({ sessionId }));
      }),
    );
    const all = [await sealedSession(wire.server), await sealedSession(wire.server), await sealedSession(wire.server)];
    await expectAnswer(await send(webhook('a', { ids: all.slice(0, 2).map(({ sessionId }) => sessionId) })), 200);
    expect(await Promise.all(all.map(({ sealed }) => isIn(sealed)))).toEqual([false, false, true]);
  });
});
