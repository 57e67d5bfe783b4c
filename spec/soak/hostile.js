/**
 * The hostile soak: `npm run soak:hostile -- --seconds 60 --seed 1`.
 *
 * 3 app processes behind Redis Sentinel, whose primary is killed in the middle. A provider that answers 429 for whole
 * phases. One session at which the provider always fails, in a tab that polls. One hostile page that begins sign-ins in a
 * visitor's browser, and a sibling that plants junk cookies there. It counts the sign-outs that should not have happened
 * and the refresh tokens that were presented twice, and fails unless there are none. It tells how many visitors were kept
 * out and for how long, and fails where one in a hundred waited longer than the provider's outage and one pause.
 *
 * While Redis fails over, each browser stays with one process, as behind a load balancer with affinity: until then the
 * package promises the protection of one process.
 */
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { createSessionManager, workos } from 'express-sealed-session';

import { startAppProcess } from '../support/fleet-processes.js';
import { partPath } from '../support/system-parts.js';
import { createBrowser } from './browser.js';
import { createGate } from './gate.js';
import { startProvider } from './provider.js';
import { createRandom } from './random.js';
import { sentinelName, startSentinel } from './sentinel.js';

const { values: flags } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' } } });
const seconds = Number(flags.seconds ?? 60);
const seed = Number(flags.seed ?? Date.now() % 1_000_000);
if (!(seconds >= 20) || !Number.isInteger(seed)) {
  console.error('Usage: node spec/soak/hostile.js [--seconds <number, at least 20>] [--seed <integer>]');
  process.exit(2);
}
if (!partPath('redis')) {
  console.log('The soak needs redis-server: apt-get install redis-server');
  process.exit(process.env.CI === 'true' ? 1 : 0);
}
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

const password = 'a password for the soak, long enough to be one';
const browserCount = 60;
const longestPhaseMs = 4_000;
/** The longest pause in which a process asks the provider nothing. */
const longestPauseMs = 15_000;
const baseUrl = 'http://localhost:3000';
const agent = new Agent({ keepAlive: true, timeout: 3_000 });

const { between, oneOf } = createRandom(seed);
const startedMs = Date.now();
const endsMs = startedMs + seconds * 1_000;
const isOver = () => Date.now() >= endsMs;
const pause = (ms) => sleep(Math.max(Math.min(ms, endsMs - Date.now()), 0));
const counts = {
  requests: 0,
  unavailable: 0,
  wrongSignOuts: 0,
  broken: 0,
  lockedOut: 0,
  hostile: 0,
  bad: 0,
  phases: 0,
};
/** For how long visitors were answered 503, in milliseconds. */
const keptOutMs = [];
const complaints = [];

console.log(
  `Hostile soak: ${seconds} s, seed ${seed}; 3 processes, Sentinel, ${browserCount} browsers, 5-second tokens.`,
);
const provider = await startProvider({
  lifetimeSeconds: 5,
  ...createRandom(seed + 1),
  tellReused: (afterMs) => complain(`a refresh token was presented twice, again after ${afterMs} ms`),
});
const manager = createSessionManager({ provider: workos(provider.settings), password });
const redis = await startSentinel();
const apps = await Promise.all(
  [1, 2, 3].map(() =>
    startAppProcess({
      library: 'ioredis',
      sentinel: { port: redis.port, name: sentinelName },
      baseUrl,
      provider: provider.settings,
      strict: true,
      password,
      refresh: { waitMs: 2_000, timeoutMs: 5_000 },
      clockToleranceSeconds: 0,
      reports: [],
    }),
  ),
);
const newCookie = async (options) => manager.seal(await provider.issue(options));
const browsers = await Promise.all(
  Array.from({ length: browserCount }, async (_, id) => createBrowser(id, await newCookie())),
);
const gate = createGate();
let sticky = false;
const appOf = ({ id }) => (sticky ? apps[id % apps.length] : oneOf(apps));

const living = [...browsers.map(live), pollWithBadSession(), visitHostilePage(), limitRates()];
await pause((seconds * 1_000) / 2);
const failoverMs = await failOver();
await Promise.all(living);
console.log(table());
provider.close();
await Promise.all(apps.map((app) => app.stop()));
redis.stop();
const failures = counts.wrongSignOuts + counts.broken + counts.lockedOut + provider.counts.reused;
process.exit(failures > 0 || keptOutAt(0.99) > longestPhaseMs + longestPauseMs ? 1 : 0);

/** A visitor: bursts of requests, and time to read. */
async function live(browser) {
  let outSinceMs;
  while (!isOver()) {
    let wait = between(200, 3_000);
    await gate.through(async () => {
      const answers = await Promise.all(Array.from({ length: Math.ceil(between(0, 4)) }, () => visit(browser)));
      const isOut = answers.every((answer) => answer?.status === 503);
      if (isOut) {
        outSinceMs ??= Date.now();
        wait = Math.max(1_000, ...answers.map((answer) => answer.retryAfterMs));
      } else if (outSinceMs !== undefined) {
        keptOutMs.push(Date.now() - outSinceMs);
        outSinceMs = undefined;
      }
    });
    await pause(wait);
  }
  if (outSinceMs !== undefined) keptOutMs.push(Date.now() - outSinceMs);
}

async function visit(browser) {
  const { session } = browser;
  counts.requests += 1;
  try {
    const answer = await browser.visit(appOf(browser).url);
    if (answer.status === 503 && !answer.cleared) counts.unavailable += 1;
    else if (answer.status !== 200 && browser.session === session) {
      counts.wrongSignOuts += 1;
      complain(`browser ${browser.id} was signed out: ${answer.status} ${answer.reason}`);
      browser.signOut();
      browser.cookie = await newCookie();
    }
    return answer;
  } catch (error) {
    counts.broken += 1;
    complain(`browser ${browser.id}: ${error.message}`);
    return undefined;
  }
}

/** A tab that polls with a session at which the provider always fails. */
async function pollWithBadSession() {
  const bad = createBrowser('bad', await newCookie({ expired: true, broken: true }));
  while (!isOver()) {
    counts.bad += 1;
    await bad.visit(oneOf(apps).url).catch(() => undefined);
    await pause(500);
  }
}

/** A visitor's browser in which another site begins sign-ins, and a sibling subdomain plants cookies. */
async function visitHostilePage() {
  const victim = createBrowser('victim', await newCookie());
  const jar = new Map();
  while (!isOver()) {
    await gate.through(async () => {
      const app = apps[0];
      counts.hostile += 1;
      const path = `/login?returnTo=/${'x'.repeat(Math.floor(between(100, 2_000)))}`;
      await send(app, path, victim, jar, { 'sec-fetch-site': 'cross-site' });
      const junk = ['wos-session.0=junk', 'wos-session=Fe26.2*junk', 'wos-session.1=junk'];
      for (const own of ['/', '/login']) await send(app, own, victim, jar, { 'sec-fetch-site': 'same-origin' }, junk);
    });
    await pause(between(200, 800));
  }
}

function send({ url }, path, victim, jar, headers, junk = []) {
  const own = [`wos-session=${encodeURIComponent(victim.cookie)}`, ...[...jar].map((pair) => pair.join('='))];
  const cookie = [...junk, ...own].join('; ');
  return new Promise((resolve) => {
    const req = request(`${url}${path}`, { agent, headers: { host: 'localhost', cookie, ...headers } }, (res) => {
      res.resume();
      // nginx would refuse this one.
      if (res.statusCode >= 400 && res.statusCode !== 503)
        lockedOut(`${path.slice(0, 8)} was answered ${res.statusCode}`);
      if (cookie.length > 8_192) lockedOut(`the cookies of the victim have ${cookie.length} bytes`);
      for (const line of res.headers['set-cookie'] ?? []) {
        const [pair] = line.split(';');
        const [name, ...value] = pair.split('=');
        if (name === 'wos-session') victim.cookie = decodeURIComponent(value.join('='));
        else if (line.includes('Max-Age=0')) jar.delete(name);
        else jar.set(name, value.join('='));
      }
      res.on('end', resolve);
    });
    req.on('error', (error) => {
      counts.broken += 1;
      complain(`the victim: ${error.message}`);
      resolve();
    });
    req.end();
  });
}

function lockedOut(what) {
  counts.lockedOut += 1;
  complain(what);
}

/** Phases in which the provider answers 429 to everybody. */
async function limitRates() {
  while (!isOver()) {
    await pause(between(4_000, 10_000));
    // So that what the last phase has left can end.
    if (Date.now() + longestPhaseMs + longestPauseMs > endsMs && counts.phases > 0) return;
    await gate.opened();
    counts.phases += 1;
    provider.fail('429', 1);
    await pause(between(1_000, longestPhaseMs));
    provider.heal();
  }
}

/** @returns how long Redis was without a primary, in milliseconds */
async function failOver() {
  await gate.close();
  await provider.calm();
  await Promise.all(apps.map(isIdle));
  sticky = true;
  gate.open();
  const fromMs = Date.now();
  await redis.failOver();
  const tookMs = Date.now() - fromMs;
  await gate.close();
  await Promise.all(apps.map(isIdle));
  await Promise.all(apps.map(rejoin));
  sticky = false;
  gate.open();
  return tookMs;
}

/** Waits until the process has found the new primary. It asks when a request needs the fleet. */
async function rejoin(app) {
  while (!(await healthOf(app)).fleetIsReachable) {
    await createBrowser('passing', await newCookie({ expired: true })).visit(app.url);
    await sleep(100);
  }
}

async function isIdle(app) {
  while ((await healthOf(app)).underWay > 0) await sleep(20);
}

async function healthOf({ url }) {
  const response = await fetch(`${url}/health`);
  return response.json();
}

function complain(text) {
  if (complaints.length < 20) complaints.push(`${((Date.now() - startedMs) / 1_000).toFixed(1)} s: ${text}`);
}

/** The time that this share of those who were kept out did not exceed. */
function keptOutAt(share) {
  const sorted = [...keptOutMs].sort((one, other) => one - other);
  return sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? 0;
}

function table() {
  const rows = [
    ['requests of visitors', counts.requests],
    ['answered 503', counts.unavailable],
    ['visitors kept out, and let in again', keptOutMs.length],
    ['kept out, median (ms)', keptOutAt(0.5)],
    ['kept out, p99 (ms)', keptOutAt(0.99)],
    ['the outage plus one pause (ms)', longestPhaseMs + longestPauseMs],
    ['phases of 429', counts.phases],
    ['requests of the bad session', counts.bad],
    ['sign-ins begun by the hostile page', counts.hostile],
    ['without a primary, in the failover (ms)', failoverMs],
    ['refreshes', provider.counts.rotated],
    ['refresh tokens presented twice', provider.counts.reused],
    ['answers that broke', counts.broken],
    ['lock-outs of the victim', counts.lockedOut],
    ['sign-outs that should not have happened', counts.wrongSignOuts],
  ];
  return [
    '',
    ...rows.map(([name, value]) => `  ${name.padEnd(41)}${value.toLocaleString('en')}`),
    ...complaints.map((text) => `  ! ${text}`),
    '',
  ].join('\n');
}
