import { LRUCache } from 'lru-cache';

import type { Coordinator, Led, Outcome, Ticket } from './coordinator.js';

export interface MemoryCoordinatorOptions {
  /** How many outcomes, and as many ended sessions, are remembered at most; the oldest go first. Default: 10,000. */
  maxSessions?: number | undefined;
}

interface Flight {
  readonly variant: string;
  readonly outcome: Promise<Outcome>;
}

interface Remembered {
  readonly outcome: Outcome;
  readonly variant: string;
  untilMs: number;
  readonly graceMs: number;
}

// A dead cookie must not hammer the provider: one question in this time.
const terminalMs = 5_000;
// A browser may leave while its session is refreshed. Its new cookie waits for it this long.
const unclaimedMs = 15 * 60_000;
// How long a signed-out session is known as such: longer than any request and any common access token lives.
const endedMs = 60 * 60_000;

/** Coordinates the refreshes of one process. */
export function memoryCoordinator({ maxSessions = 10_000 }: MemoryCoordinatorOptions = {}): Coordinator {
  const flights = new Map<string, Flight>();
  const remembered = new LRUCache<string, Remembered>({ max: maxSessions });
  const predecessors = new LRUCache<string, string>({ max: maxSessions });
  const ended = new LRUCache<string, number>({ max: maxSessions });

  function recall({ key, accessToken }: Ticket): Remembered | undefined {
    const found = remembered.get(key);
    const replaced = found?.outcome.kind !== 'refreshed' || found.outcome.session.accessToken !== accessToken;
    if (!found || (replaced && found.untilMs > Date.now())) return found;
    remembered.delete(key);
    return undefined;
  }

  function remember({ key, variant, graceMs }: Ticket, outcome: Outcome): void {
    // A passing failure is nobody else's: the next request asks anew.
    if (outcome.kind === 'transient') return;
    const lastsMs = outcome.kind === 'terminal' ? terminalMs : Math.max(graceMs, unclaimedMs);
    remembered.set(key, { outcome, variant, untilMs: Date.now() + lastsMs, graceMs });
    if (outcome.kind === 'refreshed' && outcome.successorKey !== undefined) predecessors.set(outcome.successorKey, key);
  }

  async function refresh(ticket: Ticket, lead: () => Promise<Outcome>): Promise<Led | undefined> {
    for (;;) {
      const done = recall(ticket);
      // What ended one variant says nothing about another: an organization may demand more than the rest.
      if (done && (done.variant === ticket.variant || done.outcome.kind === 'refreshed')) {
        return { outcome: done.outcome, variant: done.variant, source: 'remembered' };
      }
      const flight = flights.get(ticket.key);
      if (!flight) break;
      if (!ticket.wait) return undefined;
      const outcome = await flight.outcome;
      if (flight.variant === ticket.variant || outcome.kind === 'refreshed') {
        return { outcome, variant: flight.variant, source: 'joined' };
      }
      // The other variant came to nothing: the token is still to be had.
    }
    const flight: Flight = { variant: ticket.variant, outcome: run(ticket, lead) };
    flights.set(ticket.key, flight);
    return { outcome: await flight.outcome, variant: ticket.variant, source: 'leader' };
  }

  async function run(ticket: Ticket, lead: () => Promise<Outcome>): Promise<Outcome> {
    try {
      const outcome = await lead();
      remember(ticket, outcome);
      return outcome;
    } finally {
      flights.delete(ticket.key);
    }
  }

  function claim(key: string): void {
    const predecessor = predecessors.get(key);
    if (predecessor === undefined) return;
    predecessors.delete(key);
    const entry = remembered.get(predecessor);
    // From here on only requests that were already under way can still carry the old cookie.
    if (entry) entry.untilMs = Math.min(entry.untilMs, Date.now() + entry.graceMs);
  }

  function end(names: readonly string[]): Promise<void> {
    for (const name of names) ended.set(name, Date.now() + endedMs);
    return Promise.resolve();
  }

  function hasEnded(names: readonly string[]): boolean {
    return ended.size > 0 && names.some((name) => (ended.get(name) ?? 0) > Date.now());
  }

  return Object.freeze({ refresh, claim, end, hasEnded });
}

/** The coordinator of this process, shared by every middleware that is not given one of its own. */
export const processCoordinator = memoryCoordinator();
