import { readFileSync } from 'node:fs';
import path from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createSessionManager, oidc, type SessionOptions } from 'express-sealed-session';

import type { Page } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { createEndpoint, type Endpoint, type Fault } from '../support/endpoint.js';
import { listen } from '../support/http-server.js';
import { serveSessions } from '../support/session-app.js';
import { startWorkosServer } from '../support/workos-server.js';
import { expired, password, sealedSession, sessionCookieOf, workosOptions } from '../support/workos-session.js';

const clock = useClock();
let closers: (() => Promise<unknown>)[] = [];
beforeEach(() => {
  closers = [];
});
afterEach(() => Promise.all(closers.map((close) => close())));

interface Row {
  readonly provider: string;
  readonly answer: string;
  readonly fault: Fault;
  readonly session: string;
  readonly next: string;
  readonly reason: string;
}

const page = readFileSync(path.resolve(import.meta.dirname, '../../docs/reference/failures.md'), 'utf8');
const rows = page.split(/^## /m).flatMap((section) => {
  const providers: Record<string, string[]> = {
    'Each provider': ['WorkOS', 'OpenID'],
    WorkOS: ['WorkOS'],
    'OpenID Connect': ['OpenID'],
  };
  const title = section.split('\n', 1)[0] ?? '';
  return (providers[title] ?? []).flatMap((provider) =>
    section
      .split('\n')
      .filter((line) => /^\| (\d+|none) /.test(line))
      .map((line): Row => {
        const cells = line.split('|').slice(1, -1);
        const [status = '', body = '', session = '', next = '', reason = ''] = cells.map((cell) => cell.trim());
        const field = title === 'WorkOS' ? 'code' : 'error';
        const answer = { answer: `${status} ${body}`, fault: faultOf(status, body, field) };
        return { provider, ...answer, session, next, reason: reason.replaceAll('`', '') };
      }),
  );
});

function faultOf(status: string, body: string, field: string): Fault {
  if (body === 'the connection breaks') return 'reset';
  if (body === 'nothing comes') return 'hang';
  const headers = status === '302' ? { headers: { location: '/elsewhere' } } : {};
  const [, code] = /^`(\w+)`$/.exec(body) ?? [];
  if (code !== undefined) return { status: Number(status), ...headers, body: { [field]: code } };
  const bodies: Record<string, unknown> = {
    empty: '',
    'a page': '<html></html>',
    'half an answer': { scope: 'openid' },
  };
  if (!(body in bodies)) throw new Error(`The table has an answer that this spec does not know: ${body}`);
  return { status: Number(status), ...headers, body: bodies[body] };
}

/** A provider, and sessions of its users whose access token has expired. */
interface Side {
  readonly token: Endpoint;
  readonly options: SessionOptions;
  readonly cookieName: string;
  readonly session: (userId: string) => Promise<string>;
}

async function workosSide(): Promise<Side> {
  const server = await startWorkosServer();
  closers.push(() => server.close());
  const options = workosOptions(server);
  return {
    token: server.token,
    // Each failure is one request: the repetitions within a refresh have specs of their own.
    options: { ...options, provider: { ...options.provider, refreshTokens: 'single-use' } },
    cookieName: 'wos-session',
    session: async (id) => (await sealedSession(server, { ...expired, user: { id } })).sealed,
  };
}

async function openidSide(): Promise<Side> {
  let count = 0;
  const token = createEndpoint(() => {
    count += 1;
    return { status: 200, body: { access_token: `at_${count}`, refresh_token: `rt_${count}`, expires_in: 100_000 } };
  });
  const { url, close } = await listen((req, res) => {
    const endpoint =
      req.method === 'POST'
        ? token
        : createEndpoint(() => ({ status: 200, body: { issuer: url, token_endpoint: `${url}/token` } }));
    endpoint.handle(req, res).catch(() => res.destroy());
  });
  closers.push(() => close());
  const provider = oidc({ issuer: url, clientId: 'client_01', clientSecret: 'cs_a2b3c4', accessToken: 'opaque' });
  const options = { provider, password };
  return {
    token,
    options,
    cookieName: '__Host-session',
    session: (id) =>
      createSessionManager(options).seal({
        accessToken: `expired_${id}`,
        refreshToken: `first_${id}`,
        user: { id },
        expiresIn: 1,
      }),
  };
}

const sides: Record<string, () => Promise<Side>> = { WorkOS: workosSide, OpenID: openidSide };

const cases = rows.map((row) => [row.answer, row.provider, row] as const);

describe('the table of docs/reference/failures.md', () => {
  it('has at least thirty rows, each about another answer', () => {
    const answers = rows.map(({ provider, answer }) => `${provider} ${answer}`);
    expect(new Set(answers).size).toBe(rows.length);
    expect(new Set(rows.map(({ answer }) => answer)).size).toBeGreaterThanOrEqual(30);
  });

  it.each(cases)('says what becomes of a session after %s of %s', async (_, name, { fault, session, reason }) => {
    const { token, app, send, failures, problems, visitors } = await start(name, fault);
    const [bad = '', other = ''] = visitors;

    token.fail(fault);
    const first = await send(bad);
    token.heal();
    // Whatever one session has met, the others are asked.
    expect((await send(other)).status).toBe(200);
    token.fail(fault);
    const pages: Page[] = [];
    for (let time = 0; time < 3; time += 1) {
      clock.advance(61);
      pages.push(await send(bad));
    }
    token.heal();
    clock.advance(61);
    const last = await send(bad);

    const cookies = [first, ...pages].map(({ setCookies }) => sessionCookieOf(setCookies, app.cookieName));
    const statuses = [first, ...pages].map(({ status }) => status);
    if (session === 'ended')
      expect([statuses, cookies]).toEqual([
        [401, 401, 401, 401],
        ['', '', '', ''],
      ]);
    else {
      const later = session === 'refused' ? 401 : 503;
      expect([statuses, cookies.filter(Boolean)]).toEqual([[503, later, later, later], []]);
      // The cookie was left alone: with it, the session is in again.
      expect(last.status).toBe(200);
    }
    expect(failures[0]).toMatchObject({ reason, retryable: session !== 'ended' });
    expect(failures).toHaveLength(session === 'ended' ? 4 : session === 'refused' ? 2 : 1);
    expect(problems.map(({ problem }) => problem)).toEqual(session === 'kept, told' ? ['refresh_grant'] : []);
  });

  it.each(cases)('says what the next user finds after three with %s of %s', async (_, name, { fault, next: finds }) => {
    const { token, send, visitors } = await start(name, fault);
    const [another = '', last = '', ...failing] = visitors;
    token.fail(fault);
    for (const each of failing) await send(each);
    token.heal();
    const before = token.requests.length;
    const next = await send(another);
    expect([next.status, token.requests.length - before]).toEqual(finds === 'asked' ? [200, 1] : [503, 0]);
    // However it began, it ends.
    clock.advance(61);
    expect((await send(last)).status).toBe(200);
  });
});

/** An app on one of the two providers. */
async function start(name: string, fault: Fault) {
  const side = await sides[name]!();
  const failures: { reason: string; retryable: boolean }[] = [];
  const problems: { problem: string }[] = [];
  const served = await serveSessions({
    ...side.options,
    // Where the provider answers, a slow machine must not be taken for one that does not.
    refresh: { timeoutMs: fault === 'hang' ? 600 : 8_000, waitMs: 10_000 },
    events: { refreshFailed: (event) => failures.push(event), misconfigured: (event) => problems.push(event) },
  });
  closers.push(() => served.close());
  const visitors = await Promise.all([1, 2, 3, 4, 5].map((id) => side.session(`user_${id}`)));
  // What was sealed for a second has expired, also for a clock that is a little behind.
  clock.advance(10);
  return {
    token: side.token,
    app: { cookieName: side.cookieName },
    failures,
    problems,
    visitors,
    send: (sealed: string) =>
      served
        .browser()
        .get('/guarded', { headers: { cookie: `${side.cookieName}=${sealed}`, accept: 'application/json' } }),
  };
}
