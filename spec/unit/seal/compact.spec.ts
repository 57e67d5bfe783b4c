import { createHash, hkdfSync, randomBytes } from 'node:crypto';
import { deflateRawSync } from 'node:zlib';

import { describe, expect, it } from '@jest/globals';
import {
  compactSealer,
  createSessionManager,
  ironSealer,
  type Password,
  rubySealer,
  workos,
} from 'express-sealed-session';
import fc from 'fast-check';

import { dictionary1 } from '../../../lib/seal/compact-dictionary.js';
import { packValue, unpackValue } from '../../../lib/seal/compact-layout.js';
import { encryptFresh, rootKey } from '../../../lib/seal/fresh-key-gcm.js';
import { readPasswords } from '../../../lib/seal/passwords.js';
import { packToken, readerOf } from '../../../lib/seal/token-parts.js';
import { runs } from '../../support/fuzz.js';

const sealer = compactSealer();
const password = 'a password of thirty-two letters';
const foreign = 'a password that nobody here knows';
const binding = 'session-of-a-provider-';

const open = (text: string, under: Password = password, bound = binding) =>
  sealer.open(text, readPasswords(under), Date.now(), bound);
const seal = (value: object, under: Password = password, bound = binding) =>
  sealer.seal(value, readPasswords(under), bound);
const bytesOf = (text: string) => Buffer.from(text.slice(3), 'base64url');
const textOf = (bytes: Buffer) => `c1.${bytes.toString('base64url')}`;

/** What our own password has sealed, whatever it is. */
function sealBytes(plaintext: Buffer): string {
  const root = rootKey(new Uint8Array(hkdfSync('sha256', password, '', 'express-sealed-session compact 1', 32)));
  const mark = createHash('sha256').update(binding).digest().subarray(0, 2);
  return textOf(encryptFresh(root, Buffer.concat([Buffer.from('es'), mark, plaintext]), Buffer.from(`c1.${binding}`)));
}

const base64url = (text: string) => Buffer.from(text).toString('base64url');
const jwt = [
  base64url('{"alg":"RS256","kid":"sso_oidc_key_pair_01"}'),
  base64url('{"iss":"https://api.workos.com","sub":"user_01","permissions":["billing:read"],"exp":1790003600}'),
  randomBytes(256).toString('base64url'),
].join('.');
const payload = {
  accessToken: jwt,
  refreshToken: 'ALe9ZO0jS2RdTyKqmTC8L5h1t',
  user: { object: 'user', id: 'user_01', email: 'one@example.com', firstName: 'Zoë', metadata: {} },
  organizationId: 'org_01',
  sessionId: '2f1c4a52-5a2f-4c8e-9a43-0c5d6a2b7e11',
  boundTo: binding,
  data: { theme: 'dark', basket: [1, 2, 3] },
  startedAt: 1_790_000_000,
  sealedAt: 1_790_000_000_123,
  deviceKey: { kty: 'EC', crv: 'P-256', x: 'x', y: 'y' },
  ofAnotherVersion: true,
};

describe('what compactSealer seals', () => {
  it('opens to the same session', async () => {
    expect(open(await seal(payload))).toEqual({ ok: true, value: payload, passwordIndex: 0 });
  });

  it('is at most 0.42 of what Iron makes of a session of WorkOS', async () => {
    const claims = {
      iss: 'https://api.workos.com/user_management/client_01JQ2M3N4P5R6S7T8V9W0X1Y2Z',
      sub: 'user_01JQ2M3N4P5R6S7T8V9W0X1Y2A',
      sid: 'session_01JQ2M3N4P5R6S7T8V9W0X1Y2B',
      jti: '01JQ2M3N4P5R6S7T8V9W0X1Y2C',
      org_id: 'org_01JQ2M3N4P5R6S7T8V9W0X1Y2D',
      role: 'member',
      roles: ['member'],
      permissions: ['invoices:read', 'invoices:export'],
      entitlements: [],
      feature_flags: ['new-checkout'],
      exp: 1_790_003_600,
      iat: 1_790_000_000,
    };
    const user = {
      object: 'user',
      id: claims.sub,
      email: 'ada@lovelace.example',
      emailVerified: true,
      firstName: 'Ada',
      lastName: 'Lovelace',
      profilePictureUrl: 'https://workoscdn.com/images/v1/Yr3T5bQh',
      lastSignInAt: '2026-11-03T08:12:44.120Z',
      createdAt: '2025-02-14T10:00:07.551Z',
      updatedAt: '2026-11-03T08:12:44.131Z',
      externalId: null,
      metadata: {},
    };
    const session = {
      accessToken: [jwt.split('.')[0], base64url(JSON.stringify(claims)), jwt.split('.')[2]].join('.'),
      refreshToken: payload.refreshToken,
      user,
      organizationId: claims.org_id,
    };
    const iron = await ironSealer().seal(session, readPasswords(password), binding);
    expect((await seal(session)).length / iron.length).toBeLessThan(0.42);
  });

  it('opens to any value that was sealed', async () => {
    const named = (name: keyof typeof payload) => fc.option(fc.oneof(fc.jsonValue(), fc.constant(payload[name])));
    const values = fc.oneof(
      fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 6 }),
      fc.record(
        {
          accessToken: named('accessToken'),
          refreshToken: named('refreshToken'),
          user: named('user'),
          boundTo: named('boundTo'),
          data: named('data'),
          sessionId: fc.string({ unit: 'binary' }),
          ['__proto__']: fc.jsonValue(),
        },
        { requiredKeys: [] },
      ),
    );
    await fc.assert(
      fc.asyncProperty(values, fc.string({ maxLength: 30 }), async (value, bound) => {
        const opened = open(await seal(value, password, bound), password, bound);
        expect(opened).toEqual({ ok: true, value: JSON.parse(JSON.stringify(value)), passwordIndex: 0 });
      }),
      { numRuns: runs(300) },
    );
  });

  it('holds any access token and refresh token letter for letter', async () => {
    const segment = fc.oneof(
      fc.base64String().map((text) => text.replaceAll('=', '').replaceAll('+', '-').replaceAll('/', '_')),
      fc.jsonValue().map((value) => base64url(JSON.stringify({ value }))),
      fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes).toString('base64url')),
      // Two spellings of the same bytes, and letters of the other base64.
      fc.constantFrom('e30', 'e31', 'e3', '{}', 'e30=', 'eyJ+/w', '', 'é', ' ', '\ud800'),
    );
    const tokens = fc.oneof(
      fc.array(segment, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('.')),
      fc.string({ unit: 'binary' }),
    );
    await fc.assert(
      fc.asyncProperty(tokens, tokens, async (accessToken, refreshToken) => {
        const opened = open(await seal({ accessToken, refreshToken }));
        expect(opened).toEqual({ ok: true, value: { accessToken, refreshToken }, passwordIndex: 0 });
      }),
      { numRuns: runs(500) },
    );
  });

  it('holds 500 permissions in one cookie', async () => {
    const permissions = Array.from({ length: 500 }, (_, each) => `resource-${each % 23}:write-${each % 47}`);
    const claims = base64url(JSON.stringify({ sub: 'user_01', permissions }));
    const text = await seal({ ...payload, accessToken: `${jwt.split('.')[0]}.${claims}.${jwt.split('.')[2]}` });
    expect(text.length).toBeLessThan(3_900);
  });

  it('is no two times the same', async () => {
    const texts = await Promise.all(Array.from({ length: 20 }, () => seal(payload)));
    // The memory of sessions knows seals by their last letters.
    expect(new Set(texts.map((text) => text.slice(-12))).size).toBe(20);
    for (const text of texts) expect(encodeURIComponent(text)).toBe(text);
  });

  it('is under the newest password, and opens with every password', async () => {
    const under = { 9: foreign, 10: password };
    expect(open(await seal(payload, under))).toMatchObject({ ok: true });
    expect(open(await seal(payload, under), under)).toMatchObject({ ok: true, passwordIndex: 0 });
    expect(open(await seal(payload, foreign), under)).toMatchObject({ ok: true, passwordIndex: 1 });
  });
});

describe('what is compressed', () => {
  /** The length of a seal tells nothing of a secret, also to those who choose the texts beside it. */
  it.each(['refreshToken', 'data', 'deviceKey', 'codeVerifier', 'client'])('is not "%s"', async (field) => {
    const secret = randomBytes(24).toString('base64url');
    const value = { ...payload, [field]: field === 'data' || field === 'deviceKey' ? { secret } : secret };
    const lengthBeside = async (guess: string) => {
      const guessed = { ...value, user: { ...payload.user, firstName: guess } };
      return (await seal(guessed)).length;
    };
    const other = randomBytes(24).toString('base64url');
    // Both are as random. Compressed together, the right one would cost nearly nothing.
    expect(Math.abs((await lengthBeside(secret)) - (await lengthBeside(other)))).toBeLessThan(12);
  });

  it.each([
    ['the signature of a JWT', (secret: string) => `${jwt.slice(0, jwt.lastIndexOf('.'))}.${secret}`],
    ['an opaque access token', (secret: string) => `ya29.${secret}`],
    ['a token of another kind with two dots', (secret: string) => `beginning000.${secret}.end0`],
  ])('is not %s', async (_, tokenWith) => {
    // Both spellings are letters, so that either could be compressed.
    const [raw, otherRaw] = [randomBytes(27).toString('base64url'), randomBytes(27).toString('base64url')];
    const secret = base64url(raw);
    const value = { ...payload, accessToken: tokenWith(secret) };
    const lengthBeside = async (guess: string) =>
      (await seal({ ...value, user: { ...payload.user, firstName: guess } })).length;
    for (const [right, wrong] of [
      [secret, base64url(otherRaw)],
      [raw, otherRaw],
    ] as const) {
      expect(Math.abs((await lengthBeside(right)) - (await lengthBeside(wrong)))).toBeLessThan(12);
    }
  });

  it('inflates to 128 KiB at most, also under our own password', () => {
    const bomb = (size: number) => {
      const deflated = deflateRawSync(`{"user":"${'0'.repeat(size)}"}`, { dictionary: dictionary1 });
      const length = [(deflated.length & 0x7f) | 0x80, deflated.length >> 7];
      return sealBytes(Buffer.concat([Buffer.of(16, ...length), deflated]));
    };
    expect(open(bomb(100_000))).toMatchObject({ ok: true });
    expect(open(bomb(131_072))).toEqual({ ok: false, problem: 'bad_shape' });
    expect(open(bomb(4_000_000))).toEqual({ ok: false, problem: 'bad_shape' });
  });

  it('is left as it is where it is larger than what would be inflated', async () => {
    const user = { id: 'user_01', note: 'n'.repeat(200_000) };
    const text = await seal({ user });
    expect(text.length).toBeGreaterThan(200_000);
    expect(open(text)).toEqual({ ok: true, value: { user }, passwordIndex: 0 });
  });
});

describe('a seal', () => {
  it('does not open for another provider or purpose, and says so where our password made it', async () => {
    const text = await seal(payload);
    expect(open(text, password, 'another')).toEqual({ ok: false, problem: 'other_provider' });
    expect(open(text, foreign, 'another')).toEqual({ ok: false, problem: 'unknown_password' });
  });

  it('does not open with any one bit turned', async () => {
    const bytes = bytesOf(await seal(payload));
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      expect([bit, open(textOf(changed)).ok]).toEqual([bit, false]);
    }
  });

  it('does not open cut short at either end, or longer', async () => {
    const bytes = bytesOf(await seal(payload));
    for (let length = 0; length < bytes.length; length += 1) {
      expect([length, open(textOf(bytes.subarray(0, length))).ok]).toEqual([length, false]);
      expect([length, open(textOf(bytes.subarray(bytes.length - length))).ok]).toEqual([length, false]);
    }
    expect(open(textOf(Buffer.concat([bytes, Buffer.of(0)]))).ok).toBe(false);
  });

  it('does not open in another spelling of the same bytes', async () => {
    // One byte more than three times something leaves four bits of the last letter unused.
    const text = (
      await Promise.all([0, 1, 2].map((more) => seal({ ...payload, ofAnotherVersion: 'x'.repeat(more) })))
    ).find((each) => bytesOf(each).length % 3 === 1)!;
    const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const spelt = text.slice(0, -1) + letters[letters.indexOf(text.at(-1)!) + 1]!;
    expect(bytesOf(spelt)).toEqual(bytesOf(text));
    for (const other of [spelt, `${text}=`, `${text} `, `${text}!`, text.replace('c1.', 'c1. ')]) {
      expect([other, open(other)]).toEqual([other, { ok: false, problem: 'bad_shape' }]);
    }
  });

  it('does not open as another version or format', async () => {
    const text = await seal(payload);
    for (const other of [text.replace('c1.', 'c2.'), text.replace('c1.', 'c0.'), text.slice(3)]) {
      expect(sealer.recognises(other)).toBe(false);
    }
    // A later version may share everything but its prefix, which is authenticated.
    expect(open(text.replace('c1.', 'c2.')).ok).toBe(false);
    for (const each of [ironSealer(), rubySealer()]) {
      expect(each.recognises(text)).toBe(false);
      expect(sealer.recognises(await each.seal(payload, readPasswords(password), binding))).toBe(false);
    }
  });

  it.each([
    ['tampered', 'the end of the ciphertext', (bytes: Buffer) => flip(bytes, bytes.length - 17)],
    ['tampered', 'the tag', (bytes: Buffer) => flip(bytes, bytes.length - 1)],
    ['unknown_password', 'the salt', (bytes: Buffer) => flip(bytes, 0)],
    ['unknown_password', 'the IV', (bytes: Buffer) => flip(bytes, 12)],
    ['bad_shape', 'all but 39 bytes', (bytes: Buffer) => bytes.subarray(0, 39)],
    ['bad_shape', 'everything', () => Buffer.alloc(0)],
  ] as const)('is "%s" where a change hit %s', async (problem, _, damage) => {
    expect(open(textOf(damage(bytesOf(await seal(payload)))))).toEqual({ ok: false, problem });
  });

  it('is a value whatever our own password has sealed', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 60 }),
          fc.tuple(fc.nat(31), fc.uint8Array({ maxLength: 60 })).map(([set, rest]) => Buffer.of(set, ...rest)),
          fc.tuple(fc.nat(200), fc.nat(255)).map(([at, byte]) => {
            const bytes = packValue(payload, binding);
            bytes[at % bytes.length] = byte;
            return bytes;
          }),
        ),
        (bytes) => {
          const opened = open(sealBytes(Buffer.from(bytes)));
          expect(opened.ok || opened.problem === 'bad_shape').toBe(true);
        },
      ),
      { numRuns: runs(1_000) },
    );
  });

  it('is a value whatever the text', () => {
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }).map((text) => `c1.${text}`),
      fc.uint8Array({ maxLength: 300 }).map((bytes) => textOf(Buffer.from(bytes))),
      fc.string(),
    );
    fc.assert(
      fc.property(texts, (text) => {
        expect(open(text, { 1: foreign, 2: password }).ok).toBe(false);
      }),
      { numRuns: runs(500) },
    );
  });
});

describe('the layout', () => {
  it('refuses what ends early, at every length', () => {
    const bytes = packValue(
      { ...payload, data: undefined, deviceKey: undefined, ofAnotherVersion: undefined },
      binding,
    );
    expect(unpackValue(bytes, 0, binding)).toMatchObject({ accessToken: jwt, boundTo: binding });
    for (let length = 0; length < bytes.length; length += 1) {
      expect(() => unpackValue(bytes.subarray(0, length), 0, binding)).toThrow();
    }
  });

  it('reads every packed token back, and what follows it', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('a', 'Z', '0', '9', '-', '_', '.', '~', '+', '/', '='), maxLength: 600 }),
        (token) => {
          const reader = readerOf(Buffer.concat([packToken(token), Buffer.from('behind')]), 0);
          expect([reader.token(), reader.text(6, 'utf8'), reader.left()]).toEqual([token, 'behind', 0]);
        },
      ),
      { numRuns: runs(300) },
    );
  });

  it('has the dictionary of version 1, of which no byte may change', () => {
    expect(createHash('sha256').update(dictionary1).digest('hex')).toBe(
      'fd3447960b8b027ac1f77f1d916376e9e91e539a0049f627c1df2cf6f8881f58',
    );
  });
});

describe('the format that is written', () => {
  it('is refused at start-up where the provider names something else than a sealer', () => {
    const provider = { ...workos({ clientId: 'client_01', apiKey: 'sk_test_01' }), sealer: {} as never };
    expect(() => createSessionManager({ provider, password })).toThrow(/"sealer", which must have these as methods/);
  });

  it('is compact for every provider but WorkOS, and each is read', async () => {
    const own = workos({ clientId: 'client_01', apiKey: 'sk_test_01' });
    const other = { ...own, sealer: undefined };
    const tokens = { accessToken: 'a.b.c', refreshToken: 'rt_01', user: { id: 'user_01' } };
    const sealed = await createSessionManager({ provider: own, password }).seal(tokens);
    const compact = await createSessionManager({ provider: other, password }).seal(tokens);
    expect([sealed.slice(0, 6), compact.slice(0, 3)]).toEqual(['Fe26.2', 'c1.']);
    const ruby = await createSessionManager({ provider: own, password, sealer: rubySealer() }).seal(tokens);
    for (const text of [sealed, compact, ruby]) {
      for (const provider of [own, other]) {
        const answer = await createSessionManager({ provider, password }).load(text).authenticate();
        expect(answer).toMatchObject({ authenticated: false, reason: 'invalid_jwt' });
      }
    }
  });
});

function flip(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes);
  changed[at]! ^= 1;
  return changed;
}
