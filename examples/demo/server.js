import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';

import { createApp } from './app.js';
import { createCertificate, howToOpen } from './certificate.js';

// Over https the demo binds sessions to their visitor's device. Browsers do that over TLS only.
const certificate = process.argv.includes('--https') ? createCertificate() : undefined;
const createServer = (handler) =>
  certificate ? createHttpsServer({ key: certificate.pem, cert: certificate.pem }, handler) : createHttpServer(handler);

// The app needs to know its own address, and with PORT=0 the system chooses it. A request that comes before the app is
// there waits for it.
let appIsReady;
const ready = new Promise((resolve) => (appIsReady = resolve));
const serve = async (req, res) => (await ready)(req, res);

// The loopback interface only: the demo's provider lets anyone in who types a name.
const ipv4 = createServer(serve);
const ipv6 = createServer(serve);
try {
  ipv4.listen(Number(process.env.PORT ?? 3000), '127.0.0.1');
  await once(ipv4, 'listening');
} catch (error) {
  console.error(
    error.code === 'EADDRINUSE'
      ? `Port ${error.port} is in use. Choose another one, for example: PORT=3001 node examples/demo/server.js`
      : `The demo cannot listen on port ${process.env.PORT}: ${error.message}`,
  );
  process.exit(1);
}
const { port } = ipv4.address();

// For some programs "localhost" is ::1 and nothing else. The machine may have no such address: then 127.0.0.1 will do.
ipv6.on('error', (error) => console.warn(`The demo listens on 127.0.0.1 only: ${error.message}`));
ipv6.listen(port, '::1');

const origin = `${certificate ? 'https' : 'http'}://localhost:${port}`;
appIsReady(await createApp(origin, certificate));
console.log(`The demo is ready: open ${origin} and sign in with any name. Ctrl+C ends it.`);
if (certificate) console.log(howToOpen(origin, certificate.publicKeyHash));

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    for (const server of [ipv4, ipv6]) {
      server.close();
      server.closeAllConnections(); // open log streams would keep the process alive
    }
  });
}
