import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { getSession, type SessionEvents, type SessionOptions, withSession } from 'express-sealed-session';
import { redisFleet } from 'express-sealed-session/redis';
import { Redis } from 'ioredis';

import { frameworks } from '../support/apps.js';
import { createNavigator, type Navigator } from '../support/navigator.js';
import { type RedisServer, startRedis } from '../support/redis-server.js';
import { describeWithPart } from '../support/system-parts.js';
import { startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { workosOptions } from '../support/workos-session.js';

const origin = 'https://app.example.com';

/** Two apps with a fleet of their own each are two processes to Redis. */
describeWithPart('redis', 'a callback that reaches two processes', () => {
  let redis: RedisServer;
  let server: WorkosServer;
  const clients: Redis[] = [];
  const open: { close: () => Promise<unknown> }[] = [];
  const signIns: SessionEvents['signedIn'][] = [];
  let hooks = 0;

  beforeAll(async () => {
    redis = await startRedis();
    server = await startWorkosServer();
  });
  beforeEach(() => {
    signIns.length = 0;
    hooks = 0;
    server.token.heal();
  });
  afterAll(async () => {
    for (const client of clients) client.disconnect();
    await Promise.all(open.map((each) => each.close()));
    await server.close();
    await redis.stop();
  });

  async function startProcess(options: Partial<SessionOptions> = {}): Promise<string> {
    const client = new Redis(redis.port);
    client.on('error', () => undefined);
    clients.push(client);
    const sessions = withSession(
      workosOptions(server, {
        baseUrl: origin,
        fleet: redisFleet({ client }),
        events: { signedIn: (event) => signIns.push(event) },
        onSignIn: () => {
          hooks += 1;
          return { returnTo: '/page?hook' };
        },
        ...options,
      }),
    );
    const app = await frameworks[0]!.listen((each) => {
      each.use(sessions);
      each.use(sessions.routes());
      each.get('/page', (req, res) => res.end(JSON.stringify(getSession(req))));
    });
    open.push(app);
    return app.url;
  }

  /** Two browsers with the same cookies, each at another process. */
  async function twoProcesses(options?: Partial<SessionOptions>): Promise<{ both: Navigator[]; callback: string }> {
    const urls = await Promise.all([startProcess(options), startProcess(options)]);
    const first = createNavigator({ [origin]: urls[0] });
    const login = await first.open('/login');
    const callback = (await first.open(login.location!)).location!;
    return { both: [first, createNavigator({ [origin]: urls[1] }, {}, first.jar.copy())], callback };
  }
  const exchanges = () => server.tokenRequests.filter(({ body }) => body.grant_type === 'authorization_code').length;

  it('exchanges its code once, runs the hook once, and signs both in to one session', async () => {
    const { both, callback } = await twoProcesses();
    const before = exchanges();
    const held = server.token.hold();
    const asked = both.map((browser) => browser.open(callback));
    await held.arrived(1);
    held.release();
    const pages = await Promise.all(asked);
    expect(pages.map(({ location }) => location)).toEqual(Array(2).fill(`${origin}/page?hook`));
    expect([exchanges() - before, hooks, signIns.length]).toEqual([1, 1, 1]);
    const ids = await Promise.all(both.map(async (browser) => (await browser.open('/page')).json.sessionId as string));
    expect(ids[0]).toBe(ids[1]);
    expect(ids[0]).toEqual(expect.any(String));
  });

  it('brings the same session to the other process within a minute, and keeps nothing readable in Redis', async () => {
    const { both, callback } = await twoProcesses();
    const before = exchanges();
    const earlier = new Set((await redis.entries()).map(({ key }) => key));
    await both[0]!.open(callback);
    expect((await both[1]!.open(callback)).location).toBe(`${origin}/page?hook`);
    expect([exchanges() - before, hooks]).toEqual([1, 1]);
    // Of a session that has been visited it is noted for longer that its successor has come.
    const entries = (await redis.entries()).filter(({ key }) => !earlier.has(key));
    const done = entries.filter(({ key }) => key.endsWith(':done'));
    expect(done).toHaveLength(1);
    expect(done.every(({ ttlMs }) => ttlMs > 0 && ttlMs <= 60_000)).toBe(true);
    const session = JSON.stringify((await both[0]!.open('/page')).json);
    for (const { value } of entries) expect(session).not.toContain(value);
  });

  it('tells the other process why it failed, without a second exchange', async () => {
    const { both, callback } = await twoProcesses({
      onSignIn: () => {
        throw Object.assign(new Error('a secret of the app'), { status: 418 });
      },
    });
    const before = exchanges();
    expect((await both[0]!.open(callback)).status).toBe(418);
    const page = await both[1]!.open(callback);
    expect([page.status, page.json.error, exchanges() - before]).toEqual([403, 'ERR_SESSION_SIGN_IN_FAILED', 1]);
    expect(page.text).not.toContain('secret');
  });
});
