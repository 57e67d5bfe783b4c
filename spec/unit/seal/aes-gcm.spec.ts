import { execFileSync, spawnSync } from 'node:child_process';
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { describe, expect, it } from '@jest/globals';
import { rubySealer, createSessionManager, type Password, type SealProblem, workos } from 'express-sealed-session';
import fc from 'fast-check';

import { resolveOptions } from '../../../lib/options/config.js';
import { readPasswords } from '../../../lib/seal/passwords.js';
import { createLifecycle } from '../../../lib/lifecycle.js';
import { cookieValues } from '../../../lib/http/cookies.js';
import { runs } from '../../support/fuzz.js';

interface Vector {
  name: string;
  password: string;
  payload: { access_token: string; refresh_token: string; user?: Record<string, unknown>; impersonator?: unknown };
  sealed_v7: string;
  sealed_v6?: string;
}

const vectors = JSON.parse(
  readFileSync(new URL('../../vectors/workos-ruby-seals.json', import.meta.url), 'utf8'),
) as readonly Vector[];

/** Every form in which a recorded seal reaches an app. */
const forms = vectors.flatMap(({ sealed_v7, sealed_v6, ...vector }) => [
  { ...vector, form: 'version 7', sealed: sealed_v7 },
  ...(sealed_v6 === undefined
    ? []
    : [
        { ...vector, form: 'version 6, one line', sealed: sealed_v6 },
        { ...vector, form: 'version 6, as Ruby breaks lines', sealed: brokenLines(sealed_v6) },
      ]),
]);

const sealer = rubySealer();
// Exactly 32 bytes, so that version 6 could use it as a key.
const password = 'a password of thirty-two letters';
const foreign = 'a password that nobody here knows';
const payload = { access_token: 'aaa.bbb.ccc', refresh_token: 'rt_1', user: { id: 'user_01', first_name: 'Zoë' } };

const open = (text: string, under: Password = password) => sealer.open(text, readPasswords(under), Date.now(), '');
const seal = (value: object, under: Password = password) => sealer.seal(value, readPasswords(under), '');
const bytesOf = (text: string) => Buffer.from(text, 'base64');

const provider = workos({ clientId: 'client_01', apiKey: 'sk_test_01' });
/** The payload of a seal, as the life of a session opens it. */
const openSession = (under: Password, sealed: string) =>
  createLifecycle(resolveOptions({ provider, password: under }, 'withSession').life).openNewest([sealed])?.payload;

/** Ruby's `Base64.encode64`. */
function brokenLines(base64: string): string {
  return base64.replace(/.{1,60}/g, '$&\n');
}

// What follows is written from the documented layout of the seals alone, and shares nothing with the code under test
// but node:crypto. (`openssl enc` does not do GCM; further down its counter mode stands in for the decryption.)

const sha256 = (secret: string) => createHash('sha256').update(secret, 'utf8').digest();

/** Version 7: `0x01 | iv(12) | tag(16) | ciphertext`, under the SHA-256 of the password. */
function sealAsRuby7(text: string, secret = password, iv = randomBytes(12)): string {
  const cipher = createCipheriv('aes-256-gcm', sha256(secret), iv);
  const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return Buffer.concat([Buffer.of(1), iv, cipher.getAuthTag(), body]).toString('base64');
}

/** Version 6: `iv(12) | ciphertext | tag(16)`, under the password itself. */
function sealAsRuby6(text: string, secret = password, iv = randomBytes(12)): string {
  const cipher = createCipheriv('aes-256-gcm', Buffer.from(secret), iv);
  const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return brokenLines(Buffer.concat([iv, body, cipher.getAuthTag()]).toString('base64'));
}

/** As Ruby's SDK reads version 7. Throws when the tag does not hold. */
function unsealAsRuby7(sealed: string, secret = password): unknown {
  const bytes = bytesOf(sealed);
  expect(bytes[0]).toBe(1);
  const decipher = createDecipheriv('aes-256-gcm', sha256(secret), bytes.subarray(1, 13));
  decipher.setAuthTag(bytes.subarray(13, 29));
  return JSON.parse(Buffer.concat([decipher.update(bytes.subarray(29)), decipher.final()]).toString('utf8'));
}

const jsonObjects = fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1, maxKeys: 6 });
const throughJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

describe('seals of the Ruby SDK, recorded', () => {
  it('are there, in both layouts', () => {
    expect(forms.map(({ name, form }) => `${name}: ${form}`)).toEqual([
      'plain: version 7',
      'exactly 32 bytes: version 7',
      'exactly 32 bytes: version 6, one line',
      'exactly 32 bytes: version 6, as Ruby breaks lines',
      'no user: version 7',
    ]);
    expect(forms[3]!.sealed).toContain('\n');
  });

  it.each(forms)('open to what was sealed: $name, $form', (vector) => {
    const opened = { ok: true, value: vector.payload, passwordIndex: 0 };
    expect(open(vector.sealed, vector.password)).toEqual(opened);
    // A cookie's value is percent-encoded on the wire, by most.
    const header = `a=b; wos-session=${encodeURIComponent(vector.sealed)}; c=d`;
    expect(cookieValues(header, 'wos-session').map((value) => open(value, vector.password))).toEqual([opened]);
  });

  it.each(forms)('are sessions, with the names of fields that apps use: $name, $form', ({ sealed, ...vector }) => {
    const { access_token: accessToken, refresh_token: refreshToken, user, impersonator } = vector.payload;
    const { first_name: firstName, last_name: lastName, ...rest } = user ?? {};
    expect(openSession(vector.password, sealed)).toEqual({
      accessToken,
      refreshToken,
      ...(user && { user: { ...rest, ...(firstName !== undefined && { firstName, lastName }) } }),
      ...(impersonator !== undefined && { impersonator }),
    });
  });

  it.each(forms)('get as far as their token, which is none: $name, $form', async ({ sealed, password: secret }) => {
    const session = createSessionManager({ provider, password: secret }).load(sealed);
    expect(await session.authenticate()).toEqual({ authenticated: false, reason: 'invalid_jwt', retryable: false });
    expect(session.sealed).toBe(sealed);
  });

  describe.each(forms)('under a wrong password: $name, $form', ({ sealed, password: secret }) => {
    it.each([
      ['another', foreign],
      ['another of 32 bytes', '0123456789abcdef0123456789abcdeX'],
      ['one letter more', `${secret}x`],
      ['upper case', secret.toUpperCase()],
      ['several', { 1: foreign, 2: `${secret} ` }],
    ])('stay shut: %s', async (_, wrong) => {
      expect(open(sealed, wrong)).toEqual({ ok: false, problem: 'unknown_password' });
      const session = createSessionManager({ provider, password: wrong }).load(sealed);
      const answer = { authenticated: false, reason: 'invalid_session_cookie', retryable: false };
      expect([await session.authenticate(), await session.refresh()]).toEqual([answer, answer]);
    });
  });
});

describe('what rubySealer seals', () => {
  it('is read by an independent reader of version 7, with the same value', async () => {
    await fc.assert(
      fc.asyncProperty(
        jsonObjects,
        fc.string({ minLength: 32, maxLength: 60, unit: 'binary' }),
        async (value, secret) => {
          const text = await seal(value, secret);
          expect(JSON.stringify(unsealAsRuby7(text, secret))).toBe(JSON.stringify(throughJson(value)));
          expect(() => unsealAsRuby7(text, foreign)).toThrow(/authenticate/);
        },
      ),
      { numRuns: runs(100) },
    );
  });

  const haveOpenssl = spawnSync('openssl', ['version']).error === undefined;
  (haveOpenssl ? it : it.skip)('is decrypted by the openssl command line', async () => {
    const bytes = bytesOf(await seal(payload));
    const [, key = ''] = /([0-9a-f]{64})\s*$/.exec(
      execFileSync('openssl', ['dgst', '-sha256'], { input: password, encoding: 'utf8' }),
    )!;
    // GCM encrypts as counter mode does, from the iv and the counter 2 on.
    const counter = `${bytes.subarray(1, 13).toString('hex')}00000002`;
    const json = execFileSync('openssl', ['enc', '-d', '-aes-256-ctr', '-K', key, '-iv', counter], {
      input: bytes.subarray(29),
      encoding: 'utf8',
    });
    expect(JSON.parse(json)).toEqual(payload);
  });

  it('is base64 with padding, begins with the version, and has a new iv each time', async () => {
    const texts = await Promise.all(Array.from({ length: 20 }, (_, length) => seal({ a: 'x'.repeat(length) })));
    for (const text of texts) {
      expect(text).toMatch(/^A[Q-Za-f][A-Za-z0-9+/]+={0,2}$/);
      expect(text.length % 4).toBe(0);
    }
    expect(new Set(texts.map((text) => bytesOf(text).subarray(1, 13).toString('hex'))).size).toBe(texts.length);
    expect(new Set(texts.map((text) => /=*$/.exec(text)![0])).size).toBe(3);
  });

  it('is under the SHA-256 of the password, whatever its length, and not under the password itself', async () => {
    const bytes = bytesOf(await seal(payload));
    const decipher = createDecipheriv('aes-256-gcm', Buffer.from(password), bytes.subarray(1, 13));
    decipher.setAuthTag(bytes.subarray(13, 29)).update(bytes.subarray(29));
    expect(() => decipher.final()).toThrow();
    const long = 'ü'.repeat(100);
    expect(unsealAsRuby7(await seal(payload, long), long)).toEqual(payload);
  });

  it('is under the newest password, and opens with every password', async () => {
    const under = { 9: foreign, 10: password };
    expect(unsealAsRuby7(await seal(payload, under))).toEqual(payload);
    expect(open(await seal(payload, under), under)).toEqual({ ok: true, value: payload, passwordIndex: 0 });
    expect(open(await seal(payload, foreign), under)).toEqual({ ok: true, value: payload, passwordIndex: 1 });
    expect(open(sealAsRuby6(JSON.stringify(payload)), under)).toMatchObject({ ok: true, passwordIndex: 0 });
  });
});

describe('either layout', () => {
  it('opens to the same value', () => {
    fc.assert(
      fc.property(jsonObjects, fc.constantFrom(sealAsRuby6, sealAsRuby7), (value, sealAs) => {
        const opened = open(sealAs(JSON.stringify(value)));
        expect(opened.ok && JSON.stringify(opened.value)).toBe(JSON.stringify(throughJson(value)));
      }),
      { numRuns: runs(200) },
    );
  });

  it('opens when the iv of version 6 happens to begin like version 7', () => {
    const iv = Buffer.concat([Buffer.of(1), randomBytes(11)]);
    const text = sealAsRuby6(JSON.stringify(payload), password, iv);
    expect(bytesOf(text)[0]).toBe(1);
    expect(open(text)).toEqual({ ok: true, value: payload, passwordIndex: 0 });
  });

  it('needs a password of 32 bytes for version 6, and says nothing worse than "unknown" without one', () => {
    const text = sealAsRuby6(JSON.stringify(payload));
    expect(open(text, { 1: `${password}x`, 2: password })).toMatchObject({ ok: true, passwordIndex: 0 });
    expect(open(text, `${password}x`)).toEqual({ ok: false, problem: 'unknown_password' });
    // 32 characters, but more bytes.
    expect(open(text, 'ü'.repeat(32))).toEqual({ ok: false, problem: 'unknown_password' });
  });
});

describe('a damaged seal', () => {
  const originals: [string, string][] = [
    ['version 7', sealAsRuby7(JSON.stringify(payload))],
    ['version 6', sealAsRuby6(JSON.stringify(payload))],
  ];

  it.each(originals)('does not open with any one bit turned: %s', (_, text) => {
    expect(open(text).ok).toBe(true);
    const bytes = bytesOf(text);
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      expect([bit, open(changed.toString('base64')).ok]).toEqual([bit, false]);
    }
  });

  it.each(originals)('does not open cut short at either end, or longer: %s', (_, text) => {
    const bytes = bytesOf(text);
    for (let length = 0; length < bytes.length; length += 1) {
      expect([length, open(bytes.subarray(0, length).toString('base64')).ok]).toEqual([length, false]);
      expect([length, open(bytes.subarray(bytes.length - length).toString('base64')).ok]).toEqual([length, false]);
    }
    expect(open(Buffer.concat([bytes, Buffer.of(0)]).toString('base64')).ok).toBe(false);
  });

  // GCM takes tags of 4 to 16 bytes; a short one would be guessed.
  it.each([4, 8, 12, 15])('does not open with a tag of %i bytes', (length) => {
    const bytes = bytesOf(sealAsRuby7(JSON.stringify(payload)));
    const short = Buffer.concat([bytes.subarray(0, 13 + length), bytes.subarray(29)]);
    expect(open(short.toString('base64')).ok).toBe(false);
  });

  it.each<[SealProblem, string, (bytes: Buffer) => Buffer]>([
    ['tampered', 'the end of the ciphertext', (bytes) => flip(bytes, bytes.length - 1)],
    ['tampered', 'the tag', (bytes) => flip(bytes, 13)],
    ['tampered', 'the end cut off', (bytes) => bytes.subarray(0, -1)],
    ['unknown_password', 'the iv', (bytes) => flip(bytes, 1)],
    ['unknown_password', 'the version', (bytes) => flip(bytes, 0)],
    ['bad_shape', 'less than an iv and a tag', (bytes) => bytes.subarray(0, 28)],
    ['bad_shape', 'nothing', () => Buffer.alloc(0)],
  ])('is "%s" for %s', (problem, _, damage) => {
    const bytes = bytesOf(sealAsRuby7(JSON.stringify(payload)));
    expect(open(damage(bytes).toString('base64'))).toEqual({ ok: false, problem });
  });

  it.each(['not JSON', '', 'null', '"text"', '[{}]', '42'])(
    'is no session, when our own password sealed %j',
    (text) => {
      for (const sealAs of [sealAsRuby6, sealAsRuby7]) {
        expect(openSession(password, sealAs(text))).toBeUndefined();
      }
    },
  );
});

describe('whatever the text', () => {
  const texts = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc.base64String({ maxLength: 400 }),
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes).toString('base64')),
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.of(1, ...bytes).toString('base64')),
  );

  it('opening is a value', () => {
    fc.assert(
      fc.property(texts, fc.constantFrom<Password>(password, { 1: foreign, 2: password }), (text, under) => {
        expect(open(text, under).ok).toBe(false);
        expect(openSession(under, text)).toBeUndefined();
      }),
      { numRuns: runs(500) },
    );
  });

  it('a session is a value', async () => {
    const sessions = createSessionManager({ provider, password, sealer: rubySealer() });
    await fc.assert(
      fc.asyncProperty(
        texts.filter((text) => text !== ''),
        async (text) => {
          const session = sessions.load(text);
          const answer = { authenticated: false, reason: 'invalid_session_cookie', retryable: false };
          expect([await session.authenticate(), await session.refresh()]).toEqual([answer, answer]);
          expect(await session.logoutUrl()).toBeUndefined();
        },
      ),
      { numRuns: runs(100) },
    );
  });
});

it('recognises its own seals, and leaves the others to others', async () => {
  expect(sealer.recognises(await seal({}))).toBe(true);
  for (const { sealed } of forms) expect(sealer.recognises(sealed)).toBe(true);
  const [iron] = JSON.parse(readFileSync(new URL('../../vectors/iron-seals.json', import.meta.url), 'utf8')) as [
    { sealed: string },
  ];
  for (const text of ['', 'AQ==', iron.sealed, `${'A'.repeat(60)}*`, `${'A'.repeat(60)}.AAAA`]) {
    expect([text, sealer.recognises(text)]).toEqual([text, false]);
  }
});

function flip(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes);
  changed[at]! ^= 1;
  return changed;
}
