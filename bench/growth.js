// How memory grows with the number of sessions, and traffic to Redis with the number of processes.
//
//   npm --prefix bench run growth -- [--sizes 100,10000,1000000] [--other-cookies 0] [--processes 1,2,4,8]
//                                    [--sessions 100] [--delay 50] [--only memory|redis] [--json]
//
// A million visits take five to ten minutes; `--sizes 100,10000` is done in seconds.
import { parseArgs } from 'node:util';

import { countCommands } from './growth-fleet.js';
import { note, digits, machine, printMachine, printTable } from './report.js';
import { MiB } from './figures.js';
import { startProcess } from './processes.js';
import { startRedis } from './redis.js';

const { values: flags } = parseArgs({
  options: {
    sizes: { type: 'string', default: '100,10000,1000000' },
    'other-cookies': { type: 'string', default: '0' },
    processes: { type: 'string', default: '1,2,4,8' },
    sessions: { type: 'string', default: '100' },
    delay: { type: 'string', default: '50' },
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const numbers = (list) => list.split(',').map(Number);
const otherCookies = Number(flags['other-cookies']);
// The default bounds. Endings are a million entries, of which each session here takes two.
const mostOf = { visits: 10_000, refreshes: 10_000, signOuts: 500_000 };

const memory = [];
if (flags.only !== 'redis') {
  for (const what of ['visits', 'refreshes', 'signOuts']) {
    for (const count of numbers(flags.sizes)) {
      note(`${count} ${what} …`);
      // A process for each, so that none is measured with what another has left.
      const load = await startProcess('growth-heap.js', { what, count, otherCookies }, ['--expose-gc']);
      const { bytes, rss } = load.ready;
      await load.stop();
      memory.push({ what, count, bytes, rss, each: bytes / Math.min(count, mostOf[what]) });
    }
  }
}

const fleets = [];
const redis = flags.only === 'memory' ? undefined : await startRedis();
if (!redis && flags.only !== 'memory') note('There is no redis-server here: its commands are not counted.');
if (redis) {
  const [sessions, delayMs] = [Number(flags.sessions), Number(flags.delay)];
  for (const size of numbers(flags.processes)) {
    note(`${size} processes …`);
    fleets.push({ size, ...(await countCommands(redis.socket, { size, sessions, delayMs })) });
  }
}

if (flags.json) console.log(JSON.stringify({ machine: machine(), otherCookies, memory, fleets }, undefined, 2));
else report();
process.exit();

function report() {
  printMachine();
  if (memory.length > 0) {
    console.log(`\nHeap after a collection, beside what there was before.`);
    printTable(memory, {
      '': ({ what }) => ({ visits: 'visits', refreshes: 'refreshes', signOuts: 'sign-outs' })[what],
      sessions: ({ count }) => count,
      'remembered at most': ({ what }) => mostOf[what],
      'heap MiB': ({ bytes }) => digits(MiB(bytes), 1),
      'bytes per remembered session': ({ each }) => digits(each),
      'RSS MiB': ({ rss }) => digits(MiB(rss)),
    });
  }
  if (fleets.length > 0) {
    console.log('Redis commands, those inside scripts included.');
    printTable(fleets, {
      processes: ({ size }) => size,
      'per valid request': ({ valid }) => digits(valid.commands, 2),
      'per refresh, one process asked': ({ one }) => digits(one.commands, 1),
      'of them': ({ one }) => list(one.byName),
      'per refresh, all asked at once': ({ all }) => digits(all.commands, 1),
      'provider requests per refresh': ({ all }) => digits(all.refreshes, 2),
    });
  }
}

function list(byName) {
  return Object.entries(byName)
    .map(([name, count]) => `${name} ${digits(count, 1)}`)
    .join(', ');
}
