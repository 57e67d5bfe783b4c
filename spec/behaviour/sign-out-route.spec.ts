import { randomBytes } from 'node:crypto';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { getSession, oidc, type OidcOptions, type SessionOptions, withSession } from 'express-sealed-session';

import { frameworks } from '../support/apps.js';
import { useClock } from '../support/clock.js';
import { createNavigator, type Navigator } from '../support/navigator.js';
import { type OidcServer, startOidcServer } from '../support/oidc-provider.js';
import { password } from '../support/workos-session.js';

const origin = 'https://app.example.com';
const open: { close: () => Promise<unknown> }[] = [];
afterAll(() => Promise.all(open.map((each) => each.close())));
const clock = useClock();
const sameOrigin = { headers: { 'sec-fetch-site': 'same-origin' } };

async function serve(options: SessionOptions): Promise<Navigator> {
  const sessions = withSession(options);
  const app = await frameworks[0]!.listen((each) => {
    each.use(sessions);
    each.use(sessions.routes());
    each.get('/page', (req, res) => res.end(JSON.stringify(getSession(req))));
    each.get('/guarded', sessions.require(), (_req, res) => res.end());
  });
  open.push(app);
  return createNavigator({ [origin]: app.url });
}

describe('signing out at a real OpenID provider', () => {
  let op: OidcServer;
  beforeAll(async () => {
    op = await startOidcServer();
    open.push(op);
  });

  const optionsWith = (provider: Partial<OidcOptions> = {}, options: Partial<SessionOptions> = {}): SessionOptions => ({
    provider: oidc({
      issuer: op.url,
      clientId: op.clientId,
      clientSecret: op.clientSecret,
      resource: op.audience,
      ...provider,
    }),
    password,
    baseUrl: origin,
    ...options,
  });
  const queryOf = (location: string | undefined) => Object.fromEntries(new URL(location!).searchParams);

  it('hands over the ID token, from a cookie that only the sign-out gets', async () => {
    const browser = await serve(optionsWith());
    const page = await browser.follow('/login?returnTo=/page');
    expect(page.json).toMatchObject({ authenticated: true });
    const kept = browser.jar.cookies.find(({ name }) => name === '__Secure-session-id-token')!;
    expect(kept).toMatchObject({ path: '/logout', secure: true, httpOnly: true, sameSite: 'Strict' });
    expect(browser.cookiesFor('/page')).not.toContain('id-token');

    const out = await browser.open('/logout', sameOrigin);
    const { id_token_hint: hint, ...more } = queryOf(out.location);
    expect(JSON.parse(Buffer.from(hint!.split('.')[1]!, 'base64url').toString())).toMatchObject({ sub: 'user_01' });
    expect(more).toEqual({ client_id: op.clientId, post_logout_redirect_uri: `${origin}/` });
    // The provider takes it, and its own session ends.
    expect((await browser.open(out.location!)).status).toBe(200);
    expect(browser.jar.cookies.filter(({ name }) => name.includes('session-'))).toEqual([]);
  });

  it('hands over the hint of no other session', async () => {
    const browser = await serve(optionsWith());
    await browser.follow('/login?returnTo=/page');
    const [first] = browser.jar.cookies.filter(({ name }) => name.includes('id-token'));
    await browser.follow('/login?returnTo=/page');
    browser.jar.set(origin, `${first!.name}=${first!.value}; Path=/logout; Secure`);
    const query = queryOf((await browser.open('/logout', sameOrigin)).location);
    expect(query).not.toHaveProperty('id_token_hint');
    // The session's own id at the provider is what is left to say.
    expect(query.logout_hint).toEqual(expect.any(String));
  });

  it.each([
    ['a value that is not sealed', () => 'eyJhbGciOiJub25lIn0.e30.'],
    ['the sealed session', (browser: Navigator) => browser.jar.get('__Host-session')!],
  ])('hands over no %s', async (_, valueOf) => {
    const browser = await serve(optionsWith());
    await browser.follow('/login?returnTo=/page');
    browser.jar.set(origin, `__Secure-session-id-token=${valueOf(browser)}; Path=/logout; Secure`);
    expect(queryOf((await browser.open('/logout', sameOrigin)).location)).not.toHaveProperty('id_token_hint');
  });

  it('keeps no ID token where it and the session would not fit into a request', async () => {
    // A seal is compressed, and chance cannot be.
    const large = { data: { much: randomBytes(3_600).toString('base64url') } };
    const browser = await serve(optionsWith({}, { onSignIn: () => large }));
    await browser.follow('/login?returnTo=/page');
    expect(browser.jar.cookies.map(({ name }) => name).filter((name) => name.includes('id-token'))).toEqual([]);
    expect((await browser.open('/page')).json).toMatchObject({ authenticated: true });
  });

  it('works with an access token that has expired, and one that cannot be checked', async () => {
    const browser = await serve(optionsWith());
    await browser.follow('/login?returnTo=/page');
    clock.advance(100_000);
    const out = await browser.open('/logout', sameOrigin);
    expect(queryOf(out.location)).toHaveProperty('id_token_hint');
    expect(browser.jar.get('__Host-session')).toBeUndefined();
  });

  it('comes back to the page that was asked for, through the registered address', async () => {
    const browser = await serve(optionsWith());
    await browser.follow('/login?returnTo=/page');
    const out = await browser.open('/logout?returnTo=/bye%3Fa=1', sameOrigin);
    const { post_logout_redirect_uri: registered, state } = queryOf(out.location);
    expect(registered).toBe(`${origin}/`);
    // As the provider sends the browser back (OpenID Connect RP-Initiated Logout 1.0, section 2).
    const back = await browser.open(`${registered!}?state=${encodeURIComponent(state!)}`);
    expect(back.location).toBe(`${origin}/bye?a=1`);
    clock.advance(700);
    expect((await browser.open(`${registered!}?state=${encodeURIComponent(state!)}`)).location).toBeUndefined();
  });

  it('leads nobody on by a state that it has not sealed for that', async () => {
    const browser = await serve(optionsWith());
    await browser.follow('/login?returnTo=/page');
    // It has a path too, and was sealed for another purpose.
    const stranger = createNavigator({ [origin]: browser.servedAt[origin]! });
    const guarded = await stranger.open(`/guarded?${'a'.repeat(600)}`);
    const asked = new URL(guarded.location!).searchParams.get('asked')!;
    for (const state of ['/bye', browser.jar.get('__Host-session')!, asked]) {
      expect((await browser.open(`/?state=${encodeURIComponent(state)}`)).location).toBeUndefined();
    }
  });

  it.each(['https://evil.example/', '//evil.example', `/${'a'.repeat(600)}`])(
    'ignores a returnTo of %.30s',
    async (returnTo) => {
      const browser = await serve(optionsWith());
      await browser.follow('/login?returnTo=/page');
      const out = await browser.open(`/logout?returnTo=${encodeURIComponent(returnTo)}`, sameOrigin);
      expect(queryOf(out.location)).not.toHaveProperty('state');
    },
  );

  it('goes to the page that was asked for at once where there was no session', async () => {
    const browser = await serve(optionsWith());
    expect((await browser.open('/logout?returnTo=/bye', sameOrigin)).location).toBe(`${origin}/bye`);
  });

  it('logoutUrl, logoutParameters: are where and how the provider wants it', async () => {
    const logoutUrl = 'https://login.example.com/v2/logout?x=1';
    const browser = await serve(
      optionsWith({ logoutUrl, logoutParameters: { federated: '', returnTo: `${origin}/` } }),
    );
    await browser.follow('/login?returnTo=/page');
    const out = new URL((await browser.open('/logout', sameOrigin)).location!);
    expect(out.origin + out.pathname).toBe('https://login.example.com/v2/logout');
    expect(Object.fromEntries(out.searchParams)).toMatchObject({ x: '1', federated: '', returnTo: `${origin}/` });
  });

  it('has no such cookie without the route', async () => {
    const browser = await serve(optionsWith({}, { routes: { logout: false } }));
    await browser.follow('/login?returnTo=/page');
    expect(browser.jar.cookies.map(({ name }) => name).filter((name) => name.includes('id-token'))).toEqual([]);
  });
});
