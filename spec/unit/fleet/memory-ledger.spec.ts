import { createHash } from 'node:crypto';

import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';

import type { LedgerEntry, SessionNames } from '../../../lib/fleet/ledger.js';
import { type MemoryLedger, memoryLedger } from '../../../lib/fleet/memory-ledger.js';
import { useClock } from '../../support/clock.js';

const hour = 60 * 60;
const limits = { maxEntries: 3, rememberMs: 1 };

/** A name as the naming makes it. */
const name = (of: string) => createHash('sha256').update(of).digest('base64url').slice(0, 22);
const named = (own: string, shared: readonly string[] = [], begunMs = 0): SessionNames => ({
  own: own === '' ? [] : [name(own)],
  shared: shared.map(name),
  begunMs,
});
const entry = (of: string, changes: Partial<LedgerEntry> = {}): LedgerEntry => ({
  kind: 'ended',
  name: name(of),
  atMs: Date.now(),
  untilMs: Date.now() + hour * 1000,
  ...changes,
});

describe('memoryLedger', () => {
  const clock = useClock();
  let ledger: MemoryLedger;
  beforeEach(() => {
    ledger = memoryLedger(limits);
  });
  const isEnded = (names: SessionNames) => ledger.endingOf(names) !== undefined;

  it('is empty until something ends', async () => {
    expect([ledger.isEmpty(), ledger.version()]).toEqual([true, 0]);
    await ledger.record([entry('one')]);
    expect([ledger.isEmpty(), ledger.version()]).toEqual([false, 1]);
  });

  it('finds an ended session by any of its names', async () => {
    await ledger.record([entry('its id'), entry('its token')]);
    expect([named('its id'), named('', ['its token']), named('new', ['its token'])].map(isEnded)).toEqual([
      true,
      true,
      true,
    ]);
    expect([named('another'), named('')].map(isEnded)).toEqual([false, false]);
  });

  it('ends under a shared name what began before, and nothing that began later', async () => {
    await ledger.record([entry('its id'), entry('ada')]);
    const atMs = Date.now();
    expect([atMs - 1, atMs, atMs + 1].map((ms) => isEnded(named('another', ['ada'], ms)))).toEqual([true, true, false]);
    expect(isEnded(named('its id', ['ada'], atMs + 1))).toBe(true);
  });

  it('remembers an entry for as long as it says, and no longer', async () => {
    await ledger.record([entry('one', { untilMs: Date.now() + 24 * hour * 1000 })]);
    clock.advance(24 * hour - 1);
    expect(isEnded(named('one'))).toBe(true);
    clock.advance(2);
    expect(isEnded(named('one'))).toBe(false);
    expect(ledger.isEmpty()).toBe(true);
  });

  it('extends an entry by another of the same name, and never shortens it', async () => {
    await ledger.record([entry('one', { untilMs: Date.now() + 2 * hour * 1000 })]);
    await ledger.record([entry('one', { atMs: Date.now() - 5_000 })]);
    clock.advance(2 * hour - 1);
    expect(isEnded(named('', ['one'], Date.now() - 2 * hour * 1000 + 500))).toBe(true);
  });

  it('changes its version with what says more, and with nothing else', async () => {
    await ledger.record([entry('one')]);
    const version = ledger.version();
    await ledger.record([entry('one', { atMs: 0 })]);
    expect(ledger.version()).toBe(version);
    clock.advance(1);
    await ledger.record([entry('one')]);
    expect(ledger.version()).toBe(version + 1);
  });

  it('says from when on the claims must be confirmed, by each name, and ends nothing by that', async () => {
    await ledger.record([entry('ada', { kind: 'refresh', atMs: 1_000 })]);
    await ledger.record([entry('its id', { kind: 'refresh', atMs: 2_000 })]);
    const asked = [named('its id', ['ada']), named('other', ['ada']), named('other', ['bob'])];
    expect(asked.map(ledger.freshFromMs)).toEqual([2_000, 1_000, 0]);
    expect(asked.map(isEnded)).toEqual([false, false, false]);
  });

  it('says whether a sign-in took the place of a session, until it is signed out', async () => {
    await ledger.record([entry('one', { isReplaced: true })]);
    expect(ledger.endingOf(named('one'))?.isReplaced).toBe(true);
    await ledger.record([entry('one')]);
    expect(ledger.endingOf(named('one'))?.isReplaced).toBe(false);
  });

  it('forgets, beyond its limit, what would be over first', async () => {
    for (const [index, of] of ['1', '2', '3', '4'].entries()) {
      await ledger.record([entry(of, { untilMs: Date.now() + (index + 1) * 10_000 })]);
    }
    expect(['1', '2', '3', '4'].map((of) => isEnded(named(of)))).toEqual([false, true, true, true]);
  });

  it('knows a name the second time, until its time is over', async () => {
    const untilMs = Date.now() + 60_000;
    expect(await ledger.firstSight(name('a jti'), untilMs)).toBe(true);
    expect(await ledger.firstSight(name('a jti'), untilMs)).toBe(false);
    expect(isEnded(named('a jti'))).toBe(false);
    clock.advance(61);
    expect(await ledger.firstSight(name('a jti'), Date.now() + 60_000)).toBe(true);
  });

  it('has read everything from the start, and shares nothing with another ledger', async () => {
    await memoryLedger(limits).record([entry('one')]);
    await ledger.look();
    expect([ledger.untilRead(), isEnded(named('one'))]).toEqual([undefined, false]);
  });
});

describe('its table', () => {
  afterEach(() => {
    jest.restoreAllMocks();
  });

  it('has what a map has, whatever is put, found, over and told', () => {
    const { table } = memoryLedger({ ...limits, maxEntries: 65_536 });
    const model = new Map<string, { atMs: number; untilMs: number }>();
    let now = Date.now();
    jest.spyOn(Date, 'now').mockImplementation(() => now);
    let seed = 1;
    const random = (below: number) => {
      seed = (seed * 16_807) % 2_147_483_647;
      return seed % below;
    };
    for (let step = 0; step < 20_000; step += 1) {
      const of = name(String(random(3_000)));
      if (step % 300 === 0) now += 20_000;
      const known = model.get(of);
      const live = known && known.untilMs > now ? known : undefined;
      if (random(3) === 0) expect(table.get('ended', of)?.atMs).toBe(live?.atMs);
      else {
        const row = { atMs: now - random(100), untilMs: Math.ceil(now / 1000) * 1000 + random(600) * 1000 };
        // What is over and was not asked for may still be there: then it is merged, and lasts as the new one says.
        if (known && !live) table.get('ended', of);
        table.put('ended', of, { ...row, isReplaced: false }, random(2) === 0);
        model.set(of, {
          atMs: Math.max(live?.atMs ?? 0, row.atMs),
          untilMs: Math.max(live?.untilMs ?? 0, row.untilMs),
        });
      }
    }
    for (const [of, row] of model) expect(table.get('ended', of)?.atMs).toBe(row.untilMs > now ? row.atMs : undefined);
    const alive = [...model.values()].filter(({ untilMs }) => untilMs > now).length;
    expect(table.size()).toBe(alive);

    table.forgetTold();
    expect(table.untold()).toBe(alive);
    const all = table.listUntold(Infinity);
    expect(all).toHaveLength(alive);
    for (const each of all) table.noteTold(each);
    expect([table.untold(), table.listUntold(10)]).toEqual([0, []]);
  });

  it('does not take for told what the store has in part', () => {
    const { table } = memoryLedger(limits);
    const [early, late] = [1_000, 2_000].map((atMs) => ({ ...entry('one'), atMs, isReplaced: false }));
    table.put('ended', name('one'), late!, false);
    table.put('ended', name('one'), early!, true);
    expect(table.listUntold(10)).toEqual([expect.objectContaining({ atMs: 2_000 })]);
    table.noteTold(early!);
    expect(table.untold()).toBe(1);
    table.put('ended', name('one'), late!, true);
    expect(table.untold()).toBe(0);
    table.put('ended', name('one'), { ...late!, untilMs: late!.untilMs + 10_000 }, false);
    expect(table.untold()).toBe(1);
  });
});
