import type { IncomingMessage, ServerResponse } from 'node:http';

import { isRecord } from '../json.js';
import { redirect, type Route } from './route.js';

// A code, a state and an issuer. No provider sends more.
const maxBytes = 16_384;

// What a provider answers an authorization request with. Nothing else of a form goes into an address.
const parameters = ['code', 'state', 'iss', 'error'];

/**
 * A callback that takes a form as well (OAuth 2.0 Form Post Response Mode). The form comes from the provider's site, so
 * the browser leaves our Lax flow cookie at home. A 303 makes it come once more with a GET, and then with the cookie.
 */
export function withFormPost(callback: Route, redirectUriOf: (req: IncomingMessage) => string): Route {
  return async (req, res, query) => {
    if (req.method !== 'POST') return callback(req, res, query);
    const form = await readForm(req);
    if (!form) {
      tooLarge(res);
      return;
    }
    const brought = new URLSearchParams();
    for (const name of parameters) for (const value of form.getAll(name)) brought.append(name, value);
    redirect(res, `${redirectUriOf(req)}?${brought.toString()}`);
  };
}

/** The form in the body; undefined when it is larger than any. A parser of the app's may have read it before. */
async function readForm(req: IncomingMessage): Promise<URLSearchParams | undefined> {
  const { body } = req as { body?: unknown };
  if (isRecord(body)) {
    const form = new URLSearchParams();
    for (const [name, value] of Object.entries(body)) if (typeof value === 'string') form.set(name, value);
    return form;
  }
  if (typeof body === 'string') return new URLSearchParams(body);
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) return undefined;
    chunks.push(chunk);
  }
  return new URLSearchParams(Buffer.concat(chunks).toString());
}

function tooLarge(res: ServerResponse): void {
  res.statusCode = 413;
  res.setHeader('Connection', 'close');
  res.end();
}
