import { once } from 'node:events';
import { createServer, type IncomingMessage, ServerResponse } from 'node:http';
import { connect, createServer as createHttp2Server } from 'node:http2';
import { type AddressInfo, connect as connectTcp } from 'node:net';

import { describe, expect, it, jest } from '@jest/globals';
import { type Session, type SessionOptions, type Sessions, withSession } from 'express-sealed-session';

import { createFleet, fleetParts } from '../../lib/fleet/fleet.js';
import { createProcessFleet } from '../../lib/fleet/process-fleet.js';
import { listen } from '../support/apps.js';
import { useClock } from '../support/clock.js';
import { EngineResponse } from '../support/engine-response.js';
import { useWorkos } from '../support/use-workos.js';
import { expired, sealedSession, sessionCookieOf, workosOptions } from '../support/workos-session.js';

const clock = useClock();
const workos = useWorkos();

const timersButIntervals = [
  ...(['Date', 'hrtime', 'nextTick', 'performance', 'queueMicrotask', 'setImmediate', 'clearImmediate'] as const),
  ...(['setTimeout', 'clearTimeout'] as const),
];

/** The request of a WebSocket handshake with this cookie, as a server gets it. */
async function handshake(sealed: string): Promise<IncomingMessage> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const socket = connectTcp(port, '127.0.0.1');
  const lines = ['GET / HTTP/1.1', 'Host: localhost', 'Connection: Upgrade', 'Upgrade: websocket'];
  socket.write([...lines, `Cookie: wos-session=${sealed}`, '', ''].join('\r\n'));
  const [req] = (await once(server, 'upgrade')) as [IncomingMessage];
  workos.closing({
    close: async () => {
      socket.destroy();
      req.socket.destroy();
      server.close();
      await once(server, 'close');
    },
  });
  return req;
}

interface Visited {
  session: Session;
  error: unknown;
  sessions: Sessions;
}

/** Runs the middleware; a throw outside of `next` rejects. */
async function visit(req: IncomingMessage, res: unknown, options: Partial<SessionOptions> = {}): Promise<Visited> {
  const sessions = withSession(workosOptions(workos.server, options));
  const error = await new Promise((resolve, reject) => {
    try {
      sessions(req, res as ServerResponse, resolve);
    } catch (thrown) {
      reject(thrown instanceof Error ? thrown : new Error(String(thrown)));
    }
  });
  return { session: (req as unknown as { session: Session }).session, error, sessions };
}

function afterTheUpgrade(req: IncomingMessage): EngineResponse {
  const res = new EngineResponse(req);
  res.writeHandshake();
  return res;
}

const closedResponses: [string, (req: IncomingMessage) => unknown][] = [
  ['{}, as in the examples of ws', () => ({})],
  ["engine.io's after the 101", afterTheUpgrade],
];

describe.each(closedResponses)('a response that takes no cookie: %s', (_, resOf) => {
  it('leaves a valid session signed in, and read-only', async () => {
    const { sealed } = await sealedSession(workos.server);
    const req = await handshake(sealed);
    const { session, error } = await visit(req, resOf(req), { cacheControl: 'authenticated' });
    expect([error, session.authenticated]).toEqual([undefined, true]);
  });

  it.each([
    ['close to its expiry is signed in', { lifetimeSeconds: 300 }, { authenticated: true }],
    ['that has expired is not signed in', expired, { authenticated: false, reason: 'expired_jwt' }],
  ])('spends no token for a session %s', async (__, overrides, expected) => {
    const { sealed } = await sealedSession(workos.server, overrides);
    const req = await handshake(sealed);
    clock.advance(280);
    const { session, error } = await visit(req, resOf(req));
    expect(error).toBeUndefined();
    expect({ authenticated: session.authenticated, reason: (session as { reason?: string }).reason }).toMatchObject(
      expected,
    );
    expect(workos.server.refreshCount).toBe(0);
  });

  it('refuses each action before a token is spent, and signs nobody out', async () => {
    const { sealed } = await sealedSession(workos.server);
    const req = await handshake(sealed);
    const { session } = await visit(req, resOf(req));
    const refused = expect.objectContaining({ code: 'ERR_SESSION_HEADERS_SENT' });
    await expect(session.refresh()).rejects.toEqual(refused);
    await expect(session.signOut()).rejects.toEqual(refused);
    await expect(session.signIn({ accessToken: 'a' })).rejects.toEqual(refused);
    expect(session.authenticated).toBe(true);
    expect(workos.server.refreshCount).toBe(0);
  });

  it.each<[string, Partial<SessionOptions>, number]>([
    ['a guard answers 401', { required: true }, 401],
    ['a session past its lifetime is refused', { required: true, lifetime: { absoluteSeconds: 60 } }, 401],
  ])('throws nothing outside of next when %s', async (__, options, status) => {
    const { sealed } = await sealedSession(workos.server, expired);
    const req = await handshake(sealed);
    Object.assign(req.headers, { accept: 'text/html' });
    clock.advance(120);
    const { error } = await visit(req, resOf(req), options);
    expect(error).toMatchObject({ status });
  });

  it('throws nothing outside of next when the keys cannot be had', async () => {
    const { sealed } = await sealedSession(workos.server);
    workos.server.keys.fail({ status: 500 });
    const req = await handshake(sealed);
    const { error } = await visit(req, resOf(req), { whenUnavailable: 'refuse' });
    expect(error).toMatchObject({ status: 503 });
  });
});

describe('a response of a handshake that takes a cookie', () => {
  it('brings the new cookie into the 101: new ServerResponse(req)', async () => {
    const { sealed } = await sealedSession(workos.server, expired);
    const req = await handshake(sealed);
    const res = new ServerResponse(req);
    const { session } = await visit(req, res);
    expect(session.authenticated).toBe(true);
    expect(sessionCookieOf([res.getHeader('Set-Cookie')].flat() as string[])).toMatch(/^Fe26/);
  });

  it("brings the new cookie into the 101, behind the app's: engine.io's", async () => {
    const { sealed } = await sealedSession(workos.server, expired);
    const req = await handshake(sealed);
    const res = new EngineResponse(req);
    res.setHeader('Set-Cookie', 'app=1');
    const { session } = await visit(req, res, { cacheControl: 'authenticated' });
    expect(session.authenticated).toBe(true);
    expect(res.writeHandshake()['Set-Cookie']).toEqual(['app=1', expect.stringMatching(/^wos-session=Fe26/)]);
  });
});

describe('HTTP/2', () => {
  it.each([
    ['localhost', 200],
    ['app.example.com', 500],
  ])('finds the host in :authority, when the cookie is not Secure: %s is answered %i', async (host, status) => {
    const sessions = withSession(workosOptions(workos.server, { baseUrl: 'http://localhost:3000' }));
    const server = createHttp2Server((req, res) => {
      sessions(req as never, res as never, (error) => {
        res.statusCode = error === undefined ? 200 : 500;
        res.end();
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const client = connect(`http://127.0.0.1:${port}`);
    const request = client.request({ ':path': '/', ':authority': `${host}:${port}` });
    const [headers] = (await once(request, 'response')) as [Record<string, unknown>];
    client.destroy();
    server.close();
    expect(headers[':status']).toBe(status);
  });
});

describe('a response that is never answered', () => {
  it('costs the fleet nothing', async () => {
    let asked = 0;
    const parts = fleetParts(createProcessFleet())!;
    const look = () => {
      asked += 1;
      return Promise.resolve();
    };
    const ledger = { ...parts.ledger, look };
    const sessions = withSession(workosOptions(workos.server, { fleet: createFleet('test', { ...parts, ledger }) }));
    const { sealed } = await sealedSession(workos.server, expired);
    jest.useFakeTimers({ doNotFake: timersButIntervals });
    try {
      const visited = new Promise<void>((resolve) => {
        void listen((req, res) => {
          sessions(req, res, () => {
            resolve();
          });
        }).then((app) => {
          workos.closing(app);
          fetch(app.url, { headers: { cookie: `wos-session=${sealed}` } }).catch(() => undefined);
        });
      });
      await visited;
      // Before the refresh, and after it.
      expect(asked).toBe(2);
      jest.advanceTimersByTime(600_000);
      expect(asked).toBe(2);
    } finally {
      jest.useRealTimers();
    }
  });
});
