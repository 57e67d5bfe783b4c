import { LRUCache } from 'lru-cache';

import type { Coordinator, Led, Refreshed, Ticket } from './coordinator.js';

export interface MemoryCoordinatorOptions {
  /** How many outcomes, and as many ended sessions, are remembered at most; the oldest go first. Default: 10,000. */
  maxSessions?: number | undefined;
}

interface Remembered {
  readonly led: Led;
  readonly graceMs: number;
  untilMs: number;
}

// A dead cookie must not hammer the provider: one question in this time.
export const terminalMs = 5_000;
// A browser may leave while its session is refreshed. Its new cookie waits for it this long.
export const unclaimedMs = 15 * 60_000;
// How long a signed-out session is known as such: longer than any request and any common access token lives.
export const endedMs = 60 * 60_000;
// After a refresh ahead of expiry has failed, the token that is still valid serves this long before the next try.
const aheadPauseMs = 5_000;

/** A coordinator whose leader may find that somebody elsewhere has done the work, or is doing it. */
export interface SingleFlight extends Pick<Coordinator, 'claim' | 'successorOf' | 'hasEnded'> {
  readonly anyEnded: () => boolean;
  readonly refresh: (ticket: Ticket, lead: () => Promise<Led | undefined>) => Promise<Led | undefined>;
  readonly end: (names: readonly string[]) => void;
}

/** Coordinates the refreshes of one process. */
export function memoryCoordinator(options: MemoryCoordinatorOptions = {}): Coordinator {
  const { refresh, claim, successorOf, end, hasEnded, anyEnded } = singleFlight(options);
  return Object.freeze({
    refresh: (ticket, lead) =>
      refresh(ticket, async () => ({ outcome: await lead(), variant: ticket.variant, source: 'leader' })),
    claim,
    successorOf,
    end: (names) => {
      end(names);
      return Promise.resolve();
    },
    hasEnded,
    anyEnded,
  } satisfies Coordinator);
}

/** One flight for each refresh token; what came of it is remembered. */
export function singleFlight({ maxSessions = 10_000 }: MemoryCoordinatorOptions): SingleFlight {
  const flights = new Map<string, Promise<Led | undefined>>();
  const remembered = new LRUCache<string, Remembered>({ max: maxSessions });
  const predecessors = new LRUCache<string, string>({ max: maxSessions });
  const ended = new LRUCache<string, number>({ max: maxSessions });
  const failedAt = new LRUCache<string, number>({ max: maxSessions });

  async function refresh(ticket: Ticket, lead: () => Promise<Led | undefined>): Promise<Led | undefined> {
    const { key, wait } = ticket;
    for (;;) {
      const known = recall(ticket);
      if (known && isFor(ticket, known)) return { ...known, source: 'remembered' };
      const flight = flights.get(key);
      if (!flight) break;
      if (!wait) return undefined;
      const led = await flight;
      if (led && isFor(ticket, led)) return { ...led, source: led.source === 'leader' ? 'joined' : led.source };
      // It came to nothing that is of use here: the token is still to be had.
    }
    if (!wait && Date.now() - (failedAt.get(key) ?? 0) < aheadPauseMs) return undefined;
    const landing = fly(ticket, lead);
    flights.set(key, landing);
    return landing;
  }

  async function fly(ticket: Ticket, lead: () => Promise<Led | undefined>): Promise<Led | undefined> {
    try {
      const led = await lead();
      if (led) remember(ticket, led);
      return led;
    } finally {
      flights.delete(ticket.key);
    }
  }

  function recall({ key, accessToken }: Ticket): Led | undefined {
    const found = remembered.get(key);
    if (!found) return undefined;
    const { outcome } = found.led;
    const isOwn = outcome.kind === 'refreshed' && outcome.session.accessToken === accessToken;
    if (!isOwn && Date.now() < found.untilMs) return found.led;
    remembered.delete(key);
    return undefined;
  }

  function remember({ key, graceMs }: Ticket, led: Led): void {
    const { outcome } = led;
    // A passing failure is nobody else's: the next request asks anew.
    if (outcome.kind === 'transient') {
      failedAt.set(key, Date.now());
      return;
    }
    const lastsMs = outcome.kind === 'terminal' ? terminalMs : Math.max(graceMs, unclaimedMs);
    remembered.set(key, { led, graceMs, untilMs: Date.now() + lastsMs });
    if (outcome.kind === 'refreshed' && outcome.successorKey !== undefined) predecessors.set(outcome.successorKey, key);
  }

  function claim(key: string): void {
    const predecessor = predecessors.get(key);
    if (predecessor === undefined) return;
    predecessors.delete(key);
    const entry = remembered.get(predecessor);
    // From here on only requests that were already under way can still carry the old cookie.
    if (entry) entry.untilMs = Math.min(entry.untilMs, Date.now() + entry.graceMs);
  }

  function successorOf(key: string): Refreshed | undefined {
    const found = remembered.get(key);
    return found?.led.outcome.kind === 'refreshed' && found.untilMs > Date.now() ? found.led.outcome : undefined;
  }

  function end(names: readonly string[]): void {
    for (const name of names) ended.set(name, Date.now() + endedMs);
  }

  function hasEnded(names: readonly string[]): boolean {
    return names.some((name) => (ended.get(name) ?? 0) > Date.now());
  }

  function anyEnded(): boolean {
    return ended.size > 0;
  }

  return { refresh, claim, successorOf, end, hasEnded, anyEnded };
}

/**
 * Whether the result of a refresh is of use to a ticket. New tokens are, whatever they were asked for: the old one is
 * spent. But what one organization refuses says nothing about another.
 */
export function isFor(ticket: Ticket, { outcome, variant }: Led): boolean {
  return outcome.kind === 'refreshed' || variant === ticket.variant;
}

/** The coordinator of this process, shared by every middleware that is not given one of its own. */
export const processCoordinator = memoryCoordinator();
