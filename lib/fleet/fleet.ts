import type { Coordinator } from '../refresh/coordinator.js';
import type { Ledger } from './ledger.js';

/**
 * What the processes of an app share: who refreshes a session, and which sessions have ended. Opaque to the app: made
 * by `redisFleet()`, and given to `withSession` as its option `fleet`.
 */
export interface Fleet {
  /** What the processes share it through, for logs: `redis`, or `process` for one process alone. */
  readonly kind: string;
}

export interface FleetParts {
  readonly coordinator: Coordinator;
  readonly ledger: Ledger;
  /** Reports when the rest of the fleet becomes unreachable (`false`) and reachable again (`true`). */
  readonly onChange: (listener: (reachable: boolean) => void) => void;
}

/** The most outcomes that one process remembers of its fleet. */
export const maxEntries = 10_000;

/** How much one process remembers of what has ended: at most 100 bytes each. And for how long, in milliseconds: a year. */
export const ledgerLimits = { maxEntries: 1_000_000, rememberMs: 365 * 24 * 60 * 60_000 };

// A registered symbol: an app may have this package installed twice, and give the fleet of one copy to the other.
const partsKey = Symbol.for('express-sealed-session fleet');

/** Makes a fleet of its parts. They are not enumerable, so that logging the options does not print them. */
export function createFleet(kind: string, parts: FleetParts): Fleet {
  return Object.freeze(Object.defineProperty({ kind }, partsKey, { value: parts }));
}

/** The parts of a fleet; `undefined` when the value is no fleet. */
export function fleetParts(fleet: unknown): FleetParts | undefined {
  if (typeof fleet !== 'object' || fleet === null) return undefined;
  return (fleet as { readonly [partsKey]?: FleetParts })[partsKey];
}
