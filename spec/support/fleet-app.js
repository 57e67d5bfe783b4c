/**
 * An app as users write it, on the built package, in a process of its own: started by `fleet-processes.js`, to which it
 * reports what happens. Settings: `AppSettings` in `fleet-processes.d.ts`.
 */
import { once } from 'node:events';

import express from 'express';
import { requireSession, withSession, workos } from 'express-sealed-session';
import { redisCoordinator } from 'express-sealed-session/redis';

const settings = JSON.parse(process.argv[2]);
const { library, redisPorts, provider, strict, password, coordinator, refresh, clockToleranceSeconds } = settings;
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
  const redis = redisPorts.length > 1 ? new Cluster(redisPorts) : new Redis(redisPorts[0]);
  // The middleware copes with every error; without a listener the library would print it.
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
function reporting(redis, method, nameOf) {
  const send = redis[method].bind(redis);
  redis[method] = (...args) => {
    report({ type: 'command', name: nameOf(args), atMs: Date.now() });
    return send(...args);
  };
  return redis;
}

const workosProvider = workos(provider);
const eventNames = ['refreshed', 'refreshFailed', 'rejected', 'coordination', 'configuration'];
const events = Object.fromEntries(
  eventNames.map((name) => [
    name,
    (event) => {
      if (name === 'coordination') scope = event.scope;
      report({ type: 'event', name, event });
    },
  ]),
);

let scope = 'fleet';
/** Requests and refreshes that are not done with, whether or not a browser still waits. */
let underWay = 0;

const shared = redisCoordinator({ client, ...coordinator });
const session = withSession({
  provider: {
    ...workosProvider,
    refreshTokens: strict ? 'single-use' : workosProvider.refreshTokens,
    refreshRequest: (grant) => {
      report({ type: 'presented' });
      return workosProvider.refreshRequest(grant);
    },
  },
  password,
  refresh: {
    ...refresh,
    coordinator: {
      ...shared,
      refresh: (ticket, lead) => {
        underWay += 1;
        return shared.refresh(ticket, lead).finally(() => (underWay -= 1));
      },
    },
  },
  clockToleranceSeconds,
  events,
});

const app = express();
// As a load balancer asks. Answers when Redis does.
app.get('/health', async (req, res) => res.json({ redis: await client.ping(), scope, underWay }));
app.use((req, res, next) => {
  report({ type: 'visit' });
  underWay += 1;
  session(req, res, (error) => {
    underWay -= 1;
    res.set('x-reported', String(reported));
    next(error);
  });
});

app.get('/', (req, res) => res.json(req.session));
app.get('/guarded', requireSession(), (req, res) => res.json(req.session));
app.get('/renew', async (req, res) => {
  const result = await req.session.refresh();
  res.json({ result, session: req.session });
});
app.get('/slow', async (req, res) => {
  report({ type: 'handling' });
  // Until the spec tells this process to go on.
  await once(process, 'message');
  res.json(req.session);
});
app.post('/in', express.json(), async (req, res) => {
  await req.session.signIn(req.body);
  res.json(req.session);
});
app.get('/out', async (req, res) => {
  await req.session.signOut();
  res.json(req.session);
});
app.use((error, req, res, next) => {
  if (res.headersSent) return next(error);
  const { status = 500, code, message } = error;
  res.status(status).json({ error: code, message, reason: error.reason });
});

const server = app.listen(0, '127.0.0.1');
await once(server, 'listening');
process.send({ type: 'ready', url: `http://127.0.0.1:${server.address().port}` });
