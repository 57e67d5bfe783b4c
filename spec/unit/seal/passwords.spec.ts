import { describe, expect, it } from '@jest/globals';
import { SessionConfigError, withSession, workos } from 'express-sealed-session';
import fc from 'fast-check';

import { type Password, passwordCheck, readPasswords } from '../../../lib/seal/passwords.js';

const provider = workos({ clientId: 'client_01', apiKey: 'sk_test_01' });
const long = (letter: string) => letter.repeat(32);

describe('a password', () => {
  it.each<[string, unknown]>([
    ['of 32 characters', long('a')],
    ['of more', long('a') + long('b')],
    ['of other letters than ASCII', 'ä'.repeat(32)],
    ['that is the only one in its map', { 1: long('a') }],
    ['with id 0', { 0: long('a') }],
    ['among others', { 1: long('a'), 2: long('b'), 999_999_999: long('c') }],
  ])('is good: %s', (_, password) => {
    expect(passwordCheck(password)).toBeUndefined();
    expect(() => withSession({ provider, password: password as Password })).not.toThrow();
  });

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['an empty string', ''],
    ['31 characters', 'a'.repeat(31)],
    ['a number', 10 ** 40],
    ['an empty list', []],
    ['a list with one that is too short', [long('a'), 'short']],
    ['a list with one that is missing', [long('a'), undefined]],
    ['a list of more than a request tries', Array.from({ length: 21 }, (_, index) => `${long('a')}${index}`)],
    ['bytes', Buffer.alloc(32)],
    ['an empty map', {}],
    ['a Map', new Map([[1, long('a')]])],
    ['a short one in a map', { 1: long('a'), 2: 'b'.repeat(31) }],
    ['nothing in a map', { 1: undefined }],
    ['a list in a map', { 1: [long('a')] }],
    ['a negative id', { [-1]: long('a') }],
    ['a fraction as id', { 1.5: long('a') }],
    ['a word as id', { newest: long('a') }],
    ['an id with a leading zero', { '01': long('a') }],
    ['an id beyond counting', { 1e21: long('a') }],
    ['an id of the language', JSON.parse(`{ "__proto__": "${long('a')}" }`)],
  ])('is refused: %s', (_, password) => {
    expect(passwordCheck(password)).toEqual(expect.any(String));
    let error: unknown;
    try {
      withSession({ provider, password: password as Password });
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(SessionConfigError);
    expect((error as SessionConfigError).problems).toEqual([{ path: 'password', message: passwordCheck(password) }]);
  });

  it('is not in what is said of it', () => {
    const parts = fc.string({ minLength: 6, maxLength: 31, unit: fc.constantFrom('Q', 'X', '7', '#', '%') });
    const given: fc.Arbitrary<[string, unknown]> = parts.chain((secret) =>
      fc.constantFrom<[string, unknown]>(
        [secret, secret],
        [secret, [secret]],
        [secret, { 1: secret }],
        [secret, { 1: long('a'), 2: secret }],
        [secret, { [secret]: 1 }],
        [secret, { [secret]: long('a') }],
      ),
    );
    fc.assert(
      fc.property(given, ([secret, password]) => {
        const message = passwordCheck(password);
        expect(message).toEqual(expect.any(String));
        expect(message).not.toContain(secret.slice(0, 6));
        expect(message).not.toContain(secret.slice(-6));
      }),
    );
  });

  it('is described by its length, and by its id in a map or place in a list', () => {
    expect(passwordCheck('a'.repeat(31))).toMatch(/\b31\b/);
    expect(passwordCheck([long('a'), 'b'.repeat(30)])).toMatch(/\b30\b.*\b1\b/);
    expect(passwordCheck({ 1: long('a'), 4: 'b'.repeat(30) })).toMatch(/\b30\b.*\b4\b/);
  });
});

describe('reading passwords', () => {
  it('gives a lone password the id 1', () => {
    expect(readPasswords(long('a'))).toEqual({
      sealingId: '1',
      sealing: long('a'),
      newestFirst: [{ id: '1', password: long('a') }],
    });
  });

  it('seals with the highest number, not with the last in line', () => {
    const { sealingId, sealing, newestFirst } = readPasswords({ 10: long('j'), 9: long('i'), 2: long('b') });
    expect([sealingId, sealing]).toEqual(['10', long('j')]);
    expect(newestFirst.map(({ id }) => id)).toEqual(['10', '9', '2']);
  });

  it('seals with the first of a list, under the id that a lone password has', () => {
    expect(readPasswords([long('b'), long('a')])).toEqual({
      sealingId: '1',
      sealing: long('b'),
      newestFirst: [
        { id: '1', password: long('b') },
        { id: '1', password: long('a') },
      ],
    });
  });

  it('is done once: what becomes of the map afterwards changes nothing', () => {
    const map: Record<number, string> = { 1: long('a') };
    const passwords = readPasswords(map);
    map[1] = long('x');
    map[2] = long('y');
    expect(passwords).toEqual(readPasswords({ 1: long('a') }));
  });
});
