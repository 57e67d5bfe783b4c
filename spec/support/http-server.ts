import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Listening {
  url: string;
  server: Server;
  close: () => Promise<void>;
}

/** Serves `handler` on a free port of the loopback interface. */
export async function listen(handler: RequestListener): Promise<Listening> {
  const server = createServer(handler);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  const close = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    // Kept-alive, held and hanging connections would otherwise keep the server open.
    server.closeAllConnections();
    await closed;
  };

  return { url: `http://127.0.0.1:${port}`, server, close };
}
