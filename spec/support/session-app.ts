import { getSession, requireSession, type Session, type SessionOptions, withSession } from 'express-sealed-session';

import { frameworks, type Listening } from './apps.js';
import { type Browser, createBrowser, type Page } from './browser.js';
import { cookieHeader } from './workos-session.js';

export interface SessionApp extends Listening {
  /** Sends a cookie as a browser would that has no other. */
  send: (sealed: string, path?: string, init?: { method?: string; headers?: Record<string, string> }) => Promise<Page>;
  browser: () => Browser;
}

/** What a session shows in JSON. */
export const toJson = (session: Session) => JSON.parse(JSON.stringify(session)) as Record<string, unknown>;

/**
 * An Express app with the routes that specs of the refresh need: `/` for anybody, `/guarded` for the signed in, `/out`
 * to sign out, `/in` to sign in with the tokens in the body, `/switch` to another organization.
 */
export async function serveSessions(options: SessionOptions): Promise<SessionApp> {
  const app = await frameworks[0]!.listen((each) => {
    each.use(withSession(options));
    each.get('/', (req, res) => res.end(JSON.stringify(getSession(req))));
    each.get('/guarded', requireSession(), (req, res) => res.end(JSON.stringify(getSession(req))));
    each.get('/out', async (req, res) => {
      await getSession(req).signOut();
      res.end();
    });
    each.get('/in', async (req, res) => {
      await getSession(req).signIn(JSON.parse(String(req.headers['x-tokens'])) as never);
      res.end(JSON.stringify(getSession(req)));
    });
    each.get('/switch', async (req, res) => {
      const result = await getSession(req).refresh({ organizationId: 'org_02' });
      res.end(JSON.stringify({ ...toJson(getSession(req)), result }));
    });
  });
  return {
    ...app,
    send: (sealed, path = '/', init = {}) =>
      createBrowser(app.url).fetch(path, { ...init, headers: { ...init.headers, ...cookieHeader(sealed).headers } }),
    browser: () => createBrowser(app.url),
  };
}
