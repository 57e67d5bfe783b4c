import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

import { afterAll, beforeAll, expect, it } from '@jest/globals';
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

describeWithPart('chromium', 'demo in Chromium', () => {
  let demo: ChildProcess;
  let url: string;
  let browser: Browser;
  let page: Page;
  /** What the browser complains about: a blocked script, an exception, a missing file. */
  const complaints: string[] = [];

  beforeAll(async () => {
    demo = spawn(process.execPath, ['examples/demo/server.js'], {
      env: { ...process.env, PORT: '0', NODE_OPTIONS: '' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
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

  async function expectToFitPhone() {
    await page.setViewportSize({ width: 375, height: 740 });
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(375);
    await page.setViewportSize({ width: 1280, height: 900 });
  }

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
    expect(await text('email')).toBe('somebody-b-bold-b@example.com');
    expect(page.url()).toBe(`${url}/`);
    await expectToFitPhone();
  }, 60_000);

  it('keeps the visitor signed in after the access token has expired', async () => {
    await shows('token-state', 'Expired', 30_000);
    expect([await text('renewals'), await text('grants')]).toEqual(['0', '0']);

    await button('Call /api/me').click();
    await shows('answer', /^200 .* renewed/);
    await shows('token-state', 'Valid');
    await shows('log', 'Access token expired');
    expect([await text('renewals'), await text('grants')]).toEqual(['1', '1']);
  }, 60_000);

  it('serves 20 requests with one refresh grant', async () => {
    await button('20 requests at once').click();
    await shows('result', '20 of 20 signed in, 1 refresh grant', 40_000);
    expect(await page.locator('#tiles .good').count()).toBe(20);
    expect([await text('renewals'), await text('grants')]).toEqual(['2', '2']);
    await expectToFitPhone();
  }, 60_000);

  it('signs out, of the app and of the provider', async () => {
    await button('Sign out').click();
    await page.getByRole('link', { name: 'Sign in' }).click();
    await page.getByLabel('Your name').waitFor(); // the provider asks again, so it has forgotten the visitor too
    expect(await me()).toBe(401);
  }, 60_000);

  it('gives the browser nothing to complain about', () => {
    expect(complaints).toEqual([]);
  });

  it('ends when it is told to', async () => {
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
