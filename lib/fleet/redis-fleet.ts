import { amount, callable, type Checks, optional, readOptions } from '../checks.js';
import { SessionConfigError } from '../errors.js';
import { createFleet, type Fleet, ledgerLimits } from './fleet.js';
import { commandOf, type RedisClient } from './redis-client.js';
import { redisCoordinator } from './redis-coordinator.js';
import { redisLedger } from './redis-ledger.js';
import { timedCommands } from './timed-commands.js';

/** The options of `redisFleet()`. */
export interface RedisFleetOptions {
  /**
   * The app's own connected client of node-redis or ioredis: stand-alone, Sentinel or Cluster. It is neither connected
   * nor closed here.
   */
  readonly client: RedisClient;
  /** What the keys in Redis begin with. Default: `sealed-session:`. */
  readonly prefix?: string | undefined;
  /** How long the other processes wait before they take over from a process that died, in milliseconds. Default: 5000. */
  readonly leaseMs?: number | undefined;
  /** How long a request waits for one answer of Redis, in milliseconds. Default: 200. */
  readonly timeoutMs?: number | undefined;
  /** How soon each process knows what another has ended, in milliseconds. It costs one command in this time. Default: 1000. */
  readonly pollMs?: number | undefined;
  /**
   * How long an ending is remembered, in seconds, beside the longest lifetime of an access token, where sessions have no
   * `lifetime.absoluteSeconds`. Default: 31,536,000.
   */
  readonly rememberSeconds?: number | undefined;
}

const checks: Checks<RedisFleetOptions> = {
  client: (value) =>
    ['call', 'sendCommand'].some(
      (name) => callable((value as Record<string, unknown> | undefined)?.[name]) === undefined,
    )
      ? undefined
      : 'must be a client of node-redis or ioredis.',
  prefix: optional((value) => (typeof value === 'string' ? undefined : 'must be a string.')),
  leaseMs: optional(amount('milliseconds', 100, 120_000)),
  timeoutMs: optional(amount('milliseconds', 1, 10_000)),
  pollMs: optional(amount('milliseconds', 100, 60_000)),
  rememberSeconds: optional(amount('seconds', 3_600, 400 * 24 * 60 * 60)),
};

/**
 * Lets several processes share their sessions through Redis or Valkey. A refresh token is presented by one process
 * only, and a sign-out in one process is known to the others. What Redis stores is sealed under keys derived from the
 * refresh tokens: without the old cookie nothing in it can be read.
 *
 * While Redis does not answer, each process coordinates its own requests, as it does without a fleet.
 *
 * @example
 * ```ts
 * import { withSession } from 'express-sealed-session';
 * import { redisFleet } from 'express-sealed-session/redis';
 * import { createClient } from 'redis';
 *
 * const client = await createClient({ url: process.env.REDIS_URL }).connect();
 * app.use(withSession({ ...options, fleet: redisFleet({ client }) }));
 * ```
 *
 * @throws {SessionConfigError} with everything that is wrong with the options
 */
export function redisFleet(options: RedisFleetOptions): Fleet {
  const { given, problems } = readOptions('redisFleet', options, checks);
  if (problems.length > 0) throw new SessionConfigError(problems);
  const { client, prefix = 'sealed-session:', leaseMs = 5_000, timeoutMs = 200, pollMs = 1_000 } = given;
  const rememberMs = given.rememberSeconds === undefined ? ledgerLimits.rememberMs : given.rememberSeconds * 1000;

  const command = commandOf(client);
  const timed = timedCommands(command, timeoutMs);
  return createFleet('redis', {
    coordinator: redisCoordinator({ ...timed, command, prefix, leaseMs }),
    ledger: redisLedger({ ...timed, prefix, pollMs, rememberMs }),
    onChange: timed.onChange,
  });
}
