import { describe, expect, it } from '@jest/globals';
import { getSession, type SessionEvents, type SessionOptions, withSession } from 'express-sealed-session';

import { createProcessFleet } from '../../lib/fleet/process-fleet.js';
import { clientOf } from '../../lib/http/client.js';
import { frameworks } from '../support/apps.js';
import { createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { useWorkos } from '../support/use-workos.js';
import {
  cookieHeader,
  expired,
  sealedSession,
  sessionCookieOf,
  workosOptions,
  signInTokens,
} from '../support/workos-session.js';

const clock = useClock();
const workos = useWorkos();
const minute = 60;

const agents = {
  desktop: 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36',
  phone:
    'Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148',
  firefox: 'Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0',
};

/** An app, what it was told of replays, and a session whose browser has had the next seal for a while. */
async function afterRefresh(options: Partial<SessionOptions> = {}, secondsSince = 2 * minute) {
  const replays: SessionEvents['replayed'][] = [];
  const events = { replayed: (event: SessionEvents['replayed']) => replays.push(event) };
  const app = await workos.serve({ fleet: createProcessFleet(), events, ...options });
  const signedIn = async (agent: string) => {
    const tokens = await workos.server.issueSession();
    const headers = {
      'user-agent': agent,
      'x-tokens': JSON.stringify(signInTokens(tokens)),
    };
    const page = await createBrowser(app.url).fetch('/in', { headers });
    return { sealed: sessionCookieOf(page.setCookies)!, sessionId: tokens.sessionId };
  };
  const { sealed: old, sessionId } = await signedIn(agents.desktop);
  clock.advance(6 * minute);
  const next = sessionCookieOf((await app.send(old)).setCookies)!;
  await app.send(next);
  clock.advance(secondsSince);
  return { app, replays, old, next, sessionId };
}

describe('an old cookie that comes after graceSeconds', () => {
  it('is reported once, with the time since its successor came', async () => {
    const { app, replays, old, sessionId } = await afterRefresh();
    for (let visit = 1; visit <= 3; visit += 1) await app.send(old, '/', { headers: { 'user-agent': agents.desktop } });
    expect(replays).toEqual([{ sessionId, what: 'refresh_token', ageSeconds: 120, differs: false }]);
  });

  it.each([
    ['another engine', agents.firefox, true],
    ['a phone', agents.phone, true],
    ['the same kind of browser, newer', agents.desktop.replace('150', '151'), false],
  ])('says whether the client differs: %s', async (_, agent, differs) => {
    const { app, replays, old } = await afterRefresh();
    await app.send(old, '/', { headers: { 'user-agent': agent } });
    expect(replays).toMatchObject([{ differs }]);
  });

  it('does not know whether the client differs of a seal without these bits', async () => {
    const replays: SessionEvents['replayed'][] = [];
    const events = { replayed: (event: SessionEvents['replayed']) => replays.push(event) };
    const app = await workos.serve({ fleet: createProcessFleet(), events });
    const { sealed } = await sealedSession(workos.server, expired);
    await app.send(sessionCookieOf((await app.send(sealed)).setCookies)!);
    clock.advance(2 * minute);
    await app.send(sealed);
    expect(replays).toMatchObject([{ differs: undefined }]);
  });

  it('is reported on first sight while its access token is still good', async () => {
    const { app, replays, next } = await afterRefresh({ cache: false });
    const switched = sessionCookieOf((await app.send(next, '/switch')).setCookies)!;
    await app.send(switched);
    clock.advance(2 * minute);
    await app.send(next);
    expect(replays).toMatchObject([{ what: 'cookie' }]);
  });

  it('is not reported within graceSeconds, nor beside its successor, nor before the successor came', async () => {
    const { app, replays, old, next } = await afterRefresh({}, 30);
    await app.send(old);
    clock.advance(2 * minute);
    await createBrowser(app.url).fetch('/', { headers: { cookie: `wos-session=${old}; wos-session=${next}` } });
    expect(replays).toEqual([]);
    const { sealed } = await sealedSession(workos.server, expired);
    await app.send(sealed);
    clock.advance(10 * minute);
    await app.send(sealed);
    expect(replays).toEqual([]);
  });

  it('is not noticed longer than successors are remembered', async () => {
    const { app, replays, old } = await afterRefresh({}, 16 * minute);
    await app.send(old);
    expect(replays).toEqual([]);
  });

  it('leaves the session as it is by default, and ends all of it with refresh.replay "revoke"', async () => {
    const kept = await afterRefresh();
    await kept.app.send(kept.old);
    expect((await kept.app.send(kept.next)).json).toMatchObject({ authenticated: true });

    const ended = await afterRefresh({ refresh: { replay: 'revoke' } });
    for (const seal of [ended.old, ended.next]) {
      expect((await ended.app.send(seal)).json).toMatchObject({ authenticated: false, reason: 'session_revoked' });
    }
    await workos.server.revoke.received(1);
    expect(workos.server.sessions.isAlive(ended.sessionId)).toBe(false);
  });
});

describe('the bits of a client', () => {
  it.each([
    [{ 'user-agent': agents.desktop }, 'blink'],
    [{ 'user-agent': agents.desktop, 'sec-ch-ua-mobile': '?1' }, 'blink mobile'],
    [{ 'user-agent': agents.desktop.replace('Chrome', 'HeadlessChrome') }, 'blink'],
    [{ 'user-agent': agents.phone }, 'webkit mobile'],
    [{ 'user-agent': agents.firefox }, 'gecko'],
    [{ 'user-agent': 'curl/8.0' }, 'other'],
    [{}, 'other'],
  ])('of %j are %j', (headers, bits) => {
    expect(clientOf({ headers } as never)).toBe(bits);
  });
});

describe('data that a request has written', () => {
  async function serveData(options: Partial<SessionOptions> = {}) {
    const app = await frameworks[0]!.listen((each) => {
      each.use(withSession({ ...workosOptions(workos.server), fleet: createProcessFleet(), ...options }));
      each.get('/write', async (req, res) => {
        const session = getSession(req);
        if (session.authenticated) {
          session.data = { step: 'done' };
          await session.save();
        }
        res.end();
      });
      each.get('/', (req, res) => {
        const session = getSession(req);
        res.end(JSON.stringify(session.authenticated ? session.data : null));
      });
    });
    workos.closing(app);
    return (sealed: string, path = '/') => createBrowser(app.url).get(path, cookieHeader(sealed));
  }

  it.each<[string, SessionOptions['cache']]>([
    ['with the cache', undefined],
    ['without the cache', false],
  ])('is not rolled back by an older cookie whose token is refreshed, %s', async (_, cache) => {
    const send = await serveData({ cache });
    const { sealed: older } = await sealedSession(workos.server);
    const newer = sessionCookieOf((await send(older, '/write')).setCookies)!;
    clock.advance(6 * minute);
    // The older one leads the refresh, and both get what was written.
    for (const each of [older, newer, older]) {
      const page = await send(each);
      expect(page.json).toEqual({ step: 'done' });
      expect((await send(sessionCookieOf(page.setCookies)!)).json).toEqual({ step: 'done' });
    }
  });

  it('is not rolled back in a process that has not seen it written', async () => {
    const fleet = createProcessFleet();
    const [here, there] = [await serveData({ fleet }), await serveData({ fleet })];
    const { sealed: older } = await sealedSession(workos.server);
    clock.advance(1);
    const newer = sessionCookieOf((await here(older, '/write')).setCookies)!;
    clock.advance(6 * minute);
    for (const each of [newer, older]) expect((await there(each)).json).toEqual({ step: 'done' });
  });

  it('is not rolled back by a cookie from before the refresh', async () => {
    const send = await serveData();
    const { sealed: old } = await sealedSession(workos.server, expired);
    const next = sessionCookieOf((await send(old)).setCookies)!;
    await send(next, '/write');
    const page = await send(old);
    expect(page.json).toEqual({ step: 'done' });
    expect((await send(sessionCookieOf(page.setCookies)!)).json).toEqual({ step: 'done' });
  });
});
