import { createHash } from 'node:crypto';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { isSessionError, type SessionOptions, SessionSignInError, withSession } from 'express-sealed-session';

import { frameworks } from '../support/apps.js';
import { createNavigator, type Navigator } from '../support/navigator.js';
import { startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { sealedSession, workosOptions } from '../support/workos-session.js';

const origin = 'https://app.example.com';
const open: { close: () => Promise<unknown> }[] = [];
afterAll(() => Promise.all(open.map((each) => each.close())));

let server: WorkosServer;
beforeAll(async () => {
  server = await startWorkosServer();
  open.push(server);
});
beforeEach(() => {
  server.visitor = { error: 'access_denied', error_description: 'text of the provider' };
});

async function serve(errorPage?: NonNullable<SessionOptions['signIn']>['errorPage'], framework = frameworks[0]!) {
  const sessions = withSession(
    workosOptions(server, { baseUrl: `${origin}/app`, routes: { base: '/' }, signIn: { errorPage } }),
  );
  const handler = sessions.errorHandler();
  const app = await framework.listen((each) => {
    each.use(sessions);
    each.use(sessions.routes());
    each.get('/guarded', sessions.require(undefined, { redirect: false }), (_req, res) => res.end());
    each.get('/broken', () => {
      throw new Error('of the app');
    });
    // The frameworks of the specs have an error handler of their own, so ours is asked by hand where that is simplest.
    each.get('/bad-path', (req, res, next) => {
      handler(new SessionSignInError('check_failed', { returnTo: '/a"><b>', signInPath: '/in' }), req, res, next);
    });
    each.use(((error: unknown, req: never, res: never, next: never) => {
      handler(error, req, res, next);
    }) as never);
  });
  open.push(app);
  return createNavigator({ [origin]: app.url });
}

/** From the page that was asked for to where a sign-in that was declined ends. */
async function declined(browser: Navigator) {
  const login = await browser.open('/login?returnTo=/app/page%3Fa=1%26b=2');
  return browser.open((await browser.open(login.location!)).location!.replace('/app/', '/'));
}

describe.each(frameworks.slice(0, 3))('the error page on $name', (framework) => {
  it('is a whole page in English, which begins the same sign-in again', async () => {
    const page = await declined(await serve(undefined, framework));
    expect(page.status).toBe(400);
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
    expect(page.text).toMatch(/^<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport"/);
    expect(page.text).toContain('<main><h1>You are not signed in</h1><p>The provider did not sign you in.</p>');
    expect(page.text).toContain('<a href="/app/login?returnTo=%2Fapp%2Fpage%3Fa%3D1%26b%3D2">Try again</a>');
    expect(page.text).not.toContain('text of the provider');
    expect(page.text).not.toContain('at ');
  });
});

describe('the error page', () => {
  it('takes its words from the option, and no markup from anywhere', async () => {
    const words = { lang: 'de', title: 'Nicht <angemeldet>', text: 'Das "ging" nicht.', retry: 'Noch & einmal' };
    const page = await declined(await serve(words));
    expect(page.text).toContain('<html lang="de">');
    expect(page.text).toContain('<title>Nicht &lt;angemeldet&gt;</title>');
    expect(page.text).toContain('<p>Das &quot;ging&quot; nicht.</p>');
    expect(page.text).toContain('>Noch &amp; einmal</a>');
    const browser = await serve(words);
    expect((await browser.open('/bad-path')).text).not.toContain('<b>');
  });

  it('may be shown under its own policy, and in no frame', async () => {
    const page = await declined(await serve());
    const style = /<style>([^<]+)<\/style>/.exec(page.text)![1]!;
    const hash = createHash('sha256').update(style).digest('base64');
    expect(page.headers['content-security-policy']).toBe(
      `default-src 'none'; style-src 'sha256-${hash}'; frame-ancestors 'none'`,
    );
    expect(page.headers).toMatchObject({ 'cache-control': 'private, no-store', 'referrer-policy': 'no-referrer' });
  });

  it('is problem details for a client', async () => {
    const browser = await serve();
    const page = await browser.open('/guarded', { headers: { accept: 'application/json', 'sec-fetch-mode': 'cors' } });
    expect([page.status, page.headers['content-type'], page.json]).toEqual([
      401,
      'application/problem+json',
      { type: 'about:blank', status: 401, title: 'Sign in to continue.', code: 'ERR_SESSION_REQUIRED' },
    ]);
  });

  it('says in the words of the app what is missing, to people and to clients, without a stack', async () => {
    const demands = { roles: 'This is for <managers>.', constructor: 'Nobody lacks this.' };
    const sessions = withSession(workosOptions(server, { baseUrl: origin, signIn: { errorPage: { demands } } }));
    const { sealed } = await sealedSession(server);
    const app = await frameworks[0]!.listen((each) => {
      each.use(sessions);
      each.get('/roles', sessions.require({ roles: 'manager' }));
      each.get('/other', sessions.require({ permissions: 'a' }));
      each.use(sessions.errorHandler() as never);
    });
    open.push(app);
    const browser = createNavigator({ [origin]: app.url });
    const cookie = `wos-session=${sealed}`;
    const page = await browser.open('/roles', { cookie });
    expect([page.status, page.text.includes('<p>This is for &lt;managers&gt;.</p>')]).toEqual([403, true]);
    const script = { accept: '*/*', 'sec-fetch-mode': 'cors' };
    const problem = { type: 'about:blank', status: 403, title: 'You are signed in, but may not do this.' };
    expect((await browser.open('/roles', { cookie, headers: script })).json).toEqual({
      ...problem,
      detail: demands.roles,
      code: 'ERR_SESSION_FORBIDDEN',
      demand: 'roles',
    });
    const other = await browser.open('/other', { cookie, headers: script });
    expect(other.json).toEqual({ ...problem, code: 'ERR_SESSION_FORBIDDEN', demand: 'permissions' });
    for (const { text } of [page, other]) expect(text).not.toMatch(/\n\s+at |\.ts:\d+|\.js:\d+/);
  });

  it('is a page for a person whom a guard refuses, without a link', async () => {
    const page = await (await serve()).open('/guarded');
    expect([page.status, page.text.includes('<h1>You are not signed in</h1>'), page.text.includes('<a ')]).toEqual([
      401,
      true,
      false,
    ]);
  });

  it('says when to come back, and nothing of the set-up, where the provider is away', async () => {
    server.visitor = { error: 'temporarily_unavailable' };
    const page = await declined(await serve());
    expect([page.status, page.headers['retry-after']]).toEqual([503, '5']);
    expect(page.text).toContain('This cannot be done right now. Try again shortly.');
    expect(page.text).toContain('/app/login?returnTo=');
  });

  it('is not shown with false, nor for an error of the app', async () => {
    const browser = await serve(false);
    expect((await declined(browser)).json).toMatchObject({ error: 'ERR_SESSION_SIGN_IN_FAILED' });
    expect((await (await serve()).open('/broken')).json).toMatchObject({ message: 'of the app' });
  });

  it.each([true, 'text', { colour: 'red' }, { title: '' }])('refuses the words %j', (errorPage) => {
    expect(() => withSession(workosOptions(server, { signIn: { errorPage: errorPage as never } }))).toThrow(
      expect.objectContaining({ code: 'ERR_SESSION_CONFIG' }),
    );
  });

  describe.each(frameworks.slice(0, 3))('of the app itself, on $name', (framework) => {
    async function serveWith(page: never) {
      const sessions = withSession(workosOptions(server, { baseUrl: origin, signIn: { errorPage: false } }));
      const handler = sessions.errorHandler({ page });
      const app = await framework.listen((each) => {
        each.use(sessions);
        each.get('/guarded', sessions.require(undefined, { redirect: false }), (_req, res) => res.end());
        each.use(((error: unknown, req: never, res: never, next: never) => {
          handler(error, req, res, next);
        }) as never);
      });
      open.push(app);
      return createNavigator({ [origin]: app.url });
    }

    it('is shown to people, with what it is told of the error and the request', async () => {
      const page = ({ code, status }: { code: string; status: number }, req: { url: string }) =>
        `<h1>${code} ${status} ${req.url}</h1>`;
      const shown = await (await serveWith(page as never)).open('/guarded');
      expect([shown.status, shown.text]).toEqual([401, '<h1>ERR_SESSION_REQUIRED 401 /guarded</h1>']);
      expect(shown.headers).toMatchObject({
        'content-type': 'text/html; charset=utf-8',
        'cache-control': expect.stringContaining('no-store'),
        'x-content-type-options': 'nosniff',
      });
      expect(shown.headers).not.toHaveProperty('content-security-policy');
    });

    it('gives its own error to the next error handler', async () => {
      const page = () => {
        throw new Error('of the page');
      };
      const shown = await (await serveWith(page as never)).open('/guarded');
      expect([shown.status, shown.json]).toMatchObject([500, { message: 'of the page' }]);
    });
  });

  it.each<[unknown, string]>([
    [{ page: 'text' }, 'errorHandler.page'],
    [{ pages: () => '' }, 'errorHandler.pages'],
    [null, 'errorHandler'],
  ])('refuses the options %j', (options, path) => {
    const sessions = withSession(workosOptions(server));
    expect(() => sessions.errorHandler(options as never)).toThrow(
      expect.objectContaining({ problems: [expect.objectContaining({ path })] }),
    );
  });

  it('says so when the app mounts it without the call', async () => {
    const sessions = withSession(workosOptions(server));
    const app = await frameworks[0]!.listen((each) => {
      each.use(Reflect.get(sessions, 'errorHandler') as never);
    });
    open.push(app);
    const shown = await createNavigator({ [origin]: app.url }).open('/');
    expect([shown.status, shown.json]).toMatchObject([500, { error: 'ERR_SESSION_CONFIG' }]);
  });

  it('has what an app needs for a page of its own', async () => {
    const sessions = withSession(workosOptions(server, { baseUrl: origin }));
    const errors: unknown[] = [];
    const app = await frameworks[0]!.listen((each) => {
      each.use(sessions);
      const routes = sessions.routes();
      each.use((req, res, next) => {
        routes(req, res, (error) => {
          if (error !== undefined) errors.push(error);
          next(error);
        });
      });
    });
    open.push(app);
    const browser = createNavigator({ [origin]: app.url });
    const login = await browser.open('/login?returnTo=/page');
    await browser.open((await browser.open(login.location!)).location!);
    expect(errors.every(isSessionError)).toBe(true);
    expect(errors).toEqual([
      expect.objectContaining({
        code: 'ERR_SESSION_SIGN_IN_FAILED',
        failure: 'provider_error',
        providerError: 'access_denied',
        returnTo: '/page',
        signInPath: '/login',
        status: 400,
      }),
    ]);
  });
});
