import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { runInNewContext } from 'node:vm';

import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import fc from 'fast-check';
import { createLocalJWKSet, jwtVerify } from 'jose';

import type { Provider } from '../../../lib/provider/provider.js';
import { checkAccessToken } from '../../../lib/token/access-token.js';
import { rsaKeys, signedClaims } from '../../../lib/token/rs256.js';
import { runs } from '../../support/fuzz.js';
import { listen, type Listening } from '../../support/http-server.js';

const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
const other = generateKeyPairSync('rsa', { modulusLength: 2048 });
const jwk = { ...pair.publicKey.export({ format: 'jwk' }), kid: 'one', alg: 'RS256', use: 'sig' };
const keys = rsaKeys([jwk]);
const keyOf = (kid: string): KeyObject | undefined => keys.get(kid);

const encode = (value: unknown) =>
  (Buffer.isBuffer(value) ? value : Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))).toString(
    'base64url',
  );

/** A token whose signature holds, whatever its parts are. */
function signed(header: unknown, claims: unknown, key: KeyObject = pair.privateKey, digest = 'sha256'): string {
  const covered = `${encode(header)}.${encode(claims)}`;
  return `${covered}.${sign(digest, Buffer.from(covered), key).toString('base64url')}`;
}

/** The claims that jose finds, or the code with which it refuses the token. Only RS256, as in `signedClaims`. */
async function askJose(
  token: string,
  options: object = {},
): Promise<{ readonly claims?: unknown; readonly code?: string }> {
  try {
    // A time that no test's token is past, where it is not about time.
    const all = { algorithms: ['RS256'], currentDate: new Date(0), ...options };
    return { claims: (await jwtVerify(token, createLocalJWKSet({ keys: [jwk] }), all)).payload };
  } catch (error) {
    return { code: (error as { code: string }).code };
  }
}

const header = { alg: 'RS256', kid: 'one', typ: 'JWT' };
const claims = { iss: 'https://issuer.example', sub: 'user_01', exp: 2_000_000_000, text: 'Zoë' };

/** JSON with a byte in it that is no letter. */
const notUtf8 = (value: object) => Buffer.from(JSON.stringify({ ...value, note: '\u00ff' }), 'latin1');

describe('signedClaims()', () => {
  it('finds the same claims as jose', async () => {
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.string(), fc.jsonValue()), async (more) => {
        const token = signed(header, { ...more, ...claims, nbf: undefined, iat: undefined });
        expect(signedClaims(token, keyOf)).toEqual((await askJose(token)).claims);
        expect(signedClaims(token, keyOf)).toMatchObject(claims);
      }),
      { numRuns: runs(100) },
    );
  });

  it('finds no claims in a token that was changed anywhere, as jose does', async () => {
    const token = signed(header, claims);
    await fc.assert(
      fc.asyncProperty(
        fc.nat(token.length - 1),
        fc.constantFrom('A', 'z', '0', '-', '_', '.', '=', '+', '/', ' ', '\n', 'é', ''),
        fc.boolean(),
        async (at, letter, insert) => {
          const changed = token.slice(0, at) + letter + token.slice(insert ? at : at + 1);
          const found = signedClaims(changed, keyOf);
          if (found) expect(found).toEqual((await askJose(changed)).claims);
          if (found) expect(changed).toBe(token);
        },
      ),
      { numRuns: runs(500) },
    );
  });

  it.each<[string, string]>([
    ['a header that is a list', signed([header], claims)],
    ['a header that is no JSON', signed('{"alg":"RS256"', claims)],
    ['no key id', signed({ alg: 'RS256' }, claims)],
    ['a key id that is not text', signed({ ...header, kid: ['one'] }, claims)],
    ['a key id that nobody has', signed({ ...header, kid: 'constructor' }, claims)],
    ['the name of a longer digest', signed({ ...header, alg: 'RS512' }, claims, pair.privateKey, 'sha512')],
    ['a longer digest under our name', signed(header, claims, pair.privateKey, 'sha512')],
    ['a type that is no access token', signed({ ...header, typ: 'logout+jwt' }, claims)],
    ['no algorithm', signed({ ...header, alg: 'none' }, claims)],
    ['a critical extension', signed({ ...header, crit: ['exp'], exp: 1 }, claims)],
    ['an unencoded payload', signed({ ...header, b64: false, crit: ['b64'] }, claims)],
    ['a list of critical extensions that is empty', signed({ ...header, crit: [] }, claims)],
    ["somebody else's signature", signed(header, claims, other.privateKey)],
    ['no signature', signed(header, claims).replace(/[^.]*$/, '')],
    ['a fourth part', `${signed(header, claims)}.AAAA`],
    ['claims that are a list', signed(header, [claims])],
    ['claims that are a string', signed(header, '"text"')],
    ['a header with bytes that are no text', signed(notUtf8(header), claims)],
    ['claims with bytes that are no text', signed(header, notUtf8(claims))],
    ['claims that are no JSON', signed(header, '{"iss":')],
    ['nothing at all', ''],
    ['three empty parts', '..'],
  ])('leaves a token to jose when it has %s', (_, token) => {
    expect(signedClaims(token, keyOf)).toBeUndefined();
  });
});

describe('rsaKeys()', () => {
  const { kty, n, e } = jwk;
  const small = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' });
  const elliptic = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' });

  it.each<[string, unknown[]]>([
    ['is for encryption', [{ ...jwk, use: 'enc' }]],
    ['is for another algorithm', [{ ...jwk, alg: 'PS256' }]],
    ['is for some operations only', [{ ...jwk, key_ops: ['encrypt'] }]],
    ['has an id that another has as well', [jwk, { ...other.publicKey.export({ format: 'jwk' }), kid: 'one' }]],
    ['has an id that one of another kind has as well', [jwk, { ...elliptic, kid: 'one' }]],
    ['has no id', [{ kty, n, e }]],
    ['is shorter than RS256 may be', [{ ...small, kid: 'one' }]],
    ['is of another kind', [{ ...elliptic, kid: 'one' }]],
    ['has no modulus', [{ kty, e, kid: 'one' }]],
    ['has a modulus that is none', [{ kty, n: '', e, kid: 'one' }]],
    ['is no object', [null, 'one', 1]],
  ])('leaves a key to jose when it %s', (_, published) => {
    expect([...rsaKeys(published)]).toEqual([]);
  });

  it('finds a key by its id, with and without its optional fields', () => {
    const found = rsaKeys([
      { ...elliptic, kid: 'curve' },
      { kty, n, e, kid: 'one' },
      { ...small, kid: 'small' },
    ]);
    expect([...found.keys()]).toEqual(['one']);
  });

  it('reads a hostile key set of 90,000 keys in linear time', () => {
    const read = () => [...rsaKeys(Array.from({ length: 90_000 }, () => ({ kid: '' })))];
    // A quadratic reader takes minutes, and no time limit of a test can stop it. This one can.
    expect(runInNewContext('read()', { read }, { timeout: 4_000 })).toEqual([]);
  });

  it('takes the public part of a private key that was published by mistake', () => {
    const [key] = rsaKeys([{ ...pair.privateKey.export({ format: 'jwk' }), kid: 'one' }]).values();
    expect(key?.type).toBe('public');
    expect(
      key?.equals(createPublicKey(createPrivateKey(pair.privateKey.export({ type: 'pkcs8', format: 'pem' })))),
    ).toBe(true);
  });
});

describe('checkAccessToken()', () => {
  let server: Listening;
  beforeAll(async () => {
    server = await listen((_, res) => res.end(JSON.stringify({ keys: [jwk] })));
  });
  afterAll(() => server.close());

  const provider = (audience: string[] | undefined, algorithms: string[]) =>
    ({
      accessToken: () =>
        Promise.resolve({
          keysUrl: server.url,
          algorithms,
          issuer: ['https://issuer.example', 'https://issuer.example/'],
          audience,
          issuedToUs: () => true,
        }),
    }) as unknown as Provider;

  it('checks an ordinary token without WebCrypto, once the keys are known', async () => {
    const [anyone, api] = [provider(undefined, ['ES256', 'RS256']), provider(['other', 'api'], ['RS256'])];
    const now = Math.floor(Date.now() / 1000);
    const good = { ...claims, iat: now, exp: now + 300 };
    const check = (of: Provider, more: object) =>
      checkAccessToken(of, { accessToken: signed(header, { ...good, ...more }) }, { clockToleranceSeconds: 5 });
    for (const each of [anyone, api]) await check(each, { aud: 'api' });
    const verify = jest.spyOn(crypto.subtle, 'verify');
    for (const more of [{}, { nbf: now + 4 }, { iat: undefined }, { iss: 'https://issuer.example/' }]) {
      expect(await check(anyone, more)).toMatchObject({ verdict: 'valid', claims: { sub: 'user_01' } });
    }
    for (const aud of ['api', ['x', 'other']]) expect(await check(api, { aud })).toMatchObject({ verdict: 'valid' });
    expect(await check(anyone, {})).toMatchObject({ issuedAtMs: now * 1000, expiresAtMs: (now + 300) * 1000 });
    expect(await check(anyone, { exp: now - 6 })).toMatchObject({
      verdict: 'expired',
      claims: { sub: 'user_01' },
      expiresAtMs: (now - 6) * 1000,
    });
    expect(verify).not.toHaveBeenCalled();
    await check(anyone, { iss: 'https://evil.example' });
    expect(verify).toHaveBeenCalled();
  });

  it('accepts the tokens that jose accepts, and no others', async () => {
    const providers = new Map(
      [undefined, ['api'], ['api', 'other']].map((audience) => [audience, provider(audience, ['RS256'])]),
    );
    const now = Math.floor(Date.now() / 1000);
    const time = fc.oneof(
      fc.integer({ min: -8, max: 8 }).map((seconds) => now + 0.5 * seconds),
      fc.constantFrom<unknown>(undefined, null, '', String(now + 60), true, Infinity, -1, [now + 60]),
    );
    const someone = fc.constantFrom<unknown>(
      'https://issuer.example',
      'https://issuer.example/',
      'HTTPS://ISSUER.EXAMPLE',
      '',
      null,
      undefined,
      ['https://issuer.example'],
    );
    const audience = fc.constantFrom<unknown>(
      'api',
      'other',
      '',
      undefined,
      null,
      ['api'],
      ['x', 'other'],
      [['api']],
      [null],
      { api: 'api' },
    );
    const mostly = (usual: unknown, unusual: fc.Arbitrary<unknown>) =>
      fc.oneof({ weight: 3, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: unusual });
    let valid = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...providers.keys()),
        fc.record({
          exp: mostly(now + 300, time),
          nbf: mostly(undefined, time),
          iat: mostly(now, time),
          iss: mostly('https://issuer.example', someone),
          aud: mostly('api', audience),
          sub: mostly('user_01', fc.constantFrom<unknown>('', undefined, 7)),
        }),
        fc.constantFrom(0, 2),
        async (asked, generated, tolerance) => {
          const token = signed(header, generated);
          const nowMs = Date.now();
          const ours = await checkAccessToken(
            providers.get(asked)!,
            { accessToken: token },
            { clockToleranceSeconds: tolerance },
          );
          const theirs = await askJose(token, {
            issuer: ['https://issuer.example', 'https://issuer.example/'],
            ...(asked && { audience: asked }),
            requiredClaims: ['exp', 'iss', 'sub'],
            clockTolerance: tolerance,
            currentDate: new Date(nowMs),
          });
          const isAboutSomebody = typeof generated.sub === 'string' && generated.sub !== '';
          if (Math.floor(nowMs / 1000) !== Math.floor(Date.now() / 1000)) return;
          expect(ours.verdict === 'valid').toBe(theirs.claims !== undefined && isAboutSomebody);
          // Its age is looked at last: an expired token about nobody is no expired token of ours.
          expect(ours.verdict === 'expired').toBe(theirs.code === 'ERR_JWT_EXPIRED' && isAboutSomebody);
          if (ours.verdict === 'expired') expect(ours.claims).toEqual(JSON.parse(JSON.stringify(generated)));
          if (ours.verdict === 'valid') valid += 1;
        },
      ),
      { numRuns: runs(600) },
    );
    expect(valid).toBeGreaterThan(runs(50));

    // Where the provider does not sign with RS256, a good RS256 token is none.
    const token = signed(header, { ...claims, exp: now + 300 });
    const check = await checkAccessToken(
      provider(undefined, ['PS256', 'ES256']),
      { accessToken: token },
      { clockToleranceSeconds: 0 },
    );
    expect(check).toMatchObject({ verdict: 'invalid', reason: 'invalid_jwt_algorithm' });
  });
});
