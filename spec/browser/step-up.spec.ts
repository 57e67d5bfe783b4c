import { afterAll, beforeAll, expect, it } from '@jest/globals';
import express from 'express';
import { oidc, type SessionEvents, withSession } from 'express-sealed-session';
import { type Browser, chromium, type Page } from 'playwright-core';

import { useClock } from '../support/clock.js';
import { listen } from '../support/http-server.js';
import { startOidcServer } from '../support/oidc-provider.js';
import { describeWithPart, partPath } from '../support/system-parts.js';
import { password } from '../support/workos-session.js';

const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'];

describeWithPart('chromium', 'step-up at oidc-provider, in Chromium', () => {
  const clock = useClock();
  const open: { close: () => Promise<unknown> }[] = [];
  const failures: SessionEvents['signInFailed'][] = [];
  let chrome: Browser;
  let page: Page;
  let url: string;
  /** How the visitor signs in at the provider. */
  let login: { acr: string; amr: string[] };

  beforeAll(async () => {
    chrome = await chromium.launch({ executablePath: partPath('chromium')!, args: flags });
    open.push(chrome);
    const app = express();
    const front = await listen((req, res) => {
      (app as unknown as (...given: unknown[]) => void)(req, res);
    });
    open.push(front);
    url = front.url.replace('127.0.0.1', 'localhost');
    const op = await startOidcServer({
      redirectUris: [`${url}/callback`],
      configure: (configuration) => {
        configuration.acrValues = ['pwd', 'mfa'];
        configuration.claims = { ...configuration.claims, openid: ['sub', 'acr', 'amr'] };
      },
      loginDetails: () => login,
    });
    open.push(op);
    const sessions = withSession({
      provider: oidc({ issuer: op.url, clientId: op.clientId, clientSecret: op.clientSecret }),
      password,
      baseUrl: url,
      events: { signInFailed: (event) => failures.push(event) },
    });
    app.use(sessions, sessions.routes());
    app.get('/', sessions.require(), (_req, res) => res.send('<p id="at">home</p>'));
    app.get('/recent', sessions.require({ maxAuthAgeSeconds: 300 }), (_req, res) => res.send('<p id="at">recent</p>'));
    app.get('/sure', sessions.require({ acr: 'mfa', amr: 'otp' }), (_req, res) => res.send('<p id="at">sure</p>'));
    app.use(sessions.errorHandler());
    page = await chrome.newPage();
    page.setDefaultTimeout(10_000);
  }, 60_000);
  afterAll(() => Promise.all(open.map((each) => each.close())));

  const at = () => page.locator('#at, h1').innerText();

  it('asks again for a sign-in that is too old, comes back, and then asks no more', async () => {
    const asked: URL[] = [];
    page.on('request', (request) => {
      if (request.url().includes('/auth?')) asked.push(new URL(request.url()));
    });
    login = { acr: 'pwd', amr: ['pwd'] };
    await page.goto(`${url}/`);
    await page.goto(`${url}/recent?tab=1`);
    // It says when the visitor signed in only where it was asked for, so it is asked once more, without a page.
    expect([await at(), asked.length]).toEqual(['recent', 2]);
    await page.goto(`${url}/recent?tab=1`);
    expect([await at(), asked.length]).toEqual(['recent', 2]);
    clock.advance(400);
    await page.goto(`${url}/recent?tab=1`);
    expect([await at(), page.url(), asked.length]).toEqual(['recent', `${url}/recent?tab=1`, 3]);
    expect(asked[2]!.searchParams.get('max_age')).toBe('300');
    await page.reload();
    expect([await at(), asked.length, failures]).toEqual(['recent', 3, []]);
  }, 30_000);

  it('asks for a second factor, and shows an error where it is not given', async () => {
    await page.goto(`${url}/sure`);
    expect([await at(), failures]).toMatchObject(['You are not signed in', [{ check: 'acr' }]]);
    await page.goto(`${url}/`);
    expect(await at()).toBe('home');
    login = { acr: 'mfa', amr: ['pwd', 'otp'] };
    await page.goto(`${url}/sure`);
    expect([await at(), page.url()]).toEqual(['sure', `${url}/sure`]);
  }, 30_000);
});
