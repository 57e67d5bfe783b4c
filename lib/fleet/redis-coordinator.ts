import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

import { LRUCache } from 'lru-cache';

import type { CoordinatedOutcome, Coordinator, Outcome, Ticket } from '../refresh/coordinator.js';
import { sharedForMs } from '../refresh/shared-outcome.js';
import { singleFlight } from '../refresh/single-flight.js';
import { maxEntries } from './fleet.js';
import type { Command } from './redis-client.js';
import { openRecord, sealRecord } from './redis-record.js';
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

// How often a process that has new tokens tries to publish them while Redis is away.
const publishAgainMs = 500;

// How often a process looks whether another has finished.
const pollMs = 40;

/**
 * Coordinates the refreshes of a fleet. One process takes a lease and leads. It publishes the outcome before it gives
 * the lease up. The others wait for the outcome and never present the old token.
 */
export function redisCoordinator({ send, losses, command, prefix, leaseMs }: Settings): Coordinator {
  const local = singleFlight({ maxEntries });
  // Tokens that another process is refreshing. If Redis fails meanwhile, presenting one here would spend it twice.
  const elsewhere = new LRUCache<string, { untilMs: number; losses: number }>({ max: maxEntries });

  // The braces keep both keys on one node of a cluster.
  const leaseKey = ({ key }: Ticket) => `${prefix}{${key}}:lease`;
  const doneKey = ({ key }: Ticket) => `${prefix}{${key}}:done`;

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
      if (lease === 'unknown') return isElsewhere(ticket) ? timedOut(ticket) : leadWithoutLease(ticket, own);
      // A leader publishes before it gives its lease up. Reading after the attempt to take the lease misses nothing.
      const done = openRecord(ticket, await send(doneKey(ticket), ['GET', doneKey(ticket)]).catch(() => undefined));
      if (done) {
        if (lease === 'ours') void releaseLease(ticket, owner);
        return done;
      }
      if (lease === 'ours') {
        if (mayLead(ticket)) return leadUnderLease(ticket, owner, own);
        await releaseLease(ticket, owner);
      } else if (!isElsewhere(ticket)) {
        // Recorded once. A process may hold the lease only to find out that it may not lead; if each such lease
        // extended this record, two processes could keep each other waiting for ever.
        elsewhere.set(ticket.key, { untilMs: Date.now() + ticket.timeoutMs + leaseMs, losses: losses() });
      }
      if (!ticket.wait) return undefined;
      if (Date.now() > giveUpMs) return timedOut(ticket);
      await sleep(pollMs * (0.75 + Math.random() / 2));
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
    const prolonging = setInterval(() => {
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
    const lastsMs = sharedForMs(coordinated.outcome, ticket.graceMs);
    if (lastsMs === 0) return;
    const key = doneKey(ticket);
    const record = sealRecord(ticket, coordinated);
    const giveUpMs = Date.now() + Math.min(lastsMs, ticket.graceMs);
    do {
      try {
        await send(key, ['SET', key, record, 'PX', milliseconds(lastsMs)]);
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

  return Object.freeze({
    ...local,
    refresh: (ticket, lead) => local.refresh(ticket, () => refreshInFleet(ticket, lead)),
  } satisfies Coordinator);
}

function timedOut({ organizationId }: Ticket): CoordinatedOutcome {
  return { outcome: { kind: 'unavailable', reason: 'timeout' }, organizationId, source: 'leader' };
}

// Redis refuses fractions of a millisecond, and a refused command looks like an outage.
const milliseconds = (ms: number) => String(Math.ceil(ms));
