import { describe, expect, it } from '@jest/globals';
import { getSession, oidc, withSession } from 'express-sealed-session';

import { frameworks } from '../support/apps.js';
import { createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { serveOp } from '../support/op-app.js';
import { startOpServer } from '../support/op-server.js';
import { password } from '../support/workos-session.js';

const clock = useClock();
const signedIn = { authenticated: true, user: { id: 'user_01' } };
const forUs = { azp: 'client_01', roles: ['admin'] };
const person = { name: 'Ada', email: 'ada@example.com' };

describe("accessToken: 'auto'", () => {
  it.each<[string, Parameters<typeof serveOp>[0], string]>([
    ['an opaque token', {}, ''],
    [
      'a token about a user by another name, as Okta has it',
      { wire: { accessToken: { ...forUs, sub: 'ada@example.com' } } },
      'other_user',
    ],
    [
      'a token without a user, as of Keycloak and ADFS',
      { wire: { accessToken: { ...forUs, sub: '' } } },
      'subject_missing',
    ],
    ['a token whose key is not published', { wire: { accessToken: forUs, unpublishedKey: true } }, 'key_not_published'],
    ['a token for another API', { wire: { accessToken: { aud: 'https://graph.example' } } }, 'other_client'],
    ['a token issued to another client', { wire: { accessToken: { client_id: 'client_02' } } }, 'other_client'],
    ['a token of another issuer', { wire: { accessToken: { ...forUs, iss: 'https://sts.example/' } } }, 'other_issuer'],
    ['an ID token in its place', { wire: { accessToken: { aud: 'client_01', nonce: 'n' } } }, 'other_token_type'],
    [
      'a token with a secret algorithm, as Authentik without a key',
      { wire: { accessToken: forUs, accessTokenAlgorithm: 'HS256' } },
      'algorithm_not_accepted',
    ],
  ])('counts %s as opaque, signs in, and says once why', async (_, server, why) => {
    const { op, signIn, browser, problems, told, payload } = await serveOp({
      ...server,
      wire: { idToken: { ...person, roles: ['admin'] }, ...server?.wire },
    });
    expect((await signIn()).json).toMatchObject({ ...signedIn, roles: ['admin'] });
    expect(payload()).toMatchObject({ tokenKind: 'opaque' });
    // It goes by `expires_in`: nothing is refreshed before, and one refresh comes after.
    for (let time = 1; time <= 3; time += 1) {
      expect((await browser.get('/')).json).toMatchObject(signedIn);
      expect(op.refreshes()).toBe(time - 1);
      clock.advance(301);
      expect((await browser.get('/')).json).toMatchObject({ ...signedIn, refreshed: true });
    }
    expect(problems()).toEqual(why === '' ? [] : [`access_token_not_ours ${why}`]);
    expect(told.rejected).toEqual([]);
  });

  it.each([
    ['by azp', { azp: 'client_01' }],
    ['by client_id', { client_id: 'client_01' }],
    ['by aud', { aud: ['client_01'] }],
  ])('verifies a token that names this client %s', async (_, accessToken) => {
    const { signIn, browser, problems, payload } = await serveOp({ wire: { idToken: person, accessToken } });
    expect((await signIn()).json).toMatchObject({ ...signedIn, claims: accessToken });
    expect(payload()).toMatchObject({ tokenKind: 'jwt' });
    clock.advance(301);
    expect((await browser.get('/')).json).toMatchObject({ refreshed: true, claims: accessToken });
    expect(problems()).toEqual([]);
  });

  it.each([
    ['resource', { resource: 'https://api.example' }],
    ['the audience of the authorization request', { authorizationParameters: { audience: 'https://api.example' } }],
  ])('takes the audience from %s', async (_, options) => {
    const audience = { aud: ['https://api.example', 'https://op.example/userinfo'], sub: 'user_01' };
    const { signIn, payload } = await serveOp({ wire: { idToken: person, accessToken: audience } }, () => options);
    expect((await signIn()).json).toMatchObject({ ...signedIn, claims: audience });
    expect(payload()).toMatchObject({ tokenKind: 'jwt' });
  });

  it('decides again at each refresh', async () => {
    const { op, signIn, browser, payload } = await serveOp({ wire: { idToken: person, accessToken: forUs } });
    await signIn();
    op.wire.accessToken = undefined;
    clock.advance(301);
    await browser.get('/');
    expect(payload()).toMatchObject({ tokenKind: 'opaque' });
    op.wire.accessToken = forUs;
    clock.advance(301);
    await browser.get('/');
    expect(payload()).toMatchObject({ tokenKind: 'jwt' });
  });

  it('never counts a token as opaque that is suddenly about another user', async () => {
    const { op, signIn, browser, told } = await serveOp({ wire: { idToken: person, accessToken: forUs } });
    await signIn();
    op.wire.accessToken = { ...forUs, sub: 'user_02' };
    clock.advance(400);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: false, reason: 'invalid_jwt' });
    expect(told.rejected).toMatchObject([{ detail: 'other_user' }]);
  });

  it('decides nothing while the keys cannot be had, and asks again', async () => {
    const { op, signIn, browser } = await serveOp({
      wire: { idToken: person, idTokenAtRefresh: false, accessToken: forUs },
    });
    await signIn();
    // The known keys are too old to serve, and new ones cannot be had.
    op.wire.keysStatus = 500;
    clock.advance(7 * 60 * 60);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: false, reason: 'keys_unavailable' });
    op.wire.keysStatus = 200;
    clock.advance(10);
    expect((await browser.get('/')).json).toMatchObject({ ...signedIn, roles: ['admin'] });
  });

  it('counts an undecided token as opaque once the keys are there and do not fit', async () => {
    const { op, signIn, browser, payload } = await serveOp({
      wire: { idToken: { ...person, roles: ['admin'] }, accessToken: { aud: 'https://graph.example' } },
    });
    await signIn();
    op.wire.keysStatus = 500;
    clock.advance(7 * 60 * 60);
    // Neither token can be judged: the session is kept, and nothing is taken from the ID token.
    expect((await browser.get('/')).json).toMatchObject({ authenticated: false, reason: 'keys_unavailable' });
    expect(payload()).toMatchObject({ tokenKind: 'undecided' });
    op.wire.keysStatus = 200;
    clock.advance(10);
    expect((await browser.get('/')).json).toMatchObject({ ...signedIn, roles: ['admin'] });
    expect(op.refreshes()).toBe(1);
  });

  it('never makes a token opaque that the app gives: it verifies, or is refused', async () => {
    const op = await startOpServer({ wire: { accessToken: forUs } });
    const app = await frameworks[0]!.listen((each) => {
      each.use(withSession({ provider: oidc({ issuer: op.url, clientId: 'client_01', clientSecret: 's' }), password }));
      each.get('/in', async (req, res) => {
        const accessToken = String(req.headers['x-token']);
        await getSession(req).signIn({ accessToken, expiresIn: 300, user: { id: 'user_01' } });
        res.end(JSON.stringify(getSession(req)));
      });
    });
    const claims = { iss: op.url, sub: 'user_01', exp: Math.floor(Date.now() / 1000) + 300 };
    const give = async (more: object, key = 'op') => {
      const token = await op.sign({ ...claims, ...more }, key, 'RS256');
      const page = await createBrowser(app.url).get('/in', { headers: { 'x-token': token } });
      return page.json.error ?? page.json.reason ?? page.json.authenticated;
    };
    expect(await give({ azp: 'client_01' })).toBe(true);
    expect(await give({ azp: 'client_02' })).toBe('ERR_SESSION_TOKENS_INVALID');
    expect(await give({ azp: 'client_01', sub: 'user_02' })).toBe('ERR_SESSION_TOKENS_INVALID');
    expect(await give({ azp: 'client_01' }, 'hidden')).toBe('keys_unavailable');
    await Promise.all([app.close(), op.close()]);
  });
});

describe("accessToken: 'jwt'", () => {
  it('takes another subject, which stays the same ever after', async () => {
    const { op, signIn, browser, told } = await serveOp(
      { wire: { idToken: person, accessToken: { ...forUs, sub: 'ada@example.com' } } },
      () => ({ accessToken: 'jwt' }),
    );
    expect((await signIn()).json).toMatchObject({ ...signedIn, claims: { sub: 'ada@example.com' } });
    clock.advance(301);
    expect((await browser.get('/')).json).toMatchObject({ ...signedIn, refreshed: true });
    op.wire.accessToken = { ...forUs, sub: 'mallory@example.com' };
    clock.advance(301);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: false, reason: 'invalid_jwt' });
    expect(told.rejected).toMatchObject([{ detail: 'other_user' }]);
  });

  it('refuses a sign-in whose token does not pass, and tells which check', async () => {
    const { signIn, told, problems } = await serveOp(
      { wire: { idToken: person, accessToken: { aud: 'https://graph.example' } } },
      () => ({ accessToken: 'jwt' }),
    );
    expect((await signIn()).status).toBe(500);
    expect(told.signInFailed).toEqual([{ failure: 'check_failed', check: 'access_token', restarted: false }]);
    expect(problems()).toEqual(['audience']);
  });

  it('verifies by what the object says', async () => {
    const v1 = { iss: 'https://sts.example/tenant/', aud: 'api://own', appid: 'client_01', sub: 'pairwise' };
    const accessToken = { issuer: 'https://sts.example/tenant/', audience: 'api://own' };
    const { signIn } = await serveOp({ wire: { idToken: person, accessToken: v1 } }, () => ({ accessToken }));
    expect((await signIn()).json).toMatchObject({ ...signedIn, claims: v1 });
  });
});

it("accessToken: 'opaque' never looks into a token", async () => {
  const { op, signIn, browser } = await serveOp(
    { wire: { idToken: person, accessToken: { ...forUs, exp: 1 } } },
    () => ({ accessToken: 'opaque' }),
  );
  const page = await signIn();
  expect(page.json).toMatchObject({ ...signedIn, claims: {} });
  expect(page.json.claims).not.toHaveProperty('azp');
  clock.advance(301);
  expect((await browser.get('/')).json).toMatchObject({ refreshed: true });
  expect(op.refreshes()).toBe(1);
});
