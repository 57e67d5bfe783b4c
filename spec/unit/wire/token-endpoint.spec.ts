import type { RequestListener } from 'node:http';
import { gzipSync } from 'node:zlib';

import { afterEach, describe, expect, it } from '@jest/globals';

import { type Answer, send } from '../../../lib/wire/token-endpoint.js';
import { createEndpoint } from '../../support/endpoint.js';
import { listen, type Listening } from '../../support/http-server.js';
import { pour } from '../../support/endless.js';

let server: Listening | undefined;
afterEach(() => server?.close());

/** A token endpoint that answers with `handler` and counts its requests. */
async function serve(handler: RequestListener) {
  let requests = 0;
  const listening = await listen((req, res) => {
    requests += 1;
    handler(req, res);
  });
  server = listening;
  return {
    ask: (mayRepeat: boolean, timeoutMs = 20_000): Promise<Answer> =>
      send({ url: listening.url, headers: {}, body: 'grant_type=refresh_token' }, { timeoutMs, mayRepeat }),
    get requests() {
      return requests;
    },
  };
}

const answerWith =
  (status: number, headers: Record<string, string> = {}, body: string | Buffer = '{}'): RequestListener =>
  (_req, res) =>
    res.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(body);

describe.each([true, false])('a connection that fails (mayRepeat: %s)', (mayRepeat) => {
  it('is reported with the code of the system when it is refused', async () => {
    const { url, close } = await listen(() => undefined);
    await close();
    const answer = await send({ url, headers: {}, body: '' }, { timeoutMs: 5_000, mayRepeat });
    expect(answer).toEqual({ kind: 'unanswered', reason: 'network_error', error: 'ECONNREFUSED' });
  });

  it('is reported with the code of the system when it is reset', async () => {
    const endpoint = await serve((req) => req.socket.destroy());
    expect(await endpoint.ask(mayRepeat)).toEqual({
      kind: 'unanswered',
      reason: 'network_error',
      error: 'ECONNRESET',
    });
  });

  it('has no code when the budget ends first', async () => {
    const endpoint = await serve(() => undefined);
    expect(await endpoint.ask(mayRepeat, 200)).toEqual({ kind: 'unanswered', reason: 'timeout', error: undefined });
  });

  it('has no code when the URL is wrong', async () => {
    const answer = await send({ url: '/token', headers: {}, body: '' }, { timeoutMs: 1_000, mayRepeat });
    expect(answer).toEqual({ kind: 'unanswered', reason: 'provider_misconfigured', error: undefined });
  });
});

describe.each([true, false])('an answer larger than 1 MiB (mayRepeat: %s)', (mayRepeat) => {
  it.each([200, 400, 503])('is not read to its end with status %i', async (status) => {
    const endpoint = await serve((_req, res) => {
      pour(res.writeHead(status, { 'Content-Type': 'application/json' }));
    });
    expect(await endpoint.ask(mayRepeat)).toEqual({ kind: 'unanswered', reason: 'server_error' });
    expect(endpoint.requests).toBe(1);
  });

  it.each(['length announced', 'packed'])('is not read to its end: %s', async (how) => {
    const body = Buffer.alloc(20_000_000, ' ');
    const endpoint = await serve(
      how === 'packed' ? answerWith(200, { 'Content-Encoding': 'gzip' }, gzipSync(body)) : answerWith(200, {}, body),
    );
    expect(await endpoint.ask(mayRepeat)).toEqual({ kind: 'unanswered', reason: 'server_error' });
  });

  it('is not confused with a large token: reads 500 KB', async () => {
    const body = { access_token: 'a'.repeat(500_000) };
    const endpoint = await serve(answerWith(200, {}, JSON.stringify(body)));
    expect(await endpoint.ask(mayRepeat)).toMatchObject({ kind: 'answered', status: 200, body });
  });
});

describe('a request that is not answered', () => {
  it('has the code of a refused connection', async () => {
    const { ask } = await serve(answerWith(200, {}));
    await server?.close();
    expect(await ask(false)).toEqual({ kind: 'unanswered', reason: 'network_error', error: 'ECONNREFUSED' });
  });
});

describe('Retry-After', () => {
  // A request waits for two seconds at most. A longer wait is left to the visitor's next request.
  const late = 'Fri, 01 Jan 2100 00:00:00 GMT';
  it.each<[string, number, number, number | undefined]>([
    ['60', 429, 20_000, 60],
    ['60', 503, 20_000, 60],
    ['3600', 429, 20_000, 300],
    [late, 429, 20_000, 300],
    [late, 503, 20_000, 300],
    // These waits are short enough, but too little of the budget is left.
    ['2', 429, 1_500, 2],
    ['2', 503, 1_500, 2],
    ['1', 429, 1_100, 1],
  ])(
    '%s with %i is returned when it does not fit into the remaining %i ms',
    async (header, status, timeoutMs, seconds) => {
      for (const mayRepeat of [true, false]) {
        const endpoint = await serve(answerWith(status, { 'Retry-After': header }));
        expect(await endpoint.ask(mayRepeat, timeoutMs)).toEqual({
          kind: 'answered',
          status,
          body: {},
          retryAfterSeconds: seconds,
        });
        expect(endpoint.requests).toBe(1);
        await server?.close();
      }
    },
  );

  it.each<[string | undefined, number | undefined]>([
    [undefined, undefined],
    ['soon', undefined],
    ['-5', undefined],
    ['', undefined],
    ['0', 0],
    ['Wed, 01 Jan 2020 00:00:00 GMT', 0],
  ])('%s adds no wait: repeats the request where that is allowed', async (header, retryAfterSeconds) => {
    const headers = header === undefined ? {} : { 'Retry-After': header };
    for (const [mayRepeat, requests] of [
      [true, 3],
      [false, 1],
    ] as const) {
      const endpoint = await serve(answerWith(503, headers));
      expect(await endpoint.ask(mayRepeat, 6_000)).toEqual({
        kind: 'answered',
        status: 503,
        body: {},
        retryAfterSeconds,
      });
      expect(endpoint.requests).toBe(requests);
      await server?.close();
    }
  });

  it.each([undefined, '0', '1'])('%s with a 429 is answered by a pause: nothing is repeated', async (header) => {
    const endpoint = await serve(answerWith(429, header === undefined ? {} : { 'Retry-After': header }));
    expect(await endpoint.ask(true)).toMatchObject({ kind: 'answered', status: 429 });
    expect(endpoint.requests).toBe(1);
  });

  it.each(['1', 'in a second'])('of a second is waited for: %s', async (header) => {
    let calls = 0;
    const endpoint = await serve((req, res) => {
      calls += 1;
      const at = new Date(Date.now() + 1_000).toUTCString();
      if (calls === 1) answerWith(503, { 'Retry-After': header === '1' ? header : at })(req, res);
      else answerWith(200, {}, '{"access_token":"at"}')(req, res);
    });
    expect(await endpoint.ask(true)).toMatchObject({ kind: 'answered', status: 200, body: { access_token: 'at' } });
    expect(calls).toBe(2);
  });
});

describe('a storm of requests', () => {
  it.each([
    ['a new connection for each', false, 5],
    ['connections that are used again', true, 0],
  ])('opens at most 128 connections at a time: %s', async (_, mayRepeat, newConnections) => {
    const [most, more] = [128, 5];
    const connections = new Set<unknown>();
    const endpoint = createEndpoint(() => ({ status: 200, body: {} }));
    const { ask } = await serve((req, res) => {
      connections.add(req.socket);
      void endpoint.handle(req, res);
    });
    const hold = endpoint.hold();
    const storm = Array.from({ length: most }, () => ask(mayRepeat));
    await hold.arrived(most);

    // No connection is free for these. They are not sent, and only their budget limits their wait.
    const late = await Promise.all(Array.from({ length: more }, () => ask(mayRepeat, 300)));
    expect(late).toEqual(Array.from({ length: more }, () => ({ kind: 'unanswered', reason: 'timeout' })));
    expect([endpoint.requests.length, connections.size]).toEqual([most, most]);

    hold.release();
    const after = Array.from({ length: more }, () => ask(mayRepeat));
    const answered = (await Promise.all([...storm, ...after])).filter(({ kind }) => kind === 'answered');
    expect([answered.length, connections.size]).toEqual([most + more, most + newConnections]);
  });
});
