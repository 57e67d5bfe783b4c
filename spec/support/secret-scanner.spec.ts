import { describe, expect, it } from '@jest/globals';

import { createSecretScanner } from './secret-scanner.js';

describe('the scanner', () => {
  const secret = 'Zr8-qW3_xT7vLk29mNp4';
  const piece = secret.slice(4, 16);
  const hidden = (value: unknown) => Object.defineProperty(new Error('public'), 'hidden', { value });
  class Private {
    get token() {
      return secret;
    }
  }
  const places: [string, () => unknown][] = [
    ['a text', () => `the token is ${secret}.`],
    ['a piece in a text', () => `…${piece}…`],
    ['the message of an error', () => new Error(secret)],
    ['the cause of the cause of an error', () => new Error('a', { cause: new Error('b', { cause: { x: [secret] } }) })],
    ['the errors of an AggregateError', () => new AggregateError([new Error(secret)], 'several')],
    ['a field that is not enumerable', () => hidden(secret)],
    ['a field that is not enumerable, deep down', () => hidden({ a: [{ b: hidden(piece) }] })],
    ['a field under a Symbol', () => ({ [Symbol('private')]: secret })],
    ['the name of a Symbol', () => ({ [Symbol(secret)]: 1 })],
    ['the name of a field', () => ({ [secret]: 1 })],
    ['a getter', () => Object.defineProperty({}, 'token', { get: () => secret })],
    ['a getter of a class', () => ({ session: new Private() })],
    [
      'what a getter throws',
      () =>
        Object.defineProperty({}, 'x', {
          get: () => {
            throw new Error(secret);
          },
        }),
    ],
    ['a field of a function', () => Object.assign(() => undefined, { secret })],
    ['a Map', () => new Map([[{ a: secret }, 1]])],
    ['a Set', () => ({ all: new Set([secret]) })],
    ['a URL', () => new URL(`https://example.com/?code=${secret}`)],
    ['bytes', () => ({ body: Buffer.from(`token=${secret}`) })],
    ['bytes of an ArrayBuffer', () => new TextEncoder().encode(secret).buffer],
    ['base64', () => Buffer.from(`user:${secret}`).toString('base64')],
    ['base64 within a text', () => `authorization=Basic${Buffer.from(secret).toString('base64')}`],
    ['base64url of base64', () => Buffer.from(Buffer.from(`xy${secret}`).toString('base64')).toString('base64url')],
    ['hex', () => `0x${Buffer.from(secret).toString('hex')}`],
    ['percent-encoding', () => [...Buffer.from(secret)].map((code) => `%${code.toString(16)}`).join('')],
    ['percent-encoded base64', () => encodeURIComponent(Buffer.from(`a${secret}??`).toString('base64'))],
    [
      'escapes of JSON',
      () => JSON.stringify({ a: secret }).replace(/[a-zA-Z]/g, (sign) => `\\u00${sign.charCodeAt(0).toString(16)}`),
    ],
    ['JSON within JSON', () => JSON.stringify({ body: JSON.stringify({ token: secret }) })],
    [
      'a circle',
      () => {
        const circle: Record<string, unknown> = { secret };
        circle.self = circle;
        return circle;
      },
    ],
  ];

  it.each(places)('finds a secret in %s', (_, make) => {
    const scanner = createSecretScanner();
    scanner.plant('token', secret);
    scanner.watch('here', make());
    expect(scanner.leaks()).toEqual(['token in here']);
  });

  it('finds a secret that is planted before or after it was seen, and nothing else', () => {
    const scanner = createSecretScanner();
    scanner.watch('here', { fine: secret.slice(0, 11), also: secret.split('').reverse().join('') });
    scanner.plant('token', secret);
    expect(scanner.leaks()).toEqual([]);
    scanner.watch('there', secret);
    expect(scanner.leaks()).toEqual(['token in there']);
  });

  it('refuses a secret too short to be told from other text', () => {
    expect(() => {
      createSecretScanner().plant('short', 'short');
    }).toThrow('too short');
  });
});
