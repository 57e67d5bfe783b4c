import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createServer, request } from 'node:https';
import type { AddressInfo } from 'node:net';

import { expect, it } from '@jest/globals';

import { agentsFor } from '../../../lib/wire/agents.js';
import { hasOpenssl, selfSigned } from '../../support/certificate.js';

// A refresh token of a strict provider gets a connection of its own: without this, each would pay for a whole handshake.
(hasOpenssl ? it : it.skip)(
  'a connection for a single-use token takes up the TLS session of the one before',
  async () => {
    const pem = selfSigned('localhost');
    const resumed: boolean[] = [];
    const server = createServer({ key: pem, cert: pem }, (_req, res) => res.end());
    server.on('secureConnection', (socket) => resumed.push(socket.isSessionReused()));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const { https: agent } = agentsFor(undefined, { mayRepeat: false });

    try {
      for (let connections = 0; connections < 3; connections += 1) {
        const headers = { connection: 'close' };
        const asked = request({ agent, host: '127.0.0.1', port, ca: pem, servername: 'localhost', headers });
        asked.end();
        const [answer] = (await once(asked, 'response')) as [IncomingMessage];
        answer.resume();
        await once(answer, 'end');
      }
      expect(resumed).toEqual([false, true, true]);
    } finally {
      server.close();
    }
  },
);
