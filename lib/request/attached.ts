import type { IncomingMessage } from 'node:http';

import { SessionConfigError } from '../errors.js';
import { RequestSession, type Session } from './session-object.js';

// Under which properties there are sessions in this process: hardly ever more than one.
const properties = new Set<string>();
const propertyKey = Symbol('express-sealed-session property');
const signInPathKey = Symbol('express-sealed-session sign-in path');

interface Marked {
  [propertyKey]?: string;
  [signInPathKey]?: string;
}

/** The session that is ours on this request under this property, if there is one already. */
export function attachedSession(req: IncomingMessage, property: string, origin: string): RequestSession | undefined {
  const value = (req as unknown as Record<string, unknown>)[property];
  if (value === undefined || value === null) return undefined;
  if (RequestSession.is(value) && RequestSession.isFrom(origin, value)) return value;
  // Whatever it is, it was not verified by us, or by another set of options: taking it for a session would let in
  // anyone, or the users of another client.
  throw new SessionConfigError(
    [
      {
        path: 'property',
        message: `must be changed: something else (express-session? withSession with other options?) has already put a "${property}" on the request.`,
      },
    ],
    'ERR_SESSION_PROPERTY_TAKEN',
  );
}

export function attachSession(req: IncomingMessage, property: string, session: RequestSession): void {
  keepPropertiesInTable(req);
  (req as unknown as Record<string, unknown>)[property] = session;
  // Who asks without naming a property gets the session of the last middleware. Noted only where it can be in doubt.
  if (properties.add(property).size > 1) (req as Marked)[propertyKey] = property;
}

// Mended in the V8 of Node 24.
const copiesClasses = Number(process.versions.node.split('.')[0]) < 24;

/**
 * Express sets the prototype of each request. Before Node 24 that gives each a hidden class of its own, of which every
 * property that anybody adds from then on makes a copy, for 5 to 10 microseconds. An object that has lost a property
 * has its properties in a table instead, where one more costs next to nothing. So one is taken away and put back:
 * Express's own `res`, which only its requests have.
 */
function keepPropertiesInTable(req: IncomingMessage & { res?: unknown }): void {
  if (!copiesClasses || !Object.hasOwn(req, 'res')) return;
  const { res } = req;
  if (Reflect.deleteProperty(req, 'res')) req.res = res;
}

/**
 * The session of a request, wherever `property` put it.
 *
 * @throws {SessionConfigError} `ERR_SESSION_MIDDLEWARE_MISSING` when `withSession` has not run for this request
 */
export function getSession(req: IncomingMessage): Session {
  const last = (req as Marked)[propertyKey];
  for (const property of last === undefined ? properties : [last]) {
    const value = (req as unknown as Record<string, unknown>)[property];
    if (RequestSession.is(value)) return value as unknown as Session;
  }
  throw new SessionConfigError(
    [
      {
        path: 'app.use',
        message:
          'must mount withSession(options) before whatever uses the session, and nothing may take the place of the session on the request.',
      },
    ],
    'ERR_SESSION_MIDDLEWARE_MISSING',
  );
}

/** Tells the guards behind `sessionRoutes` where a visitor can sign in. */
export function offerSignIn(req: IncomingMessage, loginPath: string): void {
  (req as Marked)[signInPathKey] = loginPath;
}

export function signInPathOf(req: IncomingMessage): string | undefined {
  return (req as Marked)[signInPathKey];
}
