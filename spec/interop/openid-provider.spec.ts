import { generateKeyPairSync } from 'node:crypto';

import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { getSession, oidc, type OidcOptions, type SessionEvents, withSession } from 'express-sealed-session';

import { frameworks } from '../support/apps.js';
import { createBrowser, type Page } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { type OidcServer, type OidcServerOptions, startOidcServer } from '../support/oidc-provider.js';
import { password } from '../support/workos-session.js';

/* The settings in which OpenID providers differ, each at `oidc-provider` itself. */
const clock = useClock();
const origin = 'https://app.example.com';
const open: { close: () => Promise<unknown> }[] = [];
afterAll(() => Promise.all(open.map((each) => each.close())));
const { structuredClone: clone } = globalThis;
afterEach(() => {
  globalThis.structuredClone = clone;
});

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });

interface Row {
  readonly name: string;
  readonly server: OidcServerOptions;
  readonly options?: (server: OidcServer) => Partial<OidcOptions>;
  readonly verified: boolean;
  /** Whether `user.id` is the account's own. */
  readonly isPairwise?: boolean;
}

const withResource = (server: OidcServer) => ({ resource: server.audience });

const rows: Row[] = [
  { name: 'opaque access tokens', server: { opaque: true }, verified: false },
  { name: 'JWT access tokens for a resource', server: {}, options: withResource, verified: true },
  { name: 'opaque access tokens, without rotation', server: { opaque: true, rotate: false }, verified: false },
  { name: 'JWT access tokens, without rotation', server: { rotate: false }, options: withResource, verified: true },
  { name: 'PS256', server: { algorithm: 'PS256' }, options: withResource, verified: true },
  { name: 'ES256', server: { algorithm: 'ES256' }, options: withResource, verified: true },
  { name: 'EdDSA', server: { algorithm: 'EdDSA' }, options: withResource, verified: true },
  { name: 'an issuer with a path', server: { path: '/realms/one' }, options: withResource, verified: true },
  {
    name: 'an issuer with a path and a slash',
    server: { path: '/realms/one' },
    options: (server) => ({ issuer: `${server.url}/`, resource: server.audience }),
    verified: true,
  },
  {
    name: 'ID tokens without the person, as its defaults have it',
    server: { opaque: true, configure: (configuration) => (configuration.conformIdTokenClaims = true) },
    verified: false,
  },
  {
    name: 'a scope without offline_access',
    server: { opaque: true },
    options: () => ({ scope: 'openid profile email' }),
    verified: false,
  },
  {
    name: 'pairwise subjects',
    server: {
      configure: (configuration, client) => {
        configuration.subjectTypes = ['pairwise'];
        configuration.pairwiseIdentifier = (_ctx, accountId, { clientId }) => `${clientId} ${accountId}`;
        client.subject_type = 'pairwise';
      },
    },
    // The access token has the account's own subject, and the ID token a pairwise one.
    options: (server) => ({ ...withResource(server), accessToken: 'jwt' }),
    verified: true,
    isPairwise: true,
  },
  {
    name: 'private_key_jwt',
    server: {
      configure: (_configuration, client) => {
        // A clone is an object of Node's realm, not of Jest's, and oidc-provider wants keys that are plain objects.
        globalThis.structuredClone = <Value>(value: Value): Value =>
          value === undefined ? value : (JSON.parse(JSON.stringify(value)) as Value);
        delete client.client_secret;
        client.token_endpoint_auth_method = 'private_key_jwt';
        client.jwks = {
          keys: [{ ...(publicKey.export({ format: 'jwk' }) as { kty: 'EC' }), kid: 'key_1', alg: 'ES256' }] as never,
        };
      },
    },
    options: (server) => ({
      ...withResource(server),
      clientAuthentication: { method: 'private_key_jwt', key: privateKey, keyId: 'key_1' },
    }),
    verified: true,
  },
  {
    name: 'pushed authorization requests',
    server: {
      configure: (configuration) => {
        configuration.features!.pushedAuthorizationRequests = {
          enabled: true,
          requirePushedAuthorizationRequests: true,
        };
      },
    },
    options: withResource,
    verified: true,
  },
];

describe('oidc-provider', () => {
  it.each(rows)(
    'signs in and refreshes with $name',
    async ({ server: serverOptions, options, verified, isPairwise }) => {
      const server = await startOidcServer(serverOptions);
      const problems: SessionEvents['misconfigured'][] = [];
      const failed: SessionEvents['signInFailed'][] = [];
      const { url: issuer, clientId, clientSecret } = server;
      const more = options?.(server) ?? {};
      const secret = more.clientAuthentication ? {} : { clientSecret };
      const provider = oidc({ issuer, clientId, ...secret, ...more });
      const events = {
        misconfigured: (event: SessionEvents['misconfigured']) => problems.push(event),
        signInFailed: (event: SessionEvents['signInFailed']) => failed.push(event),
      };
      const app = await frameworks[0]!.listen((each) => {
        const sessions = withSession({ provider, password, baseUrl: origin, events });
        each.use(sessions);
        each.use(sessions.routes());
        each.get('/', (req, res) => res.end(JSON.stringify(getSession(req))));
      });
      open.push(server, app);
      const browser = createBrowser(app.url);
      let page: Page = await browser.fetch('/login');
      for (let hop = 0; hop < 10 && page.headers.has('location'); hop += 1) {
        const next = new URL(page.headers.get('location')!, page.url).href;
        page = await browser.fetch(next.replace(origin, app.url));
      }
      expect([failed, page.status]).toEqual([[], 200]);
      const user = { id: isPairwise ? `${clientId} user_01` : 'user_01', name: 'One', email: 'one@example.com' };
      expect(page.json).toMatchObject({ authenticated: true, user });
      expect('iss' in page.json.claims).toBe(verified);
      for (let time = 1; time <= 2; time += 1) {
        clock.advance(400);
        expect((await browser.get('/')).json).toMatchObject({ authenticated: true, refreshed: true, user });
      }
      expect([server.refreshes(), server.refreshes('error')]).toEqual([2, 0]);
      expect(problems).toEqual([]);
    },
  );
});

describe('an ID token at a refresh of oidc-provider', () => {
  it('brings what has changed about the person, and takes a role away', async () => {
    let claims: Record<string, unknown> = { name: 'One', groups: ['admin'] };
    const server = await startOidcServer({
      opaque: true,
      configure: (configuration) => {
        configuration.claims = { openid: ['sub'], profile: ['name', 'groups'], email: ['email'] };
        configuration.findAccount = (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub, ...claims }) });
      },
    });
    const { url: issuer, clientId, clientSecret } = server;
    const problems: SessionEvents['misconfigured'][] = [];
    const provider = oidc({ issuer, clientId, clientSecret, mapClaims: { roles: 'groups' } });
    const events = { misconfigured: (event: SessionEvents['misconfigured']) => problems.push(event) };
    const app = await frameworks[0]!.listen((each) => {
      const sessions = withSession({ provider, password, baseUrl: origin, events });
      each.use(sessions);
      each.use(sessions.routes());
      each.get('/', (req, res) => res.end(JSON.stringify(getSession(req))));
      each.get('/admin', sessions.require({ roles: 'admin' }), (_req, res) => res.end('{}'));
    });
    open.push(server, app);
    const browser = createBrowser(app.url);
    let page: Page = await browser.fetch('/login');
    for (let hop = 0; hop < 10 && page.headers.has('location'); hop += 1) {
      const next = new URL(page.headers.get('location')!, page.url).href;
      page = await browser.fetch(next.replace(origin, app.url));
    }
    const { user, roles } = page.json as { user: { name: string }; roles: string[] };
    expect([user.name, roles, (await browser.get('/admin')).status]).toEqual(['One', ['admin'], 200]);

    claims = { name: 'One Two' };
    clock.advance(400);
    const refreshed = (await browser.get('/')).json as { refreshed: boolean; user: { name: string }; roles: string[] };
    expect([refreshed.refreshed, refreshed.user.name, refreshed.roles]).toEqual([true, 'One Two', []]);
    expect((await browser.get('/admin')).status).toBe(403);
    expect(problems).toEqual([]);
  });
});
