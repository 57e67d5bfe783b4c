import { afterAll, afterEach, beforeAll, expect, it } from '@jest/globals';
import type { Password } from 'express-sealed-session';

import type { Page } from '../support/browser.js';
import { type Fleet, startFleet } from '../support/fleet.js';
import { type RedisServer, startRedis } from '../support/redis-server.js';
import { describeWithPart } from '../support/system-parts.js';
import { startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { password as oldPassword, sealedSession, sessionCookieOf } from '../support/workos-session.js';

const newPassword = 'the new password, of at least 32 characters';
const steps: Password[] = [
  oldPassword,
  [oldPassword, newPassword],
  [newPassword, oldPassword],
  [newPassword, oldPassword],
  newPassword,
];

describeWithPart('redis', 'a password is changed in a fleet', () => {
  let server: WorkosServer;
  let redis: RedisServer;
  let fleet: Fleet | undefined;

  beforeAll(async () => {
    // A refresh token that comes twice ends its session.
    server = await startWorkosServer({ mode: 'strict' });
    redis = await startRedis();
  });
  afterEach(() => fleet?.stop());
  afterAll(async () => {
    await redis.stop();
    await server.close();
  });

  const newCookie = (page: Page | undefined) => page && sessionCookieOf(page.setCookies);

  it('in steps: no seal is orphaned, and no refresh token is presented twice', async () => {
    fleet = await startFleet(0, {
      library: 'ioredis',
      redisPorts: [redis.port],
      provider: { clientId: server.clientId, apiKey: server.apiKey, baseUrl: server.url },
      strict: true,
      password: oldPassword,
    });
    const running = fleet;
    const visitors = await Promise.all(Array.from({ length: 3 }, () => sealedSession(server)));
    let cookies = visitors.map(({ sealed }) => sealed);
    const refreshes = server.refreshCount;
    let before = await running.add({ password: steps[0]! });
    for (const step of steps.slice(1)) {
      const after = await running.add({ password: step });
      const next: string[] = [];
      for (const cookie of cookies) {
        const pages = await Promise.all([before, after, before, after].map((app) => app.get('/refresh', cookie)));
        expect(pages.map(({ json }) => json.session?.authenticated as boolean)).toEqual([true, true, true, true]);
        // What the later version has sealed. Both open it.
        const sealed = newCookie(pages[1])!;
        for (const app of [before, after]) expect((await app.get('/', sealed)).json.authenticated).toBe(true);
        next.push(sealed);
      }
      // A process that has not seen them before has only the seals to go by.
      const later = await running.add({ password: step });
      for (const sealed of next) expect((await later.get('/', sealed)).json.authenticated).toBe(true);
      await later.stop();
      cookies = next;
      await before.stop();
      before = after;
    }
    // Once for each visitor and step.
    expect(server.refreshCount - refreshes).toBe(cookies.length * (steps.length - 1));
    for (const { sessionId } of visitors) expect(server.sessions.isAlive(sessionId)).toBe(true);
    expect(running.events('rejected')).toEqual([]);
  }, 60_000);
});
