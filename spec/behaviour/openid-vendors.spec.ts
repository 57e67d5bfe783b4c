import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { describe, expect, it } from '@jest/globals';
import { type OidcOptions, withSession } from 'express-sealed-session';

import { frameworks } from '../support/apps.js';
import { createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { serveOp } from '../support/op-app.js';
import type { OpServer, Wire } from '../support/op-server.js';
import { useWorkos } from '../support/use-workos.js';
import { workosOptions } from '../support/workos-session.js';

/*
 * The vendors, each as a server that speaks its wire. What such a server answers is documented by the vendor, or was seen
 * at a real one; nothing here was asked of a vendor. The entries of docs/guide/providers.md are made of these rows:
 * `UPDATE_VENDORS=1` writes them.
 */
const clock = useClock();
const person = { name: 'Ada', email: 'ada@example.com' };

interface Vendor {
  readonly name: string;
  /** What to configure, beside issuer, client id and secret. */
  readonly configure: string;
  readonly verified: string;
  readonly dead: string;
  readonly signOut: string;
  readonly wire: Wire;
  readonly metadata?: (op: OpServer) => Record<string, unknown>;
  readonly options?: (op: OpServer) => Partial<OidcOptions>;
  /** What comes of it. */
  readonly kind: 'jwt' | 'opaque' | 'by the options';
  readonly user?: Record<string, unknown>;
  readonly refreshes?: boolean;
  readonly problems?: readonly string[];
}

const idTokenOnly = 'the ID token; the access token is opaque to the app';
const both = 'the ID token, and the access token on each request';
const invalidGrant = { status: 400, body: { error: 'invalid_grant' } };
const noLogout = () => ({ end_session_endpoint: undefined });
const userinfo = { sub: 'user_01', ...person };
const template = 'https://login.microsoftonline.com/{tenantid}/v2.0';
const tid = '11111111-2222-3333-4444-555555555555';
const entraId = { iss: `https://login.microsoftonline.com/${tid}/v2.0`, tid, ver: '2.0', ...person };
const entra = (more: Wire = {}): Wire => ({
  metadataIssuer: entraId.iss,
  metadataPath: '/v2.0/metadata',
  idToken: entraId,
  rotates: true,
  deadRefresh: invalidGrant,
  ...more,
});
const entraOptions = (op: OpServer): Partial<OidcOptions> => ({
  issuer: entraId.iss,
  metadata: `${op.url}/v2.0/metadata`,
});

const vendors: Vendor[] = [
  {
    name: 'Auth0, without an audience',
    configure: 'nothing more',
    verified: idTokenOnly,
    dead: '403 `invalid_grant`',
    signOut: '`end_session_endpoint`; tenants from before November 2023: at the app alone',
    wire: { idToken: person, rotates: false, deadRefresh: { status: 403, body: { error: 'invalid_grant' } } },
    kind: 'opaque',
  },
  {
    name: 'Auth0, with an audience',
    configure: "`authorizationParameters: { audience: 'https://api.example.com' }`",
    verified: both,
    dead: '403 `invalid_grant`',
    signOut: 'as without an audience',
    wire: {
      idToken: person,
      accessToken: {
        aud: ['https://api.example.com', 'https://tenant.auth0.com/userinfo'],
        azp: 'client_01',
        permissions: ['read'],
      },
      rotates: false,
      deadRefresh: { status: 403, body: { error: 'invalid_grant' } },
    },
    options: () => ({ authorizationParameters: { audience: 'https://api.example.com' } }),
    kind: 'jwt',
  },
  {
    name: 'Okta, org server',
    configure: "`accessToken: 'opaque'` (spares the event)",
    verified: idTokenOnly,
    dead: '400 `invalid_grant`',
    signOut: '`end_session_endpoint`, which wants `id_token_hint`',
    wire: {
      idToken: person,
      accessToken: { cid: 'client_01', sub: 'ada@example.com' },
      unpublishedKey: true,
      deadRefresh: invalidGrant,
    },
    kind: 'opaque',
    problems: ['access_token_not_ours key_not_published'],
  },
  {
    name: 'Okta, custom server',
    configure: "`accessToken: { audience: 'api://default' }`",
    verified: `${both}; its subject is the login`,
    dead: '400 `invalid_grant`',
    signOut: '`end_session_endpoint`, which wants `id_token_hint`',
    wire: {
      idToken: person,
      accessToken: { cid: 'client_01', aud: 'api://default', sub: 'ada@example.com', groups: ['a'] },
      deadRefresh: invalidGrant,
    },
    options: () => ({ accessToken: { audience: 'api://default' } }),
    kind: 'by the options',
  },
  {
    name: 'Entra, one tenant, Microsoft Graph token',
    configure: "`refreshTokens: 'reusable'`",
    verified: idTokenOnly,
    dead: '400 `invalid_grant`; `interaction_required` where the user must act',
    signOut: '`end_session_endpoint`',
    // Its header has a hashed nonce, so that its signature fits nobody but Graph.
    wire: entra({
      accessToken: {
        iss: `https://sts.windows.net/${tid}/`,
        aud: '00000003-0000-0000-c000-000000000000',
        appid: 'client_01',
        sub: 'pairwise',
      },
      unpublishedKey: true,
    }),
    options: (op) => ({ ...entraOptions(op), refreshTokens: 'reusable' }),
    kind: 'opaque',
    problems: ['access_token_not_ours key_not_published'],
  },
  {
    name: "Entra, one tenant, API of one's own",
    configure: "`scope` with the API's scope, `accessToken: { audience: 'api://…' }`",
    verified: `${both}; its subject is pairwise`,
    dead: '400 `invalid_grant`',
    signOut: '`end_session_endpoint`',
    wire: entra({
      accessToken: { iss: entraId.iss, aud: 'api://own', azp: 'client_01', sub: 'pairwise', roles: ['admin'] },
    }),
    options: (op) => ({
      ...entraOptions(op),
      scope: 'openid profile email offline_access api://own/read',
      accessToken: { audience: 'api://own' },
    }),
    kind: 'by the options',
  },
  {
    name: 'Entra, one tenant, API with v1 tokens',
    configure: "the same, with `issuer: 'https://sts.windows.net/<tenant>/'` in `accessToken`",
    verified: `${both}; its subject is pairwise`,
    dead: '400 `invalid_grant`',
    signOut: '`end_session_endpoint`',
    wire: entra({
      accessToken: { iss: `https://sts.windows.net/${tid}/`, aud: 'api://own', appid: 'client_01', sub: 'pairwise' },
    }),
    options: (op) => ({
      ...entraOptions(op),
      accessToken: { issuer: `https://sts.windows.net/${tid}/`, audience: 'api://own' },
    }),
    kind: 'by the options',
  },
  {
    name: 'Entra, many tenants',
    configure: `\`issuer: '${template}'\`, \`tenants\` (a list, or \`'any'\`)`,
    verified: `${idTokenOnly}; \`user.issuer\` names the tenant`,
    dead: '400 `invalid_grant`',
    signOut: '`end_session_endpoint`',
    wire: entra({ metadataIssuer: template }),
    options: (op) => ({ issuer: template, metadata: `${op.url}/v2.0/metadata`, tenants: [tid] }),
    kind: 'opaque',
    user: { issuer: entraId.iss },
  },
  {
    name: 'Amazon Cognito',
    configure: "`refreshTokens: 'reusable'`",
    verified: both,
    dead: '400 `invalid_grant`',
    signOut: 'its own `/logout` with `logout_uri`: at the app alone',
    wire: {
      metadata: { scopes_supported: ['openid', 'email', 'phone', 'profile'] },
      unknownScopes: ['offline_access'],
      idToken: { email: 'ada@example.com', 'cognito:username': 'ada' },
      userinfo,
      accessToken: { client_id: 'client_01', token_use: 'access', 'cognito:groups': ['a'] },
      rotates: false,
      deadRefresh: invalidGrant,
    },
    metadata: noLogout,
    options: () => ({ refreshTokens: 'reusable' }),
    kind: 'jwt',
  },
  {
    name: 'Google',
    configure: "`authorizationParameters: { access_type: 'offline', prompt: 'consent' }`, `refreshTokens: 'reusable'`",
    verified: `${idTokenOnly}; refreshes bring no ID token`,
    dead: '400 `invalid_grant`',
    signOut: 'at the app alone; the refresh token is revoked',
    wire: {
      metadata: { scopes_supported: ['openid', 'email', 'profile'] },
      unknownScopes: ['offline_access'],
      idToken: person,
      idTokenAtRefresh: false,
      refreshToken: (parameters) =>
        parameters.get('access_type') === 'offline' && parameters.get('prompt') === 'consent',
      rotates: false,
      deadRefresh: invalidGrant,
    },
    metadata: noLogout,
    options: () => ({
      authorizationParameters: { access_type: 'offline', prompt: 'consent' },
      refreshTokens: 'reusable',
    }),
    kind: 'opaque',
  },
  {
    name: 'Keycloak',
    configure: "`mapClaims: { roles: ['realm_access', 'roles'] }`",
    verified: both,
    dead: '400 `invalid_grant`',
    signOut: '`end_session_endpoint`, which asks without `id_token_hint`',
    wire: {
      idToken: { ...person, sid: 'sid' },
      accessToken: { azp: 'client_01', aud: 'account', typ: 'Bearer', realm_access: { roles: ['admin'] } },
      deadRefresh: invalidGrant,
    },
    options: () => ({ mapClaims: { roles: ['realm_access', 'roles'] } }),
    kind: 'jwt',
  },
  {
    name: 'Keycloak, lightweight access tokens',
    configure: 'nothing more',
    verified: idTokenOnly,
    dead: '400 `invalid_grant`',
    signOut: 'as above',
    wire: {
      idToken: person,
      accessToken: { azp: 'client_01', typ: 'Bearer', sub: undefined },
      deadRefresh: invalidGrant,
    },
    kind: 'opaque',
    problems: ['access_token_not_ours subject_missing'],
  },
  {
    name: 'Keycloak, inner address',
    configure:
      "`metadata: 'http://keycloak:8080/realms/…/.well-known/openid-configuration'`, `allowInsecureHosts: ['keycloak:8080']`",
    verified: both,
    dead: '400 `invalid_grant`',
    signOut: 'as above',
    wire: {
      issuer: 'https://login.example.com/realms/a',
      metadataPath: '/inner',
      idToken: person,
      accessToken: { azp: 'client_01', typ: 'Bearer' },
      deadRefresh: invalidGrant,
    },
    options: (op) => ({
      issuer: 'https://login.example.com/realms/a',
      metadata: `${op.url}/inner`,
      allowInsecureHosts: [new URL(op.url).host],
    }),
    kind: 'jwt',
  },
  {
    name: 'FusionAuth',
    configure: "`issuer: 'acme.com'` and `metadata` where its issuer is left as it comes",
    verified: both,
    dead: '400 `invalid_grant`',
    signOut: '`end_session_endpoint`',
    wire: {
      issuer: 'acme.com',
      idToken: person,
      accessToken: { aud: 'client_01', roles: ['admin'] },
      deadRefresh: invalidGrant,
    },
    options: (op) => ({ issuer: 'acme.com', metadata: `${op.url}/.well-known/openid-configuration` }),
    kind: 'jwt',
  },
  {
    name: 'Authentik, with a signing key',
    configure: "`mapClaims: { roles: 'groups' }`",
    verified: both,
    dead: '400 `invalid_grant`',
    signOut: '`end_session_endpoint`, its own page',
    wire: {
      idToken: { ...person, groups: ['admin'] },
      accessToken: { aud: 'client_01', azp: 'client_01', groups: ['admin'] },
      deadRefresh: invalidGrant,
    },
    options: () => ({ mapClaims: { roles: 'groups' } }),
    kind: 'jwt',
  },
  {
    name: 'Authentik, without a signing key',
    configure: "`idTokenAlgorithm: 'HS256'`",
    verified: `${idTokenOnly}; by the client's secret`,
    dead: '400 `invalid_grant`',
    signOut: 'as with a key',
    wire: {
      algorithm: 'HS256',
      idToken: person,
      accessToken: { aud: 'client_01', azp: 'client_01' },
      deadRefresh: invalidGrant,
    },
    options: () => ({ idTokenAlgorithm: 'HS256' }),
    kind: 'opaque',
    problems: ['access_token_not_ours algorithm_not_accepted'],
  },
  {
    name: 'Zitadel',
    configure: 'nothing more',
    verified: `${idTokenOnly}; the person comes from userinfo`,
    dead: '400 `invalid_request`',
    signOut: '`end_session_endpoint`',
    wire: {
      idToken: { client_id: 'client_01' },
      userinfo,
      deadRefresh: { status: 400, body: { error: 'invalid_request' } },
    },
    kind: 'opaque',
  },
  {
    name: 'Duende IdentityServer',
    configure: '`AllowOfflineAccess` at the server',
    verified: `${both}; the person comes from userinfo`,
    dead: '400 `invalid_grant`',
    signOut: '`end_session_endpoint`, which asks without `id_token_hint`',
    wire: {
      idToken: { idp: 'local', amr: ['pwd'] },
      userinfo,
      accessToken: { client_id: 'client_01', scope: ['openid', 'profile'] },
      deadRefresh: invalidGrant,
    },
    kind: 'jwt',
  },
  {
    name: 'GitLab',
    configure: 'nothing more',
    verified: `${idTokenOnly}; the person comes from userinfo`,
    dead: '400 `invalid_grant`',
    signOut: 'at the app alone; the refresh token is revoked',
    wire: {
      metadata: { scopes_supported: ['openid', 'profile', 'email', 'read_user'] },
      unknownScopes: ['offline_access'],
      doesNotDecode: true,
      idToken: {},
      userinfo,
      deadRefresh: invalidGrant,
    },
    metadata: noLogout,
    kind: 'opaque',
  },
  {
    name: 'LemonLDAP::NG',
    configure: 'nothing more',
    verified: `${idTokenOnly}; the person comes from userinfo`,
    dead: '400 `invalid_request`',
    signOut: '`end_session_endpoint`, which asks',
    wire: {
      doesNotDecode: true,
      idToken: {},
      userinfo,
      rotates: false,
      metadata: { id_token_signing_alg_values_supported: ['none', 'HS256', 'RS256'] },
      deadRefresh: { status: 400, body: { error: 'invalid_request' } },
    },
    kind: 'opaque',
  },
  {
    name: 'ADFS',
    configure: "`accessToken: 'opaque'` (spares the event)",
    verified: idTokenOnly,
    dead: '400 `invalid_grant`',
    signOut: '`end_session_endpoint`',
    wire: {
      idToken: { upn: 'ada@example.com', email: 'ada@example.com', unique_name: 'Ada' },
      accessToken: {
        iss: 'http://adfs.example/adfs/services/trust',
        aud: 'urn:microsoft:userinfo',
        appid: 'client_01',
        sub: undefined,
      },
      userinfo: { sub: 'user_01' },
      deadRefresh: invalidGrant,
    },
    kind: 'opaque',
    problems: ['access_token_not_ours subject_missing'],
  },
];

/** It speaks no OpenID Connect to apps, so it has a server of its own below. */
const workosEntry = {
  name: 'WorkOS',
  configure: '`workos()` in place of `oidc()`, with `clientId` and `apiKey`; see [WorkOS](workos.md)',
  verified: 'the access token on each request; the person comes with it',
  dead: '400 `invalid_grant`',
  signOut: 'its log-out page, by the `sid` of the access token; the session is revoked',
};

const url = (text: string, base: string) => new URL(text, base);

describe('each vendor, by a server that speaks its wire', () => {
  it.each(vendors.map((vendor) => ({ name: vendor.name, vendor })))('$name', async ({ vendor }) => {
    const { wire, metadata, options, kind, user = {}, problems: expected = [] } = vendor;
    // GitLab's secrets, and a client id as most vendors make them.
    const served = await serveOp({ wire, clientSecret: 'gloas-0f.3_a~b*c'.replace('~', '-') }, options);
    const { op, signIn, browser, problems } = served;
    op.wire.metadata = { ...op.wire.metadata, ...metadata?.(op) };

    const page = await signIn();
    expect(page.json).toMatchObject({
      authenticated: true,
      user: { id: 'user_01', email: 'ada@example.com', ...user },
    });
    const isVerified = kind !== 'opaque';
    expect('iss' in page.json.claims).toBe(isVerified);

    const before = op.refreshes();
    for (let time = 1; time <= 2; time += 1) {
      clock.advance(320);
      expect((await browser.get('/')).json).toMatchObject({ refreshed: true, user: { email: 'ada@example.com' } });
    }
    expect(op.refreshes()).toBe(before + 2);
    expect(problems()).toEqual(expected);

    const copy = browser.clone();
    const out = await browser.post('/logout', { headers: { 'sec-fetch-site': 'same-origin' } });
    const target = url(out.headers.get('location')!, served.app.url);
    expect(target.pathname).toBe(
      vendor.signOut.startsWith('at the app') || vendor.signOut.startsWith('its own') ? '/' : '/logout',
    );

    // A copy of the cookie, after the refresh token has died.
    op.killRefreshTokens();
    clock.advance(320);
    const dead = await copy.get('/');
    expect(dead.json).toMatchObject({ authenticated: false });
  });
});

describe('WorkOS, by a server that speaks its wire', () => {
  const wire = useWorkos();

  it('signs in, refreshes, meets a dead refresh token and signs out as its entry says', async () => {
    const origin = 'https://app.example.com';
    const sessions = withSession(workosOptions(wire.server, { baseUrl: origin }));
    const app = wire.closing(
      await frameworks[0]!.listen((each) => {
        each.use(sessions);
        each.use(sessions.routes());
        each.get('/', (req, res) => res.end(JSON.stringify(sessions.get(req))));
      }),
    );
    const browser = createBrowser(app.url);
    const signIn = async () => {
      let page = await browser.fetch('/login');
      for (let hop = 0; hop < 10 && page.headers.has('location'); hop += 1) {
        page = await browser.fetch(new URL(page.headers.get('location')!, page.url).href.replace(origin, app.url));
      }
      return page.json as { authenticated: boolean; claims: object; sessionId: string };
    };
    const first = await signIn();
    expect(first).toMatchObject({ authenticated: true, claims: { iss: expect.stringContaining('client_01') } });
    for (let time = 1; time <= 2; time += 1) {
      clock.advance(320);
      expect((await browser.get('/')).json).toMatchObject({ refreshed: true });
    }
    wire.server.sessions.revoke(first.sessionId);
    clock.advance(320);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: false, reason: 'invalid_grant' });

    const { sessionId } = await signIn();
    const out = await browser.post('/logout', { headers: { 'sec-fetch-site': 'same-origin' } });
    const target = url(out.headers.get('location')!, app.url);
    expect([target.pathname, target.searchParams.get('session_id')]).toEqual([
      '/user_management/sessions/logout',
      sessionId,
    ]);
  });
});

describe('docs/guide/providers.md', () => {
  const file = path.resolve(import.meta.dirname, '../../docs/guide/providers.md');
  const [begin, end] = ['## The providers\n', '\n## What the words mean'];

  it('has an entry for each of these vendors, and no other', () => {
    const entries = [...vendors, workosEntry].map(({ name, configure, verified, dead, signOut }) =>
      [
        `\n### ${name}\n`,
        `- **Configure:** ${configure}.`,
        `- **Verified:** ${verified}.`,
        `- **A dead refresh token:** ${dead}.`,
        `- **Signing out:** ${signOut}.`,
        '',
      ].join('\n'),
    );
    const text = readFileSync(file, 'utf8');
    const [start, stop] = [text.indexOf(begin) + begin.length, text.indexOf(end)];
    if (process.env.UPDATE_VENDORS === '1')
      writeFileSync(file, text.slice(0, start) + entries.join('') + text.slice(stop));
    else expect(text.slice(start, stop)).toBe(entries.join(''));
  });
});
