import { beforeEach, describe, expect, it, jest } from '@jest/globals';
import { type Coordinator, memoryCoordinator, type Outcome, type Ticket } from 'express-sealed-session';

import type { Led } from '../../../lib/refresh/coordinator.js';
import { singleFlight } from '../../../lib/refresh/single-flight.js';
import { useClock } from '../../support/clock.js';
import { away, dead, leads, mustNotLead, newTicket, refreshed } from '../../support/tickets.js';

const clock = useClock();
let coordinator: Coordinator;
beforeEach(() => {
  coordinator = memoryCoordinator();
});

const minute = 60;

/** Whether the provider is asked for this ticket. */
async function asks(ticket: Ticket): Promise<boolean> {
  const lead = leads(away);
  await coordinator.refresh(ticket, lead);
  return lead.mock.calls.length > 0;
}

/** A refresh that goes on until it is told what came of it. */
function held<Result = Outcome>() {
  let finish: (result: Result) => void = () => undefined;
  const finished = new Promise<Result>((resolve) => {
    finish = resolve;
  });
  return { lead: jest.fn(() => finished), finish };
}

describe('a refresh under way', () => {
  it('is the only one of its token: who comes meanwhile joins it, who comes later is given what it brought', async () => {
    const ticket = newTicket();
    const { lead, finish } = held();
    const leading = coordinator.refresh(ticket, lead);
    const joining = coordinator.refresh(ticket, mustNotLead);
    finish(refreshed);
    expect(await leading).toEqual({ outcome: refreshed, variant: '', source: 'leader' });
    expect(await joining).toEqual({ outcome: refreshed, variant: '', source: 'joined' });
    expect(await coordinator.refresh(ticket, mustNotLead)).toEqual({
      outcome: refreshed,
      variant: '',
      source: 'remembered',
    });
    expect(lead).toHaveBeenCalledTimes(1);
  });

  it('holds up nobody who has another token', async () => {
    const { lead, finish } = held();
    const leading = coordinator.refresh(newTicket(), lead);
    expect(await coordinator.refresh(newTicket(), leads(dead))).toMatchObject({ outcome: dead, source: 'leader' });
    finish(refreshed);
    await leading;
  });

  it.each([dead, away])('is shared also when it comes to %j, by those who asked for the same', async (outcome) => {
    const ticket = newTicket({ variant: 'org_01' });
    const { lead, finish } = held();
    const leading = coordinator.refresh(ticket, lead);
    const joining = coordinator.refresh(ticket, mustNotLead);
    // One after the other: at no time are there two.
    const other = held();
    const switching = coordinator.refresh({ ...ticket, variant: 'org_02' }, other.lead);
    expect(other.lead).not.toHaveBeenCalled();
    finish(outcome);
    expect([await leading, await joining]).toEqual([
      { outcome, variant: 'org_01', source: 'leader' },
      { outcome, variant: 'org_01', source: 'joined' },
    ]);
    other.finish(refreshed);
    expect(await switching).toEqual({ outcome: refreshed, variant: 'org_02', source: 'leader' });
  });

  it('brings new tokens for everybody, who are told what they were asked for', async () => {
    const ticket = newTicket({ variant: 'org_01' });
    const { lead, finish } = held();
    const leading = coordinator.refresh(ticket, lead);
    const switching = coordinator.refresh({ ...ticket, variant: 'org_02' }, mustNotLead);
    finish(refreshed);
    await leading;
    expect(await switching).toEqual({ outcome: refreshed, variant: 'org_01', source: 'joined' });
  });

  it('is not waited for by a request that can do without', async () => {
    const ticket = newTicket();
    const { lead, finish } = held();
    const leading = coordinator.refresh(ticket, lead);
    expect(await coordinator.refresh({ ...ticket, wait: false }, mustNotLead)).toBeUndefined();
    finish(refreshed);
    await leading;
    expect(await coordinator.refresh({ ...ticket, wait: false }, mustNotLead)).toMatchObject({ outcome: refreshed });
  });

  it('that found the work done elsewhere, or left it there, is told from one of our own', async () => {
    const { refresh } = singleFlight({});
    const ticket = newTicket();
    const found = held<Led | undefined>();
    const both = [refresh(ticket, found.lead), refresh(ticket, mustNotLead)];
    found.finish({ outcome: refreshed, variant: '', source: 'fleet' });
    expect((await Promise.all(both)).map((led) => led?.source)).toEqual(['fleet', 'fleet']);

    const left = newTicket();
    const nothing = held<Led | undefined>();
    const leaving = refresh({ ...left, wait: false }, nothing.lead);
    const waiting = refresh(left, () => Promise.resolve({ outcome: dead, variant: '', source: 'leader' }));
    nothing.finish(undefined);
    expect(await leaving).toBeUndefined();
    expect(await waiting).toMatchObject({ outcome: dead, source: 'leader' });
  });
});

describe('what came of a refresh is remembered', () => {
  it.each<[string, Outcome, number, number]>([
    ['a refusal, for seconds', dead, 60_000, 5],
    ['new tokens that nobody has come with yet, for a quarter of an hour', refreshed, 60_000, 15 * minute],
    ['new tokens, for the grace time if that is longer', refreshed, 20 * minute * 1000, 20 * minute],
  ])('%s', async (_, outcome, graceMs, seconds) => {
    const ticket = newTicket({ graceMs });
    await coordinator.refresh(ticket, leads(outcome));
    clock.advance(seconds - 1);
    expect(await coordinator.refresh(ticket, mustNotLead)).toMatchObject({ outcome, source: 'remembered' });
    clock.advance(2);
    expect(await asks(ticket)).toBe(true);
  });

  it('but not a failure that passes: who needs tokens asks again at once', async () => {
    const ticket = newTicket();
    await coordinator.refresh(ticket, leads(away));
    expect(await coordinator.refresh(ticket, leads(refreshed))).toMatchObject({
      outcome: refreshed,
      source: 'leader',
    });
  });

  it('and a refusal only for who asked for the same', async () => {
    const ticket = newTicket({ variant: 'org_01' });
    await coordinator.refresh(ticket, leads(dead));
    expect(await asks({ ...ticket, variant: 'org_02' })).toBe(true);
    expect(await asks(ticket)).toBe(false);
  });

  it('and not for who comes with the new access token: the refresh token is the same where none is rotated', async () => {
    const ticket = newTicket();
    await coordinator.refresh(ticket, leads(refreshed));
    expect(await asks({ ...ticket, accessToken: 'the new one' })).toBe(true);
  });

  it('no longer than the grace time once somebody has come with the successor', async () => {
    const ticket = newTicket();
    await coordinator.refresh(ticket, leads(refreshed));
    coordinator.claim('of another one');
    clock.advance(2 * minute);
    expect(await asks(ticket)).toBe(false);
    coordinator.claim('of the next one');
    clock.advance(59);
    // Only the first time counts.
    coordinator.claim('of the next one');
    expect(await asks(ticket)).toBe(false);
    clock.advance(2);
    expect(await asks(ticket)).toBe(true);
  });

  it('no longer for having been claimed late', async () => {
    const ticket = newTicket();
    await coordinator.refresh(ticket, leads(refreshed));
    clock.advance(15 * minute - 1);
    coordinator.claim('of the next one');
    clock.advance(2);
    expect(await asks(ticket)).toBe(true);
  });

  it('no longer for being claimed when it is forgotten', async () => {
    const ticket = newTicket();
    await coordinator.refresh(ticket, leads(refreshed));
    clock.advance(15 * minute + 1);
    expect(await asks(ticket)).toBe(true);
    expect(() => {
      coordinator.claim('of the next one');
    }).not.toThrow();
    expect(await asks(ticket)).toBe(true);
  });

  it('for as many sessions as it may, the oldest being forgotten first', async () => {
    coordinator = memoryCoordinator({ maxSessions: 2 });
    const [first, second, third] = [newTicket(), newTicket(), newTicket()];
    for (const ticket of [first, second, third]) await coordinator.refresh(ticket, leads(refreshed));
    expect(await asks(third)).toBe(false);
    expect(await asks(second)).toBe(false);
    expect(await asks(first)).toBe(true);
  });
});

describe('the successor of a refresh token', () => {
  it('is known for as long as its refresh is remembered', async () => {
    const ticket = newTicket();
    expect(coordinator.successorOf(ticket.key)).toBeUndefined();
    await coordinator.refresh(ticket, leads(refreshed));
    expect(coordinator.successorOf(ticket.key)).toBe(refreshed);
    clock.advance(15 * minute - 1);
    expect(coordinator.successorOf(ticket.key)).toBe(refreshed);
    clock.advance(2);
    expect(coordinator.successorOf(ticket.key)).toBeUndefined();
  });

  it.each([dead, away])('is none after %j', async (outcome) => {
    const ticket = newTicket();
    await coordinator.refresh(ticket, leads(outcome));
    expect(coordinator.successorOf(ticket.key)).toBeUndefined();
  });
});

describe('a refresh ahead of expiry', () => {
  it('that has failed is tried again after seconds, unless the token is needed before', async () => {
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

describe('sessions that have ended', () => {
  it('are known by any of their names, for an hour', async () => {
    const names = ['of its refresh token', 'of the session'];
    expect([coordinator.anyEnded?.(), coordinator.hasEnded(names)]).toEqual([false, false]);
    await coordinator.end(names);
    expect(coordinator.anyEnded?.()).toBe(true);
    for (const name of names) expect(coordinator.hasEnded(['of another', name])).toBe(true);
    expect([coordinator.hasEnded(['of another']), coordinator.hasEnded([])]).toEqual([false, false]);
    clock.advance(60 * minute - 1);
    expect(coordinator.hasEnded(names)).toBe(true);
    clock.advance(2);
    expect(coordinator.hasEnded(names)).toBe(false);
  });

  it('are known to this coordinator alone', async () => {
    await memoryCoordinator().end(['of the session']);
    expect(coordinator.hasEnded(['of the session'])).toBe(false);
  });

  it('are forgotten, the oldest first, when there are more than it may remember', async () => {
    coordinator = memoryCoordinator({ maxSessions: 2 });
    await coordinator.end(['first', 'second', 'third']);
    expect(['first', 'second', 'third'].map((name) => coordinator.hasEnded([name]))).toEqual([false, true, true]);
  });
});
