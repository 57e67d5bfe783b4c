/**
 * An outage: `npm run soak:outage -- --seconds 600`.
 *
 * Some browsers open a guarded page every few seconds, each with an access token that has expired. From the first failure
 * on, the provider answers 503 to all. Then it is well again. It tells how many requests reached the provider, how many
 * visits were answered at once, and how long it took until everybody was served. It fails unless everybody is.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { startGuardedApp } from './guarded-app.js';
import { startPlainProvider } from './plain-provider.js';

const { values: flags } = parseArgs({ options: { seconds: { type: 'string' }, browsers: { type: 'string' } } });
const seconds = Number(flags.seconds ?? 20);
const browserCount = Number(flags.browsers ?? 50);
if (!(seconds > 0) || !Number.isInteger(browserCount)) {
  console.error('Usage: node spec/soak/outage.js [--seconds <number>] [--browsers <integer>]');
  process.exit(2);
}

// A visit that waits for no answer of the provider takes a few milliseconds.
const atOnceMs = 100;
// However long it lasted: a session is paused for a minute at most, and the first success lifts the pauses of all.
const longestSettlingMs = 90_000;
const everyMs = () => 3_000 + Math.random() * 4_000;

let isAway = true;
const provider = await startPlainProvider({
  answerTo: () => (isAway ? { status: 503, body: '{"message":"Service unavailable"}' } : undefined),
});
const app = await startGuardedApp(provider);
const browsers = await Promise.all(Array.from({ length: browserCount }, (_, id) => app.browser(`user_${id}`)));
const served = new Map();
const visits = [];
let isOver = false;

async function live(browser) {
  while (!isOver) {
    await sleep(everyMs() * (visits.length < browserCount ? Math.random() : 1));
    const { status, tookMs } = await browser.visit();
    visits.push({ atMs: Date.now(), status, tookMs });
    if (status === 200 && !served.has(browser)) served.set(browser, Date.now());
  }
}

const living = browsers.map(live);
await sleep(seconds * 1_000);
const duringOutage = provider.asked.length;
const backAtMs = Date.now();
isAway = false;
while (served.size < browserCount && Date.now() - backAtMs < longestSettlingMs) await sleep(100);
isOver = true;
await Promise.all(living);

const away = visits.filter(({ atMs }) => atMs < backAtMs);
const since = (atMs) => `${((atMs - backAtMs) / 1000).toFixed(1)} s`;
const servedAtMs = [...served.values()].sort((one, other) => one - other);
console.log(`An outage of ${seconds} s, ${browserCount} browsers:`);
console.table({
  'visits in the outage': away.length,
  'requests that reached the provider': duringOutage,
  'visits answered at once': away.filter(({ tookMs }) => tookMs < atOnceMs).length,
  'answered other than 503': away.filter(({ status }) => status !== 503).length,
  'first success after the end': servedAtMs.length > 0 ? since(servedAtMs[0]) : 'none',
  'everybody served after': served.size === browserCount ? since(servedAtMs.at(-1)) : 'never',
});
app.close();
provider.close();
process.exit(served.size === browserCount && away.every(({ status }) => status === 503) ? 0 : 1);
