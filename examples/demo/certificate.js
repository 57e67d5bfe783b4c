import { execFileSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { Agent } from 'node:https';

/** A certificate for localhost that the demo signs itself, in memory, and what the demo's own requests need to trust it. */
export function createCertificate() {
  const args =
    'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout - -out - -days 2 -subj /CN=localhost ' +
    '-addext subjectAltName=DNS:localhost,IP:127.0.0.1';
  let pem;
  try {
    pem = execFileSync('openssl', args.split(' '), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    console.error('With --https the demo makes a certificate by "openssl", which is not here or cannot make one.');
    process.exit(1);
  }
  const spki = new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' });
  return {
    pem,
    agent: new Agent({ ca: pem }),
    publicKeyHash: createHash('sha256').update(spki).digest('base64'),
  };
}

/** How to open the demo in a browser that binds sessions, and why it takes that. */
export function howToOpen(origin, publicKeyHash) {
  return `
Browsers bind no session while there is a certificate error, and this certificate is the demo's own. This Chromium
accepts it by its key, and keeps the keys of devices in software. It has a profile of its own:

  chromium --user-data-dir=/tmp/demo-profile --no-first-run \\
    --enable-features=DeviceBoundSessions,EnableBoundSessionCredentialsSoftwareKeysForManualTesting \\
    --ignore-certificate-errors-spki-list=${publicKeyHash} \\
    ${origin}

(The full browser: a headless shell has no such sessions. As root, add --no-sandbox.)`;
}
