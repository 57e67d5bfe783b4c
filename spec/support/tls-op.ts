import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';

import { afterAll } from '@jest/globals';

import { selfSigned } from './certificate.js';
import { type OpOptions, type OpServer, startOpServer } from './op-server.js';

const open: { close: () => void }[] = [];
afterAll(() => {
  for (const each of open) each.close();
});

export interface TlsOp {
  readonly op: OpServer;
  /** Its issuer: below it are all of its endpoints. */
  readonly issuer: string;
  readonly port: number;
  /** Whom clients must trust. */
  readonly certificate: string;
  /** The names in the certificates of those who came; undefined for one without. */
  readonly clients: (string | undefined)[];
}

/**
 * An OpenID provider behind TLS.
 *
 * @param name the host that its certificate is for
 * @param clientCertificates whose connections are taken. Default: everybody's
 */
export async function startTlsOp(
  name: string,
  { clientCertificates, ...options }: OpOptions & { clientCertificates?: string } = {},
): Promise<TlsOp> {
  const op = await startOpServer(options);
  const certificate = selfSigned(name);
  const clients: TlsOp['clients'] = [];
  const server = createServer({
    key: certificate,
    cert: certificate,
    ...(clientCertificates !== undefined && { ca: clientCertificates, requestCert: true, rejectUnauthorized: true }),
  });
  server.on('secureConnection', (socket: TLSSocket) => {
    clients.push((socket.getPeerCertificate() as { subject?: { CN: string } }).subject?.CN);
    const inner = connect(Number(new URL(op.url).port), '127.0.0.1');
    for (const each of [socket, inner]) each.on('error', () => undefined);
    socket.pipe(inner).pipe(socket);
    socket.on('close', () => inner.destroy());
    inner.on('close', () => socket.destroy());
  });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  open.push(server, op);
  const { port } = server.address() as AddressInfo;
  const issuer = `https://${name}:${port}`;
  const endpoints = {
    authorization_endpoint: `${op.url}/authorize`,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/jwks`,
    userinfo_endpoint: `${issuer}/userinfo`,
    end_session_endpoint: `${issuer}/logout`,
    revocation_endpoint: `${issuer}/revoke`,
  };
  op.wire.issuer = issuer;
  op.wire.metadata = { ...endpoints, ...op.wire.metadata };
  return { op, issuer, port, certificate, clients };
}
