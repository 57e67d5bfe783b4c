import type { Session } from './request/session.js';

declare global {
  // eslint-disable-next-line @typescript-eslint/no-namespace -- how Express's types are meant to be added to
  namespace Express {
    interface Request {
      /** There when the middleware has run, which no type can know: `sessions.get(req)` says so if it has not. */
      session: Session;
    }
  }
}
