import { describe, expect, it } from '@jest/globals';
import { createSessionManager, getSession, type Session, withSession } from 'express-sealed-session';

import { frameworks } from '../support/apps.js';
import { useWorkos } from '../support/use-workos.js';
import { cookieHeader, sealedSession, workosOptions } from '../support/workos-session.js';

const workos = useWorkos();

/** What a handler meets that calls a method of the session. */
async function calling(call: (session: Session) => Promise<unknown>): Promise<unknown> {
  let met: unknown;
  const app = workos.closing(
    await frameworks[0]!.listen((each) => {
      const sessions = withSession({ ...workosOptions(workos.server), baseUrl: 'http://localhost' });
      each.use(sessions);
      each.use(sessions.routes());
      each.get('/', async (req, res) => {
        met = await call(getSession(req)).then(
          () => 'done',
          (error: unknown) => error,
        );
        res.end();
      });
    }),
  );
  const { sealed } = await sealedSession(workos.server);
  const response = await fetch(app.url, cookieHeader(sealed));
  expect(response.headers.getSetCookie().filter((each) => met !== 'done' && each.length > 0)).toEqual([]);
  return met;
}

describe('the calls of a session', () => {
  it.each<[string, (session: Session) => Promise<unknown>, string]>([
    [
      'refresh',
      (session) => session.refresh({ organisationId: 'org' } as never),
      'refresh: "organisationId" is not an',
    ],
    ['refresh', (session) => session.refresh({ organizationId: 7 } as never), 'refresh: "organizationId" must be a'],
    ['refresh', (session) => session.refresh('org_02' as never), 'refresh: "options" must be an object'],
    ['signOut', (session) => session.signOut({ returnUrl: '/' } as never), 'signOut: "returnUrl" is not an option'],
    ['signOut', (session) => session.signOut('/bye' as never), 'signOut: "options" must be an object of options'],
    ['beginSignIn', (session) => session.beginSignIn({ orgId: 'o' } as never), 'beginSignIn: "orgId" is not an option'],
  ])('%s() refuses what it does not know, and does nothing', async (_, call, message) => {
    const error = await calling(call);
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).message).toContain(message);
    expect(workos.server.refreshCount).toBe(0);
  });

  it.each<[string, (session: Session) => Promise<unknown>]>([
    ['refresh', (session) => session.refresh({ organizationId: undefined })],
    ['signOut', (session) => session.signOut({ returnTo: undefined })],
  ])('%s() takes an option that is undefined for one that is not there', async (_, call) => {
    expect(await calling(call)).toBe('done');
  });
});

describe('the fields of new tokens', () => {
  const manager = () => createSessionManager(workosOptions(workos.server));

  it.each([
    ['permissions', 'Tokens have no "permissions": guards read it in the access token'],
    ['data', 'give it as the second argument of seal()'],
    ['access_token', 'Tokens have no field of this name: "access_token". They have accessToken, refreshToken'],
    ['expiresAt', 'no field of this name: "expiresAt"'],
  ])('are refused where one is not known: %s', async (field, message) => {
    const { accessToken, refreshToken, user } = await workos.server.issueSession();
    const tokens = { accessToken, refreshToken, user: { ...user }, [field]: ['a value that no message may hold'] };
    const sealing = manager().seal(tokens);
    await expect(sealing).rejects.toMatchObject({ code: 'ERR_SESSION_TOKENS_INVALID' });
    await expect(sealing).rejects.toThrow(message);
    const signingIn = (await calling((session) => session.signIn(tokens))) as Error;
    expect(signingIn.message).toContain(message);
    expect(signingIn.message).not.toContain('a value');
  });

  it('are all taken that the answer of the SDK has', async () => {
    const { accessToken, refreshToken, user } = await workos.server.issueSession();
    const answer = {
      user: { ...user },
      accessToken,
      refreshToken,
      organizationId: undefined,
      impersonator: undefined,
      authenticationMethod: 'SSO',
      sealedSession: 'a seal of the SDK',
      oauthTokens: { provider: 'GoogleOAuth', accessToken: 'google' },
    } as const;
    expect(await calling((session) => session.signIn(answer))).toBe('done');
    const who = await manager()
      .load(await manager().seal(answer))
      .authenticate();
    expect(who).toMatchObject({ authenticated: true, authenticationMethod: 'SSO' });
  });

  it('are sealed with the data of the app', async () => {
    const { accessToken, user } = await workos.server.issueSession();
    const app = await workos.serve();
    const sealed = await manager().seal({ accessToken, user: { ...user } }, { theme: 'dark' });
    expect((await app.send(sealed, '/guarded')).status).toBe(200);
    await expect(manager().seal({ accessToken, user: { ...user } }, 'dark' as never)).rejects.toThrow(TypeError);
  });

  it('must be an object', async () => {
    await expect(manager().seal(undefined as never)).rejects.toMatchObject({ code: 'ERR_SESSION_TOKENS_INVALID' });
  });

  it('are looked at by the calls of a loaded session too', async () => {
    const session = manager().load((await sealedSession(workos.server)).sealed);
    await expect(session.refresh({ organisationId: 'org' } as never)).rejects.toThrow(TypeError);
    await expect(session.logoutUrl({ returnUrl: '/' } as never)).rejects.toThrow(TypeError);
    expect(workos.server.refreshCount).toBe(0);
  });
});
