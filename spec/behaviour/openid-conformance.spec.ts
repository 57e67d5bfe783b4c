import { describe, expect, it } from '@jest/globals';
import { oidc, type SessionEvents } from 'express-sealed-session';

import { useClock } from '../support/clock.js';
import { type OpApp, serveOp } from '../support/op-app.js';
import type { OpServer, Wire } from '../support/op-server.js';

/*
 * The modules of the OpenID Foundation's tests of relying parties, plans Basic, Config, Refresh and form_post: names and
 * conditions of openid-certification/conformance-suite at 12f2a4da. Each runs against a server that misbehaves as that
 * module's does. The suite itself was not run. As it demands, `userinfo: true` asks userinfo at each sign-in.
 */
const clock = useClock();
const userinfo = { sub: 'user_01', name: 'Ada', email: 'ada@example.com' };
const now = () => Math.floor(Date.now() / 1000);

type Outcome = 'accepted' | { readonly check: NonNullable<SessionEvents['signInFailed']['check']> };
type Row = readonly [module: string, wire: Wire, outcome: Outcome];

const basic: readonly Row[] = [
  ['oidcc-client-test', {}, 'accepted'],
  ['oidcc-client-test-invalid-iss', { idToken: { iss: 'https://other.example' } }, { check: 'id_token_issuer' }],
  ['oidcc-client-test-missing-sub', { idToken: { sub: undefined } }, { check: 'id_token_subject' }],
  ['oidcc-client-test-invalid-aud', { idToken: { aud: 'other' } }, { check: 'id_token_audience' }],
  ['oidcc-client-test-missing-iat', { idToken: { iat: undefined } }, { check: 'id_token_issued_at' }],
  ['oidcc-client-test-nonce-invalid', { idToken: { nonce: 'other' } }, { check: 'id_token_nonce' }],
  ['oidcc-client-test-kid-absent-single-jwks', { keyIds: false }, 'accepted'],
  ['oidcc-client-test-kid-absent-multiple-jwks', { keyIds: false, otherKeys: true }, 'accepted'],
  ['oidcc-client-test-idtoken-sig-rs256', { algorithm: 'RS256' }, 'accepted'],
  ['oidcc-client-test-idtoken-sig-none', { algorithm: 'none' }, { check: 'id_token_algorithm' }],
  ['oidcc-client-test-invalid-sig-rs256', { breaksSignature: true }, { check: 'id_token_signature' }],
  [
    'oidcc-client-test-invalid-sig-es256',
    { algorithm: 'ES256', breaksSignature: true },
    { check: 'id_token_signature' },
  ],
  [
    'oidcc-client-test-userinfo-invalid-sub',
    { userinfo: { ...userinfo, sub: 'other' } },
    { check: 'userinfo_subject' },
  ],
  ['oidcc-client-test-scope-userinfo-claims', {}, 'accepted'],
  ['oidcc-client-test-client-secret-basic', {}, 'accepted'],
];

const serve = (wire: Wire, options: (op: OpServer) => object = () => ({})) =>
  serveOp({ wire: { userinfo, ...wire } }, (op) => ({ userinfo: true, ...options(op) }));

describe('the plan Basic', () => {
  it.each(basic.map(([module, wire, outcome]) => ({ module, wire, outcome })))(
    '$module',
    async ({ module, wire, outcome }) => {
      const { op, signIn, told } = await serve(wire);
      const page = await signIn();
      if (outcome !== 'accepted') {
        expect(page.status).toBe(400);
        expect(told.signInFailed).toMatchObject([outcome]);
        return;
      }
      expect(page.json).toMatchObject({
        authenticated: true,
        user: { id: 'user_01', name: 'Ada', email: 'ada@example.com' },
      });
      expect(op.to('/userinfo')).toHaveLength(1);
      if (module.endsWith('scope-userinfo-claims')) {
        expect(op.to('/authorize')[0]!.query.get('scope')).toContain('openid profile email');
      }
      if (module.endsWith('client-secret-basic')) expect(op.to('/token')[0]!.headers.authorization).toMatch(/^Basic /);
    },
  );
});

describe('the plan Config', () => {
  it('oidcc-client-test-discovery-openid-config', async () => {
    const { op, signIn } = await serve({});
    await signIn();
    expect(op.to('/.well-known/openid-configuration')).toHaveLength(1);
  });

  it('oidcc-client-test-discovery-jwks-uri-keys: also with an opaque access token', async () => {
    const { op, signIn } = await serve({});
    await signIn();
    expect(op.to('/jwks')).toHaveLength(1);
  });

  it('oidcc-client-test-discovery-issuer-mismatch', async () => {
    const { browser, problems } = await serve({ metadataIssuer: 'https://other.example' });
    expect((await browser.get('/login')).status).toBe(503);
    expect(problems()).toEqual(['metadata other_issuer']);
  });

  it.each(['oidcc-client-test-signing-key-rotation', 'oidcc-client-test-signing-key-rotation-just-before-signing'])(
    '%s',
    async () => {
      const { op, signIn, app } = await serve({});
      await signIn();
      op.wire.keyGeneration = 'second';
      const { createBrowser } = await import('../support/browser.js');
      expect((await signIn(createBrowser(app.url))).json).toMatchObject({ authenticated: true });
      expect(op.to('/jwks')).toHaveLength(2);
    },
  );
});

describe('the plan Refresh', () => {
  async function refreshed(change: Wire['idTokenAtRefresh']): Promise<OpApp & { after: { json: unknown } }> {
    const served = await serve({ idTokenAtRefresh: change ?? {} });
    await served.signIn();
    clock.advance(400);
    return { ...served, after: await served.browser.get('/') };
  }

  it('oidcc-client-test-refresh-token', async () => {
    const { op, after } = await refreshed({});
    expect(after.json).toMatchObject({ authenticated: true, refreshed: true });
    expect(op.refreshes()).toBe(1);
  });

  it.each([
    ['oidcc-client-test-refresh-token-invalid-issuer', { iss: 'https://other.example' }],
    ['oidcc-client-test-refresh-token-invalid-sub', { sub: 'other' }],
    ['with another client', { aud: 'other' }],
    ['with another authorized party', { azp: 'other' }],
  ])('%s', async (_, change) => {
    const { after } = await refreshed(change);
    expect(after.json).toMatchObject({ authenticated: false, retryable: true, reason: 'provider_misconfigured' });
  });

  it('names the check that an ID token does not pass', async () => {
    const { op } = await serve({});
    const { url: issuer, clientId, clientSecret } = op;
    const claims = { iss: issuer, sub: 'other', aud: clientId, iat: now(), exp: now() + 60 };
    const answer = { access_token: 'opaque', id_token: await op.sign(claims, 'op', 'RS256') };
    const provider = oidc({ issuer, clientId, clientSecret });
    const reading = Promise.resolve(provider.readRefresh(answer, { accessToken: 'old', user: { id: 'user_01' } }));
    await expect(reading).rejects.toMatchObject({ reason: 'provider_misconfigured', detail: 'id_token_subject' });
  });

  it.each([
    ['that expired a year ago', { exp: now() - 31_536_000, email: 'old@example.com' }],
    ['that is from tomorrow', { iat: now() + 90_000, exp: now() + 99_000, email: 'old@example.com' }],
  ])('takes nothing from an ID token %s, and loses no tokens', async (_, change) => {
    const { after, problems } = await refreshed(change);
    expect(after.json).toMatchObject({ authenticated: true, refreshed: true, user: { email: 'ada@example.com' } });
    expect(problems()).toEqual([expect.stringMatching(/^old_claims id_token_/)]);
  });
});

describe('the plan Basic with form_post', () => {
  it.each(basic.map(([module, wire, outcome]) => ({ module, wire, outcome })))('$module', async ({ wire, outcome }) => {
    const { app, signIn, visit, told } = await serve(wire, () => ({ responseMode: 'form_post' }));
    const form = (await signIn()).headers.get('x-form')!;
    const posted = await fetch(`${app.url}/callback`, {
      method: 'POST',
      redirect: 'manual',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: form,
    });
    const page = await visit(posted.headers.get('location')!);
    if (outcome === 'accepted') expect(page.json).toMatchObject({ authenticated: true, user: { name: 'Ada' } });
    else expect(told.signInFailed).toMatchObject([outcome]);
  });
});
