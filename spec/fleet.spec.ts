import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { type Coordinator, createSessionManager, type Outcome, type Ticket } from 'express-sealed-session';
import { type RedisClient, redisCoordinator, type RedisCoordinatorOptions } from 'express-sealed-session/redis';
import { Redis } from 'ioredis';
import { unsealData } from 'iron-session';
import { createClient } from 'redis';

import { createBrowser, type Page } from './support/browser.js';
import { useClock } from './support/clock.js';
import { type AppSettings, type Fleet, type FleetApp, type RedisLibrary, startFleet } from './support/fleet.js';
import { type RedisServer, startRedis, startRedisCluster } from './support/redis-server.js';
import { describeWithPart } from './support/system-parts.js';
import { startWorkosServer, type WorkosServer } from './support/workos-server.js';
import { expired, password, sealedSession, sessionCookieOf, workosOptions } from './support/workos-session.js';

const libraries: RedisLibrary[] = ['node-redis', 'ioredis'];
const leaseMs = 2_000;
const user = { id: 'user_of_the_fleet', email: 'reader@fleet.example' };

let server: WorkosServer;

beforeAll(async () => {
  // A spent refresh token that is presented again ends the session, and every test here would see it.
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
    coordinator: { leaseMs },
  };
}

const signedIn = (page: Page) => page.json.authenticated === true;
const deferred = (page: Page) => page.json.authenticated === false && page.json.retryable === true;
const newCookie = (page: Page) => sessionCookieOf(page.setCookies);

/** Nobody was signed out: each is signed in with a new cookie, or may come again with the old one. */
function expectNobodySignedOut(pages: readonly Page[]): void {
  for (const page of pages) {
    if (deferred(page)) expect(page.setCookies).toEqual([]);
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

    it('renews a session once for 200 requests at once, and leaves nothing in Redis that can be read', async () => {
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
      expect(after).toEqual([expect.objectContaining({ key: expect.stringMatching(/:done$/) })]);
      for (const { ttlMs } of [...during, ...after]) expect(ttlMs).toBeGreaterThan(0);
      // All that ever was in Redis had to be sent there.
      const everything = commands.flat();
      expect(everything).toEqual(expect.arrayContaining([after[0]!.key, after[0]!.value]));
      const secrets = [old.sealed, old.accessToken, old.refreshToken, old.sessionId, successor, password];
      expectUnreadable(everything, [...secrets, ...Object.values(user), ...textsIn(contents)]);
    }, 20_000);

    it('gives the successor to a process that starts later, also when the one that has it is gone', async () => {
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

    it('follows successors that have expired in turn', async () => {
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
      // Held untreated, so that the call of the process that dies spends nothing.
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
      'signs nobody out when Redis %s in the middle of it, nor when it is back',
      async (trouble) => {
        const old = await sealedSession(server, expired);
        const hold = server.token.hold();
        const before = new Map(fleet.apps.map((app) => [app, { ...tally(app) }]));
        const storm = fleet.storm(old.sealed, 100);
        await hold.arrived(1);
        // One leads; each of the others has asked for the lease, has not got it, and asks again.
        await fleet.until(() =>
          fleet.apps.every((app) => {
            const [was, is] = [before.get(app)!, tally(app)];
            return (
              is.visits === was.visits + 25 &&
              (is.presented > was.presented || is.leaseCommands > was.leaseCommands + 1)
            );
          }),
        );
        const from = performance.now();
        if (trouble === 'is killed') await redis.kill();
        else redis.pause();
        await fleet.until(() => scopes(fleet).every((scope) => scope === 'process'));
        console.info(`${library}: every process knew that Redis was away (${trouble}) after ${since(from)} ms`);
        hold.release();
        const pages = await storm;

        expect(pages).toHaveLength(100);
        expectNobodySignedOut(pages);
        expect(pages.filter(signedIn)).toHaveLength(25);
        expect(refreshes()).toBe(1);

        // Nor afterwards: what the leader could not tell the others, it tells them when Redis is back.
        expectNobodySignedOut(await fleet.storm(old.sealed, 20));
        if (trouble === 'is killed') await redis.restart();
        else redis.resume();
        await eventually(async () => {
          const again = await fleet.storm(old.sealed, 4);
          expectNobodySignedOut(again);
          return again.every(signedIn);
        });
        expect(scopes(fleet)).toEqual(fleet.apps.map(() => 'fleet'));
        expect(refreshes()).toBe(1);
      },
      20_000,
    );

    it('is not delayed by a Redis that accepts and never answers, and signs nobody out', async () => {
      // One process's protection is what there is then: each session is with one process.
      const visit = (app: FleetApp) => sessionsAt(app, 10, 3);
      const usual = (await Promise.all(fleet.apps.map(visit))).flat();

      redis.pause();
      const paused = (await Promise.all(fleet.apps.map(visit))).flat();
      const [mostUsual, mostPaused] = [usual, paused].map((all) => Math.max(...all.map(({ ms }) => ms)));
      console.info(
        `${library}: the slowest of 120 requests took ${mostUsual} ms, and ${mostPaused} ms with Redis paused`,
      );
      for (const { page } of [...usual, ...paused]) {
        expect([page.json.authenticated, newCookie(page)]).toEqual([true, expect.stringMatching(/^Fe26/)]);
      }
      expect(scopes(fleet)).toEqual(fleet.apps.map(() => 'process'));
      expect(refreshes()).toBe(2 * 40);

      // For as long as Redis is away, a process asks it once a second, whatever comes in.
      const from = performance.now();
      const asked = fleet.apps.map((app) => app.count('command'));
      while (since(from) < 2_000) await Promise.all(fleet.apps.map((app) => sessionsAt(app, 2, 1)));
      const most = Math.ceil(since(from) / 1_000) + 1;
      for (const [index, app] of fleet.apps.entries()) {
        expect(app.count('command') - asked[index]!).toBeLessThanOrEqual(most);
      }

      redis.resume();
      await eventually(async () => {
        await Promise.all(fleet.apps.map((app) => sessionsAt(app, 1, 1)));
        return scopes(fleet).every((scope) => scope === 'fleet');
      });
      await eventually(async () => (await redis.entries()).every(({ key }) => !key.endsWith(':lease')));
      const old = await sealedSession(server, expired);
      const before = refreshes();
      expect((await fleet.storm(old.sealed, 40)).filter(signedIn)).toHaveLength(40);
      expect(refreshes()).toBe(before + 1);
    }, 30_000);

    describe('when a session is signed out in one process while another renews it', () => {
      /** Does not wait long for what another process does. */
      let hasty: FleetApp;
      beforeAll(async () => {
        hasty = await fleet.add({ refresh: { waitMs: 200 } });
      }, 20_000);
      afterAll(() => hasty.stop());

      const paths = { 'by a visit': '/', 'by the app': '/renew', 'by a slow visit': '/slow' };

      /** A session whose renewal one process has begun, and whose answer is held back. */
      async function renewing(how: keyof typeof paths) {
        const [leader] = fleet.apps;
        const old = await sealedSession(server, how === 'by the app' ? {} : expired);
        const hold = server.token.hold({ untreated: true });
        const visit = leader!.get(paths[how], old.sealed);
        await hold.arrived(1);
        return { leader: leader!, old, hold, visit };
      }

      /** No process gives it new tokens any more. */
      async function expectSignedOut(...cookies: string[]): Promise<void> {
        for (const sealed of cookies) {
          for (const app of fleet.apps) {
            const page = await app.get('/renew', sealed);
            expect([page.json.session.authenticated, newCookie(page) ?? '']).toEqual([false, '']);
          }
        }
        expect(refreshes()).toBe(1);
      }

      it.each(['by a visit', 'by the app'] as const)(
        'stays signed out when it is renewed %s',
        async (how) => {
          const { old, hold, visit } = await renewing(how);
          const out = await hasty.get('/out', old.sealed);
          expect([out.status, newCookie(out)]).toEqual([200, '']);
          hold.release();
          const page = await visit;
          expect([(page.json.session ?? page.json).authenticated, newCookie(page)]).toEqual([false, undefined]);
          await expectSignedOut(old.sealed);
        },
        10_000,
      );

      it('stays signed out when the new tokens are waiting for a slow handler', async () => {
        const { leader, old, hold, visit } = await renewing('by a slow visit');
        hold.release();
        await fleet.until(() => leader.count('handling') > 0);
        const out = await hasty.get('/out', old.sealed);
        expect([out.status, newCookie(out)]).toEqual([200, '']);
        // Asked after the sign-out; the answer to the question before may have been too early.
        const asked = leader.count('command');
        await fleet.until(() => leader.count('command') >= asked + 8);
        leader.tell('respond');
        expect(newCookie(await visit)).toBeUndefined();
        await expectSignedOut(old.sealed);
      }, 10_000);

      it('stays signed out when the new tokens were there first', async () => {
        const { old, hold, visit } = await renewing('by a visit');
        hold.release();
        const successor = newCookie(await visit);
        // A tab that has not heard of them.
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
          const { old, hold, visit } = await renewing('by a visit');
          const tokens = await server.issueSession();
          const page = await createBrowser(hasty.url).fetch('/in', {
            method: 'POST',
            headers: { 'content-type': 'application/json', cookie: `wos-session=${old.sealed}` },
            body: JSON.stringify({ ...tokens, user: tokens.response.user }),
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
    'coordinates with %s, one key in each command',
    async (library) => {
      const fleet = await startFleet(3, appSettings(library, masters));
      const watches = await Promise.all(masters.map((master) => master.watch()));
      const before = server.refreshCount;
      const sessions = await Promise.all(Array.from({ length: 8 }, () => sealedSession(server, expired)));
      const storms = await Promise.all(sessions.map(({ sealed }) => fleet.storm(sealed, 9)));
      expect(storms.flat().filter(signedIn)).toHaveLength(72);
      expect(server.refreshCount - before).toBe(8);

      const [one, other] = fleet.apps;
      const { sealed } = sessions[0]!;
      expect((await one!.get('/out', sealed)).status).toBe(200);
      expect((await other!.get('/renew', sealed)).json.session).toMatchObject({ authenticated: false });
      expect(server.refreshCount - before).toBe(8);
      expect(fleet.events('coordination')).toEqual([]);

      const commands = await Promise.all(watches.map((watch) => watch.commands()));
      for (const watch of watches) watch.stop();
      await fleet.stop();
      for (const ofMaster of commands) expect(ofMaster.length).toBeGreaterThan(0);
      const kinds = commands.flat().map(([name = '', ...args]) => {
        const keys = args.filter((arg) => /:(lease|done|ended)$/.test(arg));
        const declared = name === 'EVAL' ? Number(args[1]) : 1;
        expect([keys.length, declared]).toEqual([1, 1]);
        return keys[0]!.split(':').at(-1);
      });
      expect(new Set(kinds)).toEqual(new Set(['lease', 'done', 'ended']));
    },
    20_000,
  );
});

/** Two of them, each with a client of its own, are two processes as far as Redis can tell. */
describeWithPart('redis', 'redisCoordinator', () => {
  const clock = useClock();
  let redis: RedisServer;
  let clients: Awaited<ReturnType<typeof connect>>;
  const scopes: string[] = [];

  beforeAll(async () => {
    redis = await startRedis();
    clients = await connect();
  });
  beforeEach(() => {
    scopes.length = 0;
  });
  afterAll(async () => {
    clients.ioredis.disconnect();
    clients.nodeRedis.destroy();
    await redis.stop();
  });

  async function connect() {
    const nodeRedis = createClient({ url: redis.url });
    nodeRedis.on('error', () => undefined);
    await nodeRedis.connect();
    const ioredis = new Redis(redis.port);
    ioredis.on('error', () => undefined);
    return { ioredis, nodeRedis };
  }

  function processes(options: Partial<RedisCoordinatorOptions> = {}): [Coordinator, Coordinator] {
    const make = (client: RedisClient) => {
      const coordinator = redisCoordinator({ client, ...options });
      coordinator.onScope?.((scope) => scopes.push(scope));
      return coordinator;
    };
    return [make(clients.ioredis), make(clients.nodeRedis)];
  }

  const newTicket = (changes: Partial<Ticket> = {}): Ticket => ({
    key: randomUUID(),
    variant: '',
    accessToken: 'the old one',
    secret: randomBytes(32),
    graceMs: 60_000,
    budgetMs: 5_000,
    wait: true,
    ...changes,
  });
  const refreshed: Outcome = {
    kind: 'refreshed',
    session: { accessToken: 'the new one', refreshToken: 'the next one' },
    sealed: 'sealed',
    sealedUnder: 'a password',
    successorKey: 'of the next one',
  };
  const dead: Outcome = { kind: 'terminal', reason: 'invalid_grant' };
  const away: Outcome = { kind: 'transient', reason: 'server_error' };
  const leads = (outcome: Outcome) => jest.fn(() => Promise.resolve(outcome));
  const mustNotLead = () => Promise.reject(new Error('presents a token that is not its to present'));
  const leaseOf = ({ key }: Ticket) => `sealed-session:{${key}}:lease`;
  const doneOf = ({ key }: Ticket) => `sealed-session:{${key}}:done`;
  const valueOf = async (key: string) => (await redis.entries()).find((entry) => entry.key === key)?.value;

  it('shares what came of a refresh: new tokens, and the end of a session for seconds', async () => {
    const [one, other] = processes();
    for (const outcome of [refreshed, dead]) {
      const ticket = newTicket();
      await one.refresh(ticket, leads(outcome));
      expect(await other.refresh(ticket, mustNotLead)).toEqual({ outcome, variant: '', source: 'fleet' });
      const { ttlMs } = (await redis.entries()).find(({ key }) => key === doneOf(ticket))!;
      expect(ttlMs).toBeGreaterThan(0);
      expect(ttlMs).toBeLessThanOrEqual(outcome === dead ? 5_000 : 15 * 60_000);
    }
  });

  it('keeps a passing failure to itself', async () => {
    const [one, other] = processes();
    const ticket = newTicket();
    await one.refresh(ticket, leads(away));
    expect(await other.refresh(ticket, leads(refreshed))).toMatchObject({ outcome: refreshed, source: 'leader' });
    expect(await one.refresh(ticket, mustNotLead)).toMatchObject({ outcome: refreshed, source: 'fleet' });
  });

  it('never takes the result for one organization for that of another', async () => {
    const [one, other] = processes();
    const refused = newTicket();
    await one.refresh({ ...refused, variant: 'org_01' }, leads(dead));
    const lead = leads(refreshed);
    expect(await other.refresh({ ...refused, variant: 'org_02' }, lead)).toMatchObject({ variant: 'org_02' });
    expect(lead).toHaveBeenCalledTimes(1);

    // New tokens are for everyone, because the old one is spent; but they say for which organization they are.
    const spent = newTicket();
    await one.refresh({ ...spent, variant: 'org_01' }, leads(refreshed));
    const led = await other.refresh({ ...spent, variant: 'org_02' }, mustNotLead);
    expect(led).toMatchObject({ outcome: refreshed, variant: 'org_01' });
  });

  it('switches the organization with the tokens that another process has just got', async () => {
    const [one, other] = processes();
    const manager = (coordinator: Coordinator) =>
      createSessionManager(
        workosOptions(server, {
          provider: { ...workosOptions(server).provider, reuse: 'strict' },
          refresh: { coordinator },
        }),
      );
    const { sealed, sessionId } = await sealedSession(server, { ...expired, organizationId: 'org_01' });
    const before = server.refreshCount;
    const hold = server.token.hold();
    const plain = manager(one).load(sealed).refresh();
    await hold.arrived(1);
    const switched = manager(other).load(sealed).refresh({ organizationId: 'org_02' });
    hold.release();
    expect(await plain).toMatchObject({ authenticated: true, organizationId: 'org_01' });
    expect(await switched).toMatchObject({ authenticated: true, organizationId: 'org_02' });
    expect(server.refreshCount - before).toBe(2);
    expect(server.sessions.isAlive(sessionId)).toBe(true);
  });

  it('keeps its lease for as long as it leads, and no other process leads meanwhile', async () => {
    const [one, other] = processes({ leaseMs: 150 });
    const ticket = newTicket();
    const watch = await redis.watch();
    const { lead, finish } = heldLead(refreshed);
    const leading = one.refresh(ticket, lead);
    await eventually(async () => (await valueOf(leaseOf(ticket))) !== undefined);
    const owner = await valueOf(leaseOf(ticket));
    const waiting = other.refresh(ticket, mustNotLead);
    const renewals = (commands: string[][]) => commands.filter(([name]) => name === 'pexpire').length;
    await eventually(async () => renewals(await watch.commands()) >= 6);
    watch.stop();
    expect(await valueOf(leaseOf(ticket))).toBe(owner);
    finish();
    expect(await leading).toMatchObject({ source: 'leader' });
    expect(await waiting).toMatchObject({ outcome: refreshed, source: 'fleet' });
    await eventually(async () => (await valueOf(leaseOf(ticket))) === undefined);
  });

  it('leaves a lease alone that has become somebody else’s', async () => {
    const [one] = processes({ leaseMs: 300 });
    const ticket = newTicket();
    const watch = await redis.watch();
    const { lead, finish } = heldLead(refreshed);
    const leading = one.refresh(ticket, lead);
    await eventually(async () => (await valueOf(leaseOf(ticket))) !== undefined);
    await redis.command('SET', leaseOf(ticket), 'somebody else', 'PX', '60000');
    finish();
    await leading;
    const release = ([name, script]: string[]) => name === 'EVAL' && script!.includes("'del'");
    await eventually(async () => (await watch.commands()).some(release));
    watch.stop();
    const [entry] = (await redis.entries()).filter(({ key }) => key === leaseOf(ticket));
    expect(entry).toMatchObject({ value: 'somebody else' });
    expect(entry!.ttlMs).toBeGreaterThan(10_000);
  });

  it('takes a record for none that is damaged, forged, or another token’s', async () => {
    const [one, other] = processes();
    const ticket = newTicket();
    await one.refresh(ticket, leads(refreshed));
    await eventually(async () => (await valueOf(doneOf(ticket))) !== undefined);
    const record = (await valueOf(doneOf(ticket)))!;
    const bytes = Buffer.from(record, 'base64');
    bytes[40]! ^= 1;
    const bad = [
      bytes.toString('base64'),
      record.slice(0, 20),
      '',
      'garbage',
      Buffer.from(JSON.stringify({ outcome: refreshed, variant: '' })).toString('base64'),
      // Whole, and under the right key, but moved.
      record,
    ];
    for (const value of bad) {
      const moved = { ...newTicket(), secret: ticket.secret };
      await redis.command('SET', doneOf(moved), value);
      expect(await other.refresh(moved, leads(dead))).toMatchObject({ outcome: dead, source: 'leader' });
    }
    expect(await other.refresh(ticket, mustNotLead)).toMatchObject({ outcome: refreshed });
  });

  it('learns what was signed out elsewhere', async () => {
    const [one, other] = processes();
    const [name, unknown] = [randomUUID(), randomUUID()];
    await one.end([name]);
    expect([one.hasEnded([name]), other.hasEnded([name])]).toEqual([true, false]);
    await other.learnEnded?.([unknown]);
    expect(other.hasEnded([unknown])).toBe(false);
    await other.learnEnded?.([unknown, name]);
    expect(other.hasEnded([name])).toBe(true);
  });

  it('does not take a busy moment of its own process for an outage', async () => {
    for (const coordinator of processes()) {
      const learning = coordinator.learnEnded?.([randomUUID()]);
      const until = performance.now() + 300;
      while (performance.now() < until);
      await learning;
    }
    expect(scopes).toEqual([]);
  });

  describe('while Redis accepts and never answers', () => {
    afterEach(async () => {
      redis.resume();
      await Promise.all([clients.ioredis.ping(), clients.nodeRedis.ping()]);
    });

    it('costs a request one time-out, and Redis is asked once a second', async () => {
      const sent: string[] = [];
      const client = { sendCommand: (args: string[]) => (sent.push(args[0]!), clients.nodeRedis.sendCommand(args)) };
      const [coordinator] = [redisCoordinator({ client })];
      coordinator.onScope?.((scope) => scopes.push(scope));
      redis.pause();

      // As the middleware does it: what has ended, the refresh, what has ended meanwhile.
      const visit = async () => {
        await coordinator.learnEnded?.([randomUUID()]);
        const led = await coordinator.refresh(newTicket(), leads(refreshed));
        await coordinator.learnEnded?.([randomUUID()]);
        return led;
      };
      expect(await visit()).toMatchObject({ outcome: refreshed, source: 'leader' });
      expect([sent, scopes]).toEqual([['GET'], ['process']]);
      await Promise.all(Array.from({ length: 20 }, visit));
      expect(sent).toHaveLength(1);
      clock.advance(1);
      await Promise.all(Array.from({ length: 20 }, visit));
      expect(sent).toHaveLength(2);
      expect(scopes).toEqual(['process']);

      redis.resume();
      clock.advance(1);
      await visit();
      expect(scopes).toEqual(['process', 'fleet']);
    });

    it('leaves no lease behind', async () => {
      for (const coordinator of processes({ leaseMs: 60_000 })) {
        const ticket = newTicket();
        const watch = await redis.watch();
        redis.pause();
        expect(await coordinator.refresh(ticket, leads(refreshed))).toMatchObject({ source: 'leader' });
        redis.resume();
        const take = ([name, key]: string[]) => name === 'SET' && key === leaseOf(ticket);
        await eventually(async () => (await watch.commands()).some(take));
        watch.stop();
        await eventually(async () => (await valueOf(leaseOf(ticket))) === undefined);
      }
    });

    it('tells the fleet afterwards what it has refreshed alone', async () => {
      const [one, other] = processes();
      const ticket = newTicket();
      redis.pause();
      await one.refresh(ticket, leads(refreshed));
      redis.resume();
      clock.advance(2);
      await eventually(async () => (await valueOf(doneOf(ticket))) !== undefined);
      expect(await other.refresh(ticket, mustNotLead)).toMatchObject({ outcome: refreshed, source: 'fleet' });
    });

    it('does not present a token that another process was seen to refresh', async () => {
      const [one, other] = processes();
      const ticket = newTicket();
      const { lead, finish } = heldLead(refreshed);
      const leading = one.refresh(ticket, lead);
      await eventually(async () => (await valueOf(leaseOf(ticket))) !== undefined);
      const waiting = other.refresh(ticket, mustNotLead);
      const watch = await redis.watch();
      await eventually(async () => (await watch.commands()).some(([, key]) => key === doneOf(ticket)));
      watch.stop();
      redis.pause();
      expect(await waiting).toMatchObject({ outcome: { kind: 'transient' } });
      expect(await other.refresh(ticket, mustNotLead)).toMatchObject({ outcome: { kind: 'transient' } });
      finish();
      expect(await leading).toMatchObject({ outcome: refreshed, source: 'leader' });
    });

    it('signs out here all the same', async () => {
      const [one] = processes();
      redis.pause();
      const name = randomUUID();
      await one.end([name]);
      expect(one.hasEnded([name])).toBe(true);
    });
  });
});

/** A refresh that goes on until it is told to finish. */
function heldLead(outcome: Outcome) {
  let finish = (): void => undefined;
  const finished = new Promise<Outcome>((resolve) => {
    finish = () => {
      resolve(outcome);
    };
  });
  return { lead: () => finished, finish };
}

/** Several sessions that have expired, each with a few requests at once; and how long each took. */
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

/** What each process last said about the fleet. */
function scopes(fleet: Fleet): string[] {
  return fleet.apps.map((app) => app.events('coordination').at(-1)?.scope ?? 'fleet');
}

function tally(app: FleetApp) {
  const leaseCommands = app.reports.filter((report) => report.type === 'command' && report.name === 'SET').length;
  return { visits: app.count('visit'), presented: app.count('presented'), leaseCommands };
}

const since = (from: number) => Math.round(performance.now() - from);

async function eventually(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await setTimeout(50);
}

async function contentsOf(sealed: string): Promise<Record<string, unknown>> {
  return unsealData(sealed, { password });
}

function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsIn) : [];
}

/** None of the secrets, nor a piece of a token, is in any of the texts, as it is or behind base64. */
function expectUnreadable(texts: readonly string[], secrets: readonly string[]): void {
  const pieces = secrets.flatMap((secret) => [secret, ...secret.split(/[.@*]/)]).filter((piece) => piece.length > 8);
  expect(pieces.length).toBeGreaterThan(10);
  const forms = texts.flatMap((text) => [text, Buffer.from(text, 'base64').toString('latin1')]);
  expect(pieces.filter((piece) => forms.some((form) => form.includes(piece)))).toEqual([]);
}
