import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { withSession } from 'express-sealed-session';
import { type Browser, chromium } from 'playwright-core';

import { frameworks, listen, type Listening } from '../support/apps.js';
import { eventually } from '../support/eventually.js';
import { passingOn, startNginx } from '../support/nginx.js';
import { describeWithPart, partPath } from '../support/system-parts.js';
import { startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { sealedSession, workosOptions } from '../support/workos-session.js';

const clicks = 12;
const portOf = (server: Server) => (server.address() as AddressInfo).port;

/** One click sends a window to the app's `/login` again and again, with addresses that fill the limits of servers. */
const hostilePage = (login: string) => `<button>Win a prize</button><p></p><script>
  document.querySelector('button').onclick = async () => {
    const victim = window.open('about:blank');
    for (let time = 1; time <= ${clicks}; time += 1) {
      victim.location = '${login}?returnTo=/' + String(time).repeat(2000).slice(0, time < 5 ? 2000 : 600);
      // Until the window has left for the provider, or was refused.
      await fetch('/arrived?' + time);
    }
    document.querySelector('p').textContent = 'done';
  };
</script>`;

describeWithPart('chromium', 'one click on a hostile page, in Chromium', () => {
  let browser: Browser;
  let workos: WorkosServer;
  const closing: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    workos = await startWorkosServer();
    browser = await chromium.launch({ executablePath: partPath('chromium')!, args: ['--headless', '--no-sandbox'] });
    closing.push(
      () => workos.close(),
      () => browser.close(),
    );
  }, 60_000);
  afterAll(() => Promise.all(closing.map((close) => close())));

  /** The app with this origin. Its provider keeps the visitor at the page to sign in. */
  async function serveApp(originOf: (appPort: number) => Promise<string>): Promise<{ origin: string }> {
    const front = await listen((req, res) => app.server.emit('request', req, res));
    const origin = await originOf(portOf(front.server));
    const app: Listening = await frameworks[0]!.listen((each) => {
      const sessions = withSession(workosOptions(workos, { baseUrl: origin }));
      each.use(sessions);
      each.use(sessions.routes());
      each.get('/', (_req, res) => res.end('the app'));
    });
    return { origin };
  }

  async function clickThenUseTheApp(origin: string): Promise<void> {
    const context = await browser.newContext();
    const { sealed } = await sealedSession(workos);
    await context.addCookies([{ name: 'wos-session', value: sealed, url: origin, httpOnly: true, sameSite: 'Lax' }]);
    // At the provider the visitor is only asked to sign in.
    await context.route(`${workos.url}/**`, (route) => route.fulfill({ body: 'Sign in' }));
    let answers = 0;
    context.on('response', (response) => {
      if (response.url().startsWith(`${origin}/login`)) answers += 1;
    });
    const hostile = await listen((req, res) => {
      if (!req.url?.startsWith('/arrived')) {
        res.setHeader('Content-Type', 'text/html').end(hostilePage(`${origin}/login`));
        return;
      }
      const wanted = Number(req.url.split('?')[1]);
      void eventually(() => Promise.resolve(answers >= wanted)).then(() => res.end());
    });
    const page = await context.newPage();
    await page.goto(hostile.url);
    await page.getByRole('button').click();
    await page.getByText('done').waitFor({ timeout: 60_000 });

    const begun = (await context.cookies(origin)).filter(({ name }) => name.startsWith('wos-session-flow-'));
    expect(begun.length).toBeGreaterThan(0);
    const own = await context.newPage();
    const statuses: [string, number | undefined][] = [];
    for (const path of ['/', '/login', '/logout']) {
      const answered = own.waitForResponse((response) => response.url() === `${origin}${path}`);
      await own.goto(origin + path);
      statuses.push([path, (await answered).status()]);
    }
    expect(statuses).toEqual([
      ['/', 200],
      ['/login', 303],
      ['/logout', 303],
    ]);
    await context.close();
  }

  it('leaves the app, /login and /logout in reach', async () => {
    const { origin } = await serveApp((port) => Promise.resolve(`http://localhost:${port}`));
    await clickThenUseTheApp(origin);
  }, 90_000);

  describeWithPart('nginx', 'behind nginx as it comes', () => {
    it('leaves the app, /login and /logout in reach', async () => {
      const { origin } = await serveApp(async (port) => {
        const nginx = await startNginx(passingOn(port));
        closing.push(nginx.close);
        return `http://localhost:${nginx.port}`;
      });
      await clickThenUseTheApp(origin);
    }, 90_000);
  });
});
