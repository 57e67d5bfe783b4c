import { describe, expect, it } from '@jest/globals';
import { createSessionManager, type Password, type SessionEvents } from 'express-sealed-session';
import { unsealData } from 'iron-session';

import { useClock } from '../support/clock.js';
import { useWorkos } from '../support/use-workos.js';
import type { SessionOverrides } from '../support/workos-server.js';
import { expired, sealedSession, sessionCookieOf, workosOptions } from '../support/workos-session.js';

useClock();
const workos = useWorkos();

const oldest = 'the oldest password, of at least 32 characters';
const older = 'the older password, of at least 32 characters';
const newer = 'the newer password, of at least 32 characters';

/** A seal that an app with this password has made. */
async function sealedUnder(password: Password, overrides: SessionOverrides = {}): Promise<string> {
  const { accessToken, refreshToken, user } = await workos.server.issueSession(overrides);
  const manager = createSessionManager(workosOptions(workos.server, { password }));
  return manager.seal({ accessToken, refreshToken, user: { ...user } });
}

describe('passwords', () => {
  it.each<[string, Password, id: string]>([
    ['in a list', [newer, older], '1'],
    ['in a map', { 1: older, 2: newer }, '2'],
  ])(
    'rotate %s: an old cookie opens, is reported, and is sealed under the newest at the next write',
    async (...row) => {
      const [, password, id] = row;
      const told: SessionEvents['oldPasswordUsed'][] = [];
      const sealed = await sealedUnder(older, expired);
      const app = await workos.serve({ password, events: { oldPasswordUsed: (event) => told.push(event) } });

      const page = await app.send(sealed);
      expect(page.json).toMatchObject({ authenticated: true });
      expect(told).toEqual([{ index: 1 }]);
      const next = sessionCookieOf(page.setCookies)!;
      expect(next.startsWith(`Fe26.2*${id}*`)).toBe(true);
      expect(await unsealData(next, { password: { [id]: newer } })).toMatchObject({ user: { id: 'user_01' } });
      expect((await app.send(next)).json).toMatchObject({ authenticated: true });
      expect(told).toHaveLength(1);
    },
  );

  it('are each tried, and the event counts from the newest', async () => {
    const told: SessionEvents['oldPasswordUsed'][] = [];
    const events = { oldPasswordUsed: (event: SessionEvents['oldPasswordUsed']) => told.push(event) };
    const seals = [await sealedUnder(newer), await sealedUnder(older), await sealedUnder(oldest)];
    const inList = await workos.serve({ password: [newer, older, oldest], events });
    const inMap = await workos.serve({ password: { 3: oldest, 5: older, 40: newer }, events });
    for (const app of [inList, inMap]) {
      told.length = 0;
      for (const sealed of seals) expect((await app.send(sealed)).json).toMatchObject({ authenticated: true });
      expect(told).toEqual([{ index: 1 }, { index: 2 }]);
    }
  });

  it('of one alone and of a list of one are the same', async () => {
    const [alone, inList] = [await workos.serve({ password: newer }), await workos.serve({ password: [newer] })];
    for (const password of [newer, [newer]]) {
      const sealed = await sealedUnder(password);
      expect(sealed).toMatch(/^Fe26\.2\*1\*/);
      for (const app of [alone, inList]) expect((await app.send(sealed)).json).toMatchObject({ authenticated: true });
    }
  });

  it('are each tried for the id 1 that WorkOS packages always write', async () => {
    const sealed = await sealedUnder(older);
    const app = await workos.serve({ password: { 1: newer, 7: older } });
    expect((await app.send(sealed)).json).toMatchObject({ authenticated: true });
  });

  it('that are wrong sign no visitor out: the cookie is left alone', async () => {
    const told: unknown[] = [];
    const { sealed } = await sealedSession(workos.server);
    const app = await workos.serve({ password: newer, events: { rejected: (event) => told.push(event) } });
    const page = await app.send(sealed);
    expect([page.json.reason, page.setCookies]).toEqual(['invalid_session_cookie', []]);
    expect(told).toEqual([{ reason: 'invalid_session_cookie', detail: 'unknown_password' }]);
  });
});
