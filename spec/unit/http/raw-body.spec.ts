import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect } from 'node:net';

import { afterEach, describe, expect, it } from '@jest/globals';
import express, { type RequestHandler } from 'express';
import express4 from 'express4';

import { answerTooLarge, type RawBody, readForm, readRawBody } from '../../../lib/http/raw-body.js';
import { eventually } from '../../support/eventually.js';
import { listen, type Listening } from '../../support/http-server.js';

const maxBytes = 1_000;
const open: Listening[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()));
});

/** Reads each body behind these parsers. */
async function serve(create: typeof express, ...parsers: RequestHandler[]) {
  const bodies: RawBody[] = [];
  const app = create();
  for (const parser of parsers) app.use(parser);
  app.post('/raw', async (req, res) => {
    const body = await readRawBody(req, maxBytes);
    bodies.push(body);
    if (body.kind === 'too_large') answerTooLarge(res);
    else res.end(body.kind === 'whole' ? body.bytes : body.kind);
  });
  app.post('/form', async (req, res) => {
    res.end((await readForm(req, maxBytes))?.toString() ?? 'too large');
  });
  const server = await listen((req, res) => {
    (app as unknown as (req: IncomingMessage, res: ServerResponse) => void)(req, res);
  });
  open.push(server);
  const post = async (path: string, type: string, body: string | Buffer) => {
    const init = { method: 'POST', headers: { 'content-type': type }, body: body as never };
    const response = await fetch(`${server.url}${path}`, init);
    return { status: response.status, text: Buffer.from(await response.arrayBuffer()).toString('latin1') };
  };
  return { ...server, post, bodies };
}

const form = 'application/x-www-form-urlencoded';
const json = 'application/json';
const bytes = Buffer.from([0, 255, 13, 10, 128]);

describe.each([
  ['Express 5', express],
  ['Express 4', express4],
])('the body of a request, in %s', (_, create) => {
  it('comes byte for byte', async () => {
    const { post } = await serve(create);
    expect(await post('/raw', 'application/octet-stream', bytes)).toEqual({
      status: 200,
      text: bytes.toString('latin1'),
    });
  });

  it('comes byte for byte behind express.raw() and express.text()', async () => {
    const raw = await serve(create, create.raw({ type: '*/*' }));
    expect((await raw.post('/raw', json, bytes)).text).toBe(bytes.toString('latin1'));
    const text = await serve(create, create.text({ type: '*/*' }));
    expect((await text.post('/raw', json, '{ "a" : 1 }')).text).toBe('{ "a" : 1 }');
  });

  it('comes byte for byte where a framework keeps it as rawBody', async () => {
    const keep = (req: IncomingMessage, _res: unknown, body: Buffer) => Object.assign(req, { rawBody: body });
    const { post } = await serve(create, create.json({ verify: keep }));
    expect((await post('/raw', json, '{ "a" : 1 }')).text).toBe('{ "a" : 1 }');
  });

  it('is said to be parsed where a parser has read it', async () => {
    const { post, bodies } = await serve(create, create.json());
    expect((await post('/raw', json, '{ "a" : 1 }')).text).toBe('parsed');
    expect(bodies).toEqual([{ kind: 'parsed', value: { a: 1 } }]);
  });

  it('comes whole past a parser that leaves its type alone', async () => {
    const { post } = await serve(create, create.json());
    expect((await post('/raw', form, 'a=1')).text).toBe('a=1');
    expect((await post('/form', form, 'a=1&b=2')).text).toBe('a=1&b=2');
  });

  it('is read as a form, parsed before or not', async () => {
    const bare = await serve(create);
    const parsed = await serve(create, create.urlencoded({ extended: false }));
    for (const { post } of [bare, parsed]) expect((await post('/form', form, 'a=1%26&b=2')).text).toBe('a=1%26&b=2');
  });

  it('is refused when it is too large, with an answer, however much comes', async () => {
    const { post } = await serve(create);
    expect((await post('/raw', form, 'a'.repeat(maxBytes))).status).toBe(200);
    expect((await post('/raw', form, 'a'.repeat(maxBytes + 1))).status).toBe(413);
    expect((await post('/raw', form, 'a'.repeat(3_000_000))).status).toBe(413);
    expect((await post('/form', form, 'a'.repeat(3_000_000))).text).toBe('too large');
  });

  it('keeps nobody waiting whose client has gone', async () => {
    const { url, bodies } = await serve(create);
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.write(`POST /raw HTTP/1.1\r\nHost: a\r\nContent-Type: ${form}\r\nContent-Length: 100\r\n\r\nhalf`);
    await once(socket, 'connect');
    socket.end();
    socket.destroy();
    await eventually(() => Promise.resolve(bodies.length > 0));
    expect(bodies).toEqual([{ kind: 'gone' }]);
  });
});
