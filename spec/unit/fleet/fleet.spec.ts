import { inspect } from 'node:util';

import { describe, expect, it } from '@jest/globals';
import { redisFleet } from 'express-sealed-session/redis';

import { createFleet, fleetParts } from '../../../lib/fleet/fleet.js';
import { createProcessFleet, processFleet } from '../../../lib/fleet/process-fleet.js';
import { dead, leads, mustNotLead, newTicket } from '../../support/tickets.js';

const client = { sendCommand: () => Promise.resolve('OK') };

describe('a fleet', () => {
  it('has a kind, and no parts that a log prints', () => {
    for (const [kind, fleet] of Object.entries({ process: processFleet, redis: redisFleet({ client }) })) {
      expect([{ ...fleet }, inspect(fleet)]).toEqual([{ kind }, `{ kind: '${kind}' }`]);
      expect(JSON.stringify(fleet)).toBe(JSON.stringify({ kind }));
      expect(Object.isFrozen(fleet)).toBe(true);
    }
  });

  it('gives back its parts', () => {
    const parts = fleetParts(processFleet)!;
    expect(fleetParts(createFleet('mine', parts))).toBe(parts);
  });

  it.each([undefined, null, 'redis', 1, {}, { kind: 'redis' }, () => undefined])('is not made of %p', (value) => {
    expect(fleetParts(value)).toBeUndefined();
  });
});

describe('a process fleet', () => {
  it('has a coordinator and a ledger of its own', async () => {
    const [one, other] = [fleetParts(createProcessFleet())!, fleetParts(createProcessFleet())!];
    const ticket = newTicket();
    await one.coordinator.refresh(ticket, leads(dead));
    expect(await one.coordinator.refresh(ticket, mustNotLead)).toMatchObject({ source: 'remembered' });
    expect(await other.coordinator.refresh(ticket, leads(dead))).toMatchObject({ source: 'leader' });
    const name = 'a-session-that-has-end';
    await one.ledger.record([{ kind: 'ended', name, atMs: Date.now(), untilMs: Date.now() + 60_000 }]);
    const names = { own: [name], shared: [], begunMs: 0 };
    expect([one.ledger, other.ledger].map((each) => each.endingOf(names) !== undefined)).toEqual([true, false]);
  });
});
