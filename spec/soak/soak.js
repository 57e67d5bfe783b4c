/**
 * The soak: `npm run soak -- --seconds 60 --seed 1`.
 *
 * 3 app processes and a real Redis, a provider whose refresh tokens are strictly single-use, access tokens that live for
 * 5 seconds, and 200 browsers that send bursts of parallel requests, some of which they do not wait for. Meanwhile the
 * provider fails in every way that leaves a token unspent, and Redis is paused or killed. It counts the sign-outs that
 * should not have happened, and fails unless there are none.
 *
 * How requests find their process. While Redis is well, each request goes to any process. While Redis is away, the
 * package promises the protection of one process, so then each browser stays with one, as behind a load balancer with
 * affinity. The switch is made, there and back, while nothing is under way and every browser has its newest cookie. Redis
 * itself goes away and comes back in the middle of the traffic.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { createSessionManager, workos } from 'express-sealed-session';
import { unsealData } from 'iron-session';

import { startAppProcess, startRedisProcess } from '../support/fleet-processes.js';
import { partPath } from '../support/system-parts.js';
import { createBrowser } from './browser.js';
import { createGate } from './gate.js';
import { startProvider } from './provider.js';
import { createRandom } from './random.js';

const { values: flags } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' } } });
const seconds = Number(flags.seconds ?? 60);
const seed = Number(flags.seed ?? Date.now() % 1_000_000);
if (!(seconds > 0) || !Number.isInteger(seed)) {
  console.error('Usage: node spec/soak/soak.js [--seconds <number>] [--seed <integer>]');
  process.exit(2);
}
if (!partPath('redis')) {
  console.log('The soak needs redis-server: apt-get install redis-server');
  process.exit(process.env.CI === 'true' ? 1 : 0);
}
// The processes that were started are killed on the way out.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

const password = 'a password for the soak, long enough to be one';
const libraries = ['node-redis', 'ioredis', 'node-redis'];
const browserCount = 200;
// However long the provider was unavailable, by then every browser is served again: a session is paused for a minute at most.
const longestSettlingMs = 75_000;

const { chance, between, oneOf } = createRandom(seed);
const endsMs = Date.now() + seconds * 1_000;
const isOver = () => Date.now() >= endsMs;
const pause = (ms) => sleep(Math.max(Math.min(ms, endsMs - Date.now()), 0));

const counts = { requests: 0, unavailable: 0, left: 0, wrongSignOuts: 0, broken: 0, settlings: 0 };
const faultCounts = { provider: {}, redis: {} };
/** By kind, a few of each. */
const complaints = {};

console.log(
  `Soak: ${seconds} s, seed ${seed}; ${libraries.length} processes, ${browserCount} browsers, 5-second tokens.\n` +
    'Requests go to any process; while Redis is away, each browser stays with one.',
);
const provider = await startProvider({ lifetimeSeconds: 5, chance, between, tellReused });
const manager = createSessionManager({ provider: workos(provider.settings), password });
const redis = await startRedisProcess();
const apps = await Promise.all(libraries.map(startApp));
const browsers = await Promise.all(
  Array.from({ length: browserCount }, async (_, id) => createBrowser(id, await newCookie())),
);
const homeOf = ({ id }) => apps[id % apps.length];
const gate = createGate();
let sticky = false;

const living = [...browsers.map(live), troubleProvider()];
while (!isOver()) {
  await pause(between(3_000, 8_000));
  if (!isOver()) await troubleRedis();
}
await Promise.all(living);
await settle();
console.log(table());
provider.close();
await Promise.all([...apps.map((app) => app.stop()), redis.stop()]);
process.exit(counts.wrongSignOuts + counts.broken > 0 ? 1 : 0);

function startApp(library) {
  return startAppProcess({
    library,
    redisPorts: [redis.port],
    provider: provider.settings,
    strict: true,
    password,
    // Shorter than by default, so that there is time for more outages.
    refresh: { waitMs: 2_000, timeoutMs: 5_000 },
    clockToleranceSeconds: 0,
    reports: [],
  });
}

async function newCookie(options) {
  return manager.seal(await provider.issue(options));
}

/** A visitor: a page and all that it loads, time to read it, the next page. */
async function live(browser) {
  while (!isOver()) {
    await gate.through(() => {
      const requests = Array.from({ length: Math.ceil(between(0, 6)) }, () => {
        const app = sticky ? homeOf(browser) : oneOf(apps);
        return visit(browser, app, chance(0.04) ? between(0, 150) : undefined);
      });
      return Promise.all(requests);
    });
    const [least, most] = oneOf([
      [50, 500],
      [50, 500],
      [1_000, 3_000],
      [1_000, 3_000],
      [4_500, 7_000],
    ]);
    await pause(between(least, most));
  }
}

async function visit(browser, app, leaveAfterMs) {
  const { session } = browser;
  counts.requests += 1;
  let answer;
  try {
    answer = await browser.visit(app.url, leaveAfterMs);
  } catch (error) {
    counts.broken += 1;
    complain('broken', `browser ${browser.id}: ${error.message}`);
    return undefined;
  }
  if (!answer) counts.left += 1;
  else if (answer.status === 503 && !answer.cleared) counts.unavailable += 1;
  // One sign-out shows in every answer of a burst.
  else if (answer.status !== 200 && browser.session === session) {
    counts.wrongSignOuts += 1;
    const { status, reason, cleared } = answer;
    const where = `process ${apps.indexOf(app)}, ${sticky ? 'sticky' : 'random'} routing`;
    complain('signed out', `browser ${browser.id}, ${where}: ${status} ${reason}${cleared ? ', cookie cleared' : ''}`);
    browser.signOut();
    browser.cookie = await newCookie();
  }
  return answer;
}

async function troubleProvider() {
  while (!isOver()) {
    await pause(between(500, 4_000));
    // Not while the routing is switched.
    await gate.opened();
    if (isOver()) return;
    const kind = oneOf(provider.faults);
    count(faultCounts.provider, kind);
    provider.fail(kind, between(0.2, 1));
    await pause(between(200, 2_500));
    provider.heal();
  }
}

async function troubleRedis() {
  await settle();
  sticky = true;
  gate.open();
  await sleep(between(0, 500));
  const kind = chance(0.7) ? 'paused' : 'killed';
  count(faultCounts.redis, kind);
  if (kind === 'paused') {
    redis.pause();
    await sleep(between(200, 2_500));
    redis.resume();
  } else {
    await redis.kill();
    await sleep(between(200, 2_500));
    await redis.restart();
  }
  await sleep(between(0, 500));
  await settle();
  await Promise.all(apps.map(rejoin));
  sticky = false;
  gate.open();
}

/** Stops the traffic until nothing is under way and every browser has a cookie whose refresh token is unspent. */
async function settle() {
  counts.settlings += 1;
  await gate.close();
  await provider.calm();
  // A request whose browser has left still runs to its end.
  await Promise.all(apps.map(isIdle));
  await Promise.all(
    browsers.map(async (browser) => {
      const deadlineMs = Date.now() + longestSettlingMs;
      let answer;
      while (Date.now() < deadlineMs) {
        answer = await visit(browser, homeOf(browser));
        if (answer?.status === 200 && (await isNewest(browser))) return;
        await sleep(Math.max(answer?.retryAfterMs ?? 0, 100));
      }
      counts.broken += 1;
      const last = answer ? `${answer.status} ${answer.reason ?? ''}` : 'broken';
      complain('not served', `browser ${browser.id}, for ${longestSettlingMs} ms though the provider is well: ${last}`);
    }),
  );
}

async function isNewest({ cookie }) {
  const { refreshToken } = await unsealData(cookie, { password });
  return provider.isUnspent(refreshToken);
}

/** Waits until the process has found out that Redis is back. It asks when a request needs the fleet. */
async function rejoin(app) {
  while (!(await healthOf(app)).fleetIsReachable) {
    await visit(createBrowser('passing', await newCookie({ expired: true })), app);
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

function tellReused(afterMs) {
  complain('presented twice', `a refresh token, again after ${afterMs} ms`);
}

function count(kinds, kind) {
  kinds[kind] = (kinds[kind] ?? 0) + 1;
}

function complain(kind, text) {
  complaints[kind] ??= [];
  if (complaints[kind].length === 10) return;
  complaints[kind].push(`${(seconds - (endsMs - Date.now()) / 1_000).toFixed(1)} s: ${text}`);
}

function table() {
  const kinds = (counted) =>
    Object.entries(counted)
      .map(([kind, times]) => `${kind} ×${times}`)
      .join(', ') || 'none';
  const { presented, rotated, reused } = provider.counts;
  const rows = [
    ['requests', counts.requests],
    ['not waited for by the browser', counts.left],
    ['answered 503', counts.unavailable],
    ['refresh requests at the provider', presented],
    ['refreshes', rotated],
    ['refresh tokens presented twice', reused],
    ['faults of the provider', kinds(faultCounts.provider)],
    ['faults of Redis', kinds(faultCounts.redis)],
    ['answers that broke', counts.broken],
    ['sign-outs that should not have happened', counts.wrongSignOuts],
  ];
  return [
    '',
    ...rows.map(([name, value]) => `  ${name.padEnd(41)}${value.toLocaleString('en')}`),
    ...Object.entries(complaints).flatMap(([kind, texts]) => texts.map((text) => `  ! ${kind}: ${text}`)),
    '',
  ].join('\n');
}
