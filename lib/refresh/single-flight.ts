import { LRUCache } from 'lru-cache';

import { monotonicMs } from '../monotonic.js';
import type { CoordinatedOutcome, Coordinator, Refreshed, Ticket } from './coordinator.js';
import { claimedMs, isAlreadyHeld, isFor, sharedForMs } from './shared-outcome.js';

interface Remembered {
  readonly coordinated: CoordinatedOutcome;
  untilMs: number;
}

export interface MemoryLimit {
  /** The most outcomes to remember; the least recently used are forgotten first. */
  readonly maxEntries: number;
  /** Whether a fleet knows better: then new tokens are remembered for `graceMs` only, and it is asked again. */
  readonly isPartOfFleet?: boolean;
}

/** What `lead` answers here: `undefined` when another process is refreshing and the ticket does not wait. */
type Lead = () => Promise<CoordinatedOutcome | undefined>;

/** A coordinator of this process's requests, whose `lead` may find the outcome in another process. */
export interface SingleFlight extends Omit<Coordinator, 'refresh' | 'releasePredecessor'> {
  readonly refresh: (ticket: Ticket, lead: Lead) => Promise<CoordinatedOutcome | undefined>;
  /** @returns the key of the predecessor, where it is known */
  readonly releasePredecessor: (key: string, graceMs: number) => string | undefined;
  /** Notes that the successor of this token was presented. Its outcome is shared for `graceMs` from then on. */
  readonly noteClaimed: (key: string, atMs: number, graceMs: number) => void;
}

// After a refresh ahead of expiry failed, the still valid token serves this long before the next attempt.
const aheadPauseMs = 5_000;

/** Coordinates the refreshes of one process. */
export function inProcessCoordinator(limit: MemoryLimit): Coordinator {
  const local = singleFlight(limit);
  return Object.freeze({
    ...local,
    releasePredecessor: (key, graceMs) => void local.releasePredecessor(key, graceMs),
    refresh: (ticket, lead) =>
      local.refresh(ticket, async () => ({
        outcome: await lead(),
        organizationId: ticket.organizationId,
        source: 'leader',
      })),
  } satisfies Coordinator);
}

/** Runs one refresh at a time for each token, and remembers the outcomes. */
export function singleFlight({ maxEntries, isPartOfFleet = false }: MemoryLimit): SingleFlight {
  const running = new Map<string, Promise<CoordinatedOutcome | undefined>>();
  const remembered = new LRUCache<string, Remembered>({ max: maxEntries });
  const predecessors = new LRUCache<string, string>({ max: maxEntries });
  const claimed = new LRUCache<string, number>({ max: maxEntries });
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

  function remember(ticket: Ticket, coordinated: CoordinatedOutcome): void {
    const { key, graceMs } = ticket;
    const { outcome } = coordinated;
    const sharedMs = sharedForMs(outcome, ticket);
    if (sharedMs === 0) {
      failedAtMs.set(key, monotonicMs());
      return;
    }
    const lastsMs = isPartOfFleet && outcome.kind === 'refreshed' ? Math.min(graceMs, sharedMs) : sharedMs;
    remembered.set(key, { coordinated, untilMs: Date.now() + lastsMs });
    if (outcome.kind === 'refreshed' && outcome.successorKey !== undefined) predecessors.set(outcome.successorKey, key);
  }

  function releasePredecessor(key: string, graceMs: number): string | undefined {
    const predecessor = predecessors.get(key);
    if (predecessor === undefined) return undefined;
    predecessors.delete(key);
    noteClaimed(predecessor, Date.now(), graceMs);
    return predecessor;
  }

  function noteClaimed(key: string, atMs: number, graceMs: number): void {
    // A second browser with the new seal does not put the end off.
    const firstMs = Math.min(atMs, claimedAtMs(key) ?? Infinity);
    claimed.set(key, firstMs);
    const entry = remembered.get(key);
    // The browser has the new cookie: only requests that it sent before can still carry the old one.
    if (entry) entry.untilMs = Math.min(entry.untilMs, firstMs + graceMs);
  }

  function claimedAtMs(key: string): number | undefined {
    const atMs = claimed.get(key);
    return atMs === undefined || Date.now() - atMs > claimedMs ? undefined : atMs;
  }

  function successorOf(key: string): Refreshed | undefined {
    const found = remembered.get(key);
    const outcome = found?.coordinated.outcome;
    return outcome?.kind === 'refreshed' && found && found.untilMs > Date.now() ? outcome : undefined;
  }

  return {
    refresh,
    releasePredecessor,
    noteClaimed,
    claimedAtMs,
    successorOf,
    findSuccessor: ({ key }) => Promise.resolve(successorOf(key)),
  };
}
