import type { Fleet } from 'express-sealed-session';

import { createFleet, fleetParts } from '../../lib/fleet/fleet.js';
import { createProcessFleet } from '../../lib/fleet/process-fleet.js';
import type { Coordinator } from '../../lib/refresh/coordinator.js';

/** A fleet of one process whose coordinator is partly another. */
export function fleetWith(coordinator: Partial<Coordinator>): Fleet {
  const parts = fleetParts(createProcessFleet())!;
  return createFleet('test', { ...parts, coordinator: { ...parts.coordinator, ...coordinator } });
}
