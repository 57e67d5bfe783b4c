import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import express, { Router } from 'express';
import {
  oidc,
  type Provider,
  type SessionEvents,
  type SessionOptions,
  withSession,
  workos,
} from 'express-sealed-session';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { createEmulator } from 'workos/emulate';

import { createProcessFleet } from '../../lib/fleet/process-fleet.js';
import { listen, type Listening } from '../support/http-server.js';
import { type Nginx, startNginx } from '../support/nginx.js';
import { startOidcServer } from '../support/oidc-provider.js';
import { describeWithPart, partPath } from '../support/system-parts.js';
import { startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { password } from '../support/workos-session.js';

const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'];

let chrome: Browser;
const open: { close: () => Promise<unknown> }[] = [];
const nginxes: Nginx[] = [];
beforeAll(async () => {
  const executablePath = partPath('chromium');
  if (executablePath !== undefined) chrome = await chromium.launch({ executablePath, args: flags });
}, 60_000);
afterAll(async () => {
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- it is not there without Chromium
  await chrome?.close();
  await Promise.all([...open.map((each) => each.close()), ...nginxes.map((each) => each.close())]);
});

/** A browser whose settings block all cookies of the app's host; those of the provider it keeps. */
async function openWithoutCookies(): Promise<{ page: Page; close: () => Promise<void> }> {
  const folder = mkdtempSync(path.join(tmpdir(), 'chromium-'));
  mkdirSync(path.join(folder, 'Default'));
  const exceptions = { cookies: { 'localhost,*': { setting: 2 } } };
  const preferences = { profile: { content_settings: { exceptions } } };
  writeFileSync(path.join(folder, 'Default/Preferences'), JSON.stringify(preferences));
  const context = await chromium.launchPersistentContext(folder, {
    executablePath: partPath('chromium')!,
    args: flags,
  });
  return {
    page: await context.newPage(),
    close: async () => {
      await context.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

interface Served {
  readonly app: Listening;
  readonly failures: SessionEvents['signInFailed'][];
  readonly exchanges: { count: number };
}

/** An app whose pages say who is signed in. Each request to `/slow/…` waits for nothing: pages are for people. */
async function serve(
  baseUrl: SessionOptions['baseUrl'],
  options: Partial<SessionOptions> & { provider: Provider },
  below = '',
): Promise<Served> {
  const failures: SessionEvents['signInFailed'][] = [];
  const exchanges = { count: 0 };
  const { provider } = options;
  const counted: Provider = {
    ...provider,
    codeRequest: (callback, request) => {
      exchanges.count += 1;
      return provider.codeRequest(callback, request);
    },
  };
  const sessions = withSession({
    password,
    baseUrl,
    fleet: createProcessFleet(),
    routes: { signUp: true },
    events: { signInFailed: (event) => failures.push(event) },
    ...options,
    provider: counted,
  });
  const inner = Router();
  inner.use(sessions, sessions.routes());
  inner.get(['/', '/page'], (req, res) => {
    const session = sessions.get(req);
    const who = session.authenticated ? `in as ${session.user.id}, of ${session.organizationId ?? 'none'}` : 'out';
    res.send(
      `<!doctype html><title>app</title><p id="who">${who}</p><a id="in" href="login?returnTo=${req.baseUrl}/page">in</a><a id="up" href="signup">up</a>`,
    );
  });
  inner.get('/guarded', sessions.require(), (req, res) =>
    res.send(`<p id="who">in as ${sessions.signedIn(req).user.id}</p>`),
  );
  inner.get('/team', async (req, res) => {
    res.redirect(
      303,
      await sessions.get(req).beginSignIn({ organizationId: 'org_asked', returnTo: `${req.baseUrl}/page` }),
    );
  });
  inner.use(sessions.errorHandler());
  const app = await listen(express().use(below === '' ? '/' : below, inner));
  open.push(app);
  return { app, failures, exchanges };
}

const who = (page: Page) => page.locator('#who').innerText();

interface Op {
  readonly provider: (app: string) => Promise<Provider>;
  readonly decline?: () => void;
  readonly accept?: () => void;
}

const ops: Record<string, () => Promise<Op>> = {
  'a server of WorkOS’s wire': async () => {
    const server = await startWorkosServer();
    open.push(server);
    const { clientId, apiKey, url: baseUrl } = server;
    return {
      provider: () => Promise.resolve(workos({ clientId, apiKey, baseUrl })),
      decline: () => (server.visitor = { error: 'access_denied' }),
      accept: () => (server.visitor = {}),
    };
  },
  'WorkOS’s emulator': async () => {
    const emulator = await createEmulator({
      port: 0,
      seed: { users: [{ email: 'one@example.com', email_verified: true }] },
    });
    open.push(emulator);
    return {
      provider: () =>
        Promise.resolve(workos({ clientId: 'client_emulated', apiKey: emulator.apiKey, baseUrl: emulator.url })),
    };
  },
  'oidc-provider': async () => {
    let declines = false;
    return {
      provider: async (app) => {
        const op = await startOidcServer({ redirectUris: [`${app}/callback`], declines: () => declines });
        open.push(op);
        return oidc({ issuer: op.url, clientId: op.clientId, clientSecret: op.clientSecret, resource: op.audience });
      },
      decline: () => (declines = true),
      accept: () => (declines = false),
    };
  },
};

describeWithPart('chromium', 'signing in with Chromium', () => {
  describe.each(Object.entries(ops))('against %s', (_, start) => {
    let op: Op;
    let url: string;
    let served: Served;
    let context: BrowserContext;
    let page: Page;
    let proxy: Listening;
    let handle: Parameters<typeof listen>[0] = (_req, res) => res.end();

    beforeAll(async () => {
      op = await start();
      proxy = await listen((req, res) => {
        handle(req, res);
      });
      open.push(proxy);
      url = proxy.url.replace('127.0.0.1', 'localhost');
      const provider = await op.provider(url);
      served = await serve(url, { provider });
      const { app } = served;
      handle = (req, res) => app.server.emit('request', req, res);
    }, 30_000);
    beforeEach(async () => {
      served.failures.length = 0;
      op.accept?.();
      context = await chrome.newContext();
      page = await context.newPage();
      page.setDefaultTimeout(10_000);
    });

    it('signs in by a link, and comes back to the page', async () => {
      await page.goto(url);
      expect(await who(page)).toBe('out');
      await page.click('#in');
      await page.waitForURL(`${url}/page`);
      expect(await who(page)).toMatch(/^in as /);
      await context.close();
    }, 30_000);

    it('signs up by a link', async () => {
      await page.goto(url);
      await page.click('#up');
      await page.waitForURL(`${url}/`);
      expect(await who(page)).toMatch(/^in as /);
      await context.close();
    }, 30_000);

    it('signs two tabs in at once', async () => {
      const tabs = [page, await context.newPage()];
      await Promise.all(tabs.map((tab) => tab.goto(`${url}/guarded`)));
      for (const tab of tabs) {
        // oidc-provider ends the code of a sign-in that another one overtakes. The second time, a page offers to try again.
        if (served.failures.at(-1)?.restarted === false && (await tab.locator('#who').count()) === 0) {
          await tab.getByRole('link').first().click();
        }
        expect(await who(tab)).toMatch(/^in as /);
      }
      for (const tab of tabs) {
        await tab.reload();
        expect(await who(tab)).toMatch(/^in as /);
      }
      await context.close();
    }, 30_000);

    it('leads the back button and a bookmark of the callback on', async () => {
      let callback = '';
      page.on('request', (request) => {
        if (request.url().startsWith(`${url}/callback`)) callback = request.url();
      });
      await page.goto(`${url}/login?returnTo=/page`);
      const before = served.exchanges.count;
      await page.goto(callback);
      expect(page.url()).toBe(`${url}/`);
      expect(await who(page)).toMatch(/^in as /);
      await page.goBack();
      expect(await who(page)).toMatch(/^in as /);
      expect(served.exchanges.count).toBe(before);
      // A bookmark of it, in a browser that is not signed in.
      const other = await (await chrome.newContext()).newPage();
      await other.goto(callback);
      expect(await who(other)).toMatch(/^in as /);
      expect(served.exchanges.count).toBe(before + 1);
      await other.context().close();
      await context.close();
    }, 30_000);

    it('signs in by a double click', async () => {
      await page.goto(url);
      await page.dblclick('#in', { noWaitAfter: true }).catch(() => undefined);
      await page.waitForURL(`${url}/page`);
      expect(await who(page)).toMatch(/^in as /);
      await context.close();
    }, 30_000);

    it('shows a page where cookies are blocked, and goes in no circle', async () => {
      const { page, close } = await openWithoutCookies();
      let callbacks = 0;
      page.on('request', (request) => {
        if (request.url().startsWith(`${url}/callback`)) callbacks += 1;
      });
      await page.goto(`${url}/login`);
      expect(await page.locator('h1').innerText()).toBe('You are not signed in');
      expect(await page.getByRole('link', { name: 'Try again' }).getAttribute('href')).toMatch(/^\/login\?returnTo=/);
      expect(callbacks).toBe(2);
      await close();
      await context.close();
    }, 30_000);

    it('shows a page where the visitor declines, from which they sign in after all', async () => {
      if (!op.decline) return;
      op.decline();
      await page.goto(`${url}/login?returnTo=/page`);
      expect(await page.locator('h1').innerText()).toBe('You are not signed in');
      expect(served.failures).toEqual([
        { failure: 'provider_error', providerError: 'access_denied', restarted: false },
      ]);
      op.accept?.();
      await page.getByRole('link', { name: 'Try again' }).click();
      await page.waitForURL(`${url}/page`);
      expect(await who(page)).toMatch(/^in as /);
      await context.close();
    }, 30_000);
  });
});

describeWithPart('chromium', 'signing in with Chromium at WorkOS', () => {
  let server: WorkosServer;
  let provider: Provider;
  beforeAll(async () => {
    server = await startWorkosServer();
    open.push(server);
    provider = workos({ clientId: server.clientId, apiKey: server.apiKey, baseUrl: server.url });
  });
  beforeEach(() => {
    server.token.heal();
  });

  /** Serves the app where it knows itself to be. */
  async function at(
    make: (port: string) => { baseUrl: SessionOptions['baseUrl']; below?: string; routes?: SessionOptions['routes'] },
  ) {
    let handle: Parameters<typeof listen>[0] = (_req, res) => res.end();
    const front = await listen((req, res) => {
      handle(req, res);
    });
    open.push(front);
    const { port } = new URL(front.url);
    const { baseUrl, below = '', routes } = make(port);
    const served = await serve(baseUrl, { provider, ...(routes && { routes }) }, below);
    handle = (req, res) => served.app.server.emit('request', req, res);
    return { port, ...served };
  }

  it('passes an invitation on from a link', async () => {
    const { port } = await at((own) => ({ baseUrl: `http://localhost:${own}` }));
    const page = await chrome.newPage();
    const asked: string[] = [];
    page.on('request', (request) => asked.push(request.url()));
    await page.goto(`http://localhost:${port}/login?invitation_token=inv_01&returnTo=/page`);
    expect(await who(page)).toMatch(/^in as /);
    expect(asked.find((each) => each.includes('/authorize?'))).toContain('invitation_token=inv_01');
    await page.close();
  }, 30_000);

  it.each([
    ['the one that it asked for', 'org_asked', 'in as user_01, of org_asked'],
    ['another one', 'org_other', 'You are not signed in'],
  ])(
    'asks for an organization and is given %s',
    async (_, given, expected) => {
      const { port, failures } = await at((own) => ({ baseUrl: `http://localhost:${own}` }));
      server.token.reply = (body) => ({ ...body, organization_id: given });
      server.authorize.reply = (body) => body;
      const context = await chrome.newContext();
      const page = await context.newPage();
      if (given === 'org_other') {
        server.token.reply = (body) => ({ ...body, organization_id: given });
        server.visitor = { claims: { org_id: given } };
      }
      await page.goto(`http://localhost:${port}/team`);
      expect(await page.locator('#who, h1').innerText()).toBe(expected);
      expect(failures.length).toBe(given === 'org_asked' ? 0 : 1);
      server.visitor = {};
      await context.close();
    },
    30_000,
  );

  it('signs in below a path in a Router', async () => {
    const { port } = await at((own) => ({ baseUrl: `http://localhost:${own}/app`, below: '/app' }));
    const context = await chrome.newContext();
    const page = await context.newPage();
    await page.goto(`http://localhost:${port}/app/guarded`);
    expect(page.url()).toBe(`http://localhost:${port}/app/guarded`);
    expect(await who(page)).toMatch(/^in as /);
    expect((await context.cookies()).map(({ name }) => name)).toEqual(['wos-session-app']);
    await context.close();
  }, 30_000);

  it('signs in at two origins, each with its own session', async () => {
    const { port } = await at((own) => ({ baseUrl: [`http://a.localhost:${own}`, `http://b.localhost:${own}`] }));
    const context = await chrome.newContext();
    const page = await context.newPage();
    for (const host of ['a', 'b']) {
      await page.goto(`http://${host}.localhost:${port}/page`);
      expect(await who(page)).toBe('out');
      await page.goto(`http://${host}.localhost:${port}/guarded`);
      expect(page.url()).toBe(`http://${host}.localhost:${port}/guarded`);
      expect(await who(page)).toMatch(/^in as /);
    }
    expect((await page.goto(`http://c.localhost:${port}/login`))?.status()).toBe(421);
    await context.close();
  }, 30_000);
});

describeWithPart('nginx', 'signing in behind nginx', () => {
  let server: WorkosServer;
  beforeAll(async () => {
    server = await startWorkosServer();
    open.push(server);
  });

  it.each([
    ['strips the prefix', '/shop', '/', '/'],
    ['keeps the prefix', '/shop', undefined, '/shop/'],
    ['adds a prefix', '', '/inner', '/inner/'],
  ])(
    'works where it %s',
    async (_, outer, base, upstreamPath) => {
      let handle: Parameters<typeof listen>[0] = (_req, res) => res.end();
      const app = await listen((req, res) => {
        handle(req, res);
      });
      open.push(app);
      const nginx = await startNginx(
        (port) => `server {
        listen 127.0.0.1:${port};
        location ${outer}/ { proxy_pass ${app.url}${upstreamPath}; proxy_set_header Host $http_host; }
      }`,
      );
      nginxes.push(nginx);
      const origin = `http://localhost:${nginx.port}`;
      const provider = workos({ clientId: server.clientId, apiKey: server.apiKey, baseUrl: server.url });
      const served = await serve(
        `${origin}${outer}`,
        { provider, routes: { signUp: true, ...(base !== undefined && { base }) } },
        upstreamPath === '/' ? '' : upstreamPath.slice(0, -1),
      );
      handle = (req, res) => served.app.server.emit('request', req, res);
      // The provider sends browsers to loopback, and Chromium asks nginx.
      if (partPath('chromium') === undefined) return;
      const context = await chrome.newContext();
      const page = await context.newPage();
      const hops: string[] = [];
      page.on('request', (request) => hops.push(request.url()));
      await page.goto(`${origin}${outer}/guarded`);
      expect(page.url()).toBe(`${origin}${outer}/guarded`);
      expect(await who(page)).toMatch(/^in as /);
      expect(hops.filter((hop) => hop.startsWith(origin)).map((hop) => new URL(hop).pathname)).toEqual(
        ['/guarded', '/login', '/callback', '/guarded'].map((own) => `${outer}${own}`),
      );
      const out = await page.goto(`${origin}${outer}/logout?returnTo=${outer}/page`);
      expect(out?.url()).toBe(`${origin}${outer}/`);
      await page.goto(`${origin}${outer}/page`);
      expect(await who(page)).toBe('out');
      await context.close();
    },
    30_000,
  );
});
