import { describe, expect, it } from '@jest/globals';
import type { OidcOptions } from 'express-sealed-session';

import { useClock } from '../support/clock.js';
import { serveOp } from '../support/op-app.js';

const clock = useClock();
const signedIn = { authenticated: true, user: { id: 'user_01' } };

describe('who the user is', () => {
  it('asks userinfo at sign-in when the ID token lacks what the scope asks for', async () => {
    const userinfo = { sub: 'user_01', name: 'Ada', email: 'ada@example.com', picture: 'https://x.example/a.png' };
    const { op, signIn } = await serveOp({ wire: { userinfo } });
    const page = await signIn();
    expect(page.json).toMatchObject({
      ...signedIn,
      user: { id: 'user_01', name: 'Ada', email: 'ada@example.com', picture: 'https://x.example/a.png' },
    });
    expect(op.to('/userinfo')).toHaveLength(1);
  });

  it.each<[string, Partial<OidcOptions>, Record<string, unknown>, number]>([
    ['asks nothing when the ID token has it', {}, { name: 'Ada', email: 'ada@example.com' }, 0],
    ['asks nothing when the scope asks for nothing', { scope: 'openid' }, {}, 0],
    ['asks always with userinfo: true', { userinfo: true }, { name: 'Ada', email: 'ada@example.com' }, 1],
    ['asks never with userinfo: false', { userinfo: false }, {}, 0],
  ])('%s', async (_, options, idToken, asked) => {
    const { op, signIn } = await serveOp(
      { wire: { idToken, userinfo: { sub: 'user_01', name: 'Other' } } },
      () => options,
    );
    const page = await signIn();
    expect(page.json).toMatchObject(signedIn);
    expect(op.to('/userinfo')).toHaveLength(asked);
    // What is signed goes before what is not.
    if ('name' in idToken) expect(page.json.user.name).toBe('Ada');
  });

  it('refuses the sign-in when userinfo speaks of another user', async () => {
    const { signIn, told } = await serveOp({ wire: { userinfo: { sub: 'user_02', name: 'Mallory' } } });
    const page = await signIn();
    expect([page.status, page.json]).toMatchObject([400, { error: 'ERR_SESSION_SIGN_IN_FAILED' }]);
    expect(told.signInFailed).toEqual([{ failure: 'check_failed', check: 'userinfo_subject', restarted: false }]);
  });

  it('signs in with the ID token alone when userinfo does not answer, and says so', async () => {
    const { signIn, problems } = await serveOp({ wire: { userinfo: 503, idToken: { email: 'ada@example.com' } } });
    expect((await signIn()).json).toMatchObject({
      authenticated: true,
      user: { id: 'user_01', email: 'ada@example.com' },
    });
    expect(problems()).toEqual(['userinfo http_503']);
  });

  it('signs in with the ID token alone when userinfo never answers', async () => {
    const { signIn, problems } = await serveOp({ wire: { userinfo: 'nothing' } });
    expect((await signIn()).json).toMatchObject(signedIn);
    expect(problems()).toEqual(['userinfo timeout']);
  }, 20_000);

  it('keeps what it knows of the person when a refresh brings a thin ID token', async () => {
    const { op, signIn, browser } = await serveOp({
      wire: {
        idToken: { name: 'Ada', email: 'ada@example.com', groups: ['a'] },
        idTokenAtRefresh: { email: 'new@example.com' },
      },
    });
    await signIn();
    clock.advance(400);
    const page = await browser.get('/');
    expect(page.json).toMatchObject({
      refreshed: true,
      user: { id: 'user_01', name: 'Ada', email: 'new@example.com', groups: ['a'] },
    });
    expect(op.refreshes()).toBe(1);
  });

  it('takes roles from the newest ID token alone: a role that is gone is gone', async () => {
    const { op, signIn, browser } = await serveOp(
      { wire: { idToken: { name: 'A', email: 'b', groups: ['admin'] } } },
      () => ({ mapClaims: { roles: 'groups' } }),
    );
    await signIn();
    expect((await browser.get('/admin')).status).toBe(200);
    op.wire.idTokenAtRefresh = {};
    clock.advance(400);
    expect((await browser.get('/admin')).status).toBe(403);
    expect((await browser.get('/')).json).toMatchObject({ roles: [], user: { name: 'A' } });
    expect((await browser.get('/')).json.user).not.toHaveProperty('groups');
  });

  it('keeps roles when refreshes bring no ID token, and says that they are old', async () => {
    const { signIn, browser, problems } = await serveOp(
      { wire: { idToken: { name: 'A', email: 'b', groups: ['admin'] }, idTokenAtRefresh: false } },
      () => ({ mapClaims: { roles: 'groups' } }),
    );
    await signIn();
    for (let time = 0; time < 2; time += 1) {
      clock.advance(400);
      expect((await browser.get('/admin')).status).toBe(200);
    }
    expect(problems()).toEqual(['old_claims no_id_token']);
  });

  it('keeps what the ID token says of the sign-in', async () => {
    const idToken = { sid: 'sid_1', auth_time: 1_700_000_000, acr: 'mfa', amr: ['pwd', 'otp'] };
    const { signIn, browser } = await serveOp({ wire: { idToken, idTokenAtRefresh: {} } });
    await signIn();
    clock.advance(400);
    const { claims, sessionId } = (await browser.get('/')).json;
    expect(claims).toEqual(idToken);
    expect(sessionId).toBe('sid_1');
  });

  const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;

  it.each([
    ['in seconds', () => inSeconds(1000), undefined],
    ['in milliseconds', () => inSeconds(1000) * 1000, undefined],
    ['later than absoluteSeconds', () => inSeconds(5000), 1000],
    ['earlier than absoluteSeconds', () => inSeconds(1000), 5000],
  ])('ends the session at the ceiling of the provider, %s', async (_, ceiling, absoluteSeconds) => {
    const { signIn, browser, told } = await serveOp({ wire: { idToken: { session_expiry: ceiling() } } }, undefined, {
      lifetime: { absoluteSeconds },
    });
    expect((await signIn()).json).toMatchObject(signedIn);
    clock.advance(990);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: true });
    clock.advance(20);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: false, reason: 'session_expired' });
    const detail = absoluteSeconds === 1000 ? 'absolute_lifetime' : 'provider_lifetime';
    expect(told.rejected.at(-1)).toMatchObject({ detail });
  });

  it.each([
    ['past', () => inSeconds(-10)],
    ['a text', () => String(inSeconds(1000))],
    ['a date', () => '2030-01-01'],
    ['null', () => null],
    ['nothing', () => 0],
  ])('signs nobody in with a ceiling that is %s', async (_, ceiling) => {
    const { signIn, told } = await serveOp({ wire: { idToken: { session_expiry: ceiling() } } });
    expect((await signIn()).status).toBe(400);
    expect(told.signInFailed).toMatchObject([{ failure: 'check_failed', check: 'id_token_session_expiry' }]);
  });

  it('keeps the ceiling of before where a refresh brings one that cannot be read', async () => {
    const { signIn, browser, problems } = await serveOp({
      wire: { idToken: { session_expiry: inSeconds(1000) }, idTokenAtRefresh: { session_expiry: 'soon' } },
    });
    await signIn();
    clock.advance(400);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: true, refreshed: true });
    expect(problems()).toContain('old_claims id_token_session_expiry');
    clock.advance(610);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: false, reason: 'session_expired' });
  });

  it('moves the ceiling with each refresh, and ends a session whose ceiling has come', async () => {
    const { op, signIn, browser } = await serveOp({ wire: { idToken: { session_expiry: inSeconds(1000) } } });
    await signIn();
    op.wire.idTokenAtRefresh = { session_expiry: inSeconds(350) };
    clock.advance(400);
    await browser.get('/');
    expect((await browser.get('/')).json).toMatchObject({ authenticated: false });
  });
});

describe('what guards read', () => {
  it.each<[string, OidcOptions['mapClaims'], Record<string, unknown>, Record<string, unknown>]>([
    ['a path', { roles: ['realm_access', 'roles'] }, { realm_access: { roles: ['admin'] } }, { roles: ['admin'] }],
    [
      'a name with dots and slashes',
      { roles: 'https://a.example/roles' },
      { 'https://a.example/roles': ['admin'] },
      { roles: ['admin'] },
    ],
    ['a text with spaces', { permissions: 'scope' }, { scope: 'read  write' }, { permissions: ['read', 'write'] }],
    ['an organization', { organizationId: 'org' }, { org: 'org_01' }, { organizationId: 'org_01' }],
    ['what an object inherits: nothing', { roles: ['constructor', 'name'] }, { a: 1 }, { roles: [] }],
    ['the usual names', undefined, { roles: ['admin'], permissions: ['p'] }, { roles: ['admin'], permissions: ['p'] }],
    [
      'a function',
      (_access, id) => ({ roles: [`is-${String(id.level)}`] }),
      { level: 'admin' },
      { roles: ['is-admin'] },
    ],
  ])('reads %s of the ID token, where the access token is opaque', async (_, mapClaims, idToken, shown) => {
    const { signIn } = await serveOp({ wire: { idToken } }, () => ({ mapClaims }));
    expect((await signIn()).json).toMatchObject({ ...signedIn, ...shown });
  });

  it('reads a verified access token, and then not the ID token', async () => {
    const { signIn } = await serveOp({
      wire: { idToken: { roles: ['of-the-id-token'] }, accessToken: { azp: 'client_01', roles: ['admin'] } },
    });
    expect((await signIn()).json).toMatchObject({ ...signedIn, roles: ['admin'], claims: { azp: 'client_01' } });
  });

  it('gives both tokens to a function', async () => {
    const { signIn } = await serveOp({ wire: { idToken: { a: 1 }, accessToken: { azp: 'client_01', b: 2 } } }, () => ({
      mapClaims: (access, id) => ({ roles: [`${String(access.b)}${String(id.a)}`] }),
    }));
    expect((await signIn()).json).toMatchObject({ roles: ['21'] });
  });
});
