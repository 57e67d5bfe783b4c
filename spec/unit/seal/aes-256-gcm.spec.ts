import { createDecipheriv, randomBytes } from 'node:crypto';

import { expect, it } from '@jest/globals';

import { decrypt, encrypt } from '../../../lib/seal/aes-256-gcm.js';

const key = randomBytes(32);
const text = '{"name":"Zoë"}';

/** A copy with one bit changed. */
function changed(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[0]! ^= 1;
  return copy;
}

it('decrypts what it has encrypted', () => {
  expect(decrypt(key, encrypt(key, text))).toEqual({ ok: true, text });
  expect(decrypt(key, encrypt(key, text, 'a context'), 'a context')).toEqual({ ok: true, text });
});

it('encrypts as node:crypto decrypts, without and with a context', () => {
  for (const context of ['', 'a context']) {
    const { iv, tag, ciphertext } = encrypt(key, text, context);
    expect([iv.length, tag.length]).toEqual([12, 16]);
    const decipher = createDecipheriv('aes-256-gcm', key, iv).setAuthTag(tag);
    if (context !== '') decipher.setAAD(Buffer.from(context));
    expect(decipher.update(ciphertext, undefined, 'utf8') + decipher.final('utf8')).toBe(text);
  }
});

it('takes a new IV for each text', () => {
  expect(encrypt(key, text).iv).not.toEqual(encrypt(key, text).iv);
});

it('refuses another key, another context and a changed part', () => {
  const box = encrypt(key, text, 'a context');
  const refused = [
    decrypt(randomBytes(32), box, 'a context'),
    decrypt(key, box, 'another context'),
    decrypt(key, box),
    decrypt(key, { ...box, iv: changed(box.iv) }, 'a context'),
    decrypt(key, { ...box, tag: changed(box.tag) }, 'a context'),
    decrypt(key, { ...box, ciphertext: changed(box.ciphertext) }, 'a context'),
  ];
  expect(refused.map(({ ok }) => ok)).toEqual(refused.map(() => false));
});

it('refuses a shortened tag', () => {
  const box = encrypt(key, text);
  for (const length of [4, 8, 12, 15]) {
    expect(() => decrypt(key, { ...box, tag: box.tag.subarray(0, length) })).toThrow();
  }
});
