import { describe, expect, it } from '@jest/globals';
import {
  createSessionManager,
  getSession,
  type SessionEvents,
  type SessionOptions,
  type Sessions,
  withSession,
} from 'express-sealed-session';

import { createProcessFleet } from '../../lib/fleet/process-fleet.js';
import { frameworks } from '../support/apps.js';
import { createBrowser, type Page } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { serveOp } from '../support/op-app.js';
import { useWorkos } from '../support/use-workos.js';
import { cookieHeader, expired, sealedSession, sessionCookieOf, workosOptions } from '../support/workos-session.js';

const clock = useClock();
const workos = useWorkos();

const over = [false, 'session_revoked'];
const stateOf = ({ json }: Page) => [json.authenticated, json.reason];
const isIn = async (page: Promise<Page>) => (await page).json.authenticated as boolean;

/** An app whose sessions a test can reach, and what it was told. */
async function serve(options: Partial<SessionOptions> = {}) {
  const ended: SessionEvents['ended'][] = [];
  const given = workosOptions(workos.server, {
    fleet: createProcessFleet(),
    ...options,
    events: { ended: (event) => ended.push(event) },
  });
  const sessions: Sessions = withSession(given);
  const app = await frameworks[0]!.listen((each) => {
    each.use(sessions);
    each.get('/everywhere', async (req, res) => {
      await getSession(req).signOut({ everywhere: true });
      res.end();
    });
    each.get('/out', async (req, res) => {
      await getSession(req).signOut();
      res.end();
    });
    each.get('/', (req, res) => res.end(JSON.stringify(getSession(req))));
  });
  workos.closing(app);
  const send = (sealed: string, path = '/') => createBrowser(app.url).get(path, cookieHeader(sealed));
  return { sessions, options: given, send, ended };
}

const ofUser = (id: string) => ({ user: { id } });

describe('sessions.revoke()', () => {
  it('ends one session by its id, at the next request, and nobody else', async () => {
    const { sessions, send, ended } = await serve();
    const [one, other] = [await sealedSession(workos.server), await sealedSession(workos.server)];
    // From the third time on, one number says that nothing has ended since.
    for (let visit = 0; visit < 3; visit += 1) expect(await isIn(send(one.sealed))).toBe(true);
    await sessions.revoke({ sessionId: one.sessionId });
    expect(stateOf(await send(one.sealed))).toEqual(over);
    expect(await isIn(send(other.sealed))).toBe(true);
    expect(ended).toEqual([{ sessionId: one.sessionId, cause: 'revoked' }]);
  });

  it('revokes the session at WorkOS, with no seal at hand', async () => {
    const { sessions } = await serve();
    const { sessionId } = await sealedSession(workos.server);
    await sessions.revoke({ sessionId });
    await workos.server.revoke.received(1);
    expect(workos.server.sessions.isAlive(sessionId)).toBe(false);
  });

  it("ends a user's sessions that began before, and none that begins later", async () => {
    const { sessions, send, ended } = await serve();
    const ada = await sealedSession(workos.server, ofUser('ada'));
    const bob = await sealedSession(workos.server, ofUser('bob'));
    await sessions.revoke({ userId: 'ada' });
    clock.advance(0.001);
    const later = await sealedSession(workos.server, ofUser('ada'));
    expect(stateOf(await send(ada.sealed))).toEqual(over);
    expect([await isIn(send(bob.sealed)), await isIn(send(later.sealed))]).toEqual([true, true]);
    expect(ended).toEqual([{ userId: 'ada', cause: 'revoked' }]);
  });

  it('ends what began before a moment, to the millisecond', async () => {
    const { sessions, send } = await serve();
    const sealed = [];
    const times = [];
    for (let each = 0; each < 3; each += 1) {
      sealed.push((await sealedSession(workos.server)).sealed);
      times.push(Date.now());
      clock.advance(1);
    }
    await sessions.revoke({ everyone: true, before: new Date(times[1]!) });
    const states = await Promise.all(sealed.map((each) => isIn(send(each))));
    expect(states).toEqual([false, false, true]);
  });

  it('ends everyone, of this provider and client alone', async () => {
    const fleet = createProcessFleet();
    const { sessions, send, ended } = await serve({ fleet });
    const otherClient = workosOptions(workos.server).provider;
    const elsewhere = createSessionManager({
      ...workosOptions(workos.server),
      fleet,
      provider: { ...otherClient, id: 'another client' },
    });
    const { sealed } = await sealedSession(workos.server);
    await sessions.revoke({ everyone: true });
    expect(stateOf(await send(sealed))).toEqual(over);
    expect(ended).toEqual([{ everyone: true, cause: 'revoked' }]);
    const { accessToken, refreshToken } = await workos.server.issueSession();
    const own = await elsewhere.seal({ accessToken, refreshToken, user: { id: 'user_01' } });
    expect(await elsewhere.load(own).authenticate()).toMatchObject({ authenticated: true });
  });

  it('is remembered for a year, under another password as well', async () => {
    const fleet = createProcessFleet();
    const { sessions } = await serve({ fleet });
    const { sealed } = await sealedSession(workos.server, { lifetimeSeconds: 500 * 24 * 60 * 60 });
    await sessions.revoke({ userId: 'user_01' });
    const { password } = workosOptions(workos.server);
    const rotated = createSessionManager({
      ...workosOptions(workos.server),
      fleet,
      password: ['a newer password, which is long enough', password as string],
    });
    clock.advance(364 * 24 * 60 * 60);
    expect(await rotated.load(sealed).authenticate()).toMatchObject({ reason: 'session_revoked' });
  });

  it('is on the session manager too, which refuses at its doors', async () => {
    const manager = createSessionManager({ ...workosOptions(workos.server), fleet: createProcessFleet() });
    const { sealed, sessionId } = await sealedSession(workos.server, expired);
    await manager.revoke({ sessionId });
    const loaded = manager.load(sealed);
    for (const answer of [await loaded.authenticate(), await loaded.refresh()]) {
      expect(answer).toEqual({ authenticated: false, reason: 'session_revoked', retryable: false });
    }
    expect(workos.server.refreshCount).toBe(0);
  });

  it.each<[string, unknown]>([
    ['an empty id', { sessionId: '' }],
    ['an empty user', { userId: '' }],
    ['an undefined id, as of a misspelt field', { sessionId: undefined }],
    ['nobody', {}],
    ['nothing', undefined],
    ['a string', 'user_01'],
    ['two', { sessionId: 'a', userId: 'b' }],
    ['everyone: false', { everyone: false }],
    ['a name that is none', { userId: 'a', since: new Date(0) }],
    ['a moment for one session', { sessionId: 'a', before: new Date(0) }],
    ['a moment that is still to come', { userId: 'user_01', before: new Date(Date.now() + 3_600_000) }],
    ['no moment', { userId: 'user_01', before: new Date(NaN) }],
    ['a number', { userId: 'user_01', before: 1 }],
  ])('refuses %s, and ends nobody', async (_, which) => {
    const { sessions, send, ended } = await serve();
    const { sealed } = await sealedSession(workos.server);
    await expect(sessions.revoke(which as never)).rejects.toThrow(TypeError);
    expect([await isIn(send(sealed)), ended]).toEqual([true, []]);
  });
});

describe('session.signOut({ everywhere: true })', () => {
  it('ends every session of the user, and of nobody else', async () => {
    const { send, ended } = await serve();
    const [here, there] = [await sealedSession(workos.server), await sealedSession(workos.server)];
    const bob = await sealedSession(workos.server, ofUser('bob'));
    const page = await send(here.sealed, '/everywhere');
    expect(sessionCookieOf(page.setCookies)).toBe('');
    for (const { sealed } of [here, there]) expect(stateOf(await send(sealed))).toEqual(over);
    expect(await isIn(send(bob.sealed))).toBe(true);
    expect(ended).toEqual([{ userId: 'user_01', cause: 'signed_out_everywhere' }]);
  });
});

describe("one user's sign-outs in a loop", () => {
  it('become one entry beyond a hundred in an hour, and push nobody else out', async () => {
    const { send } = await serve();
    const [ada, bob] = [
      await sealedSession(workos.server, ofUser('ada')),
      await sealedSession(workos.server, ofUser('bob')),
    ];
    const signOutOf = async (id: string) => send((await sealedSession(workos.server, ofUser(id))).sealed, '/out');
    for (let each = 0; each < 100; each += 20) await Promise.all(Array.from({ length: 20 }, () => signOutOf('ada')));
    expect([await isIn(send(ada.sealed)), await isIn(send(bob.sealed))]).toEqual([true, true]);
    await signOutOf('ada');
    expect([await isIn(send(ada.sealed)), await isIn(send(bob.sealed))]).toEqual([false, true]);
    clock.advance(60 * 60 + 1);
    const next = await sealedSession(workos.server, ofUser('ada'));
    await signOutOf('ada');
    expect(await isIn(send(next.sealed))).toBe(true);
  }, 15_000);
});

describe('sessions.forceRefresh()', () => {
  it('refreshes a session once before it is served again', async () => {
    const { sessions, send, ended } = await serve();
    const { sealed, sessionId } = await sealedSession(workos.server);
    for (let visit = 0; visit < 2; visit += 1) await send(sealed);
    clock.advance(1);
    await sessions.forceRefresh({ sessionId });
    const page = await send(sealed);
    expect(page.json).toMatchObject({ authenticated: true, refreshed: true });
    const next = sessionCookieOf(page.setCookies)!;
    for (let visit = 0; visit < 2; visit += 1) {
      expect((await send(next)).json).toMatchObject({ authenticated: true, refreshed: false });
    }
    expect([workos.server.refreshCount, ended]).toEqual([1, []]);
  });

  it("refreshes all of a user's, and nobody else's", async () => {
    const { sessions, send } = await serve();
    const ada = [await sealedSession(workos.server), await sealedSession(workos.server)];
    const bob = await sealedSession(workos.server, ofUser('bob'));
    clock.advance(1);
    await sessions.forceRefresh({ userId: 'user_01' });
    const refreshed = [];
    for (const { sealed } of [...ada, bob]) refreshed.push((await send(sealed)).json.refreshed);
    expect(refreshed).toEqual([true, true, false]);
  });

  it.each<[string, Partial<SessionOptions>, number]>([
    ['', {}, 200],
    [', not even with staleSeconds', { whenUnavailable: { staleSeconds: 3_600 } }, 200],
    [', and refuses with whenUnavailable: refuse', { whenUnavailable: 'refuse' }, 503],
  ])('serves nothing old while the provider cannot be asked%s', async (_, options, status) => {
    const { sessions, send } = await serve(options);
    for (const lifetime of [{}, { lifetimeSeconds: 60 }]) {
      const { sealed, sessionId } = await sealedSession(workos.server, lifetime);
      expect(await isIn(send(sealed))).toBe(true);
      clock.advance(90);
      await sessions.forceRefresh({ sessionId });
      workos.server.token.fail({ status: 500, body: {} });
      const page = await send(sealed);
      expect([page.status, page.setCookies]).toEqual([status, []]);
      if (status === 200) expect(page.json).toMatchObject({ authenticated: false, retryable: true });
      workos.server.token.heal();
      clock.advance(90);
      expect((await send(sealed)).json).toMatchObject({ authenticated: true, refreshed: true });
    }
  });

  it('refreshes again what was asked for before, though its answer came afterwards', async () => {
    const { sessions, send } = await serve();
    const { sealed, sessionId } = await sealedSession(workos.server, expired);
    const hold = workos.server.token.hold();
    const visit = send(sealed);
    await hold.arrived(1);
    clock.advance(1);
    await sessions.forceRefresh({ sessionId });
    hold.release();
    expect((await visit).json).toMatchObject({ authenticated: true, refreshed: true });
    expect(workos.server.refreshCount).toBe(2);
  });

  it('ends a session that has nothing to refresh with', async () => {
    const { sessions, send } = await serve();
    const { sealed, sessionId } = await sealedSession(workos.server, {}, { refreshToken: undefined });
    expect(await isIn(send(sealed))).toBe(true);
    clock.advance(1);
    await sessions.forceRefresh({ sessionId });
    expect(stateOf(await send(sealed))).toEqual(over);
  });

  it('ends nothing by itself: the worker is told to refresh, and does', async () => {
    const manager = createSessionManager({ ...workosOptions(workos.server), fleet: createProcessFleet() });
    const { sealed, sessionId } = await sealedSession(workos.server);
    clock.advance(1);
    await manager.forceRefresh({ sessionId });
    const loaded = manager.load(sealed);
    expect(await loaded.authenticate()).toMatchObject({ authenticated: false, reason: 'expired_jwt' });
    expect(await loaded.refresh()).toMatchObject({ authenticated: true });
    expect(await loaded.authenticate()).toMatchObject({ authenticated: true });
  });

  it.each<[string, unknown]>([
    ['an empty id', { sessionId: '' }],
    ['both', { sessionId: 'a', userId: 'b' }],
    ['everyone', { everyone: true }],
    ['a moment', { userId: 'a', before: new Date(0) }],
  ])('refuses %s', async (_, which) => {
    const { sessions } = await serve();
    await expect(sessions.forceRefresh(which as never)).rejects.toThrow(TypeError);
  });

  it.each([
    ['an ID token that comes with a refresh', {}, { refreshed: true, roles: ['member'] }],
    ['an ID token that no refresh brings', false, { authenticated: false, reason: 'session_revoked' }],
  ])('goes by the claims of %s', async (_, idTokenAtRefresh, expected) => {
    const claims = { name: 'A', email: 'b', groups: ['admin'] };
    const wire = { idToken: claims, idTokenAtRefresh: idTokenAtRefresh && { ...claims, groups: ['member'] } };
    const { signIn, browser, sessions } = await serveOp({ wire }, () => ({ mapClaims: { roles: 'groups' } }));
    const { json } = await signIn();
    expect(json).toMatchObject({ authenticated: true, roles: ['admin'] });
    clock.advance(1);
    await sessions.forceRefresh({ sessionId: json.sessionId as string });
    expect((await browser.get('/')).json).toMatchObject(expected);
  });
});

describe('the event `ended`', () => {
  it('says once that a lifetime has passed', async () => {
    const { send, ended } = await serve({ lifetime: { absoluteSeconds: 60 } });
    const { sealed, sessionId } = await sealedSession(workos.server);
    clock.advance(61);
    for (let visit = 0; visit < 2; visit += 1) await send(sealed);
    expect(ended).toEqual([{ sessionId, cause: 'lifetime' }]);
  });

  it('says once that the provider has ended a session', async () => {
    const { send, ended } = await serve();
    const { sealed, sessionId } = await sealedSession(workos.server, expired);
    workos.server.sessions.revoke(sessionId);
    for (let visit = 0; visit < 2; visit += 1) await send(sealed);
    expect(ended).toEqual([{ sessionId, cause: 'provider' }]);
  });
});
