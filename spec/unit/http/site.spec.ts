import type { IncomingMessage } from 'node:http';

import { describe, expect, it } from '@jest/globals';

import { createSite } from '../../../lib/http/site.js';

const request = (path: string, host = 'app.example.com', more: object = {}) =>
  ({ url: path, originalUrl: path, headers: { host }, ...more }) as unknown as IncomingMessage;

describe('the paths of a site', () => {
  it.each<[string, string | undefined, string, string | undefined, string | undefined]>([
    // baseUrl, base, what the app sees, the part below, what browsers see
    ['https://a.example', undefined, '/login?a=1', '/login?a=1', '/login?a=1'],
    ['https://a.example/', undefined, '/login', '/login', '/login'],
    ['https://a.example/app', undefined, '/app/login', '/login', '/app/login'],
    ['https://a.example/app/', undefined, '/app', '/', '/app'],
    ['https://a.example/app', undefined, '/app?a=1', '?a=1', '/app?a=1'],
    ['https://a.example/app', undefined, '/apple/login', undefined, '/apple/login'],
    ['https://a.example/app', undefined, '/login', undefined, '/login'],
    ['https://a.example/app', '', '/login', '/login', '/app/login'],
    ['https://a.example', '/inner', '/inner/login', '/login', '/login'],
    ['https://a.example', '/inner', '/other', undefined, undefined],
    ['https://a.example/app', '/inner', '/inner/page?x=1', '/page?x=1', '/app/page?x=1'],
  ])('%s with base %s: %s is %s below it, and %s to browsers', (baseUrl, base, seen, below, shown) => {
    const site = createSite([baseUrl], base);
    expect(site.pathBelow(request(seen))).toBe(below);
    expect(site.publicPath(request(seen))).toBe(shown);
  });

  it('are those of the whole app inside a router, and of the request without one', () => {
    const site = createSite(['https://a.example/app']);
    expect(site.pathBelow(request('/login', '', { originalUrl: '/app/login' }))).toBe('/login');
    expect(site.pathBelow(request('/app/login', '', { originalUrl: undefined }))).toBe('/login');
  });
});

describe('the origin of a request', () => {
  it.each<[string[], string, string | undefined]>([
    [['https://a.example'], 'a.example', 'https://a.example'],
    // One origin is the app's, whatever a proxy has made of the header.
    [['https://a.example'], 'backend:8080', 'https://a.example'],
    [['https://a.example', 'https://b.example'], 'b.example', 'https://b.example'],
    [['https://a.example', 'https://b.example'], 'B.Example', 'https://b.example'],
    [['https://a.example', 'https://b.example'], 'b.example:443', 'https://b.example'],
    [['https://a.example', 'https://b.example'], 'b.example:8443', undefined],
    [['https://a.example:8443', 'https://b.example'], 'a.example:8443', 'https://a.example:8443'],
    [['https://a.example', 'https://b.example'], 'evil.example', undefined],
    [['https://a.example', 'https://b.example'], '', undefined],
    [['http://localhost:3000', 'http://shop.localhost:3000'], 'shop.localhost:3000', 'http://shop.localhost:3000'],
    [['https://shop-*.a.example'], 'shop-42.a.example', 'https://shop-42.a.example'],
    [['https://*.a.example'], 'x.a.example', 'https://x.a.example'],
    [['https://*.a.example'], '.a.example', undefined],
    [['https://*.a.example'], 'a.example', undefined],
    [['https://*.a.example'], 'x.y.a.example', undefined],
    [['https://*.a.example'], 'x.a.example.evil.example', undefined],
    [['https://*.a.example'], 'evil.example/x.a.example', undefined],
    [['https://*.a.example'], 'evil.example#.a.example', undefined],
    [['https://*.a.example'], 'x@.a.example', undefined],
    [['https://shop-*.a.example'], 'shop-.a.example', undefined],
  ])('with %j and the host %j is %s', (baseUrls, host, origin) => {
    expect(createSite(baseUrls).originOf(request('/', host))).toBe(origin);
  });

  it('is in the pseudo-header of HTTP/2', () => {
    const site = createSite(['https://a.example', 'https://b.example']);
    const headers = { ':authority': 'b.example' };
    expect(site.originOf({ headers } as unknown as IncomingMessage)).toBe('https://b.example');
  });

  it('is taken from no forwarded header', () => {
    const site = createSite(['https://a.example', 'https://b.example']);
    const headers = { host: 'a.example', 'x-forwarded-host': 'b.example', forwarded: 'host=b.example' };
    expect(site.originOf({ headers } as unknown as IncomingMessage)).toBe('https://a.example');
  });
});
