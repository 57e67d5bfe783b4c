import { generateKeyPairSync, KeyObject, sign } from 'node:crypto';

import { describe, expect, it } from '@jest/globals';
import { withSession } from 'express-sealed-session';
import { exportJWK, generateKeyPair } from 'jose';

import { frameworks } from '../support/apps.js';
import { type Browser, createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { createDevice, type Device, devicePath, documentFrom, type Forgery, offerOf } from '../support/device.js';
import { proofName, shown, useDeviceApps, who } from '../support/device-app.js';

const clock = useClock();
const apps = useDeviceApps();
const { bind, optionsOf, serve, visitor } = apps;

/** A client that sends these cookies for ever, whatever their age is. */
function withCookies(url: string, cookie: string): Browser {
  const client = createBrowser(url);
  const get: Browser['get'] = (path) => client.get(path, { headers: { cookie } });
  return { ...client, get };
}

describe('the offer to bind a session', () => {
  it.each<[string, number, RequestInit]>([
    ['a page that its visitor has asked for', 1, documentFrom('none')],
    ['a page that a page of its own has led to', 1, documentFrom('same-origin')],
    ['a page that another site has led to', 0, documentFrom('cross-site')],
    ['a frame', 0, { headers: { 'sec-fetch-dest': 'iframe', 'sec-fetch-site': 'same-origin' } }],
    ['a fetch', 0, { headers: { 'sec-fetch-dest': 'empty', 'sec-fetch-site': 'same-origin' } }],
    ['a browser that does not say', 0, {}],
    ['a client that sends its seal in a header', 0, documentFrom('none', { 'x-session': 'other' })],
  ])('on %s: %i', async (_, count, init) => {
    const browser = await visitor(await serve({ header: 'X-Session' }));
    expect([offerOf(await browser.get('/', init))].filter(Boolean).length).toBe(count);
  });

  it('is made once for each session, and again when the browser may sign again', async () => {
    const app = await serve();
    const browser = await visitor(app);
    const offers = async (each = browser) => offerOf(await each.get('/', documentFrom('none'))) !== undefined;
    expect([await offers(), await offers(browser.tab()), await offers(await visitor(app))]).toEqual([
      true,
      false,
      true,
    ]);
    clock.advance(9 * 60 + 1);
    expect(await offers()).toBe(true);
  });

  it('is made to nobody who is not signed in, to no bound session, and not without routes or TLS', async () => {
    const { app, browser } = await bind();
    expect(offerOf(await createBrowser(app.url).get('/', documentFrom('none')))).toBeUndefined();
    expect(offerOf(await browser.get('/', documentFrom('none')))).toBeUndefined();
    const plain = await serve({ baseUrl: 'http://localhost:3000' });
    expect(offerOf(await (await visitor(plain)).get('/', documentFrom('none')))).toBeUndefined();
    const sessions = withSession(optionsOf());
    const bare = await frameworks[0]!.listen((each) => {
      each.use(sessions);
      each.get('/', (req, res) => res.end(JSON.stringify(sessions.get(req))));
    });
    apps.closing(bare);
    expect(offerOf(await (await visitor(bare)).get('/', documentFrom('none')))).toBeUndefined();
  });

  it('keeps its page out of caches', async () => {
    const page = await (await visitor(await serve())).get('/', documentFrom('none'));
    expect(page.headers.get('cache-control')).toBe('private, no-store');
  });
});

describe('binding a session', () => {
  it.each(frameworks)('seals the key, sends a proof, and tells the browser what to do, on $name', async (framework) => {
    const { browser, answer, id } = await bind({}, undefined, framework);
    expect(answer.json).toEqual({
      session_identifier: expect.stringMatching(/^[\w-]{43}$/),
      refresh_url: devicePath,
      scope: {
        include_site: false,
        scope_specification: ['/login', '/callback', '/logout'].map((path) => ({ type: 'exclude', domain: '*', path })),
      },
      credentials: [{ type: 'cookie', name: proofName, attributes: 'Path=/; Secure; HttpOnly; SameSite=Lax' }],
    });
    const proof = answer.setCookies.find((each) => each.startsWith(proofName))!;
    expect(proof).toMatch(
      /^__Host-wos-session-proof=[\w.-]{29}; Path=\/; Max-Age=(600|599); HttpOnly; Secure; SameSite=Lax$/,
    );
    expect(await shown(browser)).toMatchObject({ authenticated: true, deviceBound: true });
    expect(apps.told.deviceBound).toEqual([{ sessionId: expect.any(String), algorithm: 'ES256' }]);
    expect(id).toBe(answer.json.session_identifier);
  });

  it('rotates the refresh token, so that a copy from before ends with its access token', async () => {
    const asked = apps.server.token.requests.length;
    const { browser, before } = await bind();
    expect(apps.server.token.requests.length).toBe(asked + 1);
    expect([await who(browser), await who(before)]).toEqual([200, 200]);
    clock.advance(301);
    expect(await who(before)).toBe(503);
    expect(await who(before)).toBe(401);
    expect(apps.server.token.requests.length).toBe(asked + 1);
    // The browser itself goes on: its proof is good, and its tokens are refreshed.
    expect(await who(browser)).toBe(200);
  });

  it('ends copies from before at once where it is bound later than a minute after it began', async () => {
    const app = await serve();
    const browser = await visitor(app);
    const copy = withCookies(app.url, browser.jar.header(app.url)!);
    clock.advance(61);
    const device = await createDevice(browser);
    const answer = await device.register(await browser.get('/', documentFrom('none')));
    expect([await who(browser), await who(copy), await who(copy)]).toEqual([200, 503, 503]);
    expect(await shown(copy)).toMatchObject({ authenticated: false, reason: 'device_proof_unavailable' });
    expect((await device.refresh(answer.json.session_identifier as string)).status).toBe(200);
    expect(await who(browser)).toBe(200);
  });

  it('takes RS256, and signs with a key of 2048 bits', async () => {
    const browser = await visitor(await serve());
    const device = await createDevice(browser, 'RS256');
    expect((await device.register(await browser.get('/', documentFrom('none')))).status).toBe(200);
    expect(await shown(browser)).toMatchObject({ deviceBound: true });
    expect(apps.told.deviceBound).toMatchObject([{ algorithm: 'RS256' }]);
  });

  it('binds while the provider is away, and signs nobody out', async () => {
    apps.server.token.fail({ status: 503, body: {} });
    const { browser } = await bind();
    expect(await shown(browser)).toMatchObject({ deviceBound: true });
    apps.server.token.heal();
    clock.advance(290);
    // A copy from before may be refreshed first: the session stays bound to its device.
    expect(await shown(browser)).toMatchObject({ deviceBound: true, refreshed: true });
  });

  it('stays bound where a copy from before is refreshed first', async () => {
    apps.server.token.fail({ status: 503, body: {} });
    const { browser, before, device, id } = await bind();
    apps.server.token.heal();
    clock.advance(301);
    expect(await shown(before)).toMatchObject({ authenticated: true, refreshed: true, deviceBound: false });
    expect(await shown(browser)).toMatchObject({ authenticated: true, refreshed: true, deviceBound: true });
    expect((await device.refresh(id)).status).toBe(200);
    browser.jar.clear(proofName);
    expect(await who(browser)).toBe(401);
  });

  it('ends well when two registrations race: the first one counts, in the cookie and in the browser', async () => {
    const browser = await visitor(await serve());
    const page = await browser.get('/', documentFrom('none'));
    const devices = [await createDevice(browser), await createDevice(browser)];
    const answers = await Promise.all(devices.map((device) => device.register(page)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 401]);
    const won = answers.findIndex(({ status }) => status === 200);
    expect((await devices[won]!.refresh(answers[won]!.json.session_identifier as string)).status).toBe(200);
    expect(await shown(browser)).toMatchObject({ deviceBound: true });
  });

  it('ends well when both registrations were accepted: the one whose key is not sealed ends at its first refresh', async () => {
    apps.server.token.fail({ status: 503, body: {} });
    const browser = await visitor(await serve());
    const page = await browser.get('/', documentFrom('none'));
    const devices = [await createDevice(browser), await createDevice(browser)];
    const answers = await Promise.all(devices.map((device) => device.register(page)));
    const refreshed = await Promise.all(
      answers.map(({ json }, index) => devices[index]!.post({ 'sec-secure-session-id': json.session_identifier })),
    );
    expect(refreshed.map(({ status }) => status).sort()).toEqual([200, 403]);
    expect(refreshed.find(({ status }) => status === 200)!.json).toMatchObject({ continue: false });
    expect(await shown(browser)).toMatchObject({ deviceBound: true });
  });

  it('binds no copy from before to the key of a thief, who would be given the new tokens', async () => {
    const browser = await visitor(await serve());
    const copy = browser.clone();
    const page = await browser.get('/', documentFrom('none'));
    expect((await (await createDevice(browser)).register(page)).status).toBe(200);
    const answer = await (await createDevice(copy)).register(page);
    expect([answer.status, answer.setCookies]).toEqual([401, []]);
  });
});

describe('a rule that demands a device', () => {
  it('is met by a session that is bound, and by no other', async () => {
    const { app, browser, before } = await bind({ deviceBound: { reportOnly: true } });
    expect([await who(before, '/bound'), await who(browser, '/bound')]).toEqual([403, 200]);
    expect(await who(createBrowser(app.url), '/bound')).toBe(401);
    // With reportOnly the session goes on, but it proves nothing.
    browser.jar.clear(proofName);
    expect([await who(browser), await who(browser, '/bound')]).toEqual([200, 403]);
    const plain = await serve({ deviceBound: false });
    const cookie = browser.jar.header(app.url)!;
    expect(await who(createBrowser(plain.url), '/bound', { headers: { cookie } })).toBe(403);
  });
});

describe('a registration is refused', () => {
  const es256 = () => generateKeyPair('ES256', { extractable: true });
  const rsa = (modulusLength: number, publicExponent = 65_537) => {
    const pair = generateKeyPairSync('rsa', { modulusLength, publicExponent });
    return { key: pair.privateKey, header: { alg: 'RS256', jwk: pair.publicKey.export({ format: 'jwk' }) } };
  };
  it.each<[string, (own: Device) => Forgery | Promise<Forgery>]>([
    ['signed by another key', async () => ({ key: (await es256()).privateKey })],
    ['with a private key', async ({ privateKey }) => ({ header: { jwk: await exportJWK(privateKey) } })],
    ['without a key', () => ({ header: { jwk: undefined } })],
    ['with a key that is none', () => ({ header: { jwk: { kty: 'EC', crv: 'P-256', x: 'a', y: 'b' } } })],
    ['of another type', () => ({ header: { typ: 'JWT' } })],
    ['without a challenge', () => ({ claims: { jti: undefined } })],
    ['with a challenge of its own', () => ({ claims: { jti: 'c1' } })],
    ['with a challenge that is no text', () => ({ claims: { jti: 1 } })],
    [
      'with algorithm none',
      ({ jwk }) => ({ text: `${part({ alg: 'none', typ: 'dbsc+jwt', jwk })}.${part({ jti: 'a' })}.` }),
    ],
    [
      'with HS256, by the public key as the secret',
      ({ jwk }) => ({ header: { alg: 'HS256' }, key: Buffer.from(JSON.stringify(jwk)) }),
    ],
    [
      'with another algorithm in its header',
      (device) => ({ text: (challenge) => signedAs('RS256', device, challenge) }),
    ],
    ['with RS256 beside a P-256 key', ({ jwk }) => ({ ...rsa(2048), header: { alg: 'RS256', jwk } })],
    ['by an RSA key of 1024 bits', () => ({ text: rsaJwt(1024) })],
    [
      'by an RSA key of 8192 bits',
      ({ jwk }) => ({ header: { jwk: { ...jwk, kty: 'RSA', e: 'AQAB', n: 'A'.repeat(1366) } } }),
    ],
    ['by an RSA key with an exponent of its own', () => rsa(2048, 3)],
    ['that is megabytes long', () => ({ text: `${'a'.repeat(6_000)}.b.c` })],
    ['that is empty', () => ({ text: '' })],
  ])('%s', async (_, forge) => {
    const browser = await visitor(await serve());
    const device = await createDevice(browser);
    const page = await browser.get('/', documentFrom('none'));
    const answer = await device.register(page, await forge(device));
    expect([answer.status, answer.setCookies]).toEqual([400, []]);
    expect(await shown(browser)).toMatchObject({ authenticated: true, deviceBound: false });
    // The offer is still good for the browser's own.
    expect((await device.register(page)).status).toBe(200);
  });

  /** Signed by the device's own key, whatever the header says. */
  function signedAs(alg: string, { jwk, privateKey }: Device, jti: string): string {
    const text = `${part({ alg, typ: 'dbsc+jwt', jwk })}.${part({ jti })}`;
    const key = { key: KeyObject.from(privateKey), dsaEncoding: 'ieee-p1363' } as const;
    return `${text}.${sign('sha256', Buffer.from(text), key).toString('base64url')}`;
  }
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const rsaJwt = (bits: number) =>
    `${part({ alg: 'RS256', typ: 'dbsc+jwt', jwk: rsa(bits).header.jwk })}.${part({ jti: 'a' })}.AAAA`;

  it('of a session that is bound already, with the challenge that bound it or another', async () => {
    const { app, browser, answer } = await bind();
    const thief = await createDevice(browser);
    const unbound = await visitor(app);
    const page = await unbound.get('/', documentFrom('none'));
    expect((await thief.register(page)).status).toBe(400);
    expect(answer.status).toBe(200);
  });

  it('with the challenge of another session, an old challenge, or from another site', async () => {
    const app = await serve();
    const [one, other] = [await visitor(app), await visitor(app)];
    const [device, page] = [await createDevice(one), await one.get('/', documentFrom('none'))];
    expect((await device.register(await other.get('/', documentFrom('none')))).status).toBe(400);
    const foreign = await one.post(devicePath, { headers: { 'sec-fetch-site': 'cross-site' } });
    expect(foreign.status).toBe(400);
    clock.advance(62);
    expect((await device.register(page)).status).toBe(400);
  });

  it('without a session', async () => {
    const app = await serve();
    const device = await createDevice(createBrowser(app.url));
    expect((await device.post({ 'secure-session-response': 'a.b.c' })).status).toBe(401);
  });
});

describe('a copy of the cookies', () => {
  it('works until the proof expires, and never again; the browser goes on through several proofs', async () => {
    const { app, browser, device, id } = await bind();
    const copy = withCookies(app.url, browser.jar.header(app.url)!);
    expect(await who(copy)).toBe(200);
    for (let round = 0; round < 3; round += 1) {
      clock.advance(601);
      expect([await who(copy), await who(browser)]).toEqual([401, 401]);
      expect((await device.refresh(id)).status).toBe(200);
      expect([await who(copy), await who(browser)]).toEqual([401, 200]);
    }
    expect(apps.told.deviceProofMissed).toContainEqual({
      sessionId: expect.any(String),
      skipped: undefined,
      enforced: true,
    });
  });

  it('is nobody from the moment when its proof expires, also while its session is remembered', async () => {
    apps.server.lifetimeSeconds = 3_600;
    const { app, browser } = await bind();
    apps.server.lifetimeSeconds = 300;
    const copy = withCookies(app.url, browser.jar.header(app.url)!);
    clock.advance(590);
    expect([await who(copy), await who(copy), await who(copy)]).toEqual([200, 200, 200]);
    clock.advance(11);
    expect(await who(copy)).toBe(401);
  });

  it('costs no token and writes no cookie once its proof has expired', async () => {
    const { app, browser } = await bind();
    const copy = withCookies(app.url, browser.jar.header(app.url)!);
    clock.advance(601);
    const asked = apps.server.token.requests.length;
    for (const path of ['/', '/account', '/fresh', '/session']) {
      const page = await copy.get(path);
      expect([path, page.setCookies]).toEqual([path, []]);
    }
    expect(await (await copy.get('/fresh')).json).toMatchObject({ refreshed: false, reason: 'device_proof_missing' });
    expect(apps.server.token.requests.length).toBe(asked);
    expect(await shown(copy)).toMatchObject({ authenticated: false, reason: 'device_proof_missing', retryable: false });
  });

  it.each<[string, (proof: string, other: string) => string]>([
    ['a later expiry', (proof) => `${(parseInt(proof.split('.')[0]!, 36) + 600).toString(36)}.${proof.split('.')[1]}`],
    ['the proof of another session', (_, other) => other],
    ['half a proof', (proof) => proof.slice(0, -1)],
    ['another text', () => 'proof'],
    ['nothing', () => ''],
  ])('is nobody with %s', async (_, forge) => {
    const { app, browser } = await bind();
    const other = await bind({}, app);
    const copy = browser.clone();
    const forged = forge(copy.jar.get(proofName)!, other.browser.jar.get(proofName)!);
    copy.jar.set(app.url, `${proofName}=${forged}; Path=/; Secure`);
    expect([await who(copy), await who(browser)]).toEqual([401, 200]);
  });

  it('is nobody beside what another subdomain has planted, and the browser is somebody', async () => {
    const { app, browser } = await bind();
    browser.jar.set(`${app.url}/account`, `${proofName}-x=junk; Path=/`);
    const cookie = `${proofName}=junk; ${browser.jar.header(app.url)!}`;
    expect(await who(browser, '/account', { headers: { cookie } })).toBe(200);
  });

  it('gains nothing at the refresh endpoint', async () => {
    const { browser, id } = await bind();
    const copy = browser.clone();
    const thief = await createDevice(copy);
    clock.advance(601);
    expect((await thief.post({ 'sec-secure-session-id': id })).status).toBe(403);
    expect((await thief.refresh(id)).status).toBe(400);
    expect(await who(copy)).toBe(401);
  });
});
