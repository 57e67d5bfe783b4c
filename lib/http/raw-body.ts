import type { IncomingMessage, ServerResponse } from 'node:http';

import { isRecord } from '../json.js';

/** The body of a request. */
export type RawBody =
  /** As it was sent, byte for byte. */
  | { readonly kind: 'whole'; readonly bytes: Buffer }
  /** A parser of the app's has read it before, and this is what it made of it. */
  | { readonly kind: 'parsed'; readonly value: unknown }
  | { readonly kind: 'too_large' }
  /** The client has gone before all of it came. */
  | { readonly kind: 'gone' };

/**
 * Reads the body of a request, up to `maxBytes`. Also where a parser was before: `express.raw()` leaves the bytes as
 * `body`, and several frameworks keep them as `rawBody`.
 */
export async function readRawBody(req: IncomingMessage, maxBytes: number): Promise<RawBody> {
  const { body, rawBody } = req as { readonly body?: unknown; readonly rawBody?: unknown };
  for (const kept of [rawBody, body]) {
    if (Buffer.isBuffer(kept)) return { kind: 'whole', bytes: kept };
    if (typeof kept === 'string') return { kind: 'whole', bytes: Buffer.from(kept) };
  }
  // A parser that does not know the type of a body may set an empty `body` and leave the stream alone.
  if (req.readableDidRead) return { kind: 'parsed', value: body };
  const read = await readStream(req, maxBytes);
  // Some adapters have the parsed body alone.
  return read.kind === 'whole' && read.bytes.length === 0 && body !== undefined
    ? { kind: 'parsed', value: body }
    : read;
}

/** By events: leaving a loop over the stream would destroy the socket, and with it the answer. */
function readStream(req: IncomingMessage, maxBytes: number): Promise<RawBody> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const done = (result: RawBody) => {
      req.off('data', take).off('end', end).off('close', gone);
      resolve(result);
    };
    const take = (chunk: Buffer) => {
      bytes += chunk.length;
      chunks.push(chunk);
      if (bytes <= maxBytes) return;
      done({ kind: 'too_large' });
      // What still comes is dropped, so that the client reads the answer rather than a broken connection.
      req.resume();
    };
    const end = () => {
      done({ kind: 'whole', bytes: Buffer.concat(chunks) });
    };
    const gone = () => {
      done({ kind: 'gone' });
    };
    if (req.destroyed) gone();
    // An error is followed by `close`; without a listener it would end the process.
    else
      req
        .on('error', () => undefined)
        .on('close', gone)
        .on('end', end)
        .on('data', take);
  });
}

/** The form in a body; undefined when it is too large. A parser of the app's may have read it before. */
export async function readForm(req: IncomingMessage, maxBytes: number): Promise<URLSearchParams | undefined> {
  const body = await readRawBody(req, maxBytes);
  if (body.kind === 'too_large') return undefined;
  if (body.kind === 'whole') return new URLSearchParams(body.bytes.toString());
  const form = new URLSearchParams();
  if (body.kind === 'gone' || !isRecord(body.value)) return form;
  for (const [name, value] of Object.entries(body.value)) if (typeof value === 'string') form.set(name, value);
  return form;
}

/** 413. The rest of the body is still on its way, so the connection is of no use to the next request. */
export function answerTooLarge(res: ServerResponse): void {
  res.statusCode = 413;
  // HTTP/2 has no such header: there the body is a stream of its own.
  if (res.req.httpVersionMajor < 2) res.setHeader('Connection', 'close');
  res.end();
}
