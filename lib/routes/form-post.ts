import type { IncomingMessage } from 'node:http';

import { answerTooLarge, readForm } from '../http/raw-body.js';
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
    const form = await readForm(req, maxBytes);
    if (!form) {
      answerTooLarge(res);
      return;
    }
    const brought = new URLSearchParams();
    for (const name of parameters) for (const value of form.getAll(name)) brought.append(name, value);
    redirect(res, `${redirectUriOf(req)}?${brought.toString()}`);
  };
}
