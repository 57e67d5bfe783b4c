import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, request, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import express from 'express';
import { oidc, withSession } from 'express-sealed-session';
import { type BrowserContext, chromium, type Page } from 'playwright-core';

import { hasOpenssl, publicKeyHash, selfSigned } from '../support/certificate.js';
import { useClock } from '../support/clock.js';
import { eventually } from '../support/eventually.js';
import { type Issuer, startIssuer } from '../support/oidc-issuer.js';
import { describeWithPart, partPath } from '../support/system-parts.js';

const clock = useClock();
const proofName = '__Host-session-proof';
const pem = hasOpenssl ? selfSigned('app.test', 'other.test') : '';
const profiles: string[] = [];

/** Chromium with keys in software. Without `quota` it signs as often as it is asked. */
async function launch(profile: string, { quota = false } = {}): Promise<BrowserContext> {
  return chromium.launchPersistentContext(profile, {
    executablePath: partPath('chromium')!,
    args: [
      '--headless=new',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-background-networking',
      `--enable-features=DeviceBoundSessions${quota ? '' : ':RefreshQuota/false'},EnableBoundSessionCredentialsSoftwareKeysForManualTesting`,
      `--ignore-certificate-errors-spki-list=${publicKeyHash(pem)}`,
      '--host-resolver-rules=MAP app.test 127.0.0.1,MAP other.test 127.0.0.1',
    ],
  });
}

function newProfile(): string {
  const profile = mkdtempSync(path.join(tmpdir(), 'device-bound-'));
  profiles.push(profile);
  return profile;
}

(hasOpenssl ? describe : describe.skip)('over TLS (skipped without openssl)', () => {
  describeWithPart('chromium', 'sessions that are bound to Chromium', () => {
    let issuer: Issuer;
    let server: Server;
    let url: string;
    let elsewhere: string;
    let context: BrowserContext;
    let page: Page;
    /** What the browser was answered where it binds and proves. */
    const answers: { status: number; body: string }[] = [];

    beforeAll(async () => {
      issuer = await startIssuer();
      let handle: (req: IncomingMessage, res: ServerResponse) => void = (_req, res) => res.end();
      server = createServer({ key: pem, cert: pem }, (req, res) => {
        handle(req, res);
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      [url, elsewhere] = [`https://app.test:${port}`, `https://other.test:${port}`];
      handle = appAt(url);
      context = await launch(newProfile());
      page = context.pages()[0] ?? (await context.newPage());
      await signIn();
    }, 30_000);

    afterAll(async () => {
      await context.close();
      server.close();
      server.closeAllConnections();
      await issuer.close();
      for (const profile of profiles) rmSync(profile, { recursive: true, force: true });
    });

    function appAt(baseUrl: string) {
      const sessions = withSession({
        provider: oidc({ issuer: issuer.url, clientId: issuer.clientId, clientSecret: issuer.clientSecret }),
        password: 'a password that is long enough for seals',
        baseUrl,
        deviceBound: true,
      });
      const app = express();
      app.get('/link', (_req, res) => res.send(`<a id="link" href="${baseUrl}/account?from=elsewhere">link</a>`));
      app.get('/in', (_req, res) => res.send('<a href="/login?returnTo=/account">in</a>'));
      app.use('/session/device', (_req, res, next) => {
        const end = res.end.bind(res);
        res.end = ((body = '') => {
          answers.push({ status: res.statusCode, body });
          return end(body);
        }) as typeof end;
        next();
      });
      app.use(sessions, sessions.routes());
      app.get('/who', (req, res) => {
        res.json(sessions.get(req));
      });
      app.get('/account', sessions.require(), (req, res) =>
        res.send(`<p id="who">${sessions.signedIn(req).user.id}</p>`),
      );
      app.use(sessions.errorHandler());
      return app;
    }

    /** What a page of the browser is told by a fetch. */
    const ask = (on = page) => on.evaluate<Record<string, unknown>>('fetch("/who").then((answer) => answer.json())');
    const isBound = async () => (await ask()).deviceBound === true;
    async function signIn() {
      // By a link: what begins in the address bar counts as its visitor's own, wherever it leads.
      await page.goto(`${url}/in`);
      await page.click('a');
      await page.waitForURL(`${url}/account`);
    }
    /** The proof has expired, for both sides. */
    async function expireProof(seconds = 601) {
      clock.advance(seconds);
      await context.clearCookies({ name: proofName });
    }
    const cookieHeader = async () =>
      (await context.cookies(url)).map(({ name, value }) => `${name}=${value}`).join('; ');
    /** A thief's client, with these cookies. */
    async function status(cookie: string, at = '/account'): Promise<number> {
      const { port } = new URL(url);
      const asked = request({
        host: '127.0.0.1',
        port,
        path: at,
        ca: pem,
        servername: 'app.test',
        headers: { cookie },
      });
      asked.end();
      const [answer] = (await once(asked, 'response')) as [IncomingMessage];
      answer.resume();
      return answer.statusCode ?? 0;
    }
    const givenProofs = () =>
      answers.splice(0).filter((each) => each.status === 200 && !each.body.includes('"continue"')).length;

    it('are bound within a second of the sign-in', async () => {
      expect([page.url(), await page.locator('#who').innerText()]).toEqual([`${url}/account`, 'user_01']);
      await eventually(isBound);
      expect(answers.map((each) => each.status)).toEqual([200]);
    });

    it('leave a copy of the cookies good until the proof expires, while the browser goes on', async () => {
      const copy = await cookieHeader();
      expect(await status(copy)).toBe(200);
      givenProofs();
      for (let round = 1; round <= 3; round += 1) {
        await expireProof();
        expect(await status(copy)).toBe(401);
        expect(await ask()).toMatchObject({ authenticated: true, deviceBound: true });
        expect(await status(copy)).toBe(401);
        expect(givenProofs()).toBe(1);
      }
    });

    it('need one proof for many tabs', async () => {
      const tabs = [page, await context.newPage(), await context.newPage()];
      for (const tab of tabs.slice(1)) await tab.goto(`${url}/account`);
      await expireProof();
      givenProofs();
      const asked = tabs.flatMap((tab) => Array.from({ length: 10 }, () => ask(tab)));
      for (const who of await Promise.all(asked)) expect(who).toMatchObject({ deviceBound: true });
      expect(givenProofs()).toBe(1);
      for (const tab of tabs.slice(1)) await tab.close();
    });

    it('end on the page, not at a sign-in, where another site links to it', async () => {
      await page.goto(`${elsewhere}/link`);
      await expireProof();
      const signIns = issuer.authorize.requests.length;
      await page.click('#link');
      await page.locator('#who').waitFor();
      expect(page.url()).toBe(`${url}/account?from=elsewhere`);
      expect(issuer.authorize.requests.length).toBe(signIns);
    });

    it('outlast an outage of the provider', async () => {
      await expireProof(10_000);
      issuer.token.fail('reset');
      expect(await ask()).toMatchObject({ authenticated: false, retryable: true, reason: 'network_error' });
      issuer.token.heal();
      clock.advance(60);
      expect(await ask()).toMatchObject({ authenticated: true, deviceBound: true });
    });

    it('outlast a restart of the browser', async () => {
      const profile = profiles[0]!;
      await context.close();
      clock.advance(601);
      context = await launch(profile);
      await context.clearCookies({ name: proofName });
      page = context.pages()[0] ?? (await context.newPage());
      await page.goto(`${url}/account`);
      expect(await page.locator('#who').innerText()).toBe('user_01');
      expect(await ask()).toMatchObject({ deviceBound: true });
    }, 15_000);

    it('end in the browser too when their visitor signs out, and begin anew', async () => {
      answers.length = 0;
      await page.evaluate('fetch("/logout", { method: "POST", redirect: "manual" })');
      expect(await ask()).toMatchObject({ authenticated: false });
      expect(answers.map(({ body }) => body)).toEqual([expect.stringContaining('"continue":false')]);
      await signIn();
      await eventually(isBound);
    });

    it('are retryable when the browser may not sign any more', async () => {
      await context.close();
      context = await launch(newProfile(), { quota: true });
      page = context.pages()[0] ?? (await context.newPage());
      await signIn();
      await eventually(isBound);
      let who = await ask();
      for (let proofs = 0; who.authenticated === true && proofs < 8; proofs += 1) {
        await context.clearCookies({ name: proofName });
        who = await ask();
      }
      expect(who).toMatchObject({ authenticated: false, retryable: true, reason: 'device_proof_unavailable' });
    }, 15_000);
  });
});
