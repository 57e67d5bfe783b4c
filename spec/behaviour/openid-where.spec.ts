import { generateKeyPairSync } from 'node:crypto';
import { Agent } from 'node:http';

import { describe, expect, it } from '@jest/globals';
import type { OidcOptions } from 'express-sealed-session';
import { decodeJwt, decodeProtectedHeader, exportJWK, exportPKCS8, generateKeyPair, jwtVerify } from 'jose';

import { useClock } from '../support/clock.js';
import { listen } from '../support/http-server.js';
import { serveOp } from '../support/op-app.js';
import type { OpServer, Wire } from '../support/op-server.js';

const clock = useClock();
const signedIn = { authenticated: true, user: { id: 'user_01' } };
const person = { name: 'Ada', email: 'ada@example.com' };
const unavailable = { error: 'ERR_SESSION_UNAVAILABLE' };

describe('where the metadata lies', () => {
  it.each<[string, Wire, (op: OpServer) => Partial<OidcOptions>]>([
    ['below the issuer, with a slash too many', {}, (op) => ({ issuer: `${op.url}/` })],
    [
      'apart from an issuer that is only a name, as at FusionAuth',
      { issuer: 'acme.com' },
      (op) => ({ issuer: 'acme.com', metadata: `${op.url}/.well-known/openid-configuration` }),
    ],
    [
      'at an address of its own',
      { issuer: 'https://login.example', metadataPath: '/inner' },
      (op) => ({ issuer: 'https://login.example', metadata: `${op.url}/inner` }),
    ],
    [
      'in the options',
      { issuer: 'https://login.example' },
      (op) => ({
        issuer: 'https://login.example',
        metadata: {
          issuer: 'https://login.example',
          authorization_endpoint: `${op.url}/authorize`,
          token_endpoint: `${op.url}/token`,
          jwks_uri: `${op.url}/jwks`,
        },
        allowInsecureHosts: [new URL(op.url).host],
      }),
    ],
  ])('signs in with metadata %s', async (_, wire, options) => {
    const { signIn, problems } = await serveOp({ wire: { idToken: person, ...wire } }, options);
    expect((await signIn()).json).toMatchObject(signedIn);
    expect(problems()).toEqual([]);
  });

  it.each<[string, Wire, (op: OpServer) => Partial<OidcOptions>, string]>([
    ['of another issuer', { metadataIssuer: 'https://other.example' }, () => ({}), 'metadata other_issuer'],
    ['that is not found', { metadataPath: '/elsewhere' }, () => ({}), 'metadata http_404'],
    ['that cannot be reached', {}, () => ({ issuer: 'http://127.0.0.1:1' }), 'metadata ECONNREFUSED'],
    [
      'without a token endpoint',
      { metadata: { authorization_endpoint: undefined } },
      () => ({}),
      'metadata authorization_endpoint_missing',
    ],
    [
      'with an endpoint over plain http',
      { metadata: { authorization_endpoint: 'http://op.example/authorize' } },
      () => ({}),
      'metadata authorization_endpoint_insecure',
    ],
    [
      'of a public issuer that leads to this machine',
      { issuer: 'https://idp.example', metadataPath: '/m' },
      (op) => ({
        issuer: 'https://idp.example',
        metadata: { issuer: 'https://idp.example', authorization_endpoint: `${op.url}/authorize` },
      }),
      'metadata authorization_endpoint_loopback',
    ],
  ])('answers 503 with metadata %s, and says why', async (_, wire, options, problem) => {
    const { browser, problems, told } = await serveOp({ wire }, options);
    const page = await browser.get('/login');
    expect([page.status, page.json]).toMatchObject([503, unavailable]);
    expect(problems()).toEqual([problem]);
    expect(told.misconfigured[0]!.message).not.toContain('127.0.0.1');
  });

  it.each([
    ['a redirect', 302, '', 'metadata http_302'],
    ['a page', 200, '<html>', 'metadata not_json'],
  ])('answers 503 where the metadata is %s, and says why', async (_, status, body, problem) => {
    const server = await listen((_req, res) => res.writeHead(status, { location: '/elsewhere' }).end(body));
    const { browser, problems } = await serveOp({}, () => ({ issuer: server.url }));
    expect((await browser.get('/login')).status).toBe(503);
    expect(problems()).toEqual([problem]);
    await server.close();
  });

  it('says once an hour and cause what is wrong', async () => {
    const { browser, problems } = await serveOp({ wire: { metadataPath: '/elsewhere' } });
    for (let time = 0; time < 3; time += 1) {
      await browser.get('/login');
      clock.advance(10);
    }
    expect(problems()).toEqual(['metadata http_404']);
    clock.advance(3600);
    await browser.get('/login');
    expect(problems()).toEqual(['metadata http_404', 'metadata http_404']);
  });

  it.each<[string, Record<string, unknown>, string]>([
    ['encrypted responses', { response_modes_supported: ['query.jwt', 'jwt'] }, 'unsupported response_mode'],
    ['request objects', { require_signed_request_object: true }, 'unsupported request_object'],
    ['another flow', { response_types_supported: ['id_token'] }, 'unsupported response_type'],
    ['ID tokens by a secret', { id_token_signing_alg_values_supported: ['HS256'] }, 'unsupported id_token_algorithm'],
  ])('says what the metadata demands and is not built: %s', async (_, metadata, problem) => {
    const { browser, problems } = await serveOp({ wire: { metadata } });
    await browser.get('/login');
    expect(problems()).toContain(problem);
  });
});

describe('a provider with several issuers', () => {
  const template = 'https://login.example/{tenantid}/v2.0';
  const tenant = (tid: string) => ({ iss: `https://login.example/${tid}/v2.0`, tid, ...person });
  const serveTenants = (
    tenants: OidcOptions['tenants'],
    idToken: Record<string, unknown>,
    more: Partial<OidcOptions> = {},
    wire: Wire = {},
  ) =>
    serveOp({ wire: { metadataIssuer: template, metadataPath: '/common', idToken, ...wire } }, (op) => ({
      issuer: template,
      metadata: `${op.url}/common`,
      tenants,
      ...more,
    }));

  it('signs in a user of a listed tenant, and shows the issuer', async () => {
    const { signIn, browser } = await serveTenants(['tenant-a'], tenant('tenant-a'));
    expect((await signIn()).json).toMatchObject({
      user: { id: 'user_01', issuer: 'https://login.example/tenant-a/v2.0' },
    });
    clock.advance(301);
    expect((await browser.get('/')).json).toMatchObject({
      refreshed: true,
      user: { issuer: 'https://login.example/tenant-a/v2.0' },
    });
  });

  it.each<[string, OidcOptions['tenants'], Record<string, unknown>]>([
    ['of another tenant', ['tenant-a'], tenant('tenant-b')],
    ['of one tenant that names the issuer of another', 'any', { ...tenant('tenant-a'), tid: 'tenant-b' }],
    ['without a tenant', 'any', { ...tenant('tenant-a'), tid: undefined }],
    ['of the template itself', 'any', { iss: template, tid: '{tenantid}' }],
  ])('refuses an ID token %s', async (_, tenants, idToken) => {
    const { signIn, told } = await serveTenants(tenants, idToken);
    expect((await signIn()).status).toBe(400);
    expect(told.signInFailed).toMatchObject([{ failure: 'check_failed', check: 'id_token_issuer' }]);
  });

  it('takes every tenant where it says any', async () => {
    const { signIn } = await serveTenants('any', tenant('tenant-z'));
    expect((await signIn()).json).toMatchObject(signedIn);
  });

  it('keeps a session with its issuer: another one may use the same subject', async () => {
    const { op, signIn, browser, told } = await serveTenants('any', tenant('tenant-a'));
    await signIn();
    op.wire.idTokenAtRefresh = tenant('tenant-b');
    clock.advance(400);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: false, reason: 'provider_misconfigured' });
    expect(told.refreshFailed).toMatchObject([{ retryable: true, reason: 'provider_misconfigured' }]);
  });

  it('verifies access tokens of an older issuer, of the same tenant alone', async () => {
    const v1 = (tid: string) => ({
      iss: `https://sts.example/${tid}/`,
      tid,
      aud: 'api://own',
      appid: 'client_01',
      sub: 'pairwise',
    });
    const accessToken = { issuer: 'https://sts.example/{tenantid}/', audience: 'api://own' };
    const { op, signIn, browser } = await serveTenants(
      'any',
      tenant('tenant-a'),
      { accessToken },
      { accessToken: v1('tenant-a') },
    );
    expect((await signIn()).json).toMatchObject({ ...signedIn, claims: { tid: 'tenant-a' } });
    op.wire.accessToken = v1('tenant-b');
    clock.advance(301);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: false, reason: 'invalid_jwt' });
  });

  it('takes a list of issuers', async () => {
    const { signIn } = await serveOp(
      {
        wire: {
          metadataIssuer: 'https://a.example',
          metadataPath: '/m',
          idToken: { ...person, iss: 'https://b.example' },
        },
      },
      (op) => ({
        issuer: ['https://a.example', 'https://b.example'],
        metadata: `${op.url}/m`,
      }),
    );
    expect((await signIn()).json).toMatchObject({ user: { issuer: 'https://b.example' } });
  });
});

describe('how the provider is asked', () => {
  it('asks through one agent for metadata, keys, userinfo, tokens and refreshes', async () => {
    const asked: string[] = [];
    class Counting extends Agent {
      addRequest(...given: [{ path: string }, object]) {
        asked.push(given[0].path);
        (Agent.prototype as unknown as { addRequest: (...all: unknown[]) => void }).addRequest.call(this, ...given);
      }
    }
    const { op, signIn, browser } = await serveOp({ wire: { userinfo: { sub: 'user_01', ...person } } }, () => ({
      agent: { http: new Counting() },
    }));
    expect((await signIn()).json).toMatchObject(signedIn);
    clock.advance(301);
    await browser.get('/');
    const ours = op.requests.map(({ path }) => path).filter((path) => path !== '/authorize');
    expect(ours).toEqual(expect.arrayContaining(['/.well-known/openid-configuration', '/jwks', '/userinfo', '/token']));
    expect([...asked].sort()).toEqual([...ours].sort());
  });

  it.each([
    ['a UUID', '0b9f7c1e-11aa-4f6e-9c1d-5b1f0a2b3c4d', 'gloas-a.b_c*d'],
    ['signs and spaces, where the server decodes', 'my app', 'a+b%c:d e'],
  ])('sends Basic credentials in form encoding: %s', async (name, clientId, clientSecret) => {
    const { signIn } = await serveOp({
      clientId,
      clientSecret,
      wire: { idToken: person, doesNotDecode: name === 'a UUID' },
    });
    expect((await signIn()).json).toMatchObject(signedIn);
  });

  it('proves itself with a key, without an import', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    const { privateKey: rsa, publicKey: rsaPublic } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const { privateKey: ed } = generateKeyPairSync('ed25519');
    const keys: [OidcOptions['clientAuthentication'], string, object | undefined][] = [
      [{ method: 'private_key_jwt', key: privateKey, keyId: 'key_1' }, 'ES256', publicKey],
      [{ method: 'private_key_jwt', key: { ...(await exportJWK(privateKey)), kid: 'key_1' } }, 'ES256', publicKey],
      [{ method: 'private_key_jwt', key: await exportPKCS8(privateKey), keyId: 'key_1' }, 'ES256', publicKey],
      [{ method: 'private_key_jwt', key: rsa, keyId: 'key_1', algorithm: 'PS256' }, 'PS256', rsaPublic],
      [{ method: 'private_key_jwt', key: ed, keyId: 'key_1' }, 'EdDSA', undefined],
      [{ method: 'client_secret_jwt' }, 'HS256', new TextEncoder().encode('the secret of the client')],
    ];
    for (const [clientAuthentication, alg, key] of keys) {
      const { op, signIn } = await serveOp({ wire: { idToken: person } }, () => ({ clientAuthentication }));
      expect((await signIn()).json).toMatchObject(signedIn);
      const { form } = op.to('/token')[0]!;
      const assertion = form.get('client_assertion')!;
      expect(decodeProtectedHeader(assertion)).toMatchObject({ alg, ...(alg !== 'HS256' && { kid: 'key_1' }) });
      expect(decodeJwt(assertion)).toMatchObject({ iss: 'client_01', sub: 'client_01', aud: op.url });
      if (key) await jwtVerify(assertion, key as never);
      expect(form.has('client_secret')).toBe(false);
    }
  });

  it('begins a sign-in without a prompt, and without offline_access where it is not offered', async () => {
    const known = await serveOp({ wire: { metadata: { scopes_supported: ['openid', 'profile', 'email'] } } });
    const silent = await serveOp({});
    const query = async (browser: typeof known.browser) =>
      new URL((await browser.get('/login')).headers.get('location')!).searchParams;
    expect((await query(known.browser)).get('scope')).toBe('openid profile email');
    expect((await query(silent.browser)).get('scope')).toBe('openid profile email offline_access');
    expect((await query(silent.browser)).has('prompt')).toBe(false);
  });

  it('sends each resource of a list, when it signs in and when it refreshes', async () => {
    const resource = ['https://a.example', 'https://b.example'];
    const { op, signIn, browser } = await serveOp({ wire: { idToken: person } }, () => ({ resource }));
    await signIn();
    clock.advance(301);
    await browser.get('/');
    expect(op.to('/authorize')[0]!.query.getAll('resource')).toEqual(resource);
    expect(op.to('/token').map(({ form }) => form.getAll('resource'))).toEqual([resource, resource]);
  });

  it('pushes the authorization request where the metadata demands it', async () => {
    const { op, signIn } = await serveOp({ wire: { idToken: person } }, () => ({}));
    op.wire.metadata = {
      require_pushed_authorization_requests: true,
      pushed_authorization_request_endpoint: `${op.url}/par`,
    };
    expect((await signIn()).json).toMatchObject(signedIn);
    expect([...op.to('/authorize')[0]!.query.keys()].sort()).toEqual(['client_id', 'request_uri']);
    expect(op.to('/par')[0]!.form.get('code_challenge_method')).toBe('S256');
  });

  it('takes the code in a form, which comes without the cookie of the flow', async () => {
    const { app, browser, signIn, visit } = await serveOp({ wire: { idToken: person } }, () => ({
      responseMode: 'form_post',
    }));
    const page = await signIn();
    const form = page.headers.get('x-form')!;
    // From another site, a browser sends no Lax cookie along with a POST.
    const posted = await fetch(`${app.url}/callback`, {
      method: 'POST',
      redirect: 'manual',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: `${form}&evil=1`,
    });
    expect(posted.status).toBe(303);
    const location = posted.headers.get('location')!;
    expect(location).toMatch(/^https:\/\/app\.example\.com\/callback\?/);
    expect(location).not.toContain('evil');
    expect((await visit(location)).json).toMatchObject(signedIn);
    expect(browser.jar.get('__Host-session')).toBeDefined();
    const large = await fetch(`${app.url}/callback`, { method: 'POST', body: 'a'.repeat(20_000) });
    expect(large.status).toBe(413);
  });

  it('takes a POST to the callback nowhere else', async () => {
    const { app } = await serveOp();
    expect((await fetch(`${app.url}/callback`, { method: 'POST' })).status).toBe(404);
  });
});
