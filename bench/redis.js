// A real Redis for the layers that need one: on a socket in a folder of its own, with nothing on disk.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** @returns undefined where there is no redis-server */
export async function startRedis() {
  const folder = mkdtempSync(join(tmpdir(), 'sealed-session-bench-'));
  const socket = join(folder, 'redis.sock');
  const settings = { port: 0, unixsocket: socket, save: '', appendonly: 'no', dir: folder };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', () => {
    kill();
    rmSync(folder, { recursive: true, force: true });
  });
  const serves = await new Promise((resolve) => {
    child.once('error', () => resolve(false));
    child.once('exit', () => resolve(false));
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (/ready to accept connections/i.test(line)) resolve(true);
    });
  });
  return serves ? { socket, pid: child.pid, stop: kill } : undefined;
}

/** A client of it. */
export async function connectRedis(socket) {
  const { createClient } = await import('redis');
  const client = createClient({ socket: { path: socket } });
  client.on('error', (error) => {
    throw error;
  });
  return client.connect();
}
