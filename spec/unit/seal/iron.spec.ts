import { createCipheriv, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { describe, expect, it, jest } from '@jest/globals';
import { ironSealer, type Password, type SealProblem } from 'express-sealed-session';
import fc from 'fast-check';
import { sealData, unsealData } from 'iron-session';

import { readPasswords } from '../../../lib/seal/passwords.js';
import { runs } from '../../support/fuzz.js';

interface Vector {
  name: string;
  password?: string;
  passwords?: Record<number, string>;
  payload: Record<string, unknown>;
  sealed: string;
}

const vectors = JSON.parse(
  readFileSync(new URL('../../vectors/iron-seals.json', import.meta.url), 'utf8'),
) as readonly Vector[];

const sealer = ironSealer();
const password = 'the password that seals in these tests';
const foreign = 'a password that nobody here has heard of';
const payload = { accessToken: 'aaa.bbb.ccc', refreshToken: 'rt_1', user: { id: 'user_01', firstName: 'Zoë' } };

const open = (text: string, under: Password = password) => sealer.open(text, readPasswords(under), Date.now(), '');
const seal = (value: object, under: Password = password) => sealer.seal(value, readPasswords(under), '');

/**
 * What iron-session makes of a seal: the value, or undefined when it throws or answers with the empty object that it
 * has for failures. It asks the one password whose id the seal names, so it is told of each of ours by that name.
 */
async function unsealWithIronSession(text: string, under: Password = password): Promise<unknown> {
  const id = text.split('*')[1] ?? '';
  for (const secret of typeof under === 'string' ? [under] : Object.values(under)) {
    const value = await unsealData<object>(text, { password: { [id]: secret ?? '' } }).catch(() => ({}));
    if (Object.keys(value).length > 0) return value;
  }
  return undefined;
}

/** Opened, or not, by both; and with the same value. */
async function expectAgreement(text: string, under: Password = password): Promise<void> {
  const opened = open(text, under);
  expect([text, opened.ok ? opened.value : undefined]).toEqual([text, await unsealWithIronSession(text, under)]);
}

interface Forgery {
  id?: string;
  text?: string;
  expiry?: string;
  encryptedUnder?: string;
}

/** A seal whose MAC holds under the password, whatever is in it: what only a holder of the password can write. */
function forge({ id = '1', text = JSON.stringify(payload), expiry = '', encryptedUnder = password }: Forgery): string {
  const derive = (secret: string, salt: string) => pbkdf2Sync(secret, salt, 1, 32, 'sha1');
  const [encryptionSalt, macSalt] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')];
  const iv = randomBytes(16);
  const cipher = createCipheriv('aes-256-cbc', derive(encryptedUnder, encryptionSalt), iv);
  const ciphertext = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]).toString('base64url');
  const covered = ['Fe26.2', id, encryptionSalt, iv.toString('base64url'), ciphertext, expiry].join('*');
  const mac = createHmac('sha256', derive(password, macSalt)).update(covered).digest('base64url');
  return `${covered}*${macSalt}*${mac}~2`;
}

const fieldNames = ['prefix', 'id', 'encryptionSalt', 'iv', 'ciphertext', 'expiry', 'macSalt', 'mac'] as const;
const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** The seal with one of its fields changed. */
function change(text: string, name: (typeof fieldNames)[number], edit: (field: string) => string): string {
  const fields = text.replace(/~2$/, '').split('*');
  const at = fieldNames.indexOf(name);
  fields[at] = edit(fields[at] ?? '');
  return `${fields.join('*')}~2`;
}

/** The character whose lowest bit, as base64url has it, is another. */
const flip = (character: string) => alphabet[alphabet.indexOf(character) ^ 1] ?? 'A';
const flipFirst = (field: string) => flip(field.charAt(0)) + field.slice(1);
const flipDigit = (field: string) => (field.startsWith('0') ? '1' : '0') + field.slice(1);
const flipLast = (field: string) => field.slice(0, -1) + flip(field.slice(-1));

const jsonObjects = fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1, maxKeys: 6 });
const throughJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

describe('recorded seals', () => {
  // One of them expires in the end.
  const recordedMs = Date.parse('2026-11-23');

  it.each(vectors)('open: $name', ({ password: single, passwords, payload: expected, sealed }) => {
    const under = single ?? passwords!;
    expect(sealed).toMatch(/~2$/);
    for (const text of [sealed, sealed.replace(/~2$/, '')]) {
      expect(sealer.open(text, readPasswords(under), recordedMs, '')).toEqual({
        ok: true,
        value: expected,
        passwordIndex: passwords ? Object.keys(passwords).reverse().indexOf(sealed.split('*')[1]!) : 0,
      });
    }
  });

  it.each(vectors)('do not open under another password: $name', ({ sealed }) => {
    expect(open(sealed, foreign)).toMatchObject({ ok: false });
  });
});

describe('what ironSealer seals', () => {
  it('opens in iron-session with the same value', async () => {
    await fc.assert(
      fc.asyncProperty(jsonObjects, async (value) => {
        const text = await seal(value);
        expect(JSON.stringify(await unsealData(text, { password }))).toBe(JSON.stringify(throughJson(value)));
      }),
      { numRuns: runs(50) },
    );
  });

  it('opens here with the same value', async () => {
    await fc.assert(
      fc.asyncProperty(jsonObjects, async (value) => {
        const opened = open(await seal(value));
        expect(opened.ok && JSON.stringify(opened.value)).toBe(JSON.stringify(throughJson(value)));
      }),
      { numRuns: runs(50) },
    );
  });

  it('has no expiry of its own, so that the cookie lasts as long as it is told to', async () => {
    const text = await seal(payload);
    expect(text.split('*')[5]).toBe('');
    jest.spyOn(Date, 'now').mockReturnValue(Date.now() + 10 * 365 * 86_400_000);
    expect(open(text)).toMatchObject({ ok: true });
  });

  it('is never twice the same', async () => {
    expect(await seal(payload)).not.toBe(await seal(payload));
  });
});

describe('what iron-session seals', () => {
  it('opens here with the same value', async () => {
    await fc.assert(
      fc.asyncProperty(jsonObjects, fc.constantFrom(0, 60, 34_560_000), async (value, ttl) => {
        const opened = open(await sealData(value, { password, ttl }));
        expect(opened.ok && JSON.stringify(opened.value)).toBe(JSON.stringify(throughJson(value)));
      }),
      { numRuns: runs(50) },
    );
  });

  it('opens from before version 2, when the value was in a field of its own', async () => {
    const text = (await sealData({ persistent: payload }, { password, ttl: 0 })).replace(/~2$/, '');
    expect(await unsealData(text, { password })).toEqual(payload);
    expect(open(text)).toMatchObject({ ok: true, value: payload });
  });

  it.each([
    ['beside others', { persistent: { a: 1 }, other: 2 }],
    ['of another kind', { persistent: 'a' }],
    ['that is a list', { persistent: [{ a: 1 }] }],
  ])('stays whole with a field of that name %s', async (_, value) => {
    const text = await sealData(value, { password, ttl: 0 });
    await expectAgreement(text);
    expect(open(text)).toMatchObject({ ok: true, value });
  });
});

describe('iron-session agrees on what opens', () => {
  it('when any one character is another', async () => {
    const text = await sealData(payload, { password, ttl: 600 });
    const core = text.length - '~2'.length;
    for (let at = 0; at < core; at += 1) {
      const changed = text.slice(0, at) + flip(text.charAt(at)) + text.slice(at + 1);
      expect([at, open(changed).ok]).toEqual([at, false]);
      await expectAgreement(changed);
    }
  });

  it('wherever it is cut off', async () => {
    const text = (await sealData(payload, { password, ttl: 0 })).replace(/~2$/, '');
    for (let length = 0; length < text.length; length += 1) {
      expect([length, open(text.slice(0, length)).ok]).toEqual([length, false]);
      await expectAgreement(`${text.slice(0, length)}~2`);
    }
  });

  const sealIds = fc.constantFrom('1', '2', '3', '01', '99', 'constructor', '__proto__', 'toString', 'hasOwnProperty');
  const damages: fc.Arbitrary<(text: string) => string> = fc.oneof(
    { weight: 3, arbitrary: fc.constant((text: string) => text) },
    fc
      .tuple(
        fc.constantFrom(...fieldNames),
        fc.nat(),
        fc.constantFrom(...Array.from(alphabet), '*', '.', '~', '%', '=', '\n', 'é'),
      )
      .map(
        ([name, at, character]) =>
          (text: string) =>
            change(text, name, (field) => {
              const index = at % (field.length + 1);
              return field.slice(0, index) + character + field.slice(index + 1);
            }),
      ),
    fc.constantFrom(...fieldNames).map((name) => (text: string) => change(text, name, () => '')),
    fc.constantFrom(...fieldNames).map((name) => (text: string) => change(text, name, (field) => `${field}*${field}`)),
    sealIds.map((id) => (text: string) => change(text, 'id', () => id)),
    fc.nat().map((expiry) => (text: string) => change(text, 'expiry', () => String(expiry))),
  );

  it('when it is good, foreign, renamed, expired or damaged', async () => {
    const under = { 1: password, 2: 'an older password than the one above' };
    let openedCount = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(under[1], under[2], foreign),
        sealIds.filter((id) => /^[1-9]/.test(id)),
        // Past its expiry by more than the minute that is forgiven, not yet, not at all.
        fc.constantFrom(-120, 0, 600),
        damages,
        async (secret, id, ttl, damage) => {
          const text = damage(await sealData(payload, { password: { [id]: secret }, ttl }));
          await expectAgreement(text, under);
          if (open(text, under).ok) openedCount += 1;
        },
      ),
      { numRuns: runs(300) },
    );
    // The property says something of both sides.
    expect(openedCount).toBeGreaterThan(runs(10));
    expect(openedCount).toBeLessThan(runs(290));
  });

  it('up to the moment of expiry, and a minute beyond for clocks that differ', async () => {
    const text = await sealData(payload, { password, ttl: 600 });
    const expiresAtMs = Number(text.split('*')[5]);
    for (const [offsetMs, opens] of [
      [-1, true],
      [0, true],
      [59_999, true],
      [60_000, false],
      [60_001, false],
    ] as const) {
      jest.spyOn(Date, 'now').mockReturnValue(expiresAtMs + offsetMs);
      expect([offsetMs, open(text).ok]).toEqual([offsetMs, opens]);
      await expectAgreement(text);
    }
  });

  it.each(['constructor', '__proto__', 'toString', 'hasOwnProperty', 'valueOf', 'default'])(
    'when the id is %s',
    async (id) => {
      const renamed = change(await sealData(payload, { password, ttl: 0 }), 'id', () => id);
      expect(open(renamed)).toEqual({ ok: false, problem: 'tampered' });
      expect(open(renamed, foreign)).toEqual({ ok: false, problem: 'unknown_password' });
      await expectAgreement(renamed);
      // Whoever has the password may call it what they like.
      await expectAgreement(forge({ id }));
      expect(open(forge({ id }))).toMatchObject({ ok: true, value: payload });
    },
  );
});

describe('the suffix behind a seal', () => {
  it.each(['', '~1', '~2', '~3'])('decides nothing, since nothing vouches for it: "%s"', async (suffix) => {
    const text = (await seal(payload)).replace(/~2$/, suffix);
    expect(open(text)).toMatchObject({ ok: true, value: payload });
    const wrapped = (await seal({ persistent: payload })).replace(/~2$/, suffix);
    expect(open(wrapped)).toMatchObject({ ok: true, value: payload });
  });

  it.each(['~', '~x', '~22', '~2~2', '~2 ', '~2\n', '*', '='])('is refused in any other form: %j', async (suffix) => {
    const text = (await seal(payload)).replace(/~2$/, suffix);
    expect(open(text)).toEqual({ ok: false, problem: 'bad_shape' });
  });
});

describe('what is wrong with a seal', () => {
  it.each<[SealProblem, string, (text: string) => string]>([
    // One look at the first block tells whether a password of ours encrypted it; the MAC cannot tell.
    ['tampered', 'another ciphertext', (text) => change(text, 'ciphertext', flipLast)],
    ['tampered', 'less ciphertext', (text) => change(text, 'ciphertext', (field) => field.slice(0, -16))],
    ['tampered', 'an expiry put off', (text) => change(text, 'expiry', (field) => String(Number(field) + 1))],
    ['tampered', 'an expiry taken out', (text) => change(text, 'expiry', () => '')],
    ['tampered', 'an expiry long past', (text) => change(text, 'expiry', () => '1')],
    ['tampered', 'another MAC salt', (text) => change(text, 'macSalt', flipDigit)],
    ['tampered', 'another MAC', (text) => change(text, 'mac', flipFirst)],
    ['tampered', 'another MAC in bits that encode nothing', (text) => change(text, 'mac', flipLast)],
    ['tampered', 'the id of another password of ours', (text) => change(text, 'id', () => '2')],
    ['tampered', 'an id that is not ours', (text) => change(text, 'id', () => '7')],
    ['unknown_password', 'another salt', (text) => change(text, 'encryptionSalt', flipDigit)],
    ['unknown_password', 'another iv', (text) => change(text, 'iv', flipFirst)],
    ['unknown_password', 'another first block', (text) => change(text, 'ciphertext', flipFirst)],
    ['bad_shape', 'another prefix', (text) => change(text, 'prefix', () => 'Fe26.1')],
    ['bad_shape', 'no id', (text) => change(text, 'id', () => '')],
    ['bad_shape', 'an id of other letters', (text) => change(text, 'id', () => 'ä')],
    ['bad_shape', 'a salt cut short', (text) => change(text, 'macSalt', (field) => field.slice(1))],
    ['bad_shape', 'an iv cut short', (text) => change(text, 'iv', (field) => field.slice(1))],
    ['bad_shape', 'no ciphertext', (text) => change(text, 'ciphertext', () => '')],
    ['bad_shape', 'a MAC cut short', (text) => change(text, 'mac', (field) => field.slice(1))],
    ['bad_shape', 'an expiry that is no number', (text) => change(text, 'expiry', () => '1e9')],
    ['bad_shape', 'a negative expiry', (text) => change(text, 'expiry', () => '-1')],
    ['bad_shape', 'one field too many', (text) => `${text.replace(/~2$/, '')}*x`],
    ['bad_shape', 'a line break at its end', (text) => `${text}\n`],
    ['bad_shape', 'padding', (text) => change(text, 'iv', (field) => `${field}==`)],
    ['bad_shape', 'nothing in it', () => ''],
    ['bad_shape', 'only its prefix', () => 'Fe26.2'],
  ])('is "%s" for %s', async (problem, _, damage) => {
    const under = { 1: password, 2: foreign };
    const text = await sealData(payload, { password: { 1: password }, ttl: 600 });
    expect(open(text, under)).toMatchObject({ ok: true });
    expect(open(damage(text), under)).toEqual({ ok: false, problem });
  });

  it('is "expired_seal" only when the MAC vouches for the expiry', async () => {
    const text = await sealData(payload, { password, ttl: -120 });
    expect(open(text)).toEqual({ ok: false, problem: 'expired_seal' });
    expect(open(text, foreign)).toEqual({ ok: false, problem: 'unknown_password' });
    expect(open(change(text, 'mac', flipFirst))).toEqual({ ok: false, problem: 'tampered' });
  });

  it.each([1, 2])('is "unknown_password" for a seal under another, whatever the id: %i', async (id) => {
    const text = await sealData(payload, { password: { [id]: foreign }, ttl: 0 });
    expect(open(text, { 1: password })).toEqual({ ok: false, problem: 'unknown_password' });
  });

  it('is "bad_shape" when our own password sealed something that is no session', () => {
    expect(open(forge({}))).toMatchObject({ ok: true, value: payload });
    expect(open(forge({ text: 'not JSON' }))).toEqual({ ok: false, problem: 'bad_shape' });
    expect(open(forge({ text: '' }))).toEqual({ ok: false, problem: 'bad_shape' });
    expect(open(forge({ encryptedUnder: foreign }))).toEqual({ ok: false, problem: 'bad_shape' });
  });

  it.each(['soon', '1e99', '-1', '99999999999999.5', ' '])(
    'is "bad_shape" when our own password sealed an expiry that is no time: %j',
    async (expiry) => {
      const text = forge({ expiry });
      expect(open(text)).toEqual({ ok: false, problem: 'bad_shape' });
      await expectAgreement(text);
    },
  );

  it('is a value for whatever has the shape of a seal', () => {
    const hex = fc.string({ unit: fc.constantFrom(...Array.from('0123456789abcdef')), minLength: 64, maxLength: 64 });
    const base64 = (minLength: number, maxLength = minLength) =>
      fc.string({ unit: fc.constantFrom(...Array.from(alphabet)), minLength, maxLength });
    const shaped = fc.tuple(fc.constantFrom('1', '2', '__proto__'), hex, base64(22), base64(22, 90), hex, base64(43));
    fc.assert(
      fc.property(shaped, ([id, encryptionSalt, iv, ciphertext, macSalt, mac]) => {
        const text = ['Fe26.2', id, encryptionSalt, iv, ciphertext, '', macSalt, mac].join('*');
        expect(open(text)).toEqual({ ok: false, problem: 'unknown_password' });
      }),
    );
  });

  it('is a value, whatever the text', () => {
    const parts = fc.oneof(
      fc.string(),
      fc.string({ unit: 'binary' }),
      fc.constantFrom('1', 'a'.repeat(64), '__proto__'),
    );
    const texts = fc.oneof(
      fc.string(),
      fc.string({ unit: 'binary' }),
      fc.array(parts, { minLength: 7, maxLength: 7 }).map((fields) => ['Fe26.2', ...fields].join('*')),
    );
    fc.assert(
      fc.property(texts, (text) => {
        expect(open(text)).toEqual({ ok: false, problem: 'bad_shape' });
      }),
      { numRuns: runs(300) },
    );
  });
});

describe('rotation', () => {
  const [older, newer] = ['the password of last year, long enough', 'the password of this year, long enough'];

  it.each([
    ['2', { 1: older, 2: newer }],
    ['10', { 9: older, 10: newer }],
    ['3', { 3: newer, 1: older, 2: foreign }],
  ])('seals with the highest id, by number: %s', async (id, under) => {
    const text = await seal(payload, under);
    expect(text.split('*')[1]).toBe(id);
    expect(await unsealData(text, { password: { [id]: newer } })).toEqual(payload);
  });

  it('opens with every password, and tells which it was', async () => {
    const [byOlder, byNewer] = [await seal(payload, { 1: older }), await seal(payload, { 2: newer })];
    expect(open(byOlder, { 1: older, 2: newer })).toEqual({ ok: true, value: payload, passwordIndex: 1 });
    expect(open(byNewer, { 1: older, 2: newer })).toEqual({ ok: true, value: payload, passwordIndex: 0 });
    expect(open(byOlder, { 2: newer })).toEqual({ ok: false, problem: 'unknown_password' });
    expect(open(byNewer, { 1: older })).toEqual({ ok: false, problem: 'unknown_password' });
  });

  it('opens with a password that has another id by now', async () => {
    const text = await seal(payload, older);
    expect(text.split('*')[1]).toBe('1');
    expect(open(text, { 1: newer, 2: older })).toEqual({ ok: true, value: payload, passwordIndex: 0 });
    expect(open(text, { 7: older })).toEqual({ ok: true, value: payload, passwordIndex: 0 });
  });

  it('takes a lone password for the one with id 1, as iron-session does', async () => {
    expect(open(await sealData(payload, { password: older, ttl: 0 }), { 1: older, 2: newer })).toMatchObject({
      ok: true,
      passwordIndex: 1,
    });
    expect(open(await seal(payload, { 1: older }), older)).toMatchObject({ ok: true, passwordIndex: 0 });
  });
});

it('recognises its own seals only', async () => {
  expect(sealer.recognises(await seal(payload))).toBe(true);
  for (const text of ['', 'Fe26', 'fe26.2*1', 'AXiOMuWvXHY0dgLlQRI93i9d', ' Fe26.2*1']) {
    expect([text, sealer.recognises(text)]).toEqual([text, false]);
  }
});
