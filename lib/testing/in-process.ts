import { createServer, type RequestListener } from 'node:http';
import { Agent } from 'node:https';
import { type Duplex, duplexPair } from 'node:stream';

import type { Agents } from '../wire/agents.js';

/** A server in this process. No port is opened, and nothing reaches the network: a test runner finds nothing left open. */
export interface InProcessServer {
  /** Connections that lead to the server, whatever the address of a request says. */
  readonly agent: Agents;
}

/**
 * Serves requests in this process.
 *
 * @param isReachable asked for each connection. One that is not made fails as at a machine where nobody listens
 */
export function inProcessServer(answer: RequestListener, isReachable: () => boolean): InProcessServer {
  const server = createServer(answer);

  class InProcessAgent extends Agent {
    override createConnection(_: unknown, callback?: (error: Error | null, stream: Duplex) => void): Duplex {
      const [client, served] = duplexPair();
      if (isReachable()) {
        server.emit('connection', served);
        return client;
      }
      const error = Object.assign(new Error('The test has taken the provider down.'), { code: 'ECONNREFUSED' });
      process.nextTick(() => callback?.(error, client));
      return undefined as unknown as Duplex;
    }
  }

  return { agent: { https: new InProcessAgent({ keepAlive: false }) } };
}
