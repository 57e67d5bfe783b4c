import { describe, expect, it } from '@jest/globals';

import { createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { useWorkos } from '../support/use-workos.js';
import { expired, sealedSession } from '../support/workos-session.js';

useClock();
const workos = useWorkos();

describe('a header in place of the cookie', () => {
  it('brings the seal, takes the new one back, and sets no cookie', async () => {
    const app = await workos.serve({ header: 'X-Session' });
    const { sealed } = await sealedSession(workos.server, expired);
    const native = (seal: string, path = '/') => createBrowser(app.url).get(path, { headers: { 'x-session': seal } });

    const page = await native(sealed);
    expect(page.json).toMatchObject({ authenticated: true, refreshed: true });
    expect(page.setCookies).toEqual([]);
    const next = page.headers.get('x-session')!;
    expect(next).toMatch(/^Fe26/);
    expect(page.headers.get('cache-control')).toBe('private, no-store');
    expect(page.headers.get('vary')).toMatch(/x-session/i);

    const again = await native(next);
    expect([again.json.authenticated, again.headers.get('x-session')]).toEqual([true, null]);
    expect((await native(next, '/out')).headers.get('x-session')).toBe('');
    expect((await native('')).json).toMatchObject({ reason: 'no_session_cookie_provided' });
  });

  it('is not read without the option', async () => {
    const app = await workos.serve();
    const { sealed } = await sealedSession(workos.server);
    const page = await createBrowser(app.url).get('/', { headers: { 'x-session': sealed } });
    expect(page.json).toMatchObject({ reason: 'no_session_cookie_provided' });
  });
});
