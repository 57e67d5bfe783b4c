import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type Coordinator, createSessionManager, type Outcome, type Ticket } from 'express-sealed-session';
import { type RedisClient, redisCoordinator, type RedisCoordinatorOptions } from 'express-sealed-session/redis';
import { Redis } from 'ioredis';
import { createClient } from 'redis';

import { useClock } from '../support/clock.js';
import { eventually } from '../support/eventually.js';
import { type RedisServer, startRedis } from '../support/redis-server.js';
import { describeWithPart } from '../support/system-parts.js';
import { away, dead, leads, mustNotLead, newTicket, refreshed } from '../support/tickets.js';
import { startWorkosServer } from '../support/workos-server.js';
import { expired, sealedSession, workosOptions } from '../support/workos-session.js';

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
      expect(ttlMs).toBeGreaterThan(outcome === dead ? 0 : 14 * 60_000);
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
    const server = await startWorkosServer({ mode: 'strict' });
    const [one, other] = processes();
    const manager = (coordinator: Coordinator) =>
      createSessionManager(
        workosOptions(server, {
          provider: { ...workosOptions(server).provider, refreshTokens: 'single-use' },
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
    await server.close();
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

  it('takes over a refresh that came to nothing: its lease has run out, and nothing was published', async () => {
    const [one] = processes();
    const ticket = newTicket({ budgetMs: 100 });
    await redis.command('SET', leaseOf(ticket), 'somebody else', 'PX', '60000');
    expect(await one.refresh({ ...ticket, wait: false }, mustNotLead)).toBeUndefined();
    expect(await one.refresh(ticket, mustNotLead)).toEqual({
      outcome: { kind: 'transient', reason: 'timeout' },
      variant: '',
      source: 'leader',
    });
    const waiting = one.refresh({ ...ticket, budgetMs: 5_000 }, leads(refreshed));
    await redis.command('DEL', leaseOf(ticket));
    expect(await waiting).toMatchObject({ outcome: refreshed, source: 'leader' });
  });

  it('takes over none whose lease was lost with Redis, for as long as it may still be under way', async () => {
    const [one] = processes();
    const ticket = newTicket({ budgetMs: 100 });
    const passing = { outcome: { kind: 'transient' } };
    await redis.command('SET', leaseOf(ticket), 'somebody else', 'PX', '60000');
    expect(await one.refresh(ticket, mustNotLead)).toMatchObject(passing);
    redis.pause();
    await one.learnEnded?.([randomUUID()]);
    redis.resume();
    clock.advance(1);
    // Once while the lease is still there, and once when it is not.
    expect(await one.refresh(ticket, mustNotLead)).toMatchObject(passing);
    await redis.command('DEL', leaseOf(ticket));
    expect(await one.refresh(ticket, mustNotLead)).toMatchObject(passing);
    expect(await one.refresh({ ...ticket, wait: false }, mustNotLead)).toBeUndefined();
    await eventually(async () => (await valueOf(leaseOf(ticket))) === undefined);
    clock.advance(6);
    expect(await one.refresh(ticket, leads(refreshed))).toMatchObject({ outcome: refreshed, source: 'leader' });
  });

  it('keeps no lease for what it finds done', async () => {
    const [one, other] = processes({ leaseMs: 60_000 });
    const ticket = newTicket();
    await one.refresh(ticket, leads(refreshed));
    const isFree = async () => (await valueOf(leaseOf(ticket))) === undefined;
    await eventually(isFree);
    expect(await other.refresh(ticket, mustNotLead)).toMatchObject({ source: 'fleet' });
    await eventually(isFree);
  });

  it('takes new tokens for no answer to those who come with them, where the refresh token stays the same', async () => {
    const [one, other] = processes();
    const ticket = newTicket();
    await one.refresh(ticket, leads(refreshed));
    const newer = { ...ticket, accessToken: 'the new one' };
    expect(await other.refresh(newer, leads(dead))).toMatchObject({ outcome: dead, source: 'leader' });
  });

  describe('whose record Redis refuses', () => {
    let refuses: boolean;
    let refused: number;
    beforeEach(() => {
      [refuses, refused] = [true, 0];
    });

    const client = {
      sendCommand: (args: string[]) => {
        if (!refuses || args[0] !== 'SET' || !args[1]!.endsWith(':done')) return clients.nodeRedis.sendCommand(args);
        refused += 1;
        return Promise.reject(new Error('OOM command not allowed'));
      },
    };
    const refusedTwice = async () => {
      await eventually(() => Promise.resolve(refused === 1));
      // After a refusal Redis is left alone for a second.
      clock.advance(1);
      await eventually(() => Promise.resolve(refused === 2));
      clock.advance(1);
    };

    it('keeps the lease and tells again, until the fleet has the new tokens', async () => {
      const ticket = newTicket();
      await redisCoordinator({ client, leaseMs: 60_000 }).refresh(ticket, leads(refreshed));
      await refusedTwice();
      const [other] = processes();
      expect(await other.refresh({ ...ticket, wait: false }, mustNotLead)).toBeUndefined();
      refuses = false;
      expect(await other.refresh(ticket, mustNotLead)).toMatchObject({ outcome: refreshed, source: 'fleet' });
      await eventually(async () => (await valueOf(leaseOf(ticket))) === undefined);
    });

    it('gives up when nobody waits for them any longer', async () => {
      const ticket = newTicket({ graceMs: 10_000 });
      await redisCoordinator({ client, leaseMs: 60_000 }).refresh(ticket, leads(refreshed));
      await refusedTwice();
      clock.advance(10);
      await eventually(async () => (await valueOf(leaseOf(ticket))) === undefined);
    });
  });

  it.each([
    ['has new tokens to tell of', `answer(args[1].endsWith(':done') ? Promise.reject(new Error()) : 'OK')`, 'outcome'],
    ['is still at a refresh', `answer('OK')`, 'new Promise(() => {})'],
    ['waits for Redis', 'new Promise(() => {})', 'outcome'],
  ])('lets a process end that %s', (_, reply, lead) => {
    const script = `
      import { redisCoordinator } from 'express-sealed-session/redis';
      const answer = (value) => Promise.resolve(value);
      const outcome = answer(${JSON.stringify(refreshed)});
      const coordinator = redisCoordinator({ client: { sendCommand: (args) => ${reply} }, leaseMs: 60_000 });
      const ticket = { ...${JSON.stringify(newTicket())}, secret: Buffer.alloc(32) };
      coordinator.refresh(ticket, () => ${lead});`;
    // Kept alive, it would be killed, which throws.
    execFileSync(process.execPath, ['--input-type=module', '--eval', script], { timeout: 20_000 });
  });

  it('shares Redis with others, by what its keys begin with', async () => {
    const [one] = processes({ prefix: 'an app:' });
    const ticket = newTicket();
    const name = randomUUID();
    await one.refresh(ticket, leads(refreshed));
    await one.end([name]);
    await eventually(async () => (await valueOf(`an app:{${ticket.key}}:done`)) !== undefined);
    expect(await valueOf(`an app:{${name}}:ended`)).toBeDefined();
    expect(await valueOf(doneOf(ticket))).toBeUndefined();
    const [other] = processes();
    expect(await other.refresh(ticket, leads(dead))).toMatchObject({ outcome: dead, source: 'leader' });
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
    const { ttlMs } = (await redis.entries()).find(({ key }) => key === `sealed-session:{${name}}:ended`)!;
    expect(ttlMs).toBeGreaterThan(0);
    expect(ttlMs).toBeLessThanOrEqual(60 * 60_000);
  });

  it('asks Redis once about a name, and not about what it knows', async () => {
    const sent: unknown[] = [];
    const client = { sendCommand: (args: string[]) => (sent.push(args), clients.nodeRedis.sendCommand(args)) };
    const coordinator = redisCoordinator({ client });
    const [known, unknown] = [randomUUID(), randomUUID()];
    expect(coordinator.anyEnded?.()).toBe(false);
    await coordinator.end([known]);
    expect(coordinator.anyEnded?.()).toBe(true);
    sent.length = 0;
    await coordinator.learnEnded?.([known, unknown, unknown]);
    expect(sent).toEqual([['GET', `sealed-session:{${unknown}}:ended`]]);
  });

  it.each<[string, object]>([
    ['client', { client: undefined }],
    ['client', { client: null }],
    ['client', { client: {} }],
    ['client', { client: { call: 'GET', sendCommand: 'GET' } }],
    ['prefix', { prefix: 1 }],
    ['leaseMs', { leaseMs: 99 }],
    ['timeoutMs', { timeoutMs: 0 }],
    ['maxSessions', { maxSessions: 0 }],
    ['ttl', { ttl: 1 }],
  ])('cannot be set up with a wrong %s: %j', (path, options) => {
    const message = expect.stringMatching(/^(must be|is not) ./) as unknown;
    expect(() => redisCoordinator({ client: clients.ioredis, ...options })).toThrow(
      expect.objectContaining({ problems: [{ path: `redisCoordinator.${path}`, message }] }),
    );
  });

  it.each<[string, RedisClient]>([
    ['ioredis', { call: () => Promise.resolve('OK') }],
    ['node-redis', { sendCommand: () => Promise.resolve('OK') }],
  ])('needs no more of %s than it uses, and remembers no more than it may', async (_, client) => {
    const coordinator = redisCoordinator({ client, maxSessions: 1 });
    await coordinator.end(['first', 'second']);
    expect(['first', 'second'].map((name) => coordinator.hasEnded([name]))).toEqual([false, true]);
  });

  it('does not take a busy moment of its own process for an outage', async () => {
    // As a client does that is still at work on other commands.
    const sendsLater = {
      sendCommand: async (args: string[]) => {
        for (let turn = 0; turn < 5; turn += 1) await setImmediate();
        return clients.nodeRedis.sendCommand(args);
      },
    };
    const third = redisCoordinator({ client: sendsLater });
    third.onScope?.((scope) => scopes.push(scope));
    for (const coordinator of [...processes(), third]) {
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
      const coordinator = redisCoordinator({ client });
      // Not those of the tests before, which may still have something to tell.
      const told: string[] = [];
      coordinator.onScope?.((scope) => told.push(scope));
      redis.pause();

      // As the middleware does it: what has ended, the refresh, what has ended meanwhile.
      const visit = async () => {
        await coordinator.learnEnded?.([randomUUID()]);
        const led = await coordinator.refresh(newTicket(), leads(refreshed));
        await coordinator.learnEnded?.([randomUUID()]);
        return led;
      };
      expect(await visit()).toMatchObject({ outcome: refreshed, source: 'leader' });
      expect([sent, told]).toEqual([['GET'], ['process']]);
      await Promise.all(Array.from({ length: 20 }, visit));
      expect(sent).toHaveLength(1);
      clock.advance(1);
      await Promise.all(Array.from({ length: 20 }, visit));
      expect(sent).toHaveLength(2);
      expect(told).toEqual(['process']);

      redis.resume();
      clock.advance(1);
      await visit();
      expect(told).toEqual(['process', 'fleet']);
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

    it('presents it once the other can no longer be at it', async () => {
      const [one] = processes();
      const ticket = newTicket({ budgetMs: 100 });
      await redis.command('SET', leaseOf(ticket), 'somebody else', 'PX', '60000');
      expect(await one.refresh(ticket, mustNotLead)).toMatchObject({ outcome: { kind: 'transient' } });
      redis.pause();
      clock.advance(4);
      expect(await one.refresh(ticket, mustNotLead)).toMatchObject({ outcome: { kind: 'transient' } });
      clock.advance(2);
      expect(await one.refresh(ticket, leads(refreshed))).toMatchObject({ outcome: refreshed, source: 'leader' });
    });

    it('signs out here all the same, and nobody else', async () => {
      const [one] = processes();
      redis.pause();
      const [name, other] = [randomUUID(), randomUUID()];
      await one.end([name]);
      clock.advance(1);
      await one.learnEnded?.([other]);
      expect([one.hasEnded([name]), one.hasEnded([other])]).toEqual([true, false]);
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
