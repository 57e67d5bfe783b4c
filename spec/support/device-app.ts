import { afterAll, beforeAll, beforeEach, expect } from '@jest/globals';
import { type EventCallbacks, type SessionEvents, type SessionOptions, withSession } from 'express-sealed-session';

import { type Framework, frameworks, type Listening } from './apps.js';
import { type Browser, createBrowser, type Page } from './browser.js';
import { createDevice, type Device, documentFrom } from './device.js';
import { startWorkosServer, type WorkosServer } from './workos-server.js';
import { sealedSession, workosOptions } from './workos-session.js';

export const proofName = '__Host-wos-session-proof';

export interface Bound {
  readonly app: Listening;
  readonly browser: Browser;
  readonly device: Device;
  readonly id: string;
  /** The cookies before the session was bound. */
  readonly before: Browser;
  readonly answer: Page;
}

/** Apps whose sessions are bound to devices, and browsers that are signed in at them. */
export function useDeviceApps() {
  let server: WorkosServer;
  let told: { [Name in keyof SessionEvents]?: SessionEvents[Name][] } = {};
  const open: Listening[] = [];

  beforeAll(async () => {
    server = await startWorkosServer({ mode: 'strict' });
  });
  beforeEach(() => {
    server.token.heal();
    server.keys.heal();
    told = {};
  });
  afterAll(() => Promise.all([server.close(), ...open.map((app) => app.close())]));

  function optionsOf(change: Partial<SessionOptions> = {}): SessionOptions {
    const events: EventCallbacks = {
      deviceBound: (event) => (told.deviceBound ??= []).push(event),
      deviceProofMissed: (event) => (told.deviceProofMissed ??= []).push(event),
    };
    return workosOptions(server, { baseUrl: 'https://app.example.com', deviceBound: true, events, ...change });
  }

  /** An app where `/` shows the session, `/account` needs one, `/bound` one that is bound, and `/fresh` asks for new tokens. */
  async function serve(change: Partial<SessionOptions> = {}, framework: Framework = frameworks[0]!) {
    const sessions = withSession(optionsOf(change));
    const app = await framework.listen((each) => {
      each.use(sessions);
      each.use(sessions.routes());
      each.get('/', (req, res) => res.end(JSON.stringify(sessions.get(req))));
      each.get('/account', sessions.require());
      each.get('/account', (req, res) => res.end(JSON.stringify(sessions.get(req))));
      each.get('/bound', sessions.require({ deviceBound: true }));
      each.get('/bound', (_req, res) => res.end());
      each.get('/fresh', async (req, res) => res.end(JSON.stringify(await sessions.get(req).refresh())));
    });
    open.push(app);
    return app;
  }

  /** A browser that is signed in, and not bound. */
  async function visitor(app: Listening, sealed?: string): Promise<Browser> {
    const browser = createBrowser(app.url);
    const seal = sealed ?? (await sealedSession(server)).sealed;
    browser.jar.set(app.url, `wos-session=${seal}; Path=/; Secure; HttpOnly`);
    return browser;
  }

  async function bind(change: Partial<SessionOptions> = {}, on?: Listening, framework?: Framework): Promise<Bound> {
    const app = on ?? (await serve(change, framework));
    const browser = await visitor(app);
    const before = browser.clone();
    const device = await createDevice(browser);
    const answer = await device.register(await browser.get('/', documentFrom('none')));
    expect(answer.status).toBe(200);
    return { app, browser, device, before, answer, id: answer.json.session_identifier as string };
  }

  return {
    get server() {
      return server;
    },
    get told() {
      return told;
    },
    closing: (app: Listening): Listening => {
      open.push(app);
      return app;
    },
    optionsOf,
    serve,
    visitor,
    bind,
  };
}

/** The status that a browser is answered. */
export const who = async (browser: Browser, path = '/account', init?: RequestInit) =>
  (await browser.get(path, init)).status;

/** The session that a browser has. */
export const shown = async (browser: Browser, init?: RequestInit) =>
  (await browser.get('/', init)).json as Record<string, unknown>;
