import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { getSession, type SessionEvents, type SessionOptions, withSession } from 'express-sealed-session';

import { frameworks } from '../support/apps.js';
import { createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { serveSessions, type SessionApp } from '../support/session-app.js';
import { answers, startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { cookieHeader, expired, sealedSession, sessionCookieOf, workosOptions } from '../support/workos-session.js';

const clock = useClock();
let server: WorkosServer;
let closers: (() => Promise<unknown>)[] = [];
let failures: SessionEvents['refreshFailed'][] = [];
let problems: SessionEvents['misconfigured'][] = [];

beforeEach(async () => {
  server = await startWorkosServer();
  closers = [() => server.close()];
  failures = [];
  problems = [];
});
afterEach(() => Promise.all(closers.map((close) => close())));

const options = (): SessionOptions => {
  const given = workosOptions(server, {
    events: { refreshFailed: (event) => failures.push(event), misconfigured: (event) => problems.push(event) },
  });
  return { ...given, provider: { ...given.provider, refreshTokens: 'single-use' } };
};

async function serve(): Promise<SessionApp> {
  const app = await serveSessions(options());
  closers.push(() => app.close());
  return app;
}

const sessionsOf = (count: number, overrides = expired) =>
  Promise.all(
    Array.from({ length: count }, async (_, id) => {
      const { sealed } = await sealedSession(server, { ...overrides, user: { id: `user_${id}` } });
      return sealed;
    }),
  );

describe('a wrong secret in a quiet app', () => {
  it('signs nobody out and tells the operator; after the right one everybody is in again', async () => {
    const app = await serve();
    const sessions = await sessionsOf(3);
    const { apiKey } = server;
    server.apiKey = 'sk_test_another';
    // A night: each visitor comes now and then, and nobody is refreshed.
    for (let hour = 0; hour < 12; hour += 1) {
      for (const sealed of sessions) {
        const page = await app.send(sealed, '/guarded');
        expect([page.status, page.setCookies]).toEqual([503, []]);
      }
      clock.advance(3600);
    }
    expect(problems).toEqual([
      { problem: 'refresh_grant', option: 'provider', message: expect.stringContaining('401') },
    ]);
    expect(failures).toHaveLength(3);
    server.apiKey = apiKey;
    for (const sealed of sessions) expect((await app.send(sealed, '/guarded')).status).toBe(200);
  });

  it('that the provider answers with an empty 400 leaves every cookie alone', async () => {
    const app = await serve();
    const sessions = await sessionsOf(3);
    server.token.fail({ status: 400 });
    for (let hour = 0; hour < 5; hour += 1) {
      for (const sealed of sessions) expect((await app.send(sealed, '/guarded')).setCookies).toEqual([]);
      clock.advance(3600);
    }
    server.token.heal();
    for (const sealed of sessions) expect((await app.send(sealed, '/guarded')).status).toBe(200);
  });
});

describe('a session that the provider refuses without a known code', () => {
  it('goes on with its valid token, and is sent to sign in when that has expired', async () => {
    const app = await serve();
    const [aboutToExpire = ''] = await sessionsOf(1, {});
    clock.advance(256);
    server.token.fail({ status: 400 });
    for (let time = 0; time < 4; time += 1) {
      expect((await app.send(aboutToExpire)).json).toMatchObject({ authenticated: true, refreshed: false });
      clock.advance(6);
    }
    clock.advance(60);
    const page = await app.send(aboutToExpire);
    expect(page.json).toMatchObject({ authenticated: false, reason: 'refresh_refused', retryable: false });
    expect(page.setCookies).toEqual([]);
  });

  it('has it from session.refresh() too, and stays signed in while its token is valid', async () => {
    const app = await serveRefreshing();
    const [valid = ''] = await sessionsOf(1, {});
    server.token.fail({ status: 400 });
    const results = [];
    for (let time = 0; time < 3; time += 1) {
      results.push((await app.refresh(valid)).json);
      clock.advance(10);
    }
    expect(results).toMatchObject([
      { result: { reason: 'provider_misconfigured', retryable: true }, authenticated: true },
      { result: { reason: 'provider_misconfigured', retryable: true }, authenticated: true },
      { result: { reason: 'refresh_refused', retryable: false }, authenticated: true },
    ]);
  });
});

describe('a switch to an organization that the provider refuses', () => {
  it.each([
    // The same refusal is remembered for five seconds.
    ['invalid_grant', answers.invalidGrant, 4],
    ['an empty 400', { status: 400 }, 28],
    ['a 500', answers.serverError, 28],
  ])('with %s ends nothing, and pauses neither its session nor anybody else', async (_, fault, requests) => {
    const app = await serve();
    const sessions = await sessionsOf(4, { lifetimeSeconds: 20 });
    server.token.fail(fault);
    for (const sealed of sessions) {
      for (let time = 0; time < 7; time += 1) {
        const page = await app.send(sealed, '/switch');
        expect([page.setCookies, page.json.authenticated]).toEqual([[], true]);
      }
    }
    expect(server.refreshCount).toBe(requests);
    server.token.heal();
    // After seven failures of its own a session would be paused for a minute.
    clock.advance(26);
    for (const sealed of sessions) expect((await app.send(sealed)).json).toMatchObject({ refreshed: true });
  });
});

it('runs session.refresh() ten times a minute for each session, across its new tokens', async () => {
  const app = await serveRefreshing();
  const [one = '', other = ''] = await sessionsOf(2, {});
  let sealed = one;
  const results = [];
  for (let time = 0; time < 12; time += 1) {
    const page = await app.refresh(sealed);
    sealed = sessionCookieOf(page.setCookies) ?? sealed;
    results.push((page.json as { result: { refreshed: boolean; reason?: string } }).result);
  }
  expect(results.map(({ refreshed, reason }) => reason ?? refreshed)).toEqual([
    ...Array.from({ length: 10 }, () => true),
    'rate_limit_exceeded',
    'rate_limit_exceeded',
  ]);
  expect(server.refreshCount).toBe(10);
  expect((await app.refresh(other)).json).toMatchObject({ result: { refreshed: true } });
  clock.advance(60);
  expect((await app.refresh(sealed)).json).toMatchObject({ result: { refreshed: true } });
});

/** An app with a route that calls `session.refresh()`. */
async function serveRefreshing() {
  const app = await frameworks[0]!.listen((each) => {
    each.use(withSession(options()));
    each.use(async (req, res) => {
      const result = await getSession(req).refresh();
      const { authenticated } = getSession(req);
      res.end(JSON.stringify({ result, authenticated }));
    });
  });
  closers.push(() => app.close());
  return { refresh: (sealed: string) => createBrowser(app.url).get('/', cookieHeader(sealed)) };
}
