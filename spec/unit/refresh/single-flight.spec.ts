import { beforeEach, describe, expect, it, jest } from '@jest/globals';

import type { CoordinatedOutcome, Coordinator, Outcome, Ticket } from '../../../lib/refresh/coordinator.js';
import { inProcessCoordinator, singleFlight } from '../../../lib/refresh/single-flight.js';
import { useClock } from '../../support/clock.js';
import { away, dead, leads, mustNotLead, newTicket, refreshed } from '../../support/tickets.js';

const clock = useClock();
let coordinator: Coordinator;
beforeEach(() => {
  coordinator = inProcessCoordinator({ maxEntries: 100 });
});

const minute = 60;

/** Whether this ticket leads a refresh. */
async function asks(ticket: Ticket): Promise<boolean> {
  const lead = leads(away);
  await coordinator.refresh(ticket, lead);
  return lead.mock.calls.length > 0;
}

/** A refresh that runs until `finish` gives it an outcome. */
function held<Result = Outcome>() {
  let finish: (result: Result) => void = () => undefined;
  const finished = new Promise<Result>((resolve) => {
    finish = resolve;
  });
  return { lead: jest.fn(() => finished), finish };
}

/** A refresh that runs until it fails. */
function failing() {
  let fail: (error: Error) => void = () => undefined;
  const failed = new Promise<Outcome>((_, reject) => {
    fail = reject;
  });
  return { lead: () => failed, fail };
}

describe('a running refresh', () => {
  it('is the only one of its token: requests join it, and later ones get its outcome', async () => {
    const ticket = newTicket();
    const { lead, finish } = held();
    const leading = coordinator.refresh(ticket, lead);
    const joining = coordinator.refresh(ticket, mustNotLead);
    finish(refreshed);
    expect(await leading).toEqual({ outcome: refreshed, organizationId: '', source: 'leader' });
    expect(await joining).toEqual({ outcome: refreshed, organizationId: '', source: 'joined' });
    expect(await coordinator.refresh(ticket, mustNotLead)).toEqual({
      outcome: refreshed,
      organizationId: '',
      source: 'remembered',
    });
    expect(lead).toHaveBeenCalledTimes(1);
  });

  it('does not delay the refresh of another token', async () => {
    const { lead, finish } = held();
    const leading = coordinator.refresh(newTicket(), lead);
    expect(await coordinator.refresh(newTicket(), leads(dead))).toMatchObject({ outcome: dead, source: 'leader' });
    finish(refreshed);
    await leading;
  });

  it.each([dead, away])('shares its outcome %j with requests for the same organization only', async (outcome) => {
    const ticket = newTicket({ organizationId: 'org_01' });
    const { lead, finish } = held();
    const leading = coordinator.refresh(ticket, lead);
    const joining = coordinator.refresh(ticket, mustNotLead);
    // One after the other: at no time are there two.
    const other = held();
    const switching = coordinator.refresh({ ...ticket, organizationId: 'org_02' }, other.lead);
    expect(other.lead).not.toHaveBeenCalled();
    finish(outcome);
    expect([await leading, await joining]).toEqual([
      { outcome, organizationId: 'org_01', source: 'leader' },
      { outcome, organizationId: 'org_01', source: 'joined' },
    ]);
    other.finish(refreshed);
    expect(await switching).toEqual({ outcome: refreshed, organizationId: 'org_02', source: 'leader' });
  });

  it('shares new tokens with requests for every organization, and names its own', async () => {
    const ticket = newTicket({ organizationId: 'org_01' });
    const { lead, finish } = held();
    const leading = coordinator.refresh(ticket, lead);
    const switching = coordinator.refresh({ ...ticket, organizationId: 'org_02' }, mustNotLead);
    finish(refreshed);
    await leading;
    expect(await switching).toEqual({ outcome: refreshed, organizationId: 'org_01', source: 'joined' });
  });

  it('does not delay a request that does not wait', async () => {
    const ticket = newTicket();
    const { lead, finish } = held();
    const leading = coordinator.refresh(ticket, lead);
    expect(await coordinator.refresh({ ...ticket, wait: false }, mustNotLead)).toBeUndefined();
    finish(refreshed);
    await leading;
    expect(await coordinator.refresh({ ...ticket, wait: false }, mustNotLead)).toMatchObject({ outcome: refreshed });
  });

  it('rejects for every request when its lead rejects, and the next request leads again', async () => {
    const ticket = newTicket();
    const { lead, fail } = failing();
    const both = [coordinator.refresh(ticket, lead), coordinator.refresh(ticket, mustNotLead)];
    fail(new Error('a module is missing'));
    for (const each of await Promise.allSettled(both)) {
      expect(each).toMatchObject({ status: 'rejected', reason: { message: 'a module is missing' } });
    }
    expect(await coordinator.refresh(ticket, leads(refreshed))).toMatchObject({ source: 'leader' });
  });

  it('keeps the source of an outcome from another process', async () => {
    const { refresh } = singleFlight({ maxEntries: 100 });
    const ticket = newTicket();
    const found = held<CoordinatedOutcome | undefined>();
    const both = [refresh(ticket, found.lead), refresh(ticket, mustNotLead)];
    found.finish({ outcome: refreshed, organizationId: '', source: 'fleet' });
    expect((await Promise.all(both)).map((coordinated) => coordinated?.source)).toEqual(['fleet', 'fleet']);
  });

  it('is led by a waiting request when the first one left it to another process', async () => {
    const { refresh } = singleFlight({ maxEntries: 100 });
    const left = newTicket();
    const nothing = held<CoordinatedOutcome | undefined>();
    const leaving = refresh({ ...left, wait: false }, nothing.lead);
    const waiting = refresh(left, () => Promise.resolve({ outcome: dead, organizationId: '', source: 'leader' }));
    nothing.finish(undefined);
    expect(await leaving).toBeUndefined();
    expect(await waiting).toMatchObject({ outcome: dead, source: 'leader' });
  });
});

describe('the outcome of a refresh', () => {
  it.each<[string, Outcome, number, number]>([
    ['a refusal for five seconds', dead, 60_000, 5],
    ['new tokens for 15 minutes while no browser has presented them', refreshed, 60_000, 15 * minute],
    ['new tokens for the grace time if that is longer', refreshed, 20 * minute * 1000, 20 * minute],
  ])('remembers %s', async (_, outcome, graceMs, seconds) => {
    const ticket = newTicket({ graceMs });
    await coordinator.refresh(ticket, leads(outcome));
    clock.advance(seconds - 1);
    expect(await coordinator.refresh(ticket, mustNotLead)).toMatchObject({ outcome, source: 'remembered' });
    clock.advance(2);
    expect(await asks(ticket)).toBe(true);
  });

  it('is not remembered when the provider was unavailable', async () => {
    const ticket = newTicket();
    await coordinator.refresh(ticket, leads(away));
    expect(await coordinator.refresh(ticket, leads(refreshed))).toMatchObject({
      outcome: refreshed,
      source: 'leader',
    });
  });

  it('answers only its own organization when it is a refusal', async () => {
    const ticket = newTicket({ organizationId: 'org_01' });
    await coordinator.refresh(ticket, leads(dead));
    expect(await asks({ ...ticket, organizationId: 'org_02' })).toBe(true);
    expect(await asks(ticket)).toBe(false);
  });

  it('does not answer a request that already has the new access token', async () => {
    const ticket = newTicket();
    await coordinator.refresh(ticket, leads(refreshed));
    expect(await asks({ ...ticket, accessToken: 'the new one' })).toBe(true);
  });

  it('is forgotten after the grace time once its successor was presented', async () => {
    const ticket = newTicket();
    await coordinator.refresh(ticket, leads(refreshed));
    coordinator.releasePredecessor('of another one', 60_000);
    clock.advance(2 * minute);
    expect(await asks(ticket)).toBe(false);
    coordinator.releasePredecessor('of the next one', 60_000);
    clock.advance(59);
    // Only the first time counts.
    coordinator.releasePredecessor('of the next one', 60_000);
    expect(await asks(ticket)).toBe(false);
    clock.advance(2);
    expect(await asks(ticket)).toBe(true);
  });

  it('is not remembered longer when its successor is presented late', async () => {
    const ticket = newTicket();
    await coordinator.refresh(ticket, leads(refreshed));
    clock.advance(15 * minute - 1);
    coordinator.releasePredecessor('of the next one', 60_000);
    clock.advance(2);
    expect(await asks(ticket)).toBe(true);
  });

  it('stays forgotten when its successor is presented after that', async () => {
    const ticket = newTicket();
    await coordinator.refresh(ticket, leads(refreshed));
    clock.advance(15 * minute + 1);
    expect(await asks(ticket)).toBe(true);
    expect(() => {
      coordinator.releasePredecessor('of the next one', 60_000);
    }).not.toThrow();
    expect(await asks(ticket)).toBe(true);
  });

  it('is forgotten first when it is the oldest beyond the limit', async () => {
    coordinator = inProcessCoordinator({ maxEntries: 2 });
    const [first, second, third] = [newTicket(), newTicket(), newTicket()];
    for (const ticket of [first, second, third]) await coordinator.refresh(ticket, leads(refreshed));
    expect(await asks(third)).toBe(false);
    expect(await asks(second)).toBe(false);
    expect(await asks(first)).toBe(true);
  });
});

describe('the successor of a refresh token', () => {
  it('is known for as long as its outcome is remembered', async () => {
    const ticket = newTicket();
    expect(coordinator.successorOf(ticket.key)).toBeUndefined();
    await coordinator.refresh(ticket, leads(refreshed));
    expect(coordinator.successorOf(ticket.key)).toBe(refreshed);
    clock.advance(15 * minute - 1);
    expect(coordinator.successorOf(ticket.key)).toBe(refreshed);
    clock.advance(2);
    expect(coordinator.successorOf(ticket.key)).toBeUndefined();
  });

  it.each([dead, away])('is not known after %j', async (outcome) => {
    const ticket = newTicket();
    await coordinator.refresh(ticket, leads(outcome));
    expect(coordinator.successorOf(ticket.key)).toBeUndefined();
  });
});

describe('a refresh ahead of expiry', () => {
  it('that failed is tried again after five seconds, or at once for an expired token', async () => {
    const ahead = newTicket({ wait: false });
    expect(await asks(ahead)).toBe(true);
    expect(await coordinator.refresh(ahead, mustNotLead)).toBeUndefined();
    expect(await asks(newTicket({ wait: false }))).toBe(true);
    clock.advance(4);
    expect(await asks(ahead)).toBe(false);
    clock.advance(2);
    expect(await asks(ahead)).toBe(true);
    expect(await asks({ ...ahead, wait: true })).toBe(true);
  });
});
