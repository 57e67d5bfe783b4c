import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { WorkOS } from '@workos-inc/node';
import { type AuthKitConfig, AuthService, CookieSessionStorage, sessionEncryption } from '@workos/authkit-session';
import {
  createSessionManager,
  type Password,
  rubySealer,
  type SessionOptions,
  withSession,
} from 'express-sealed-session';
import { getIronSession as getIronSession8, unsealData } from 'iron-session';
import { getIronSession as getIronSession9, sealData as sealData9, unsealData as unsealData9 } from 'iron-session9';
import { WorkOS as WorkOS11 } from 'workos-node11';

import { frameworks } from '../support/apps.js';
import { type Browser, createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { type Listening, listen } from '../support/http-server.js';
import { serveSessions, type SessionApp } from '../support/session-app.js';
import { type SessionOverrides, startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { cookieHeader, expired, password, sessionCookieOf, workosOptions } from '../support/workos-session.js';

type Payload = Record<string, unknown> & { accessToken: string; refreshToken: string };

/** What an app learns of a session; `undefined` when it is not signed in. */
interface Seen {
  user: unknown;
  sessionId: unknown;
  organizationId: unknown;
  impersonator: unknown;
  accessToken: unknown;
}

/** Another package that reads and writes the cookie, as an app uses it. */
interface Peer {
  name: string;
  /** Seals a session as a sign-in does. */
  seal: (overrides?: SessionOverrides) => Promise<string>;
  /** Who is signed in, by this package. */
  open: (sealed: string) => Promise<Seen | undefined>;
  /** The package's own refresh, where it has one: the new cookie. */
  refresh?: (sealed: string) => Promise<string | undefined>;
  /** Fields of the payload that this package leaves out. */
  omits: readonly string[];
  /** Whether it reads a seal that has lost its `~2`. Ours always have it. */
  needsSuffix?: boolean;
}

const clock = useClock();
const impersonator = { email: 'admin@example.com', reason: 'A ticket' };
/** A session with everything in it. */
const full: SessionOverrides = {
  user: { first_name: 'Zoë', last_name: '日本', external_id: 'ext_1', metadata: { plan_name: 'pro' } },
  organizationId: 'org_01',
  impersonator,
};
const fullUser = { id: 'user_01', firstName: 'Zoë', lastName: '日本', externalId: 'ext_1', emailVerified: true };

let server: WorkosServer;
let app: SessionApp;
const open: { close: () => Promise<unknown> }[] = [];

beforeAll(async () => {
  server = await startWorkosServer();
  app = await serveSessions(workosOptions(server));
  open.push(server, app);
});
afterAll(() => Promise.all(open.map((each) => each.close())));
beforeEach(() => {
  server.token.heal();
});

/** The tokens of a new session, from the token endpoint, whose access token has the given lifetime. */
async function issued(overrides: SessionOverrides): Promise<{ refreshToken: string; restore: () => void }> {
  const { refreshToken } = await server.issueSession(overrides);
  const { lifetimeSeconds } = server;
  server.lifetimeSeconds = overrides.lifetimeSeconds ?? lifetimeSeconds;
  return {
    refreshToken,
    restore: () => {
      server.lifetimeSeconds = lifetimeSeconds;
    },
  };
}

// The SDK keeps the keys that it has seen; each peer below has an SDK of its own, as another app would.
const sdk = () => new WorkOS(server.apiKey, sdkOptions());
const sdk11 = () => new WorkOS11(server.apiKey, sdkOptions());

function sdkOptions() {
  return {
    clientId: server.clientId,
    apiHostname: '127.0.0.1',
    https: false,
    port: Number(new URL(server.url).port),
    fetchFn: fetchHere,
  };
}

/**
 * Newer versions of Iron seal plain objects only, and know them by their prototype; Jest's is another than that of what
 * `fetch` has parsed.
 */
const fetchHere: typeof fetch = async (url, init) => {
  const response = await fetch(url, init);
  return Object.assign(response, { json: async () => JSON.parse(await response.text()) });
};

function workosSdk(name: string, make: () => WorkOS | WorkOS11): Peer {
  const load = (sessionData: string) =>
    make().userManagement.loadSealedSession({ sessionData, cookiePassword: password });
  return {
    name,
    seal: async (overrides = {}) => {
      const { refreshToken, restore } = await issued(overrides);
      const { sealedSession } = await make().userManagement.authenticateWithRefreshToken({
        clientId: server.clientId,
        refreshToken,
        session: { sealSession: true, cookiePassword: password },
      });
      restore();
      return sealedSession!;
    },
    open: async (sealed) => {
      const auth = await load(sealed).authenticate();
      return auth.authenticated
        ? { ...auth, impersonator: auth.impersonator, organizationId: auth.organizationId }
        : undefined;
    },
    refresh: async (sealed) => {
      const refreshed = await load(sealed).refresh();
      return refreshed.authenticated ? refreshed.sealedSession : undefined;
    },
    omits: [],
  };
}

const workosNode = workosSdk('@workos-inc/node 8', sdk);
const workosNode11 = workosSdk('@workos-inc/node 11', sdk11);

class HeaderStorage extends CookieSessionStorage<Request, Response> {
  override getCookie(request: Request, name: string): Promise<string | null> {
    const cookies = (request.headers.get('cookie') ?? '').split('; ').map((pair) => pair.split('='));
    const value = cookies
      .find(([one]) => one === name)
      ?.slice(1)
      .join('=');
    return Promise.resolve(value === undefined ? null : decodeURIComponent(value));
  }
}

function authkit(): AuthService<Request, Response> {
  const config: AuthKitConfig = {
    clientId: server.clientId,
    apiKey: server.apiKey,
    redirectUri: 'https://app.example.com/callback',
    cookiePassword: password,
    cookieName: 'wos-session',
    apiHttps: false,
    cookieMaxAge: 34_560_000,
    apiHostname: '127.0.0.1',
  };
  return new AuthService(config, new HeaderStorage(config), sdk(), sessionEncryption);
}

const requestWith = (sealed: string) => new Request('https://app.example.com/', cookieHeader(sealed));

const authkitSession: Peer = {
  name: '@workos/authkit-session',
  seal: async (overrides = {}) => {
    const { refreshToken, restore } = await issued(overrides);
    const { refreshedSessionData } = await authkit().withAuth(
      requestWith(await sessionEncryption.sealData({ accessToken: 'a.b.c', refreshToken }, { password })),
    );
    restore();
    return refreshedSessionData!;
  },
  open: async (sealed) => {
    const { auth, refreshedSessionData } = await authkit().withAuth(requestWith(sealed));
    expect(refreshedSessionData).toBeUndefined();
    return auth.user === null
      ? undefined
      : { ...auth, organizationId: auth.organizationId, impersonator: auth.impersonator };
  },
  refresh: async (sealed) => (await authkit().withAuth(requestWith(sealed))).refreshedSessionData,
  omits: ['organizationId', 'authenticationMethod'],
};

/** iron-session as apps use it beside the SDK: the fields of the authentication response, saved as a session. */
function ironSession(name: string, getIronSession: typeof getIronSession8, ttl: number | undefined): Peer {
  const options = { cookieName: 'wos-session', password, ...(ttl !== undefined && { ttl }) };
  return {
    name,
    seal: async (overrides = {}) => {
      const { refreshToken, restore } = await issued(overrides);
      const answer = await sdk().userManagement.authenticateWithRefreshToken({
        clientId: server.clientId,
        refreshToken,
      });
      restore();
      const response = new Response();
      const session = await getIronSession<Record<string, unknown>>(
        new Request('https://app.example.com/'),
        response,
        options,
      );
      Object.assign(session, answer);
      await session.save();
      return sessionCookieOf(response.headers.getSetCookie())!;
    },
    // It knows no tokens, so it is "signed in" when there is one.
    open: async (sealed) => {
      const session = await getIronSession<Payload>(requestWith(sealed), new Response(), options);
      const { user, accessToken, organizationId, impersonator: by } = session;
      if (!('accessToken' in session)) return undefined;
      return { user, accessToken, organizationId, impersonator: by, sessionId: undefined };
    },
    omits: [],
  };
}

const ironSession8: Peer = { ...ironSession('iron-session 8', getIronSession8, 0), needsSuffix: true };
const ironSession9 = ironSession('iron-session 9, with an expiry in the seal', getIronSession9, undefined);
const peers = [workosNode, workosNode11, authkitSession, ironSession8, ironSession9];
const refreshing = peers.filter((peer): peer is Required<Peer> => peer.refresh !== undefined);

/** As any reader of Iron seals opens it. */
async function payloadOf(sealed: string): Promise<Payload> {
  return unsealData<Payload>(decodeURIComponent(sealed), { password, ttl: 0 });
}

function omit(value: object, ...fields: string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([field]) => !fields.includes(field)));
}

const withoutSuffix = (sealed: string) => sealed.replace(/~2$/, '');
const suffixes: [string, (sealed: string) => string][] = [
  ['with its suffix', (sealed) => sealed],
  ['without its suffix', withoutSuffix],
];

/** Ours, sealed as `signIn` does it, with everything that we ever add. */
const everything = (): SessionOptions =>
  workosOptions(server, { lifetime: { absoluteSeconds: 86_400, idleSeconds: 3_600 }, cache: false });

describe.each(peers)('a cookie of $name', (peer) => {
  it.each(suffixes)('is a session here, %s', async (_, change) => {
    const sealed = change(await peer.seal(full));
    const page = await app.send(sealed, '/guarded');
    expect(page.json).toMatchObject({
      authenticated: true,
      refreshed: false,
      user: fullUser,
      organizationId: 'org_01',
      role: 'member',
      impersonator,
    });
    expect(page.setCookies).toEqual([]);
  });

  it('lacks only the fields that its writer leaves out', async () => {
    const payload = await payloadOf(await peer.seal(full));
    const all = ['accessToken', 'refreshToken', 'user', 'impersonator', 'organizationId', 'authenticationMethod'];
    expect(all.filter((field) => !(field in payload))).toEqual(peer.omits);
  });

  it.each(suffixes)('is refreshed here when it has expired, and stays a session there, %s', async (_, change) => {
    const old = await peer.seal({ ...full, ...expired });
    const page = await app.send(change(old), '/guarded');
    expect(page.json).toMatchObject({ authenticated: true, refreshed: true, user: fullUser, impersonator });
    expect(server.tokenRequests.at(-1)!.body).toMatchObject({ grant_type: 'refresh_token', organization_id: 'org_01' });

    const sealed = sessionCookieOf(page.setCookies)!;
    const payload = await payloadOf(sealed);
    expect(payload).toMatchObject({ organizationId: 'org_01', authenticationMethod: 'Impersonation', impersonator });
    expect(payload.refreshToken).not.toBe((await payloadOf(old)).refreshToken);
    expect(sealed).toMatch(/~2$/);
    for (const text of peer.needsSuffix ? [sealed] : [sealed, withoutSuffix(sealed)]) {
      expect(await peer.open(text)).toMatchObject({
        user: fullUser,
        organizationId: 'org_01',
        impersonator,
        accessToken: payload.accessToken,
      });
    }
  });

  it('is not opened with another password, here or there', async () => {
    const sealed = await sealData9(await payloadOf(await peer.seal()), { password: `another ${password}`, ttl: 0 });
    const page = await app.send(sealed);
    expect(page.json).toMatchObject({ authenticated: false, reason: 'invalid_session_cookie' });
    expect(page.setCookies).toEqual([]);
    expect(await peer.open(sealed)).toBeUndefined();
  });
});

it('refuses a seal that has expired itself, as iron-session 9 does', async () => {
  const payload = await payloadOf(await workosNode.seal(full));
  for (const [ttl, authenticated] of [
    [600, true],
    [-120, false],
  ] as const) {
    const sealed = await sealData9(payload, { password, ttl });
    expect((await app.send(sealed)).json.authenticated).toBe(authenticated);
    expect((await ironSession9.open(sealed)) !== undefined).toBe(authenticated);
  }
});

describe('recorded seals of iron-session', () => {
  const vectors = JSON.parse(readFileSync(new URL('../vectors/iron-seals.json', import.meta.url), 'utf8')) as readonly {
    name: string;
    password?: string;
    passwords?: Record<string, string>;
    sealed: string;
  }[];
  const seals = vectors.map(({ name, password: single, passwords, sealed }) => {
    const right = single ?? passwords![sealed.split('*')[1]!]!;
    return {
      name,
      sealed,
      right,
      all: single ?? passwords!,
      others: Object.values(passwords ?? {}).filter((each) => each !== right),
    };
  });

  beforeEach(() => {
    // One of them has an expiry, 400 days later.
    clock.advance((Date.UTC(2026, 10, 23) - Date.now()) / 1000);
  });

  const answers = async (sealed: string, under: Password) => {
    const session = createSessionManager(workosOptions(server, { password: under })).load(sealed);
    return [await session.authenticate(), await session.refresh()];
  };

  it.each(seals)('are opened, and hold no token that is valid: $name', async ({ sealed, right, all }) => {
    const invalid = { authenticated: false, reason: 'invalid_jwt', retryable: false };
    for (const under of [all, right, { 7: right }]) expect((await answers(sealed, under))[0]).toEqual(invalid);
  });

  it.each(seals)('are no session under a wrong password: $name', async ({ sealed, right, others }) => {
    const foreign = 'a password that was never used to seal';
    const invalid = { authenticated: false, reason: 'invalid_session_cookie', retryable: false };
    const wrong = [
      foreign,
      `${right}x`,
      right.slice(0, -1),
      right.toUpperCase(),
      { 1: foreign, 2: `${right} ` },
      ...others,
    ];
    for (const under of wrong) expect([under, ...(await answers(sealed, under))]).toEqual([under, invalid, invalid]);
  });
});

describe.each(peers)('our cookie in $name', (peer) => {
  const ownCookie = async (overrides: SessionOverrides): Promise<string> =>
    createSessionManager(everything()).seal(await payloadOf(await workosNode.seal(overrides)));

  it.each(peer.needsSuffix ? suffixes.slice(0, 1) : suffixes)(
    'is a session, %s, also with the fields that we add',
    async (_, change) => {
      const sealed = await ownCookie(full);
      expect(await payloadOf(sealed)).toMatchObject({
        sessionId: expect.any(String),
        startedAt: expect.any(Number),
        usedAt: expect.any(Number),
      });
      expect(await peer.open(change(sealed))).toMatchObject({
        user: fullUser,
        organizationId: 'org_01',
        impersonator,
      });
    },
  );

  it('is a session with the app’s own data in it, before and after our refresh', async () => {
    const own = await listenWithData();
    const browser = createBrowser(own.url);
    browser.jar.set(own.url, `wos-session=${await ownCookie({ ...full, lifetimeSeconds: 200 })}; Path=/`);
    await browser.get('/keep');
    for (const seconds of [0, 190, 280]) {
      clock.advance(seconds);
      const { json } = await browser.get('/');
      expect(json).toMatchObject({ refreshed: seconds > 0, data: { basket: [1, 2], access_token: 'of the app' } });
      const sealed = browser.jar.get('wos-session')!;
      expect(await payloadOf(sealed)).toMatchObject({ data: { basket: [1, 2] }, usedAt: expect.any(Number) });
      expect(await peer.open(sealed)).toMatchObject({ user: fullUser, organizationId: 'org_01', impersonator });
    }
  });
});

async function listenWithData(): Promise<Listening> {
  const own = await frameworks[0]!.listen((each) => {
    const sessions = withSession(everything());
    each.use(sessions);
    each.get('/keep', async (req, res) => {
      const session = sessions.signedIn(req);
      session.data = { basket: [1, 2], access_token: 'of the app' };
      await session.save();
      res.end();
    });
    each.get('/', (req, res) => {
      const { refreshed, data } = sessions.signedIn(req);
      res.end(JSON.stringify({ refreshed, data }));
    });
  });
  open.push(own);
  return own;
}

describe('a refresh here', () => {
  const refreshed = async (sealed: string): Promise<Payload> =>
    payloadOf(sessionCookieOf((await app.send(sealed, '/guarded')).setCookies)!);

  it('keeps unknown fields', async () => {
    const answer = await payloadOf(await ironSession8.seal({ ...full, ...expired }));
    const unknown = {
      oauthTokens: { accessToken: 'of GitHub', scopes: ['repo'], expiresAt: 1 },
      favourite_colour: 'green',
      sealedBy: 'another',
      nothing: [],
      deep: { access_token: { expires_at: 1 } },
    };
    expect(await refreshed(await sealData9({ ...answer, ...unknown }, { password, ttl: 0 }))).toMatchObject(unknown);
  });

  it.each<[string, (payload: Payload) => Record<string, unknown>]>([
    ['no organization', (payload) => omit(payload, 'organizationId')],
    ['no authentication method', (payload) => omit(payload, 'authenticationMethod')],
    ['no user', (payload) => omit(payload, 'user')],
    ['none of the three', ({ accessToken, refreshToken }) => ({ accessToken, refreshToken })],
    [
      'nulls in their place',
      (payload) => ({ ...payload, organizationId: null, authenticationMethod: null, user: null, impersonator: null }),
    ],
  ])('fills in what the writer left out: %s', async (_, change) => {
    const good = await sealData9(change(await payloadOf(await workosNode.seal(full))), { password, ttl: 0 });
    expect((await app.send(good, '/guarded')).json).toMatchObject({
      authenticated: true,
      user: { id: 'user_01' },
      organizationId: 'org_01',
    });
    const late = change(await payloadOf(await workosNode.seal({ ...full, ...expired })));
    expect(await refreshed(await sealData9(late, { password, ttl: 0 }))).toMatchObject({
      user: fullUser,
      organizationId: 'org_01',
      authenticationMethod: 'Impersonation',
      impersonator,
    });
    expect(server.tokenRequests.at(-1)!.body.organization_id).toBe('org_01');
  });

  it('takes user, impersonator, organization and method from the answer, so an ended impersonation is gone', async () => {
    const old = await workosNode.seal({ ...full, ...expired });
    const before = await payloadOf(old);
    expect(before).toMatchObject({ impersonator, authenticationMethod: 'Impersonation', organizationId: 'org_01' });
    const { sessionId } = (await createSessionManager(workosOptions(server)).load(old).logoutUrl().then(readSession))!;
    server.sessions.update(sessionId, { user: { first_name: 'Renamed', email: 'new@example.com' } });
    server.token.reply = (body) => ({
      ...omit(body, 'organization_id', 'impersonator'),
      authentication_method: 'Passkey',
    });

    const page = await app.send(old, '/guarded');

    expect(page.json).toMatchObject({ authenticated: true, user: { firstName: 'Renamed', email: 'new@example.com' } });
    expect(page.json).not.toHaveProperty('impersonator');
    const sealed = sessionCookieOf(page.setCookies)!;
    const payload = await payloadOf(sealed);
    expect(payload).toMatchObject({ user: { firstName: 'Renamed' }, authenticationMethod: 'Passkey' });
    expect(payload).not.toHaveProperty('impersonator');
    expect(payload).not.toHaveProperty('organizationId');
    for (const peer of peers)
      expect([peer.name, (await peer.open(sealed))!.impersonator]).toEqual([peer.name, undefined]);
  });

  it('switches the organization, also for the other packages', async () => {
    const page = await app.send(await workosNode.seal(full), '/switch');
    expect(page.json).toMatchObject({ result: { refreshed: true } });
    const sealed = sessionCookieOf(page.setCookies)!;
    expect((await app.send(sealed, '/guarded')).json).toMatchObject({ organizationId: 'org_02' });
    for (const peer of peers) expect(await peer.open(sealed)).toMatchObject({ organizationId: 'org_02' });
  });
});

function readSession(url: string | undefined): { sessionId: string } | undefined {
  const sessionId = new URL(url ?? '').searchParams.get('session_id');
  return sessionId === null ? undefined : { sessionId };
}

describe('field names of the Ruby SDK', () => {
  /** As the Ruby SDK writes: the answer of the API as it is, fields that are absent left out. */
  async function rubyCookie(overrides: SessionOverrides, more: Record<string, unknown> = {}): Promise<string> {
    const { response } = await server.issueSession(overrides);
    const { access_token, refresh_token, user, impersonator: by } = response;
    return sealAsRuby({ access_token, refresh_token, user, ...(by && { impersonator: by }), ...more });
  }

  const apiUser = { id: 'user_01', first_name: 'Zoë', last_name: '日本', external_id: 'ext_1', email_verified: true };
  let rubyApp: SessionApp;
  beforeAll(async () => {
    rubyApp = await serveSessions(workosOptions(server, { sealer: rubySealer() }));
    open.push(rubyApp);
  });

  it('are camelCase on the session', async () => {
    const sealed = encodeURIComponent(await rubyCookie(full));
    for (const each of [app, rubyApp]) {
      const { json, setCookies } = await each.send(sealed, '/guarded');
      expect(json).toMatchObject({ authenticated: true, user: fullUser, organizationId: 'org_01', impersonator });
      expect(json.user).not.toHaveProperty('first_name');
      expect(json.user.metadata).toEqual({ plan_name: 'pro' });
      expect(setCookies).toEqual([]);
    }
  });

  it('are also read from a cookie without percent-encoding', async () => {
    const { json } = await app.send(await rubyCookie(full), '/guarded');
    expect(json).toMatchObject({ authenticated: true, user: fullUser });
  });

  it('are written by rubySealer, also for our own fields, and keep unknown fields', async () => {
    const unknown = { oauth_tokens: { access_token: 'of GitHub' }, favouriteColour: 'green' };
    const own = await serveSessions({ ...everything(), sealer: rubySealer() });
    open.push(own);
    const old = await rubyCookie({ ...full, ...expired }, unknown);
    const page = await own.send(encodeURIComponent(old), '/guarded');
    expect(page.json).toMatchObject({ authenticated: true, refreshed: true, user: fullUser, impersonator });

    const written = unsealAsRuby(decodeURIComponent(sessionCookieOf(page.setCookies)!));
    const { refresh_token: before } = unsealAsRuby(old);
    expect(written).toMatchObject({
      ...unknown,
      access_token: expect.any(String),
      refresh_token: expect.not.stringMatching(String(before)),
      user: { ...apiUser, metadata: { plan_name: 'pro' } },
      organization_id: 'org_01',
      authentication_method: 'Impersonation',
      impersonator,
      started_at: expect.any(Number),
      used_at: expect.any(Number),
    });
    expect(Object.keys(written).filter((field) => /[A-Z]/.test(field))).toEqual(['favouriteColour']);
    expect(Object.keys(written.user as object).filter((field) => /[A-Z]/.test(field))).toEqual([]);
    expect((await own.send(sessionCookieOf(page.setCookies)!, '/guarded')).json).toMatchObject({
      authenticated: true,
      user: fullUser,
    });
  });

  it('become camelCase where ironSealer writes, so that every other package reads the new cookie', async () => {
    const page = await app.send(encodeURIComponent(await rubyCookie({ ...full, ...expired })), '/guarded');
    const sealed = sessionCookieOf(page.setCookies)!;
    expect(await payloadOf(sealed)).not.toHaveProperty('access_token');
    for (const peer of peers) {
      expect(await peer.open(sealed)).toMatchObject({ user: fullUser, organizationId: 'org_01', impersonator });
    }
  });

  it.each(peers)('are written for a cookie of $name', async (peer) => {
    const old = await peer.seal({ ...full, ...expired });
    const page = await rubyApp.send(old, '/guarded');
    expect(page.json).toMatchObject({ authenticated: true, refreshed: true });
    const written = unsealAsRuby(decodeURIComponent(sessionCookieOf(page.setCookies)!));
    expect(written).toMatchObject({ access_token: expect.any(String), user: apiUser, impersonator });
    expect(written).not.toHaveProperty('accessToken');
  });

  it('are written for a new session', async () => {
    const { accessToken, refreshToken } = await server.issueSession(full);
    const page = await rubyApp.send('', '/in', {
      headers: { 'x-tokens': JSON.stringify({ accessToken, refreshToken, user: { id: 'user_01', firstName: 'Zoe' } }) },
    });
    expect(page.json).toMatchObject({ authenticated: true, user: { firstName: 'Zoe' } });
    expect(unsealAsRuby(decodeURIComponent(sessionCookieOf(page.setCookies)!))).toMatchObject({
      access_token: accessToken,
      refresh_token: refreshToken,
      user: { id: 'user_01', first_name: 'Zoe' },
    });
  });
});

// Written from the layout of the Ruby SDK's version 7: `0x01 | iv(12) | tag(16) | ciphertext`.
function sealAsRuby(value: object): string {
  const [key, iv] = [createHash('sha256').update(password).digest(), randomBytes(12)];
  const cipher = createCipheriv('aes-256-gcm', key, iv);
  const body = Buffer.concat([cipher.update(JSON.stringify(value), 'utf8'), cipher.final()]);
  return Buffer.concat([Buffer.of(1), iv, cipher.getAuthTag(), body]).toString('base64');
}

function unsealAsRuby(sealed: string): Record<string, unknown> {
  const bytes = Buffer.from(sealed, 'base64');
  const key = createHash('sha256').update(password).digest();
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(1, 13)).setAuthTag(bytes.subarray(13, 29));
  const text = Buffer.concat([decipher.update(bytes.subarray(29)), decipher.final()]).toString();
  return JSON.parse(text) as Record<string, unknown>;
}

describe('pieces, with iron-session 9', () => {
  const options = { cookieName: 'wos-session', password, chunk: true };
  /** What is large in these sessions. */
  const filling = (bytes: number) => ({ user: { metadata: { filling: randomBytes(bytes / 2).toString('hex') } } });
  let theirs: Listening;
  let next: Record<string, unknown> = {};

  beforeAll(async () => {
    const handle = async (req: IncomingMessage, res: ServerResponse) => {
      const session = await getIronSession9<Payload>(req, res, options);
      if (req.url === '/save') {
        Object.assign(session, next);
        await session.save();
      }
      if (req.url === '/destroy') session.destroy();
      res.end(JSON.stringify(session));
    };
    theirs = await listen((req, res) => void handle(req, res));
    open.push(theirs);
  });

  const pieces = (browser: Browser) => browser.jar.cookies.map(({ name }) => name.replace('wos-session', '')).sort();

  it.each([
    [200, ['']],
    [2_400, ['.0', '.1']],
    [3_400, ['.0', '.1']],
  ])('that it wrote are refreshed here, and ours are a session there: %i bytes, %j', async (bytes, names) => {
    const size = filling(bytes);
    next = await payloadOf(await ironSession8.seal({ ...full, ...expired }).then(resealWith(size)));
    const browser = createBrowser(app.url);
    await browser.get(`${theirs.url}/save`);
    expect(pieces(browser)).toEqual(names);

    const { sessionId } = readSession(await logoutUrlOf(next))!;
    server.sessions.update(sessionId, { user: { metadata: size.user.metadata } });
    const page = await browser.get('/guarded');
    expect(page.json).toMatchObject({ authenticated: true, refreshed: true, user: { metadata: size.user.metadata } });
    expect(pieces(browser)).toEqual(names);
    expect((await browser.get('/guarded')).json).toMatchObject({ authenticated: true, refreshed: false });

    const { json } = await browser.get(theirs.url);
    expect(json).toMatchObject({ user: { id: 'user_01', metadata: size.user.metadata }, impersonator });
    expect(json.refreshToken).not.toBe(next.refreshToken);
  });

  it.each([
    [5_200, ['.0', '.1', '.2']],
    [8_000, ['.0', '.1', '.2', '.3']],
  ])('are read here also when they are more than we write: %i bytes, %j', async (bytes, names) => {
    next = await payloadOf(await ironSession8.seal(full).then(resealWith(filling(bytes))));
    const browser = createBrowser(app.url);
    await browser.get(`${theirs.url}/save`);
    expect(pieces(browser)).toEqual(names);
    expect((await browser.get('/guarded')).json).toMatchObject({ authenticated: true, refreshed: false, impersonator });
    await browser.get('/out');
    expect(pieces(browser)).toEqual([]);
  });

  it('replace the single cookie when the session grows here', async () => {
    next = await payloadOf(await ironSession8.seal({ ...full, ...expired }));
    const browser = createBrowser(app.url);
    await browser.get(`${theirs.url}/save`);
    expect(pieces(browser)).toEqual(['']);
    const { sessionId } = readSession(await logoutUrlOf(next))!;
    const { metadata } = filling(3_000).user;
    server.sessions.update(sessionId, { user: { metadata } });

    expect((await browser.get('/guarded')).json).toMatchObject({ refreshed: true, user: { metadata } });

    expect(pieces(browser)).toEqual(['.0', '.1']);
    expect((await browser.get(theirs.url)).json).toMatchObject({ user: { metadata } });
  });

  it('are removed when the session shrinks here, grows there, or ends in either', async () => {
    const size = filling(5_200);
    next = await payloadOf(await ironSession8.seal({ ...full, ...expired }).then(resealWith(size)));
    const browser = createBrowser(app.url);
    await browser.get(`${theirs.url}/save`);
    expect(pieces(browser)).toEqual(['.0', '.1', '.2']);

    // The answer of the refresh brings a small user.
    expect((await browser.get('/guarded')).json).toMatchObject({ authenticated: true, refreshed: true });
    expect(pieces(browser)).toEqual(['']);
    expect((await browser.get(theirs.url)).json).toMatchObject({ user: fullUser });

    next = { user: { ...fullUser, ...size.user } };
    await browser.get(`${theirs.url}/save`);
    expect(pieces(browser)).toEqual(['.0', '.1', '.2']);
    expect((await browser.get('/guarded')).json).toMatchObject({ authenticated: true });

    await browser.get('/out');
    expect(pieces(browser)).toEqual([]);

    next = await payloadOf(await ironSession8.seal(full).then(resealWith(size)));
    await browser.get(`${theirs.url}/save`);
    expect((await browser.get('/guarded')).json).toMatchObject({ authenticated: true });
    await browser.get(`${theirs.url}/destroy`);
    expect(pieces(browser)).toEqual([]);
  });

  /** The same session with more in it. */
  function resealWith(more: { user: object }): (sealed: string) => Promise<string> {
    return async (sealed) => {
      const payload = await payloadOf(sealed);
      return sealData9({ ...payload, user: { ...(payload.user as object), ...more.user } }, { password, ttl: 0 });
    };
  }

  async function logoutUrlOf(payload: object): Promise<string | undefined> {
    const sealed = await sealData9(payload, { password, ttl: 0 });
    return createSessionManager(workosOptions(server)).load(sealed).logoutUrl();
  }
});

describe('changing the password beside iron-session', () => {
  const older = 'the password of last year, long enough';
  const both: Password = { 1: older, 2: password };

  it.each<[string, typeof getIronSession8, typeof unsealData]>([
    ['8', getIronSession8, unsealData],
    ['9', getIronSession9, unsealData9],
  ])('keeps both working: iron-session %s', async (_, getIronSession, unseal) => {
    const own = await serveSessions(workosOptions(server, { password: both }));
    open.push(own);
    const payload = await payloadOf(await workosNode.seal({ ...full, ...expired }));
    const response = new Response();
    const session = await getIronSession<Record<string, unknown>>(requestWith(''), response, {
      cookieName: 'wos-session',
      password: { 1: older },
    });
    await Object.assign(session, payload).save();

    const page = await own.send(sessionCookieOf(response.headers.getSetCookie())!, '/guarded');
    expect(page.json).toMatchObject({ authenticated: true, refreshed: true });
    const sealed = sessionCookieOf(page.setCookies)!;
    expect(sealed.split('*')[1]).toBe('2');
    expect(await unseal(sealed, { password: { 1: older, 2: password } })).toMatchObject({ user: fullUser });
  });

  // Both seal under the id 1, which is the only one that WorkOS's packages know.
  const rotations: [string, Password][] = [
    ['as [newest, older]', [password, older]],
    ['as a map with the ids 0 and 1', { 0: older, 1: password }],
  ];

  it.each(
    refreshing.flatMap((peer) =>
      rotations.map(([spelling, passwords]) => [peer.name, spelling, peer, passwords] as const),
    ),
  )('keeps %s working when the passwords are given %s', async (_, _spelling, peer, passwords) => {
    const own = await serveSessions(workosOptions(server, { password: passwords }));
    open.push(own);
    const underOlder = async (overrides: SessionOverrides) =>
      sealData9(await payloadOf(await peer.seal(overrides)), { password: older, ttl: 0 });

    const page = await own.send(await underOlder({ ...full, ...expired }), '/guarded');
    expect(page.json).toMatchObject({ authenticated: true, refreshed: true, user: fullUser });
    const sealed = sessionCookieOf(page.setCookies)!;
    expect(sealed.split('*')[1]).toBe('1');
    expect(await peer.open(sealed)).toMatchObject({ user: fullUser, organizationId: 'org_01', impersonator });

    // A cookie that was not refreshed yet is no session there: that package knows one password only.
    const old = await underOlder(full);
    expect((await own.send(old, '/guarded')).json).toMatchObject({ authenticated: true, refreshed: false });
    expect(await peer.open(old)).toBeUndefined();
  });

  // WorkOS's packages know one password, and only under the id 1.
  it('seals for WorkOS’s packages when the new password has the id 1', async () => {
    const old = await payloadOf(await workosNode.seal({ ...full, ...expired }));
    const refreshUnder = async (under: Password) => {
      const sealed = await sealData9(old, { password: older, ttl: 0 });
      const refreshed = await createSessionManager(workosOptions(server, { password: both }))
        .load(sealed)
        .refresh({ password: under });
      return (refreshed as { sealedSession: string }).sealedSession;
    };
    const [one, two] = [await refreshUnder(password), await refreshUnder(both)];
    for (const peer of refreshing) {
      expect([peer.name, await peer.open(one)]).toMatchObject([peer.name, { user: fullUser }]);
      expect([peer.name, await peer.open(two)]).toEqual([peer.name, undefined]);
    }
  });
});

describe.each(refreshing)('another package that refreshes the same cookie: $name', (peer) => {
  /** Each cookie still signs in, here and there. */
  async function expectBothSignedIn(ours: string, theirs: string): Promise<void> {
    const [own, other] = [await payloadOf(ours), await payloadOf(theirs)];
    expect(own.refreshToken).toBe(other.refreshToken);
    // Crosswise, too: the browser keeps whichever cookie came last.
    for (const sealed of [ours, theirs]) {
      expect((await app.send(sealed, '/guarded')).json).toMatchObject({ authenticated: true, user: fullUser });
      expect(await peer.open(sealed)).toMatchObject({ user: fullUser });
    }
  }

  const cookieFrom = async (sealed: string) => sessionCookieOf((await app.send(sealed, '/guarded')).setCookies)!;

  beforeEach(() => {
    server.mode = 'replay';
  });

  it.each(peers)('refreshes a cookie of $name 10 seconds after us', async (writer) => {
    const old = await writer.seal({ ...full, ...expired });
    const before = server.refreshCount;
    const ours = await cookieFrom(old);
    clock.advance(10);
    const theirs = await peer.refresh(old);
    expect(server.refreshCount).toBe(before + 2);
    await expectBothSignedIn(ours, theirs!);
  });

  it.each(peers)('refreshes a cookie of $name 10 seconds before us', async (writer) => {
    const old = await writer.seal({ ...full, ...expired });
    const before = server.refreshCount;
    const theirs = await peer.refresh(old);
    clock.advance(10);
    const ours = await cookieFrom(old);
    expect(server.refreshCount).toBe(before + 2);
    await expectBothSignedIn(ours, theirs!);
  });

  it.each([
    ['ours is answered first', 0],
    ['theirs is answered first', 1],
  ])('refreshes it at the same time: %s', async (_, first) => {
    const old = await workosNode.seal({ ...full, ...expired });
    const hold = server.token.hold();
    const ours = cookieFrom(old);
    await hold.arrived(1);
    const theirs = peer.refresh(old);
    await hold.arrived(2);
    hold.releaseAt(first);
    await [ours, theirs][first];
    hold.release();
    await expectBothSignedIn(await ours, (await theirs)!);
  });

  it('takes turns with us for three generations', async () => {
    let sealed = await peer.seal({ ...full, ...expired });
    for (let generation = 0; generation < 3; generation += 1) {
      server.lifetimeSeconds = -30;
      sealed = (await peer.refresh(sealed))!;
      server.lifetimeSeconds = 300;
      const ours = await cookieFrom(sealed);
      expect(await peer.open(ours)).toMatchObject({ user: fullUser, organizationId: 'org_01' });
      clock.advance(31);
      sealed = await withExpiredToken(ours);
    }
  });

  /** The same session with an access token that has expired, as time would have it. */
  async function withExpiredToken(sealed: string): Promise<string> {
    const payload = await payloadOf(sealed);
    const claims = JSON.parse(Buffer.from(payload.accessToken.split('.')[1]!, 'base64url').toString()) as object;
    const accessToken = await server.signToken({ ...claims, exp: Math.floor(Date.now() / 1000) - 3_600 });
    return sealData9({ ...payload, accessToken }, { password, ttl: 0 });
  }

  it('still has its visitor signed in when we refuse the old cookie after the grace time', async () => {
    const old = await workosNode.seal({ ...full, ...expired });
    const theirs = await peer.refresh(old);
    clock.advance(31);
    const page = await app.send(old, '/guarded');
    expect(page.status).toBe(401);
    // A browser has the new cookie by then; with that one it is signed in.
    expect((await app.send(theirs!, '/guarded')).json).toMatchObject({ authenticated: true });
  });
});
