import { execFileSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createSessionManager } from 'express-sealed-session';
import { type Fleet, type RedisClient, redisFleet, type RedisFleetOptions } from 'express-sealed-session/redis';
import { Redis } from 'ioredis';
import { createClient } from 'redis';

import { fleetParts } from '../../lib/fleet/fleet.js';
import type { Ledger, LedgerEntry, SessionNames } from '../../lib/fleet/ledger.js';
import { sealRecord } from '../../lib/fleet/redis-record.js';
import type { Coordinator, Outcome, Ticket } from '../../lib/refresh/coordinator.js';
import { useClock } from '../support/clock.js';
import { eventually } from '../support/eventually.js';
import { type RedisServer, startRedis } from '../support/redis-server.js';
import { describeWithPart } from '../support/system-parts.js';
import { away, dead, leads, mustNotLead, newTicket, refreshed } from '../support/tickets.js';
import { startWorkosServer } from '../support/workos-server.js';
import { expired, sealedSession, workosOptions } from '../support/workos-session.js';

/** A name as the naming makes it. */
const name = (of: string) => createHash('sha256').update(of).digest('base64url').slice(0, 22);
const ended = (of: string, changes: Partial<LedgerEntry> = {}): LedgerEntry => ({
  kind: 'ended',
  name: name(of),
  atMs: Date.now(),
  untilMs: Date.now() + 60 * 60_000,
  ...changes,
});
const named = (of: string): SessionNames => ({ own: [name(of)], shared: [], begunMs: 0 });
const isEnded = (ledger: Ledger, of: string) => ledger.endingOf(named(of)) !== undefined;

/** Coordinator and ledger of a fleet in one, as most tests need both. */
interface Process extends Coordinator, Ledger {
  readonly fleet: Fleet;
}

function processOf(fleet: Fleet, onChange: (reachable: boolean) => void = () => undefined): Process {
  const { coordinator, ledger, onChange: listen } = fleetParts(fleet)!;
  listen(onChange);
  return { fleet, ...coordinator, ...ledger };
}

/** Two fleets, each with a client of its own, are two processes to Redis. */
describeWithPart('redis', 'redisFleet', () => {
  const clock = useClock({ runs: true });
  let redis: RedisServer;
  let clients: Awaited<ReturnType<typeof connect>>;
  const changes: boolean[] = [];

  beforeAll(async () => {
    redis = await startRedis();
    clients = await connect();
  });
  beforeEach(() => {
    changes.length = 0;
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

  function processes(options: Partial<RedisFleetOptions> = {}): [Process, Process] {
    const make = (client: RedisClient) =>
      processOf(redisFleet({ client, ...options }), (reachable) => changes.push(reachable));
    return [make(clients.ioredis), make(clients.nodeRedis)];
  }

  const leaseOf = ({ key }: Ticket) => `sealed-session:{${key}}:lease`;
  const doneOf = ({ key }: Ticket) => `sealed-session:{${key}}:done`;
  const valueOf = async (key: string) => (await redis.entries()).find((entry) => entry.key === key)?.value;

  it('keeps new tokens for 30 minutes and a refusal for 5 seconds', async () => {
    const [one, other] = processes();
    for (const outcome of [refreshed, dead]) {
      const ticket = newTicket();
      await one.refresh(ticket, leads(outcome));
      expect(await other.refresh(ticket, mustNotLead)).toEqual({ outcome, organizationId: '', source: 'fleet' });
      const { ttlMs } = (await redis.entries()).find(({ key }) => key === doneOf(ticket))!;
      expect(ttlMs).toBeGreaterThan(outcome === dead ? 0 : 29 * 60_000);
      expect(ttlMs).toBeLessThanOrEqual(outcome === dead ? 5_000 : 30 * 60_000);
    }
  });

  it('does not share that the provider was unavailable', async () => {
    const [one, other] = processes();
    const ticket = newTicket();
    await one.refresh(ticket, leads(away));
    expect(await other.refresh(ticket, leads(refreshed))).toMatchObject({ outcome: refreshed, source: 'leader' });
    expect(await one.refresh(ticket, mustNotLead)).toMatchObject({ outcome: refreshed, source: 'fleet' });
  });

  it('names the organization of shared tokens, and shares no refusal between organizations', async () => {
    const [one, other] = processes();
    const refused = newTicket();
    await one.refresh({ ...refused, organizationId: 'org_01' }, leads(dead));
    const lead = leads(refreshed);
    expect(await other.refresh({ ...refused, organizationId: 'org_02' }, lead)).toMatchObject({
      organizationId: 'org_02',
    });
    expect(lead).toHaveBeenCalledTimes(1);

    // New tokens answer every organization, because the old token is spent.
    const spent = newTicket();
    await one.refresh({ ...spent, organizationId: 'org_01' }, leads(refreshed));
    const coordinated = await other.refresh({ ...spent, organizationId: 'org_02' }, mustNotLead);
    expect(coordinated).toMatchObject({ outcome: refreshed, organizationId: 'org_01' });
  });

  it('switches the organization with new tokens of another process', async () => {
    const server = await startWorkosServer({ mode: 'strict' });
    const [one, other] = processes();
    const manager = ({ fleet }: Process) =>
      createSessionManager(
        workosOptions(server, {
          provider: { ...workosOptions(server).provider, refreshTokens: 'single-use' },
          fleet,
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

  it('prolongs its lease for as long as it leads', async () => {
    const [one, other] = processes({ leaseMs: 150 });
    const ticket = newTicket();
    const watch = await redis.watch();
    const { lead, finish } = heldLead(refreshed);
    const leading = one.refresh(ticket, lead);
    await eventually(async () => (await valueOf(leaseOf(ticket))) !== undefined);
    const owner = await valueOf(leaseOf(ticket));
    const waiting = other.refresh(ticket, mustNotLead);
    const prolongs = (commands: string[][]) => commands.filter(([name]) => name === 'pexpire').length;
    await eventually(async () => prolongs(await watch.commands()) >= 6);
    watch.stop();
    expect(await valueOf(leaseOf(ticket))).toBe(owner);
    finish();
    expect(await leading).toMatchObject({ source: 'leader' });
    expect(await waiting).toMatchObject({ outcome: refreshed, source: 'fleet' });
    await eventually(async () => (await valueOf(leaseOf(ticket))) === undefined);
  });

  it('takes over when a lease has run out and nothing was published', async () => {
    const [one] = processes();
    const ticket = newTicket({ timeoutMs: 100 });
    await redis.command('SET', leaseOf(ticket), 'somebody else', 'PX', '60000');
    expect(await one.refresh({ ...ticket, wait: false }, mustNotLead)).toBeUndefined();
    expect(await one.refresh(ticket, mustNotLead)).toEqual({
      outcome: { kind: 'unavailable', reason: 'timeout' },
      organizationId: '',
      source: 'leader',
    });
    const waiting = one.refresh({ ...ticket, timeoutMs: 5_000 }, leads(refreshed));
    await redis.command('DEL', leaseOf(ticket));
    expect(await waiting).toMatchObject({ outcome: refreshed, source: 'leader' });
  });

  it('does not take over a lease that was lost with Redis while its refresh may still run', async () => {
    const [one] = processes();
    const ticket = newTicket({ timeoutMs: 100 });
    const passing = { outcome: { kind: 'unavailable' } };
    await redis.command('SET', leaseOf(ticket), 'somebody else', 'PX', '60000');
    expect(await one.refresh(ticket, mustNotLead)).toMatchObject(passing);
    redis.pause();
    await one.look();
    redis.resume();
    clock.advance(1);
    // First while the lease is still there, then when it is not.
    expect(await one.refresh(ticket, mustNotLead)).toMatchObject(passing);
    await redis.command('DEL', leaseOf(ticket));
    expect(await one.refresh(ticket, mustNotLead)).toMatchObject(passing);
    expect(await one.refresh({ ...ticket, wait: false }, mustNotLead)).toBeUndefined();
    await eventually(async () => (await valueOf(leaseOf(ticket))) === undefined);
    clock.advance(6);
    expect(await one.refresh(ticket, leads(refreshed))).toMatchObject({ outcome: refreshed, source: 'leader' });
  });

  it('gives up its lease when it finds the outcome', async () => {
    const [one, other] = processes({ leaseMs: 60_000 });
    const ticket = newTicket();
    await one.refresh(ticket, leads(refreshed));
    const isFree = async () => (await valueOf(leaseOf(ticket))) === undefined;
    await eventually(isFree);
    expect(await other.refresh(ticket, mustNotLead)).toMatchObject({ source: 'fleet' });
    await eventually(isFree);
  });

  it('refreshes again for a request that already has the new access token', async () => {
    const [one, other] = processes();
    const ticket = newTicket();
    await one.refresh(ticket, leads(refreshed));
    const newer = { ...ticket, accessToken: 'the new one' };
    expect(await other.refresh(newer, leads(dead))).toMatchObject({ outcome: dead, source: 'leader' });
  });

  describe('when Redis refuses a record', () => {
    let refuses: boolean;
    let refused: number;
    beforeEach(() => {
      [refuses, refused] = [true, 0];
    });

    const client = {
      sendCommand: (args: string[]) => {
        // Of what is published, the record is the third argument after two keys.
        if (!refuses || !args[1]?.startsWith("redis.call('set', KEYS[1]")) return clients.nodeRedis.sendCommand(args);
        refused += 1;
        return Promise.reject(new Error('OOM command not allowed'));
      },
    };
    const refusedTwice = async () => {
      await eventually(() => Promise.resolve(refused === 1));
      // After a refusal no command is sent for a second.
      clock.advance(1);
      await eventually(() => Promise.resolve(refused === 2));
      clock.advance(1);
    };

    it('keeps the lease and publishes again until the fleet has the new tokens', async () => {
      const ticket = newTicket();
      await processOf(redisFleet({ client, leaseMs: 60_000 })).refresh(ticket, leads(refreshed));
      await refusedTwice();
      const [other] = processes();
      expect(await other.refresh({ ...ticket, wait: false }, mustNotLead)).toBeUndefined();
      refuses = false;
      expect(await other.refresh(ticket, mustNotLead)).toMatchObject({ outcome: refreshed, source: 'fleet' });
      await eventually(async () => (await valueOf(leaseOf(ticket))) === undefined);
    });

    it('stops publishing after the grace time', async () => {
      const ticket = newTicket({ graceMs: 10_000 });
      await processOf(redisFleet({ client, leaseMs: 60_000 })).refresh(ticket, leads(refreshed));
      await refusedTwice();
      clock.advance(10);
      await eventually(async () => (await valueOf(leaseOf(ticket))) === undefined);
    });
  });

  it.each([
    [
      'has new tokens to publish',
      `answer(args[1].startsWith('redis.call') ? Promise.reject(new Error()) : [1, 'us', []])`,
      'outcome',
    ],
    ['is refreshing', `answer([1, 'us', []])`, 'new Promise(() => {})'],
    ['waits for Redis', 'new Promise(() => {})', 'outcome'],
  ])('does not keep a process alive that %s', (_, reply, lead) => {
    const script = `
      import { redisFleet } from 'express-sealed-session/redis';
      const answer = (value) => Promise.resolve(value);
      const outcome = answer(${JSON.stringify(refreshed)});
      const fleet = redisFleet({ client: { sendCommand: (args) => ${reply} }, leaseMs: 60_000 });
      const { coordinator } = fleet[Symbol.for('express-sealed-session fleet')];
      const ticket = { ...${JSON.stringify(newTicket())}, secret: Buffer.alloc(32), accept: (value) => value };
      coordinator.refresh(ticket, () => ${lead});`;
    // A process that stays alive is killed after the time-out, which throws.
    execFileSync(process.execPath, ['--input-type=module', '--eval', script], { timeout: 20_000 });
  });

  it('keeps to keys with its prefix', async () => {
    const [one] = processes({ prefix: 'an app:' });
    const ticket = newTicket();
    await one.refresh(ticket, leads(refreshed));
    await one.record([ended('one')]);
    await one.firstSight(name('a jti'), Date.now() + 60_000);
    await eventually(async () => (await valueOf(`an app:{${ticket.key}}:done`)) !== undefined);
    expect(await redis.command('KEYS', 'an app:*')).toEqual(
      expect.arrayContaining(['an app:{ledger}:0', `an app:{${name('a jti')}}:seen`]),
    );
    expect(await valueOf(doneOf(ticket))).toBeUndefined();
    const [other] = processes();
    expect(await other.refresh(ticket, leads(dead))).toMatchObject({ outcome: dead, source: 'leader' });
  });

  it('leaves the lease of another process alone', async () => {
    const [one] = processes({ leaseMs: 300 });
    const ticket = newTicket();
    const watch = await redis.watch();
    const { lead, finish } = heldLead(refreshed);
    const leading = one.refresh(ticket, lead);
    await eventually(async () => (await valueOf(leaseOf(ticket))) !== undefined);
    await redis.command('SET', leaseOf(ticket), 'somebody else', 'PX', '60000');
    finish();
    await leading;
    const release = ([name, script]: string[]) => name === 'EVAL' && script!.includes("redis.call('del'");
    await eventually(async () => (await watch.commands()).some(release));
    watch.stop();
    const [entry] = (await redis.entries()).filter(({ key }) => key === leaseOf(ticket));
    expect(entry).toMatchObject({ value: 'somebody else' });
    expect(entry!.ttlMs).toBeGreaterThan(10_000);
  });

  it('ignores a damaged, forged or moved record', async () => {
    const [one, other] = processes();
    const ticket = newTicket();
    await one.refresh(ticket, leads(refreshed));
    await eventually(async () => (await valueOf(doneOf(ticket))) !== undefined);
    const record = (await valueOf(doneOf(ticket)))!;
    const [id, text = ''] = record.split('.');
    const bytes = Buffer.from(text, 'base64');
    bytes[40]! ^= 1;
    const bad = [
      `${id}.${bytes.toString('base64')}`,
      record.slice(0, 20),
      '',
      'garbage',
      Buffer.from(JSON.stringify({ outcome: refreshed, organizationId: '' })).toString('base64'),
      `${record.split('.')[0]!}.${Buffer.alloc(60).toString('base64')}`,
      // Whole, and under the right secret, but moved to another key.
      record,
    ];
    for (const value of bad) {
      const moved = { ...newTicket(), secret: ticket.secret };
      await redis.command('SET', doneOf(moved), value);
      expect(await other.refresh(moved, leads(dead))).toMatchObject({ outcome: dead, source: 'leader' });
    }
    expect(await other.refresh(ticket, mustNotLead)).toMatchObject({ outcome: refreshed });
  });

  it('opens a record under any of its passwords, and presents nothing where it has none of them', async () => {
    const [one, other] = processes();
    const [older, newer] = ['an older password, long enough to be one', 'a newer password, long enough to be one'];
    const ticket = newTicket({ passwords: [newer, older] });
    await one.refresh(ticket, leads(refreshed));
    await eventually(async () => (await valueOf(doneOf(ticket))) !== undefined);
    expect(await other.refresh({ ...ticket, passwords: [older] }, mustNotLead)).toEqual({
      outcome: { kind: 'unavailable', reason: 'server_error' },
      organizationId: '',
      source: 'fleet',
    });
    expect(await other.findSuccessor({ ...ticket, passwords: [older] })).toBeUndefined();
    expect(await other.findSuccessor({ ...ticket, passwords: [older, newer] })).toEqual(refreshed);
    expect(await other.refresh({ ...ticket, passwords: ['a third', newer] }, mustNotLead)).toMatchObject({
      outcome: refreshed,
    });
    await eventually(async () => (await valueOf(leaseOf(ticket))) === undefined);
  });

  it.each<[string, Partial<Ticket>, object]>([
    ['a payload that is not accepted', { accept: () => undefined }, refreshed],
    ['a refusal that is none of ours', {}, { kind: 'terminal', reason: 'everybody_out' }],
    ['an outage, which nobody shares', {}, away],
    ['new tokens without their seal', {}, { ...refreshed, sealed: undefined }],
    ['nothing that is an outcome', {}, {}],
  ])('does not believe a record with %s', async (_, changes, outcome) => {
    const [, other] = processes();
    const ticket = newTicket(changes);
    const record = sealRecord(ticket, { outcome: outcome as Outcome, organizationId: '', source: 'leader' });
    await redis.command('SET', doneOf(ticket), record, 'PX', '60000');
    expect(await other.refresh(ticket, leads(dead))).toMatchObject({ outcome: dead, source: 'leader' });
  });

  describe('graceSeconds', () => {
    const claimOf = (successorKey: string) => `sealed-session:{${successorKey}}:claimed`;

    /** A refresh whose successor a browser presents to a process that took no part in it. */
    async function claimElsewhere(ticket: Ticket, successorKey: string) {
      const [one, other] = processes();
      const third = processOf(redisFleet({ client: clients.nodeRedis }));
      await one.refresh(ticket, leads({ ...refreshed, successorKey }));
      await eventually(async () => (await valueOf(doneOf(ticket))) !== undefined);
      third.releasePredecessor(successorKey, ticket.graceMs);
      await eventually(async () => (await valueOf(claimOf(successorKey))) !== undefined);
      return { one, other, third };
    }

    it('holds in every process once the successor has come to any of them', async () => {
      const ticket = newTicket({ graceMs: 60_000 });
      const successorKey = randomUUID();
      const { one, other, third } = await claimElsewhere(ticket, successorKey);
      for (const each of [one, other, third]) {
        expect(await each.refresh(ticket, mustNotLead)).toMatchObject({ outcome: { kind: 'refreshed' } });
      }
      // Redis goes by its own clock: they were claimed 61 seconds ago.
      await redis.command('PEXPIRE', claimOf(successorKey), String(15 * 60_000 - 61_000));
      clock.advance(61);
      const presented = leads(dead);
      expect(await other.refresh(ticket, presented)).toMatchObject({ outcome: dead, source: 'leader' });
      expect(presented).toHaveBeenCalledTimes(1);
      expect(other.claimedAtMs(ticket.key)).toBeLessThanOrEqual(Date.now() - 60_000);
      for (const each of [one, third]) {
        expect(await each.refresh({ ...ticket, organizationId: 'org' }, leads(dead))).toMatchObject({ outcome: dead });
      }
    });

    it('begins with the first browser that comes, and no second one puts its end off', async () => {
      const ticket = newTicket({ graceMs: 60_000 });
      const successorKey = randomUUID();
      const { other, third } = await claimElsewhere(ticket, successorKey);
      await redis.command('PEXPIRE', claimOf(successorKey), String(15 * 60_000 - 61_000));
      third.releasePredecessor(successorKey, ticket.graceMs);
      await third.look();
      expect(await other.refresh(ticket, leads(dead))).toMatchObject({ outcome: dead, source: 'leader' });
    });

    it('shows an old copy for a quarter of an hour after the next tokens have come, and shares nothing with it', async () => {
      const [one, other] = processes();
      const ticket = newTicket({ graceMs: 1_000 });
      const successorKey = randomUUID();
      await one.refresh(ticket, leads({ ...refreshed, successorKey }));
      await eventually(async () => (await valueOf(doneOf(ticket))) !== undefined);
      // Published 16 minutes ago, claimed 8 minutes ago.
      await redis.command('PEXPIRE', doneOf(ticket), String(14 * 60_000));
      await redis.command('SET', claimOf(successorKey), '1', 'PX', String(7 * 60_000));
      expect(await other.refresh(ticket, leads(dead))).toMatchObject({ outcome: dead, source: 'leader' });
      expect(other.claimedAtMs(ticket.key)).toBeLessThan(Date.now() - 7 * 60_000);
    });

    it('shares nothing with those who come more than a quarter of an hour later, though no browser has come', async () => {
      const [one, other] = processes();
      const ticket = newTicket();
      await one.refresh(ticket, leads({ ...refreshed, successorKey: randomUUID() }));
      await eventually(async () => (await valueOf(doneOf(ticket))) !== undefined);
      await redis.command('PEXPIRE', doneOf(ticket), String(15 * 60_000 - 1));
      expect(await other.refresh(ticket, leads(dead))).toMatchObject({ outcome: dead, source: 'leader' });
    });

    it('of nothing ends at once', async () => {
      const ticket = newTicket({ graceMs: 0 });
      const { one, other } = await claimElsewhere(ticket, randomUUID());
      for (const each of [one, other]) {
        const presented = leads(away);
        await each.refresh(ticket, presented);
        expect(presented).toHaveBeenCalledTimes(1);
      }
    });

    it('leaves the successor to a browser that has not come with it yet', async () => {
      const [one, other] = processes();
      const ticket = newTicket({ graceMs: 1_000 });
      await one.refresh(ticket, leads(refreshed));
      clock.advance(10 * 60);
      for (const each of [one, other]) {
        expect(await each.refresh(ticket, mustNotLead)).toMatchObject({ outcome: refreshed, source: 'fleet' });
      }
    });
  });

  it('takes over a lease that one process has held for longer than a refresh may run', async () => {
    const [one] = processes({ leaseMs: 100 });
    const ticket = newTicket({ timeoutMs: 300 });
    await redis.command('SET', leaseOf(ticket), 'a process that hangs');
    expect(await one.refresh(ticket, mustNotLead)).toMatchObject({ outcome: { kind: 'unavailable' } });
    clock.advance(1);
    expect(await one.refresh(ticket, leads(refreshed))).toMatchObject({ outcome: refreshed, source: 'leader' });
  });

  it('leaves a lease alone that has passed from one process to another meanwhile', async () => {
    const [one] = processes({ leaseMs: 100 });
    const ticket = newTicket({ timeoutMs: 300 });
    await redis.command('SET', leaseOf(ticket), 'a process');
    expect(await one.refresh(ticket, mustNotLead)).toMatchObject({ outcome: { kind: 'unavailable' } });
    clock.advance(1);
    await redis.command('SET', leaseOf(ticket), 'another process');
    expect(await one.refresh(ticket, mustNotLead)).toMatchObject({ outcome: { kind: 'unavailable' } });
    expect(await valueOf(leaseOf(ticket))).toBe('another process');
  });

  it('stops prolonging its own lease at that age', async () => {
    const [one] = processes({ leaseMs: 150 });
    const ticket = newTicket({ timeoutMs: 5_000 });
    const { lead, finish } = heldLead(refreshed);
    const leading = one.refresh(ticket, lead);
    await eventually(async () => (await valueOf(leaseOf(ticket))) !== undefined);
    clock.advance(6);
    await eventually(async () => (await valueOf(leaseOf(ticket))) === undefined);
    finish();
    await leading;
  });

  it.each<[string, object]>([
    ['client', { client: undefined }],
    ['client', { client: null }],
    ['client', { client: {} }],
    ['client', { client: { call: 'GET', sendCommand: 'GET' } }],
    ['prefix', { prefix: 1 }],
    ['leaseMs', { leaseMs: 99 }],
    ['timeoutMs', { timeoutMs: 0 }],
    ['leaseMs', { leaseMs: NaN }],
    ['leaseMs', { leaseMs: Infinity }],
    ['leaseMs', { leaseMs: '5000' }],
    ['timeoutMs', { timeoutMs: -1 }],
    ['timeoutMs', { timeoutMs: 10_001 }],
    ['pollMs', { pollMs: 99 }],
    ['pollMs', { pollMs: 60_001 }],
    ['rememberSeconds', { rememberSeconds: 3_599 }],
    ['rememberSeconds', { rememberSeconds: 400 * 24 * 60 * 60 + 1 }],
    ['maxSessions', { maxSessions: 'many' }],
    ['ttl', { ttl: 1 }],
  ])('refuses a wrong %s: %p', (path, options) => {
    const message = expect.stringMatching(/^(must be|is not) ./) as unknown;
    expect(() => redisFleet({ client: clients.ioredis, ...options })).toThrow(
      expect.objectContaining({ code: 'ERR_SESSION_CONFIG', problems: [{ path: `redisFleet.${path}`, message }] }),
    );
  });

  it('reads each option once, and uses what it has checked', async () => {
    const reads: string[] = [];
    const sent: string[][] = [];
    const fine = { client: { sendCommand: (args: string[]) => (sent.push(args), Promise.resolve('OK')) } };
    const good: Record<string, unknown> = {
      ...fine,
      prefix: 'an app:',
      leaseMs: 7_000,
      timeoutMs: 300,
      pollMs: 500,
      rememberSeconds: 7_200,
    };
    // Each getter answers with something else from the second reading on.
    const options = {} as RedisFleetOptions;
    for (const [name, value] of Object.entries(good)) {
      const get = () => (
        reads.push(name),
        reads.filter((each) => each === name).length === 1 ? value : { wrong: true }
      );
      Object.defineProperty(options, name, { get, enumerable: true });
    }
    const one = processOf(redisFleet(options));
    const ticket = newTicket();
    await one.refresh(ticket, leads(away));
    expect(reads.sort()).toEqual(['client', 'leaseMs', 'pollMs', 'prefix', 'rememberSeconds', 'timeoutMs']);
    const keys = ['done', 'lease'].map((end) => `an app:{${ticket.key}}:${end}`);
    expect(sent[0]).toEqual(['EVAL', expect.any(String), '2', ...keys, expect.any(String), '7000']);
  });

  it('is not changed by later changes of the options', async () => {
    const sent: string[][] = [];
    const client = { sendCommand: (args: string[]) => (sent.push(args), Promise.resolve('OK')) };
    const options = { client, prefix: 'before:', leaseMs: 7_000 };
    const one = processOf(redisFleet(options));
    Object.assign(options, { client: undefined, prefix: 'after:', leaseMs: 'x' });
    const ticket = newTicket();
    await one.refresh(ticket, leads(away));
    const keys = ['done', 'lease'].map((end) => `before:{${ticket.key}}:${end}`);
    expect(sent[0]).toEqual(['EVAL', expect.any(String), '2', ...keys, expect.any(String), '7000']);
  });

  it('gives Redis whole milliseconds for fractions in the options', async () => {
    const [one, other] = processes({ leaseMs: 1_000.5 });
    const ticket = newTicket({ graceMs: 1_000_000.5 });
    await one.refresh(ticket, leads(refreshed));
    expect(await other.refresh(ticket, mustNotLead)).toMatchObject({ outcome: refreshed, source: 'fleet' });
    expect(changes).toEqual([]);
  });

  it('releases its lease when the lead rejects', async () => {
    const [one, other] = processes({ leaseMs: 60_000 });
    const ticket = newTicket();
    const leading = one.refresh(ticket, () => Promise.reject(new Error('a module is missing')));
    await expect(leading).rejects.toThrow('a module is missing');
    await eventually(async () => (await valueOf(leaseOf(ticket))) === undefined);
    expect(await other.refresh(ticket, leads(refreshed))).toMatchObject({ outcome: refreshed, source: 'leader' });
  });

  it.each<[string, RedisClient]>([
    ['ioredis', { call: () => Promise.resolve('OK') }],
    ['node-redis', { sendCommand: () => Promise.resolve('OK') }],
  ])('needs only one method of %s', async (_, client) => {
    const one = processOf(redisFleet({ client }));
    await one.record([ended('one')]);
    expect([isEnded(one, 'one'), await one.firstSight(name('a jti'), Date.now() + 60_000)]).toEqual([true, true]);
  });

  it('does not take a blocked event loop for an outage', async () => {
    // Like a client that is still sending other commands.
    const sendsLater = {
      sendCommand: async (args: string[]) => {
        for (let turn = 0; turn < 5; turn += 1) await setImmediate();
        return clients.nodeRedis.sendCommand(args);
      },
    };
    const third = processOf(redisFleet({ client: sendsLater }), (reachable) => changes.push(reachable));
    for (const each of [...processes(), third]) {
      const learning = each.look();
      const until = performance.now() + 300;
      while (performance.now() < until);
      await learning;
    }
    expect(changes).toEqual([]);
  });

  describe('while Redis accepts and never answers', () => {
    afterEach(async () => {
      redis.resume();
      await Promise.all([clients.ioredis.ping(), clients.nodeRedis.ping()]);
    });

    it('costs a request one time-out, and sends one command a second', async () => {
      const sent: string[] = [];
      const client = { sendCommand: (args: string[]) => (sent.push(args[0]!), clients.nodeRedis.sendCommand(args)) };
      // Not `changes`: fleets of earlier tests may still report to it.
      const told: boolean[] = [];
      const one = processOf(redisFleet({ client, pollMs: 60_000 }), (reachable) => told.push(reachable));
      redis.pause();

      // The middleware's order: endings, the refresh, endings again.
      const visit = async () => {
        await one.look();
        const coordinated = await one.refresh(newTicket(), leads(refreshed));
        await one.look();
        return coordinated;
      };
      expect(await visit()).toMatchObject({ outcome: refreshed, source: 'leader' });
      expect([sent, told]).toEqual([['EVAL'], [false]]);
      await Promise.all(Array.from({ length: 20 }, visit));
      expect(sent).toHaveLength(1);
      clock.advance(1);
      await Promise.all(Array.from({ length: 20 }, visit));
      expect(sent).toHaveLength(2);
      expect(told).toEqual([false]);

      redis.resume();
      clock.advance(1);
      await visit();
      expect(told).toEqual([false, true]);
    });

    it('leaves no lease behind', async () => {
      for (const each of processes({ leaseMs: 60_000 })) {
        const ticket = newTicket();
        const watch = await redis.watch();
        redis.pause();
        expect(await each.refresh(ticket, leads(refreshed))).toMatchObject({ source: 'leader' });
        redis.resume();
        const take = ([name, key]: string[]) => name === 'set' && key === leaseOf(ticket);
        await eventually(async () => (await watch.commands()).some(take));
        watch.stop();
        await eventually(async () => (await valueOf(leaseOf(ticket))) === undefined);
      }
    });

    it('publishes afterwards what it has refreshed alone', async () => {
      const [one, other] = processes();
      const ticket = newTicket();
      redis.pause();
      await one.refresh(ticket, leads(refreshed));
      redis.resume();
      clock.advance(2);
      await eventually(async () => (await valueOf(doneOf(ticket))) !== undefined);
      expect(await other.refresh(ticket, mustNotLead)).toMatchObject({ outcome: refreshed, source: 'fleet' });
    });

    it('does not present a token that another process is refreshing', async () => {
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
      expect(await waiting).toMatchObject({ outcome: { kind: 'unavailable' } });
      expect(await other.refresh(ticket, mustNotLead)).toMatchObject({ outcome: { kind: 'unavailable' } });
      finish();
      expect(await leading).toMatchObject({ outcome: refreshed, source: 'leader' });
    });

    it('presents the token once the other process must have finished', async () => {
      const [one] = processes();
      const ticket = newTicket({ timeoutMs: 100 });
      await redis.command('SET', leaseOf(ticket), 'somebody else', 'PX', '60000');
      expect(await one.refresh(ticket, mustNotLead)).toMatchObject({ outcome: { kind: 'unavailable' } });
      redis.pause();
      clock.advance(4);
      expect(await one.refresh(ticket, mustNotLead)).toMatchObject({ outcome: { kind: 'unavailable' } });
      clock.advance(2);
      expect(await one.refresh(ticket, leads(refreshed))).toMatchObject({ outcome: refreshed, source: 'leader' });
    });

    it('serves what it has refreshed before, also after graceSeconds, rather than present the token again', async () => {
      const [one] = processes();
      const ticket = newTicket({ graceMs: 1_000 });
      await one.refresh(ticket, leads(refreshed));
      redis.pause();
      clock.advance(10 * 60);
      expect(await one.refresh(ticket, mustNotLead)).toMatchObject({ outcome: refreshed, source: 'remembered' });
    });
  });
});

/** A refresh that runs until `finish` is called. */
function heldLead(outcome: Outcome) {
  let finish = (): void => undefined;
  const finished = new Promise<Outcome>((resolve) => {
    finish = () => {
      resolve(outcome);
    };
  });
  return { lead: () => finished, finish };
}
