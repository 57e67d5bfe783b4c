import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';

/** Whether certificates can be made here. */
export const hasOpenssl = spawnSync('openssl', ['version']).error === undefined;

/** A key and a certificate for these hosts, signed by itself, as PEM in one text. */
export function selfSigned(...hosts: string[]): string {
  const args = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout - -out - -days 2'.split(' ');
  const names = [
    '-subj',
    `/CN=${hosts[0] ?? ''}`,
    '-addext',
    `subjectAltName=${hosts.map((host) => `DNS:${host}`).join()}`,
  ];
  return execFileSync('openssl', [...args, ...names], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
}

/** The hash by which Chromium accepts a certificate without an error: with an error it binds no session. */
export function publicKeyHash(pem: string): string {
  const spki = new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest('base64');
}
