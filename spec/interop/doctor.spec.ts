import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

import { afterAll, describe, expect, it } from '@jest/globals';
import type { SessionOptions } from 'express-sealed-session';
import { redisFleet } from 'express-sealed-session/redis';
import { Redis } from 'ioredis';

import { hasOpenssl } from '../support/certificate.js';
import { commandLine, withConfig } from '../support/command-line.js';
import { startRedis } from '../support/redis-server.js';
import { describeWithPart } from '../support/system-parts.js';
import { startTlsOp } from '../support/tls-op.js';
import { useWorkos } from '../support/use-workos.js';
import { password, workosOptions } from '../support/workos-session.js';

interface Finding {
  readonly about: string;
  readonly status: string;
  readonly message: string;
  readonly mend?: string;
}

const workos = useWorkos();

/** What `doctor` finds about one thing. */
async function found(about: string, options: SessionOptions): Promise<Finding[]> {
  const named = globalThis as { cliOptions?: unknown };
  named.cliOptions = options;
  try {
    const { out } = await commandLine(['doctor', ...withConfig], { isTerminal: false });
    return (JSON.parse(out) as Finding[]).filter((each) => each.about === about);
  } finally {
    delete named.cliOptions;
  }
}

describeWithPart('redis', 'doctor, of the store of a fleet', () => {
  it('says whether it answers', async () => {
    const redis = await startRedis();
    const client = new Redis(redis.port, { maxRetriesPerRequest: 0 });
    client.on('error', () => undefined);
    try {
      const options = { ...workosOptions(workos.server), fleet: redisFleet({ client }) };
      expect(await found('fleet', options)).toEqual([
        { about: 'fleet', status: 'good', message: expect.stringMatching(/^The store of redis answers, in \d+ ms\.$/) },
      ]);
      await redis.kill();
      expect(await found('fleet', options)).toEqual([
        expect.objectContaining({ status: 'bad', message: expect.stringContaining('does not answer') }),
      ]);
    } finally {
      client.disconnect();
      await redis.stop();
    }
  });
});

(hasOpenssl ? describe : describe.skip)('doctor, of the certificate of a provider', () => {
  const folders: string[] = [];
  afterAll(async () => {
    for (const folder of folders) await rm(folder, { recursive: true });
  });

  /** The same command in a process of its own: whom it trusts, Node reads at its start. */
  async function foundByProcess(about: string, issuer: string, certificate: string): Promise<Finding[]> {
    const folder = await mkdtemp(path.join(import.meta.dirname, '.doctor-'));
    folders.push(folder);
    await writeFile(path.join(folder, 'ca.pem'), certificate);
    await writeFile(
      path.join(folder, 'options.js'),
      `import { oidc } from 'express-sealed-session';
      const provider = oidc({ issuer: '${issuer}', clientId: 'client_01', clientSecret: 'secret-of-the-client' });
      export const options = { provider, password: '${password}' };`,
    );
    const program = path.join(import.meta.dirname, '../../dist/esm/main.js');
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: path.join(folder, 'ca.pem') };
    const args = [program, 'doctor', '--config', path.join(folder, 'options.js')];
    // It ends with 1 where something is bad.
    const { stdout } = await promisify(execFile)(process.execPath, args, { env }).catch(
      (error: unknown) => error as { stdout: string },
    );
    return (JSON.parse(stdout) as Finding[]).filter((each) => each.about === about);
  }

  it('says that it ends soon, where it is trusted', async () => {
    const { issuer, certificate } = await startTlsOp('localhost');
    const [only, ...more] = await foundByProcess('TLS', issuer, certificate);
    expect([only?.status, more]).toEqual(['notice', []]);
    expect(only?.message).toContain(`The certificate of ${new URL(issuer).host} ends on `);
  });

  it('says that it is not trusted', async () => {
    const { issuer } = await startTlsOp('localhost');
    const stranger = await startTlsOp('localhost');
    const [first] = await foundByProcess('provider', issuer, stranger.certificate);
    expect(first).toMatchObject({
      status: 'bad',
      message: expect.stringContaining('SELF_SIGNED'),
      mend: expect.stringContaining('NODE_EXTRA_CA_CERTS'),
    });
  });
});
