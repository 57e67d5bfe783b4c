import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

import { LRUCache } from 'lru-cache';

import type {
  CoordinatedOutcome,
  Coordinator,
  Outcome,
  Refreshed,
  SharedToken,
  Ticket,
} from '../refresh/coordinator.js';
import { claimedMs, isFor, sharedForMs } from '../refresh/shared-outcome.js';
import { singleFlight } from '../refresh/single-flight.js';
import { maxEntries } from './fleet.js';
import type { Command } from './redis-client.js';
import { type FoundRecord, openRecord, sealRecord } from './redis-record.js';
import type { TimedCommands } from './timed-commands.js';

interface Settings extends TimedCommands {
  /** Sends a command without a limit and without effect on what is known of Redis. */
  readonly command: Command;
  readonly prefix: string;
  readonly leaseMs: number;
}

// A lease is deleted or prolonged only while it is ours: after a long pause another process may hold it.
const release = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0";
const prolong =
  "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0";

const takeOver =
  "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('set', KEYS[1], ARGV[2], 'PX', ARGV[3]) end return 0";
const takeAway = "local v = redis.call('get', KEYS[1]) if v then redis.call('del', KEYS[1]) end return v";
const readWithTtl = "return { redis.call('get', KEYS[1]), redis.call('pttl', KEYS[1]) }";

// A record whose successor has come begins with this. It stays for as long as that is remembered, so its time to live says
// how long ago it was, whatever the clocks of two processes say.
const claimedMark = 'claimed ';
const claim =
  "local v = redis.call('get', KEYS[1]) if v and string.sub(v, 1, 8) ~= ARGV[1] then " +
  "redis.call('set', KEYS[1], ARGV[1] .. v, 'PX', ARGV[2]) end return 0";

// How often a process that has new tokens tries to publish them while Redis is away.
const publishAgainMs = 500;

// How often a process looks whether another has finished.
const pollMs = 40;

/**
 * Coordinates the refreshes of a fleet. One process takes a lease and leads. It publishes the outcome before it gives
 * the lease up. The others wait for the outcome and never present the old token.
 */
export function redisCoordinator({ send, losses, command, prefix, leaseMs }: Settings): Coordinator {
  const local = singleFlight({ maxEntries, isPartOfFleet: true });
  // Outcomes for as long as the fleet may share them. They serve while Redis cannot be asked.
  const kept = new LRUCache<string, { coordinated: CoordinatedOutcome; untilMs: number }>({ max: maxEntries });
  // Tokens that another process is refreshing. If Redis fails meanwhile, presenting one here would spend it twice.
  const elsewhere = new LRUCache<string, Elsewhere>({ max: maxEntries });

  // The braces keep the keys of one token on one node of a cluster.
  const leaseKey = ({ key }: SharedToken) => `${prefix}{${key}}:lease`;
  const doneKey = (key: string) => `${prefix}{${key}}:done`;
  const beforeKey = (key: string) => `${prefix}{${key}}:before`;

  /** Leads the refresh in the fleet, or takes the outcome from the process that does. */
  async function refreshInFleet(ticket: Ticket, lead: () => Promise<Outcome>): Promise<CoordinatedOutcome | undefined> {
    const owner = randomUUID();
    const giveUpMs = Date.now() + ticket.timeoutMs;
    const own = async (): Promise<CoordinatedOutcome> => ({
      outcome: await lead(),
      organizationId: ticket.organizationId,
      source: 'leader',
    });

    for (;;) {
      const lease = await acquireLease(ticket, owner);
      if (lease === 'unknown') {
        const known = keptFor(ticket);
        if (known) return { ...known, source: 'remembered' };
        return isElsewhere(ticket) ? timedOut(ticket) : leadWithoutLease(ticket, own);
      }
      // A leader publishes before it gives its lease up. Reading after the attempt to take the lease misses nothing.
      const done = await readDone(ticket, ticket.graceMs);
      if (done === 'spent elsewhere' || (done !== 'none' && isFor(ticket, done))) {
        if (lease === 'ours') void releaseLease(ticket, owner);
        // Presented again, the token could end the session. Another process has its successor, or will read it in a moment.
        return done === 'spent elsewhere' ? spentElsewhere(ticket) : done;
      }
      if (lease === 'ours') {
        if (mayLead(ticket)) return leadUnderLease(ticket, owner, own);
        await releaseLease(ticket, owner);
      } else if (!isElsewhere(ticket) && !(await hasTakenOver(ticket, owner))) {
        // Recorded once. A process may hold the lease only to find out that it may not lead; if each such lease
        // extended this record, two processes could keep each other waiting for ever.
        elsewhere.set(ticket.key, {
          owner: await holderOf(ticket),
          untilMs: Date.now() + largestAgeMs(ticket),
          losses: losses(),
        });
      }
      if (!ticket.wait) return undefined;
      if (Date.now() > giveUpMs) return timedOut(ticket);
      await sleep(pollMs * (0.75 + Math.random() / 2));
    }
  }

  /** The longest that a lease can be rightly held: a refresh runs no longer. */
  function largestAgeMs({ timeoutMs }: Ticket): number {
    return timeoutMs + leaseMs;
  }

  async function holderOf(ticket: Ticket): Promise<unknown> {
    return send(leaseKey(ticket), ['GET', leaseKey(ticket)]).catch(() => undefined);
  }

  /**
   * Takes a lease over that one and the same process has held beyond its largest age. Without that, a process that hangs,
   * or a lease that somebody wrote into Redis, would keep a session from ever being refreshed.
   */
  async function hasTakenOver(ticket: Ticket, owner: string): Promise<boolean> {
    const held = elsewhere.get(ticket.key);
    if (typeof held?.owner !== 'string' || held.owner !== (await holderOf(ticket))) return false;
    const key = leaseKey(ticket);
    const taken = await send(key, ['EVAL', takeOver, '1', key, held.owner, owner, milliseconds(leaseMs)]).catch(
      () => 0,
    );
    if (taken !== 'OK') return false;
    elsewhere.delete(ticket.key);
    await releaseLease(ticket, owner);
    return true;
  }

  /** What the fleet has published about a token. What it says of a successor that has come is noted here. */
  async function readDone(token: SharedToken, graceMs: number): Promise<FoundRecord> {
    const key = doneKey(token.key);
    const reply = await send(key, ['EVAL', readWithTtl, '1', key]).catch(() => undefined);
    const [value, ttlMs] = Array.isArray(reply) ? (reply as unknown[]) : [];
    if (typeof value !== 'string' || !value.startsWith(claimedMark)) return openRecord(token, value);
    const agoMs = Math.max(0, claimedMs - Math.max(0, Number(ttlMs)));
    local.noteClaimed(token.key, Date.now() - agoMs, graceMs);
    return agoMs < graceMs ? openRecord(token, value.slice(claimedMark.length)) : 'none';
  }

  function keptFor(ticket: Ticket): CoordinatedOutcome | undefined {
    const found = currentlyKept(ticket.key);
    return found && isFor(ticket, found) ? found : undefined;
  }

  function currentlyKept(key: string): CoordinatedOutcome | undefined {
    const found = kept.get(key);
    return found && found.untilMs > Date.now() ? found.coordinated : undefined;
  }

  /** Keeps what the fleet shares, for as long as it does. */
  function keep(ticket: Ticket, coordinated: CoordinatedOutcome | undefined): void {
    const { key, graceMs } = ticket;
    if (coordinated?.outcome.kind !== 'refreshed' || coordinated.source === 'remembered') return;
    const claimedAtMs = local.claimedAtMs(key);
    kept.set(key, {
      coordinated,
      untilMs:
        claimedAtMs === undefined ? Date.now() + sharedForMs(coordinated.outcome, ticket) : claimedAtMs + graceMs,
    });
    // The local memory of it began just now, and the claim was before.
    if (claimedAtMs !== undefined) local.noteClaimed(key, claimedAtMs, graceMs);
  }

  /** Tells the fleet that the browser has the successor, whichever process has refreshed. */
  async function claimPredecessor(key: string, graceMs: number): Promise<void> {
    try {
      const predecessor =
        local.releasePredecessor(key, graceMs) ?? (await send(beforeKey(key), ['EVAL', takeAway, '1', beforeKey(key)]));
      if (typeof predecessor !== 'string' || !/^[\w-]{1,100}$/.test(predecessor)) return;
      local.noteClaimed(predecessor, Date.now(), graceMs);
      const entry = kept.get(predecessor);
      if (entry) entry.untilMs = Math.min(entry.untilMs, Date.now() + graceMs);
      const done = doneKey(predecessor);
      await send(done, ['EVAL', claim, '1', done, claimedMark, milliseconds(claimedMs)]);
    } catch {
      // Redis is away. The successor is shared until its own time is over.
    }
  }

  async function acquireLease(ticket: Ticket, owner: string): Promise<'ours' | "another's" | 'unknown'> {
    const key = leaseKey(ticket);
    // Redis may carry out a command that we gave up. It would leave a lease under which no process leads.
    const tooLate = () => {
      command(key, ['EVAL', release, '1', key, owner]).catch(() => undefined);
    };
    try {
      const reply = await send(key, ['SET', key, owner, 'PX', milliseconds(leaseMs), 'NX'], tooLate);
      return reply === 'OK' ? 'ours' : "another's";
    } catch {
      return 'unknown';
    }
  }

  function isElsewhere({ key }: Ticket): boolean {
    return (elsewhere.get(key)?.untilMs ?? 0) > Date.now();
  }

  /**
   * Whether the holder of our lease may present the token. When another process's lease has run out, that process is
   * gone. When its lease was lost with Redis, it may have the new tokens, and publishes them once Redis is back.
   */
  function mayLead(ticket: Ticket): boolean {
    return !isElsewhere(ticket) || elsewhere.get(ticket.key)?.losses === losses();
  }

  async function leadWithoutLease(ticket: Ticket, own: () => Promise<CoordinatedOutcome>): Promise<CoordinatedOutcome> {
    const coordinated = await own();
    // If Redis comes back soon, the other processes learn that the token is spent.
    void publish(ticket, coordinated);
    return coordinated;
  }

  async function leadUnderLease(
    ticket: Ticket,
    owner: string,
    own: () => Promise<CoordinatedOutcome>,
  ): Promise<CoordinatedOutcome> {
    const key = leaseKey(ticket);
    const latestMs = Date.now() + largestAgeMs(ticket);
    const prolonging = setInterval(() => {
      if (Date.now() > latestMs) return;
      send(key, ['EVAL', prolong, '1', key, owner, milliseconds(leaseMs)]).catch(() => undefined);
    }, leaseMs / 3);
    prolonging.unref();
    const endLease = () => {
      clearInterval(prolonging);
      void releaseLease(ticket, owner);
    };
    try {
      const coordinated = await own();
      // The request goes on with its tokens. The fleet gets them first, then the lease.
      void publish(ticket, coordinated).finally(endLease);
      return coordinated;
    } catch (error) {
      endLease();
      throw error;
    }
  }

  /** Tries for a while: until the other processes have the new tokens, none of them may have the lease. */
  async function publish(ticket: Ticket, coordinated: CoordinatedOutcome): Promise<void> {
    const lastsMs = sharedForMs(coordinated.outcome, ticket);
    if (lastsMs === 0) return;
    const key = doneKey(ticket.key);
    const record = sealRecord(ticket, coordinated);
    const { outcome } = coordinated;
    const successorKey = outcome.kind === 'refreshed' ? outcome.successorKey : undefined;
    // Without it, only the processes that took part could tell the fleet that the successor has come.
    const before = successorKey === undefined || successorKey === ticket.key ? undefined : beforeKey(successorKey);
    const giveUpMs = Date.now() + Math.min(lastsMs, ticket.graceMs);
    do {
      try {
        await send(key, ['SET', key, record, 'PX', milliseconds(lastsMs)]);
        if (before !== undefined) await send(before, ['SET', before, ticket.key, 'PX', milliseconds(lastsMs)]);
        return;
      } catch {
        await sleep(publishAgainMs, undefined, { ref: false });
      }
    } while (Date.now() < giveUpMs);
  }

  async function releaseLease(ticket: Ticket, owner: string): Promise<void> {
    const key = leaseKey(ticket);
    await send(key, ['EVAL', release, '1', key, owner]).catch(() => undefined);
  }

  function successorOf(key: string): Refreshed | undefined {
    const outcome = local.successorOf(key) ?? currentlyKept(key)?.outcome;
    return outcome?.kind === 'refreshed' ? outcome : undefined;
  }

  return Object.freeze({
    claimedAtMs: local.claimedAtMs,
    refresh: async (ticket, lead) => {
      const coordinated = await local.refresh(ticket, () => refreshInFleet(ticket, lead));
      keep(ticket, coordinated);
      return coordinated;
    },
    releasePredecessor: (key, graceMs) => {
      void claimPredecessor(key, graceMs);
    },
    successorOf,
    findSuccessor: async (token) => {
      const known = successorOf(token.key);
      if (known) return known;
      // A successor that has come is one all the same.
      const found = await readDone(token, Infinity);
      return typeof found === 'object' && found.outcome.kind === 'refreshed' ? found.outcome : undefined;
    },
  } satisfies Coordinator);
}

/** A token that another process is taken to be refreshing. */
interface Elsewhere {
  /** Who holds the lease, as it was seen first. */
  readonly owner: unknown;
  readonly untilMs: number;
  readonly losses: number;
}

/** The token is spent, and its successor cannot be read here: a password of the fleet is missing in this process. */
function spentElsewhere({ organizationId }: Ticket): CoordinatedOutcome {
  return { outcome: { kind: 'unavailable', reason: 'server_error' }, organizationId, source: 'fleet' };
}

function timedOut({ organizationId }: Ticket): CoordinatedOutcome {
  return { outcome: { kind: 'unavailable', reason: 'timeout' }, organizationId, source: 'leader' };
}

// Redis refuses fractions of a millisecond, and a refused command looks like an outage.
const milliseconds = (ms: number) => String(Math.ceil(ms));
