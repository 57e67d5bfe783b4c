import { describe, expect, it } from '@jest/globals';
import { compactSealer, createSessionManager, ironSealer, rubySealer } from 'express-sealed-session';

import { readPasswords } from '../../lib/seal/passwords.js';
import { maxDerivations } from '../../lib/seal/sealer.js';
import { useWorkos } from '../support/use-workos.js';
import { sealedSession, workosOptions } from '../support/workos-session.js';

const workos = useWorkos();

const passwords = Array.from({ length: 20 }, (_, index) => `password-${index}-`.padEnd(32, 'x'));

/** Seals that look like good ones, under passwords of the sender's. */
function forgeries(count: number): Promise<string[]> {
  return Promise.all(
    Array.from({ length: count }, (_, index) =>
      ironSealer().seal({ accessToken: 'a' }, readPasswords(`a password of the sender's own, number ${index}`), ''),
    ),
  );
}

describe('the cost of a forged cookie', () => {
  it.each([ironSealer(), rubySealer(), compactSealer()])(
    'is limited by the work that $name is given',
    async (sealer) => {
      const [, last] = [passwords[0]!, passwords.at(-1)!];
      const sealed = await sealer.seal({ accessToken: 'a' }, readPasswords(last), '');
      const outcomes = [maxDerivations, passwords.length + 1, passwords.length - 1, 0].map((derivations) => {
        const work = { derivations };
        const { ok } = sealer.open(sealed, readPasswords(passwords), Date.now(), '', work);
        expect(work.derivations).toBeGreaterThanOrEqual(0);
        return ok;
      });
      expect(outcomes).toEqual([true, true, false, false]);
    },
  );

  it('leaves the good cookie its share, whichever place it has', async () => {
    const { accessToken, refreshToken, user } = await workos.server.issueSession();
    const options = workosOptions(workos.server, { password: passwords });
    const sealed = await createSessionManager(options).seal({ accessToken, refreshToken, user: { ...user } });
    const app = await workos.serve({ password: passwords });
    const forged = await forgeries(9);
    for (const place of [0, 4, 9]) {
      const cookies = [...forged.slice(0, place), sealed, ...forged.slice(place)];
      const page = await app.browser().get('/', {
        headers: { cookie: cookies.map((value) => `wos-session=${value}`).join('; ') },
      });
      expect([place, page.json.authenticated]).toEqual([place, true]);
    }
  });

  it('finds the password that the seal names, however many others there are', async () => {
    const map = Object.fromEntries(passwords.map((password, index) => [index + 1, password]));
    const sealed = await ironSealer().seal({ accessToken: 'a' }, readPasswords({ 1: passwords[0]! }), '');
    const work = { derivations: 2 };
    expect(ironSealer().open(sealed, readPasswords(map), Date.now(), '', work)).toMatchObject({ ok: true });
    expect(work.derivations).toBe(0);
  });
});

describe('a session in pieces', () => {
  it.each([
    ['the first piece', 0],
    ['the last piece', 1],
  ])('signs in beside a junk cookie with the name of %s', async (_, index) => {
    const { sealed } = await sealedSession(workos.server, {}, { data: { basket: 'x'.repeat(2_000) } });
    const half = Math.floor(sealed.length / 2);
    const pieces = [sealed.slice(0, half), sealed.slice(half)].map((value, at) => `wos-session.${at}=${value}`);
    const app = await workos.serve();
    for (const cookies of [
      [`wos-session.${index}=junk`, ...pieces],
      [...pieces, `wos-session.${index}=junk`],
    ]) {
      const page = await app.browser().get('/', { headers: { cookie: cookies.join('; ') } });
      expect(page.json).toMatchObject({ authenticated: true });
    }
  });
});
