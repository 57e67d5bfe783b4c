// First: the package reads NODE_DEBUG when it is loaded.
import { debugLines } from '../support/debugging.js';

import { beforeEach, expect, it } from '@jest/globals';
import { withSession } from 'express-sealed-session';

import { isNamed } from '../../lib/debug.js';
import { fingerprint } from '../../lib/fingerprint.js';
import { listen } from '../support/apps.js';
import { useWorkos } from '../support/use-workos.js';
import { answers } from '../support/workos-server.js';
import { cookieHeader, expired, sealedSession, workosOptions } from '../support/workos-session.js';

const workos = useWorkos();
beforeEach(() => {
  debugLines();
});

async function serve() {
  const { send, url } = await workos.serve();
  return {
    url,
    visit: async (sealed: string, path = '/') => {
      await send(sealed, path);
      return debugLines();
    },
  };
}

it('prints one line for a visitor who is signed in, known or not', async () => {
  const { visit } = await serve();
  const { sealed, sessionId } = await sealedSession(workos.server);
  const line = expect.stringMatching(
    new RegExp(
      `^GET / answer=signed_in seal=${fingerprint(sealed)} sealBytes=${sealed.length} ` +
        `sessionId=${fingerprint(sessionId)} expiresInSeconds=(299|300)$`,
    ),
  );
  expect(await visit(sealed)).toEqual([line]);
  expect(await visit(sealed)).toEqual([line]);
});

it('prints what was wrong, and what the guard made of it', async () => {
  const { visit } = await serve();
  expect(await visit('garbage', '/guarded?token=secret')).toEqual([
    'rejected reason=invalid_session_cookie detail=bad_shape',
    `GET /guarded answer=not_signed_in reason=invalid_session_cookie seal=${fingerprint('garbage')} sealBytes=7`,
    'guard GET /guarded answer=refused status=401 reason=invalid_session_cookie',
  ]);
});

it('prints a refresh, and one that failed with why', async () => {
  const { visit } = await serve();
  const { sealed, sessionId } = await sealedSession(workos.server, expired);
  const session = `sessionId=${fingerprint(sessionId)}`;
  const refreshed = await visit(sealed);
  expect(refreshed).toHaveLength(3);
  expect(refreshed.join('\n')).toMatch(
    new RegExp(`^refreshed ${session} source=leader ahead=false durationMs=\\d+$`, 'm'),
  );
  expect(refreshed.at(-1)).toMatch(/^GET \/ answer=signed_in .* refreshed=true expiresInSeconds=\d+$/);
  workos.server.token.fail(answers.serverError);
  const failed = await visit((await sealedSession(workos.server, expired)).sealed);
  expect(failed[0]).toMatch(/^refreshFailed sessionId=#\w{8} reason=server_error retryable=true status=500/);
});

it('leaves no line out, where events are limited', async () => {
  const { visit } = await serve();
  let rejected = 0;
  for (let visits = 0; visits < 40; visits += 1) {
    rejected += (await visit('garbage')).filter((line) => line.startsWith('rejected')).length;
  }
  expect(rejected).toBe(40);
});

it('prints neither the query nor a person', async () => {
  const { visit } = await serve();
  const { sealed } = await sealedSession(workos.server, { organizationId: 'org_01', lifetimeSeconds: -30 });
  const all = (await visit(sealed, '/?code=abc')).join('\n');
  for (const value of ['code=abc', 'user_01', 'org_01', 'one@example.com', sealed]) expect(all).not.toContain(value);
});

it('prints a path with control characters on one line', async () => {
  const sessions = withSession(workosOptions(workos.server));
  const app = workos.closing(
    await listen((req, res) => {
      // As a rewriting middleware could leave it.
      req.url = '/a\nrejected b';
      sessions(req, res, () => res.end());
    }),
  );
  await fetch(app.url, cookieHeader('garbage'));
  expect(debugLines().filter((line) => line.includes('\n'))).toEqual([]);
});

it.each([
  ['', false],
  ['http', false],
  ['express-sealed-session', true],
  ['http, EXPRESS-SEALED-SESSION ,fs', true],
  ['express-*', true],
  ['express.sealed.session', false],
  ['express-sealed', false],
])('NODE_DEBUG=%j: %s', (value, isOn) => {
  expect(isNamed(value)).toBe(isOn);
});
