// A fleet of processes around one Redis, and how many commands it is sent.
import { layers } from './layers.js';
import { startProcess } from './processes.js';
import { connectRedis } from './redis.js';
import { visitors } from './visitor.js';

const name = 'express-sealed-session (Redis)';
// Of the bench and of the client's own greeting, not of the package.
const notCounted = ['info', 'hello', 'client', 'auth', 'select', 'ping', 'config', 'command'];

/**
 * Redis commands by valid request, by refresh when one process is asked, and by refresh when every process is asked for
 * the same session in the same moment.
 */
export async function countCommands(redisSocket, { size, sessions, delayMs }) {
  const provider = await startProcess('provider.js', { delayMs });
  const { url } = provider.ready;
  const servers = [];
  for (let number = 0; number < size; number += 1) {
    servers.push(await startProcess('server.js', { name, url, redisSocket }));
  }
  const mint = await visitors(provider.ready);
  const cookies = async (first, options) => {
    const made = [];
    for (let number = first; number < first + sessions; number += 1) {
      made.push(await layers[name].cookie(await mint(number, options), { number }));
    }
    return made;
  };
  await provider.ask({ ask: 'prepare', count: 2 * sessions });
  const valid = await cookies(0);
  const expired = { one: await cookies(0, { expired: true }), all: await cookies(sessions, { expired: true }) };
  const redis = await connectRedis(redisSocket);

  /** What `work` makes of commands, divided by `count`. */
  async function commandsIn(count, work) {
    await redis.sendCommand(['CONFIG', 'RESETSTAT']);
    await provider.ask({ ask: 'counts' });
    await work();
    // The last leases are given up after the answers.
    const { refreshes } = await provider.ask({ ask: 'counts' });
    const byName = {};
    let commands = 0;
    for (const [, command, calls] of (await redis.info('commandstats')).matchAll(/^cmdstat_([^:|]+).*?calls=(\d+)/gm)) {
      if (notCounted.includes(command)) continue;
      byName[command] = (byName[command] ?? 0) + Number(calls) / count;
      commands += Number(calls) / count;
    }
    return { commands, byName, refreshes: refreshes / count };
  }

  const result = {
    // Twice: at first sight, and as a known visitor.
    valid: await commandsIn(2 * sessions * size, async () => {
      for (const cookie of [...valid, ...valid]) await Promise.all(servers.map((server) => visit(server, cookie)));
    }),
    one: await commandsIn(sessions, async () => {
      for (const [index, cookie] of expired.one.entries()) await visit(servers[index % size], cookie);
    }),
    all: await commandsIn(sessions, async () => {
      for (const cookie of expired.all) await Promise.all(servers.map((server) => visit(server, cookie)));
    }),
  };

  await redis.close();
  await Promise.all([provider, ...servers].map((process) => process.stop()));
  return result;
}

async function visit(server, cookie) {
  const { status } = await fetch(server.ready.url, { headers: { cookie } });
  if (status !== 200) throw new Error(`A process of the fleet answered ${status}.`);
}
