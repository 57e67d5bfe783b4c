import { afterAll } from '@jest/globals';
import {
  compactSealer,
  getSession,
  ironSealer,
  oidc,
  type OidcOptions,
  rubySealer,
  type SessionEvents,
  type SessionOptions,
  type Sessions,
  withSession,
} from 'express-sealed-session';

import { readPasswords } from '../../lib/seal/passwords.js';
import { open as openSeal } from '../../lib/seal/sealer.js';
import { bindingOf } from '../../lib/session/binding.js';
import { frameworks, type Listening } from './apps.js';
import { type Browser, createBrowser, type Page } from './browser.js';
import { type OpOptions, type OpServer, startOpServer } from './op-server.js';
import { password } from './workos-session.js';
import { watch } from './watch.js';

export const origin = 'https://app.example.com';

const open: { close: () => Promise<unknown> }[] = [];
afterAll(() => Promise.all(open.map((each) => each.close())));

export interface Told {
  readonly misconfigured: SessionEvents['misconfigured'][];
  readonly signInFailed: SessionEvents['signInFailed'][];
  readonly rejected: SessionEvents['rejected'][];
  readonly refreshFailed: SessionEvents['refreshFailed'][];
}

export interface OpApp {
  readonly op: OpServer;
  readonly app: Listening;
  readonly browser: Browser;
  readonly sessions: Sessions;
  readonly told: Told;
  /** Goes from `/login` to where the visitor ends. */
  readonly signIn: (browser?: Browser) => Promise<Page>;
  /** Goes where a redirect points; the app's public origin is where it is served here. */
  readonly visit: (url: string, browser?: Browser) => Promise<Page>;
  /** What the browser's cookie holds. */
  readonly payload: () => unknown;
  /** What was told, as `problem cause` of the misconfigurations. */
  readonly problems: () => string[];
}

/** An app in front of a provider that speaks as it is told. */
export async function serveOp(
  server: OpOptions = {},
  options: (op: OpServer) => Partial<OidcOptions> = () => ({}),
  session: Partial<SessionOptions> = {},
): Promise<OpApp> {
  const op = await startOpServer(server);
  open.push(op);
  const told: Told = { misconfigured: [], signInFailed: [], rejected: [], refreshFailed: [] };
  const provider = oidc({ issuer: op.url, clientId: op.clientId, clientSecret: op.clientSecret, ...options(op) });
  const events = Object.fromEntries(
    Object.entries(told).map(([name, list]) => [
      name,
      (event: never) => {
        watch(`the event ${name}`, event);
        (list as unknown[]).push(event);
      },
    ]),
  );
  const sessions = withSession({ provider, password, baseUrl: origin, events, ...session });
  const app = await frameworks[0]!.listen((each) => {
    each.use(sessions);
    each.use(sessions.routes());
    each.get('/', (req, res) => res.end(JSON.stringify(getSession(req))));
    each.get('/admin', sessions.require({ roles: 'admin' }, { redirect: false }), (_req, res) => res.end('{}'));
  });
  open.push(app);
  const browser = createBrowser(app.url);
  const payload = () => {
    const sealed = decodeURIComponent(browser.jar.get('__Host-session') ?? '');
    const sealers = [compactSealer(), ironSealer(), rubySealer()];
    const opened = openSeal(sealed, sealers, readPasswords(password), Date.now(), bindingOf(provider.id, 'session'));
    if (!opened.ok) throw new Error(`the cookie does not open: ${opened.problem}`);
    return opened.value;
  };
  const visit: OpApp['visit'] = async (url, by = browser) => {
    let page = await by.fetch(url.replace(origin, app.url));
    for (let hop = 0; hop < 10 && page.headers.has('location'); hop += 1) {
      const next = new URL(page.headers.get('location')!, page.url).href;
      page = await by.fetch(next.replace(origin, app.url));
    }
    return page;
  };
  return {
    op,
    app,
    browser,
    sessions,
    told,
    visit,
    payload,
    signIn: (by) => visit(`${app.url}/login`, by),
    problems: () => told.misconfigured.map(({ problem, cause }) => `${problem} ${cause ?? ''}`.trim()),
  };
}
