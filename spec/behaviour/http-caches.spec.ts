import { describe, expect, it } from '@jest/globals';
import { type SessionEvents, type SessionOptions, withSession } from 'express-sealed-session';

import { frameworks, type Listening } from '../support/apps.js';
import { createBrowser } from '../support/browser.js';
import { useWorkos } from '../support/use-workos.js';
import { cookieHeader, expired, sealedSession, workosOptions } from '../support/workos-session.js';

const workos = useWorkos();

describe('a response that a handler meant for shared caches', () => {
  async function serveCached(options: Partial<SessionOptions>): Promise<Listening> {
    const app = await frameworks[0]!.listen((each) => {
      each.use(withSession(workosOptions(workos.server, options)));
      each.get('/', (_req, res) => {
        res.setHeader('Cache-Control', 'public, s-maxage=600');
        res.setHeader('ETag', '"1"');
        res.end('page');
      });
    });
    return workos.closing(app);
  }

  it.each([
    ['written' as const, 'private, no-store', 'public, s-maxage=600'],
    ['authenticated' as const, 'private, no-store', 'private, no-store'],
    [false as const, 'public, s-maxage=600', 'public, s-maxage=600'],
  ])('is kept out of caches as cacheControl %j says', async (cacheControl, written, signedIn) => {
    const told: SessionEvents['misconfigured'][] = [];
    const app = await serveCached({ cacheControl, events: { misconfigured: (event) => told.push(event) } });
    const get = (init = {}) => createBrowser(app.url).get('/', init);
    const refreshed = await get(cookieHeader((await sealedSession(workos.server, expired)).sealed));
    expect([refreshed.headers.get('cache-control'), refreshed.headers.get('etag')]).toEqual([
      written,
      cacheControl === false ? '"1"' : null,
    ]);
    const valid = await get(cookieHeader((await sealedSession(workos.server)).sealed));
    expect(valid.headers.get('cache-control')).toBe(signedIn);
    expect((await get()).headers.get('cache-control')).toBe('public, s-maxage=600');
    const event = { problem: 'shared_cache', option: 'cacheControl', message: expect.stringContaining('s-maxage') };
    expect(told).toEqual(cacheControl === false ? [] : [event]);
  });
});
