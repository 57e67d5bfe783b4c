import type { Session } from './request/session-object.js';

declare global {
  // eslint-disable-next-line @typescript-eslint/no-namespace -- how Express's types are meant to be added to
  namespace Express {
    interface Request {
      /** There when `withSession` has run, which no type can know: `getSession(req)` says so if it has not. */
      session?: Session;
    }
  }
}
