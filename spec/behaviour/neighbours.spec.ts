import { describe, expect, it } from '@jest/globals';
import { getSession, type Session, withSession } from 'express-sealed-session';

import { type Handler, listen } from '../support/apps.js';
import { createBrowser } from '../support/browser.js';
import { toJson } from '../support/session-app.js';
import { useWorkos } from '../support/use-workos.js';
import { cookieHeader, sealedSession, workosOptions } from '../support/workos-session.js';

const workos = useWorkos();

// As packages in JavaScript see it.
/* eslint-disable @typescript-eslint/no-explicit-any, @typescript-eslint/no-unsafe-call */
type Any = Record<string, any>;

/** What `look` finds on the session of a request, signed in or not. */
async function inHandler(look: (session: Any, req: Any) => unknown, { isSignedIn = true } = {}): Promise<unknown> {
  let found: unknown;
  const app = workos.closing(
    await listen((req, res) => {
      withSession(workosOptions(workos.server))(req, res, () => {
        void (async () => {
          found = await look((req as unknown as { session: Any }).session, req);
          res.end();
        })();
      });
    }),
  );
  const { sealed } = await sealedSession(workos.server);
  await createBrowser(app.url).get('/', isSignedIn ? cookieHeader(sealed) : {});
  return found;
}

function thrownBy(run: () => unknown): { name?: string; code?: string; message?: string } {
  try {
    run();
  } catch (error) {
    return error as Error;
  }
  return {};
}

/** Code that is not strict, as that of older packages. */
const sloppily = (code: string, session: unknown) => {
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- modules are always strict
  (new Function('session', code) as (session: unknown) => void)(session);
};

describe('the session beside other packages', () => {
  it.each(['authenticated', 'user', 'claims', 'roles', 'permissions', 'accessToken', 'reason', 'expiresAt'])(
    'refuses to have "%s" set, in sloppy code too',
    async (field) => {
      for (const isSignedIn of [true, false]) {
        const error = await inHandler(
          (session) =>
            thrownBy(() => {
              sloppily(`session.${field} = ['admin']`, session);
            }),
          {
            isSignedIn,
          },
        );
        expect(error).toMatchObject({ name: 'TypeError', message: expect.stringContaining(`session.${field}`) });
      }
    },
  );

  it('takes no new fields', async () => {
    const error = await inHandler((session) => thrownBy(() => (session.views = 1)));
    expect(error).toMatchObject({ name: 'TypeError' });
    expect(
      await inHandler((session) => {
        sloppily('session.views = 1; Object.assign(session, {})', session);
        return 'views' in session;
      }),
    ).toBe(false);
  });

  it('takes its data', async () => {
    const data = await inHandler((session) => {
      session.data.theme = 'dark';
      session.data = { ...session.data, lang: 'en' };
      return session.data;
    });
    expect(data).toEqual({ theme: 'dark', lang: 'en' });
  });

  it.each([
    ['passport', (session: Any) => session.passport?.user],
    ['passport', (session: Any) => (session.passport = {})],
    ['flash', (session: Any) => (session.flash = session.flash ?? {})],
    ['csrfSecret', (session: Any) => session.csrfSecret],
    ['regenerate', (session: Any) => session.regenerate(() => undefined)],
    ['destroy', (session: Any) => session.destroy(() => undefined)],
    ['reload', (session: Any) => session.reload(() => undefined)],
  ])('names the option "property" to what wants session.%s', async (name, use) => {
    for (const isSignedIn of [true, false]) {
      const error = await inHandler((session) => thrownBy(() => use(session) as unknown), { isSignedIn });
      expect(error).toMatchObject({
        code: 'ERR_SESSION_PROPERTY_TAKEN',
        message: expect.stringMatching(new RegExp(`"property".*session\\.${name}`)),
      });
    }
  });

  it('shows in JSON and to Object.keys() what it showed', async () => {
    const shown = await inHandler((session) => [toJson(session as Session), Object.keys(session)]);
    expect(shown).toEqual([
      expect.objectContaining({ authenticated: true, user: expect.objectContaining({ id: 'user_01' }) }),
      [],
    ]);
    const json = (shown as [Any])[0];
    expect(Object.keys(json)).not.toEqual(expect.arrayContaining(['passport']));
  });
});

describe('session.save(callback)', () => {
  const saved = (session: Any) =>
    new Promise((resolve) => {
      void session.save((error: unknown) => {
        resolve(error);
      });
    });

  it('calls back without an error', async () => {
    expect(await inHandler(saved)).toBeUndefined();
    expect(await inHandler(saved, { isSignedIn: false })).toBeUndefined();
  });

  it('calls back with the error', async () => {
    const error = await inHandler((session) => {
      session.data.basket = 'x'.repeat(20_000);
      return saved(session);
    });
    expect(error).toMatchObject({ code: 'ERR_SESSION_COOKIE_TOO_LARGE' });
  });
});

describe('req.session = null', () => {
  it('makes getSession() and sessions.get() say that it signs nobody out', async () => {
    const sessions = withSession(workosOptions(workos.server));
    const errors: unknown[] = [];
    const handle: Handler = (req, res) => {
      sessions(req, res, () => {
        (req as unknown as Any).session = null;
        errors.push(
          thrownBy(() => getSession(req)),
          thrownBy(() => sessions.get(req)),
        );
        res.end();
      });
    };
    const app = workos.closing(await listen((req, res) => handle(req, res, () => undefined)));
    await createBrowser(app.url).get('/', cookieHeader((await sealedSession(workos.server)).sealed));
    const expected = expect.objectContaining({
      code: 'ERR_SESSION_MIDDLEWARE_MISSING',
      message: expect.stringMatching(/"req.session" was set to null.*signOut\(\)/),
    });
    expect(errors).toEqual([expected, expected]);
  });
});
