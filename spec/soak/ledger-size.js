/**
 * A million endings: `npm run soak:ledger-size`.
 *
 * What they weigh in a process and in Redis, what they cost to write, and how long a process that starts reads them: its
 * requests wait for two seconds of that at most.
 */
import { createHmac } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { clearInterval, setInterval } from 'node:timers';
import { parseArgs } from 'node:util';

import { Redis } from 'ioredis';

import { fleetParts } from '../../dist/fleet/fleet.js';
import { redisFleet } from '../../dist/redis.js';
import { startRedisProcess } from '../support/fleet-processes.js';

const { values } = parseArgs({ options: { entries: { type: 'string', default: '1000000' } } });
const count = Number(values.entries);
const redis = await startRedisProcess();
const client = new Redis(redis.port);
const ledgerOf = () => fleetParts(redisFleet({ client, timeoutMs: 5_000, pollMs: 60_000 })).ledger;
const name = (number) => createHmac('sha256', 'a key').update(String(number)).digest('base64url').slice(0, 22);
const entry = (number) => ({ kind: 'ended', name: name(number), atMs: Date.now(), untilMs: Date.now() + 3_600_000 });
const held = () => {
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
};
const rows = {};

const bytesBefore = held();
const one = ledgerOf();
let startMs = performance.now();
// As sign-outs come: one by one, some at the same time.
for (let number = 0; number < count; number += 200) {
  await Promise.all(Array.from({ length: 200 }, (_, index) => one.record([entry(number + index)])));
}
rows['written one by one'] = `${(((performance.now() - startMs) / count) * 1000).toFixed(1)} µs each`;
rows['bytes of each in a process'] = ((held() - bytesBefore) / count).toFixed(0);
const info = await client.info('memory');
rows['bytes of each in Redis'] = (Number(/used_memory:(\d+)/.exec(info)[1]) / count).toFixed(0);

startMs = performance.now();
const late = ledgerOf();
let longestMs = 0;
let lastMs = startMs;
const watch = setInterval(() => {
  longestMs = Math.max(longestMs, performance.now() - lastMs);
  lastMs = performance.now();
}, 1);
const isComplete = await late.untilRead();
rows['a process that starts may serve after'] =
  `${Math.round(performance.now() - startMs)} ms (complete: ${isComplete})`;
await late.look();
while (!late.endingOf({ own: [name(count - 1)], shared: [], begunMs: 0 })) await late.look();
clearInterval(watch);
rows['and has read everything after'] = `${Math.round(performance.now() - startMs)} ms`;
rows['longest time in which it did nothing else'] = `${Math.round(longestMs)} ms`;
startMs = performance.now();
for (let number = 0; number < 100_000; number += 1)
  late.endingOf({ own: ['AAAAAAAAAAAAAAAAAAAAAA'], shared: [], begunMs: 0 });
rows['a look-up'] = `${((performance.now() - startMs) / 100).toFixed(2)} µs`;
console.log(`${count} endings:`);
console.table(rows);
client.disconnect();
await redis.stop();
process.exit(0);
