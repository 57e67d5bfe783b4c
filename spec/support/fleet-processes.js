/**
 * The processes of a fleet: a real redis-server, and the app of `fleet-app.js`. Plain JavaScript, because the soak runs
 * it without a compiler; the specs use it through `redis-server.ts` and `fleet.ts`.
 */
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { partPath } from './system-parts.js';

const running = new Set();
process.on('exit', () => {
  // SIGKILL ends paused processes too.
  for (const child of running) child.kill('SIGKILL');
});

function track(child) {
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

const hasEnded = ({ exitCode, signalCode }) => exitCode !== null || signalCode !== null;

/** Kills the process and waits until it is gone. */
async function end(child, signal) {
  if (hasEnded(child)) return;
  const gone = once(child, 'exit');
  child.kill(signal);
  await gone;
}

/** A redis-server on a free port of the loopback interface, with nothing on disk. */
export async function startRedisProcess({ cluster = false } = {}) {
  let port = await freePort();
  let server;
  for (let attempt = 1; server === undefined; attempt += 1) {
    try {
      server = await serveRedis(port, cluster);
    } catch (error) {
      // Another process took the port first.
      if (attempt === 3) throw error;
      port = await freePort();
    }
  }
  const kill = () => end(server.child, 'SIGKILL');

  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    clusterPort: server.clusterPort,
    logged: (text) => server.logged(text),
    pause: () => void server.child.kill('SIGSTOP'),
    resume: () => void server.child.kill('SIGCONT'),
    kill,
    restart: async () => {
      await kill();
      server = await serveRedis(port, cluster);
    },
    stop: kill,
  };
}

async function serveRedis(port, cluster) {
  const folder = await mkdtemp(join(tmpdir(), 'sealed-session-redis-'));
  const clusterPort = cluster ? await freePort() : undefined;
  const settings = {
    port,
    bind: '127.0.0.1',
    save: '',
    appendonly: 'no',
    dir: folder,
    ...(cluster && {
      'cluster-enabled': 'yes',
      'cluster-port': clusterPort,
      'cluster-announce-ip': '127.0.0.1',
    }),
  };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const child = track(spawn(partPath('redis'), args, { stdio: ['ignore', 'pipe', 'inherit'] }));
  child.once('exit', () => rmSync(folder, { recursive: true, force: true }));

  const lines = [];
  let watchers = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line);
    for (const { text, tell } of watchers) if (line.includes(text)) tell();
    watchers = watchers.filter(({ text }) => !line.includes(text));
  });
  const logged = (text) =>
    new Promise((resolve, reject) => {
      if (lines.some((line) => line.includes(text))) resolve();
      else watchers.push({ text, tell: resolve });
      child.once('close', () => reject(new Error(`redis-server has ended:\n${lines.join('\n')}`)));
    });
  await logged('Ready to accept connections');
  return { child, clusterPort, logged };
}

/**
 * A port below the range of outgoing connections. A client that reconnects again and again to a stopped server could
 * otherwise be given the server's own port, and connect to itself.
 */
async function freePort() {
  for (;;) {
    const server = createServer().listen(10_000 + Math.floor(Math.random() * 20_000), '127.0.0.1');
    try {
      await once(server, 'listening');
    } catch {
      continue;
    }
    const { port } = server.address();
    server.close();
    await once(server, 'close');
    return port;
  }
}

/**
 * Starts the app in its own process. Resolves when it serves. `tell` is called with each report: each visit, each token
 * that it presents to the provider, each event, each command that it sends to Redis.
 */
export async function startAppProcess(settings, tell = () => undefined) {
  const file = fileURLToPath(new URL('fleet-app.js', import.meta.url));
  const child = track(
    fork(file, [JSON.stringify(settings)], { execArgv: [], env: { ...process.env, NODE_OPTIONS: '' } }),
  );
  const url = await new Promise((resolve, reject) => {
    child.on('message', (report) => {
      if (report.type === 'ready') resolve(report.url);
      else tell(report);
    });
    child.once('exit', () => reject(new Error('The app has ended before it was ready.')));
  });
  return {
    url,
    tell: (message) => child.send(message),
    hasEnded: () => hasEnded(child),
    kill: () => end(child, 'SIGKILL'),
    stop: () => end(child, 'SIGTERM'),
  };
}
