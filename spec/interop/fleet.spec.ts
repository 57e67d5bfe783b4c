import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { unsealData } from 'iron-session';

import { createBrowser, type Page } from '../support/browser.js';
import { eventually } from '../support/eventually.js';
import { type AppSettings, type Fleet, type FleetApp, type RedisLibrary, startFleet } from '../support/fleet.js';
import { type RedisServer, startRedis, startRedisCluster } from '../support/redis-server.js';
import { describeWithPart } from '../support/system-parts.js';
import { startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { expired, password, sealedSession, sessionCookieOf } from '../support/workos-session.js';

const libraries: RedisLibrary[] = ['node-redis', 'ioredis'];
const leaseMs = 2_000;
const user = { id: 'user_of_the_fleet', email: 'reader@fleet.example' };

let server: WorkosServer;

beforeAll(async () => {
  // A replayed refresh token ends the session, so every test here detects one.
  server = await startWorkosServer({ mode: 'strict' });
});
afterEach(() => {
  server.token.heal();
  server.lifetimeSeconds = 300;
});
afterAll(() => server.close());

function appSettings(library: RedisLibrary, redis: readonly RedisServer[]): AppSettings {
  return {
    library,
    redisPorts: redis.map(({ port }) => port),
    provider: { clientId: server.clientId, apiKey: server.apiKey, baseUrl: server.url },
    strict: true,
    password,
    fleet: { leaseMs },
  };
}

const signedIn = (page: Page) => page.json.authenticated === true;
const unavailable = (page: Page) => page.json.authenticated === false && page.json.retryable === true;
const newCookie = (page: Page) => sessionCookieOf(page.setCookies);

/** Each visitor is signed in with a new cookie, or keeps the old one for later. */
function expectNobodySignedOut(pages: readonly Page[]): void {
  for (const page of pages) {
    if (unavailable(page)) expect(page.setCookies).toEqual([]);
    else expect([page.json.authenticated, newCookie(page)]).toEqual([true, expect.stringMatching(/^Fe26/)]);
  }
}

describeWithPart('redis', 'a fleet', () => {
  describe.each(libraries)('with %s', (library) => {
    let redis: RedisServer;
    let fleet: Fleet;
    let refreshesBefore: number;
    const refreshes = () => server.refreshCount - refreshesBefore;

    beforeAll(async () => {
      redis = await startRedis();
      fleet = await startFleet(4, appSettings(library, [redis]));
    }, 30_000);
    beforeEach(() => {
      refreshesBefore = server.refreshCount;
    });
    afterAll(async () => {
      await fleet.stop();
      await redis.stop();
    });

    it('sends one refresh for 200 requests, and stores nothing readable in Redis', async () => {
      const old = await sealedSession(server, { ...expired, user });
      const watch = await redis.watch();
      const hold = server.token.hold();
      const visits = fleet.count('visit');
      const storm = fleet.storm(old.sealed, 200);
      await fleet.until(() => fleet.count('visit') === visits + 200);
      await hold.arrived(1);
      const during = await redis.entries();
      hold.release();
      const pages = await storm;

      expect(pages.filter(signedIn)).toHaveLength(200);
      expect(refreshes()).toBe(1);
      const cookies = new Set(pages.map(newCookie));
      expect([...cookies]).toEqual([expect.stringMatching(/^Fe26/)]);
      expect(cookies).not.toContain(old.sealed);
      const sources = fleet.events('refreshed').map(({ source }) => source);
      expect(sources).toHaveLength(200);
      expect(sources.filter((source) => source === 'leader')).toHaveLength(1);

      const [successor = ''] = cookies;
      const contents = await contentsOf(successor);
      const commands = await watch.commands();
      watch.stop();
      const after = await redis.entries();
      expect(during).toEqual([expect.objectContaining({ key: expect.stringMatching(/:lease$/) })]);
      expect(after.map(({ key }) => key.split(':').at(-1)).sort()).toEqual(['done']);
      for (const { ttlMs } of [...during, ...after]) expect(ttlMs).toBeGreaterThan(0);
      // Everything that Redis has ever stored was in a command.
      const everything = commands.flat();
      expect(everything).toEqual(expect.arrayContaining(after.flatMap(({ key, value }) => [key, value])));
      const secrets = [old.sealed, old.accessToken, old.refreshToken, old.sessionId, successor, password];
      expectUnreadable(everything, [...secrets, ...Object.values(user), ...textsIn(contents)]);
    }, 20_000);

    it('refuses in every process what was signed out in one, though its token is good, and in one that starts later', async () => {
      const { sealed } = await sealedSession(server);
      for (const app of [...fleet.apps, ...fleet.apps]) expect(signedIn(await app.get('/', sealed))).toBe(true);
      await fleet.apps[0]!.get('/out', sealed);
      await eventually(async () =>
        (await fleet.storm(sealed, 8)).every((page) => page.json.reason === 'session_revoked'),
      );
      const late = await fleet.add();
      expect((await late.get('/', sealed)).json).toMatchObject({ authenticated: false, reason: 'session_revoked' });
      await late.stop();
      expect(refreshes()).toBe(0);
    }, 20_000);

    it('refreshes undisturbed with five commands, of which two round trips come before the answer', async () => {
      const [app] = fleet.apps;
      const old = await sealedSession(server, expired);
      const from = app!.reports.length;
      const next = newCookie(await app!.get('/', old.sealed))!;
      await app!.get('/', next);
      await eventually(async () => (await redis.entries()).some(({ key }) => key.endsWith(':claimed')));
      const sent = app!.reports.slice(from).flatMap((report) => (report.type === 'command' ? [report.name] : []));
      // One more may be the reading of the ledger that comes every second.
      expect(sent.filter((name) => name !== 'EVAL')).toEqual(['SET']);
      expect(sent.length).toBeLessThanOrEqual(6);
      expect(refreshes()).toBe(1);
    }, 10_000);

    it('gives the new tokens to a process that starts after the leader was killed', async () => {
      const old = await sealedSession(server, expired);
      const leader = await fleet.add();
      const first = await leader.get('/', old.sealed);
      await leader.kill();
      const late = await fleet.add();
      const page = await late.get('/', old.sealed);
      expect([page.json.authenticated, newCookie(page)]).toEqual([true, newCookie(first)]);
      expect(late.events('refreshed')).toEqual([expect.objectContaining({ source: 'fleet' })]);
      expect(refreshes()).toBe(1);
      await late.stop();
    }, 20_000);

    it('refreshes again when the successor has expired too', async () => {
      const old = await sealedSession(server, expired);
      server.lifetimeSeconds = -30;
      const first = newCookie(await fleet.apps[0]!.get('/', old.sealed));
      server.lifetimeSeconds = 300;
      const pages = [await fleet.apps[1]!.get('/', old.sealed), ...(await fleet.storm(old.sealed, 8))];
      expect(pages.map((page) => page.json.reason)).toEqual(pages.map(() => undefined));
      const cookies = new Set(pages.map(newCookie));
      expect(cookies.size).toBe(1);
      expect(cookies).not.toContain(first);
      expect(refreshes()).toBe(2);
    }, 10_000);

    it('lets another process take over within the lease when the leader is killed', async () => {
      const old = await sealedSession(server, expired);
      // Held before it is handled: the killed process must not spend the token.
      const hold = server.token.hold({ untreated: true });
      const visits = fleet.count('visit');
      const presented = new Map(fleet.apps.map((app) => [app, app.count('presented')]));
      const storm = fleet.storm(old.sealed, 40);
      await hold.arrived(1);
      await fleet.until(() => fleet.count('visit') === visits + 40);
      const leader = fleet.apps.find((app) => app.count('presented') > presented.get(app)!)!;

      await leader.kill();
      const killedAt = performance.now();
      await hold.arrived(2);
      const takenOverMs = since(killedAt);
      hold.releaseAt(1);
      const pages = await storm;

      expect(pages).toHaveLength(30);
      expect(pages.filter(signedIn)).toHaveLength(30);
      expect(new Set(pages.map(newCookie)).size).toBe(1);
      expect(refreshes()).toBe(2);
      console.info(`${library}: the lease of ${leaseMs} ms was taken over ${takenOverMs} ms after SIGKILL`);
      hold.release();
      await fleet.add();
    }, 20_000);

    it.each(['is killed', 'stops answering'])(
      'signs nobody out when Redis %s during a refresh, nor when it is back',
      async (trouble) => {
        const old = await sealedSession(server, expired);
        const hold = server.token.hold();
        const before = new Map(fleet.apps.map((app) => [app, { ...tally(app) }]));
        const storm = fleet.storm(old.sealed, 100);
        await hold.arrived(1);
        // One leads. Each of the others has been refused the lease, and asks again; a few commands are the ledger's.
        await fleet.until(() =>
          fleet.apps.every((app) => {
            const [was, is] = [before.get(app)!, tally(app)];
            return (
              is.visits === was.visits + 25 &&
              (is.presented > was.presented || is.leaseCommands > was.leaseCommands + 6)
            );
          }),
        );
        const from = performance.now();
        if (trouble === 'is killed') await redis.kill();
        else redis.pause();
        await fleet.until(() => reachable(fleet).every((isReachable) => !isReachable));
        console.info(`${library}: every process knew that Redis was away (${trouble}) after ${since(from)} ms`);
        hold.release();
        const pages = await storm;

        expect(pages).toHaveLength(100);
        expectNobodySignedOut(pages);
        expect(pages.filter(signedIn)).toHaveLength(25);
        expect(refreshes()).toBe(1);

        // When Redis is back, the leader publishes what it could not publish before.
        expectNobodySignedOut(await fleet.storm(old.sealed, 20));
        if (trouble === 'is killed') await redis.restart();
        else redis.resume();
        await eventually(async () => {
          const again = await fleet.storm(old.sealed, 4);
          expectNobodySignedOut(again);
          return again.every(signedIn);
        });
        expect(reachable(fleet)).toEqual(fleet.apps.map(() => true));
        expect(refreshes()).toBe(1);
      },
      20_000,
    );

    it('is not delayed by a Redis that never answers, and signs nobody out', async () => {
      // Without Redis each process coordinates its own requests, so each session stays with one process.
      const visit = (app: FleetApp) => sessionsAt(app, 10, 3);
      const usual = (await Promise.all(fleet.apps.map(visit))).flat();

      redis.pause();
      try {
        const paused = (await Promise.all(fleet.apps.map(visit))).flat();
        const [mostUsual, mostPaused] = [usual, paused].map((all) => Math.max(...all.map(({ ms }) => ms)));
        console.info(
          `${library}: the slowest of 120 requests took ${mostUsual} ms, and ${mostPaused} ms with Redis paused`,
        );
        for (const { page } of [...usual, ...paused]) {
          expect([page.json.authenticated, newCookie(page)]).toEqual([true, expect.stringMatching(/^Fe26/)]);
        }
        expect(reachable(fleet)).toEqual(fleet.apps.map(() => false));
        expect(refreshes()).toBe(2 * 40);

        // While Redis is away, a process sends it one command a second.
        const from = performance.now();
        const asked = fleet.apps.map((app) => app.count('command'));
        while (since(from) < 2_000) await Promise.all(fleet.apps.map((app) => sessionsAt(app, 2, 1)));
        // What a process says of itself comes a moment later: the first and the last second may be counted too.
        const most = Math.ceil(since(from) / 1_000) + 2;
        for (const [index, app] of fleet.apps.entries()) {
          expect(app.count('command') - asked[index]!).toBeLessThanOrEqual(most);
        }
      } finally {
        redis.resume();
      }
      await eventually(async () => {
        await Promise.all(fleet.apps.map((app) => sessionsAt(app, 1, 1)));
        return reachable(fleet).every((isReachable) => isReachable);
      });
      await eventually(async () => (await redis.entries()).every(({ key }) => !key.endsWith(':lease')));
      const old = await sealedSession(server, expired);
      const before = refreshes();
      expect((await fleet.storm(old.sealed, 40)).filter(signedIn)).toHaveLength(40);
      expect(refreshes()).toBe(before + 1);
    }, 30_000);

    describe('when a session is signed out in one process while another refreshes it', () => {
      /** An app that waits only 200 ms for another process. */
      let hasty: FleetApp;
      beforeAll(async () => {
        hasty = await fleet.add({ refresh: { waitMs: 200 } });
      }, 20_000);
      afterAll(() => hasty.stop());

      const paths = { 'by a visit': '/', 'by the app': '/refresh', 'by a slow visit': '/slow' };

      /** A session that one process is refreshing. The provider's answer is held back. */
      async function refreshing(how: keyof typeof paths) {
        const [leader] = fleet.apps;
        const old = await sealedSession(server, how === 'by the app' ? {} : expired);
        const hold = server.token.hold({ untreated: true });
        const visit = leader!.get(paths[how], old.sealed);
        await hold.arrived(1);
        return { leader: leader!, old, hold, visit };
      }

      /** Every process refuses to refresh these cookies. */
      async function expectSignedOut(...cookies: string[]): Promise<void> {
        for (const sealed of cookies) {
          for (const app of fleet.apps) {
            const page = await app.get('/refresh', sealed);
            expect([page.json.session.authenticated, newCookie(page) ?? '']).toEqual([false, '']);
          }
        }
        expect(refreshes()).toBe(1);
      }

      it.each(['by a visit', 'by the app'] as const)(
        'stays signed out after a refresh %s',
        async (how) => {
          const { old, hold, visit } = await refreshing(how);
          const out = await hasty.get('/out', old.sealed);
          expect([out.status, newCookie(out)]).toEqual([200, '']);
          hold.release();
          const page = await visit;
          expect([(page.json.session ?? page.json).authenticated, newCookie(page)]).toEqual([false, undefined]);
          await expectSignedOut(old.sealed);
        },
        10_000,
      );

      it('stays signed out when a slow handler holds the new cookie', async () => {
        const { leader, old, hold, visit } = await refreshing('by a slow visit');
        hold.release();
        await fleet.until(() => leader.count('handling') > 0);
        const out = await hasty.get('/out', old.sealed);
        expect([out.status, newCookie(out)]).toEqual([200, '']);
        // Each process reads the ledger by itself. The first reading may have been under way already.
        const read = leader.count('command');
        await fleet.until(() => leader.count('command') >= read + 2);
        // Redis answers in turn: once it has answered this, it has answered that too.
        await leader.get('/health', '');
        leader.tell('respond');
        expect(newCookie(await visit)).toBeUndefined();
        await expectSignedOut(old.sealed);
      }, 10_000);

      it('stays signed out when the new tokens arrived before the sign-out', async () => {
        const { old, hold, visit } = await refreshing('by a visit');
        hold.release();
        const successor = newCookie(await visit);
        // From a tab that still has the old cookie.
        const out = await hasty.get('/out', old.sealed);
        expect([out.status, newCookie(out)]).toEqual([200, '']);
        await expectSignedOut(old.sealed, successor!);
      }, 10_000);

      it.each([
        ['the new tokens', true],
        ['the end of the old session', false],
      ])(
        'leaves a new sign-in alone when the late answer is %s',
        async (_, alive) => {
          const { old, hold, visit } = await refreshing('by a visit');
          const tokens = await server.issueSession();
          const { accessToken, refreshToken } = tokens;
          const page = await createBrowser(hasty.url).fetch('/in', {
            method: 'POST',
            headers: { 'content-type': 'application/json', cookie: `wos-session=${old.sealed}` },
            body: JSON.stringify({ accessToken, refreshToken, user: tokens.response.user }),
          });
          expect(page.json).toMatchObject({ authenticated: true, sessionId: tokens.sessionId });
          if (!alive) server.sessions.revoke(old.sessionId);
          hold.release();
          expect((await visit).setCookies).toEqual([]);
          for (const app of fleet.apps) {
            expect((await app.get('/', newCookie(page)!)).json).toMatchObject({ sessionId: tokens.sessionId });
          }
        },
        10_000,
      );
    });
  });
});

describeWithPart('redis', 'a fleet on Redis Cluster', () => {
  let masters: RedisServer[];
  beforeAll(async () => {
    masters = await startRedisCluster();
  }, 20_000);
  afterAll(() => Promise.all(masters.map((master) => master.stop())));

  it.each(libraries)(
    'coordinates with %s, one slot for each command',
    async (library) => {
      const fleet = await startFleet(3, appSettings(library, masters));
      const watches = await Promise.all(masters.map((master) => master.watch()));
      const before = server.refreshCount;
      const sessions = await Promise.all(Array.from({ length: 24 }, () => sealedSession(server, expired)));
      const storms = await Promise.all(sessions.map(({ sealed }) => fleet.storm(sealed, 3)));
      expect(storms.flat().filter(signedIn)).toHaveLength(72);
      expect(server.refreshCount - before).toBe(24);

      const [one, other] = fleet.apps;
      const { sealed } = sessions[0]!;
      expect((await one!.get('/out', sealed)).status).toBe(200);
      expect((await other!.get('/refresh', sealed)).json.session).toMatchObject({ authenticated: false });
      expect(server.refreshCount - before).toBe(24);
      expect(fleet.events('fleetChanged')).toEqual([]);

      const commands = await Promise.all(watches.map((watch) => watch.commands()));
      for (const watch of watches) watch.stop();
      await fleet.stop();
      for (const ofMaster of commands) expect(ofMaster.length).toBeGreaterThan(0);
      const kinds = commands.flat().map(([name = '', ...args]) => {
        const keys = name === 'EVAL' ? args.slice(2, 2 + Number(args[1])) : args.slice(0, 1);
        // Keys with one text in braces are in one slot.
        const slots = new Set(keys.map((key) => /\{[^}]+\}/.exec(key)?.[0]));
        expect(slots.size).toBe(1);
        return slots.has('{ledger}') ? 'ledger' : keys[0]!.split(':').at(-1);
      });
      expect(new Set(kinds)).toEqual(new Set(['lease', 'done', 'ledger']));
    },
    20_000,
  );
});

/** Sends some requests at once for each of several expired sessions, and measures them. */
async function sessionsAt(app: FleetApp, sessions: number, requests: number): Promise<{ page: Page; ms: number }[]> {
  const all = Array.from({ length: sessions }, async () => {
    const { sealed } = await sealedSession(server, expired);
    return Promise.all(
      Array.from({ length: requests }, async () => {
        const from = performance.now();
        return { page: await app.get('/', sealed), ms: since(from) };
      }),
    );
  });
  return (await Promise.all(all)).flat();
}

/** Whether Redis is reachable, as each process reported it last. */
function reachable(fleet: Fleet): boolean[] {
  return fleet.apps.map((app) => app.events('fleetChanged').at(-1)?.reachable ?? true);
}

function tally(app: FleetApp) {
  const leaseCommands = app.reports.filter((report) => report.type === 'command' && report.name === 'EVAL').length;
  return { visits: app.count('visit'), presented: app.count('presented'), leaseCommands };
}

const since = (from: number) => Math.round(performance.now() - from);

async function contentsOf(sealed: string): Promise<Record<string, unknown>> {
  return unsealData(sealed, { password });
}

function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsIn) : [];
}

/** Expects no secret and no part of a token in any text, in clear or in base64. */
function expectUnreadable(texts: readonly string[], secrets: readonly string[]): void {
  const pieces = secrets.flatMap((secret) => [secret, ...secret.split(/[.@*]/)]).filter((piece) => piece.length > 8);
  expect(pieces.length).toBeGreaterThan(10);
  const forms = texts.flatMap((text) => [text, Buffer.from(text, 'base64').toString('latin1')]);
  expect(pieces.filter((piece) => forms.some((form) => form.includes(piece)))).toEqual([]);
}
