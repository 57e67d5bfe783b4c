import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  type GuardOptions,
  SessionConfigError,
  type SessionOptions,
  type Sessions,
  withSession,
  workos,
} from 'express-sealed-session';

import { type Framework, frameworks } from '../support/apps.js';
import { createNavigator, type Navigator } from '../support/navigator.js';
import { answers, startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { workosOptions } from '../support/workos-session.js';

const origin = 'https://app.example.com';
const open: { close: () => Promise<unknown> }[] = [];
let server: WorkosServer;

beforeAll(async () => {
  server = await startWorkosServer();
  open.push(server);
});
beforeEach(() => {
  server.visitor = { organizationId: 'org_01' };
});
afterEach(() => {
  server.token.heal();
});
afterAll(() => Promise.all(open.map((each) => each.close())));

const own = { 'sec-fetch-site': 'same-origin' };
const foreign = { 'sec-fetch-site': 'cross-site' };
const script = { ...own, 'sec-fetch-mode': 'cors', accept: '*/*' };

/** An app whose paths below `/orgs/<id>` are for those who are signed in to that organization. */
async function serve(
  framework: Framework,
  guardOptions: GuardOptions = { switchOrganization: true },
  options: Partial<SessionOptions> = {},
): Promise<Navigator> {
  const sessions: Sessions = withSession(
    workosOptions(server, { baseUrl: origin, routes: { organization: true }, ...options }),
  );
  const organizationId = (req: { originalUrl?: string; url?: string | undefined }) =>
    /^\/orgs\/(\w+)/.exec(req.originalUrl ?? req.url ?? '')?.[1];
  const guard = sessions.require({ organizationId: organizationId as never }, guardOptions);
  const app = await framework.listen((each) => {
    each.use(sessions);
    each.use(sessions.routes());
    each.get('/', (req, res) => res.end(JSON.stringify(sessions.get(req))));
    each.get('/switch', async (req, res) => {
      const result = await sessions.get(req).refresh({ organizationId: 'org_02' });
      res.end(JSON.stringify({ ...result, at: sessions.get(req) }));
    });
    each.use((req, res, next) => {
      if (!req.url?.startsWith('/orgs/')) {
        next();
        return;
      }
      guard(req, res, (error) => {
        if (error === undefined) res.end(JSON.stringify(sessions.get(req)));
        else next(error);
      });
    });
    each.use(sessions.errorHandler() as never);
  });
  open.push(app);
  const browser = createNavigator({ [origin]: app.url });
  await browser.follow('/login');
  return browser;
}

const at = async (browser: Navigator) => (await browser.open('/')).json.organizationId as unknown;
const post = (browser: Navigator, query: string, headers: Record<string, string> = own) =>
  browser.open(`/organization?${query}`, { method: 'POST', headers });

describe.each(frameworks.slice(0, 2))('switching the organization on $name', (framework) => {
  describe('by a guard', () => {
    it('switches a page that the visitor has asked for, once, and stays there', async () => {
      const browser = await serve(framework);
      for (const headers of [own, { 'sec-fetch-site': 'none' }]) {
        const before = server.refreshCount;
        const id = headers === own ? 'org_02' : 'org_03';
        const page = await browser.open(`/orgs/${id}/members`, { headers });
        expect([page.status, page.json.organizationId, server.refreshCount - before]).toEqual([200, id, 1]);
        expect((await browser.open(`/orgs/${id}/members`, { headers })).status).toBe(200);
        expect([await at(browser), server.refreshCount - before]).toEqual([id, 1]);
      }
    });

    it.each<[string, { method?: string; headers: Record<string, string> }]>([
      ['that another site has begun', { headers: foreign }],
      ['that a sibling subdomain has begun', { headers: { 'sec-fetch-site': 'same-site' } }],
      ['of a browser that does not say who began it', { headers: {} }],
      ['of a script', { headers: script }],
      ['of a form', { method: 'POST', headers: own }],
      ['ahead of a visit', { headers: { ...own, 'sec-purpose': 'prefetch' } }],
    ])('does not switch for a request %s', async (_, init) => {
      const browser = await serve(framework);
      const before = server.refreshCount;
      const page = await browser.open('/orgs/org_02/members', init);
      expect([page.status, page.setCookies, server.refreshCount - before]).toEqual([403, [], 0]);
      expect(await at(browser)).toBe('org_01');
    });

    it('does not switch unless it was told to', async () => {
      const browser = await serve(framework, {});
      expect((await browser.open('/orgs/org_02', { headers: own })).status).toBe(403);
      expect(await at(browser)).toBe('org_01');
    });

    it('offers a visit that another site has begun to switch by a click', async () => {
      const browser = await serve(framework);
      const page = await browser.open('/orgs/org_02/members?tab=1', { headers: foreign });
      expect(page.text).toContain('<form method="post" action="/organization">');
      expect(page.text).toContain('<input type="hidden" name="organization_id" value="org_02">');
      expect(page.text).toContain('<input type="hidden" name="returnTo" value="/orgs/org_02/members?tab=1">');
      // With none, the browser would not say where the form comes from.
      expect(page.headers['referrer-policy']).toBe('same-origin');
      const none = await serve(framework, { switchOrganization: true }, { routes: {} });
      expect((await none.open('/orgs/org_02', { headers: foreign })).text).not.toContain('<form');
    });

    it('ends nothing where the organization refuses, and asks ten times a minute at most', async () => {
      const browser = await serve(framework);
      server.token.fail(answers.invalidGrant);
      for (let times = 0; times < 10; times += 1) {
        const page = await browser.open(`/orgs/org_1${times}`, { headers: own });
        expect([page.status, page.setCookies]).toEqual([403, []]);
      }
      const page = await browser.open('/orgs/org_02', { headers: own });
      expect([page.status, page.headers['retry-after']]).toEqual([503, expect.stringMatching(/^\d+$/)]);
      expect(await at(browser)).toBe('org_01');
    });

    it('answers 503 where the provider is away, and ends nothing', async () => {
      const browser = await serve(framework);
      server.token.fail(answers.serverError);
      expect((await browser.open('/orgs/org_02', { headers: own })).status).toBe(503);
      expect(await at(browser)).toBe('org_01');
    });

    it('answers 403 where the new token is of another organization all the same', async () => {
      const browser = await serve(framework);
      const { json } = await browser.open('/');
      server.sessions.update(json.sessionId as string, { claims: { org_id: 'org_01' } });
      const before = server.refreshCount;
      const page = await browser.open('/orgs/org_02', { headers: own });
      expect([page.status, server.refreshCount - before]).toEqual([403, 1]);
    });

    it('lets two tabs be in two organizations, without a circle', async () => {
      const browser = await serve(framework);
      for (const id of ['org_02', 'org_03', 'org_02', 'org_03']) {
        const page = await browser.follow(`/orgs/${id}`, { headers: own });
        expect([page.status, page.json.organizationId, page.hops.length]).toEqual([200, id, 1]);
      }
      const pages = await Promise.all(['org_02', 'org_01'].map((id) => browser.open(`/orgs/${id}`, { headers: own })));
      expect(pages.map((page) => [page.status, page.json.organizationId])).toEqual([
        [200, 'org_02'],
        [200, 'org_01'],
      ]);
    });
  });

  describe('where the provider asks for something first', () => {
    it.each([
      ['single sign-on', answers.ssoRequired],
      ['a second factor', answers.mfaEnrollment],
    ])('sends the browser to sign in to that organization: %s', async (_, answer) => {
      const browser = await serve(framework);
      server.token.fail(answer);
      const page = await browser.open('/orgs/org_02/members', { headers: own });
      expect([page.status, new URL(page.location!).pathname]).toEqual([302, '/login']);
      expect(page.setCookies).toEqual([]);
      server.token.heal();
      const there = await browser.open(page.location!);
      expect(new URL(there.location!).searchParams.get('organization_id')).toBe('org_02');
      const back = await browser.follow((await browser.open(there.location!)).location!);
      expect([back.status, back.url, back.json.organizationId]).toEqual([
        200,
        `${origin}/orgs/org_02/members`,
        'org_02',
      ]);
    });

    it.each<[string, boolean, string[]]>([
      ['https://auth.acme.authkit.app/sso?x=1', true, []],
      ['https://login.example.com/sso', true, ['login.example.com']],
      ['https://login.example.com/sso', false, []],
      ['https://evil.example/sso', false, ['login.example.com']],
      ['https://evilauthkit.app/sso', false, []],
      ['https://authkit.app.evil.example/', false, []],
      ['https://user@acme.authkit.app/', false, []],
      ['http://acme.authkit.app/sso', false, []],
      ['javascript:alert(1)', false, []],
      ['/sso', false, []],
    ])('sends the browser to %s: %j', async (url, isFollowed, authkitHosts) => {
      const { clientId, apiKey, url: baseUrl } = server;
      const browser = await serve(
        framework,
        { switchOrganization: true },
        {
          provider: workos({ clientId, apiKey, baseUrl, authkitHosts }),
        },
      );
      server.token.fail({ status: 403, body: { ...answers.ssoRequired.body, authkit_redirect_url: url } });
      const page = await browser.open('/orgs/org_02', { headers: own });
      if (isFollowed) expect(page.location).toBe(url);
      else expect(page.location).toMatch(/^https:\/\/app\.example\.com\/login\?asked=/);
      const { json } = await browser.open('/switch');
      expect(json).toMatchObject({ refreshed: false, reason: 'sso_required', at: { organizationId: 'org_01' } });
      expect(json.signInUrl).toEqual(isFollowed ? url : expect.stringMatching(/^\/login\?asked=/));
    });
  });

  describe('by a POST', () => {
    it('switches, and leads a form on', async () => {
      const browser = await serve(framework);
      const page = await post(browser, 'organization_id=org_02&returnTo=/orgs/org_02?a=1');
      expect([page.status, page.location]).toEqual([303, `${origin}/orgs/org_02?a=1`]);
      expect(await at(browser)).toBe('org_02');
      // Already there: no token is spent.
      const before = server.refreshCount;
      expect((await post(browser, 'organization_id=org_02')).location).toBe(`${origin}/`);
      expect(server.refreshCount).toBe(before);
    });

    it('tells a script that it has switched', async () => {
      const browser = await serve(framework);
      const answer = await post(browser, 'organization_id=org_02', script);
      expect([answer.status, answer.text, await at(browser)]).toEqual([204, '', 'org_02']);
    });

    it('leads to no other site', async () => {
      const browser = await serve(framework);
      for (const to of ['//evil.example', 'https://evil.example/', '/\\evil.example']) {
        const page = await post(browser, `organization_id=org_02&returnTo=${encodeURIComponent(to)}`);
        expect(page.location).toBe(`${origin}/`);
      }
    });

    it.each([foreign, { 'sec-fetch-site': 'same-site' }, { origin: 'https://evil.example' }])(
      'is refused from another site: %j',
      async (headers) => {
        const browser = await serve(framework);
        const page = await post(browser, 'organization_id=org_02', headers);
        expect([page.status, page.setCookies, await at(browser)]).toEqual([403, [], 'org_01']);
        const nobody = { method: 'POST', headers: headers as Record<string, string>, cookie: undefined };
        expect((await browser.open('/organization?organization_id=org_02', nobody)).status).toBe(403);
      },
    );

    it.each(['', 'organization_id=', `organization_id=${'o'.repeat(257)}`])(
      'says what is missing: %s',
      async (query) => {
        const browser = await serve(framework);
        const page = await post(browser, query, script);
        expect([page.status, page.json.code]).toEqual([400, 'ERR_SESSION_ORGANIZATION_MISSING']);
      },
    );

    it('ends nothing where the organization refuses', async () => {
      const browser = await serve(framework);
      server.token.fail(answers.invalidGrant);
      const page = await post(browser, 'organization_id=org_02', script);
      expect([page.status, page.json.demand, await at(browser)]).toEqual([403, 'organizationId', 'org_01']);
    });

    it('sends a form where the provider asks for something first, and tells a script where', async () => {
      const browser = await serve(framework);
      server.token.fail(answers.ssoRequired);
      const page = await post(browser, 'organization_id=org_02&returnTo=/orgs/org_02');
      expect([page.status, new URL(page.location!).pathname]).toEqual([303, '/login']);
      const told = await post(browser, 'organization_id=org_02', script);
      expect([told.status, told.json.signInUrl]).toEqual([403, expect.stringMatching(/^\/login\?asked=/)]);
      server.token.heal();
      const back = await browser.follow((await browser.open((await browser.open(page.location!)).location!)).location!);
      expect([back.url, back.json.organizationId]).toEqual([`${origin}/orgs/org_02`, 'org_02']);
    });

    it('sends a form of nobody to sign in to that organization', async () => {
      const browser = await serve(framework);
      const page = await browser.open('/organization?organization_id=org_02&returnTo=/orgs/org_02', {
        method: 'POST',
        headers: own,
        cookie: undefined,
      });
      expect([page.status, new URL(page.location!).pathname]).toEqual([303, '/login']);
      const there = await browser.open(page.location!);
      expect(new URL(there.location!).searchParams.get('organization_id')).toBe('org_02');
      const answer = await browser.open('/organization?organization_id=org_02', {
        method: 'POST',
        headers: script,
        cookie: undefined,
      });
      expect(answer.status).toBe(401);
    });
  });
});

describe('guard options that cannot be', () => {
  it('are refused at the start where a rule has no organization to switch to', () => {
    const sessions = withSession(workosOptions(server));
    for (const rule of [{}, { roles: 'admin' }, { any: [{ roles: 'admin' }] }]) {
      expect(() => sessions.require(rule, { switchOrganization: true })).toThrow(SessionConfigError);
    }
    expect(() =>
      sessions.require({ any: [{ roles: 'a' }, { organizationId: 'b' }] }, { switchOrganization: true }),
    ).not.toThrow();
  });
});
