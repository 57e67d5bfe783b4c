import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type BrowserContext, chromium, type Page } from 'playwright-core';

import { hasOpenssl } from '../support/certificate.js';
import { describeWithPart, partPath } from '../support/system-parts.js';

(hasOpenssl ? describe : describe.skip)('over TLS (skipped without openssl)', () => {
  describeWithPart('chromium', 'demo over https, in Chromium', () => {
    const profile = mkdtempSync(path.join(tmpdir(), 'demo-device-'));
    const complaints: string[] = [];
    let demo: ChildProcess;
    let context: BrowserContext;
    let page: Page;
    let origin: string;

    beforeAll(async () => {
      demo = spawn(process.execPath, ['examples/demo/server.js', '--https'], {
        env: { ...process.env, PORT: '0', NODE_OPTIONS: '' },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let printed = '';
      for await (const chunk of demo.stdout!) {
        printed += String(chunk);
        if (printed.includes('--no-sandbox')) break;
      }
      // The command that the demo prints is the one that is run.
      const args = [...printed.matchAll(/ (--(?:enable-features|ignore-certificate)\S+)/g)].map(([, flag]) => flag!);
      [origin = ''] = /https:\/\/localhost:\d+/.exec(printed) ?? [];
      context = await chromium.launchPersistentContext(profile, {
        executablePath: partPath('chromium')!,
        args: ['--headless=new', '--no-sandbox', '--disable-gpu', ...args],
      });
      page = context.pages()[0] ?? (await context.newPage());
      page.setDefaultTimeout(15_000);
      page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
      });
    }, 60_000);

    afterAll(async () => {
      await context.close();
      const ended = once(demo, 'exit');
      demo.kill();
      await ended;
      rmSync(profile, { recursive: true, force: true });
    });

    it('binds the session, and shows a copy of its cookies die', async () => {
      await page.goto(origin);
      await page.getByRole('link', { name: 'Sign in' }).click();
      await page.getByLabel('Your name').fill('Ada');
      await page.getByRole('button', { name: 'Sign in' }).click();
      const shows = (id: string, text: string) => page.locator(`#${id}`).filter({ hasText: text }).waitFor();
      await shows('device-state', 'Bound to this device');
      await page.getByRole('button', { name: 'Copy my cookies' }).click();
      await shows('copy-answer', '200');
      await shows('own-answer', '200');
      await page.getByRole('button', { name: 'Ten minutes later' }).click();
      await shows('copy-answer', '401');
      await shows('own-answer', '200');
      await page.setViewportSize({ width: 375, height: 740 });
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(375);
      expect(complaints).toEqual([]);
    }, 60_000);
  });
});
