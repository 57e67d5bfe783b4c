import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { redisFleet } from 'express-sealed-session/redis';
import { createClient } from 'redis';

import { useClock } from '../support/clock.js';
import { eventually } from '../support/eventually.js';
import { type RedisServer, startRedis } from '../support/redis-server.js';
import { describeWithPart } from '../support/system-parts.js';
import { useWorkos } from '../support/use-workos.js';
import { expired, sealedSession, sessionCookieOf, workosOptions } from '../support/workos-session.js';

/** Each app has a fleet of its own on one Redis: to Redis, and to each other, they are processes. */
describeWithPart('redis', 'a sign-out beside a thief, in a fleet', () => {
  const clock = useClock();
  const workos = useWorkos();
  let redis: RedisServer;
  let client: ReturnType<typeof createClient>;
  beforeAll(async () => {
    redis = await startRedis();
    client = createClient({ url: redis.url });
    client.on('error', () => undefined);
    await client.connect();
  });
  afterAll(async () => {
    client.destroy();
    await redis.stop();
  });

  it.each([
    [1, 'answers', 'revokes'],
    [4, 'answers', 'revokes'],
    [4, 'answers', 'cannot revoke'],
    [4, 'is silent at that moment', 'revokes'],
    [4, 'is silent at that moment', 'cannot revoke'],
  ])('of %i processes, where Redis %s and the provider %s, leaves no copy good', async (count, moment, revocation) => {
    const { provider } = workosOptions(workos.server);
    const options = revocation === 'revokes' ? {} : { provider: { ...provider, revocationRequest: () => undefined } };
    const apps = await Promise.all(
      Array.from({ length: count }, () => workos.serve({ ...options, fleet: redisFleet({ client }) })),
    );
    const [one] = apps;
    const last = apps.at(-1)!;
    const { sealed, sessionId } = await sealedSession(workos.server);
    // The thief refreshes the copy in one process, and the visitor signs out in another with the old cookie.
    const second = sessionCookieOf((await one!.send(sealed, '/switch')).setCookies)!;
    const third = sessionCookieOf((await one!.send(second, '/switch')).setCookies)!;
    if (moment !== 'answers') {
      redis.pause();
      // One command goes without an answer: for a second, the process does not even send another.
      await last.send((await sealedSession(workos.server, expired)).sealed);
    }
    await last.send(sealed, '/out');
    redis.resume();
    clock.advance(2);

    // Each process reads what has ended every second. From then on it refuses every copy, its access token good or not.
    const copies = apps.flatMap((app) => [sealed, second, third].map((copy) => ({ app, copy })));
    for (const { app, copy } of copies) {
      await eventually(async () => (await app.send(copy)).json.reason === 'session_revoked');
    }
    clock.advance(6 * 60);
    for (const { app, copy } of copies) {
      expect((await app.send(copy)).json).toMatchObject({ authenticated: false, reason: 'session_revoked' });
    }
    expect(workos.server.sessions.isAlive(sessionId)).toBe(revocation !== 'revokes');
    await redis.command('FLUSHALL');
  });
});
