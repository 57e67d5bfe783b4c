import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createSessionManager, type SessionManager, type TokenSet } from 'express-sealed-session';
import { unsealData } from 'iron-session';

import { useClock } from '../support/clock.js';
import { answers, startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { expired, password, sealedSession, workosOptions } from '../support/workos-session.js';

let server: WorkosServer;
let sessions: SessionManager;
useClock();

beforeAll(async () => {
  server = await startWorkosServer();
});
afterAll(() => server.close());
beforeEach(() => {
  server.token.heal();
  server.keys.heal();
  sessions = createSessionManager(workosOptions(server));
});

describe('refresh', () => {
  it('seals locally, returns the seal, and the seal round-trips', async () => {
    const { sealed, refreshToken } = await sealedSession(server, expired);
    const session = sessions.load(sealed);

    const result = await session.refresh();

    expect(result).toMatchObject({ authenticated: true, user: { id: 'user_01' } });
    const { sealedSession: next } = result as { sealedSession: string };
    expect(next).not.toBe(sealed);
    const contents = await unsealData<Record<string, unknown>>(next, { password });
    expect(contents.accessToken).toEqual(expect.any(String));
    expect(contents.refreshToken).not.toBe(refreshToken);
    expect(await sessions.load(next).authenticate()).toMatchObject({ authenticated: true, user: { id: 'user_01' } });
  });

  it('is what a later authenticate() goes by', async () => {
    const { sealed } = await sealedSession(server, expired);
    const session = sessions.load(sealed);
    expect(await session.authenticate()).toEqual({ authenticated: false, reason: 'expired_jwt', retryable: false });

    const result = await session.refresh();

    expect(await session.authenticate()).toMatchObject({ authenticated: true });
    expect(session.sealed).toBe((result as { sealedSession: string }).sealedSession);
  });

  it.each([
    ['garbage', 'garbage', 'invalid_session_cookie'],
    ['a seal with garbage in it', 'Fe26.2*1*a*b*c**d*e~2', 'invalid_session_cookie'],
    ['nothing', '', 'no_session_cookie_provided'],
    ['no cookie at all', undefined, 'no_session_cookie_provided'],
  ])('answers %s with a value, not an exception', async (_, sealed, reason) => {
    const before = server.refreshCount;
    const session = sessions.load(sealed);
    expect(await session.authenticate()).toEqual({ authenticated: false, reason, retryable: false });
    expect(await session.refresh()).toEqual({ authenticated: false, reason, retryable: false });
    expect(server.refreshCount).toBe(before);
  });

  it('answers a missing refresh token with a value, and calls nobody', async () => {
    const { sealed } = await sealedSession(server, expired, { refreshToken: undefined });
    const before = server.refreshCount;
    expect(await sessions.load(sealed).refresh()).toEqual({
      authenticated: false,
      reason: 'invalid_session_cookie',
      retryable: false,
    });
    expect(server.refreshCount).toBe(before);
  });

  it('sends no seal, no cookie, no password, and asks for no sealed session', async () => {
    const { sealed, refreshToken } = await sealedSession(server, expired);
    await sessions.load(sealed).refresh();

    const request = server.tokenRequests.at(-1)!;
    const sent = JSON.stringify(request);
    expect(request.body).toEqual({
      grant_type: 'refresh_token',
      client_id: server.clientId,
      client_secret: server.apiKey,
      refresh_token: refreshToken,
    });
    expect(request.headers.cookie).toBeUndefined();
    expect(sent).not.toContain(sealed);
    expect(sent).not.toContain('Fe26');
    expect(sent).not.toContain(password);
    expect(sent).not.toMatch(/seal|cookie/i);
  });

  it('ignores a sealed session in the answer', async () => {
    const { sealed } = await sealedSession(server, expired);
    server.token.reply = (body) => ({ ...(body as object), sealed_session: 'from the server' });
    const result = await sessions.load(sealed).refresh();
    expect((result as { sealedSession: string }).sealedSession).toMatch(/^Fe26\.2\*/);
    expect(JSON.stringify(result)).not.toContain('from the server');
  });

  it.each([
    ['without an access token', (body: object) => ({ ...body, access_token: undefined })],
    ['with an access token that is none', (body: object) => ({ ...body, access_token: 42 })],
    ['that is null', () => null],
    ['that is a list', () => []],
  ])('changes no state on an answer %s', async (_, reply) => {
    const { sealed } = await sealedSession(server, expired);
    const session = sessions.load(sealed);
    server.token.reply = (body) => reply(body);

    expect(await session.refresh()).toEqual({ authenticated: false, reason: 'server_error', retryable: true });

    expect(session.sealed).toBe(sealed);
    expect(await session.authenticate()).toMatchObject({ reason: 'expired_jwt' });
  });

  it('seals what was rotated even when the new token cannot be believed', async () => {
    const { sealed } = await sealedSession(server, expired);
    const session = sessions.load(sealed);
    const foreign = await server.signToken({ ...server.claims(), iss: 'https://elsewhere.example' }, {});
    server.token.reply = (body) => ({ ...(body as object), access_token: foreign });

    const result = await session.refresh();

    expect(result).toMatchObject({ authenticated: false, reason: 'invalid_jwt' });
    expect(session.sealed).toBe((result as { sealedSession: string }).sealedSession);
    server.token.heal();
    expect(await session.refresh()).toMatchObject({ authenticated: true });
  });

  it('takes user, organization and impersonator from the answer, never from the old cookie', async () => {
    const impersonator = { email: 'support@example.com', reason: null };
    const { sealed, sessionId } = await sealedSession(server, expired, { impersonator });
    server.sessions.update(sessionId, { user: { first_name: 'Renamed' } });

    const result = await sessions.load(sealed).refresh();

    expect(result).toMatchObject({ authenticated: true, user: { firstName: 'Renamed' }, impersonator: undefined });
  });

  it('refuses an answer about another user and keeps the session as it was', async () => {
    const { sealed } = await sealedSession(server, expired);
    const session = sessions.load(sealed);
    server.token.reply = (body) => ({ ...(body as object), user: { object: 'user', id: 'user_02' } });
    expect(await session.refresh()).toMatchObject({ authenticated: false, reason: 'provider_misconfigured' });
    expect(session.sealed).toBe(sealed);
  });

  it('asks for the organization that the session is in, and for another when told to', async () => {
    const { sealed } = await sealedSession(server, { ...expired, organizationId: 'org_01' });
    const session = sessions.load(sealed);
    await session.refresh();
    expect(server.tokenRequests.at(-1)!.body).toMatchObject({ organization_id: 'org_01' });
    expect(await session.refresh({ organizationId: 'org_02' })).toMatchObject({ organizationId: 'org_02' });
    expect(server.tokenRequests.at(-1)!.body).toMatchObject({ organization_id: 'org_02' });
  });

  it('seals under another password when given one; the old password still opens the old cookie', async () => {
    const { sealed } = await sealedSession(server, expired);
    const session = sessions.load(sealed);
    const newer = 'another password of at least 32 characters';
    const rotated = (await session.refresh({ password: { 2: newer, 1: password } })) as { sealedSession: string };

    const withNewer = createSessionManager(workosOptions(server, { password: { 2: newer } }));
    expect(await withNewer.load(rotated.sealedSession).authenticate()).toMatchObject({ authenticated: true });
    expect(await sessions.load(rotated.sealedSession).authenticate()).toMatchObject({
      reason: 'invalid_session_cookie',
    });
    expect(await sessions.load(sealed).authenticate()).toMatchObject({ reason: 'expired_jwt' });
    expect(await session.authenticate()).toMatchObject({ authenticated: true });
  });

  it.each([
    [answers.invalidGrant, 'invalid_grant', false],
    [answers.ssoRequired, 'sso_required', false],
    [answers.mfaEnrollment, 'mfa_enrollment', false],
    [answers.rateLimited, 'rate_limit_exceeded', true],
    [answers.requestTimeout, 'timeout', true],
    [answers.serverError, 'server_error', true],
    [answers.htmlBadGateway, 'server_error', true],
    [answers.unauthorized, 'provider_misconfigured', true],
    [answers.invalidClient, 'provider_misconfigured', true],
    [answers.unprocessable, 'provider_misconfigured', true],
    [answers.nullBody, 'provider_misconfigured', true],
    ['reset' as const, 'network_error', true],
  ])('answers %j with the reason %s', async (fault, reason, retryable) => {
    const { sealed } = await sealedSession(server, expired);
    const session = sessions.load(sealed);
    server.token.fail(fault);
    expect(await session.refresh()).toEqual({ authenticated: false, reason, retryable });
    expect(session.sealed).toBe(sealed);
  });
});

describe('authenticate', () => {
  it('tells who is signed in, from the token and the seal', async () => {
    const claims = { roles: ['admin', 'member'], permissions: ['billing:read'], feature_flags: ['beta'] };
    const { sealed, sessionId, accessToken } = await sealedSession(server, { organizationId: 'org_01', claims });
    expect(await sessions.load(sealed).authenticate()).toMatchObject({
      authenticated: true,
      user: { id: 'user_01' },
      sessionId,
      accessToken,
      organizationId: 'org_01',
      roles: ['admin', 'member'],
      permissions: ['billing:read'],
      featureFlags: ['beta'],
      expiresAt: expect.any(Date),
    });
  });

  const forgeries: [string, (claims: Record<string, unknown>) => Promise<string>, string][] = [
    ['without a signature (alg none)', (claims) => server.forge.none(claims), 'invalid_jwt_algorithm'],
    [
      'signed with the public key (HS256)',
      (claims) => server.forge.hs256WithPublicKey(claims),
      'invalid_jwt_algorithm',
    ],
    ['signed with a foreign key', (claims) => server.forge.foreignKey(claims), 'invalid_jwt_signature'],
    ['signed with a key that it brings along', (claims) => server.forge.embeddedKey(claims), 'invalid_jwt_signature'],
    ['signed with a key that is not published', (claims) => server.forge.unknownKey(claims), 'expired_jwt'],
    ['without an expiry', (claims) => server.signToken({ ...claims, exp: undefined }, {}), 'invalid_jwt'],
    ['without a subject', (claims) => server.signToken({ ...claims, sub: undefined }, {}), 'invalid_jwt'],
    [
      'of another issuer',
      (claims) => server.signToken({ ...claims, iss: 'https://elsewhere.example' }, {}),
      'invalid_jwt',
    ],
    ['without an issuer', (claims) => server.signToken({ ...claims, iss: undefined }, {}), 'invalid_jwt'],
    ["of another client's", (claims) => server.signToken({ ...claims, client_id: 'client_02' }, {}), 'invalid_jwt'],
    ["of another user's", (claims) => server.signToken({ ...claims, sub: 'user_02' }, {}), 'invalid_jwt'],
    ['that begins later', (claims) => server.signToken({ ...claims, nbf: Date.now() / 1000 + 600 }, {}), 'invalid_jwt'],
    ['that is no JWT', () => Promise.resolve('no.jwt.really'), 'invalid_jwt'],
    ['that is not even three parts', () => Promise.resolve('nothing'), 'invalid_jwt'],
  ];
  it.each(forgeries)('refuses a token %s', async (_, forge, reason) => {
    const { sealed } = await sealedSession(server, {}, { accessToken: await forge(server.claims()) });
    expect(await sessions.load(sealed).authenticate()).toEqual({ authenticated: false, reason, retryable: false });
  });

  it('accepts the very token that the forgeries are made from', async () => {
    const { sealed } = await sealedSession(server, {}, { accessToken: await server.signToken(server.claims(), {}) });
    expect(await sessions.load(sealed).authenticate()).toMatchObject({ authenticated: true });
  });

  it.each(['', '/', '/user_management/client_01', '/sso/client_01', '/convex/client_01'])(
    'accepts the issuer %j that WorkOS mints',
    async (path) => {
      const accessToken = await server.signToken({ ...server.claims(), iss: server.url + path }, {});
      const { sealed } = await sealedSession(server, {}, { accessToken });
      expect(await sessions.load(sealed).authenticate()).toMatchObject({ authenticated: true });
    },
  );

  it('demands an audience when told to', async () => {
    const { provider } = workosOptions(server);
    const { workos } = await import('express-sealed-session');
    const demanding = workos({
      clientId: server.clientId,
      apiKey: server.apiKey,
      baseUrl: server.url,
      audience: 'api',
    });
    const manager = createSessionManager(workosOptions(server, { provider: demanding }));
    expect(provider.name).toBe('workos');
    const without = await sealedSession(server);
    const withIt = await sealedSession(server, {
      claims: { aud: ['other', 'api'] },
    });
    expect(await manager.load(without.sealed).authenticate()).toMatchObject({ reason: 'invalid_jwt' });
    expect(await manager.load(withIt.sealed).authenticate()).toMatchObject({ authenticated: true });
  });

  it('cannot tell while the key server is away, and says so', async () => {
    const { sealed } = await sealedSession(server);
    server.keys.fail(answers.serverError);
    const fresh = createSessionManager(workosOptions(server));
    expect(await fresh.load(sealed).authenticate()).toEqual({
      authenticated: false,
      reason: 'keys_unavailable',
      retryable: true,
    });
  });
});

describe('logoutUrl', () => {
  it('names the session, also with an expired access token', async () => {
    const { sealed, sessionId } = await sealedSession(server, expired);
    const url = await sessions.load(sealed).logoutUrl({ returnTo: 'https://app.example.com/bye' });
    expect(url).toBe(
      `${server.url}/user_management/sessions/logout?session_id=${sessionId}&return_to=https%3A%2F%2Fapp.example.com%2Fbye`,
    );
  });

  it('is undefined without a session', async () => {
    expect(await sessions.load('garbage').logoutUrl()).toBeUndefined();
  });
});

describe('seal', () => {
  const good = { accessToken: 'the access token', refreshToken: 'the refresh token', user: { id: 'user_01' } };

  it.each<[string, unknown]>([
    ['accessToken', ''],
    ['accessToken', undefined],
    ['refreshToken', 5],
    ['user', {}],
    ['user', 'user_01'],
    ['organizationId', 5],
    ['authenticationMethod', {}],
    ['impersonator', 'admin@example.com'],
    ['expiresIn', 'soon'],
    ['expiresIn', NaN],
  ])('names what is wrong with the tokens, and never shows it: %s %j', async (field, value) => {
    const sealing = sessions.seal({ ...good, [field]: value });
    await expect(sealing).rejects.toMatchObject({
      code: 'ERR_SESSION_TOKENS_INVALID',
      message: expect.stringContaining(`"${field}"`),
    });
    await expect(sealing).rejects.not.toMatchObject({ message: expect.stringMatching(/the refresh token|admin@/) });
  });

  it.each([{}, { organizationId: null, impersonator: undefined, expiresIn: 300 }, { refreshToken: undefined }])(
    'takes tokens without what may be absent: %j',
    async (more) => {
      const sealed = await sessions.seal({ ...good, ...more } as unknown as TokenSet);
      expect(await unsealData(sealed, { password })).toMatchObject({ accessToken: good.accessToken, user: good.user });
    },
  );
});
