import type { RequestListener } from 'node:http';
import { gzipSync } from 'node:zlib';

import { afterEach, describe, expect, it } from '@jest/globals';

import { getJson } from '../../../lib/wire/answer.js';
import { failureReason } from '../../../lib/wire/failure.js';
import { listen, type Listening } from '../../support/http-server.js';
import { pour } from '../../support/endless.js';

let server: Listening | undefined;
afterEach(() => server?.close());

const json = { 'Content-Type': 'application/json' };

/** What `getJson` makes of this answer: the document, or the reason that there is none. */
async function documentOf(answer: RequestListener): Promise<unknown> {
  server = await listen(answer);
  return getJson(server.url).catch((error: unknown) => failureReason(error));
}

describe('a document', () => {
  it('is read as a JSON object, in chunks or compressed', async () => {
    const text = JSON.stringify({ keys: [], name: 'é'.repeat(70_000) });
    expect(await documentOf((_req, res) => res.writeHead(200, json).end(text))).toEqual(JSON.parse(text));
    await server?.close();
    const packed = { ...json, 'Content-Encoding': 'gzip' };
    expect(await documentOf((_req, res) => res.writeHead(200, packed).end(gzipSync(text)))).toEqual(JSON.parse(text));
  });

  it.each(['', '[]', 'null', '"text"', '<html>', '{'])('is refused when it is not a JSON object: %j', async (text) => {
    expect(await documentOf((_req, res) => res.writeHead(200, json).end(text))).toBe('server_error');
  });

  it.each([
    [302, 'provider_misconfigured'],
    [404, 'provider_misconfigured'],
    [408, 'server_error'],
    [429, 'server_error'],
    [500, 'server_error'],
  ])('with status %i fails as %s', async (status, reason) => {
    const headers = { ...json, location: '/elsewhere' };
    expect(await documentOf((_req, res) => res.writeHead(status, headers).end('{}'))).toBe(reason);
  });

  it('is not read beyond 1 MiB', async () => {
    expect(
      await documentOf((_req, res) => {
        pour(res.writeHead(200, json));
      }),
    ).toBe('server_error');
  });

  it('is not decompressed beyond 1 MiB', async () => {
    const bomb = gzipSync(Buffer.alloc(20_000_000, ' '));
    const packed = { ...json, 'Content-Encoding': 'gzip' };
    expect(await documentOf((_req, res) => res.writeHead(200, packed).end(bomb))).toBe('server_error');
  });
});
