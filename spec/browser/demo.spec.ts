import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Browser, chromium, type Page } from 'playwright-core';

import { describeWithPart, partPath } from '../support/system-parts.js';

const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

function startDemo(port = 0): ChildProcess {
  return spawn(process.execPath, ['examples/demo/server.js'], {
    env: { ...process.env, PORT: String(port), NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

describe('demo while it starts', () => {
  it('answers the first request that it accepts', async () => {
    const port = await freePort();
    const demo = startDemo(port);
    try {
      const answer = await firstAnswer(`http://localhost:${port}/`);
      expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('Sign in')]);
    } finally {
      await end(demo);
    }
  }, 15_000);
});

describe('demo at another name of this machine', () => {
  let demo: ChildProcess;
  let origin: string;
  beforeAll(async () => {
    demo = startDemo();
    origin = await addressOf(demo);
  }, 15_000);
  afterAll(() => end(demo));

  const hasIpv6 = Object.values(networkInterfaces()).some((one) => one?.some(({ address }) => address === '::1'));
  it.each(['127.0.0.1', ...(hasIpv6 ? ['[::1]'] : [])])(
    'sends a request for %s to localhost, where its cookies belong',
    async (host) => {
      const { port } = new URL(origin);
      const answer = await fetch(`http://${host}:${port}//example.com/login?returnTo=/`, {
        method: 'POST',
        redirect: 'manual',
      });
      const location = `${origin}//example.com/login?returnTo=/`;
      expect([answer.status, answer.headers.get('location')]).toEqual([307, location]);
      expect(answer.headers.getSetCookie()).toEqual([]);
    },
  );

  it('answers a request for localhost itself', async () => {
    const answer = await fetch(origin, { redirect: 'manual' });
    expect(answer.status).toBe(200);
  });
});

describeWithPart('chromium', 'demo in Chromium', () => {
  let demo: ChildProcess;
  let url: string;
  let browser: Browser;
  let page: Page;
  /** What the browser complains about: a blocked script, an exception, a missing file. */
  const complaints: string[] = [];

  beforeAll(async () => {
    demo = startDemo();
    url = await addressOf(demo);
    browser = await chromium.launch({ executablePath: partPath('chromium')!, args: flags });
    page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    page.setDefaultTimeout(15_000);
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(String(error)));
  }, 60_000);

  afterAll(async () => {
    demo.kill();
    await browser.close();
  });

  const button = (name: string) => page.getByRole('button', { name });
  const text = (id: string) => page.locator(`#${id}`).innerText();
  const shows = (id: string, words: string | RegExp, timeout = 15_000) =>
    page.locator(`#${id}`).filter({ hasText: words }).waitFor({ timeout });
  const me = async () => (await page.request.get(`${url}/api/me`)).status();

  /** The browser reports each answer of 400 and more. */
  function expectComplaints(pattern: RegExp) {
    expect(complaints.splice(0).filter((complaint) => !pattern.test(complaint))).toEqual([]);
  }

  async function expectToFitPhone() {
    await page.setViewportSize({ width: 375, height: 740 });
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(375);
    await page.setViewportSize({ width: 1280, height: 900 });
  }

  it('shows a page with a way on to a visitor who declines', async () => {
    await page.goto(url);
    await page.getByRole('link', { name: 'Create an account' }).click();
    await page.getByRole('heading', { name: 'Create an account' }).waitFor();
    await expectToFitPhone();
    await button('Not now').click();
    await page.getByRole('heading', { name: 'You are not signed in' }).waitFor();
    await expectToFitPhone();
    await page.getByRole('link', { name: 'Try again' }).click();
    await page.getByLabel('Your name').waitFor();
    // The browser reports each answer of 400.
    expect(complaints.splice(0)).toEqual([expect.stringContaining('400')]);
  }, 60_000);

  it('lets a visitor sign in with a name', async () => {
    await page.goto(url);
    expect(await me()).toBe(401);
    await expectToFitPhone();
    await page.getByRole('link', { name: 'Sign in' }).click();

    await page.getByPlaceholder('Your name').waitFor();
    await expectToFitPhone();
    await page.getByLabel('Your name').fill('Somebody <b>bold</b>');
    await button('Sign in').click();

    await shows('name', ', Somebody <b>bold</b>');
    await shows('greeting', 'Nice to meet you');
    expect(await text('email')).toBe('somebody-b-bold-b@example.com');
    expect(page.url()).toBe(`${url}/`);
    // The demo speaks plain http, so its address alone must have left Secure off.
    const cookies = await page.context().cookies(url);
    const { name, httpOnly, secure } = cookies.find((cookie) => cookie.name === 'demo-session')!;
    expect({ name, httpOnly, secure }).toEqual({ name: 'demo-session', httpOnly: true, secure: false });
    await expectToFitPhone();
  }, 60_000);

  it('keeps the visitor signed in after the access token has expired', async () => {
    await shows('token-state', 'Expired', 30_000);
    expect([await text('refreshes'), await text('grants')]).toEqual(['0', '0']);

    await button('Call /api/me').click();
    await shows('answer', /^200 .* refreshed/);
    await shows('token-state', 'Valid');
    await shows('log', 'Access token expired');
    expect([await text('refreshes'), await text('grants')]).toEqual(['1', '1']);
  }, 60_000);

  it('serves 20 requests with one refresh grant', async () => {
    await button('20 requests at once').click();
    await button('Expire now').click();
    await shows('result', '20 of 20 signed in, 1 refresh grant', 40_000);
    expect(await page.locator('#tiles .good').count()).toBe(20);
    expect([await text('refreshes'), await text('grants')]).toEqual(['2', '2']);
    await expectToFitPhone();
  }, 60_000);

  it('loses the session with the same 20 requests without the package, and only that one', async () => {
    await button('The same 20 without it').click();
    await shows('without-result', /^\d+ of 20 signed in, \d+ refresh grants, and signed out for good$/, 40_000);
    expect(await page.locator('#without-tiles .good').count()).toBeLessThan(20);
    expect(await me()).toBe(200);
    expectComplaints(/401/);
  }, 60_000);

  it('shows the cookie as the browser has it, and that it is ciphertext', async () => {
    const cookies = await page.context().cookies(url);
    const { name, value } = cookies.find((cookie) => cookie.name === 'demo-session')!;
    const shown = await text('cookie-start');
    expect(await text('cookie-name')).toBe(name);
    expect(Number((await text('cookie-bytes')).replace(',', ''))).toBe(`${name}=${value}`.length);
    expect(value.startsWith(shown.replace('…', ''))).toBe(true);
    expect(shown).not.toContain('omebody');
  });

  it('expires the access token at once, and the next request refreshes it', async () => {
    await button('Expire now').click();
    await shows('token-state', 'Expired');
    await button('Call /api/me').click();
    await shows('answer', /^200 .* refreshed/);
    await shows('token-state', 'Valid');
  }, 30_000);

  it('keeps the visitor signed in while the provider is down, and makes a refresh wait while it is slow', async () => {
    await page.getByText('down', { exact: true }).click();
    await shows('log', 'Provider down');
    await button('Call /api/me').click();
    await shows('answer', /^200 .* still valid/);
    await button('Expire now').click();
    await shows('token-state', 'Expired');
    await button('Call /api/me').click();
    await shows('answer', /^503 .* Your cookie is kept/);
    await page.getByText('slow', { exact: true }).click();
    await shows('log', 'Provider slow');
    // The package leaves a provider alone for a moment that did not answer.
    let answer = '';
    while (!answer.startsWith('200')) {
      await button('Call /api/me').click();
      await shows('answer', /^\d/);
      answer = await text('answer');
    }
    expect(answer).toMatch(/refreshed/);
    expect(Number(/in (\d+) ms/.exec(answer)![1])).toBeGreaterThan(2_500);
    await page.getByText('up', { exact: true }).click();
    await shows('log', 'Provider up');
    await expectToFitPhone();
    expectComplaints(/503/);
  }, 60_000);

  it('is over at the next refresh when the provider has ended the session', async () => {
    await button('End this session there').click();
    await shows('provider-answer', 'Ended there');
    await button('Call /api/me').click();
    await shows('answer', /^200/);
    await button('Expire now').click();
    await shows('token-state', 'Expired');
    await button('Call /api/me').click();
    await shows('answer', /^401 .* the session is over/);
    await page.getByRole('link', { name: 'Sign in again' }).click();
    await shows('greeting', 'Welcome back');
    expectComplaints(/401/);
  }, 60_000);

  it('shows no more than ten lines of code', async () => {
    const lines = (await page.locator('#code').innerText()).split('\n').filter((line) => line.trim() !== '');
    expect(lines.length).toBeLessThanOrEqual(10);
  });

  it('signs out of the app and of the provider', async () => {
    await button('Sign out').click();
    await page.getByRole('link', { name: 'Sign in' }).click();
    await page.getByLabel('Your name').waitFor(); // the provider asks again, so it has forgotten the visitor too
    expect(await me()).toBe(401);
  }, 60_000);

  it('causes no error or warning in the browser', () => {
    expect(complaints).toEqual([]);
  });

  it('ends on SIGTERM with exit code 0', async () => {
    await page.goto(url);
    demo.kill('SIGTERM');
    const [code] = (await once(demo, 'exit')) as [number | null];
    expect(code).toBe(0);
  }, 15_000);
});

/** The demo says where it is once it listens. */
async function addressOf(demo: ChildProcess): Promise<string> {
  for await (const line of createInterface(demo.stdout!)) {
    const [address] = /http:\/\/localhost:\d+/.exec(line) ?? [];
    if (address) return address;
  }
  throw new Error('The demo has ended before it was ready.');
}

async function end(demo: ChildProcess): Promise<void> {
  const ended = once(demo, 'exit');
  demo.kill();
  await ended;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, 'localhost');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Asks until something listens, and then waits for its answer. */
async function firstAnswer(url: string): Promise<Response> {
  for (;;) {
    try {
      return await fetch(url, { signal: AbortSignal.timeout(10_000) });
    } catch (error) {
      if (!String((error as Error).cause).includes('ECONNREFUSED')) throw error;
      await setTimeout(5);
    }
  }
}
