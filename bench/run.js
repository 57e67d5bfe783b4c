// What each session layer adds to bare Express: processor time per request of a signed-in visitor, requests per second
// and latency, for one cookie repeated ("known") and for many distinct ones ("new").
//
//   npm run bench -- [--samples 6] [--seconds 2] [--cookies 20000] [--only name,name] [--json]
//
// The layers take turns within each round, so that a machine that gets slower or faster does so for all of them.
// Ratios within one run are what counts.
import { fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';

import autocannon from 'autocannon';
import { exportJWK, exportPKCS8, generateKeyPair } from 'jose';

import { layers } from './layers.js';
import { clientId, visitor } from './world.js';

const { values: flags } = parseArgs({
  options: {
    samples: { type: 'string', default: '6' },
    seconds: { type: 'string', default: '2' },
    cookies: { type: 'string', default: '20000' },
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const [samples, seconds, cookieCount] = [flags.samples, flags.seconds, flags.cookies].map(Number);
const names = Object.keys(layers).filter(
  (name) => name === 'bare Express' || !flags.only || flags.only.split(',').includes(name),
);

// On two processors or more, the server has one to itself.
const pinned = cpus().length > 1 && spawnSync('taskset', ['-V']).status === 0;
const pin = (cpu, pid) => pinned && spawnSync('taskset', ['-a', '-cp', String(cpu), String(pid)]);
pin(1, process.pid);

const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true });
const keys = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'bench', alg: 'RS256', use: 'sig' }] });
const provider = createServer((req, res) => {
  const issuer = `http://127.0.0.1:${provider.address().port}`;
  const metadata = {
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/sso/jwks/${clientId}`,
    response_types_supported: ['code', 'id_token'],
    id_token_signing_alg_values_supported: ['RS256'],
    subject_types_supported: ['public'],
  };
  res.setHeader('content-type', 'application/json');
  res.end(req.url.startsWith('/.well-known') ? JSON.stringify(metadata) : keys);
}).listen(0, '127.0.0.1');
await once(provider, 'listening');
const url = `http://127.0.0.1:${provider.address().port}`;

const world = { issuer: url, privateKey };
const key = await exportPKCS8(privateKey);
note(`${cookieCount} visitors …`);
const sessions = [];
for (let number = 0; number < cookieCount; number += 1) sessions.push(await visitor(number, world));

const contestants = [];
for (const name of names) {
  note(`${name} …`);
  const server = fork(new URL('server.js', import.meta.url), [name, url, String(cookieCount)], {
    env: { ...process.env, BENCH_KEY: key, NODE_ENV: 'production' },
  });
  const [{ port }] = await once(server, 'message');
  pin(0, server.pid);
  const cookies = [];
  for (const [number, session] of sessions.entries()) cookies.push(await layers[name].cookie(session, { number }));
  contestants.push({ name, server, address: `http://127.0.0.1:${port}/`, cookies, known: [], new: [] });
  const check = await fetch(contestants.at(-1).address, { headers: { cookie: cookies[0] } });
  if (check.status !== 200) throw new Error(`${name} answered ${check.status}: it does not take the bench's cookie.`);
}

async function usage(server) {
  server.send('usage');
  const [answer] = await once(server, 'message');
  return answer;
}

async function sample({ server, address, cookies }, population) {
  const requests = population === 'known' ? [cookies[0]] : cookies;
  const before = await usage(server);
  const result = await autocannon({
    url: address,
    connections: 32,
    duration: seconds,
    requests: requests.map((cookie) => ({ method: 'GET', path: '/', headers: { cookie } })),
  });
  const after = await usage(server);
  if (result.non2xx > 0 || result.errors > 0) throw new Error('A request was refused.');
  const micros = after.usage.user + after.usage.system - before.usage.user - before.usage.system;
  return {
    cpu: micros / result.requests.total,
    rate: result.requests.average,
    p50: result.latency.p50,
    p99: result.latency.p99,
    memory: after.memory.rss,
  };
}

for (let round = -1; round < samples; round += 1) {
  note(round < 0 ? 'warming up …' : `round ${round + 1} of ${samples} …`);
  for (const population of ['known', 'new']) {
    for (const contestant of contestants) {
      const figures = await sample(contestant, population);
      if (round >= 0) contestant[population].push(figures);
    }
  }
}

const median = (figures, field) => figures.map((each) => each[field]).sort((a, b) => a - b)[figures.length >> 1];
const bare = Object.fromEntries(['known', 'new'].map((each) => [each, median(contestants[0][each], 'cpu')]));
const rows = contestants.map(({ name, ...figures }) => ({
  name,
  ...Object.fromEntries(
    ['known', 'new'].map((each) => [
      each,
      {
        added: median(figures[each], 'cpu') - bare[each],
        rate: median(figures[each], 'rate'),
        p50: median(figures[each], 'p50'),
        p99: median(figures[each], 'p99'),
        memory: median(figures[each], 'memory'),
      },
    ]),
  ),
}));
const ours = rows.find(({ name }) => name === 'express-sealed-session');
for (const row of rows) {
  for (const each of ['known', 'new']) row[each].ratio = ours[each].added / row[each].added;
}

if (flags.json) {
  console.log(JSON.stringify({ node: process.version, samples, seconds, cookieCount, bare, rows }, undefined, 2));
} else {
  console.log(
    `Node ${process.version}; medians of ${samples} samples of ${seconds} s; ${cookieCount} cookies; bare Express ${bare.known.toFixed(0)} µs.`,
  );
  console.log('What each layer adds to bare Express, and what ours adds as a share of that:\n');
  const cell = (value, digits = 0) => value.toFixed(digits).padStart(9);
  console.log(
    `${''.padEnd(30)}${['known µs', 'ours/it', 'new µs', 'ours/it', 'known r/s', 'new r/s', 'p99 known', 'p99 new'].map((head) => head.padStart(10)).join('')}`,
  );
  for (const { name, known, new: fresh } of rows) {
    const ratio = (each) => (name === 'bare Express' ? ''.padStart(9) : cell(each.ratio, 2));
    console.log(
      [
        name.padEnd(30),
        cell(known.added),
        ratio(known),
        cell(fresh.added),
        ratio(fresh),
        cell(known.rate),
        cell(fresh.rate),
        cell(known.p99),
        cell(fresh.p99),
      ].join(' '),
    );
  }
}

for (const { server } of contestants) server.kill();
provider.close();

function note(text) {
  if (process.stderr.isTTY || !flags.json) process.stderr.write(`${text}\n`);
}
