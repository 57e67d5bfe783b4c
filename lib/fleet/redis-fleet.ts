import { createCipheriv, createDecipheriv, randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

import { LRUCache } from 'lru-cache';

import { amount, callable, type Checks, checkOptions, optional } from '../checks.js';
import { SessionConfigError } from '../errors.js';
import type { Coordinator, Led, Outcome, Ticket } from '../refresh/coordinator.js';
import {
  endedMs,
  isFor,
  type MemoryCoordinatorOptions,
  singleFlight,
  terminalMs,
  unclaimedMs,
} from '../refresh/single-flight.js';
import { commandOf, type RedisClient, withinTime } from './redis-client.js';

export type { RedisClient } from './redis-client.js';

export interface RedisCoordinatorOptions extends MemoryCoordinatorOptions {
  /** The app's own connected client. This package neither connects nor closes it. */
  readonly client: RedisClient;
  /** What the keys begin with. Default: `sealed-session:`. */
  readonly prefix?: string | undefined;
  /** How long a process that has died keeps others from taking its refresh over, in milliseconds. Default: 5000. */
  readonly leaseMs?: number | undefined;
  /** The longest that a request waits for one answer of Redis, in milliseconds. Default: 200. */
  readonly timeoutMs?: number | undefined;
}

const checks: Checks<RedisCoordinatorOptions> = {
  client: (value) =>
    ['call', 'sendCommand'].some(
      (name) => callable((value as Record<string, unknown> | undefined)?.[name]) === undefined,
    )
      ? undefined
      : 'must be a client of node-redis or ioredis.',
  prefix: optional((value) => (typeof value === 'string' ? undefined : 'must be a string.')),
  leaseMs: optional(amount('milliseconds', 100, 120_000)),
  timeoutMs: optional(amount('milliseconds', 1, 10_000)),
  maxSessions: optional(amount('sessions', 1, 10_000_000)),
};

// Deletes or prolongs a lease only while it is still ours: after a long pause it may be somebody else's.
const release = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0";
const prolong =
  "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0";

// How often the new tokens are offered to a Redis that is away.
const publishAgainMs = 500;

// How often a process looks whether another has finished.
const pollMs = 40;

/**
 * Coordinates the refreshes of a fleet through Redis or Valkey. One process leads; it publishes the new tokens before
 * it gives up its lease; the others wait for them and never present the old token. What Redis holds is sealed under
 * keys derived from the refresh tokens: without the old cookie nothing in it can be read.
 *
 * While Redis is away, each process coordinates its own requests, as `memoryCoordinator()` does.
 *
 * @throws {SessionConfigError} with everything that is wrong with the options
 */
export function redisCoordinator(options: RedisCoordinatorOptions): Coordinator {
  const problems = checkOptions('redisCoordinator', options, checks);
  if (problems.length > 0) throw new SessionConfigError(problems);
  const { client, prefix = 'sealed-session:', leaseMs = 5_000, timeoutMs = 200, maxSessions = 10_000 } = options;

  const listeners = new Set<(scope: 'process' | 'fleet') => void>();
  const command = commandOf(client);
  // How often Redis was lost: what was seen in it before may be gone.
  let losses = 0;
  const ask = withinTime(command, timeoutMs, (scope) => {
    if (scope === 'process') losses += 1;
    for (const listener of listeners) listener(scope);
  });
  const local = singleFlight({ maxSessions });
  // Tokens that another process was seen to refresh. Should Redis go away meanwhile, they are not ours to present.
  const ledElsewhere = new LRUCache<string, { untilMs: number; losses: number }>({ max: maxSessions });

  // The braces make a cluster keep both on one node.
  const leaseKey = ({ key }: Ticket) => `${prefix}{${key}}:lease`;
  const doneKey = ({ key }: Ticket) => `${prefix}{${key}}:done`;
  const endedKey = (name: string) => `${prefix}{${name}}:ended`;

  /** Leads the refresh in the fleet, or takes over what another process made of it. */
  async function leadInFleet(ticket: Ticket, lead: () => Promise<Outcome>): Promise<Led | undefined> {
    const owner = randomUUID();
    const giveUpMs = Date.now() + ticket.budgetMs;
    const own = async (): Promise<Led> => ({ outcome: await lead(), variant: ticket.variant, source: 'leader' });

    for (;;) {
      const lease = await acquire(ticket, owner);
      if (lease === 'unknown') return isLedElsewhere(ticket) ? passing(ticket) : ownAndTell(ticket, own);
      // Looked at under the lease, or while another has it: what is published before it is given up is not missed.
      const done = unseal(ticket, await ask(doneKey(ticket), ['GET', doneKey(ticket)]).catch(() => undefined));
      if (done) {
        if (lease === 'ours') void giveUp(ticket, owner);
        return done;
      }
      if (lease === 'ours') {
        // A lease that came to nothing is taken over: its holder is gone. One that was lost with Redis is not: its
        // holder has the new tokens, or is about to, and publishes them when Redis is back.
        if (!isLedElsewhere(ticket) || ledElsewhere.get(ticket.key)?.losses === losses)
          return underLease(ticket, owner, own);
        await giveUp(ticket, owner);
      } else if (!isLedElsewhere(ticket)) {
        // Noted once: later, the lease may be of one who is only finding out what is said above.
        ledElsewhere.set(ticket.key, { untilMs: Date.now() + ticket.budgetMs + leaseMs, losses });
      }
      if (!ticket.wait) return undefined;
      if (Date.now() > giveUpMs) return passing(ticket);
      await sleep(pollMs * (0.75 + Math.random() / 2));
    }
  }

  async function acquire(ticket: Ticket, owner: string): Promise<'ours' | "another's" | 'unknown'> {
    const key = leaseKey(ticket);
    // A command that we gave up may still arrive, and would leave a lease that nobody leads under.
    const tooLate = () => {
      command(key, ['EVAL', release, '1', key, owner]).catch(() => undefined);
    };
    try {
      return (await ask(key, ['SET', key, owner, 'PX', String(leaseMs), 'NX'], tooLate)) === 'OK'
        ? 'ours'
        : "another's";
    } catch {
      return 'unknown';
    }
  }

  function isLedElsewhere({ key }: Ticket): boolean {
    return (ledElsewhere.get(key)?.untilMs ?? 0) > Date.now();
  }

  /** Without Redis. Should it come back soon, the others learn that the token is spent. */
  async function ownAndTell(ticket: Ticket, own: () => Promise<Led>): Promise<Led> {
    const led = await own();
    void publish(ticket, led);
    return led;
  }

  async function underLease(ticket: Ticket, owner: string, own: () => Promise<Led>): Promise<Led> {
    const key = leaseKey(ticket);
    const renewal = setInterval(() => {
      ask(key, ['EVAL', prolong, '1', key, owner, String(leaseMs)]).catch(() => undefined);
    }, leaseMs / 3);
    renewal.unref();
    const led = await own();
    // The request has its tokens and goes on. The fleet gets them first, then the lease.
    void publish(ticket, led).finally(() => {
      clearInterval(renewal);
      void giveUp(ticket, owner);
    });
    return led;
  }

  /** Tries for a while: as long as nobody else has the new tokens, nobody else may have the lease. */
  async function publish(ticket: Ticket, led: Led): Promise<void> {
    const { kind } = led.outcome;
    if (kind === 'transient') return;
    const key = doneKey(ticket);
    const lastsMs = kind === 'terminal' ? terminalMs : Math.max(ticket.graceMs, unclaimedMs);
    const record = seal(ticket, led);
    const giveUpMs = Date.now() + Math.min(lastsMs, ticket.graceMs);
    do {
      try {
        await ask(key, ['SET', key, record, 'PX', String(lastsMs)]);
        return;
      } catch {
        await sleep(publishAgainMs, undefined, { ref: false });
      }
    } while (Date.now() < giveUpMs);
  }

  async function giveUp(ticket: Ticket, owner: string): Promise<void> {
    const key = leaseKey(ticket);
    await ask(key, ['EVAL', release, '1', key, owner]).catch(() => undefined);
  }

  return Object.freeze({
    refresh: (ticket, lead) => local.refresh(ticket, () => leadInFleet(ticket, lead)),
    claim: local.claim,
    successorOf: local.successorOf,
    end: async (names) => {
      local.end(names);
      const tell = (name: string) => ask(endedKey(name), ['SET', endedKey(name), '1', 'PX', String(endedMs)]);
      // A sign-out is one here even if the fleet cannot be told.
      await Promise.all(names.map((name) => tell(name).catch(() => undefined)));
    },
    hasEnded: local.hasEnded,
    anyEnded: local.anyEnded,
    learnEnded: async (names) => {
      const unknown = [...new Set(names)].filter((name) => !local.hasEnded([name]));
      const learn = async (name: string) => {
        const reply = await ask(endedKey(name), ['GET', endedKey(name)]).catch(() => null);
        if (reply !== null) local.end([name]);
      };
      await Promise.all(unknown.map(learn));
    },
    onScope: (listener) => {
      listeners.add(listener);
    },
  } satisfies Coordinator);
}

function passing({ variant }: Ticket): Led {
  return { outcome: { kind: 'transient', reason: 'timeout' }, variant, source: 'leader' };
}

// A record is sealed for its name as well: moved to another key, it does not open.
function seal(ticket: Ticket, { outcome, variant }: Led): string {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', ticket.secret, iv).setAAD(Buffer.from(ticket.key));
  const sealed = Buffer.concat([cipher.update(JSON.stringify({ outcome, variant })), cipher.final()]);
  return Buffer.concat([iv, cipher.getAuthTag(), sealed]).toString('base64');
}

/** What another process published about this refresh token, if it is of use to this ticket. */
function unseal(ticket: Ticket, record: unknown): Led | undefined {
  if (typeof record !== 'string') return undefined;
  try {
    const bytes = Buffer.from(record, 'base64');
    const decipher = createDecipheriv('aes-256-gcm', ticket.secret, bytes.subarray(0, 12), { authTagLength: 16 });
    decipher.setAAD(Buffer.from(ticket.key)).setAuthTag(bytes.subarray(12, 28));
    const json = Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString();
    const { outcome, variant } = JSON.parse(json) as Pick<Led, 'outcome' | 'variant'>;
    const led: Led = { outcome, variant, source: 'fleet' };
    const isOwn = outcome.kind === 'refreshed' && outcome.session.accessToken === ticket.accessToken;
    return !isOwn && isFor(ticket, led) ? led : undefined;
  } catch {
    // Not ours, or damaged: as good as none.
    return undefined;
  }
}
