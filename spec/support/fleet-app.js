/**
 * An app as users write it, on the built package, in a process of its own: started by `fleet-processes.js`, to which it
 * reports what happens. Settings: `AppSettings` in `fleet-processes.d.ts`.
 */
import { once } from 'node:events';

import express from 'express';
import { withSession, workos } from 'express-sealed-session';
import { redisFleet } from 'express-sealed-session/redis';

import { createFleet, fleetParts } from '../../dist/fleet/fleet.js';

const settings = JSON.parse(process.argv[2]);
const { library, redisPorts, sentinel, baseUrl, provider, strict, password, fleet, refresh, clockToleranceSeconds } =
  settings;
const isWanted = ({ type, name }) => settings.reports?.includes(name ?? type) ?? true;
let reported = 0;
function report(message) {
  if (!process.connected || !isWanted(message)) return;
  reported += 1;
  process.send(message);
}
process.on('disconnect', () => process.exit());
process.on('SIGTERM', () => process.exit());

const client = await (library === 'ioredis' ? connectIoredis() : connectNodeRedis());

async function connectIoredis() {
  const { Cluster, Redis } = await import('ioredis');
  const redis = sentinel
    ? new Redis({ sentinels: [{ host: '127.0.0.1', port: sentinel.port }], name: sentinel.name })
    : redisPorts.length > 1
      ? new Cluster(redisPorts)
      : new Redis(redisPorts[0]);
  // The middleware handles every error. Without a listener, the library would print them.
  redis.on('error', () => undefined);
  await once(redis, 'ready');
  return reporting(redis, 'call', ([name]) => name);
}

async function connectNodeRedis() {
  const { createClient, createCluster } = await import('redis');
  const urls = redisPorts.map((port) => `redis://127.0.0.1:${port}`);
  const isCluster = urls.length > 1;
  const redis = isCluster ? createCluster({ rootNodes: urls.map((url) => ({ url })) }) : createClient({ url: urls[0] });
  redis.on('error', () => undefined);
  await redis.connect();
  return reporting(redis, 'sendCommand', (args) => args.at(-1)[0]);
}

/** The same client, which reports each command that the middleware sends. */
function reporting(redis, method, commandName) {
  const send = redis[method].bind(redis);
  redis[method] = (...args) => {
    report({ type: 'command', name: commandName(args), atMs: Date.now() });
    return send(...args);
  };
  return redis;
}

const workosProvider = workos(provider);
const eventNames = ['refreshed', 'refreshFailed', 'rejected', 'fleetChanged', 'misconfigured'];
const events = Object.fromEntries(
  eventNames.map((name) => [
    name,
    (event) => {
      if (name === 'fleetChanged') fleetIsReachable = event.reachable;
      report({ type: 'event', name, event });
    },
  ]),
);

let fleetIsReachable = true;
/** Requests and refreshes that have not finished, including those whose browser has gone. */
let underWay = 0;

const shared = redisFleet({ client, ...fleet });
const parts = fleetParts(shared);
/** The same fleet, which counts the refreshes that are running. */
const counted = createFleet(shared.kind, {
  ...parts,
  coordinator: {
    ...parts.coordinator,
    refresh: (ticket, lead) => {
      underWay += 1;
      return parts.coordinator.refresh(ticket, lead).finally(() => (underWay -= 1));
    },
  },
});
const sessions = withSession({
  provider: {
    ...workosProvider,
    refreshTokens: strict ? 'single-use' : workosProvider.refreshTokens,
    refreshRequest: (grant) => {
      report({ type: 'presented' });
      return workosProvider.refreshRequest(grant);
    },
  },
  password,
  baseUrl,
  fleet: counted,
  refresh,
  clockToleranceSeconds,
  events,
});

const app = express();
// For a load balancer. It answers only while Redis does.
app.get('/health', async (req, res) => res.json({ redis: await client.ping(), fleetIsReachable, underWay }));
app.use((req, res, next) => {
  report({ type: 'visit' });
  underWay += 1;
  sessions(req, res, (error) => {
    underWay -= 1;
    res.set('x-reported', String(reported));
    next(error);
  });
});

if (baseUrl) app.use(sessions.routes());
app.get('/', (req, res) => res.json(sessions.get(req)));
app.get('/guarded', sessions.require(), (req, res) => res.json(sessions.signedIn(req)));
app.get('/refresh', async (req, res) => {
  const session = sessions.get(req);
  res.json({ result: await session.refresh(), session });
});
app.get('/slow', async (req, res) => {
  report({ type: 'handling' });
  // Waits until the spec sends a message.
  await once(process, 'message');
  res.json(sessions.get(req));
});
app.post('/in', express.json(), async (req, res) => {
  const session = sessions.get(req);
  await session.signIn(req.body);
  res.json(session);
});
app.get('/out', async (req, res) => {
  const session = sessions.get(req);
  await session.signOut();
  res.json(session);
});
app.use((error, req, res, next) => {
  if (res.headersSent) return next(error);
  const { status = 500, code, message } = error;
  res.status(status).json({ error: code, message, reason: error.reason });
});

const server = app.listen(0, '127.0.0.1');
await once(server, 'listening');
process.send({ type: 'ready', url: `http://127.0.0.1:${server.address().port}` });
