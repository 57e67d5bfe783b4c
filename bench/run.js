// What each session layer adds to bare Express: processor time per request of a signed-in visitor, requests per second,
// latency and memory, for one cookie repeated ("known") and for many distinct ones ("new").
//
//   npm run bench -- [--samples 24] [--seconds 0.5] [--cookies 20000] [--only name,name|steps] [--json]
//
// BENCH_BEFORE=/folder of another build measures that build as well.
//
// The layers take turns within each round, and the turns are short, so that a machine that gets slower or faster does so
// for all of them. Ratios within one run are what counts.
import { parseArgs } from 'node:util';

import autocannon from 'autocannon';

import { onItsOwn, outOfTheWay, sharing } from './affinity.js';
import { median, MiB } from './figures.js';
import { layers } from './layers.js';
import { startProcess } from './processes.js';
import { startRedis } from './redis.js';
import { digits, machine, note, printMachine, printTable } from './report.js';
import { visitors } from './visitor.js';

const { values: flags } = parseArgs({
  options: {
    samples: { type: 'string', default: '24' },
    seconds: { type: 'string', default: '0.5' },
    cookies: { type: 'string', default: '20000' },
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const [samples, seconds, cookieCount] = [flags.samples, flags.seconds, flags.cookies].map(Number);
const populations = ['known', 'new'];
const [bare, ours, compact] = ['bare Express', 'express-sealed-session', 'express-sealed-session (compact)'];
const [sentCompact, byHand] = ['bare Express sent a compact cookie', 'iron-session + jose by hand'];

outOfTheWay();
const redis = await startRedis();
if (!redis) note('There is no redis-server here: the layers that need one are left out.');
// The steps of a first sight are measured beside those that take all of them.
const ofSteps = [...Object.keys(layers).filter((name) => layers[name].isStep), sentCompact, byHand];
const only = flags.only === 'steps' ? ofSteps : flags.only?.split(',').map((name) => name.trim());
const names = Object.keys(layers).filter(
  (name) =>
    (redis || !layers[name].needsRedis) &&
    (only ? [bare, ours, compact, ...only].includes(name) : !layers[name].isStep),
);
const provider = await startProcess('provider.js');

note(`${cookieCount} visitors …`);
const mint = await visitors(provider.ready);
const sessions = [];
for (let number = 0; number < cookieCount; number += 1) sessions.push(await mint(number));

const cookiesOf = new Map();
const contestants = [];
for (const name of names) contestants.push(await enter(name));
for (let round = -1; round < samples; round += 1) {
  note(round < 0 ? 'warming up …' : `round ${round + 1} of ${samples} …`);
  for (const population of populations) {
    for (const contestant of contestants) {
      const figures = await sample(contestant, population);
      if (round >= 0) contestant.figures[population].push(figures);
    }
  }
}
report();
// Everything else is stopped on the way out.
process.exit();

async function enter(name) {
  note(`${name} …`);
  const server = await startProcess('server.js', { name, url: provider.ready.url, redisSocket: redis?.socket });
  onItsOwn(server.pid);
  if (layers[name].stored) await server.ask({ ask: 'fill', sessions });
  const cookies = await cookiesFor(layers[name].cookie);
  const check = await fetch(server.ready.url, { headers: { cookie: cookies[0] } });
  if (check.status !== 200) throw new Error(`${name} answered ${check.status}: it does not take the bench's cookie.`);
  return { name, server, cookies, turn: 0, figures: { known: [], new: [] } };
}

/** Layers that read the same cookie are given the same ones. */
async function cookiesFor(cookie) {
  if (!cookiesOf.has(cookie)) {
    const made = [];
    for (const [number, session] of sessions.entries())
      made.push(await cookie(session, { number, url: provider.ready.url }));
    cookiesOf.set(cookie, made);
  }
  return cookiesOf.get(cookie);
}

async function sample(contestant, population) {
  const { server, cookies } = contestant;
  // One turn for all connections and all samples: no cookie comes again before every other has come, so that a cache of
  // fewer has forgotten it.
  const nextCookie = () => cookies[population === 'known' ? 0 : contestant.turn++ % cookies.length];
  const before = await server.ask({ ask: 'usage' });
  const result = await autocannon({
    url: server.ready.url,
    connections: 32,
    duration: seconds,
    requests: [{ setupRequest: (request) => ({ ...request, headers: { cookie: nextCookie() } }) }],
  });
  const after = await server.ask({ ask: 'usage' });
  if (result.non2xx > 0 || result.errors > 0) throw new Error(`${contestant.name} refused a request.`);
  const micros = after.cpu.user + after.cpu.system - before.cpu.user - before.cpu.system;
  return {
    cpu: micros / result.requests.total,
    rate: result.requests.average,
    p50: result.latency.p50,
    p99: result.latency.p99,
    memory: after.memory.rss,
  };
}

function report() {
  const medianOf = ({ figures }, population, field) => median(figures[population].map((each) => each[field]));
  const rows = contestants.map((contestant) => {
    const row = { name: contestant.name };
    for (const population of populations) {
      const figures = ['cpu', 'rate', 'p50', 'p99', 'memory'].map((field) => [
        field,
        medianOf(contestant, population, field),
      ]);
      row[population] = Object.fromEntries(figures);
      row[population].added = row[population].cpu - medianOf(contestants[0], population, 'cpu');
    }
    return row;
  });
  const [own, ownCompact] = [ours, compact].map((wanted) => rows.find(({ name }) => name === wanted));
  for (const row of rows) {
    for (const population of populations) {
      const { added } = row[population];
      if (row.name === bare) continue;
      row[population].ratio = own[population].added / added;
      row[population].compactRatio = ownCompact[population].added / added;
    }
  }

  if (flags.json) {
    console.log(JSON.stringify({ machine: machine(), sharing, samples, seconds, cookieCount, rows }, undefined, 2));
    return;
  }
  printMachine();
  console.log(`${sharing} Medians of ${samples} samples of ${seconds} s.\n`);
  for (const population of populations) {
    console.log(population === 'known' ? 'Known: one cookie, repeated' : `New: ${cookieCount} cookies in turn`);
    printTable(rows, {
      '': ({ name }) => name,
      'ours/it': (row) => digits(row[population].ratio, 2),
      'compact/it': (row) => digits(row[population].compactRatio, 2),
      'added µs': (row) => digits(row[population].added),
      'CPU µs': (row) => digits(row[population].cpu),
      'requests/s': (row) => digits(row[population].rate),
      'p50 ms': (row) => digits(row[population].p50),
      'p99 ms': (row) => digits(row[population].p99),
      'RSS MiB': (row) => digits(MiB(row[population].memory)),
    });
  }
}
