import { createLifecycle } from './lifecycle.js';
import { managerOf, type SessionManager } from './loaded-session.js';
import type { Config } from './options/config.js';
import type { SessionOptions } from './options/session-options.js';
import { replaceable } from './replaceable.js';
import type { SessionUser, User } from './session/payload.js';

/**
 * The sessions of an app without HTTP, for workers, WebSocket servers and tests. It takes the options of `withSession`
 * and shares its refreshes and endings with it.
 *
 * @throws {SessionConfigError} with everything that is wrong with the options
 * @example
 * const manager = createSessionManager(options);
 * const session = manager.load(sealed);
 * const who = await session.authenticate();
 */
export function createSessionManager<U extends User = SessionUser>(options: SessionOptions<U>): SessionManager<U> {
  const make = ({ life, device }: Config) => managerOf(createLifecycle(life), device);
  return replaceable(options, 'createSessionManager', make) as unknown as SessionManager<U>;
}
