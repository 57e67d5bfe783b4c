import { createCipheriv, createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { Agent, request } from 'node:http';

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  createSessionManager,
  getSession,
  ironSealer,
  requireSession,
  rubySealer,
  type Sealer,
  type SessionOptions,
  withSession,
} from 'express-sealed-session';
import fc from 'fast-check';
import { sealData } from 'iron-session';

import { bindingOf } from '../../lib/session/binding.js';
import { type Framework, frameworks, type Listening } from '../support/apps.js';
import { useClock } from '../support/clock.js';
import { runs } from '../support/fuzz.js';
import { startWorkosServer, type WorkosServer } from '../support/workos-server.js';
import { password, workosOptions } from '../support/workos-session.js';

// Whatever nobody catches on the way, a rejection or an exception, Jest takes for a failure of the test under way.

jest.setTimeout(30_000);

const origin = 'https://app.example.com';
const agent = new Agent({ keepAlive: true });
const builtIns = [Object.prototype, Array.prototype, Function.prototype, String.prototype, Promise.prototype];
const untouched = builtIns.map(fingerprint);

let server: WorkosServer;
let apps: Record<'express' | 'connect' | 'header', Listening>;
let genuine: { accessToken: string; refreshToken: string; user: { id: string } };
/** Two good sessions, sealed. */
let seals: [string, string];
/** Seals opened for the request under way. */
let opens = 0;
let slowest = { ms: 0, what: '' };
const times: number[] = [];

beforeAll(async () => {
  server = await startWorkosServer();
  const [express, connect] = ['Express 5', 'Connect'].map((name) => frameworks.find((one) => one.name === name)!);
  apps = {
    express: await serve(express!),
    connect: await serve(connect!),
    header: await serve(express!, { header: 'X-Session' }),
  };
  genuine = await issue();
  seals = [await seal(genuine), await seal(await issue())];
  // Keys are fetched and parts are loaded by the first who needs them, as the client for the refresh. That is no
  // stranger's doing.
  const old = await seal(await issue(-30));
  await ask(apps.express, '/', { cookie: `wos-session=${old}` });
  for (const app of [apps.express, apps.connect]) {
    await ask(app, '/', { cookie: `wos-session=${seals[0]}` });
    await ask(app, '/login');
  }
  slowest = { ms: 0, what: '' };
  times.length = 0;
});
beforeEach(() => {
  for (const endpoint of [server.token, server.keys]) endpoint.requests.length = 0;
});
afterEach(() => {
  expect(builtIns.map(fingerprint)).toEqual(untouched);
});
afterAll(async () => {
  agent.destroy();
  await Promise.all([server, ...Object.values(apps)].map((each) => each.close()));
  // For people to read: on a busy machine the times are those of its other work.
  times.sort((one, other) => one - other);
  const within = (share: number) => `${(times[Math.floor(times.length * share)] ?? 0).toFixed(1)} ms`;
  console.info(
    `fuzz: ${times.length} requests, half within ${within(0.5)}, 99 % within ${within(0.99)}, ` +
      `the slowest ${slowest.ms.toFixed(1)} ms: ${slowest.what}`,
  );
});

async function issue(lifetimeSeconds = 3_600) {
  const { accessToken, refreshToken } = await server.issueSession({ lifetimeSeconds });
  return { accessToken, refreshToken, user: { id: 'user_01' } };
}

/** What a sign-in here is bound to. */
function flowBinding(): string {
  return bindingOf(workosOptions(server).provider.id, 'flow', `${origin}/callback`);
}

/** As somebody seals who has the password: whatever there is to seal. */
function seal(value: unknown): Promise<string> {
  return sealData(value, { password, ttl: 0 });
}

/** The same for a text that no `JSON.stringify` would write. */
function sealText(text: string): string {
  const key = (salt: string) => pbkdf2Sync(password, salt, 1, 32, 'sha1');
  const [salt, macSalt, iv] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex'), randomBytes(16)];
  const cipher = createCipheriv('aes-256-cbc', key(salt), iv);
  const sealed = Buffer.concat([cipher.update(text), cipher.final()]);
  const covered = `Fe26.2*1*${salt}*${iv.toString('base64url')}*${sealed.toString('base64url')}*`;
  return `${covered}*${macSalt}*${createHmac('sha256', key(macSalt)).update(covered).digest('base64url')}~2`;
}

function serve(framework: Framework, change: Partial<SessionOptions> = {}): Promise<Listening> {
  const [iron, ruby] = [ironSealer(), rubySealer()];
  const counting: Sealer = {
    ...iron,
    recognises: (text) => iron.recognises(text) || ruby.recognises(text),
    open: (text, ...given) => {
      opens += 1;
      return (iron.recognises(text) ? iron : ruby).open(text, ...given);
    },
  };
  const options = { ...workosOptions(server, { sealer: counting, ...change }), baseUrl: origin };
  return framework.listen((app) => {
    const sessions = withSession(options);
    app.use(sessions);
    app.use(sessions.routes());
    app.get('/', (req, res) => res.end(JSON.stringify(getSession(req))));
    app.get('/guarded', requireSession({}, { redirect: false }), (_req, res) => res.end('{}'));
  });
}

function fingerprint(prototype: object): string {
  return Reflect.ownKeys(prototype).map(String).join();
}

interface Answer {
  status: number;
  setCookies: string[];
  location: string | undefined;
  text: string;
}

/** One request, with any byte in its headers that a server would let through. */
async function ask(app: Listening, path: string, headers: Record<string, string | string[]> = {}): Promise<Answer> {
  const { port } = new URL(app.url);
  opens = 0;
  const began = performance.now();
  const answer = await new Promise<Answer>((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, headers, agent }, (res) => {
      let text = '';
      res.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      res.on('error', reject).on('end', () => {
        const setCookies = res.headers['set-cookie'] ?? [];
        resolve({ status: res.statusCode ?? 0, setCookies, location: res.headers.location, text });
      });
    });
    sent.on('error', reject).end();
  });
  const ms = performance.now() - began;
  // A sign-in waits for the provider.
  times.push(ms);
  const isSignIn = answer.setCookies.some((header) => header.startsWith('wos-session=Fe26'));
  if (ms > slowest.ms && !isSignIn) slowest = { ms, what: `${path} ${JSON.stringify(headers)}`.slice(0, 120) };
  // The work that a request can cause has a limit, whatever is in it.
  expect(opens).toBeLessThanOrEqual(10);
  return answer;
}

/** Sends it as the cookies of a visit: no error, nobody signed in, and the cookie left alone. */
async function expectNobody(app: Listening, headers: Record<string, string | string[]>): Promise<void> {
  const page = await ask(app, '/', headers);
  expect([page.status, page.setCookies]).toEqual([200, []]);
  expect(JSON.parse(page.text)).toMatchObject({ authenticated: false, user: null, retryable: false });
  expect((await ask(app, '/guarded', headers)).status).toBe(401);
}

/** Nothing that a stranger can send makes us ask the provider. */
function expectNothingAsked(): void {
  expect([server.tokenRequests.length, server.keyRequests.length]).toEqual([0, 0]);
}

async function check<Value>(
  times: number,
  arbitrary: fc.Arbitrary<Value>,
  holds: (value: Value) => Promise<void>,
  examples: Value[] = [],
): Promise<void> {
  let last: Promise<void> | undefined;
  await fc.assert(
    fc.asyncProperty(arbitrary, (value) => (last = holds(value))),
    {
      // Examples count as runs, and each is worth one.
      numRuns: Math.max(runs(times), examples.length),
      examples: examples.map((one) => [one]),
      // On a busy machine there are fewer of them.
      interruptAfterTimeLimit: 4_000,
    },
  );
  // One that was interrupted goes on, and would ask in the midst of the next test.
  await last?.catch((error: unknown) => {
    if (!fc.PreconditionFailure.isFailure(error)) throw error;
  });
}

/** A byte that gets past an HTTP parser, in a string. */
const byte = fc.oneof(
  fc.integer({ min: 0x20, max: 0x7e }),
  fc.integer({ min: 0x80, max: 0xff }),
  fc.constantFrom(...Buffer.from('\t;=,"%*.~-_\\')),
);
const bytes = (maxLength: number) => fc.array(byte, { maxLength }).map((codes) => String.fromCharCode(...codes).trim());
const percentJunk = fc
  .array(fc.constantFrom('%', '%0', '%00', '%zz', '%ff', '%E0%A4%A', '%C0%AF', '%F0%9F%98%80', '%25', 'Fe26.2*', 'a'))
  .map((parts) => parts.join(''));
const oddId = fc.constantFrom(
  ...['constructor', '__proto__', 'prototype', 'toString', 'hasOwnProperty', 'valueOf', '__defineGetter__'],
  ...['', '0', '2', '01', '+1', '-1', '1.0', '1e0', 'NaN', 'null', 'undefined', '1_', '99999999999999999999'],
  ...['%D9%A1', '%EF%BC%91', '%E0%A5%A7', '%C2%B9', '1%00', '%31%00', 'a'.repeat(33)],
);
const sealJunk = fc.oneof(
  bytes(200),
  percentJunk,
  fc.uint8Array({ maxLength: 300 }).map((junk) => Buffer.from(junk).toString('base64')),
  fc.uint8Array({ maxLength: 90 }).map((junk) => Buffer.from([1, ...junk]).toString('base64')),
  oddId.map((id) => `Fe26.2*${id}*${'a'.repeat(64)}`),
  fc
    .tuple(oddId, fc.nat(9_999), fc.nat(3))
    .map(
      ([id, length, version]) =>
        `Fe26.2*${id}*${'a'.repeat(64)}*${'b'.repeat(22)}*${'c'.repeat(22 + (length % 400))}**${'d'.repeat(64)}*${'e'.repeat(43)}~${version}`,
    ),
);
const cookieName = fc.oneof(
  { weight: 6, arbitrary: fc.constant('wos-session') },
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 12 }).map((piece) => `wos-session.${piece}`) },
  fc.constantFrom('wos-session ', ' wos-session', 'Wos-Session', 'wos-session.', 'wos-session.00', '__proto__', ''),
  bytes(12),
);
const cookieJunk = fc.array(fc.tuple(cookieName, sealJunk), { maxLength: 30 }).map((pairs) =>
  pairs
    .map((pair) => pair.join('='))
    .join('; ')
    .slice(0, 12_000),
);

describe.each(['express', 'connect'] as const)('a Cookie header of anything, on %s', (name) => {
  it('is nobody, and costs a limited number of attempts', async () => {
    await check(name === 'express' ? 200 : 60, fc.oneof(cookieJunk, bytes(600)), async (cookie) => {
      await expectNobody(apps[name], { cookie });
    });
    expectNothingAsked();
  });

  it('is nobody also when it comes in several headers', async () => {
    await check(30, fc.array(cookieJunk, { minLength: 1, maxLength: 4 }), async (junk) => {
      const cookie = junk.map((one) => one.slice(0, 3_000));
      await expectNobody(apps[name], { cookie });
    });
  });

  it('hides no good cookie', async () => {
    const few = fc.array(fc.tuple(cookieName, sealJunk), { maxLength: 5 });
    await check(60, fc.tuple(few, few), async ([before, after]) => {
      const pairs = [...before, ['wos-session', seals[0]], ...after].map((pair) => pair.join('='));
      // A quotation mark or a semicolon of a neighbour's is the neighbour's.
      const page = await ask(apps[name], '/', { cookie: pairs.join('; ') });
      expect(JSON.parse(page.text)).toMatchObject({ authenticated: true });
    });
  });
});

describe('a real seal', () => {
  // The suffix decides nothing.
  const within = () => seals[0].length - '~2'.length;
  const place = fc.noBias(fc.nat(999_999)).map((part) => part / 1_000_000);

  it('signs in as it is', async () => {
    const page = await ask(apps.express, '/', { cookie: `wos-session=${seals[0]}` });
    expect(JSON.parse(page.text)).toMatchObject({ authenticated: true, user: { id: 'user_01' } });
  });

  it('is nobody with one bit flipped', async () => {
    await check(200, fc.tuple(place, fc.nat(7)), async ([at, bit]) => {
      const index = Math.floor(at * within());
      const flipped = seals[0].charCodeAt(index) ^ (1 << bit);
      fc.pre(flipped > 0x20 && flipped !== 0x7f);
      const changed = seals[0].slice(0, index) + String.fromCharCode(flipped) + seals[0].slice(index + 1);
      await expectNobody(apps.express, { cookie: `wos-session=${changed}` });
    });
    expectNothingAsked();
  });

  it('is nobody with one bit flipped, also as AES-GCM', async () => {
    const manager = createSessionManager(workosOptions(server, { sealer: rubySealer() }));
    const whole = Buffer.from(await manager.seal(genuine), 'base64');
    const send = (bytes: Buffer) => ({ cookie: `wos-session=${bytes.toString('base64')}` });
    expect(JSON.parse((await ask(apps.express, '/', send(whole))).text)).toMatchObject({ authenticated: true });
    await check(150, fc.tuple(place, fc.nat(7)), async ([at, bit]) => {
      const changed = Buffer.from(whole);
      changed[Math.floor(at * whole.length)]! ^= 1 << bit;
      await expectNobody(apps.express, send(changed));
      await expectNobody(apps.express, send(whole.subarray(0, Math.floor(at * whole.length))));
    });
    expectNothingAsked();
  });

  it('is nobody when it is cut off, doubled, or joined with another', async () => {
    const shape = fc.constantFrom('head', 'tail', 'twice', 'both', 'spliced', 'pieces of two');
    await check(150, fc.tuple(shape, place), async ([kind, at]) => {
      const [one, two] = seals;
      const cut = 10 + Math.floor(at * (within() - 10));
      const cookie = {
        head: `wos-session=${one.slice(0, cut)}`,
        tail: `wos-session=${one.slice(cut)}`,
        twice: `wos-session=${one}${one}`,
        both: `wos-session=${one}*${two}`,
        spliced: `wos-session=${one.slice(0, cut)}${two.slice(cut)}`,
        'pieces of two': `wos-session.0=${one.slice(0, cut)}; wos-session.1=${two.slice(cut)}`,
      }[kind];
      // Two salts may begin alike.
      fc.pre(one.slice(0, cut) + two.slice(cut) !== two);
      await expectNobody(apps.express, { cookie });
    });
    expectNothingAsked();
  });

  it('is nobody under another id for its password', async () => {
    await check(100, oddId, async (id) => {
      const cookie = `wos-session=${seals[0].replace('*1*', () => `*${id}*`)}`;
      await expectNobody(apps.express, { cookie });
    });
    expectNothingAsked();
  });

  it("is nobody under a password of the sender's, whatever its id", async () => {
    const guesses = fc.tuple(fc.string({ minLength: 32, maxLength: 48 }), fc.integer({ min: 0, max: 10 ** 9 }));
    await check(60, guesses, async ([guess, id]) => {
      const forged = await sealData(genuine, { password: { [id]: guess }, ttl: 0 });
      await expectNobody(apps.express, { cookie: `wos-session=${forged}` });
    });
    expectNothingAsked();
  });
});

describe('more cookies than a browser would send', () => {
  it('are opened up to a limit', async () => {
    const opened: number[] = [];
    for (const count of [1, 9, 10, 11, 12]) {
      const forged = Array.from({ length: count }, (_, index) => seals[1].replace('*1*', `*${index}*`));
      await ask(apps.express, '/', { cookie: forged.map((value) => `wos-session=${value}`).join('; ') });
      opened.push(opens);
    }
    expect(opened).toEqual([1, 9, 10, 10, 10]);
  });
});

// Keys that a careless copy would take for the prototype's.
const poison = fc.constantFrom(
  '{"__proto__":{"polluted":true,"authenticated":true}}',
  '{"constructor":{"prototype":{"polluted":true}}}',
  '{"a":{"__proto__":{"polluted":true}},"__proto__":{"accessToken":"x"}}',
);
const anyJson = fc.oneof(
  fc.jsonValue({ maxDepth: 4 }),
  poison.map((json): unknown => JSON.parse(json)),
);
const fields = [
  ...['accessToken', 'refreshToken', 'user', 'organizationId', 'authenticationMethod', 'impersonator', 'data'],
  ...['access_token', 'refresh_token', 'organization_id', 'expires_at', 'session_id', 'email'],
  ...['sessionId', 'startedAt', 'usedAt', 'expiresAt', 'persistent', '__proto__', 'constructor', 'toJSON', 'claims'],
];
const fieldJunk = fc.oneof(
  anyJson,
  fc.constantFrom<unknown>(null, '', 0, -1, 1e308, true, [], {}, [[]], 'x'.repeat(5_000), '2030-01-01', { id: 1 }),
);
/** What a session may be with any of its fields replaced. */
const payloadLike = fc.array(fc.tuple(fc.constantFrom(...fields), fieldJunk), { maxLength: 8 });

function withFields(start: object, entries: readonly (readonly [string, unknown])[]): unknown {
  return Object.fromEntries([...Object.entries(start), ...entries]);
}

describe('what was sealed with the right password', () => {
  const clock = useClock();

  // Sealed by us, or by another app with our password: no stranger gets here. It must still be nobody's sign-in.
  const send = async (value: unknown) => {
    const sealed = await seal(value);
    fc.pre(sealed.length < 14_000);
    return sendSeal(sealed);
  };
  const sendSeal = async (sealed: string) => {
    const cookie = `wos-session=${sealed}`;
    const [page, guarded] = [await ask(apps.express, '/', { cookie }), await ask(apps.express, '/guarded', { cookie })];
    expect([page.status, guarded.status < 500]).toEqual([200, true]);
    return { ...(JSON.parse(page.text) as { authenticated: boolean; reason: string }), guarded: guarded.status };
  };

  it('is nobody when it is any JSON', async () => {
    await check(150, anyJson, async (value) => {
      expect(await send(value)).toMatchObject({ authenticated: false, guarded: 401 });
    });
    expectNothingAsked();
  });

  it('is nobody when it has the fields of a session, and a token of no provider', async () => {
    await check(150, payloadLike, async (entries) => {
      expect(await send(withFields({ accessToken: 'a.b.c' }, entries))).toMatchObject({ authenticated: false });
    });
    expect(server.tokenRequests).toEqual([]);
  });

  it('is the user of a genuine token or nobody, whatever is beside it', async () => {
    let signedIn = 0;
    await check(150, payloadLike, async (entries) => {
      const beside = entries.filter(([field]) => field !== 'accessToken');
      const payload = withFields({ accessToken: genuine.accessToken }, beside) as { user?: { id?: unknown } | null };
      const session = await send(payload);
      // `!==` of what JSON makes of it: the token's own subject, or no user at all.
      const fits = payload.user === undefined || payload.user === null || payload.user.id === 'user_01';
      if (!fits) expect(session.authenticated).toBe(false);
      if (session.authenticated) {
        signedIn += 1;
        expect(session).toMatchObject({ user: { id: 'user_01' }, guarded: 200 });
      }
    });
    expect(signedIn).toBeGreaterThan(0);
  });

  it.each([100, 1_000, 2_500, 4_900])('is nobody when it is %i levels deep', async (depth) => {
    const deep = `${'['.repeat(depth)}${']'.repeat(depth)}`;
    for (const json of [deep, `{"accessToken":"a.b.c","x":${deep}}`, `{"accessToken":"a.b.c","data":{"x":${deep}}}`]) {
      expect(await sendSeal(sealText(json))).toMatchObject({ authenticated: false, guarded: 401 });
    }
  });

  it('is nobody when it is no JSON', async () => {
    const texts = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc.json().map((json) => json.slice(1)),
    );
    await check(60, texts, async (text) => {
      expect(await sendSeal(sealText(text))).toMatchObject({ authenticated: false, guarded: 401 });
    });
    expect(await sendSeal(sealText(JSON.stringify(genuine)))).toMatchObject({ authenticated: true, guarded: 200 });
  });

  it('is nobody when its token only looks like one', async () => {
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const [realHeader = '', realClaims = '', realSignature = ''] = genuine.accessToken.split('.');
    const kid = (JSON.parse(Buffer.from(realHeader, 'base64url').toString()) as { kid: string }).kid;
    const headers = fc.oneof(
      anyJson,
      fc.record(
        {
          alg: fc.oneof(fc.constantFrom('RS256', 'none', 'HS256', 'ES256', '__proto__'), fc.jsonValue()),
          kid: fc.oneof(fc.constantFrom(kid, '__proto__', ''), fc.jsonValue()),
          typ: fc.jsonValue(),
          crit: fc.oneof(fc.constantFrom(['b64'], ['exp'], [], 'b64'), fc.jsonValue()),
          b64: fc.jsonValue(),
          jwk: fc.jsonValue(),
        },
        { requiredKeys: [] },
      ),
    );
    const claims = fc.oneof(
      anyJson,
      anyJson.map((value) => ({ ...server.claims(), extra: value })),
    );
    const tokens = fc.oneof(
      fc
        .tuple(headers, claims, fc.constantFrom(realSignature, '', 'AAAA', '!'))
        .map(([header, body, signature]) => `${part(header)}.${part(body)}.${signature}`),
      headers.map((header) => `${part(header)}.${realClaims}.${realSignature}`),
      claims.map((body) => `${realHeader}.${part(body)}.${realSignature}`),
      fc.string().map((text) => `${realHeader}.${Buffer.from(text).toString('base64url')}.${realSignature}`),
      fc.string({ minLength: 1, unit: 'binary' }),
    );
    await check(200, tokens, async (accessToken) => {
      // The key set is fetched once a second, and an unknown key waits for that.
      clock.advance(1);
      const asked = server.tokenRequests.length;
      const session = await send({ accessToken, refreshToken: 'junk', user: { id: 'user_01' } });
      expect(session).toMatchObject({ authenticated: false, guarded: 401 });
      expect(server.tokenRequests.length - asked).toBeLessThanOrEqual(2);
    });
  });
});

describe('the header in place of the cookie', () => {
  it('is nobody when it is anything, and the cookie is not looked at', async () => {
    await check(150, fc.oneof(sealJunk, cookieJunk, bytes(400)), async (value) => {
      await expectNobody(apps.header, { 'x-session': value, cookie: `wos-session=${seals[0]}` });
    });
    expectNothingAsked();
  });

  it('is nobody when it comes twice', async () => {
    await expectNobody(apps.header, { 'x-session': [seals[0], seals[0]] });
  });
});

const urlParts = fc.constantFrom(
  ...['/', '//', '///', '\\', '.', '..', '%2e', '%2f', '%5c', '@', ':', '?', '#', '&', '=', ';', ' ', '\t', '\r\n'],
  ...['http:', 'https://', 'javascript:', 'evil.example', 'app.example.com', 'a', '%00', '\u0000', '\ud800', 'é', '／'],
);
const urlJunk = fc.oneof(
  fc.array(urlParts, { maxLength: 10 }).map((parts) => parts.join('')),
  fc.array(urlParts, { maxLength: 8 }).map((parts) => `/${parts.join('')}`),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.webUrl(),
);
const escaped = (text: string) => encodeURIComponent(Buffer.from(text).toString());
const queryJunk = fc
  .array(
    fc.tuple(
      fc.oneof(
        fc.constantFrom('code', 'state', 'error', 'error_description', 'iss', 'returnTo', '__proto__'),
        fc.string(),
      ),
      fc.oneof(urlJunk, fc.string({ unit: 'binary' })),
    ),
    { maxLength: 6 },
  )
  .map((pairs) => pairs.map(([key, value]) => `${escaped(key)}=${escaped(value)}`).join('&'));
const rawQuery = fc
  .array(fc.integer({ min: 0x21, max: 0x7e }), { maxLength: 60 })
  .map((codes) => String.fromCharCode(...codes));

function flowCookieOf({ setCookies }: Answer): string {
  return setCookies.find((header) => header.startsWith('wos-session-flow-'))!.split(';', 1)[0]!;
}

describe('the routes of a sign-in', () => {
  const cookieOfSession = ({ setCookies }: Answer) =>
    setCookies.filter((header) => /^wos-session(\.\d)?=[^;]/.test(header));

  it('lead back to our own origin, whatever "returnTo" is', async () => {
    const known = [
      '//evil.example',
      '/.//evil.example',
      '/a/..//evil.example',
      '/%2e//evil.example',
      '/\\evil.example',
    ];
    const leadsHome = async (returnTo: string) => {
      const login = await ask(apps.express, `/login?returnTo=${escaped(returnTo)}`);
      expect(login.status).toBe(303);
      const authorize = new URL(login.location!);
      expect(authorize.origin).toBe(server.url);
      const back = new URL((await fetch(authorize, { redirect: 'manual' })).headers.get('location')!);
      const page = await ask(apps.express, back.pathname + back.search, { cookie: flowCookieOf(login) });
      expect([page.status, cookieOfSession(page).length]).toEqual([303, 1]);
      expect(page.location).toMatch(/^\//);
      expect(new URL(page.location!, origin).origin).toBe(origin);
    };
    await check(100, urlJunk, leadsHome, known);
  });

  it('begin, or refuse, whatever the query', async () => {
    const paths = fc.constantFrom('/login', '/callback', '/logout', '/login/', '//login', '/callback/..');
    await check(200, fc.tuple(paths, fc.oneof(queryJunk, rawQuery)), async ([path, query]) => {
      const page = await ask(apps.express, `${path}?${query}`, { 'sec-fetch-site': 'cross-site' });
      expect(page.status).toBeLessThan(500);
      expect(cookieOfSession(page)).toEqual([]);
      if (path === '/callback') expect(page.status).toBe(400);
      if (path === '/logout') expect(page.status).toBe(403);
    });
    expectNothingAsked();
  });

  it('refuse a callback whose own cookie is anything', async () => {
    const login = await ask(apps.express, '/login');
    const state = new URL(login.location!).searchParams.get('state')!;
    const [name = '', real = ''] = flowCookieOf(login).split(/=(.*)/s);
    const flow = fc.record(
      {
        boundTo: fc.oneof(fc.constant(flowBinding()), fieldJunk),
        state: fc.oneof(fc.constant(state), fieldJunk),
        nonce: fc.oneof(fc.constant('nonce'), fieldJunk),
        codeVerifier: fc.oneof(fc.constant('a'.repeat(43)), fieldJunk),
        returnTo: fc.oneof(fc.constant('/'), fieldJunk),
        until: fc.oneof(fc.constant(Date.now() + 60_000), fieldJunk),
        asked: fc.oneof(fc.constant({}), fieldJunk),
      },
      { requiredKeys: [] },
    );
    const values = fc.oneof(
      sealJunk.map((junk) => Promise.resolve(junk)),
      fc.nat(real.length - 4).map((length) => Promise.resolve(real.slice(0, length))),
      anyJson.map(seal),
      flow.map(seal),
      fc.constant(Promise.resolve(seals[0])),
    );
    await check(150, fc.tuple(values, queryJunk), async ([value, query]) => {
      const cookie = `${name}=${await value}`;
      fc.pre(cookie.length < 14_000);
      const page = await ask(apps.express, `/callback?code=junk&state=${state}&${query}`, { cookie });
      expect([page.status, cookieOfSession(page)]).toEqual([400, []]);
    });
  });

  it.each<[string, Record<string, unknown>]>([
    ['another state', { state: 'another' }],
    ['another provider', { boundTo: bindingOf('another', 'flow', `${origin}/callback`) }],
    ['no provider', { boundTo: undefined }],
    ['no state', { state: undefined }],
    ['no verifier', { codeVerifier: '' }],
    ['a verifier that is none', { codeVerifier: 1 }],
    ['nowhere to return to', { returnTo: null }],
    ['nothing of what was asked', { asked: undefined }],
    ['no end', { until: undefined }],
    ['an end that has passed', { until: Date.now() - 1 }],
    ['an end that is no number', { until: '9999999999999' }],
  ])('send no code on for a sign-in with %s', async (what, change) => {
    const login = await ask(apps.express, '/login');
    const state = new URL(login.location!).searchParams.get('state')!;
    const [name = ''] = flowCookieOf(login).split('=');
    const whole = {
      boundTo: flowBinding(),
      state,
      nonce: 'nonce',
      // The verifier names the sign-in: one that was refused once is not asked for again.
      codeVerifier: createHash('sha256').update(what).digest('base64url'),
      returnTo: '/',
      until: Date.now() + 60_000,
      asked: {},
    };
    const send = async (flow: object) =>
      ask(apps.express, `/callback?code=junk&state=${state}`, { cookie: `${name}=${await seal(flow)}` });
    expect((await send({ ...whole, ...change })).status).toBe(400);
    expectNothingAsked();
    // Whole, it is the provider that refuses the code.
    expect((await send(whole)).status).toBe(400);
    expect(server.tokenRequests).toHaveLength(1);
  });

  it("take the seal of a sign-in for nobody's session", async () => {
    const login = await ask(apps.express, '/login');
    const value = flowCookieOf(login).split(/=(.*)/s)[1]!;
    await expectNobody(apps.express, { cookie: `wos-session=${value}` });
  });
});

describe('headers of anything that a browser sends beside', () => {
  it('make no error and no sign-in', async () => {
    const names = ['accept', 'origin', 'sec-fetch-site', 'sec-fetch-mode', 'sec-purpose', 'purpose', 'x-moz', 'host'];
    const some = fc.dictionary(fc.constantFrom(...names), bytes(60));
    const methods = fc.constantFrom('/', '/guarded', '/login', '/callback', '/logout', '/nowhere');
    await check(150, fc.tuple(methods, some), async ([path, headers]) => {
      const page = await ask(apps.express, path, headers);
      // A prefetch of a route is put off with a 503.
      if (page.status >= 500) expect([path, isPrefetchOf(headers)]).toEqual([expect.stringMatching(/^\/.+/), true]);
      expect(page.setCookies.filter((header) => /^wos-session=[^;]/.test(header))).toEqual([]);
    });
  });

  function isPrefetchOf(headers: Record<string, string>): boolean {
    return ['sec-purpose', 'purpose', 'x-moz'].some((name) => /prefetch|prerender|preview/.test(headers[name] ?? ''));
  }
});
