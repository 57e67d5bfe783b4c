import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  getSession,
  isSessionError,
  requireSession,
  type SessionEvents,
  type SessionOptions,
  type Sessions,
  withSession,
} from 'express-sealed-session';
import request, { type Response } from 'supertest';

import { frameworks, type Handler } from '../support/apps.js';
import { startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { expired, sealedSession, sessionCookieOf, workosOptions } from '../support/workos-session.js';

const origin = 'https://app.example.com';
const crossSite = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' };
const sameOrigin = { 'sec-fetch-site': 'same-origin', origin };

let server: WorkosServer;
const open: { close: () => Promise<unknown> }[] = [];
beforeAll(async () => {
  server = await startWorkosServer();
  open.push(server);
});
afterAll(() => Promise.all(open.map((each) => each.close())));

interface Sent {
  readonly status: number;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- specs reach into bodies freely
  readonly json: any;
  readonly cookies: readonly string[];
}

describe.each(frameworks)('an unsafe request on $name', (framework) => {
  const told: SessionEvents['rejected'][] = [];
  let url: string;
  let sessions: Sessions;
  /** What became of signing out in a handler of the app's own. */
  let signedOutTo: unknown;

  beforeAll(async () => {
    const events = { rejected: (event: SessionEvents['rejected']) => told.push(event) };
    const options: Partial<SessionOptions> = { baseUrl: origin, header: 'X-Session', events };
    sessions = withSession(workosOptions(server, { ...options, trustedOrigins: ['https://admin.example.com'] }));
    const paths: Record<string, Handler[]> = {
      '/': [],
      '/guarded': [requireSession()],
      '/admin': [sessions.require({ roles: 'admin' })],
      '/same-origin': [sessions.requireSameOrigin()],
    };
    const app = await framework.listen((each) => {
      each.use(sessions);
      for (const [path, guards] of Object.entries(paths)) {
        for (const guard of guards) each.use(at(path, guard));
        each.use(at(path, (req, res) => res.end(JSON.stringify(getSession(req)))));
      }
      each.use(
        at('/out', (req, res) => {
          void getSession(req)
            .signOut()
            .then((to) => {
              signedOutTo = to;
              res.end('{}');
            });
        }),
      );
      each.use(
        at('/refresh', (req, res) => {
          void getSession(req)
            .refresh()
            .then((result) => res.end(JSON.stringify(result)));
        }),
      );
      each.use(
        at('/authorize', (req, res, next) => {
          sessions.authorize(req).then(() => res.end('{}'), next);
        }),
      );
    });
    open.push(app);
    url = app.url;
  });
  beforeEach(() => {
    told.length = 0;
  });

  async function send(
    path: string,
    headers: Record<string, string>,
    method: 'post' | 'put' | 'delete' | 'get' = 'post',
  ): Promise<Sent> {
    const response: Response = await request(url)[method](path).set(headers);
    const cookies = (response.headers['set-cookie'] ?? []) as unknown as string[];
    return { status: response.status, json: JSON.parse(response.text || '{}'), cookies };
  }
  const cookie = (sealed: string) => ({ cookie: `wos-session=${sealed}` });

  it('of another site comes without the session, and is told', async () => {
    const { sealed, sessionId } = await sealedSession(server);
    const sent = await send('/', { ...cookie(sealed), ...crossSite });
    expect(sent).toEqual({
      status: 200,
      cookies: [],
      json: { authenticated: false, user: null, reason: 'cross_origin_request', retryable: false },
    });
    expect(told).toEqual([{ sessionId, reason: 'cross_origin_request', detail: 'sec_fetch_site' }]);
  });

  it('of another site comes without it however well the session is known', async () => {
    const { sealed } = await sealedSession(server);
    for (let visit = 0; visit < 3; visit += 1) {
      expect((await send('/', { ...cookie(sealed), ...sameOrigin })).json).toMatchObject({ authenticated: true });
    }
    expect((await send('/', { ...cookie(sealed), ...crossSite })).json).toMatchObject({ authenticated: false });
    expect((await send('/', { ...cookie(sealed), ...sameOrigin })).json).toMatchObject({ authenticated: true });
  });

  it.each(['/guarded', '/admin', '/authorize'])('of another site is refused with 403 at %s', async (path) => {
    const { sealed } = await sealedSession(server, { claims: { roles: ['admin'] } });
    expect((await send(path, { ...cookie(sealed), ...sameOrigin })).status).toBe(200);
    const { status, json } = await send(path, { ...cookie(sealed), ...crossSite, accept: 'text/html' });
    expect([status, json.error]).toEqual([403, 'ERR_SESSION_CROSS_ORIGIN']);
  });

  it('of another site refreshes nothing and writes nothing', async () => {
    const { sealed } = await sealedSession(server, expired);
    const before = server.refreshCount;
    expect(await send('/', { ...cookie(sealed), ...crossSite })).toMatchObject({ status: 200, cookies: [] });
    const { json, cookies } = await send('/refresh', { ...cookie(sealed), ...crossSite });
    expect([json, cookies]).toEqual([{ refreshed: false, reason: 'cross_origin_request', retryable: false }, []]);
    expect(server.refreshCount).toBe(before);
    // The refresh token is whole: the app's own page goes on with it.
    const own = await send('/', { ...cookie(sealed), ...sameOrigin });
    expect([own.json.refreshed, sessionCookieOf(own.cookies)]).toEqual([true, expect.stringMatching(/^Fe26/)]);
  });

  it("of another site signs nobody out, also in a handler of the app's own", async () => {
    const { sealed } = await sealedSession(server);
    const { status, cookies } = await send('/out', { ...cookie(sealed), ...crossSite });
    expect([status, cookies, signedOutTo]).toEqual([200, [], undefined]);
    expect((await send('/', { ...cookie(sealed), ...sameOrigin })).json).toMatchObject({ authenticated: true });
    await send('/out', { ...cookie(sealed), ...sameOrigin });
    expect(signedOutTo).toMatch(/logout/);
  });

  it.each<[string, boolean, Record<string, string>]>([
    ['of a page of the app', true, sameOrigin],
    ['of a trusted origin', true, { 'sec-fetch-site': 'same-site', origin: 'https://admin.example.com' }],
    ['of another subdomain', false, { 'sec-fetch-site': 'same-site', origin: 'https://shop.example.com' }],
    ['of a sandboxed page', false, { 'sec-fetch-site': 'cross-site', origin: 'null' }],
    ['of an older browser on another site', false, { origin: 'https://evil.example' }],
    ['of a browser that tells the page alone', false, { referer: 'https://evil.example/' }],
    ['of no browser', true, {}],
  ])('%s comes with the session: %s', async (_, comes, headers) => {
    const { sealed } = await sealedSession(server);
    for (const method of ['post', 'put', 'delete'] as const) {
      expect((await send('/', { ...cookie(sealed), ...headers }, method)).json.authenticated).toBe(comes);
    }
  });

  it('is not what a link from another site makes', async () => {
    const { sealed } = await sealedSession(server);
    expect((await send('/guarded', { ...cookie(sealed), ...crossSite }, 'get')).status).toBe(200);
  });

  it('of another site with a cookie that does not open, or none, is as one of the own', async () => {
    const broken = await send('/guarded', { ...cookie('Fe26.2*nonsense'), ...crossSite });
    expect([broken.status, told.map(({ reason }) => reason)]).toEqual([401, ['invalid_session_cookie']]);
    const none = await send('/', crossSite);
    expect([none.status, none.json.reason]).toEqual([200, 'no_session_cookie_provided']);
  });

  it("that brings its seal in a header is no page's doing, whatever its origin", async () => {
    const { sealed } = await sealedSession(server);
    const headers = { 'x-session': sealed, 'sec-fetch-site': 'cross-site', origin: 'null' };
    expect((await send('/guarded', headers)).status).toBe(200);
  });

  it('without a session is refused by requireSameOrigin()', async () => {
    expect((await send('/same-origin', {})).status).toBe(200);
    expect((await send('/same-origin', sameOrigin)).status).toBe(200);
    expect((await send('/same-origin', crossSite, 'get')).status).toBe(200);
    const { status, json } = await send('/same-origin', crossSite);
    expect([status, json.error]).toEqual([403, 'ERR_SESSION_CROSS_ORIGIN']);
  });
});

/** A handler at one path, for every method. */
function at(path: string, handler: Handler): Handler {
  return (req, res, next) => {
    if (req.url === path) handler(req, res, next);
    else next();
  };
}

it("without a baseUrl, the host that was asked is the app's", async () => {
  const app = await frameworks[0]!.listen((each) => {
    each.use(withSession(workosOptions(server)));
    each.use((req, res) => res.end(JSON.stringify(getSession(req))));
  });
  open.push(app);
  const { sealed } = await sealedSession(server);
  const comes = async (headers: Record<string, string>) => {
    const { text } = await request(app.url)
      .post('/')
      .set({ cookie: `wos-session=${sealed}`, ...headers });
    return (JSON.parse(text) as { authenticated: boolean }).authenticated;
  };
  expect(await comes({ origin: app.url })).toBe(true);
  expect(await comes({ origin: 'https://evil.example' })).toBe(false);
  expect(await comes({ origin: 'null' })).toBe(false);
});

it("a guard that is the middleware itself refuses with 403, and the error is this package's", async () => {
  let error: unknown;
  const app = await frameworks[0]!.listen((each) => {
    const guard = withSession(workosOptions(server, { baseUrl: origin, required: true }));
    each.use((req, res, next) => {
      guard(req, res, (thrown) => {
        error = thrown;
        next(thrown);
      });
    });
  });
  open.push(app);
  const { sealed } = await sealedSession(server);
  await request(app.url)
    .post('/')
    .set({ cookie: `wos-session=${sealed}`, ...crossSite })
    .expect(403);
  expect(isSessionError(error) && [error.code, error.name, error.expose]).toEqual([
    'ERR_SESSION_CROSS_ORIGIN',
    'SessionCrossOriginError',
    true,
  ]);
});

it('app.use(sessions.requireSameOrigin) without the call says what to write', () => {
  const sessions = withSession(workosOptions(server));
  const { requireSameOrigin } = sessions as unknown as { requireSameOrigin: (req: unknown) => unknown };
  expect(() => requireSameOrigin({ socket: {} })).toThrow(/app\.use\(sessions\.requireSameOrigin\(\)\)/);
});
