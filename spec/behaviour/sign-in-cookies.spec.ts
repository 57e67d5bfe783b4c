import { describe, expect, it } from '@jest/globals';
import { type SessionOptions, withSession } from 'express-sealed-session';

import { frameworks, type Listening } from '../support/apps.js';
import { type Browser, createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { useWorkos } from '../support/use-workos.js';
import { expired, sealedSession, workosOptions } from '../support/workos-session.js';

const clock = useClock();
const workos = useWorkos();
const origin = 'https://app.example.com';

async function serve(options: Partial<SessionOptions> = {}): Promise<{ app: Listening; browser: Browser }> {
  const app = await frameworks[0]!.listen((each) => {
    const sessions = withSession(workosOptions(workos.server, { baseUrl: origin, ...options }));
    each.use(sessions);
    each.use(sessions.routes());
    each.get('/', (req, res) => res.end(JSON.stringify(sessions.get(req))));
  });
  workos.closing(app);
  return { app, browser: createBrowser(app.url) };
}

/** Begins a sign-in. Returns where its callback leads. */
async function begin(browser: Browser, app: Listening, returnTo: string, site = 'same-origin'): Promise<string> {
  const login = await browser.get(`/login?returnTo=${returnTo}`, { headers: { 'sec-fetch-site': site } });
  const authorize = login.headers.get('location')!;
  // The time of a sign-in is noted in seconds.
  clock.advance(1);
  return (await browser.fetch(authorize)).headers.get('location')!.replace(origin, app.url);
}

const long = (letter: string) => `/${letter.repeat(2_000)}`;
const flowsOf = ({ jar }: Browser) => jar.cookies.filter(({ name }) => name.startsWith('wos-session-flow-'));
const bytesOf = (cookies: readonly { name: string; value: string }[]) =>
  cookies.map(({ name, value }) => `${name}=${value}`).join('; ').length;

describe('the cookies of sign-ins under way', () => {
  it.each(['same-origin', 'cross-site'])(
    'weigh at most 4 KiB, but are always one, when begun from %s',
    async (site) => {
      const { app, browser } = await serve();
      for (let time = 0; time < 12; time += 1) {
        await begin(browser, app, long('a'), site);
        expect(flowsOf(browser).length).toBeGreaterThan(0);
        // One alone may be more.
        if (flowsOf(browser).length > 1) expect(bytesOf(flowsOf(browser))).toBeLessThanOrEqual(4_096);
      }
      expect((await browser.get('/')).status).toBe(200);
    },
  );

  it("lose those of another site first, so that the app's own can end", async () => {
    const { app, browser } = await serve();
    const own = await begin(browser, app, '/own');
    for (let time = 0; time < 8; time += 1) await begin(browser, app, `/${'b'.repeat(500)}`, 'cross-site');
    const back = await browser.fetch(own);
    expect([back.status, back.headers.get('location')]).toEqual([303, '/own']);
  });

  it('lose the oldest of the same kind first', async () => {
    const { app, browser } = await serve();
    const callbacks: string[] = [];
    for (let time = 0; time < 8; time += 1) callbacks.push(await begin(browser, app, `/${time}`));
    const kept = flowsOf(browser).length;
    expect(kept).toBeGreaterThan(2);
    const statuses: number[] = [];
    for (const callback of callbacks) statuses.push((await browser.clone().fetch(callback)).status);
    expect(statuses).toEqual(callbacks.map((_, index) => (index < callbacks.length - kept ? 400 : 303)));
  });

  it('take less where the session leaves less of 7,680 bytes', async () => {
    const { app, browser } = await serve();
    const { sealed } = await sealedSession(workos.server, {}, { organizationId: 'o'.repeat(3_000) });
    const half = Math.ceil(sealed.length / 2);
    browser.jar.set(app.url, `wos-session.0=${sealed.slice(0, half)}; Path=/`);
    browser.jar.set(app.url, `wos-session.1=${sealed.slice(half)}; Path=/`);
    for (let time = 0; time < 8; time += 1) await begin(browser, app, `/${'c'.repeat(200)}`, 'cross-site');
    expect(bytesOf(browser.jar.cookies)).toBeLessThanOrEqual(7_680);
    expect(bytesOf(flowsOf(browser))).toBeLessThan(2_500);
    expect(flowsOf(browser).length).toBeGreaterThan(0);
  });

  it('make room for a session that grows', async () => {
    const { app, browser } = await serve();
    for (let time = 0; time < 4; time += 1) await begin(browser, app, `/${'d'.repeat(200)}`);
    const before = flowsOf(browser).length;
    const { sealed } = await sealedSession(workos.server, expired, { organizationId: 'o' });
    browser.jar.set(app.url, `wos-session=${sealed}; Path=/`);
    workos.server.token.reply = (body) => ({ ...body, organization_id: 'o'.repeat(3_500) });
    expect((await browser.get('/')).json).toMatchObject({ authenticated: true, refreshed: true });
    expect(flowsOf(browser).length).toBeLessThan(before);
    expect(bytesOf(browser.jar.cookies)).toBeLessThanOrEqual(7_680);
  });

  it('begin from another site with a short returnTo only', async () => {
    const { app, browser } = await serve({ signIn: { returnTo: '/welcome' } });
    const leadsTo = async (path: string, site: string) => {
      const callback = await begin(browser, app, path, site);
      return (await browser.fetch(callback)).headers.get('location');
    };
    expect(await leadsTo('/invitation', 'cross-site')).toBe('/invitation');
    expect(await leadsTo(`/${'e'.repeat(600)}`, 'cross-site')).toBe('/welcome');
    expect(await leadsTo(`/${'e'.repeat(600)}`, 'same-origin')).toBe(`/${'e'.repeat(600)}`);
  });
});
