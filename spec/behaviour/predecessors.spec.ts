import { describe, expect, it } from '@jest/globals';
import type { SessionOptions } from 'express-sealed-session';

import { tokenKey } from '../../lib/refresh/token-key.js';
import { useClock } from '../support/clock.js';
import { fleetWith } from '../support/fleets.js';
import { useWorkos } from '../support/use-workos.js';
import { expired, sealedSession, sessionCookieOf, workosOptions } from '../support/workos-session.js';

const clock = useClock();
const workos = useWorkos();

describe.each<[string, SessionOptions['cache']]>([
  ['with the cache', undefined],
  ['without the cache', false],
])('the predecessor of a cookie, %s', (_, cache) => {
  /** An app, and the refresh tokens whose predecessors it has released, by their keys. */
  async function serve(options: Partial<SessionOptions> = {}) {
    const released: string[] = [];
    const fleet = fleetWith({ releasePredecessor: (key) => released.push(key) });
    return { released, app: await workos.serve({ fleet, cache, ...options }) };
  }

  it('is released once, at the first visit with the cookie that a refresh here has made', async () => {
    const { app, released } = await serve();
    const page = await app.send((await sealedSession(workos.server, expired)).sealed);
    const next = sessionCookieOf(page.setCookies)!;
    expect(released).toEqual([]);
    for (let visit = 1; visit <= 5; visit += 1) {
      expect((await app.send(next)).json).toMatchObject({ authenticated: true, refreshed: false });
      expect(released).toHaveLength(1);
    }
  });

  it('is released once, at the second visit with a cookie that was made elsewhere', async () => {
    const { app, released } = await serve();
    const { sealed, refreshToken } = await sealedSession(workos.server);
    const counts: number[] = [];
    for (let visit = 1; visit <= 5; visit += 1) {
      await app.send(sealed);
      counts.push(released.length);
    }
    expect(counts).toEqual([0, 1, 1, 1, 1]);
    expect(released).toEqual([tokenKey(workosOptions(workos.server).provider, refreshToken)]);
  });

  it('is released once for each of several cookies, whatever the order of their visits', async () => {
    const { app, released } = await serve();
    const seals = await Promise.all([1, 2, 3].map(async () => (await sealedSession(workos.server)).sealed));
    for (const index of [0, 1, 0, 2, 1, 0, 2, 2, 1, 0]) await app.send(seals[index]!);
    expect(new Set(released).size).toBe(3);
    expect(released).toHaveLength(3);
  });
});

describe.each<[string, SessionOptions['cache']]>([
  ['with the cache', undefined],
  ['without the cache', false],
])('an old cookie, %s', (_, cache) => {
  it('is given its successor until graceSeconds after the successor has come, and is then refreshed anew', async () => {
    const app = await workos.serve({ cache, refresh: { graceSeconds: 60 } });
    const { sealed } = await sealedSession(workos.server, expired);
    const next = sessionCookieOf((await app.send(sealed)).setCookies)!;
    // As long as no browser has come with the new cookie, the old one may be all that it has.
    clock.advance(120);
    expect(sessionCookieOf((await app.send(sealed)).setCookies)).toBe(next);
    await app.send(next);
    clock.advance(50);
    // Later visits do not put the end off.
    await app.send(next);
    expect(sessionCookieOf((await app.send(sealed)).setCookies)).toBe(next);
    clock.advance(20);
    await app.send(sealed);
    expect(workos.server.refreshCount).toBe(2);
  });
});
