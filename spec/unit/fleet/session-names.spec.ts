import { describe, expect, it } from '@jest/globals';
import { oidc, workos } from 'express-sealed-session';

import { createNaming } from '../../../lib/fleet/session-names.js';

const ofSessions = workos({ clientId: 'client_01', apiKey: 'sk_test_01' });
const ofTokens = oidc({ issuer: 'https://id.example.com', clientId: 'client_01', clientSecret: 'a secret' });
const [password, newer] = ['a password that is long enough, 1', 'a password that is long enough, 2'];

const jwt = (claims: object) => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`;
const payload = {
  accessToken: jwt({ sid: 'a sid' }),
  refreshToken: 'one',
  sessionId: 'our id',
  startedAt: 100.25,
  user: { id: 'ada' },
};
const other = { ...payload, sessionId: undefined, startedAt: undefined };

describe('the names of a session', () => {
  const naming = createNaming(ofSessions, [password]);

  it('are its own id; and what it shares with others: the sid, the user, everyone', () => {
    expect(naming.of(payload)).toEqual({
      own: naming.ofSession('our id'),
      shared: [...naming.ofSid('a sid'), ...naming.ofUser('ada'), ...naming.everyone],
      begunMs: 100_250,
    });
  });

  it('are, in the seal of another writer, the refresh token in place of the id', () => {
    const { own, shared } = naming.of(other);
    const ending = naming.ofEnded({ ...other, accessToken: 'opaque' });
    expect([own, ending]).toEqual([[], [shared[1]]]);
  });

  it('have each sid: that of the access token and that of the ID token', () => {
    const { shared } = naming.of({ ...payload, sid: 'another' });
    expect(shared.slice(0, 2)).toEqual([...naming.ofSid('a sid'), ...naming.ofSid('another')]);
    expect(naming.of({ ...payload, sid: 'a sid' }).shared).toEqual(naming.of(payload).shared);
  });

  it.each<[string, object, number]>([
    ['its own start', { startedAt: 7, authenticatedAt: 5 }, 7_000],
    ['the auth_time of the ID token', { authenticatedAt: 5, accessToken: jwt({ auth_time: 4, iat: 3 }) }, 5_000],
    ['the auth_time of the access token', { accessToken: jwt({ auth_time: 4, iat: 3 }) }, 4_000],
    ['the iat of the access token', { accessToken: jwt({ iat: 3 }) }, 3_000],
    ['nothing, which is before every ending', { accessToken: 'opaque' }, 0],
  ])('count from %s', (_, changes, begunMs) => {
    expect(naming.of({ ...other, ...changes }).begunMs).toBe(begunMs);
  });

  it('are there for each password, so that a rotation forgets no ending', () => {
    const rotated = createNaming(ofSessions, [newer, password]).of(payload);
    const before = naming.of(payload);
    expect(rotated.own).toEqual(expect.arrayContaining([...before.own]));
    expect(rotated.shared).toEqual(expect.arrayContaining([...before.shared]));
    expect(rotated.own).toHaveLength(2);
  });

  it('are others for another password, provider, client, or kind', () => {
    const workosOf = (clientId: string) => workos({ clientId, apiKey: 'sk_test_01' });
    const all = [
      naming,
      createNaming(ofSessions, [newer]),
      createNaming(ofTokens, [password]),
      createNaming(workosOf('client_02'), [password]),
    ].flatMap((each) => [
      ...each.ofSession('x'),
      ...each.ofSid('x'),
      ...each.ofUser('x'),
      ...each.everyone,
      each.ofToken('x'),
    ]);
    expect(new Set(all).size).toBe(20);
    for (const name of all) expect(name).toMatch(/^[\w-]{22}$/);
  });
});

describe('the names of an ended session', () => {
  it.each([
    ['the sid, where the provider revokes it as a whole', ofSessions, 'sid'],
    ['the refresh token elsewhere: the sid may be of another session too', ofTokens, 'token'],
  ])('are its own id and %s', (_, provider, second) => {
    const naming = createNaming(provider, [password]);
    const [own, next, ...more] = naming.ofEnded(payload);
    expect([[own], more]).toEqual([naming.ofSession('our id'), []]);
    expect(next === naming.ofSid('a sid')[0] ? 'sid' : 'token').toBe(second);
  });

  it('find the seals of other writers', () => {
    for (const provider of [ofSessions, ofTokens]) {
      const naming = createNaming(provider, [password]);
      const { shared } = naming.of(other);
      expect(naming.ofEnded(payload).some((name) => shared.includes(name))).toBe(true);
    }
  });
});
