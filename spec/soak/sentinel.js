import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { Redis } from 'ioredis';

import { partPath } from '../support/system-parts.js';

export const sentinelName = 'soak';

/** A primary, a replica, and a Sentinel that promotes the replica when the primary is gone. */
export async function startSentinel() {
  const folder = mkdtempSync(join(tmpdir(), 'sealed-session-sentinel-'));
  const children = new Set();
  process.on('exit', () => {
    for (const child of children) child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });

  async function serve(lines, ...flags) {
    const port = await freePort();
    const file = join(folder, `${port}.conf`);
    writeFileSync(file, [`port ${port}`, 'bind 127.0.0.1', `dir ${folder}`, ...lines].join('\n'));
    const child = spawn(partPath('redis'), [file, ...flags], { stdio: ['ignore', 'ignore', 'inherit'] });
    children.add(child);
    await until(() => ask(port, (redis) => redis.ping()));
    return { port, child };
  }

  const memoryOnly = ['save ""', 'appendonly no', 'repl-diskless-sync-delay 0'];
  const primary = await serve(memoryOnly);
  const replica = await serve([...memoryOnly, `replicaof 127.0.0.1 ${primary.port}`]);
  await until(() => ask(replica.port, async (redis) => (await redis.info('replication')).includes('link_status:up')));
  const sentinel = await serve(
    [
      `sentinel monitor ${sentinelName} 127.0.0.1 ${primary.port} 1`,
      `sentinel down-after-milliseconds ${sentinelName} 1000`,
      `sentinel failover-timeout ${sentinelName} 5000`,
    ],
    '--sentinel',
  );
  // Without having heard of the replica, it could promote none.
  await until(() =>
    ask(sentinel.port, async (redis) => (await redis.call('SENTINEL', 'replicas', sentinelName)).length === 1),
  );

  return {
    port: sentinel.port,
    /** Kills the primary. Resolves when the replica has taken its place. */
    failOver: async () => {
      primary.child.kill('SIGKILL');
      await until(() => ask(replica.port, async (redis) => (await redis.info('replication')).includes('role:master')));
    },
    stop: () => {
      for (const child of children) child.kill('SIGKILL');
    },
  };
}

/** Asks until the answer is a good one. */
async function until(holds) {
  while (!(await holds())) await sleep(50);
}

async function ask(port, question) {
  const redis = new Redis(port, { lazyConnect: true, retryStrategy: null, maxRetriesPerRequest: 0 });
  redis.on('error', () => undefined);
  try {
    await redis.connect();
    return await question(redis);
  } catch {
    return undefined;
  } finally {
    redis.disconnect();
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
