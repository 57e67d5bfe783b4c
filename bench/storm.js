// A storm: many requests at once, each with another expired cookie, and a provider that takes a while to answer.
//
//   npm --prefix bench run storm -- [--requests 1000] [--cookies 1000] [--delay 50] [--rounds 5] [--only name] [--json]
//
// With fewer cookies than requests, several requests carry the same one: `--cookies 1` is one browser with many tabs.
// Server, provider and load are processes of their own; the server has a processor to itself. Latency is counted from
// the moment at which all requests were begun, so it holds the queue that they make.
import { Agent, request } from 'node:http';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';

import { onItsOwn, outOfTheWay, sharing } from './affinity.js';
import { median, MiB, quantile } from './figures.js';
import { layers } from './layers.js';
import { startProcess } from './processes.js';
import { digits, machine, note, printMachine, printTable } from './report.js';
import { visitors } from './visitor.js';

const { values: flags } = parseArgs({
  options: {
    requests: { type: 'string', default: '1000' },
    cookies: { type: 'string', default: '1000' },
    delay: { type: 'string', default: '50' },
    rounds: { type: 'string', default: '5' },
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const [requestCount, cookieCount, delayMs, rounds] = [flags.requests, flags.cookies, flags.delay, flags.rounds].map(
  Number,
);
const names = [
  'express-sealed-session',
  'express-sealed-session (compact)',
  'express-sealed-session (before)',
  'iron-session + jose by hand',
].filter((name) => layers[name] && (!flags.only || flags.only === name));

outOfTheWay();
const provider = await startProcess('provider.js', { delayMs });
const { url } = provider.ready;
// One more than the storms need, for each server's first refresh.
const sessionCount = cookieCount * rounds + 1;
note(`${sessionCount} expired sessions …`);
await provider.ask({ ask: 'prepare', count: sessionCount });
const mint = await visitors(provider.ready);
const sessions = [];
for (let number = 0; number < sessionCount; number += 1) sessions.push(await mint(number, { expired: true }));
const cookiesOf = async ({ cookie }) =>
  Promise.all(sessions.map(async (session, number) => cookie(session, { number, url })));

const contestants = [];
for (const name of names) {
  const server = await startProcess('server.js', { name, url }, ['--expose-gc']);
  onItsOwn(server.pid);
  // Whatever is loaded or fetched once is there before the storm.
  const cookies = await cookiesOf(layers[name]);
  await storm(server, cookies.slice(-1));
  contestants.push({ name, server, cookies, before: await server.ask({ ask: 'held' }), rounds: [] });
}

for (let round = 0; round < rounds; round += 1) {
  note(`round ${round + 1} of ${rounds} …`);
  for (const contestant of contestants) {
    const theirs = contestant.cookies.slice(round * cookieCount, (round + 1) * cookieCount);
    contestant.rounds.push(await play(contestant.server, theirs));
  }
}
await report();
process.exit();

async function play(server, theirs) {
  await provider.ask({ ask: 'counts' });
  const requests = Array.from({ length: requestCount }, (_, index) => theirs[index % theirs.length]);
  const before = await server.ask({ ask: 'usage' });
  const answers = await storm(server, requests);
  const after = await server.ask({ ask: 'usage' });
  const { refreshes, mostConnections } = await provider.ask({ ask: 'counts' });
  const latencies = answers.map(({ ms }) => ms);
  return {
    signedIn: answers.filter(({ status }) => status === 200).length,
    renewed: answers.filter(({ setsCookie }) => setsCookie).length,
    cpu: (after.cpu.user + after.cpu.system - before.cpu.user - before.cpu.system) / requestCount,
    totalMs: Math.max(...latencies),
    p50: quantile(latencies, 0.5),
    p99: quantile(latencies, 0.99),
    refreshes,
    mostConnections,
  };
}

function storm(server, requests) {
  const agent = new Agent({ maxSockets: Infinity });
  const startMs = performance.now();
  const visit = (cookie) =>
    new Promise((resolve, reject) => {
      request(server.ready.url, { agent, headers: { cookie } }, (res) => {
        res.resume().on('end', () => {
          const ms = performance.now() - startMs;
          resolve({ ms, status: res.statusCode, setsCookie: res.headers['set-cookie'] !== undefined });
        });
      })
        .on('error', reject)
        .end();
    });
  return Promise.all(requests.map(visit));
}

async function report() {
  const rows = [];
  for (const { name, server, before, rounds: played } of contestants) {
    const after = await server.ask({ ask: 'held' });
    const of = (field) => median(played.map((each) => each[field]));
    rows.push({
      name,
      signedIn: Math.min(...played.map(({ signedIn }) => signedIn)),
      renewed: Math.min(...played.map(({ renewed }) => renewed)),
      rate: (requestCount / of('totalMs')) * 1_000,
      cpu: of('cpu'),
      p50: of('p50'),
      p99: of('p99'),
      refreshes: of('refreshes'),
      mostConnections: Math.max(...played.map(({ mostConnections }) => mostConnections)),
      memory: {
        heapBefore: before.memory.heapUsed,
        heapAfter: after.memory.heapUsed,
        rssBefore: before.memory.rss,
        rssPeak: after.mostMemory,
        rssAfter: after.memory.rss,
      },
    });
  }
  const own = rows.find(({ name }) => name === 'express-sealed-session');
  const compact = rows.find(({ name }) => name === 'express-sealed-session (compact)');
  for (const row of rows) {
    if (own && row !== own) row.ratio = own.cpu / row.cpu;
    if (compact && row !== compact) row.compactRatio = compact.cpu / row.cpu;
  }

  if (flags.json) {
    console.log(
      JSON.stringify({ machine: machine(), sharing, requestCount, cookieCount, delayMs, rounds, rows }, undefined, 2),
    );
    return;
  }
  printMachine();
  console.log(
    `${sharing} ${requestCount} requests at once with ${cookieCount} expired cookies; the provider answers after ${delayMs} ms. ` +
      `Medians of ${rounds} storms. "CPU µs" is the server's, for one request, Express included.\n`,
  );
  printTable(rows, {
    '': ({ name }) => name,
    'ours/it': ({ ratio }) => digits(ratio, 2),
    'compact/it': ({ compactRatio }) => digits(compactRatio, 2),
    'CPU µs': ({ cpu }) => digits(cpu),
    'signed in': ({ signedIn }) => signedIn,
    'new cookies': ({ renewed }) => renewed,
    'requests/s': ({ rate }) => digits(rate),
    'p50 ms': ({ p50 }) => digits(p50),
    'p99 ms': ({ p99 }) => digits(p99),
    'provider requests': ({ refreshes }) => refreshes,
    'most connections': ({ mostConnections }) => mostConnections,
  });
  console.log(
    `Memory of the server, MiB: before the first storm, its peak, and after ${rounds} storms and a collection`,
  );
  printTable(rows, {
    '': ({ name }) => name,
    'heap before': ({ memory }) => digits(MiB(memory.heapBefore), 1),
    'heap after': ({ memory }) => digits(MiB(memory.heapAfter), 1),
    'RSS before': ({ memory }) => digits(MiB(memory.rssBefore)),
    'RSS peak': ({ memory }) => digits(MiB(memory.rssPeak)),
    'RSS after': ({ memory }) => digits(MiB(memory.rssAfter)),
  });
}
