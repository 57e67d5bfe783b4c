import { afterEach, beforeEach } from '@jest/globals';
import type { SessionOptions } from 'express-sealed-session';

import { serveSessions, type SessionApp } from './session-app.js';
import { startWorkosServer, type WorkosServer } from './workos-server.js';
import { workosOptions } from './workos-session.js';

export interface UsedWorkos {
  /** The server of the running test. */
  readonly server: WorkosServer;
  /** Serves the routes of `serveSessions` until the test ends. */
  readonly serve: (options?: Partial<SessionOptions>) => Promise<SessionApp>;
  /** Closes an app of the test's own when the test ends. */
  readonly closing: <App extends { close: () => Promise<unknown> }>(app: App) => App;
}

/** A WorkOS server for each test of the file that calls it, closed afterwards with every app that used it. */
export function useWorkos(): UsedWorkos {
  let server: WorkosServer | undefined;
  let closers: (() => Promise<unknown>)[] = [];

  beforeEach(async () => {
    const started = await startWorkosServer();
    server = started;
    closers = [() => started.close()];
  });
  afterEach(() => Promise.all(closers.map((close) => close())));

  const running = (): WorkosServer => {
    if (!server) throw new Error('There is a server inside a test only.');
    return server;
  };
  const closing: UsedWorkos['closing'] = (app) => {
    closers.push(() => app.close());
    return app;
  };
  return {
    get server() {
      return running();
    },
    closing,
    serve: async (options = {}) => closing(await serveSessions(workosOptions(running(), options))),
  };
}
