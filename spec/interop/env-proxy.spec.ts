import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

import { afterAll, describe, expect, it } from '@jest/globals';

import { hasOpenssl } from '../support/certificate.js';
import { startTlsOp } from '../support/tls-op.js';

/*
 * NODE_USE_ENV_PROXY is known to Node 22.21, 24.5 and later. Where this Node is older, PROXY_NODE may name the binary of
 * a newer one.
 */
const node = process.env.PROXY_NODE ?? process.execPath;
const [major = 0, minor = 0] = spawnSync(node, ['-p', 'process.versions.node'], { encoding: 'utf8' })
  .stdout.split('.')
  .map(Number);
const knowsProxy = major > 24 || (major === 24 && minor >= 5) || (major === 22 && minor >= 21);

const folder = mkdtempSync(path.join(tmpdir(), 'env-proxy-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

// A name that only the proxy can resolve: what goes around it reaches nothing.
const name = 'op.example.invalid';

/** A proxy that leads every name to one port of this machine. */
async function startProxy(port: number) {
  const asked: string[] = [];
  const server = createServer((_req, res) => res.writeHead(405).end());
  server.on('connect', (req: IncomingMessage, socket: Socket) => {
    asked.push(req.url ?? '');
    const target = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      target.pipe(socket).pipe(target);
    });
    for (const each of [socket, target])
      each
        .on('error', () => undefined)
        .on('close', () => {
          socket.destroy();
          target.destroy();
        });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked, close: () => server.close() };
}

(knowsProxy && hasOpenssl ? describe : describe.skip)(
  'the proxy of the environment (Node 22.21, 24.5 and later)',
  () => {
    async function run(useProxy: string) {
      const { op, issuer, port, certificate } = await startTlsOp(name);
      const proxy = await startProxy(port);
      const trusted = path.join(folder, 'certificate.pem');
      writeFileSync(trusted, certificate);
      const refreshToken = op.grant();
      const { stdout } = await promisify(execFile)(
        node,
        [path.resolve(import.meta.dirname, '../support/through-proxy.js')],
        {
          env: {
            NODE_USE_ENV_PROXY: useProxy,
            HTTPS_PROXY: proxy.url,
            HTTP_PROXY: proxy.url,
            NODE_EXTRA_CA_CERTS: trusted,
            ISSUER: issuer,
            CLIENT_SECRET: op.clientSecret,
            REFRESH_TOKEN: refreshToken,
          },
        },
      );
      proxy.close();
      return { said: JSON.parse(stdout) as unknown, proxy, op, port };
    }

    it('is the way to metadata, keys and tokens', async () => {
      const { said, proxy, op, port } = await run('1');
      expect(said).toEqual({ authenticated: true, problems: [] });
      expect(op.requests.map(({ path: at }) => at)).toEqual(['/.well-known/openid-configuration', '/token', '/jwks']);
      // One connection for the single-use refresh token, and one that is kept.
      expect(proxy.asked.length).toBeGreaterThanOrEqual(2);
      expect(new Set(proxy.asked)).toEqual(new Set([`${name}:${port}`]));
    });

    it('is left alone without NODE_USE_ENV_PROXY', async () => {
      const { said, proxy, op } = await run('0');
      expect(said).toMatchObject({ authenticated: false, reason: 'network_error' });
      expect([proxy.asked, op.requests]).toEqual([[], []]);
    });
  },
);
