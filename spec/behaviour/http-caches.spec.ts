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

describe('headers for single caches, which win over Cache-Control', () => {
  const forCaches = {
    'CDN-Cache-Control': 'max-age=600',
    'Cloudflare-CDN-Cache-Control': 'public, max-age=600',
    'Vercel-CDN-Cache-Control': 'max-age=600',
    'Netlify-Cdn-Cache-Control': 'max-age=600',
    'Surrogate-Control': 'max-age=600',
    'X-Accel-Expires': '600',
    Expires: 'Thu, 01 Jan 2099 00:00:00 GMT',
  };

  async function answered(
    sealed: string | undefined,
    options: Partial<SessionOptions>,
    how: 'setHeader' | 'writeHead',
  ) {
    const told: SessionEvents['misconfigured'][] = [];
    const events = { misconfigured: (event: SessionEvents['misconfigured']) => told.push(event) };
    const app = await frameworks[0]!.listen((each) => {
      each.use(withSession(workosOptions(workos.server, { ...options, events })));
      each.get('/', (_req, res) => {
        if (how === 'writeHead') res.writeHead(200, forCaches);
        else for (const [name, value] of Object.entries(forCaches)) res.setHeader(name, value);
        res.end('page');
      });
    });
    workos.closing(app);
    const { headers } = await createBrowser(app.url).get('/', sealed === undefined ? {} : cookieHeader(sealed));
    return { left: Object.keys(forCaches).filter((name) => headers.has(name)), told };
  }

  it.each(['setHeader', 'writeHead'] as const)('are taken off a response with a session, after %s', async (how) => {
    const { sealed } = await sealedSession(workos.server, expired);
    const { left, told } = await answered(sealed, {}, how);
    expect(left).toEqual([]);
    expect(told).toMatchObject([{ problem: 'shared_cache' }]);
  });

  it("are taken off what a signed-in visitor is shown, with cacheControl: 'authenticated'", async () => {
    const { sealed } = await sealedSession(workos.server);
    const { left } = await answered(sealed, { cacheControl: 'authenticated' }, 'setHeader');
    expect(left).toEqual([]);
  });

  it('stay on every other response', async () => {
    const all = Object.keys(forCaches);
    const { sealed } = await sealedSession(workos.server);
    expect((await answered(undefined, { cacheControl: 'authenticated' }, 'setHeader')).left).toEqual(all);
    expect((await answered(sealed, {}, 'setHeader')).left).toEqual(all);
    const due = (await sealedSession(workos.server, expired)).sealed;
    expect((await answered(due, { cacheControl: false }, 'setHeader')).left).toEqual(all);
  });
});
