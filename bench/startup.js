// What a session layer adds to the start of an app: the time to import it beside Express, the time until the first
// signed-in visitor has an answer, and what is loaded only when it is needed.
//
//   npm --prefix bench run startup -- [--runs 21] [--json]
//
// Each start is a fresh process; the layers take turns. The files are in the system's cache, as after a deploy.
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';

import { onItsOwn, outOfTheWay } from './affinity.js';
import { median } from './figures.js';
import { layers } from './layers.js';
import { startProcess } from './processes.js';
import { digits, machine, note, printMachine, printTable } from './report.js';
import { visitors } from './visitor.js';

const { values: flags } = parseArgs({
  options: {
    runs: { type: 'string', default: '21' },
    json: { type: 'boolean', default: false },
  },
});
const runs = Number(flags.runs);
const [bare, ours] = ['bare Express', 'express-sealed-session'];
const packagesOf = {
  [bare]: [],
  [ours]: [ours],
  'iron-session + jose by hand': ['iron-session', 'jose'],
  'WorkOS Node SDK': ['@workos-inc/node'],
  'authkit-session': ['@workos/authkit-session'],
  'express-openid-connect': ['express-openid-connect'],
};
// What ours needs for some requests only.
const onDemand = ['got', 'oauth4webapi'];

outOfTheWay();
const provider = await startProcess('provider.js');
const { url } = provider.ready;
await provider.ask({ ask: 'prepare', count: 1 });
const mint = await visitors(provider.ready);
const [valid, expired] = [await mint(0), await mint(0, { expired: true })];

const contestants = [];
for (const [name, packages] of Object.entries(packagesOf)) {
  const { cookie } = layers[name];
  const cookies = { valid: await cookie(valid, { number: 0 }), expired: await cookie(expired, { number: 0 }) };
  contestants.push({ name, cookies, args: { layer: name, packages, url }, imported: [], answered: [] });
}
// Processes that are started from here on have the other processor.
onItsOwn(process.pid);
for (let run = -1; run < runs; run += 1) {
  note(run < 0 ? 'warming up …' : `run ${run + 1} of ${runs} …`);
  for (const contestant of contestants) {
    const { imported, answered } = await start(contestant);
    if (run < 0) continue;
    contestant.imported.push(imported);
    contestant.answered.push(answered);
  }
}
const loaded = await packagesLoaded(contestants.find(({ name }) => name === ours));

/** How long a fresh process takes to import, and until it has answered a signed-in visitor. */
async function start({ args, cookies }) {
  const probe = await startProcess('startup-probe.js', args);
  const { imported, beganAt, address } = probe.ready;
  await visit(address, cookies.valid);
  const answered = performance.timeOrigin + performance.now() - beganAt;
  await probe.stop();
  return { imported, answered };
}

/** What is in memory of such a process, from one moment to the next. */
async function packagesLoaded({ args, cookies }) {
  const probe = await startProcess('startup-probe.js', args);
  const now = async () => (await probe.ask({ ask: 'loaded' })).packages;
  const { address } = probe.ready;
  const atImport = await now();
  await visit(address, cookies.valid);
  await new Promise((passed) => setTimeout(passed, 1_000));
  const afterAnswer = await now();
  await visit(address, cookies.expired);
  const afterRefresh = await now();
  await probe.stop();
  return { atImport, afterAnswer, afterRefresh };
}

async function visit(address, cookie) {
  const { status } = await fetch(address, { headers: { cookie } });
  if (status !== 200) throw new Error(`${address} answered ${status}.`);
}

const [baseline] = contestants.map(({ imported, answered }) => [median(imported), median(answered)]);
const rows = contestants.map(({ name, imported, answered }) => ({
  name,
  imported: median(imported),
  answered: median(answered),
  importAdded: median(imported) - baseline[0],
  answerAdded: median(answered) - baseline[1],
}));
const own = rows.find(({ name }) => name === ours);
for (const row of rows) if (row.name !== bare) row.ratio = own.importAdded / row.importAdded;
const loadedWhen = onDemand.map((name) => ({
  name,
  when: loaded.atImport.includes(name)
    ? 'on import'
    : loaded.afterAnswer.includes(name)
      ? 'with the first answer'
      : loaded.afterRefresh.includes(name)
        ? 'by the first refresh'
        : 'by neither',
}));

if (flags.json) {
  console.log(JSON.stringify({ machine: machine(), runs, rows, loaded, loadedWhen }, undefined, 2));
} else {
  printMachine();
  console.log(`Medians of ${runs} starts each. "added" is to bare Express.\n`);
  printTable(rows, {
    '': ({ name }) => name,
    'ours/it': ({ ratio }) => digits(ratio, 2),
    'import, added ms': ({ importAdded }) => digits(importAdded, 1),
    'first answer, added ms': ({ answerAdded }) => digits(answerAdded, 1),
    'import ms': ({ imported }) => digits(imported, 1),
    'first answer ms': ({ answered }) => digits(answered, 1),
  });
  printTable(loadedWhen, { 'loaded by ours': ({ name }) => name, '': ({ when }) => when });
}
process.exit();
