import type { IncomingMessage } from 'node:http';

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { isCrossSite, isPrefetch, opensPage, requestPath, safeReturnPath } from '../../../lib/http/navigation.js';
import { runs } from '../../support/fuzz.js';

const request = (headers: Record<string, string | undefined> = {}, method = 'GET') =>
  ({ method, headers }) as unknown as IncomingMessage;

const own = 'https://app.example.com';
const home = '/home?from=fallback';

describe('where to return to', () => {
  it.each([
    '/',
    '/page',
    '/page/',
    '/page?a=1&b=2#part',
    '/page?next=https://evil.example/',
    '/page?next=//evil.example',
    '/a//b',
    '/a%2Fb',
    '/%2F%2Fevil.example',
    '/@evil.example',
    '/:80',
    '/javascript:alert(1)',
    `/${'a'.repeat(2_000)}`,
  ])('is a path of our own: %.40s', (path) => {
    expect(safeReturnPath(path, home)).toBe(path);
  });

  it.each([
    ['/a b', '/a%20b'],
    ['/é', '/%C3%A9'],
    ['/a/../b', '/b'],
    ['/./b', '/b'],
  ])('is written as a browser would ask for it: %s', (path, written) => {
    expect(safeReturnPath(path, home)).toBe(written);
  });

  it.each<[string, string | null | undefined]>([
    ['nothing', undefined],
    ['null', null],
    ['an empty string', ''],
    ['no slash', 'page'],
    ['a host of its own', '//evil.example'],
    ['three slashes', '///evil.example'],
    ['a backslash', '/\\evil.example'],
    ['backslashes', '\\\\evil.example'],
    ['a backslash further on', '/a\\b'],
    ['a dot before a host', '/.//evil.example'],
    ['two dots before a host', '/a/..//evil.example'],
    ['an encoded dot before a host', '/%2e//evil.example'],
    ['encoded dots before a host', '/a/%2E%2e//evil.example'],
    ['dots above the root before a host', '/../..//evil.example'],
    ['a tab that browsers drop', '/\t/evil.example'],
    ['a line feed that browsers drop', '/\n/evil.example'],
    ['a carriage return that browsers drop', '/\r/evil.example'],
    ['a tab in front', '\t//evil.example'],
    ['a NUL', '/\u0000/evil.example'],
    ['a header of its own', '/a\r\nSet-Cookie: a=1'],
    ['a space in front', ' //evil.example'],
    ['an absolute URL', 'https://evil.example/'],
    ['our own origin', `${own}/page`],
    ['a scheme without a host', 'https:evil.example'],
    ['a script', 'javascript:alert(1)'],
    ['data', 'data:text/html,<script>alert(1)</script>'],
    ['more than can be kept', `/${'a'.repeat(2_048)}`],
  ])('is the fallback for %s', (_, value) => {
    expect(safeReturnPath(value, home)).toBe(home);
  });

  it.each(['/%0d%0aSet-Cookie:%20a=1', '/%00', '/%09/evil.example', '/%5Cevil.example', '/%0d'])(
    'stays encoded where it was: %s',
    (path) => {
      expect(safeReturnPath(path, home)).toBe(path);
      expect(new URL(path, own).origin).toBe(own);
    },
  );

  it('is never longer than what was asked for may be: it goes into a cookie', () => {
    for (const grows of ['é', ' ', '"']) {
      expect(safeReturnPath(`/${grows.repeat(2_000)}`, home).length).toBeLessThanOrEqual(2_048);
    }
  });

  const pieces = fc.constantFrom(
    ...[
      '/',
      '/',
      '/',
      '\\',
      '.',
      '..',
      '%2e',
      '%2F',
      '%5c',
      '%09',
      '%0d%0a',
      '\t',
      '\r',
      '\n',
      ' ',
      '\u0000',
      '\u007f',
    ],
    ...[
      '@',
      ':',
      ';',
      '?',
      '#',
      '&',
      '=',
      '[',
      ']',
      'evil.example',
      'https:',
      'javascript:',
      'a',
      'é',
      '\u2028',
      '／',
      '。',
    ],
  );
  const segments = fc.constantFrom('/', '//', '.', '..', '%2e', 'a', 'evil.example');
  const attacks = fc.oneof(
    fc.array(segments, { maxLength: 8 }).map((parts) => `/${parts.join('')}`),
    fc.array(pieces, { maxLength: 12 }).map((parts) => `/${parts.join('')}`),
    fc.array(pieces, { maxLength: 12 }).map((parts) => parts.join('')),
    fc.string({ unit: 'binary' }).map((text) => `/${text}`),
    fc.webUrl({ withFragments: true, withQueryParameters: true }),
  );

  it('is on our own origin, whatever was asked for', () => {
    fc.assert(
      fc.property(attacks, (value) => {
        const path = safeReturnPath(value, home);
        expect(new URL(path, own).origin).toBe(own);
        expect(path).toMatch(/^\/(?!\/)[\x21-\x5b\x5d-\x7e]*$/);
        expect(new URL(path, own).href).toBe(own + path);
      }),
      { numRuns: runs(2_000) },
    );
  });

  it('is the same when asked for again', () => {
    fc.assert(
      fc.property(attacks, (value) => {
        const path = safeReturnPath(value, home);
        expect(safeReturnPath(path, '/other')).toBe(path);
      }),
      { numRuns: runs(1_000) },
    );
  });
});

describe('a page is opened', () => {
  const html = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';

  it.each<[boolean, string, Record<string, string>, string]>([
    [true, 'by a navigation', { 'sec-fetch-mode': 'navigate' }, 'GET'],
    [true, 'by a navigation that accepts HTML', { 'sec-fetch-mode': 'navigate', accept: html }, 'GET'],
    [true, 'by a browser that does not say so', { accept: html }, 'GET'],
    [true, 'by asking for its headers', { accept: html }, 'HEAD'],
    [false, 'by a script, whatever it accepts', { 'sec-fetch-mode': 'cors', accept: html }, 'GET'],
    [false, 'by an image', { 'sec-fetch-mode': 'no-cors', accept: 'image/avif,*/*' }, 'GET'],
    [false, 'by a socket', { 'sec-fetch-mode': 'websocket' }, 'GET'],
    [false, 'by a program that takes anything', { accept: '*/*' }, 'GET'],
    [false, 'by a program that wants JSON', { accept: 'application/json' }, 'GET'],
    [false, 'by a program that says nothing', {}, 'GET'],
    [false, 'by a form', { 'sec-fetch-mode': 'navigate', accept: html }, 'POST'],
    [false, 'by a DELETE', { accept: html }, 'DELETE'],
  ])('%s: %s', (expected, _, headers, method) => {
    expect(opensPage(request(headers, method))).toBe(expected);
  });
});

describe('a prefetch', () => {
  it.each<[boolean, Record<string, string>]>([
    [true, { 'sec-purpose': 'prefetch' }],
    [true, { 'sec-purpose': 'prefetch;prerender' }],
    [true, { purpose: 'prefetch' }],
    [true, { 'x-moz': 'prefetch' }],
    [true, { purpose: 'preview' }],
    [false, {}],
    [false, { 'sec-purpose': '' }],
    [false, { purpose: 'prefetched-not' }],
    [false, { 'sec-fetch-mode': 'navigate' }],
  ])('is told: %s for %j', (expected, headers) => {
    expect(isPrefetch(request(headers))).toBe(expected);
  });
});

describe('a request from another site', () => {
  it.each<[boolean, Record<string, string>]>([
    [false, {}],
    [false, { 'sec-fetch-site': 'same-origin' }],
    [false, { 'sec-fetch-site': 'none' }],
    [true, { 'sec-fetch-site': 'same-site' }],
    [true, { 'sec-fetch-site': 'cross-site' }],
    [true, { 'sec-fetch-site': 'cross-site', origin: own }],
    [false, { origin: own }],
    [true, { origin: 'https://evil.example' }],
    [true, { origin: 'http://app.example.com' }],
    [true, { origin: 'https://app.example.com.evil.example' }],
    [true, { origin: 'null' }],
  ])('is told: %s for %j', (expected, headers) => {
    expect(isCrossSite(request(headers), own)).toBe(expected);
  });
});

describe('the path of a request', () => {
  it('is what the browser asked for, also inside a router', () => {
    const pathOf = (fields: object) => requestPath(fields as IncomingMessage);
    expect(pathOf({ url: '/b?c=1' })).toBe('/b?c=1');
    expect(pathOf({ url: '/b?c=1', originalUrl: '/a/b?c=1' })).toBe('/a/b?c=1');
    expect(pathOf({})).toBe('/');
  });
});
