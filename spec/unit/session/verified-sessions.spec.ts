import { beforeEach, describe, expect, it } from '@jest/globals';

import { type VerifiedSession, verifiedSessions } from '../../../lib/session/verified-sessions.js';

const session = (accessToken: string) => ({ payload: { accessToken }, predecessorReleased: false }) as VerifiedSession;
let one = session('one');
let other = session('other');
beforeEach(() => {
  [one, other] = [session('one'), session('other')];
});
const seal = (text: string) => `Fe26.2*${text}*${'x'.repeat(43)}~2`;

describe('verified sessions', () => {
  it('are known at once where the seal was made here', () => {
    const verified = verifiedSessions(10);
    expect(verified.get(seal('one'))).toBeUndefined();
    verified.set(seal('one'), one);
    expect(verified.get(seal('one'))).toBe(one);
    verified.set(seal('one'), other);
    expect(verified.get(seal('one'))).toBe(other);
  });

  it('are known from the second time on where it came from elsewhere', () => {
    const verified = verifiedSessions(10);
    expect(verified.noteVisit(seal('one'), one)).toBe(false);
    expect(verified.get(seal('one'))).toBeUndefined();
    expect(verified.noteVisit(seal('one'), one)).toBe(true);
    expect(verified.get(seal('one'))).toBe(one);
  });

  it('are told apart by the whole seal, also where both end in the same way', () => {
    const verified = verifiedSessions(10);
    verified.set(seal('one'), one);
    expect(verified.get(seal('other'))).toBeUndefined();
    expect(verified.get(seal('one').slice(1))).toBeUndefined();
    expect(verified.get(seal('one').slice(-12))).toBeUndefined();
    expect(verified.get('')).toBeUndefined();
    expect(verified.get(seal('one'))).toBe(one);
  });

  it('are told apart by the whole seal just as well once it has come again', () => {
    const verified = verifiedSessions(10);
    verified.set(seal('one'), one);
    for (let time = 0; time < 3; time += 1) {
      expect(verified.get(seal('one'))).toBe(one);
      expect(verified.get(seal('two'))).toBeUndefined();
      expect(verified.get(seal('other'))).toBeUndefined();
    }
    verified.set(seal('one'), other);
    for (let time = 0; time < 3; time += 1) expect(verified.get(seal('one'))).toBe(other);
    // Another seal that ends in the same way takes its place.
    verified.set(seal('two'), one);
    expect(verified.get(seal('one'))).toBeUndefined();
    expect(verified.get(seal('two'))).toBe(one);
  });

  it('are known by turns, more of them than are kept with their seals', () => {
    const verified = verifiedSessions(1_000);
    const seals = Array.from({ length: 600 }, (_, number) => `${seal('one')}${number}`.slice(1));
    const sessions = seals.map(session);
    for (const [index, each] of seals.entries()) verified.set(each, sessions[index]!);
    for (let time = 0; time < 2; time += 1) expect(seals.map((each) => verified.get(each))).toEqual(sessions);
    for (const each of seals) expect(verified.get(`x${each}`)).toBeUndefined();
  });

  it('are so many at most; the one that was not asked for goes first', () => {
    const verified = verifiedSessions(2);
    const seals = ['a', 'b', 'c'].map((text) => seal('one') + text);
    verified.set(seals[0]!, one);
    verified.set(seals[1]!, session('another'));
    verified.get(seals[0]!);
    verified.noteVisit(seals[2]!, other);
    expect(seals.map((each) => verified.get(each))).toEqual([one, undefined, undefined]);
    expect(verified.noteVisit(seals[2]!, other)).toBe(true);
  });

  it.each([true, false])('let a predecessor be released once, when its seal comes back (kept: %s)', (keepsSessions) => {
    const verified = verifiedSessions(10, { keepsSessions });
    const visits = () => verified.noteVisit(seal('one'), session('one'));
    expect([visits(), visits(), visits(), visits()]).toEqual([false, true, false, false]);
  });

  it.each([true, false])('take the first visit with a seal made here for its return (kept: %s)', (keepsSessions) => {
    const verified = verifiedSessions(10, { keepsSessions });
    verified.set(seal('one'), one);
    const visits = () => verified.noteVisit(seal('one'), session('one'));
    expect([visits(), visits()]).toEqual([true, false]);
  });

  it('are not kept where the cache is off', () => {
    const verified = verifiedSessions(10, { keepsSessions: false });
    verified.set(seal('one'), one);
    for (let time = 0; time < 3; time += 1) verified.noteVisit(seal('one'), one);
    expect(verified.get(seal('one'))).toBeUndefined();
  });
});
