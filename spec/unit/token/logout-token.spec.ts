import { beforeAll, describe, expect, it } from '@jest/globals';

import { inlineKeySet, type KeySet, keySet } from '../../../lib/token/key-set.js';
import { verifyLogoutToken } from '../../../lib/token/logout-token.js';
import { refusedCheck } from '../../../lib/wire/notice-refused.js';
import { useClock } from '../../support/clock.js';
import { type Claims, createSigner, type SignOptions } from '../../support/signer.js';

const clock = useClock();
const issuer = 'https://id.example.com';
const event = 'http://schemas.openid.net/event/backchannel-logout';
const now = () => Math.floor(Date.now() / 1000);

let signer: Awaited<ReturnType<typeof createSigner>>;
let keys: KeySet;
beforeAll(async () => {
  signer = await createSigner();
  keys = inlineKeySet([...signer.jwks().keys]);
});

const claims = (change: Claims = {}): Claims => ({
  iss: issuer,
  sub: 'user_01',
  aud: 'client_01',
  iat: now(),
  exp: now() + 120,
  jti: 'jti_1',
  events: { [event]: {} },
  sid: 'sid_1',
  ...change,
});

const rules = () => ({
  issuer: [issuer],
  clientId: 'client_01',
  algorithms: ['RS256'],
  keys,
  clockToleranceSeconds: 5,
});
const verify = (token: string) => verifyLogoutToken(token, rules());

/** The check that refuses a token. */
async function refusal(token: string | Promise<string>): Promise<string | undefined> {
  try {
    await verify(await token);
    return undefined;
  } catch (error) {
    return refusedCheck(error) ?? String(error);
  }
}

describe('a log-out token', () => {
  it('says which session has ended, and when', async () => {
    const iat = now();
    expect(await verify(await signer.sign(claims()))).toEqual({
      id: 'jti_1',
      issuer,
      sid: 'sid_1',
      subject: 'user_01',
      issuedAtMs: iat * 1000,
      acceptedUntilMs: (iat + 125) * 1000,
    });
  });

  it.each<[string, Claims, SignOptions?]>([
    ['a session alone', { sub: undefined }],
    ['a user alone', { sid: undefined }],
    ['several audiences', { aud: ['another', 'client_01'] }],
    ['this client as the authorized party', { azp: 'client_01' }],
    ['something in its event', { events: { [event]: { a: 1 }, 'https://a.example/other': {} } }],
    ['claims that nobody knows', { more: [1], client_id: 'client_01' }],
    ['its own type', {}, { header: { typ: 'logout+jwt' } }],
    ['its own type in full', {}, { header: { typ: 'application/logout+JWT' } }],
    ['no type', {}, { header: { typ: undefined } }],
    ['no expiry, as older providers have it', { exp: undefined }],
    ['an expiry of a moment ago, by a clock that is ahead', { exp: now() - 3 }],
  ])('is accepted with %s', async (_, change, ...[options]) => {
    expect(await refusal(signer.sign(claims(change), options))).toBeUndefined();
  });

  it.each<[string, Claims, string, SignOptions?]>([
    ['no issuer', { iss: undefined }, 'issuer'],
    ['another issuer', { iss: 'https://id.example.com.evil.example' }, 'issuer'],
    ['no audience', { aud: undefined }, 'audience'],
    ['another audience', { aud: 'client_02' }, 'audience'],
    ['another authorized party', { azp: 'client_02' }, 'authorized_party'],
    ['no time', { iat: undefined }, 'issued_at'],
    ['a time that is a text', { iat: '1' }, 'issued_at'],
    ['a time to come', { iat: now() + 60 }, 'issued_at'],
    ['an expiry that is past', { exp: now() - 60 }, 'expiry'],
    ['an expiry that is a text', { exp: '9999999999' }, 'expiry'],
    ['no expiry, two minutes later', { exp: undefined, iat: now() - 130 }, 'expiry'],
    ['an expiry far ahead, an hour later', { exp: now() + 86_400, iat: now() - 3_700 }, 'expiry'],
    ['a time from which on it counts', { nbf: now() + 60 }, 'not_before'],
    ['no id', { jti: undefined }, 'id'],
    ['an empty id', { jti: '' }, 'id'],
    ['an id that is a number', { jti: 1 }, 'id'],
    ['neither session nor user', { sub: undefined, sid: undefined }, 'subject'],
    ['an empty user', { sub: '' }, 'subject'],
    ['a user that is a number', { sub: 7 }, 'subject'],
    ['an empty session', { sid: '' }, 'subject'],
    ['a session that is a list', { sid: ['sid_1'] }, 'subject'],
    ['no events', { events: undefined }, 'events'],
    ['events that are a list', { events: [event] }, 'events'],
    ['another event', { events: { 'https://a.example/other': {} } }, 'events'],
    ['an event without its object', { events: { [event]: true } }, 'events'],
    ['a nonce', { nonce: 'n' }, 'nonce'],
    ['an empty nonce', { nonce: null }, 'nonce'],
    ['the type of an access token', {}, 'type', { header: { typ: 'at+jwt' } }],
    ['the type of a security event', {}, 'type', { header: { typ: 'secevent+jwt' } }],
  ])('is refused with %s', async (_, change, check, ...[options]) => {
    expect(await refusal(signer.sign(claims(change), options))).toBe(`logout_token_${check}`);
  });

  it.each<[string, () => Promise<string>, string]>([
    ['no signature', () => signer.forge.none(claims()), 'algorithm'],
    ['the public key as a secret', () => signer.forge.hs256WithPublicKey(claims()), 'algorithm'],
    ["another key under the provider's id", () => signer.forge.foreignKey(claims()), 'signature'],
    ['a key that is not published', () => signer.forge.unknownKey(claims()), 'key'],
    ['a key that it brings itself', () => signer.forge.embeddedKey(claims()), 'signature'],
    [
      'claims that were changed',
      async () => signer.forge.tampered(await signer.sign(claims()), { sub: 'user_02' }),
      'signature',
    ],
    ['five parts', () => Promise.resolve('a.b.c.d.e'), 'encrypted'],
    ['no form', () => Promise.resolve('nothing'), 'malformed'],
    ['claims that are no object', () => signer.sign([] as never), 'malformed'],
  ])('is refused with %s', async (_, forge, check) => {
    expect(await refusal(forge())).toBe(`logout_token_${check}`);
  });

  it('is accepted no longer than its id is remembered', async () => {
    const token = await signer.sign(claims({ exp: now() + 86_400 }));
    const { acceptedUntilMs } = await verify(token);
    clock.advance((acceptedUntilMs - Date.now()) / 1000 - 1);
    expect(await refusal(token)).toBeUndefined();
    clock.advance(2);
    expect(await refusal(token)).toBe('logout_token_expiry');
  });

  it('is not refused where the keys cannot be had', async () => {
    const token = await signer.sign(claims());
    const unreachable = { ...rules(), keys: keySet('http://127.0.0.1:1/jwks') };
    const error: unknown = await verifyLogoutToken(token, unreachable).catch((each: unknown) => each);
    expect([refusedCheck(error), error]).toMatchObject([undefined, { name: 'ProviderFailure' }]);
  });
});
