import { randomBytes } from 'node:crypto';

import { afterEach, beforeEach, expect, jest } from '@jest/globals';
import {
  type EventCallbacks,
  isSessionError,
  type Misconfiguration,
  type Reason,
  type SealProblem,
  type SessionErrorCode,
  type SessionEvents,
  type SessionOptions,
  type SignInFailure,
  workos,
} from 'express-sealed-session';
import { sealData, unsealData } from 'iron-session';

import { createProcessFleet } from '../../lib/fleet/process-fleet.js';
import { type Browser, createBrowser, type Page } from './browser.js';
import { printed } from './printed.js';
import { createSecretScanner, type SecretScanner } from './secret-scanner.js';
import { interfaceMembers, unionMembers } from './type-members.js';
import { type SessionOverrides, startWorkosServer, type WorkosServer } from './workos-server.js';

const surface = 'lib/index.ts';

/** What can become known outside, by name: all that there is of each kind. */
export const kinds = {
  codes: unionMembers(surface, 'SessionErrorCode'),
  reasons: unionMembers(surface, 'Reason'),
  events: interfaceMembers(surface, 'SessionEvents'),
  problems: unionMembers(surface, 'Misconfiguration'),
  failures: unionMembers(surface, 'SignInFailure'),
  sealProblems: unionMembers(surface, 'SealProblem'),
};
export const tokenReasons = unionMembers(surface, 'TokenReason') as Reason[];

/** What has come up in a test. */
export interface Met {
  /** The codes of errors, each with its HTTP status. */
  readonly codes: Map<SessionErrorCode, number>;
  readonly reasons: Set<Reason>;
  readonly events: Set<keyof SessionEvents>;
  readonly problems: Set<Misconfiguration>;
  readonly failures: Set<SignInFailure>;
  readonly sealProblems: Set<SealProblem>;
}

export const origin = 'https://app.example.com';
export const expired: SessionOverrides = { lifetimeSeconds: -30 };
export const random = () => randomBytes(33).toString('base64url');

export type Scanned = ReturnType<typeof useScanned>;

/**
 * For each test a WorkOS server, and a scanner that searches all that is logged, thrown, emitted, warned of and answered
 * for the secrets of the test. A leak fails the test. So does a password or a seal in a request to the provider.
 */
export function useScanned() {
  let scanner: SecretScanner;
  let server: WorkosServer;
  let met: Met;
  let apiKey: string;
  let password: string;
  let warnings: unknown[][];
  let closers: (() => Promise<unknown>)[] = [];

  beforeEach(async () => {
    met = {
      codes: new Map(),
      reasons: new Set(),
      events: new Set(),
      problems: new Set(),
      failures: new Set(),
      sealProblems: new Set(),
    };
    scanner = createSecretScanner();
    warnings = [];
    [apiKey, password] = [`sk_test_${random()}`, random()];
    scanner.plant('API key', apiKey);
    scanner.plant('password', password);
    server = await startWorkosServer({ apiKey });
    closers = [() => server.close()];
    for (const method of ['log', 'info', 'warn', 'error', 'debug', 'trace', 'dir'] as const) {
      jest.spyOn(console, method).mockImplementation((...given: unknown[]) => {
        scanner.watch(`console.${method}`, ...given);
      });
    }
    jest.spyOn(process, 'emitWarning').mockImplementation((...given: unknown[]) => {
      warnings.push(given);
      scanner.watch('a warning', ...given);
    });
  });

  afterEach(async () => {
    await Promise.all(closers.map((close) => close()));
    expect(scanner.leaks()).toEqual([]);
    // The other way round: the provider is not sent what is ours alone.
    const sent = createSecretScanner();
    sent.plant('password', password);
    for (const { text, url, headers } of [server.token, server.keys].flatMap(({ requests }) => requests)) {
      sent.watch('a request to the provider', text, url, headers);
      expect(text).not.toContain('Fe26');
    }
    expect(sent.leaks()).toEqual([]);
  });

  function meetReason(reason: unknown): void {
    if (kinds.reasons.includes(reason as Reason)) met.reasons.add(reason as Reason);
  }

  /** Every event, each scanned. */
  function allEvents(): EventCallbacks {
    const callbacks = kinds.events.map((name) => {
      const callback = (event: { problem?: Misconfiguration; failure?: SignInFailure; detail?: string }) => {
        met.events.add(name as keyof SessionEvents);
        if (event.problem !== undefined) met.problems.add(event.problem);
        if (event.failure !== undefined) met.failures.add(event.failure);
        if (kinds.sealProblems.includes(event.detail ?? '')) met.sealProblems.add(event.detail as SealProblem);
        scanner.watch(`the event ${name}`, event);
      };
      return [name, callback] as const;
    });
    return Object.fromEntries(callbacks);
  }

  function optionsOf(change: Partial<SessionOptions> = {}): SessionOptions {
    return {
      provider: workos({ clientId: server.clientId, apiKey, baseUrl: server.url }),
      password,
      baseUrl: origin,
      events: allEvents(),
      fleet: createProcessFleet(),
      refresh: { waitMs: 600, timeoutMs: 500 },
      ...change,
    };
  }

  /** Scans an error as deep as it goes, and as it is printed. */
  function meetError(error: unknown, where: string): void {
    if (isSessionError(error)) {
      met.codes.set(error.code, error.status);
      if ('reason' in error) meetReason(error.reason);
      if (error.code === 'ERR_SESSION_SIGN_IN_FAILED') met.failures.add(error.failure);
    }
    scanner.watch(where, error, ...printed(error));
  }

  /** Does it, and keeps what it throws. */
  async function attempt(where: string, work: () => unknown): Promise<unknown> {
    try {
      return await work();
    } catch (error) {
      meetError(error, where);
      return error;
    }
  }

  /** Scans what a browser is shown, except our own cookies, which become secrets themselves. */
  async function look(answer: Promise<Page>): Promise<Page> {
    const page = await answer;
    for (const header of page.setCookies) {
      const [, name = '', value = '', attributes = ''] = /^([^=]*)=([^;]*)(.*)$/s.exec(header) ?? [];
      const own = /^(__Host-)?wos-session/.test(name);
      if (own && value !== '') scanner.plant(`the cookie ${name}`, value);
      scanner.watch('a Set-Cookie header', name, attributes, own ? '' : value);
    }
    const others = [...page.headers].filter(([name]) => name !== 'set-cookie');
    scanner.watch('a response', page.text, others, page.status);
    return page;
  }

  /** A session and its seal, all of it secret. */
  async function issue(
    overrides: SessionOverrides = {},
    { under = password, more = {} }: { under?: string | Record<string, string>; more?: Record<string, unknown> } = {},
  ) {
    const { accessToken, refreshToken, sessionId } = await server.issueSession(overrides);
    scanner.plant('access token', accessToken);
    scanner.plant('refresh token', refreshToken);
    const user = { id: 'user_01', email: 'one@example.com' };
    const sealed = await sealData({ accessToken, refreshToken, user, ...more }, { password: under, ttl: 0 });
    scanner.plant('the cookie of a visitor', sealed);
    return { sealed, accessToken, refreshToken, sessionId };
  }

  /** From now on the tokens that the provider hands out are secrets as well. */
  function plantAnswers(): void {
    server.token.reply = (body) => {
      for (const name of ['access_token', 'refresh_token'] as const) scanner.plant(`a new ${name}`, String(body[name]));
      return body;
    };
  }

  function plantedPassword(): string {
    const other = random();
    scanner.plant('another password', other);
    return other;
  }

  async function plantVerifier(cookie: string): Promise<string> {
    const { codeVerifier } = await unsealData<{ codeVerifier: string }>(cookie.split(/=(.*)/s)[1]!, { password });
    scanner.plant('code verifier', codeVerifier);
    return codeVerifier;
  }

  /** A sign-in up to the point where the provider sends the browser back. All that the browser has by then is secret. */
  async function beginSignIn(app: { browser: () => Browser; url: string }, visitor: WorkosServer['visitor'] = {}) {
    const browser = app.browser();
    const login = await look(browser.get('/login?returnTo=/'));
    const cookie = login.setCookies[0]!.split(';')[0]!;
    const verifier = await plantVerifier(cookie);
    server.visitor = visitor;
    const location = (await browser.get(login.headers.get('location')!)).headers.get('location')!;
    server.visitor = {};
    const { searchParams } = new URL(location);
    const code = searchParams.get('code') ?? '';
    if (code !== '') scanner.plant('authorization code', code);
    const state = searchParams.get('state')!;
    return { browser, back: location.replace(origin, app.url), cookie, code, state, verifier };
  }

  return {
    get scanner() {
      return scanner;
    },
    get server() {
      return server;
    },
    get met() {
      return met;
    },
    get apiKey() {
      return apiKey;
    },
    get password() {
      return password;
    },
    get warnings() {
      return warnings;
    },
    /** Closes a server of the test's own when the test ends. */
    closing: <Server extends { close: () => Promise<unknown> }>(own: Server): Server => {
      closers.push(() => own.close());
      return own;
    },
    allEvents,
    optionsOf,
    meetReason,
    meetError,
    attempt,
    look,
    send: (url: string, sealed: string, at = '/', headers: Record<string, string> = {}) =>
      look(createBrowser(url).get(at, { headers: { cookie: `wos-session=${sealed}`, ...headers } })),
    issue,
    plantAnswers,
    plantedPassword,
    plantVerifier,
    beginSignIn,
  };
}
