import { createProcessFleet } from '../fleet/process-fleet.js';
import { SessionConfigError } from '../errors.js';
import { setSeal } from '../http/cookies.js';
import type { SessionManager } from '../loaded-session.js';
import { type Hold, holdOn, holdsOn } from '../replaceable.js';
import type { User } from '../session/payload.js';
import { type ReadResponse, readResponse, type TestResponse } from './read-response.js';
import { restoreClock, type TestClock, testClock } from './test-clock.js';
import {
  refuseProduction,
  standInFor,
  standOf,
  type TestProviderControls,
  type TestProviderOptions,
} from './test-provider.js';
import type { TestSession } from './test-session.js';

/** The sessions of an app in a test. */
export interface TestSessions {
  /**
   * A cookie for supertest's `.set('Cookie', ...)`: a session that the app takes for its own.
   *
   * @throws {TypeError} naming a field that a session of a test does not have
   * @example
   * const ada = await test.cookie({ user: { id: 'user_ada' }, permissions: ['billing:read'] });
   * await request(app).get('/invoices').set('Cookie', ada).expect(200);
   */
  cookie(session?: TestSession): Promise<string>;
  /**
   * The seal alone, for the option `header` and for `sessions.load()`.
   *
   * @throws {TypeError} naming a field that a session of a test does not have
   * @example
   * await request(app).get('/').set('x-session', await test.seal({ roles: ['admin'] }));
   */
  seal(session?: TestSession): Promise<string>;
  /** What the provider does. */
  readonly provider: TestProviderControls;
  /** What time it is. */
  readonly clock: TestClock;
  /**
   * What a response did to the session: wrote it, cleared it, or left it alone.
   *
   * @param response of supertest or of `fetch`
   * @example
   * const { wrote, session } = await test.read(response);
   */
  read(response: TestResponse): Promise<ReadResponse>;
  /**
   * The app's own provider and fleet, and the real time, are back. From here on, cookies of the test sign nobody in.
   *
   * @example
   * afterAll(() => test.restore());
   */
  restore(): void;
}

/**
 * The app's own sessions in a test. From now on they ask a provider in this process, and their fleet is this process alone:
 * no network, no Redis. So do all others that were made with the same provider object.
 *
 * @param sessions what `withSession()` or `createSessionManager()` returned, of either build of this package
 * @throws {SessionConfigError} when `NODE_ENV` is `production`, or these are no sessions
 * @example
 * const test = testSessions(sessions);
 * await request(app).get('/account').set('Cookie', await test.cookie()).expect(200);
 */
export function testSessions<U extends User>(
  sessions: SessionManager<U>,
  options: TestProviderOptions = {},
): TestSessions {
  refuseProduction();
  const hold = holdOn(sessions);
  if (!hold) throw noSessions();
  const own = standOf(hold.provider);
  const { provider, issue } = own ?? standInFor(hold.provider, options);
  const all: readonly Hold[] = own ? [hold] : holdsOn(hold.provider);
  const fleet = createProcessFleet();
  for (const each of all) each.replace({ provider, fleet });

  const seal = (session: TestSession = {}) => sessions.seal(issue(session), session.data);

  return {
    seal,
    cookie: async (session) => {
      const { cookie } = hold.config().carrier;
      const cookies = setSeal(await seal(session), cookie, undefined);
      if (!cookies) throw new RangeError('The session is too large for cookies: give it less "data".');
      return cookies.map(({ header }) => header.split(';', 1)[0] ?? '').join('; ');
    },
    provider,
    clock: testClock,
    read: (response) => Promise.resolve(readResponse(hold.config(), response)),
    restore: () => {
      for (const each of all) each.replace(undefined);
      restoreClock();
    },
  };
}

function noSessions(): SessionConfigError {
  const message = 'must be what withSession() or createSessionManager() returned, of this version of the package.';
  return new SessionConfigError([{ path: 'testSessions', message }]);
}
