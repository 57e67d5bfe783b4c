import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { afterAll } from '@jest/globals';

export interface Listening {
  url: string;
  server: Server;
  close: () => Promise<void>;
}

// A `beforeAll` that fails halfway leaves servers behind that its spec has no name for. They would keep Jest running.
const open = new Set<Listening>();
afterAll(() => Promise.all([...open].map(({ close }) => close())));

/** Serves `handler` on a free port of the loopback interface. */
export async function listen(handler: RequestListener): Promise<Listening> {
  const server = createServer(handler);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  const close = async (): Promise<void> => {
    open.delete(listening);
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    // Kept-alive, held and hanging connections would otherwise keep the server open.
    server.closeAllConnections();
    await closed;
  };

  const listening = { url: `http://127.0.0.1:${port}`, server, close };
  open.add(listening);
  return listening;
}
