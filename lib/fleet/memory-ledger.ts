import { endingTable, type EndingTable } from './ending-table.js';
import type { Ledger, SessionNames } from './ledger.js';

export interface LedgerLimits {
  /** The most entries that are remembered. */
  readonly maxEntries: number;
  /** How long an entry is kept that has no end of its own, in milliseconds. */
  readonly rememberMs: number;
}

/** The ledger of one process, with the table that a fleet fills too. */
export interface MemoryLedger extends Ledger {
  readonly table: EndingTable;
  /** To be called when the table says more than before. */
  readonly changed: () => void;
}

/** The entries of one process. */
export function memoryLedger({ maxEntries, rememberMs }: LedgerLimits): MemoryLedger {
  const table = endingTable(maxEntries);
  let version = 0;

  const changed = () => {
    version += 1;
  };

  return Object.freeze({
    table,
    changed,
    version: () => version,
    isEmpty: () => table.size() === 0,
    endingOf: ({ own, shared, begunMs }: SessionNames) => {
      for (const name of own) {
        const found = table.get('ended', name);
        if (found) return found;
      }
      for (const name of shared) {
        const found = table.get('ended', name);
        if (found && found.atMs >= begunMs) return found;
      }
      return undefined;
    },
    freshFromMs: ({ own, shared }: SessionNames) =>
      [...own, ...shared].reduce((latestMs, name) => Math.max(latestMs, table.get('refresh', name)?.atMs ?? 0), 0),
    record: (entries) => {
      for (const { kind, name, atMs, untilMs, isReplaced = false } of entries) {
        if (table.put(kind, name, { atMs, untilMs, isReplaced }, false)) changed();
      }
      return Promise.resolve(true);
    },
    firstSight: (name, untilMs) => {
      const isFirst = !table.get('seen', name);
      table.put('seen', name, { atMs: 0, untilMs, isReplaced: false }, true);
      return Promise.resolve(isFirst);
    },
    look: () => Promise.resolve(),
    untilRead: () => undefined,
    rememberMs,
  } satisfies MemoryLedger);
}
