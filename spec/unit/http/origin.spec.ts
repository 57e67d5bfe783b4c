import type { IncomingMessage } from 'node:http';

import { describe, expect, it } from '@jest/globals';

import { crossOriginCheck, originOf } from '../../../lib/http/origin.js';
import { createSite } from '../../../lib/http/site.js';

type Headers = Readonly<Record<string, string>>;

function headerOf(baseUrls: readonly string[], headers: Headers, method = 'POST', trusted: readonly string[] = []) {
  const site = baseUrls.length === 0 ? undefined : createSite(baseUrls);
  const req = { method, headers: { host: 'app.example.com', ...headers } } as unknown as IncomingMessage;
  return crossOriginCheck(site, baseUrls, trusted)(req);
}

const own = ['https://app.example.com'];
const evil = 'https://evil.example';
const foreign = { origin: evil, 'sec-fetch-site': 'cross-site' };

describe('an unsafe request', () => {
  it.each<[string, Headers, string | undefined]>([
    ['of no browser', {}, undefined],
    ['of the same origin', { 'sec-fetch-site': 'same-origin', origin: own[0]! }, undefined],
    ['of the user alone', { 'sec-fetch-site': 'none' }, undefined],
    ['of another site', foreign, 'sec_fetch_site'],
    ['of a sibling subdomain', { 'sec-fetch-site': 'same-site', origin: 'https://shop.example.com' }, 'sec_fetch_site'],
    ['of another site that hides its origin', { 'sec-fetch-site': 'cross-site' }, 'sec_fetch_site'],
    ['of a site that nobody knows', { 'sec-fetch-site': 'same-origin, none' }, 'sec_fetch_site'],
    ['of a page of the app that calls another host of it', { ...foreign, origin: own[0]! }, undefined],
    ['of a sandboxed page', { 'sec-fetch-site': 'cross-site', origin: 'null' }, 'sec_fetch_site'],
    ['of an older browser on the same origin', { origin: own[0]! }, undefined],
    ['of an older browser on another site', { origin: evil }, 'origin'],
    ['of an older browser on a sibling subdomain', { origin: 'https://shop.example.com' }, 'origin'],
    ['of an older browser on the same host without TLS', { origin: 'http://app.example.com' }, 'origin'],
    ['of an older browser on another port', { origin: 'https://app.example.com:8443' }, 'origin'],
    ['of an older browser in a sandbox', { origin: 'null' }, 'origin'],
    ['whose origin only begins as ours', { origin: 'https://app.example.com.evil.example' }, 'origin'],
    ['with two origins', { origin: `${own[0]!}, ${evil}` }, 'origin'],
    ['whose origin and referrer differ', { origin: evil, referer: `${own[0]!}/page` }, 'origin'],
    ['of a browser that tells the page alone', { referer: `${own[0]!}/page?a=1` }, undefined],
    ['of a page elsewhere', { referer: `${evil}/?${own[0]!}` }, 'referer'],
    ['of a page that cannot be read', { referer: 'about:client' }, 'referer'],
    ['of a page with our name as its user', { referer: 'https://app.example.com@evil.example/' }, 'referer'],
  ])('%s', (_, headers, expected) => {
    expect(headerOf(own, headers)).toBe(expected);
  });

  it('may be the handshake of a WebSocket, which is a GET', () => {
    const upgrade = { upgrade: 'websocket', connection: 'Upgrade' };
    expect(headerOf(own, { ...foreign, ...upgrade }, 'GET')).toBe('sec_fetch_site');
    expect(headerOf(own, { origin: own[0]!, ...upgrade }, 'GET')).toBeUndefined();
    expect(headerOf(own, upgrade, 'GET')).toBeUndefined();
    expect(headerOf(own, foreign, 'GET')).toBeUndefined();
  });

  it.each(['POST', 'PUT', 'PATCH', 'DELETE', 'QUERY', 'TRACE', 'post', 'get', ''])(
    'may have the method "%s"',
    (method) => {
      expect(headerOf(own, foreign, method)).toBe('sec_fetch_site');
    },
  );

  it.each(['GET', 'HEAD', 'OPTIONS'])('is not one with %s', (method) => {
    expect(headerOf(own, foreign, method)).toBeUndefined();
  });
});

describe('the origins of the app', () => {
  const several = ['https://app.example.com', 'https://app.example.org/'];
  const previews = ['https://shop-*.example.com'];

  it.each<[string, string[], string, string, boolean]>([
    ['each of a list', several, 'https://app.example.org', 'app.example.com', true],
    ['no other than those of a list', several, 'https://app.example.net', 'app.example.com', false],
    ['of a pattern the one that was asked', previews, 'https://shop-1.example.com', 'shop-1.example.com', true],
    ["not another one's preview", previews, 'https://shop-2.example.com', 'shop-1.example.com', false],
    ['none of a pattern at a host that it is not for', previews, 'https://shop-1.example.com', 'evil.example', false],
    ['without the path of a baseUrl', ['https://app.example.com/shop'], own[0]!, 'app.example.com', true],
  ])('are %s', (_, baseUrls, origin, host, isOwn) => {
    expect(headerOf(baseUrls, { origin, host })).toBe(isOwn ? undefined : 'origin');
  });

  it.each<[string, string, boolean]>([
    ['https://app.example.com', 'app.example.com', true],
    ['http://app.example.com', 'app.example.com', true],
    ['https://app.example.com', 'app.example.com:443', true],
    ['http://localhost:3000', 'localhost:3000', true],
    ['http://localhost:3001', 'localhost:3000', false],
    ['https://evil.example', 'app.example.com', false],
    ['null', 'app.example.com', false],
    ['null', 'null', false],
    ['nonsense', 'nonsense', false],
    ['file://', '', false],
    ['https://app.example.com', 'a b', false],
  ])('without a baseUrl are those of the host: %s at %s', (origin, host, isOwn) => {
    expect(headerOf([], { origin, host })).toBe(isOwn ? undefined : 'origin');
  });
});

describe('a trusted origin', () => {
  const trusted = ['https://admin.example.com', 'capacitor://localhost'];

  it.each<[Headers, string | undefined]>([
    [{ origin: 'https://admin.example.com', 'sec-fetch-site': 'same-site' }, undefined],
    [{ origin: 'capacitor://localhost', 'sec-fetch-site': 'cross-site' }, undefined],
    [{ origin: 'https://admin.example.com' }, undefined],
    [{ referer: 'https://admin.example.com/page' }, undefined],
    [{ referer: 'capacitor://localhost/page' }, undefined],
    [{ origin: 'https://other.example.com', 'sec-fetch-site': 'same-site' }, 'sec_fetch_site'],
    [{ origin: 'capacitor://elsewhere' }, 'origin'],
    [{ origin: 'null' }, 'origin'],
  ])('sends %j', (headers, expected) => {
    expect(headerOf(own, headers, 'POST', trusted)).toBe(expected);
  });
});

it.each<[string, string | undefined]>([
  ['https://a.example/page', 'https://a.example'],
  ['https://a.example:443', 'https://a.example'],
  ['capacitor://localhost/x', 'capacitor://localhost'],
  ['data:text/html,x', undefined],
  ['nonsense', undefined],
])('the origin of %s is %s', (url, origin) => {
  expect(originOf(url)).toBe(origin);
});
