import type { IncomingMessage } from 'node:http';

import { SessionConfigError } from '../errors.js';
import { type Mount, RequestSession } from './session-object.js';
import { processWide } from '../process-wide.js';

// The properties under which there are sessions in this process: hardly ever more than one.
const properties = processWide('properties', () => new Set<string>());

function valueAt(req: IncomingMessage, property: string): unknown {
  return (req as unknown as Record<string, unknown>)[property];
}

/**
 * The session that stands under the mount's property on this request. One of the same mount means that it is mounted
 * twice. One of another mount is left behind ours: each judges the request by its own options.
 *
 * @throws {SessionConfigError} `ERR_SESSION_PROPERTY_TAKEN` when something else stands there, or sessions that cannot live
 *   beside ours: taking them for ours would let in the users of another client
 */
export function sessionBefore(req: IncomingMessage, mount: Mount): RequestSession | undefined {
  const { property } = mount;
  const value = valueAt(req, property);
  if (properties.size > 1 || !properties.has(property)) refuseSharedCookie(req, mount);
  if (value === undefined || value === null) return undefined;
  if (!RequestSession.is(value)) {
    throw taken(
      'property',
      `must be changed: something else (express-session?) has already put a "${property}" on the request.`,
    );
  }
  const other = RequestSession.mountOf(value);
  const differing = (['providerId', 'cookieName', 'fleet'] as const).find((part) => other[part] !== mount[part]);
  if (differing === undefined) return value;
  throw taken('property', `must be changed: the sessions on "${property}" have another ${namesOfParts[differing]}.`);
}

const namesOfParts = { providerId: 'provider', cookieName: 'cookie', fleet: 'fleet' };

/**
 * Under one cookie name, each of two providers would replace the sessions of the other, and two fleets would present one
 * refresh token twice.
 *
 * @throws {SessionConfigError}
 */
function refuseSharedCookie(req: IncomingMessage, { cookieName, providerId, fleet }: Mount): void {
  for (const property of properties) {
    const value = valueAt(req, property);
    if (!RequestSession.is(value)) continue;
    const other = RequestSession.mountOf(value);
    if (other.cookieName !== cookieName || (other.providerId === providerId && other.fleet === fleet)) continue;
    const part = other.providerId === providerId ? 'fleet' : 'provider';
    throw taken(
      'cookie.name',
      `must differ: the sessions on "${property}" have another ${part} under the same cookie.`,
    );
  }
}

function taken(path: string, message: string): SessionConfigError {
  return new SessionConfigError([{ path, message }], 'ERR_SESSION_PROPERTY_TAKEN');
}

/** Puts a session on the request. */
export function attach(req: IncomingMessage, property: string, session: RequestSession): void {
  keepPropertiesInTable(req);
  (req as unknown as Record<string, unknown>)[property] = session;
  properties.add(property);
}

/** The session that a mount has put on this request, if it has. */
export function sessionIfAny(req: IncomingMessage, mount: Mount): RequestSession | undefined {
  const value = valueAt(req, mount.property);
  return RequestSession.is(value) ? RequestSession.ofMount(mount, value) : undefined;
}

/**
 * The session that a mount has put on this request.
 *
 * @throws {SessionConfigError} `ERR_SESSION_MIDDLEWARE_MISSING`
 */
export function sessionOf(req: IncomingMessage, mount: Mount): RequestSession {
  const session = sessionIfAny(req, mount);
  if (session) return session;
  if (valueAt(req, mount.property) === null) throw setToNull(mount.property);
  throw missing('must mount these sessions before their guards, routes and get(): app.use(sessions).');
}

/**
 * The one session on this request.
 *
 * @throws {SessionConfigError} `ERR_SESSION_MIDDLEWARE_MISSING` when there is none, or sessions under two properties
 */
export function onlySession(req: IncomingMessage): RequestSession {
  let only: RequestSession | undefined;
  for (const property of properties) {
    const value = valueAt(req, property);
    if (value === null) throw setToNull(property);
    if (!RequestSession.is(value)) continue;
    if (only) {
      throw missing(
        'has put two sessions on this request. Ask the one that is meant: sessions.get(req), sessions.require().',
      );
    }
    only = value;
  }
  if (only) return only;
  throw missing(
    'must mount withSession(options) before whatever uses the session, and nothing may replace the session on the request.',
  );
}

/** In cookie-session, setting the session to null signs out. Here it would only hide the session from this request. */
function setToNull(property: string): SessionConfigError {
  const message = `was set to null, which signs nobody out. Call: await req.${property}.signOut().`;
  const path = `req.${property}`;
  return new SessionConfigError([{ path, message }], 'ERR_SESSION_MIDDLEWARE_MISSING');
}

function missing(message: string): SessionConfigError {
  return new SessionConfigError([{ path: 'app.use', message }], 'ERR_SESSION_MIDDLEWARE_MISSING');
}

// Node 24 brings a V8 in which requests of Express share their hidden classes.
const copiesClasses = Number(process.versions.node.split('.')[0]) < 24;

/**
 * Express sets the prototype of each request. Before Node 24 V8 then copies the request's hidden class for each
 * property that is added, which takes 5 to 10 microseconds. Deleting a property switches the object to dictionary mode,
 * where adding one is cheap. So `res`, which only Express's requests have, is deleted and put back.
 */
function keepPropertiesInTable(req: IncomingMessage & { res?: unknown }): void {
  if (!copiesClasses || !Object.hasOwn(req, 'res')) return;
  const { res } = req;
  if (Reflect.deleteProperty(req, 'res')) req.res = res;
}
