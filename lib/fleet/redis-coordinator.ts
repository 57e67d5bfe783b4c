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
const read = "{ redis.call('get', KEYS[1]), redis.call('pttl', KEYS[1]) }";

// One command for the lease, who holds it, and what has been published: a leader publishes before it gives its lease up, so
// what is read after the attempt to take the lease misses nothing.
const acquire =
  "local ours = redis.call('set', KEYS[2], ARGV[1], 'PX', ARGV[2], 'NX') and 1 or 0 " +
  `return { ours, redis.call('get', KEYS[2]), ${read} }`;

// Until the other processes have the new tokens, none of them may have the lease.
const publishAndRelease =
  "redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2]) " +
  "if redis.call('get', KEYS[2]) == ARGV[3] then redis.call('del', KEYS[2]) end return 'OK'";

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
  // There from when a browser has come with the tokens of this name. Its time to live says how long ago that was, whatever
  // the clocks of two processes say.
  const claimedKey = (key: string) => `${prefix}{${key}}:claimed`;

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
      if (lease === undefined) {
        const known = keptFor(ticket);
        if (known) return { ...known, source: 'remembered' };
        return isElsewhere(ticket) ? timedOut(ticket) : leadWithoutLease(ticket, own);
      }
      const done = await readDone(ticket, lease.record, ticket);
      if (done === 'spent elsewhere' || (done !== 'none' && isFor(ticket, done))) {
        if (lease.isOurs) void releaseLease(ticket, owner);
        // Presented again, the token could end the session. Another process has its successor, or will read it in a moment.
        return done === 'spent elsewhere' ? spentElsewhere(ticket) : done;
      }
      if (lease.isOurs) {
        if (mayLead(ticket)) return leadUnderLease(ticket, owner, own);
        await releaseLease(ticket, owner);
      } else if (!isElsewhere(ticket) && !(await hasTakenOver(ticket, owner, lease.holder))) {
        // Recorded once. A process may hold the lease only to find out that it may not lead; if each such lease
        // extended this record, two processes could keep each other waiting for ever.
        elsewhere.set(ticket.key, {
          owner: lease.holder,
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

  /**
   * Takes a lease over that one and the same process has held beyond its largest age. Without that, a process that hangs,
   * or a lease that somebody wrote into Redis, would keep a session from ever being refreshed.
   */
  async function hasTakenOver(ticket: Ticket, owner: string, holder: unknown): Promise<boolean> {
    const held = elsewhere.get(ticket.key);
    if (typeof held?.owner !== 'string' || held.owner !== holder) return false;
    const key = leaseKey(ticket);
    const taken = await send(key, ['EVAL', takeOver, '1', key, held.owner, owner, milliseconds(leaseMs)]).catch(
      () => 0,
    );
    if (taken !== 'OK') return false;
    elsewhere.delete(ticket.key);
    await releaseLease(ticket, owner);
    return true;
  }

  /** What a record says that was read, and whether it is still shared. That its successor has come is noted here. */
  async function readDone(
    token: SharedToken,
    reply: unknown,
    { graceMs, keptMs }: Pick<Ticket, 'graceMs' | 'keptMs'>,
  ): Promise<FoundRecord> {
    const [value, ttlMs] = Array.isArray(reply) ? (reply as unknown[]) : [];
    const found = openRecord(token, value);
    if (typeof found !== 'object' || found.outcome.kind !== 'refreshed') return found;
    const { successorKey } = found.outcome;
    // Without rotation, the same name comes again and again.
    if (successorKey === undefined || successorKey === token.key) return found;
    const key = claimedKey(successorKey);
    const claimTtlMs = await send(key, ['PTTL', key]).catch(() => -2);
    if (!(Number(claimTtlMs) >= 0)) return Number(ttlMs) > afterSharedMs(keptMs) ? found : 'none';
    const agoMs = Math.max(0, claimedMs - Number(claimTtlMs));
    local.noteClaimed(token.key, Date.now() - agoMs, graceMs);
    return agoMs < graceMs ? found : 'none';
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

  /** Tells the fleet that the browser has these tokens, whichever process has refreshed. */
  async function claim(successorKey: string, graceMs: number): Promise<void> {
    const predecessor = local.releasePredecessor(successorKey, graceMs);
    const entry = predecessor === undefined ? undefined : kept.get(predecessor);
    if (entry) entry.untilMs = Math.min(entry.untilMs, Date.now() + graceMs);
    const key = claimedKey(successorKey);
    // Without Redis, the successor is shared until its own time is over.
    await send(key, ['SET', key, '1', 'PX', milliseconds(claimedMs), 'NX']).catch(() => undefined);
  }

  /** Asks for the lease, and for what has been published. Undefined while Redis cannot be asked. */
  async function acquireLease(ticket: Ticket, owner: string): Promise<Lease | undefined> {
    const [done, lease] = [doneKey(ticket.key), leaseKey(ticket)];
    // Redis may carry out a command that we gave up. It would leave a lease under which no process leads.
    const tooLate = () => {
      command(lease, ['EVAL', release, '1', lease, owner]).catch(() => undefined);
    };
    try {
      const reply = await send(lease, ['EVAL', acquire, '2', done, lease, owner, milliseconds(leaseMs)], tooLate);
      // Something that is no Redis can lead nobody.
      if (!Array.isArray(reply)) return undefined;
      const [ours, holder, record] = reply as unknown[];
      return { isOurs: Number(ours) === 1, holder, record };
    } catch {
      return undefined;
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
    void publish(ticket, coordinated, '');
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
      void publish(ticket, coordinated, owner).then((isDone) => {
        if (isDone) clearInterval(prolonging);
        else endLease();
      });
      return coordinated;
    } catch (error) {
      endLease();
      throw error;
    }
  }

  /**
   * Publishes new tokens, and gives the lease up. Tries for a while.
   *
   * @returns whether Redis has both
   */
  async function publish(ticket: Ticket, coordinated: CoordinatedOutcome, owner: string): Promise<boolean> {
    const sharedMs = sharedForMs(coordinated.outcome, ticket);
    if (sharedMs === 0) return false;
    const [done, lease] = [doneKey(ticket.key), leaseKey(ticket)];
    const record = sealRecord(ticket, coordinated);
    const lastsMs = coordinated.outcome.kind === 'refreshed' ? sharedMs + afterSharedMs(ticket.keptMs) : sharedMs;
    const giveUpMs = Date.now() + Math.min(sharedMs, ticket.graceMs);
    do {
      try {
        await send(done, ['EVAL', publishAndRelease, '2', done, lease, record, milliseconds(lastsMs), owner]);
        return true;
      } catch {
        await sleep(publishAgainMs, undefined, { ref: false });
      }
    } while (Date.now() < giveUpMs);
    return false;
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
      void claim(key, graceMs);
    },
    successorOf,
    findSuccessor: async (token) => {
      const known = successorOf(token.key);
      if (known) return known;
      // A sign-out ends every successor, also one that the browser has already.
      const key = doneKey(token.key);
      const reply = await send(key, ['EVAL', `return ${read}`, '1', key]).catch(() => undefined);
      const found = openRecord(token, Array.isArray(reply) ? reply[0] : undefined);
      return typeof found === 'object' && found.outcome.kind === 'refreshed' ? found.outcome : undefined;
    },
  } satisfies Coordinator);
}

/** What was asked of Redis about a token. */
interface Lease {
  readonly isOurs: boolean;
  readonly holder: unknown;
  /** What has been published, and how long it is kept. */
  readonly record: unknown;
}

/** How long a record is kept after it is not shared any more: until then, an old copy that comes shows as one. */
function afterSharedMs(keptMs: number | undefined): number {
  // What is kept for a while of its own choosing is no refresh.
  return keptMs === undefined ? claimedMs : 0;
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
