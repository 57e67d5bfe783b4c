/**
 * Endings in a fleet: `npm run soak:endings -- --seconds 30 --rate 2000`.
 *
 * Four processes serve valid sessions at the rate that this machine can drive. Every quarter of a second one session is
 * signed out in one process, and the three others are asked until they refuse it. Then Redis goes away at the moment of
 * a sign-out, a replica takes over, and a slot of a cluster moves: no ending may be lost, and a process that starts
 * afterwards must know them all. It prints what it has measured, and fails when an ending is lost, or late by more than
 * `--late` milliseconds.
 */
import { Agent, get } from 'node:http';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { createSessionManager, workos } from 'express-sealed-session';
import { Redis } from 'ioredis';

import { startAppProcess, startRedisProcess } from '../support/fleet-processes.js';
import { startProvider } from './provider.js';
import { sentinelName, startSentinel } from './sentinel.js';

const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string', default: '20' },
    rate: { type: 'string', default: '2000' },
    late: { type: 'string', default: '1000' },
    away: { type: 'string', default: '20' },
  },
});
const [seconds, rate, lateMs, awaySeconds] = [flags.seconds, flags.rate, flags.late, flags.away].map(Number);
const password = 'a password of the soak, which is long enough';
const agent = new Agent({ keepAlive: true, maxSockets: 64 });
const failures = [];

const provider = await startProvider({
  lifetimeSeconds: 3_600,
  chance: () => false,
  between: () => 0,
  tellReused: () => undefined,
});
const manager = createSessionManager({ provider: workos(provider.settings), password });

async function newSession() {
  return manager.seal(await provider.issue());
}

/** @returns whether the app says that somebody is signed in */
function ask(app, sealed, path = '/') {
  return new Promise((resolve, reject) => {
    get(`${app.url}${path}`, { agent, headers: { cookie: `wos-session=${sealed}` } }, (res) => {
      let text = '';
      res.on('data', (chunk) => (text += chunk)).on('end', () => resolve(JSON.parse(text).authenticated === true));
    }).on('error', reject);
  });
}

async function startFleet(size, settings, tell) {
  const common = {
    library: 'ioredis',
    provider: provider.settings,
    strict: true,
    password,
    reports: ['EVAL', 'SET', 'GET', 'DEL'],
  };
  return Promise.all(Array.from({ length: size }, () => startAppProcess({ ...common, ...settings }, tell)));
}

/** How long after `sinceMs` each of these refuses the session, in milliseconds; undefined where none does in time. */
async function refusedAfter(apps, sealed, sinceMs, withinMs) {
  return Promise.all(
    apps.map(async (app) => {
      while (performance.now() - sinceMs < withinMs) {
        if (!(await ask(app, sealed))) return performance.now() - sinceMs;
        await sleep(10);
      }
      return undefined;
    }),
  );
}

function mustBeKnown(what, times) {
  const lost = times.filter((ms) => ms === undefined).length;
  if (lost > 0) failures.push(`${what}: ${lost} not refused`);
  return times.filter((ms) => ms !== undefined).map(Math.round);
}

/** A process that starts now refuses these sessions with its first answer. */
async function mustKnowAtStart(what, settings, ended) {
  const [late] = await startFleet(1, settings);
  for (const sealed of ended) {
    if (await ask(late, sealed)) failures.push(`${what}: a process that started afterwards served an ended session`);
  }
  await late.stop();
}

async function speed() {
  const redis = await startRedisProcess();
  const settings = { redisPorts: [redis.port] };
  let commands = 0;
  const apps = await startFleet(4, settings, ({ type }) => (commands += type === 'command' ? 1 : 0));
  const visitors = await Promise.all(Array.from({ length: 200 }, newSession));
  for (let turn = 0; turn < 3; turn += 1)
    for (const app of apps) await Promise.all(visitors.map((each) => ask(app, each)));

  let served = 0;
  let refused = 0;
  let isOver = false;
  const startedMs = performance.now();
  const drive = async (offset) => {
    for (let number = offset; !isOver; number += 1) {
      // No faster than asked for.
      const aheadMs = (served / rate) * 1000 - (performance.now() - startedMs);
      if (aheadMs > 0) await sleep(aheadMs);
      if (await ask(apps[number % 4], visitors[number % visitors.length])) served += 1;
      else refused += 1;
    }
  };
  const driving = Array.from({ length: 32 }, (_, index) => drive(index * 7));

  // First nothing ends: what the reading costs by itself.
  const [quietFrom, quietCommands] = [performance.now(), commands];
  await sleep((seconds / 4) * 1_000);
  const quiet = (commands - quietCommands) / ((performance.now() - quietFrom) / 1000);

  const times = [];
  const waiting = [];
  const ended = [];
  while (performance.now() - startedMs < seconds * 1_000) {
    const sealed = await newSession();
    for (const app of apps) for (let turn = 0; turn < 2; turn += 1) await ask(app, sealed);
    const [first, ...others] = [...apps].sort(() => Math.random() - 0.5);
    await ask(first, sealed, '/out');
    ended.push(sealed);
    waiting.push(refusedAfter(others, sealed, performance.now(), 10_000).then((all) => times.push(...all)));
    await sleep(250);
  }
  await Promise.all(waiting);
  isOver = true;
  await Promise.all(driving);
  const drivenMs = performance.now() - startedMs;
  const known = mustBeKnown('a sign-out', times).sort((one, other) => one - other);
  const at = (part) => known[Math.min(known.length - 1, Math.floor(known.length * part))];
  console.log(
    `Four processes, ${Math.round((served / drivenMs) * 1000)} requests a second of valid sessions (asked for: ${rate}).`,
  );
  console.log(`After a sign-out in one, the others refused the session after (${known.length} times, milliseconds):`);
  console.table({
    'from the answer of the sign-out': {
      least: at(0),
      median: at(0.5),
      '90 %': at(0.9),
      '99 %': at(0.99),
      most: at(1),
    },
  });
  console.log(`Redis commands a second while nothing ended: ${quiet.toFixed(2)} of four processes.`);
  if (refused > 0) failures.push(`${refused} valid sessions were refused`);
  if (at(1) > lateMs) failures.push(`the last one was refused after ${at(1)} ms`);
  await mustKnowAtStart('four processes', settings, ended.slice(0, 20));

  // Redis is gone at the moment of the sign-out.
  const sealed = await newSession();
  for (const app of apps) await ask(app, sealed);
  await redis.kill();
  await ask(apps[0], sealed, '/out');
  await sleep(awaySeconds * 1_000);
  await redis.restart();
  const back = mustBeKnown('Redis away', await refusedAfter(apps.slice(1), sealed, performance.now(), 15_000));
  console.log(
    `Redis away for ${awaySeconds} s at the sign-out: refused ${back.join(', ')} ms after its return (empty).`,
  );
  await sleep(3_000);
  await mustKnowAtStart('Redis away', settings, [sealed, ...ended.slice(0, 20)]);
  await Promise.all(apps.map((app) => app.stop()));
  await redis.stop();
}

async function failover() {
  const sentinel = await startSentinel();
  const settings = { redisPorts: [], sentinel: { port: sentinel.port, name: sentinelName } };
  const apps = await startFleet(3, settings);
  const ended = [];
  for (let number = 0; number < 10; number += 1) {
    const sealed = await newSession();
    for (const app of apps) await ask(app, sealed);
    ended.push(sealed);
  }
  for (const sealed of ended.slice(0, 5)) await ask(apps[0], sealed, '/out');
  const over = sentinel.failOver();
  const since = performance.now();
  for (const sealed of ended.slice(5)) await ask(apps[1], sealed, '/out');
  await over;
  const times = [];
  for (const sealed of ended) times.push(...(await refusedAfter(apps, sealed, since, 60_000)));
  const known = mustBeKnown('failover', times);
  console.log(
    `Failover by Sentinel: ten sign-outs around it, all refused ${Math.max(...known)} ms after the primary died.`,
  );
  await sleep(3_000);
  await mustKnowAtStart('failover', settings, ended);
  await Promise.all(apps.map((app) => app.stop()));
  sentinel.stop();
}

async function movingSlot() {
  const masters = await Promise.all([1, 2, 3].map(() => startRedisProcess({ cluster: true })));
  const clients = masters.map(({ port }) => new Redis(port));
  const ids = [];
  for (const [index, client] of clients.entries()) {
    const [from, to] = [index * 5_462, Math.min((index + 1) * 5_462, 16_384) - 1];
    await client.call('CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1));
    await client.call('CLUSTER', 'ADDSLOTSRANGE', String(from), String(to));
    if (index > 0)
      await client.call('CLUSTER', 'MEET', '127.0.0.1', String(masters[0].port), String(masters[0].clusterPort));
    ids.push(String(await client.call('CLUSTER', 'MYID')));
  }
  await Promise.all(masters.map(({ logged }) => logged('Cluster state changed: ok')));
  const settings = { redisPorts: masters.map(({ port }) => port) };
  const apps = await startFleet(3, settings);
  const ended = [];
  const signOutOne = async () => {
    const sealed = await newSession();
    for (const app of apps) await ask(app, sealed);
    await ask(apps[ended.length % 3], sealed, '/out');
    ended.push(sealed);
  };
  for (let number = 0; number < 5; number += 1) await signOutOne();
  const slot = String(await clients[0].call('CLUSTER', 'KEYSLOT', 'sealed-session:{ledger}:0'));
  const from = Math.floor(Number(slot) / 5_462);
  const to = (from + 1) % 3;
  await clients[to].call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', ids[from]);
  await clients[from].call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', ids[to]);
  for (let number = 0; number < 5; number += 1) await signOutOne();
  for (;;) {
    const keys = await clients[from].call('CLUSTER', 'GETKEYSINSLOT', slot, '10');
    if (keys.length === 0) break;
    for (const key of keys) {
      await clients[from].call('MIGRATE', '127.0.0.1', String(masters[to].port), key, '0', '5000');
      await signOutOne();
    }
  }
  for (const index of [to, from, 3 - to - from]) await clients[index].call('CLUSTER', 'SETSLOT', slot, 'NODE', ids[to]);
  for (let number = 0; number < 5; number += 1) await signOutOne();
  const since = performance.now();
  const times = [];
  for (const sealed of ended) times.push(...(await refusedAfter(apps, sealed, since, 20_000)));
  const known = mustBeKnown('a moving slot', times);
  console.log(
    `A slot that moved: ${ended.length} sign-outs around it, all refused ${Math.max(...known)} ms after the last.`,
  );
  await sleep(3_000);
  await mustKnowAtStart('a moving slot', settings, ended);
  for (const client of clients) client.disconnect();
  await Promise.all([...apps, ...masters].map((each) => each.stop()));
}

await speed();
await failover();
await movingSlot();
for (const failure of failures) console.error(failure);
console.log(failures.length === 0 ? 'No ending was lost.' : 'FAILED');
process.exit(failures.length === 0 ? 0 : 1);
