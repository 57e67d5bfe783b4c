import { describe, expect, it } from '@jest/globals';
import { compactSealer, ironSealer, rubySealer, type Sealer } from 'express-sealed-session';

import { readPasswords } from '../../../lib/seal/passwords.js';
import { open, sealing } from '../../../lib/seal/sealer.js';

const sealers = [ironSealer(), rubySealer(), compactSealer()];
const binding = 'a provider and a purpose';
const [one, other] = ['one password of 32 characters!!!', 'another password of 32 characters'];
const passwords = readPasswords(one);

describe('a seal', () => {
  it.each(sealers.map((sealer): [string, Sealer] => [sealer.name, sealer]))(
    'is opened by the sealer that wrote it: %s',
    async (_, sealer) => {
      const text = await sealing(sealer, passwords, binding).seal({ of: sealer.name });
      expect(open(text, sealers, passwords, Date.now(), binding)).toMatchObject({
        ok: true,
        value: { of: sealer.name },
      });
      expect(open(text, [...sealers].reverse(), passwords, Date.now(), binding)).toMatchObject({ ok: true });
    },
  );

  it.each(['', 'no format of ours', '{"accessToken":"a"}', 'ä'.repeat(60)])(
    'of no known format is a value: %s',
    (text) => {
      expect(open(text, sealers, passwords, Date.now(), binding)).toEqual({ ok: false, problem: 'bad_shape' });
    },
  );
});

describe('the name of a set-up', () => {
  it('is the same for the same sealer, password and binding only, and does not tell the password', () => {
    const named = (sealer: Sealer, password: Parameters<typeof readPasswords>[0], bound = binding) =>
      sealing(sealer, readPasswords(password), bound).sealedUnder;
    expect(named(ironSealer(), one)).toBe(named(ironSealer(), { 1: one }));
    const setUps = [
      named(ironSealer(), one),
      named(rubySealer(), one),
      named(ironSealer(), other),
      named(ironSealer(), { 2: one }),
      named(ironSealer(), one, 'another provider'),
    ];
    expect(new Set(setUps).size).toBe(setUps.length);
    for (const name of setUps) expect(name).toMatch(/^[\w-]{43}$/);
  });
});
