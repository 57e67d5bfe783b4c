import { once } from 'node:events';
import { createServer } from 'node:http';
import { performance } from 'node:perf_hooks';

import { withSession, workos } from 'express-sealed-session';

const password = 'a password for the soak, long enough to be one';

/** An app with one guarded page, and browsers that come with an expired session of their own. */
export async function startGuardedApp(provider, options = {}) {
  const sessions = withSession({
    provider: { ...workos(provider.settings), refreshTokens: 'single-use' },
    password,
    events: { misconfigured: () => undefined },
    ...options,
  });
  const guard = sessions.require();
  const server = createServer((req, res) => {
    const fail = (error) => {
      res.statusCode = error.status ?? 500;
      for (const [name, value] of Object.entries(error.headers ?? {})) res.setHeader(name, value);
      res.end();
    };
    sessions(req, res, (error) => {
      if (error) fail(error);
      else guard(req, res, (refused) => (refused ? fail(refused) : res.end('in')));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${server.address().port}`;

  async function browser(userId) {
    let cookie = await sessions.seal(await provider.issue(userId));
    return {
      userId,
      /** Opens the page: the status, and how long it took. */
      visit: async () => {
        const startedMs = performance.now();
        const response = await fetch(url, { headers: { cookie: `wos-session=${cookie}` } });
        await response.text();
        const written = response.headers.getSetCookie().find((each) => each.startsWith('wos-session='));
        if (written) cookie = written.slice('wos-session='.length).split(';')[0];
        return { status: response.status, tookMs: performance.now() - startedMs };
      },
    };
  }

  return { browser, close: () => server.close() };
}
