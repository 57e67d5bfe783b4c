import { once } from 'node:events';
import { createServer } from 'node:http';

import { createApp } from './app.js';

const port = Number(process.env.PORT ?? 3000);
const server = createServer();

try {
  // The loopback interface only: the demo speaks plain http, and its provider lets in whoever types a name.
  server.listen(port, 'localhost');
  await once(server, 'listening');
} catch (error) {
  console.error(
    error.code === 'EADDRINUSE'
      ? `Port ${port} is in use. Choose another one, for example: PORT=3001 node examples/demo/server.js`
      : `The demo cannot listen on port ${process.env.PORT}: ${error.message}`,
  );
  process.exit(1);
}

// With PORT=0 the system has chosen the port, and the addresses below depend on it.
const origin = `http://localhost:${server.address().port}`;
server.on('request', await createApp(origin));
console.log(`The demo is ready: open ${origin} and sign in with any name. Ctrl+C ends it.`);

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    server.close();
    server.closeAllConnections(); // open log streams would keep the process alive
  });
}
