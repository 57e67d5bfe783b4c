// First: the package reads NODE_DEBUG when it is loaded.
import { debugLines } from '../support/debugging.js';

import { readFileSync } from 'node:fs';

import { afterEach, expect, it } from '@jest/globals';
import { createSessionManager, type SessionOptions, withSession } from 'express-sealed-session';

import { createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { commandLine, withConfig } from '../support/command-line.js';
import { listen } from '../support/http-server.js';
import { useWorkos } from '../support/use-workos.js';
import { answers, type SessionOverrides } from '../support/workos-server.js';
import { expired, sessionCookieOf, workosOptions } from '../support/workos-session.js';

const page = readFileSync(new URL('../../docs/guide/users-are-signed-out.md', import.meta.url), 'utf8');
const clock = useClock();
const workos = useWorkos();
const { token, keys } = { token: () => workos.server.token, keys: () => workos.server.keys };

interface Cause {
  readonly options?: () => Partial<SessionOptions>;
  /** The session of the visitor. */
  readonly session?: SessionOverrides;
  readonly hasNoRefreshToken?: boolean;
  /** What happens after the sign-in. */
  readonly happens?: () => void;
  /** What becomes of the cookie on its way. */
  readonly change?: (sealed: string) => string | undefined;
}

const hour = 3_600;
const longLived = { lifetimeSeconds: 24 * hour };

/** How each cause of the page comes about, by its heading. */
const causes: Record<string, Cause> = {
  'The browser sends no cookie': { change: () => undefined },
  'There is no refresh token': { session: expired, hasNoRefreshToken: true },
  'The key set cannot be had': {
    happens: () => {
      keys().fail({ status: 404, body: {} });
    },
  },
  'The password is another one': { options: () => ({ password: 'n3wPa55word'.repeat(4) }) },
  'The cookie was changed': {
    change: (sealed) => sealed.replace(/.(?=.{5}~2$)/, (letter) => (letter === 'A' ? 'B' : 'A')),
  },
  'The cookie is something else': { change: () => 's%3Aconnect.sid.of-another-package' },
  'The session lay idle': {
    options: () => ({ lifetime: { idleSeconds: hour } }),
    session: longLived,
    happens: () => {
      clock.advance(2 * hour);
    },
  },
  'The session is too old': {
    options: () => ({ lifetime: { absoluteSeconds: hour } }),
    session: longLived,
    happens: () => {
      clock.advance(2 * hour);
    },
  },
  'The session was signed out': {},
  'The provider has ended the session': {
    session: expired,
    happens: () => {
      token().fail(answers.invalidGrant);
    },
  },
  'The provider refuses the client': {
    session: expired,
    happens: () => {
      token().fail(invalidClient);
    },
  },
  'A firewall answers': {
    session: expired,
    happens: () => {
      token().fail({ status: 403, body: '<h1>Blocked</h1>' });
    },
  },
  'The provider fails': {
    session: expired,
    happens: () => {
      token().fail(answers.serverError);
    },
  },
  'The provider answers without tokens': {
    session: expired,
    happens: () => {
      token().fail({ status: 200, body: {} });
    },
  },
  'The provider limits the rate': {
    session: expired,
    happens: () => {
      token().fail({ status: 429, body: {} });
    },
  },
  'The issuer is another one': { session: { claims: { iss: 'https://login.example.com' } } },
};
const invalidClient = { status: 401, body: { error: 'invalid_client' } };

/** The blocks of the page, by their headings. */
const said = new Map(
  page
    .split('\n## The causes\n')[1]!
    .split(/^### /m)
    .slice(1)
    .map((entry) => {
      const [heading = ''] = entry.split('\n');
      const block = /^```text\n([\s\S]*?)^```$/m.exec(entry)?.[1] ?? '';
      const rows = [...block.matchAll(/^(\w+) +(.+)$/gm)].map(([, name, value]) => [name!, value!] as const);
      return [heading, new Map(rows)] as const;
    }),
);

afterEach(() => {
  delete (globalThis as { cliOptions?: unknown }).cliOptions;
});

it('has the causes that are reproduced here, and the tree leads to each', () => {
  expect([...said.keys()]).toEqual(Object.keys(causes));
  const tree = page.split('\n## The tree\n')[1]!.split('\n## ')[0]!;
  const targets = [...tree.matchAll(/\[([^\]]+)\]\(#/g)].map(([, heading]) => heading!);
  expect(targets.sort()).toEqual(Object.keys(causes).sort());
});

it.each(Object.entries(causes))('%s: what the page says', async (heading, cause) => {
  const {
    options: change = (): Partial<SessionOptions> => ({}),
    session = {},
    happens,
    change: changed = (sealed: string) => sealed,
  } = cause;
  const signedInWith = workosOptions(workos.server, { lifetime: change().lifetime ?? {} });
  const options = { ...signedInWith, ...change() };
  const sessions = withSession(options);
  const guard = sessions.require();
  const app = workos.closing(
    await listen((req, res) => {
      sessions(req, res, () => {
        if (req.url === '/out')
          void sessions
            .get(req)
            .signOut()
            .then(() => res.end());
        else {
          guard(req, res, (error) => {
            res.statusCode = (error as { status?: number } | undefined)?.status ?? 200;
            res.end();
          });
        }
      });
    }),
  );

  const { accessToken, refreshToken, user } = await workos.server.issueSession(session);
  const sealed = await createSessionManager(signedInWith).seal({
    accessToken,
    refreshToken: cause.hasNoRefreshToken ? undefined : refreshToken,
    user: { ...user },
  });
  const send = async (path: string, cookie: string | undefined) =>
    createBrowser(app.url).fetch(path, cookie === undefined ? {} : { headers: { cookie: `wos-session=${cookie}` } });
  happens?.();
  if (heading === 'The session was signed out') await send('/out', sealed);
  const cookie = changed(sealed);
  debugLines();
  const answer = await send('/account', cookie);
  const lines = debugLines();

  const fate = sessionCookieOf(answer.setCookies) === '' ? 'cleared' : 'kept';
  const block = said.get(heading)!;
  expect(`${answer.status}, cookie ${fate}`).toBe(block.get('answer'));
  // Between the words of the page may stand others: fingerprints, and how long it took.
  const has = (words: string) => lines.some((line) => words.split(' ').every((word) => line.split(' ').includes(word)));
  expect([lines, block.get('event'), has(block.get('event')!)]).toEqual([lines, block.get('event'), true]);
  expect([lines, block.get('line'), has(block.get('line')!)]).toEqual([lines, block.get('line'), true]);

  if (cookie === undefined) {
    expect(block.get('inspect')).toBe('nothing to inspect');
    return;
  }
  (globalThis as { cliOptions?: unknown }).cliOptions = options;
  const { out } = await commandLine(['inspect', ...withConfig], { stdin: `Cookie: wos-session=${cookie}` });
  expect(out).toContain(`A request would be: ${block.get('inspect')}`);
});
