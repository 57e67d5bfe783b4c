import { once } from 'node:events';
import { createServer, type IncomingMessage, ServerResponse } from 'node:http';
import { connect, createServer as createHttp2Server } from 'node:http2';
import { type AddressInfo, connect as connectTcp } from 'node:net';
import { setTimeout } from 'node:timers/promises';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Sessions, withSession } from 'express-sealed-session';
import { redisFleet } from 'express-sealed-session/redis';
import { Redis } from 'ioredis';

import { EngineResponse } from '../support/engine-response.js';
import { eventually } from '../support/eventually.js';
import { type RedisServer, startRedis } from '../support/redis-server.js';
import { describeWithPart } from '../support/system-parts.js';
import { useWorkos } from '../support/use-workos.js';
import { expired, sealedSession, workosOptions } from '../support/workos-session.js';

const times = 30;
// A waiting response asks ten times a second.
const quietMs = 500;

describeWithPart('redis', 'what Redis is asked for responses that are gone', () => {
  const workos = useWorkos();
  let redis: RedisServer;
  let client: Redis;

  beforeAll(async () => {
    redis = await startRedis();
    client = new Redis(redis.port);
  });
  afterAll(async () => {
    client.disconnect();
    await redis.stop();
  });

  const sessionsOf = () => withSession(workosOptions(workos.server, { fleet: redisFleet({ client }) }));
  const visit = (sessions: Sessions, req: unknown, res: unknown) =>
    new Promise((resolve) => {
      sessions(req as IncomingMessage, res as ServerResponse, resolve);
    });
  const seals = () =>
    Promise.all(Array.from({ length: times }, async () => (await sealedSession(workos.server, expired)).sealed));

  /** Waits for an interval without a command: with a response that asks for ever, it never comes. */
  async function expectQuiet(): Promise<void> {
    const watch = await redis.watch();
    // The ledger of each fleet is read every second, whatever becomes of a response.
    const isOfResponse = (command: readonly string[]) => !command.some((part) => part.includes('{ledger}'));
    const asked = async () => (await watch.commands()).filter(isOfResponse).length;
    try {
      await eventually(async () => {
        const before = await asked();
        await setTimeout(quietMs);
        return (await asked()) === before;
      });
    } finally {
      watch.stop();
    }
  }

  describe.each<[string, (req: IncomingMessage) => EngineResponse | ServerResponse]>([
    ['engine.io, under Socket.IO', (req) => new EngineResponse(req)],
    ['ws', (req) => new ServerResponse(req)],
  ])('handshakes of %s', (_, resOf) => {
    it('bring new cookies, and then ask nothing', async () => {
      const sessions = sessionsOf();
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      let answered = 0;
      server.on('upgrade', (req: IncomingMessage, socket: NodeJS.WritableStream) => {
        const res = resOf(req);
        void visit(sessions, req, res).then(() => {
          const cookie = [res.getHeader('Set-Cookie')].flat().join();
          if (cookie.includes('wos-session=Fe26')) answered += 1;
          if (res instanceof EngineResponse) res.writeHandshake();
          socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n');
        });
      });
      const sockets = (await seals()).map((sealed) => {
        const socket = connectTcp((server.address() as AddressInfo).port, '127.0.0.1');
        const lines = ['GET / HTTP/1.1', 'Host: localhost', 'Connection: Upgrade', 'Upgrade: websocket'];
        socket.write([...lines, `Cookie: wos-session=${sealed}`, '', ''].join('\r\n'));
        return socket;
      });
      await Promise.all(sockets.map((socket) => once(socket, 'data')));
      expect(answered).toBe(times);
      // The sockets stay open, as those of WebSockets do.
      await expectQuiet();
      for (const socket of sockets) socket.destroy();
      server.close();
    }, 20_000);
  });

  it('ends with HTTP/2 requests that the client aborts', async () => {
    const sessions = sessionsOf();
    let visited = 0;
    const server = createHttp2Server((req, res) => {
      void visit(sessions, req, res).then(() => (visited += 1));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const browser = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const requests = (await seals()).map((sealed) => browser.request({ cookie: `wos-session=${sealed}` }));
    for (const request of requests) request.on('error', () => undefined);
    // Their handlers never answer.
    await eventually(() => Promise.resolve(visited === times));
    for (const request of requests) request.close(8);
    await expectQuiet();
    browser.destroy();
    server.close();
  }, 20_000);
});
