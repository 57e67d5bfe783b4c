import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';

import { partPath } from './system-parts.js';

export interface Nginx {
  readonly port: number;
  close: () => Promise<void>;
}

/** A real nginx with its own defaults and these `server` blocks, on a port that it is told. */
export async function startNginx(serversAt: (port: number) => string): Promise<Nginx> {
  const folder = mkdtempSync(path.join(tmpdir(), 'sealed-session-nginx-'));
  mkdirSync(path.join(folder, 'logs'));
  const port = await freePort();
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (of) => `${of}_temp_path ${folder}/${of};`,
  );
  writeFileSync(
    path.join(folder, 'nginx.conf'),
    `daemon off; pid ${folder}/pid; error_log ${folder}/logs/error.log;
     events {} http { access_log off; ${temporary.join(' ')} ${serversAt(port)} }`,
  );
  const nginx = spawn(partPath('nginx')!, ['-p', folder, '-c', path.join(folder, 'nginx.conf')], { stdio: 'inherit' });
  const ended = once(nginx, 'exit');
  await listening(port, ended);
  return {
    port,
    close: async () => {
      nginx.kill('SIGTERM');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A `server` block as it comes: everything goes on to the app. */
export function passingOn(appPort: number): (port: number) => string {
  return (port) => `server { listen 127.0.0.1:${port}; location / { proxy_pass http://127.0.0.1:${appPort}; } }`;
}

async function listening(port: number, ended: Promise<unknown>): Promise<void> {
  const hasEnded = ended.then(() => 'ended');
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    const answered = once(socket, 'connect').then(
      () => 'listens',
      () => setTimeout(20, 'not yet'),
    );
    const state = await Promise.race([answered, hasEnded]);
    socket.destroy();
    if (state === 'listens') return;
    if (state === 'ended') throw new Error('nginx has ended before it was ready.');
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address ? address.port : 0;
}
