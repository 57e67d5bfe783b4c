import { readFileSync } from 'node:fs';
import path from 'node:path';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type GuardOptions, type Rules, type SessionOptions, withSession } from 'express-sealed-session';
import request from 'supertest';

import { frameworks } from '../support/apps.js';
import { answers, type SessionOverrides, startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { expired, sealedSession, workosOptions } from '../support/workos-session.js';

/*
 * The table of `docs/guide/guards.md`, cell by cell: what each visitor gets for each kind of request.
 */

const origin = 'https://app.example.com';
const open: { close: () => Promise<unknown> }[] = [];
let server: WorkosServer;
beforeAll(async () => {
  server = await startWorkosServer();
  open.push(server);
});
beforeEach(() => {
  server.token.heal();
});
afterAll(() => Promise.all(open.map((each) => each.close())));

const navigation = {
  'sec-fetch-mode': 'navigate',
  'sec-fetch-dest': 'document',
  'sec-fetch-site': 'same-origin',
  accept: 'text/html,application/xhtml+xml,*/*;q=0.8',
};

/** The kinds of requests, by the names of the columns: the headers that come with them. */
const kinds: Record<string, Record<string, string>> = {
  page: navigation,
  fetch: { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty', 'sec-fetch-site': 'same-origin', accept: '*/*' },
  'API client': { accept: 'application/json' },
  prefetch: { ...navigation, 'sec-purpose': 'prefetch' },
  WebSocket: {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'sec-fetch-mode': 'websocket',
    'sec-fetch-dest': 'websocket',
    'sec-fetch-site': 'same-origin',
  },
};

interface Visitor {
  /** Default: nobody. */
  readonly session?: SessionOverrides;
  /** Changes what is sealed. */
  readonly seal?: Record<string, unknown>;
  readonly rule?: Rules;
  readonly guard?: GuardOptions;
  readonly options?: Partial<SessionOptions>;
  /** Whether the provider does not answer. */
  readonly isAway?: boolean;
  /** Whether an access token comes in place of the cookie: a good one, or one that cannot be. */
  readonly bearer?: 'good' | 'wrong';
  /** Headers of its own, over those of the kind of request. */
  readonly headers?: Record<string, string>;
  /** Default: GET. */
  readonly method?: 'post';
}

const ago = (seconds: number) => Math.trunc(Date.now() / 1000) - seconds;
const impersonator = { email: 'support@example.com', reason: null };

/** The visitors, by the names of the rows. One more is a row here and one in the table. */
const visitors: Record<string, Visitor> = {
  nobody: {},
  'expired, no refresh': { session: expired, seal: { refreshToken: undefined } },
  'cannot be checked': { session: expired, isAway: true },
  'stale, `stale: false`': {
    session: expired,
    isAway: true,
    rule: { stale: false },
    options: { whenUnavailable: { staleSeconds: 300 } },
  },
  'within the rule': { session: { claims: { permissions: ['a'] } }, rule: { permissions: 'a' } },
  'lacks a permission': { session: {}, rule: { permissions: 'a' } },
  impersonated: { session: { impersonator }, seal: { impersonator }, rule: { impersonated: false } },
  'other organization': { session: { organizationId: 'org_02' }, rule: { organizationId: 'org_01' } },
  '… and it switches': {
    session: { organizationId: 'org_02' },
    rule: { organizationId: 'org_01' },
    guard: { switchOrganization: true },
  },
  'too old a sign-in': { session: { claims: { auth_time: ago(1_000) } }, rule: { maxAuthAgeSeconds: 300 } },
  'good bearer token': { session: {}, bearer: 'good', options: { bearer: true }, rule: { via: 'bearer' } },
  'wrong bearer token': { session: {}, bearer: 'wrong', options: { bearer: true } },
  'link from another site': {
    session: {},
    headers: { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' },
  },
  'POST from another site': {
    session: {},
    method: 'post',
    headers: { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' },
  },
};

/** The table, row by row: the answers by the kind of request. */
function readTable(): Map<string, Record<string, string>> {
  const page = readFileSync(path.resolve(import.meta.dirname, '../../docs/guide/guards.md'), 'utf8');
  const [, table = ''] = /\n(\| The visitor +\| page[\s\S]*?)\n\n/.exec(page) ?? [];
  const [head = [], , ...rows] = table.split('\n').map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
  return new Map(
    rows.map(([name = '', ...cells]) => [
      name,
      Object.fromEntries(cells.map((cell, index) => [head[index + 1], cell])),
    ]),
  );
}

const table = readTable();

describe('the table of docs/guide/guards.md', () => {
  it('has a row for each visitor and a column for each kind of request', () => {
    expect([...table.keys()]).toEqual(Object.keys(visitors));
    for (const row of table.values()) expect(Object.keys(row)).toEqual(Object.keys(kinds));
  });
});

describe.each(frameworks.slice(0, 2))('a guard on $name answers', (framework) => {
  const cells = Object.keys(visitors).flatMap((visitor) =>
    Object.keys(kinds).map((kind) => [visitor, kind, table.get(visitor)?.[kind] ?? 'no cell'] as const),
  );

  const served = new Map<string, Promise<{ url: string; credentials: Record<string, string> }>>();

  /** An app with the visitor's rule, and the visitor's cookie. */
  async function serve({ session, seal, rule = {}, guard, options, bearer }: Visitor) {
    const sessions = withSession(workosOptions(server, { baseUrl: origin, ...options }));
    const app = await framework.listen((each) => {
      each.use(sessions);
      each.use(sessions.routes());
      each.use(sessions.require(rule, guard));
      each.use((_req, res) => {
        res.end();
      });
    });
    open.push(app);
    return { url: app.url, credentials: session ? await credentialsOf(session, seal, bearer) : {} };
  }

  async function credentialsOf(
    session: SessionOverrides,
    seal: Visitor['seal'],
    bearer: Visitor['bearer'],
  ): Promise<Record<string, string>> {
    const { sealed, accessToken } = await sealedSession(server, session, seal);
    if (bearer === undefined) return { cookie: `wos-session=${sealed}` };
    return { authorization: `Bearer ${bearer === 'good' ? accessToken : `${accessToken}x`}` };
  }

  it.each(cells)('%s, %s: %s', async (name, kind, expected) => {
    const visitor = visitors[name]!;
    if (!served.has(name)) served.set(name, serve(visitor));
    const { url, credentials } = await served.get(name)!;
    if (visitor.isAway) server.token.fail(answers.unavailable);
    const headers = { ...kinds[kind], ...visitor.headers, ...credentials };
    const page = await request(url)[visitor.method ?? 'get']('/there').redirects(0).set(headers);
    const to = page.headers.location;
    const way = to?.startsWith('/login?asked=') ? 'asks' : to === '/login?returnTo=%2Fthere' ? 'signs in' : to;
    expect([page.status, way].filter(Boolean).join(' ')).toBe(expected);
    if (page.status === 503) expect(page.headers['retry-after']).toMatch(/^\d+$/);
  });
});
