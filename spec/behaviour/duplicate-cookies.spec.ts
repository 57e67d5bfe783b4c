import { describe, expect, it } from '@jest/globals';

import { createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { useWorkos } from '../support/use-workos.js';
import { expired, sealedSession } from '../support/workos-session.js';

const clock = useClock();
const workos = useWorkos();

describe('several cookies of the same name', () => {
  it.each(['first', 'last'])('are each tried when the good one is the %s', async (place) => {
    const app = await workos.serve();
    const { sealed } = await sealedSession(workos.server);
    const values = place === 'first' ? [sealed, 'garbage'] : ['garbage', `${sealed}x`, sealed];
    const page = await createBrowser(app.url).get('/', {
      headers: { cookie: values.map((value) => `wos-session=${value}`).join('; ') },
    });
    expect(page.json).toMatchObject({ authenticated: true });
  });

  it.each([0, 1])('are decided by the newest token, in either order (%i)', async (order) => {
    const app = await workos.serve();
    const older = await sealedSession(workos.server, { user: { id: 'user_old' } });
    clock.advance(10);
    const newer = await sealedSession(workos.server, { user: { id: 'user_new' } });
    const pair = order === 0 ? [older, newer] : [newer, older];
    const page = await createBrowser(app.url).get('/', {
      headers: { cookie: pair.map(({ sealed }) => `wos-session=${sealed}`).join('; ') },
    });
    expect(page.json).toMatchObject({ user: { id: 'user_new' } });
  });

  it('are removed with cookie.replaces when a cookie is written, and only where the browser has them', async () => {
    const replaces = [{ name: 'old-session' }, { name: 'wos-session', domain: '.example.com' }, { name: 'never-seen' }];
    const app = await workos.serve({ cookie: { replaces } });
    const { sealed } = await sealedSession(workos.server, expired);
    const page = await createBrowser(app.url).get('/', {
      headers: { cookie: `old-session=1; wos-session=garbage; wos-session=${sealed}` },
    });
    const [own, ...removals] = page.setCookies;
    expect(own).toMatch(/^wos-session=Fe26/);
    expect(removals).toEqual([
      expect.stringMatching(/^old-session=; Path=\/; Max-Age=0;/),
      expect.stringMatching(/^wos-session=; Path=\/; Domain=\.example\.com; Max-Age=0;/),
    ]);
  });
});
