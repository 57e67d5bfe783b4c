import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  type AccessTokenRules,
  type Awaitable,
  createSessionManager,
  getSession,
  type Provider,
  providerFailure,
  type SessionEvents,
  withSession,
} from 'express-sealed-session';
import { testProviderConformance } from 'express-sealed-session/testing';
import ts from 'typescript';

import { frameworks, type Listening, listen } from '../support/apps.js';
import { type Browser, createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { type Answer, createEndpoint, type Endpoint, type RecordedRequest } from '../support/endpoint.js';
import { createSigner } from '../support/signer.js';

const repository = path.resolve(import.meta.dirname, '../..');
const page = readFileSync(path.join(repository, 'docs/guide/own-provider.md'), 'utf8');
const [providerCode = '', conformanceCode = ''] = [...page.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(
  ([, code]) => code,
);

const password = 'own-provider-password-'.repeat(2);
const origin = 'https://app.example.com';
const clock = useClock();

let folder: string;
let server: AcmeServer;
let acme: (url: string, clientId: string, clientSecret: string) => Provider;
let provider: Provider;
const open: { close: () => Promise<unknown> }[] = [];

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'own-provider-'));
  writeFileSync(path.join(folder, 'acme.ts'), providerCode);
  ({ acme } = (await import(path.join(folder, 'acme.ts'))) as { acme: typeof acme });
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

beforeEach(async () => {
  server = await startAcmeServer();
  open.push(server);
  provider = acme(server.url, 'client_01', 'secret_01');
});
afterAll(() => Promise.all(open.map((each) => each.close())));

type AcmeServer = Awaited<ReturnType<typeof startAcmeServer>>;

/** A small identity service: opaque access tokens, single-use refresh tokens, answers without `expires_in`. */
async function startAcmeServer() {
  let current: string | undefined;
  const codes = new Set<string>();
  const made = { accessToken: (): Awaitable<string> => `opaque-${randomUUID()}` };
  const grant = async (): Promise<Answer> => {
    current = `refresh-${randomUUID()}`;
    return {
      status: 200,
      body: {
        access_token: await made.accessToken(),
        refresh_token: current,
        user_id: 'user_01',
        email: 'a@example.com',
      },
    };
  };
  const refused: Answer = { status: 400, body: { error: 'invalid_grant' } };
  const token = createEndpoint(({ body }) => {
    if (body.client_secret !== 'secret_01') return { status: 400, body: { error: 'invalid_client' } };
    if (body.grant_type === 'refresh_token') return body.refresh_token === current ? grant() : refused;
    return codes.delete(body.code ?? '') ? grant() : refused;
  });
  const revoke = createEndpoint(() => ({ status: 200, body: {} }));
  const authorize = createEndpoint(({ url }: RecordedRequest) => {
    const { searchParams } = new URL(url, 'http://localhost');
    const back = new URL(searchParams.get('redirect_uri')!);
    const code = randomUUID();
    codes.add(code);
    back.searchParams.set('state', searchParams.get('state')!);
    back.searchParams.set('code', code);
    return { status: 302, headers: { Location: back.href } };
  });
  const endpoints: Record<string, Endpoint> = { '/token': token, '/revoke': revoke, '/authorize': authorize };
  const { url, close } = await listen((req, res) => {
    const endpoint = endpoints[new URL(req.url!, 'http://localhost').pathname];
    if (endpoint) void endpoint.handle(req, res);
    else res.writeHead(404).end();
  });
  const refreshes = () => token.requests.filter(({ body }) => body.grant_type === 'refresh_token');
  return { url, close, token, revoke, refreshes, made };
}

/** An app with this provider, a browser for it, and what its events reported. */
async function serve(given: Provider) {
  const failures: SessionEvents['refreshFailed'][] = [];
  const problems: SessionEvents['misconfigured'][] = [];
  const rejected: SessionEvents['rejected'][] = [];
  const options = {
    provider: given,
    password,
    baseUrl: origin,
    events: {
      refreshFailed: (event: SessionEvents['refreshFailed']) => failures.push(event),
      misconfigured: (event: SessionEvents['misconfigured']) => problems.push(event),
      rejected: (event: SessionEvents['rejected']) => rejected.push(event),
    },
  };
  const app: Listening = await frameworks[0]!.listen((each) => {
    const sessions = withSession(options);
    each.use(sessions);
    each.use(sessions.routes());
    each.get('/', (req, res) => res.end(JSON.stringify(getSession(req))));
  });
  open.push(app);
  const browser = createBrowser(app.url);
  return { browser, failures, problems, rejected, signIn: () => signIn(browser, app) };
}

/** Signs in from `/login` to the page after `/callback`. The public origin is where the app is served here. */
async function signIn(browser: Browser, app: Listening) {
  let response = await browser.get('/login');
  for (let hop = 0; hop < 5 && response.headers.has('location'); hop += 1) {
    const next = new URL(response.headers.get('location')!, response.url).href;
    response = await browser.get(next.replace(origin, app.url));
  }
  return response;
}

describe('the provider in docs/guide/own-provider.md', () => {
  it('compiles, and so does the call of the conformance suite', () => {
    writeFileSync(path.join(folder, 'conformance.ts'), conformanceCode);
    const { config } = ts.readConfigFile(path.join(repository, 'tsconfig.json'), (file) => ts.sys.readFile(file)) as {
      config: unknown;
    };
    const { options } = ts.parseJsonConfigFileContent(config, ts.sys, repository);
    const files = ['acme.ts', 'conformance.ts'].map((file) => path.join(folder, file));
    writeFileSync(path.join(folder, 'package.json'), '{"type":"module"}');
    const typeRoots = [path.join(repository, 'node_modules/@types')];
    const program = ts.createProgram(files, { ...options, typeRoots });
    const found = ts
      .getPreEmitDiagnostics(program)
      .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' '));
    expect(found).toEqual([]);
  });

  it('passes the conformance suite', async () => {
    const tests: [string, () => Promise<void>][] = [];
    testProviderConformance(provider, (name, test) => tests.push([name, test]));
    expect(tests.length).toBeGreaterThan(15);
    for (const [, test] of tests) await test();
  });

  it('has about 60 lines', () => {
    expect(providerCode.trimEnd().split('\n').length).toBeLessThanOrEqual(65);
  });

  it('signs in, with 300 seconds for an opaque token that came without an expiry', async () => {
    const { signIn: begin, browser } = await serve(provider);
    const signedIn = await begin();
    expect(signedIn.json).toMatchObject({ authenticated: true, user: { id: 'user_01', email: 'a@example.com' } });
    expect(browser.jar.cookies.map(({ name }) => name)).toEqual(['__Host-acme']);
    clock.advance(200);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: true, refreshed: false });
    expect(server.refreshes()).toEqual([]);
  });

  it('refreshes after each expiry, and stays the same session', async () => {
    const { signIn: begin, browser } = await serve(provider);
    const { sessionId } = (await begin()).json as { sessionId: string };
    for (let time = 1; time <= 3; time += 1) {
      clock.advance(310);
      expect((await browser.get('/')).json).toMatchObject({ authenticated: true, refreshed: true, sessionId });
      expect(server.refreshes()).toHaveLength(time);
    }
    expect(server.refreshes()[0]!.body).toEqual({
      grant_type: 'refresh_token',
      refresh_token: expect.any(String),
      client_id: 'client_01',
      client_secret: 'secret_01',
    });
  });

  it('keeps the session through an outage, and sends the single-use token once per attempt', async () => {
    const { signIn: begin, browser, failures } = await serve(provider);
    await begin();
    clock.advance(310);
    server.token.fail({ status: 503, body: { error: 'invalid_grant' } });
    const during = await browser.get('/');
    expect(during.json).toMatchObject({ authenticated: false, reason: 'server_error', retryable: true });
    expect([during.setCookies, server.refreshes().length]).toEqual([[], 1]);
    expect(failures).toMatchObject([{ reason: 'server_error' }]);
    server.token.heal();
    clock.advance(1);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: true, refreshed: true });
  });

  it('ends the session when the provider has ended it', async () => {
    const { signIn: begin, browser } = await serve(provider);
    await begin();
    clock.advance(310);
    server.token.fail({ status: 400, body: { error: 'invalid_grant' } });
    const after = await browser.get('/');
    expect(after.json).toMatchObject({ authenticated: false, reason: 'invalid_grant', retryable: false });
    expect(browser.jar.get('__Host-acme')).toBeUndefined();
  });

  it('keeps the session when the client secret is wrong', async () => {
    const { signIn: begin, browser } = await serve(provider);
    await begin();
    clock.advance(310);
    server.token.fail({ status: 400, body: { error: 'invalid_client' } });
    expect((await browser.get('/')).json).toMatchObject({ reason: 'provider_misconfigured', retryable: true });
    expect(browser.jar.get('__Host-acme')).toBeDefined();
  });

  it('signs out at the provider, and revokes the refresh token', async () => {
    const { signIn: begin, browser } = await serve(provider);
    await begin();
    const after = await browser.post('/logout');
    expect(after.headers.get('location')).toBe(`${server.url}/logout?return_to=${encodeURIComponent(`${origin}/`)}`);
    await server.revoke.received(1);
    expect(server.revoke.requests[0]!.body.token).toMatch(/^refresh-/);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: false });
  });
});

const asynchronous = (given: Provider): Provider => {
  const wrap = (name: keyof Provider) => {
    const method = Reflect.get(given, name) as (...values: unknown[]) => unknown;
    return { [name]: (...values: unknown[]) => Promise.resolve(method(...values)) };
  };
  const names = [
    'accessToken',
    'authorizationUrl',
    'codeRequest',
    'readSignIn',
    'refreshRequest',
    'readRefresh',
    'logoutUrl',
  ];
  return Object.assign({ ...given }, ...names.map((name) => wrap(name as keyof Provider))) as Provider;
};

describe('a method of a provider', () => {
  it('may return promises throughout: signs in, refreshes and signs out', async () => {
    const { signIn: begin, browser } = await serve(asynchronous(provider));
    expect((await begin()).json).toMatchObject({ authenticated: true });
    clock.advance(310);
    expect((await browser.get('/')).json).toMatchObject({ authenticated: true, refreshed: true });
    expect((await browser.post('/logout')).headers.get('location')).toContain(server.url);
  });

  const gone = () => {
    throw providerFailure('rate_limit_exceeded');
  };
  const failing: [string, () => never][] = [
    ['throws', gone],
    ['rejects', async () => gone()],
  ] as [string, () => never][];

  it.each(failing)(
    'that %s makes the sign-in unavailable, not an error of the app: authorizationUrl',
    async (_, fail) => {
      const { browser } = await serve({ ...provider, authorizationUrl: fail });
      const response = await browser.get('/login');
      expect([response.status, response.json.error]).toEqual([503, 'ERR_SESSION_UNAVAILABLE']);
      expect(response.headers.get('retry-after')).toBe('5');
    },
  );

  it.each(failing)('that %s leaves the code for another try: codeRequest and readSignIn', async (_, fail) => {
    for (const name of ['codeRequest', 'readSignIn']) {
      const { signIn: begin } = await serve({ ...provider, [name]: fail });
      const response = await begin();
      expect([name, response.status, response.json.error]).toEqual([name, 503, 'ERR_SESSION_UNAVAILABLE']);
    }
  });

  it.each(failing)(
    'that %s keeps the session: refreshRequest, readRefresh, terminalReason, organizationOf',
    async (_, fail) => {
      for (const name of ['refreshRequest', 'readRefresh', 'terminalReason', 'organizationOf']) {
        const { signIn: begin, browser, failures } = await serve({ ...provider, [name]: fail });
        await begin();
        clock.advance(310);
        if (name === 'terminalReason') server.token.fail({ status: 400, body: { error: 'invalid_grant' } }, 1);
        const response = await browser.get('/');
        expect([name, response.json]).toMatchObject([name, { authenticated: false, retryable: true }]);
        expect(browser.jar.get('__Host-acme')).toBeDefined();
        expect([name, failures.length]).toEqual([name, 1]);
      }
    },
  );

  it.each(failing)('that %s does not stop a sign-out: logoutUrl and revocationRequest', async (_, fail) => {
    const { signIn: begin, browser } = await serve({ ...provider, logoutUrl: fail, revocationRequest: fail });
    await begin();
    const after = await browser.post('/logout');
    expect([after.status, after.headers.get('location')]).toEqual([303, '/']);
    expect(browser.jar.get('__Host-acme')).toBeUndefined();
  });

  it('may be missing when it is optional: signs out without logoutUrl and revocationRequest', async () => {
    const small: Provider = { ...provider };
    Reflect.deleteProperty(small, 'logoutUrl');
    Reflect.deleteProperty(small, 'revocationRequest');
    const { signIn: begin, browser } = await serve(small);
    await begin();
    expect((await browser.post('/logout')).headers.get('location')).toBe('/');
    expect((await browser.get('/')).json).toMatchObject({ authenticated: false });
  });

  it('may be missing when it is optional: a session manager without logoutUrl', async () => {
    const small = { ...provider, logoutUrl: undefined } as unknown as Provider;
    expect(await createSessionManager({ provider: small, password }).load(undefined).logoutUrl()).toBeUndefined();
  });

  it('cannot end a session with anything but a listed reason', async () => {
    for (const reason of ['your_session_is_over', true, {}, 'toString']) {
      const { signIn: begin, browser } = await serve({ ...provider, terminalReason: () => reason as never });
      await begin();
      clock.advance(310);
      server.token.fail({ status: 400, body: { error: 'invalid_grant' } }, 1);
      expect((await browser.get('/')).json).toMatchObject({ reason: 'provider_misconfigured', retryable: true });
      expect(browser.jar.get('__Host-acme')).toBeDefined();
    }
  });

  it('loses no session when it reads an answer as tokens without an access token', async () => {
    const { signIn: begin, browser } = await serve({ ...provider, readRefresh: () => ({}) as never });
    await begin();
    clock.advance(310);
    expect((await browser.get('/')).json).toMatchObject({ reason: 'server_error', retryable: true });
    expect(browser.jar.get('__Host-acme')).toBeDefined();
  });
});

describe('access tokens that are JWTs', () => {
  /** The app's own provider, with JWTs that these rules check. */
  async function serveJwt(change: (rules: AccessTokenRules) => unknown, claims: Record<string, unknown> = {}) {
    const signer = await createSigner();
    const issuer = 'https://id.example.com';
    const { keys } = signer.jwks();
    const rules: AccessTokenRules = { keys, algorithms: ['RS256'], issuer: [issuer], audience: ['api'] };
    const given = change(rules);
    server.made.accessToken = () => {
      const now = Math.floor(Date.now() / 1000);
      return signer.sign({ iss: issuer, sub: 'user_01', aud: 'api', iat: now, exp: now + 300, ...claims });
    };
    return serve({ ...provider, accessToken: () => given as AccessTokenRules });
  }

  it.each([
    ['inline keys', (rules: AccessTokenRules) => rules],
    [
      'inline keys beside a URL, which is not asked',
      (rules: AccessTokenRules) => ({ ...rules, keysUrl: 'http://127.0.0.1:9' }),
    ],
    ['a promise of the rules', (rules: AccessTokenRules) => Promise.resolve(rules)],
    [
      'a check of the client in place of an audience',
      (rules: AccessTokenRules) => ({ ...rules, audience: undefined, issuedToUs: () => true }),
    ],
    [
      'an audience, where the token names no client',
      (rules: AccessTokenRules) => ({ ...rules, issuedToUs: () => 'unsaid' as const }),
    ],
  ])('are verified with %s', async (_, change) => {
    const { signIn: begin } = await serveJwt(change);
    expect((await begin()).json).toMatchObject({ authenticated: true, claims: { aud: 'api' } });
  });

  it.each<[string, (rules: AccessTokenRules) => unknown, RegExp]>([
    ['neither keys nor a URL', (rules) => ({ ...rules, keys: undefined }), /"keys" or "keysUrl"/],
    ['an empty list of keys', (rules) => ({ ...rules, keys: [] }), /at least one JWK/],
    ['more than 100 keys', (rules) => ({ ...rules, keys: Array(101).fill(rules.keys![0]) }), /at most 100 "keys"/],
    ['keys that are not objects', (rules) => ({ ...rules, keys: ['pem'] }), /at least one JWK/],
    ['an issuer that is not a list', (rules) => ({ ...rules, issuer: 'https://id.example.com/tenant' }), /as lists/],
    ['algorithms that are not a list', (rules) => ({ ...rules, algorithms: 'RS256' }), /as lists/],
    ['an audience that is not a list', (rules) => ({ ...rules, audience: 'my-api' }), /"audience" as a list/],
    ['no rules at all', () => undefined, /"opaque" or the rules/],
    ['a word in place of the rules', () => 'jwt', /"opaque" or the rules/],
  ])('are neither accepted nor refused with %s, and the app is told', async (_, change, message) => {
    const { signIn: begin, problems } = await serveJwt(change);
    const response = await begin();
    expect(response.json).toMatchObject({ authenticated: false, reason: 'provider_misconfigured', retryable: true });
    expect(problems).toEqual([{ problem: 'provider', option: 'provider', message: expect.stringMatching(message) }]);
  });

  it.each([false, undefined, 'yes', Promise.resolve(true)])(
    'are refused unless issuedToUs returns true or "unsaid": %p',
    async (answer) => {
      const { signIn: begin, rejected } = await serveJwt((rules) => ({ ...rules, issuedToUs: () => answer as never }));
      expect((await begin()).json).toMatchObject({ error: 'ERR_SESSION_TOKENS_INVALID' });
      const sessionId = expect.any(String) as unknown;
      expect(rejected).toEqual([{ sessionId, reason: 'invalid_jwt', detail: 'other_client' }]);
    },
  );

  it('are refused with a key that is not among the inline keys', async () => {
    const { signIn: begin } = await serveJwt((rules) => ({
      ...rules,
      keys: rules.keys!.map((key) => ({ ...key, kid: 'other' })),
    }));
    expect((await begin()).json).toMatchObject({
      authenticated: false,
      reason: 'provider_misconfigured',
      retryable: true,
    });
  });
});
