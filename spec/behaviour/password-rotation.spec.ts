import { afterEach, describe, expect, it, jest } from '@jest/globals';
import {
  createSessionManager,
  oidc,
  type Password,
  type SessionEvents,
  type SessionOptions,
  withSession,
} from 'express-sealed-session';

import { createProcessFleet } from '../../lib/fleet/process-fleet.js';
import { frameworks } from '../support/apps.js';
import { type Browser, createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { type Issuer, type IssuerOptions, startIssuer } from '../support/oidc-issuer.js';

const oldPassword = 'the old password, of at least 32 characters';
const newPassword = 'the new password, of at least 32 characters';

/** As `docs/guide/cookies.md` says: in each step, every process can open what any other one seals. */
const steps: Password[] = [
  oldPassword,
  [oldPassword, newPassword],
  [newPassword, oldPassword],
  [newPassword, oldPassword],
  newPassword,
];

jest.setTimeout(30_000);

const clock = useClock();
const open: (() => Promise<unknown>)[] = [];
afterEach(() => Promise.all(open.splice(0).map((close) => close())));

/** One issuer, and apps that share a fleet but not a password. */
async function start(accessTokens: IssuerOptions['accessTokens']) {
  const issuer: Issuer = await startIssuer({ accessTokens, user: 'ada' });
  open.push(() => issuer.close());
  const fleet = createProcessFleet();
  const rejected: SessionEvents['rejected'][] = [];
  const oldPasswordUsed: SessionEvents['oldPasswordUsed'][] = [];
  const { url, clientId, clientSecret } = issuer;
  const options = (password: Password): SessionOptions => ({
    provider: oidc({ issuer: url, clientId, clientSecret }),
    password,
    fleet,
    cookie: { name: 'session' },
    events: { rejected: (event) => rejected.push(event), oldPasswordUsed: (event) => oldPasswordUsed.push(event) },
  });

  async function deploy(password: Password): Promise<string> {
    const sessions = withSession(options(password));
    const app = await frameworks[0]!.listen((each) => {
      each.use(sessions);
      each.get('/', (req, res) => res.end(JSON.stringify(sessions.get(req))));
    });
    open.push(() => app.close());
    return app.url;
  }

  /** A visitor who has signed in under this password. Cookies know no ports, so every app gets them. */
  async function visitor(password: Password): Promise<Browser> {
    const browser = createBrowser('http://127.0.0.1');
    const sealed = await createSessionManager(options(password)).seal(await issuer.issue());
    browser.jar.set('http://127.0.0.1', `session=${sealed}; Path=/`);
    return browser;
  }

  const presented = () =>
    issuer.token.requests
      .filter(({ body }) => body.grant_type === 'refresh_token')
      .map(({ body }) => body.refresh_token);
  return { issuer, deploy, visitor, rejected, oldPasswordUsed, presented };
}

describe.each(['opaque', 'JWT'] as const)('a password is changed, with %s tokens', (kind) => {
  it('in steps: no seal is orphaned, and no refresh token is presented twice', async () => {
    const { issuer, deploy, visitor, rejected, oldPasswordUsed, presented } = await start(kind);
    const visitors = await Promise.all(Array.from({ length: 4 }, () => visitor(oldPassword)));
    let before = await deploy(steps[0]!);
    let refreshes = 0;
    for (const step of steps.slice(1)) {
      const after = await deploy(step);
      oldPasswordUsed.length = 0;
      // Both versions run at the same time, and the browser asks both with one cookie: valid, then expired.
      for (const seconds of [0, 310]) {
        clock.advance(seconds);
        const pages = await Promise.all(
          visitors.flatMap((each) => [before, after, before, after].map((url) => each.get(`${url}/`))),
        );
        expect(pages).toHaveLength(visitors.length * 4);
        for (const { json } of pages) expect(json).toMatchObject({ authenticated: true, user: { id: 'ada' } });
      }
      refreshes += visitors.length;
      // A new visitor of either version is known to both.
      visitors.push(await visitor(step));
      before = after;
    }
    expect(oldPasswordUsed).toEqual([]);
    expect(rejected).toEqual([]);
    expect([issuer.reuses, new Set(presented()).size, presented().length]).toEqual([0, refreshes, refreshes]);
    // Under the new password alone, every visitor is still signed in.
    const later = await deploy(newPassword);
    const pages = await Promise.all(visitors.map((each) => each.get(`${later}/`)));
    expect(pages.every(({ json }) => json.authenticated as boolean)).toBe(true);
  });

  it('at once: a process that has only the old one knows nobody, sends nothing and clears nothing', async () => {
    const { issuer, deploy, visitor, rejected, presented } = await start(kind);
    const [before, after] = [await deploy(oldPassword), await deploy([newPassword, oldPassword])];
    const browser = await visitor(oldPassword);
    clock.advance(310);
    expect((await browser.get(`${after}/`)).json).toMatchObject({ authenticated: true, refreshed: true });
    clock.advance(310);
    const page = await browser.get(`${before}/`);
    expect([page.json.reason, page.setCookies]).toEqual(['invalid_session_cookie', []]);
    expect(rejected).toEqual([{ reason: 'invalid_session_cookie', detail: 'unknown_password' }]);
    expect((await browser.get(`${after}/`)).json).toMatchObject({ authenticated: true, refreshed: true });
    expect([presented().length, issuer.reuses]).toEqual([2, 0]);
  });

  it('while a refresh runs: another process seals the same tokens under its own password', async () => {
    const { issuer, deploy, visitor, presented } = await start(kind);
    const [before, after] = [await deploy([oldPassword, newPassword]), await deploy(newPassword)];
    const browser = await visitor([newPassword]);
    clock.advance(310);
    const hold = issuer.token.hold();
    const other = browser.clone();
    const first = browser.get(`${before}/`);
    await hold.arrived(1);
    const second = other.get(`${after}/`);
    hold.release();
    expect((await first).json).toMatchObject({ authenticated: true, refreshed: true });
    expect((await second).json).toMatchObject({ authenticated: true, refreshed: true });
    // A process that has not seen it before has only the seal to go by.
    const later = await deploy(newPassword);
    expect((await other.get(`${later}/`)).json).toMatchObject({ authenticated: true, refreshed: false });
    expect([presented().length, issuer.reuses]).toEqual([1, 0]);
  });
});
