import type { CoordinatedOutcome, Outcome, Ticket } from './coordinator.js';

// A dead cookie must not flood the provider: one refresh in this time.
const terminalMs = 5_000;

// A browser may close before the new cookie arrives. When it comes back, its successor is still here.
export const unreleasedMs = 15 * 60_000;

/** How long it is remembered of a seal that its successor has come, in milliseconds: an old copy of it shows as one. */
export const claimedMs = unreleasedMs;

type Kept = Pick<Ticket, 'graceMs' | 'keptMs'>;

/** For how many milliseconds an outcome is shared with later requests; 0 for one that is not shared. */
export function sharedForMs({ kind }: Outcome, { graceMs, keptMs = unreleasedMs }: Kept): number {
  switch (kind) {
    case 'refreshed':
      return Math.max(graceMs, keptMs);
    case 'terminal':
      return terminalMs;
    case 'refused':
    case 'unavailable':
      // The provider may be back for the next request. And a guess is not for other processes to act on.
      return 0;
  }
}

/**
 * Whether an outcome answers a ticket. New tokens answer every organization's ticket, because the old token is spent.
 * A refusal answers its own organization's only: one organization's refusal says nothing about another.
 */
export function isFor(ticket: Ticket, coordinated: CoordinatedOutcome): boolean {
  const { outcome, organizationId } = coordinated;
  if (isAlreadyHeld(ticket, coordinated)) return false;
  if (outcome.kind === 'unavailable' && outcome.isOwn) return false;
  return outcome.kind === 'refreshed' || organizationId === ticket.organizationId;
}

/** Whether the ticket itself presents these tokens. Without rotation, both have the same refresh token and key. */
export function isAlreadyHeld({ accessToken }: Ticket, { outcome }: CoordinatedOutcome): boolean {
  return outcome.kind === 'refreshed' && outcome.payload.accessToken === accessToken;
}
