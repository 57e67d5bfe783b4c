import { createDecipheriv, createHash, randomBytes } from 'node:crypto';

import { expect, it } from '@jest/globals';

import { decryptFresh, encryptFresh, leastBoxBytes, rootKey } from '../../../lib/seal/fresh-key-gcm.js';

const key = randomBytes(32);
const text = Buffer.from('{"name":"Zoë"}');
const context = Buffer.from('a context');

/** As the documentation describes the box, of node:crypto alone. */
function decryptByHand(box: Buffer): Buffer {
  const own = createHash('sha256')
    .update(Buffer.of(0, 0, 0, 1))
    .update(key)
    .update(box.subarray(0, 12))
    .digest();
  const decipher = createDecipheriv('aes-256-gcm', own, box.subarray(12, 24), { authTagLength: 16 });
  decipher.setAAD(context).setAuthTag(box.subarray(-16));
  return Buffer.concat([decipher.update(box.subarray(24, -16)), decipher.final()]);
}

it('decrypts what it has encrypted, with one root or another of the same key', () => {
  const box = encryptFresh(rootKey(key), text, context);
  expect(box.length).toBe(leastBoxBytes + text.length);
  expect(decryptFresh(rootKey(key), box, context)).toEqual({ ok: true, bytes: text });
});

it('encrypts as node:crypto decrypts', () => {
  expect(decryptByHand(encryptFresh(rootKey(key), text, context))).toEqual(text);
  expect(decryptByHand(encryptFresh(rootKey(key), Buffer.alloc(0), context))).toEqual(Buffer.alloc(0));
});

it('takes a new salt and a new IV for each text, and mixes no text up with the one before', () => {
  const root = rootKey(key);
  const boxes = Array.from({ length: 50 }, () => encryptFresh(root, text, context));
  expect(new Set(boxes.map((box) => box.subarray(0, 12).toString('hex'))).size).toBe(50);
  expect(new Set(boxes.map((box) => box.subarray(12, 24).toString('hex'))).size).toBe(50);
  for (const box of boxes.reverse()) expect(decryptFresh(root, box, context).ok).toBe(true);
});

it('refuses another key, another context and any one bit turned', () => {
  const box = encryptFresh(rootKey(key), text, context);
  expect(decryptFresh(rootKey(randomBytes(32)), box, context).ok).toBe(false);
  expect(decryptFresh(rootKey(key), box, Buffer.from('another context')).ok).toBe(false);
  for (let bit = 0; bit < box.length * 8; bit += 1) {
    const changed = Buffer.from(box);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    expect([bit, decryptFresh(rootKey(key), changed, context).ok]).toEqual([bit, false]);
  }
});
