/**
 * One bad tab: `npm run soak:bad-tab -- --seconds 90`.
 *
 * A tab asks once a second with a refresh token at which the provider fails. Beside it a visitor with an expired access
 * token comes every five seconds, each a user of their own. It fails unless every one of them is in at once. The faults
 * run side by side, each with an app and a provider of its own.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { startGuardedApp } from './guarded-app.js';
import { startPlainProvider } from './plain-provider.js';

const { values: flags } = parseArgs({ options: { seconds: { type: 'string' }, tabs: { type: 'string' } } });
const seconds = Number(flags.seconds ?? 20);
const tabs = Number(flags.tabs ?? 1);
if (!(seconds > 0) || !Number.isInteger(tabs)) {
  console.error('Usage: node spec/soak/bad-tab.js [--seconds <number>] [--tabs <integer>]');
  process.exit(2);
}

const faults = {
  500: { status: 500, body: '{"message":"Internal server error"}' },
  '200 with an error': { status: 200, body: '{"error":"something_else"}' },
  'half an answer': { status: 200, body: '{}' },
  reset: 'reset',
};

async function run([name, fault]) {
  const isBad = (userId) => userId.startsWith('bad');
  const provider = await startPlainProvider({ answerTo: (userId) => (isBad(userId) ? fault : undefined) });
  const app = await startGuardedApp(provider);
  const bad = await Promise.all(Array.from({ length: tabs }, (_, id) => app.browser(`bad_${id}`)));
  const endsMs = Date.now() + seconds * 1_000;
  const counts = { fault: name, visitors: 0, in: 0, badVisits: 0, badAsked: 0 };

  async function repeat(everyMs, visit) {
    for (let id = 0; Date.now() < endsMs; id += 1) {
      const nextMs = Date.now() + everyMs;
      await visit(id);
      await sleep(Math.max(nextMs - Date.now(), 0));
    }
  }
  await Promise.all([
    ...bad.map((tab) =>
      repeat(1_000, async () => {
        await tab.visit();
        counts.badVisits += 1;
      }),
    ),
    repeat(5_000, async (id) => {
      const visitor = await app.browser(`good_${id}`);
      const { status } = await visitor.visit();
      counts.visitors += 1;
      if (status === 200) counts.in += 1;
    }),
  ]);
  counts.badAsked = provider.asked.filter(({ userId }) => isBad(userId)).length;
  app.close();
  provider.close();
  return counts;
}

console.log(`${tabs} bad tab(s) once a second, a visitor every five seconds, for ${seconds} s:`);
const results = await Promise.all(Object.entries(faults).map(run));
console.table(results);
process.exit(results.every((each) => each.visitors > 0 && each.in === each.visitors) ? 0 : 1);
