import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { getSession, type SessionOptions, withSession } from 'express-sealed-session';

import { frameworks } from '../support/apps.js';
import { createNavigator, type Navigator } from '../support/navigator.js';
import { startWorkosServer } from '../support/workos-server.js';
import { workosOptions } from '../support/workos-session.js';

const origin = 'https://app.example.com';
const open: { close: () => Promise<unknown> }[] = [];
afterAll(() => Promise.all(open.map((each) => each.close())));

async function serve(options: SessionOptions): Promise<Navigator> {
  const sessions = withSession(options);
  const app = await frameworks[0]!.listen((each) => {
    each.use(sessions);
    each.use(sessions.routes());
    each.get('/page', (req, res) => res.end(JSON.stringify(getSession(req))));
  });
  open.push(app);
  return createNavigator({ [origin]: app.url });
}

describe('the cookie', () => {
  let server: Awaited<ReturnType<typeof startWorkosServer>>;
  beforeAll(async () => {
    server = await startWorkosServer();
    open.push(server);
  });
  async function written(cookie: SessionOptions['cookie']): Promise<string[]> {
    const browser = await serve(workosOptions(server, { baseUrl: origin, cookie }));
    const login = await browser.open('/login');
    const back = await browser.open((await browser.open(login.location!)).location!);
    return [login.setCookies[0]!, back.setCookies.find((each) => each.startsWith('wos-session='))!].map((each) =>
      each.replace(/^[^;]+; /, ''),
    );
  }

  it.each<[SessionOptions['cookie'], string, string]>([
    [
      {},
      'Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax',
      'Path=/; Max-Age=34560000; HttpOnly; Secure; SameSite=Lax',
    ],
    [
      { maxAge: false },
      'Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax',
      'Path=/; HttpOnly; Secure; SameSite=Lax',
    ],
    [
      { sameSite: 'strict' },
      'Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax',
      'Path=/; Max-Age=34560000; HttpOnly; Secure; SameSite=Strict',
    ],
    [
      { sameSite: 'none', partitioned: true, priority: 'high', maxAge: 60 },
      'Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=None; Partitioned; Priority=High',
      'Path=/; Max-Age=60; HttpOnly; Secure; SameSite=None; Partitioned; Priority=High',
    ],
  ])('%j is written so, and that of a sign-in too', async (cookie, flow, session) => {
    expect(await written(cookie)).toEqual([flow, session]);
  });

  it.each<[object, string]>([
    [{ maxAge: true }, 'cookie.maxAge'],
    [{ maxAge: 0 }, 'cookie.maxAge'],
    [{ priority: 'urgent' }, 'cookie.priority'],
    [{ partitioned: 'yes' }, 'cookie.partitioned'],
    [{ partitioned: true, secure: false }, 'cookie.partitioned'],
  ])('%j is refused', (cookie, path) => {
    const options = workosOptions(server, { baseUrl: 'http://localhost:3000', cookie: cookie });
    expect(() => withSession(options)).toThrow(
      expect.objectContaining({ problems: [expect.objectContaining({ path })] }),
    );
  });
});
