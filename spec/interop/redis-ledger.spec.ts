import { createHash, randomUUID } from 'node:crypto';

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createSessionManager } from 'express-sealed-session';
import { type RedisClient, redisFleet, type RedisFleetOptions } from 'express-sealed-session/redis';
import { Redis } from 'ioredis';
import { createClient } from 'redis';

import { fleetParts } from '../../lib/fleet/fleet.js';
import type { Ledger, LedgerEntry, SessionNames } from '../../lib/fleet/ledger.js';
import { useClock } from '../support/clock.js';
import { eventually } from '../support/eventually.js';
import { type RedisServer, startRedis } from '../support/redis-server.js';
import { describeWithPart } from '../support/system-parts.js';
import { startWorkosServer } from '../support/workos-server.js';
import { sealedSession, workosOptions } from '../support/workos-session.js';

/** A name as the naming makes it. */
const name = (of: string) => createHash('sha256').update(of).digest('base64url').slice(0, 22);
const entry = (of: string, changes: Partial<LedgerEntry> = {}): LedgerEntry => ({
  kind: 'ended',
  name: name(of),
  atMs: Date.now(),
  untilMs: Date.now() + 60 * 60_000,
  ...changes,
});
const named = (...of: string[]): SessionNames => ({ own: of.map(name), shared: [], begunMs: 0 });
const isEnded = (ledger: Ledger, of: string) => ledger.endingOf(named(of)) !== undefined;
const day = 24 * 60 * 60_000;

/** Two ledgers, each with a client of its own, are two processes to Redis. None of them reads by itself in a test's time. */
describeWithPart('redis', "a fleet's ledger", () => {
  const clock = useClock();
  let redis: RedisServer;
  let ioredis: Redis;
  let nodeRedis: ReturnType<typeof createClient>;
  let prefix: string;

  beforeAll(async () => {
    redis = await startRedis();
    ioredis = new Redis(redis.port);
    ioredis.on('error', () => undefined);
    nodeRedis = createClient({ url: redis.url });
    nodeRedis.on('error', () => undefined);
    await nodeRedis.connect();
  });
  beforeEach(() => {
    prefix = `${randomUUID()}:`;
  });
  afterAll(async () => {
    ioredis.disconnect();
    nodeRedis.destroy();
    await redis.stop();
  });

  const ledgerOf = (client: RedisClient, options: Partial<RedisFleetOptions> = {}) =>
    fleetParts(redisFleet({ client, prefix, pollMs: 60_000, ...options }))!.ledger;
  const two = (options?: Partial<RedisFleetOptions>): [Ledger, Ledger] => [
    ledgerOf(ioredis, options),
    ledgerOf(nodeRedis, options),
  ];
  const streams = async () => (await redis.command('KEYS', `${prefix}{ledger}:?`)) as string[];
  /** All that has been added, oldest first. */
  async function records(): Promise<string[]> {
    const all = await Promise.all(
      (await streams()).map((key) => redis.command('XRANGE', key, '-', '+') as Promise<[string, string[]][]>),
    );
    return all.flat().flatMap(([, fields]) => fields[1]!.split(' '));
  }
  /** As a restart does: everything is gone. */
  const loseAll = async () => redis.command('DEL', ...(await streams()));

  it('tells another process, and one that starts later', async () => {
    const [one, other] = two();
    await one.record([entry('a'), entry('b', { kind: 'refresh', atMs: 5_000 }), entry('c', { isReplaced: true })]);
    await other.look();
    for (const each of [other, ledgerOf(ioredis)]) {
      await each.look();
      expect(['a', 'b', 'c', 'd'].map((of) => isEnded(each, of))).toEqual([true, false, true, false]);
      expect([each.freshFromMs(named('b')), each.endingOf(named('c'))?.isReplaced]).toEqual([5_000, true]);
    }
  });

  it('reads every pollMs by itself, with one command each time', async () => {
    const sent: string[] = [];
    const client = { sendCommand: (args: string[]) => (sent.push(args[0]!), nodeRedis.sendCommand(args)) };
    const [one, other] = [ledgerOf(ioredis), ledgerOf(client, { pollMs: 100 })];
    expect(await other.untilRead()).toBe(true);
    const before = sent.length;
    await one.record([entry('a')]);
    await eventually(() => Promise.resolve(isEnded(other, 'a')));
    await eventually(() => Promise.resolve(sent.length > before + 3));
    expect(new Set(sent)).toEqual(new Set(['EVAL']));
  });

  it('asks once for all who ask while it is being asked', async () => {
    const sent: string[] = [];
    const client = { sendCommand: (args: string[]) => (sent.push(args[0]!), nodeRedis.sendCommand(args)) };
    const one = ledgerOf(client);
    await one.look();
    sent.length = 0;
    await Promise.all(Array.from({ length: 50 }, () => one.look()));
    // The one that ran, and one more: what was added meanwhile may be in that only.
    expect(sent).toEqual(['EVAL', 'EVAL']);
  });

  it('keeps what lasts for hours apart from what lasts for a year', async () => {
    const [one] = two();
    await one.record([
      entry('hours'),
      entry('a day', { untilMs: Date.now() + day }),
      entry('a year', { untilMs: Date.now() + 300 * day }),
      entry('over', { untilMs: Date.now() - 1 }),
    ]);
    expect((await streams()).sort()).toEqual([0, 1, 2].map((index) => `${prefix}{ledger}:${index}`));
    const ttls = await Promise.all((await streams()).sort().map((key) => redis.command('PTTL', key)));
    expect(ttls.map((ttl) => Math.ceil(Number(ttl) / day))).toEqual([1, 3, 396]);
    expect(await records()).toHaveLength(3);
  });

  it('holds no id that could be read, and believes nothing that is no entry, or reaches too far', async () => {
    const [one, other] = two();
    const key = `${prefix}{ledger}:0`;
    const far = `e${name('far')}${Number.MAX_SAFE_INTEGER.toString(36)}.zzzzzzzzz`;
    for (const bad of ['', 'e', `x${name('x')}1.zzzzzz`, `e${name('x')}1.zzzzzz?`, '{"kind":"ended"}', far]) {
      await redis.command('XADD', key, '*', 'e', bad);
    }
    await one.record([entry('good')]);
    await other.look();
    expect(['x', 'far', 'good'].map((of) => isEnded(other, of))).toEqual([false, true, true]);
    expect(other.endingOf(named('far'))!.atMs).toBeLessThanOrEqual(Date.now());
    clock.advance(400 * 24 * 60 * 60);
    expect(isEnded(other, 'far')).toBe(false);
  });

  it('refuses the second of two log-out tokens in any process, and cannot tell while Redis is away', async () => {
    const [one, other] = two();
    const untilMs = Date.now() + 60_000;
    const sight = (ledger: Ledger, jti: string) => ledger.firstSight(name(jti), untilMs);
    expect([await sight(one, 'a'), await sight(one, 'a'), await sight(other, 'a'), await sight(other, 'b')]).toEqual([
      true,
      false,
      false,
      true,
    ]);
    expect(await one.firstSight(name('late'), Date.now() - 1)).toBe(false);
    redis.pause();
    expect([await sight(one, 'c'), await sight(one, 'a')]).toEqual([undefined, false]);
    redis.resume();
  });

  describe('what Redis loses', () => {
    it('is given back by the processes that know it, once', async () => {
      const [one, other] = two();
      await one.record([entry('a'), entry('b', { untilMs: Date.now() + 300 * day })]);
      await other.record([entry('c', { kind: 'refresh' })]);
      await Promise.all([one.look(), other.look()]);
      await loseAll();
      for (let turn = 0; turn < 3; turn += 1) await Promise.all([one.look(), other.look()]);
      // The last bits of a name are not kept.
      expect((await records()).map((record) => record.slice(0, 17)).sort()).toEqual(
        [`e${name('a')}`, `e${name('b')}`, `r${name('c')}`].map((record) => record.slice(0, 17)).sort(),
      );
      const late = ledgerOf(ioredis);
      await late.look();
      expect([isEnded(late, 'a'), isEnded(late, 'b'), late.freshFromMs(named('c')) > 0]).toEqual([true, true, true]);
    });

    it('is given back once, though another process has found it missing before that', async () => {
      let release: () => void = () => undefined;
      const held = new Promise<void>((resolve) => (release = resolve));
      let isWaiting: () => void = () => undefined;
      const waiting = new Promise<void>((resolve) => (isWaiting = resolve));
      const slow = {
        call: async (command: string, ...args: string[]) => {
          // It asks whether it may give back, once it has read that everything is gone.
          if (command === 'SET' && args[0]?.endsWith(':return')) {
            isWaiting();
            await held;
          }
          return ioredis.call(command, ...args);
        },
      };
      const [one, other] = [ledgerOf(nodeRedis), ledgerOf(slow)];
      await one.record([entry('a')]);
      await Promise.all([one.look(), other.look()]);
      await loseAll();
      const late = other.look();
      await waiting;
      await one.look();
      release();
      await late;
      expect(await records()).toHaveLength(1);
    });

    it('is given back also when another process has added something since', async () => {
      const [one, other] = two();
      await one.record([entry('a')]);
      await one.look();
      await loseAll();
      await other.record([entry('b')]);
      await one.look();
      const late = ledgerOf(ioredis);
      await late.look();
      expect(['a', 'b'].map((of) => [isEnded(one, of), isEnded(late, of)])).toEqual([
        [true, true],
        [true, true],
      ]);
    });

    it('is given back when the one who wrote it had not read it yet', async () => {
      const [one] = two();
      await one.record([entry('a')]);
      await loseAll();
      await one.look();
      expect(await records()).toHaveLength(1);
    });

    it('is not given back when it is only over', async () => {
      const [one] = two();
      await one.record([entry('a')]);
      await one.look();
      await loseAll();
      clock.advance(61 * 60);
      await one.look();
      expect(await records()).toEqual([]);
    });
  });

  describe('while Redis accepts and never answers', () => {
    beforeEach(() => {
      redis.pause();
    });
    afterEach(async () => {
      redis.resume();
      await Promise.all([ioredis.ping(), nodeRedis.ping()]);
    });

    it('ends sessions in this process, and tells the fleet once Redis is back', async () => {
      const [one, other] = two();
      await one.record([entry('a')]);
      await one.record([entry('b', { isReplaced: true })]);
      expect(['a', 'b', 'c'].map((of) => isEnded(one, of))).toEqual([true, true, false]);
      redis.resume();
      clock.advance(2);
      await one.look();
      await other.look();
      expect(['a', 'b'].map((of) => isEnded(other, of))).toEqual([true, true]);
      expect(['a', 'b'].map((of) => other.endingOf(named(of))?.isReplaced)).toEqual([false, true]);
    });

    it('lets a process that starts serve after two seconds, and tells', async () => {
      const server = await startWorkosServer();
      const problems: string[] = [];
      const manager = createSessionManager(
        workosOptions(server, {
          fleet: redisFleet({ client: ioredis, prefix }),
          events: { misconfigured: ({ problem }) => problems.push(problem) },
        }),
      );
      const { sealed } = await sealedSession(server);
      expect(await manager.load(sealed).authenticate()).toMatchObject({ authenticated: true });
      expect(problems).toEqual(['endings_unread']);
      await server.close();
    }, 10_000);
  });

  it('lets a process that starts wait for what has ended before', async () => {
    const server = await startWorkosServer();
    const managerWith = (client: RedisClient) =>
      createSessionManager(workosOptions(server, { fleet: redisFleet({ client, prefix, pollMs: 60_000 }) }));
    const { sealed, sessionId } = await sealedSession(server);
    await managerWith(ioredis).revoke({ sessionId });
    redis.pause();
    const asked = managerWith(nodeRedis).load(sealed).authenticate();
    redis.resume();
    expect(await asked).toMatchObject({ authenticated: false, reason: 'session_revoked' });
    await server.close();
  });
});
