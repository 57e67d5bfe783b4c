import { LRUCache } from 'lru-cache';

import { monotonicMs } from '../monotonic.js';
import type { CoordinatedOutcome, Coordinator, Refreshed, Ticket } from './coordinator.js';
import { isAlreadyHeld, isFor, sharedForMs } from './shared-outcome.js';

interface Remembered {
  readonly coordinated: CoordinatedOutcome;
  readonly graceMs: number;
  untilMs: number;
}

export interface MemoryLimit {
  /** The most outcomes to remember; the least recently used are forgotten first. */
  readonly maxEntries: number;
}

/** What `lead` answers here: `undefined` when another process is refreshing and the ticket does not wait. */
type Lead = () => Promise<CoordinatedOutcome | undefined>;

/** A coordinator of this process's requests, whose `lead` may find the outcome in another process. */
export interface SingleFlight extends Omit<Coordinator, 'refresh'> {
  readonly refresh: (ticket: Ticket, lead: Lead) => Promise<CoordinatedOutcome | undefined>;
}

// After a refresh ahead of expiry failed, the still valid token serves this long before the next attempt.
const aheadPauseMs = 5_000;

/** Coordinates the refreshes of one process. */
export function inProcessCoordinator(limit: MemoryLimit): Coordinator {
  const local = singleFlight(limit);
  return Object.freeze({
    ...local,
    refresh: (ticket, lead) =>
      local.refresh(ticket, async () => ({
        outcome: await lead(),
        organizationId: ticket.organizationId,
        source: 'leader',
      })),
  } satisfies Coordinator);
}

/** Runs one refresh at a time for each token, and remembers the outcomes. */
export function singleFlight({ maxEntries }: MemoryLimit): SingleFlight {
  const running = new Map<string, Promise<CoordinatedOutcome | undefined>>();
  const remembered = new LRUCache<string, Remembered>({ max: maxEntries });
  const predecessors = new LRUCache<string, string>({ max: maxEntries });
  const failedAtMs = new LRUCache<string, number>({ max: maxEntries });

  async function refresh(ticket: Ticket, lead: Lead): Promise<CoordinatedOutcome | undefined> {
    const { key, wait } = ticket;
    for (;;) {
      const known = recall(ticket);
      if (known) return { ...known, source: 'remembered' };
      const other = running.get(key);
      if (!other) break;
      if (!wait) return undefined;
      const joined = await other;
      if (joined && isFor(ticket, joined)) {
        return { ...joined, source: joined.source === 'leader' ? 'joined' : joined.source };
      }
      // The other refresh brought nothing that this ticket can use, and the token is unspent: try ourselves.
    }
    if (!wait && monotonicMs() - (failedAtMs.get(key) ?? -Infinity) < aheadPauseMs) return undefined;
    const own = runAndRemember(ticket, lead);
    running.set(key, own);
    return own;
  }

  async function runAndRemember(ticket: Ticket, lead: Lead): Promise<CoordinatedOutcome | undefined> {
    try {
      const coordinated = await lead();
      if (coordinated) remember(ticket, coordinated);
      return coordinated;
    } finally {
      running.delete(ticket.key);
    }
  }

  function recall(ticket: Ticket): CoordinatedOutcome | undefined {
    const found = remembered.get(ticket.key);
    if (!found) return undefined;
    const { coordinated, untilMs } = found;
    if (Date.now() >= untilMs || isAlreadyHeld(ticket, coordinated)) {
      remembered.delete(ticket.key);
      return undefined;
    }
    return isFor(ticket, coordinated) ? coordinated : undefined;
  }

  function remember({ key, graceMs }: Ticket, coordinated: CoordinatedOutcome): void {
    const { outcome } = coordinated;
    const lastsMs = sharedForMs(outcome, graceMs);
    if (lastsMs === 0) {
      failedAtMs.set(key, monotonicMs());
      return;
    }
    remembered.set(key, { coordinated, graceMs, untilMs: Date.now() + lastsMs });
    if (outcome.kind === 'refreshed' && outcome.successorKey !== undefined) predecessors.set(outcome.successorKey, key);
  }

  function releasePredecessor(key: string): void {
    const predecessor = predecessors.get(key);
    if (predecessor === undefined) return;
    predecessors.delete(key);
    const entry = remembered.get(predecessor);
    // The browser has the new cookie: only requests that it sent before can still carry the old one.
    if (entry) entry.untilMs = Math.min(entry.untilMs, Date.now() + entry.graceMs);
  }

  function successorOf(key: string): Refreshed | undefined {
    const found = remembered.get(key);
    const outcome = found?.coordinated.outcome;
    return outcome?.kind === 'refreshed' && found && found.untilMs > Date.now() ? outcome : undefined;
  }

  return { refresh, releasePredecessor, successorOf };
}
