import { connect } from 'node:tls';

import { isLoopback } from '../checks.js';
import { bad, type Finding, good, notice, unknown } from './finding.js';

const soonMs = 14 * 24 * 60 * 60_000;

/** What Node says of a certificate that it does not trust, by its code. */
export const untrusted = /SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|^CERT_|ERR_TLS_CERT_ALTNAME_INVALID/;

export const untrustedMend =
  'For an authority of your own, set NODE_EXTRA_CA_CERTS. The certificate must name the host, and not be out of date.';

/** Whether the certificates of these addresses are trusted here, and for how long. */
export async function checkTls(urls: readonly string[]): Promise<readonly Finding[]> {
  const hosts = new Set(
    urls
      .map((url) => new URL(url))
      .filter(({ protocol }) => protocol === 'https:')
      .map(({ host }) => host),
  );
  const plain = urls.find((url) => url.startsWith('http:') && !isLoopback(new URL(url).hostname));
  const insecure =
    plain === undefined
      ? []
      : [notice('TLS', `${new URL(plain).host} is asked in clear.`, 'Use https, except inside one network.')];
  return [...insecure, ...(await Promise.all([...hosts].map(certificateOf)))];
}

function certificateOf(host: string): Promise<Finding> {
  const { hostname, port } = new URL(`https://${host}`);
  return new Promise((resolve) => {
    const socket = connect(
      { host: hostname, port: Number(port || 443), servername: hostname, rejectUnauthorized: false, timeout: 5_000 },
      () => {
        const { authorized, authorizationError } = socket;
        const endsMs = Date.parse(socket.getPeerCertificate().valid_to);
        socket.destroy();
        if (!authorized) {
          // An error or a code, by the version of Node.
          const why = (authorizationError as Partial<NodeJS.ErrnoException>).code ?? String(authorizationError);
          resolve(bad('TLS', `The certificate of ${host} is not trusted here (${why}).`, untrustedMend));
        } else if (endsMs - Date.now() < soonMs) {
          resolve(
            notice('TLS', `The certificate of ${host} ends on ${new Date(endsMs).toISOString()}.`, 'Have it replaced.'),
          );
        } else resolve(good('TLS', `The certificate of ${host} is trusted until ${new Date(endsMs).toISOString()}.`));
      },
    );
    const cannot = () => {
      socket.destroy();
      resolve(unknown('TLS', `${host} cannot be reached without a proxy.`));
    };
    socket.on('error', cannot).on('timeout', cannot);
  });
}
