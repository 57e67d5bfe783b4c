import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';

/** The connections of an app's own, for everything that is sent to a provider: a proxy, a custom CA, mutual TLS. */
export interface Agents {
  /** For addresses with plain http. */
  readonly http?: HttpAgent | undefined;
  /** For addresses with https. */
  readonly https?: HttpsAgent | undefined;
}

// For each provider: an outage or a storm must not open thousands of connections. A request that waits for one spends
// its budget only, because got's other time-outs begin with the socket.
const maxSockets = 128;

// `NODE_USE_ENV_PROXY` (Node 22.21 and 24.5) is for Node's global agents. An agent of one's own has to be told.
const proxy: object = process.env.NODE_USE_ENV_PROXY === '1' ? { proxyEnv: process.env } : {};

// An idle connection is closed after as long as Node's own agent keeps it.
const kept = { keepAlive: true, timeout: 5_000, maxSockets, ...proxy };
const fresh = { maxSockets, ...proxy };

const keptConnections = { http: new HttpAgent(kept), https: new HttpsAgent(kept) };
// A kept connection may break just as it is used again. That looks like one that broke after the token was read, and
// could not be repeated. So a single-use token gets a connection of its own. `Connection: close` is needed as well:
// Node hands a connection on to a waiting request even where it keeps none.
const freshConnections = { http: new HttpAgent(fresh), https: new HttpsAgent(fresh) };

/** The agents of a request: the app's own where it has given them. */
export function agentsFor(own: Agents | undefined, { mayRepeat }: { readonly mayRepeat: boolean }) {
  const usual = mayRepeat ? keptConnections : freshConnections;
  return { http: own?.http ?? usual.http, https: own?.https ?? usual.https };
}
