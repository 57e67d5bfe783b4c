import { randomBytes } from 'node:crypto';

import { beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  createSessionManager,
  type Fleet,
  oidc,
  type Provider,
  type Session,
  type SessionOptions,
  type SignedInSession,
  withSession,
  workos,
} from 'express-sealed-session';
import { redisFleet } from 'express-sealed-session/redis';

import { createProcessFleet } from '../../lib/fleet/process-fleet.js';
import { frameworks } from '../support/apps.js';
import { printed } from '../support/printed.js';
import { expired, random, useScanned } from '../support/scanned-app.js';

jest.setTimeout(30_000);

const scanned = useScanned();
const { issue, optionsOf } = scanned;
beforeEach(() => {
  scanned.plantAnswers();
});

function signedIn(session: Session): SignedInSession {
  if (!session.authenticated) throw new Error(`Not signed in: ${session.reason}`);
  return session;
}

/** Hands the session of one request with this seal to a handler, and returns what the handler returns. */
async function visit<Result>(
  sealed: string,
  handle: (session: Session) => Result | Promise<Result>,
  options: SessionOptions = optionsOf(),
): Promise<Result> {
  const sessions = withSession(options);
  let handled: Promise<Result> | undefined;
  const app = await frameworks[0]!.listen((each) => {
    each.use(sessions);
    each.get('/', async (req, res) => {
      handled = Promise.resolve(sessions.get(req)).then(handle);
      await handled.catch(() => undefined);
      res.end();
    });
  });
  scanned.closing(app);
  await scanned.send(app.url, sealed);
  if (!handled) throw new Error('The request has not reached its handler.');
  return handled;
}

describe('a session that is printed or copied', () => {
  /** A value of the app's own in the session: it is not for logs either. */
  const issueWithData = async (overrides?: Parameters<typeof issue>[0]) => {
    const basket = random();
    scanned.scanner.plant("the app's own data", basket);
    return issue(overrides, { more: { data: { basket } } });
  };
  const states: [string, Parameters<typeof issue>[0], (session: Session) => unknown][] = [
    ['as it comes', {}, () => undefined],
    ['refreshed by the middleware', expired, () => undefined],
    ['after refresh()', {}, (session) => session.refresh()],
    ['after its data was read', {}, (session) => signedIn(session).data],
    ['after save()', {}, (session) => signedIn(session).save()],
    [
      'after signIn()',
      {},
      async (session) => {
        const { accessToken, refreshToken } = await issue();
        await session.signIn({ accessToken, refreshToken });
      },
    ],
  ];

  it.each(states)('shows the user and no token, seal or data: %s', async (_, overrides, change) => {
    const { sealed } = await issueWithData(overrides);
    await visit(sealed, async (session) => {
      await change(session);
      // It is there for an app that asks for it by name.
      expect(signedIn(session).accessToken).toMatch(/^eyJ/);
      const prints = printed(session);
      scanned.scanner.watch('a session', ...prints);
      expect(prints[0]).toContain('user_01');
      expect(JSON.parse(JSON.stringify(session))).toMatchObject({ authenticated: true, user: { id: 'user_01' } });
      expect(Object.keys(session)).toEqual([]);
    });
  });

  it('shows the reason and no seal where nobody is signed in', async () => {
    const { sealed } = await issue({}, { under: random() });
    await visit(sealed, (session) => {
      const prints = printed(session);
      scanned.scanner.watch('a session', ...prints);
      expect(prints[0]).toContain('invalid_session_cookie');
    });
  });

  it('shows no token after signOut()', async () => {
    const { sealed } = await issueWithData();
    await visit(sealed, async (session) => {
      await session.signOut();
      scanned.scanner.watch('a session', session, ...printed(session));
      expect(JSON.parse(JSON.stringify(session))).toMatchObject({ authenticated: false, user: null });
    });
  });

  it('shows no token in the TypeError of an assignment', async () => {
    const { sealed, accessToken } = await issueWithData();
    await visit(sealed, async (session) => {
      const error = await scanned.attempt('an assignment', () => {
        Object.assign(session, { accessToken });
      });
      expect(error).toBeInstanceOf(TypeError);
    });
  });
});

describe('what withSession() returns', () => {
  // Each value can be recognized, and each is long enough to be searched for.
  const marked = (name: string) => `${name}-${randomBytes(16).toString('hex')}`;

  function markedOptions(): { options: SessionOptions; values: Record<string, string> } {
    const values = Object.fromEntries(
      [
        ...['password', 'older', 'client', 'secret', 'issuer', 'host', 'property', 'field', 'login', 'callback'],
        ...['logout', 'signed-in', 'signed-out', 'cookie', 'domain', 'replaced', 'header', 'role', 'prefix'],
      ].map((name) => [name, marked(name)]),
    ) as Record<string, string>;
    const at = (name: string) => values[name]!;
    const options: SessionOptions = {
      provider: oidc({
        issuer: `https://id.example.com/${at('issuer')}`,
        clientId: at('client'),
        clientSecret: at('secret'),
      }),
      password: [at('password'), at('older')],
      baseUrl: `https://${at('host')}.example.com`,
      property: at('property'),
      userFields: [at('field')],
      routes: { login: `/${at('login')}`, callback: `/${at('callback')}`, logout: `/${at('logout')}` },
      signIn: { returnTo: `/${at('signed-in')}` },
      signOut: { returnTo: `/${at('signed-out')}` },
      cookie: { name: at('cookie'), domain: `${at('domain')}.example.com`, replaces: [{ name: at('replaced') }] },
      header: at('header'),
      required: { roles: at('role') },
      fleet: redisFleet({ client: { call: () => Promise.resolve(null) }, prefix: at('prefix') }),
      events: scanned.allEvents(),
    };
    return { options, values };
  }

  it.each<[string, (options: SessionOptions) => unknown]>([
    ['the sessions', withSession],
    ['their routes', (options) => withSession(options).routes()],
    ['a guard', (options) => withSession(options).require({ roles: { all: [String(options.userFields)] } })],
    ['a session manager', createSessionManager],
  ])('shows no option: %s', (name, make) => {
    const { options, values } = markedOptions();
    for (const [option, value] of Object.entries(values)) scanned.scanner.plant(option, value);
    const made = make(options);
    // By its accessors too: no member of it leads to an option.
    scanned.scanner.watch(name, made, ...printed(made));
  });
});

describe('a fleet that is printed', () => {
  it('shows none of the tokens that it remembers', async () => {
    const fleet = createProcessFleet();
    const { sealed } = await issue(expired);
    await visit(
      sealed,
      (session) => {
        expect(signedIn(session).refreshed).toBe(true);
      },
      optionsOf({ fleet }),
    );
    await visit(sealed, (session) => session.signOut(), optionsOf({ fleet }));
    scanned.scanner.watch('a fleet', fleet, ...printed(fleet));
    expect(printed(fleet)[0]).toContain('process');
  });

  it('shows neither the client of Redis nor what it was sent', async () => {
    const secret = random();
    scanned.scanner.plant('the password of Redis', secret);
    const sent: string[] = [];
    const client = {
      options: { password: secret },
      call: (...command: string[]) => {
        sent.push(...command);
        return Promise.resolve(null);
      },
    };
    const fleet: Fleet = redisFleet({ client, prefix: `${secret}:` });
    const { sealed } = await issue(expired);
    await visit(sealed, () => undefined, optionsOf({ fleet }));
    expect(sent.join(' ')).toContain(secret);
    scanned.scanner.watch('a fleet', fleet, ...printed(fleet));
    expect(printed(fleet)[0]).toContain('redis');
  });
});

describe('a provider that is printed', () => {
  it('shows neither the API key nor a token: workos()', async () => {
    const { apiKey, server } = scanned;
    const provider = workos({ clientId: server.clientId, apiKey, baseUrl: server.url });
    const { sealed } = await issue(expired);
    await visit(
      sealed,
      (session) => {
        expect(signedIn(session).refreshed).toBe(true);
      },
      optionsOf({ provider }),
    );
    scanned.scanner.watch('a provider', provider, ...printed(provider));
    expect(printed(provider)[0]).toContain('workos');
  });

  it('shows no client secret: oidc(), before and after it was used', async () => {
    const clientSecret = random();
    scanned.scanner.plant('client secret', clientSecret, Buffer.from(`client:${clientSecret}`).toString('base64'));
    const provider: Provider = oidc({ issuer: scanned.server.url, clientId: 'client', clientSecret });
    scanned.scanner.watch('a provider', provider, ...printed(provider));
    // This issuer has no metadata: the error is printed as well.
    expect(
      await scanned.attempt('an error of a provider', () => provider.refreshRequest({ refreshToken: random() })),
    ).toBeInstanceOf(Error);
    scanned.scanner.watch('a provider', provider, ...printed(provider));
  });
});
