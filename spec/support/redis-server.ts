import { once } from 'node:events';
import { createConnection } from 'node:net';
import { createInterface } from 'node:readline';

import { Redis } from 'ioredis';

import { type RedisProcess, startRedisProcess } from './fleet-processes.js';

export interface RedisEntry {
  key: string;
  value: string;
  /** How long the key still lives, in milliseconds; -1 for ever. */
  ttlMs: number;
}

export interface Watch {
  /** Every command that clients have sent since the watch began, and those that scripts ran. */
  commands: () => Promise<string[][]>;
  stop: () => void;
}

export interface RedisServer extends RedisProcess {
  /** Everything that is in it. */
  entries: () => Promise<RedisEntry[]>;
  watch: () => Promise<Watch>;
  /** One command, on a connection of its own. */
  command: (name: string, ...args: string[]) => Promise<unknown>;
}

export async function startRedis(options?: { cluster?: boolean }): Promise<RedisServer> {
  const server = await startRedisProcess(options);

  /** Connects anew each time: the server may have been killed in between. */
  async function withConnection<Result>(use: (redis: Redis) => Promise<Result>): Promise<Result> {
    const redis = new Redis(server.port);
    try {
      return await use(redis);
    } finally {
      redis.disconnect();
    }
  }

  const command: RedisServer['command'] = (name, ...args) => withConnection((redis) => redis.call(name, ...args));

  const entries = () =>
    withConnection(async (redis) => {
      const found: RedisEntry[] = [];
      for (const key of await redis.keys('*')) {
        const isStream = (await redis.type(key)) === 'stream';
        const read = async () => (isStream ? JSON.stringify(await redis.xrange(key, '-', '+')) : redis.get(key));
        const [value, ttlMs] = await Promise.all([read(), redis.pttl(key)]);
        // It may have expired since it was listed.
        if (value !== null) found.push({ key, value, ttlMs });
      }
      return found;
    });

  async function watch(): Promise<Watch> {
    const seen: string[] = [];
    const socket = createConnection(server.port, '127.0.0.1');
    const lines = createInterface({ input: socket });
    lines.on('line', (line) => seen.push(line));
    socket.write('MONITOR\r\n');
    await once(lines, 'line');
    let markers = 0;
    return {
      commands: async () => {
        markers += 1;
        const marker = `marker-${String(markers)}`;
        const arrived = new Promise<void>((resolve) => {
          lines.on('line', (line) => {
            if (line.includes(marker)) resolve();
          });
        });
        await command('ECHO', marker);
        await arrived;
        return seen.map(readCommand).filter(([name = '']) => /^(get|set|del|eval|pexpire)$/i.test(name));
      },
      stop: () => socket.destroy(),
    };
  }

  return { ...server, command, entries, watch };
}

/** `1700000000.000000 [0 127.0.0.1:5000] "GET" "key"` */
function readCommand(line: string): string[] {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, text = '']) => text);
}

/** Three masters that share the slots. */
export async function startRedisCluster(): Promise<RedisServer[]> {
  const masters = await Promise.all([1, 2, 3].map(() => startRedis({ cluster: true })));
  const slots = 16_384;
  const share = Math.ceil(slots / masters.length);
  const [first] = masters;
  for (const [index, { command }] of masters.entries()) {
    await command('CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1));
    const [from, to] = [index * share, Math.min((index + 1) * share, slots) - 1];
    await command('CLUSTER', 'ADDSLOTSRANGE', String(from), String(to));
    if (index > 0) await command('CLUSTER', 'MEET', '127.0.0.1', String(first!.port), String(first!.clusterPort));
  }
  await Promise.all(masters.map(({ logged }) => logged('Cluster state changed: ok')));
  return masters;
}
