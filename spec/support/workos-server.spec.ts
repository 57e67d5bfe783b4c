import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createHash } from 'node:crypto';
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import { createBrowser } from './browser.js';
import { useClock } from './clock.js';
import { answers, startWorkosServer, type WorkosServer } from './workos-server.js';

const clock = useClock();
let server: WorkosServer;

beforeEach(async () => {
  server = await startWorkosServer();
});

afterEach(() => server.close());

async function post(body: Record<string, string>) {
  const response = await fetch(`${server.url}/user_management/authenticate`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ client_id: server.clientId, client_secret: server.apiKey, ...body }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text.startsWith('{') ? JSON.parse(text) : text };
}

const refresh = (refreshToken: string, more = {}) =>
  post({ grant_type: 'refresh_token', refresh_token: refreshToken, ...more });

function verify(token: string) {
  return jwtVerify(token, createRemoteJWKSet(new URL(`${server.url}/sso/jwks/${server.clientId}`)));
}

describe('refresh tokens', () => {
  it('bring the successor again inside the replay window, and die after it', async () => {
    const { refreshToken, sessionId } = await server.issueSession();
    const [first, second] = await Promise.all([refresh(refreshToken), refresh(refreshToken)]);

    expect(first.status).toBe(200);
    expect(first.body.refresh_token).not.toBe(refreshToken);
    expect(second.body).toEqual(first.body);

    clock.advance(31);
    expect(await refresh(refreshToken)).toMatchObject(answers.invalidGrant);
    expect(server.sessions.isAlive(sessionId)).toBe(true);
    expect(await refresh(first.body.refresh_token)).toMatchObject({ status: 200 });
    expect(server.refreshCount).toBe(4);
  });

  it('end the session on the second use in strict mode', async () => {
    server.mode = 'strict';
    const { refreshToken, sessionId } = await server.issueSession();
    const { body } = await refresh(refreshToken);

    expect(await refresh(refreshToken)).toMatchObject(answers.invalidGrant);
    expect(server.sessions.isAlive(sessionId)).toBe(false);
    expect(await refresh(body.refresh_token)).toMatchObject(answers.invalidGrant);
  });

  it('keep the organization, switch it when asked, and bring what changed', async () => {
    const { refreshToken, sessionId } = await server.issueSession({ organizationId: 'org_01' });
    server.sessions.update(sessionId, { claims: { permissions: ['billing:read'] }, user: { name: 'User Two' } });
    const kept = await refresh(refreshToken);

    expect(kept.body).toMatchObject({ organization_id: 'org_01', user: { id: 'user_01', name: 'User Two' } });
    expect(decodeJwt(kept.body.access_token)).toMatchObject({ org_id: 'org_01', permissions: ['billing:read'] });

    const switched = await refresh(kept.body.refresh_token, { organization_id: 'org_02' });
    expect(decodeJwt(switched.body.access_token)).toMatchObject({ org_id: 'org_02', sid: sessionId });
  });

  it.each([
    [{ client_secret: 'sk_test_02' }, answers.unauthorized],
    [{ client_secret: '' }, answers.unauthorized],
    [{ client_id: 'client_02' }, answers.invalidClient],
    [{ grant_type: 'password' }, answers.unsupportedGrant],
    [{ refresh_token: 'unknown' }, answers.invalidGrant],
  ])('are refused with %j', async (changes, answer) => {
    const { refreshToken } = await server.issueSession();
    expect(await refresh(refreshToken, changes)).toMatchObject(answer);
  });
});

describe('faults', () => {
  it('answer as told, as often as told, and heal', async () => {
    const { refreshToken } = await server.issueSession();

    server.token.fail(answers.htmlBadGateway, 1);
    const failed = await refresh(refreshToken);
    expect(failed.status).toBe(502);
    expect(failed.headers.get('content-type')).toMatch('text/html');
    expect(await refresh(refreshToken)).toMatchObject({ status: 200 });

    server.token.fail(answers.rateLimited);
    expect((await refresh(refreshToken)).headers.get('retry-after')).toBe('1');
    server.token.heal();
    expect(await refresh(refreshToken)).toMatchObject({ status: 200 });
  });

  it('reset the connection before the token is spent', async () => {
    server.mode = 'strict';
    const { refreshToken } = await server.issueSession();
    server.token.fail('reset', 1);

    await expect(refresh(refreshToken)).rejects.toThrow();
    expect(await refresh(refreshToken)).toMatchObject({ status: 200 });
  });

  it('drop the connection after the token is spent', async () => {
    server.mode = 'strict';
    const { refreshToken } = await server.issueSession();
    server.token.fail('drop-after-rotation', 1);

    await expect(refresh(refreshToken)).rejects.toThrow();
    expect(await refresh(refreshToken)).toMatchObject(answers.invalidGrant);
  });

  it('hang until the server closes', async () => {
    server.token.fail('hang');
    const failed = expect(refresh('any')).rejects.toThrow();
    await server.token.received(1);
    await server.close();
    await failed;
  });

  it('change the body of a success', async () => {
    const { refreshToken } = await server.issueSession();
    server.token.reply = (body) => ({ ...body, access_token: undefined });
    expect((await refresh(refreshToken)).body).not.toHaveProperty('access_token');
    server.token.heal();
    expect((await refresh(refreshToken)).body).toHaveProperty('access_token');
  });
});

describe('holding', () => {
  it('lets answers go in any order, after the tokens were spent', async () => {
    const one = await server.issueSession();
    const two = await server.issueSession();
    const hold = server.token.hold();
    const order: string[] = [];

    const first = refresh(one.refreshToken).then(() => order.push('first'));
    await hold.arrived(1);
    const second = refresh(two.refreshToken).then(() => order.push('second'));
    await hold.arrived(2);
    expect(hold.waiting).toBe(2);

    hold.releaseAt(1);
    await second;
    hold.release();
    await first;
    expect(order).toEqual(['second', 'first']);
    expect(await refresh(one.refreshToken)).toMatchObject({ status: 200 });
  });
});

describe('keys and tokens', () => {
  it('verify, with the claims WorkOS mints', async () => {
    const { accessToken, sessionId } = await server.issueSession({ organizationId: 'org_01' });
    const { payload } = await verify(accessToken);

    expect(payload).toMatchObject({ sub: 'user_01', sid: sessionId, org_id: 'org_01', role: 'member' });
    expect(payload.iss).toBe(`${server.url}/user_management/client_01`);
    expect(payload.exp! - payload.iat!).toBe(300);
    expect(server.keyRequests).toHaveLength(1);
  });

  it('can live shortly, or have expired', async () => {
    const short = decodeJwt((await server.issueSession({ lifetimeSeconds: 10 })).accessToken);
    expect(short.exp! - short.iat!).toBe(10);
    const { accessToken } = await server.issueSession({ lifetimeSeconds: -60 });
    await expect(verify(accessToken)).rejects.toMatchObject({ code: 'ERR_JWT_EXPIRED' });
  });

  it('rotate, with or without the old key', async () => {
    const { accessToken } = await server.issueSession();
    await server.rotateKeys({ keepOld: true });
    await expect(verify(accessToken)).resolves.toBeDefined();
    await server.rotateKeys({ keepOld: false });
    await expect(verify(accessToken)).rejects.toMatchObject({ code: 'ERR_JWKS_NO_MATCHING_KEY' });
  });

  it('are forged in the shapes they claim', async () => {
    const { forge } = server;
    const claims = server.claims({ exp: undefined });
    const good = await server.signToken(claims);
    const kid = decodeProtectedHeader(good).kid;
    const tampered = forge.tampered(good, { sub: 'user_02' });

    expect(decodeJwt(good)).not.toHaveProperty('exp');
    expect((await verify(good)).payload.sub).toBe('user_01');
    expect(decodeProtectedHeader(await forge.hs256WithPublicKey(claims))).toMatchObject({ alg: 'HS256', kid });
    expect(await forge.none(claims)).toMatch(/\.$/);
    expect(decodeProtectedHeader(await forge.none(claims))).toMatchObject({ alg: 'none' });
    expect(decodeProtectedHeader(await forge.foreignKey(claims))).toMatchObject({ alg: 'RS256', kid });
    expect(decodeJwt(tampered).sub).toBe('user_02');

    const badSignature = { code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED' };
    await expect(verify(await forge.foreignKey(claims))).rejects.toMatchObject(badSignature);
    await expect(verify(await forge.embeddedKey(claims))).rejects.toMatchObject(badSignature);
    await expect(verify(tampered)).rejects.toMatchObject(badSignature);
    await expect(verify(await forge.unknownKey(claims))).rejects.toMatchObject({ code: 'ERR_JWKS_NO_MATCHING_KEY' });
  });
});

describe('signing in and out', () => {
  const verifier = 'a'.repeat(43);

  const authorizeUrl = () => {
    const query = new URLSearchParams({
      client_id: server.clientId,
      redirect_uri: 'http://localhost:3000/callback',
      response_type: 'code',
      provider: 'authkit',
      state: 'state_01',
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
    });
    return `/user_management/authorize?${query.toString()}`;
  };

  async function codeFor() {
    const { headers } = await createBrowser(server.url).get(authorizeUrl());
    return new URL(headers.get('location')!).searchParams;
  }

  it('sends the visitor back with a code that works once, with its verifier', async () => {
    server.visitor = { user: { id: 'user_02' }, organizationId: 'org_01' };
    const exchange = { grant_type: 'authorization_code', code_verifier: verifier };
    const back = await codeFor();
    expect(back.get('state')).toBe('state_01');

    const code = back.get('code')!;
    const signedIn = await post({ ...exchange, code });
    expect(signedIn.body).toMatchObject({ user: { id: 'user_02' }, organization_id: 'org_01' });
    expect(await post({ ...exchange, code })).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });

    const other = (await codeFor()).get('code')!;
    expect(await post({ ...exchange, code: other, code_verifier: 'b'.repeat(43) })).toMatchObject({ status: 400 });
  });

  it('sends the visitor back with an error', async () => {
    server.visitor = { error: 'access_denied' };
    expect((await codeFor()).get('error')).toBe('access_denied');
  });

  it('ends the session at log-out', async () => {
    const { sessionId, refreshToken } = await server.issueSession();
    const logout = `/user_management/sessions/logout?session_id=${sessionId}&return_to=http://localhost:3000/`;
    const { headers } = await createBrowser(server.url).get(logout);

    expect(headers.get('location')).toBe('http://localhost:3000/');
    expect(server.sessions.isAlive(sessionId)).toBe(false);
    expect(await refresh(refreshToken)).toMatchObject(answers.invalidGrant);
  });
});
