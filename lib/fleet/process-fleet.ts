import { inProcessCoordinator } from '../refresh/single-flight.js';
import { createFleet, type Fleet, ledgerLimits, maxEntries } from './fleet.js';
import { memoryLedger } from './memory-ledger.js';
import { processWide } from '../process-wide.js';

/** A fleet of one process. */
export function createProcessFleet(): Fleet {
  return createFleet('process', {
    coordinator: inProcessCoordinator({ maxEntries }),
    ledger: memoryLedger(ledgerLimits),
    // There is no other process that could become unreachable.
    onChange: () => undefined,
  });
}

/** Shared by every middleware of the process: two fleets would present the same refresh token twice. */
export const processFleet = processWide('fleet', createProcessFleet);
