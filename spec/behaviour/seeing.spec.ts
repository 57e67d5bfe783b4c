import { AsyncLocalStorage } from 'node:async_hooks';
import diagnosticsChannel from 'node:diagnostics_channel';

import { afterEach, describe, expect, it } from '@jest/globals';
import {
  createSessionManager,
  type EventCallbacks,
  type SessionEvents,
  type SessionOptions,
  SessionUnavailableError,
  withSession,
} from 'express-sealed-session';

import { frameworks, listen } from '../support/apps.js';
import { createBrowser } from '../support/browser.js';
import { useClock } from '../support/clock.js';
import { useWorkos } from '../support/use-workos.js';
import { answers } from '../support/workos-server.js';
import { cookieHeader, expired, sealedSession, workosOptions } from '../support/workos-session.js';

const clock = useClock();
const workos = useWorkos();

type Told = { readonly name: keyof SessionEvents } & Record<string, unknown>;

/** Callbacks for every event, and what they were told. */
function listening(): { events: EventCallbacks; told: Told[] } {
  const told: Told[] = [];
  const names: (keyof SessionEvents)[] = [
    'rejected',
    'cookieMissed',
    'refreshFailed',
    'refreshed',
    'written',
    'signInFailed',
  ];
  const events = Object.fromEntries(names.map((name) => [name, (event: object) => told.push({ ...event, name })]));
  return { events, told };
}

async function serve(options: Partial<SessionOptions> = {}) {
  const { events, told } = listening();
  const app = await workos.serve({ events, ...options });
  return { ...app, told };
}

describe('a session problem is told', () => {
  it('where the key set cannot be had, with why', async () => {
    workos.server.keys.fail({ status: 404, body: {} });
    const { send, told } = await serve();
    const { sealed, sessionId } = await sealedSession(workos.server);
    expect((await send(sealed)).json).toMatchObject({ reason: 'keys_unavailable', retryable: true });
    expect(told).toEqual([
      { name: 'rejected', sessionId, reason: 'keys_unavailable', detail: 'keys_not_fetched', error: 'http_404' },
    ]);
  });

  it('where the token has expired, and there is no refresh token', async () => {
    const { send, told } = await serve();
    const { sealed, sessionId } = await sealedSession(workos.server, expired, { refreshToken: undefined });
    expect((await send(sealed)).json).toMatchObject({ reason: 'expired_jwt' });
    expect(told).toEqual([{ name: 'rejected', sessionId, reason: 'expired_jwt', detail: 'no_refresh_token' }]);
  });

  it('where the session was signed out', async () => {
    const { send, told } = await serve();
    const { sealed, sessionId } = await sealedSession(workos.server);
    await send(sealed, '/out');
    told.length = 0;
    expect((await send(sealed)).json).toMatchObject({ reason: 'session_revoked' });
    expect(told).toEqual([{ name: 'rejected', sessionId, reason: 'session_revoked', detail: 'ended' }]);
  });

  it('where the response takes no cookie any more', async () => {
    const { events, told } = listening();
    const app = workos.closing(
      await frameworks[0]!.listen((each) => {
        each.use((_req, res, next) => {
          res.flushHeaders();
          next();
        });
        each.use(withSession(workosOptions(workos.server, { events })));
        each.get('/', (_req, res) => res.end());
      }),
    );
    const { sealed, sessionId } = await sealedSession(workos.server, expired);
    await createBrowser(app.url).fetch('/', cookieHeader(sealed));
    expect(told).toEqual([{ name: 'rejected', sessionId, reason: 'expired_jwt', detail: 'response_takes_no_cookie' }]);
    expect(workos.server.refreshCount).toBe(0);
  });

  it('where there is no cookie: once a minute, with how many', async () => {
    const { url, told } = await serve();
    const visit = (headers = {}) => createBrowser(url).fetch('/', { headers });
    for (let visits = 0; visits < 3; visits += 1) await visit();
    await visit({ cookie: 'theme=dark' });
    const first = { name: 'cookieMissed', requests: 1, withOtherCookies: 0 };
    expect(told).toEqual([first]);
    clock.advance(59);
    await visit();
    expect(told).toEqual([first]);
    clock.advance(2);
    await visit();
    // The four that were not told, and this one.
    expect(told).toEqual([first, { name: 'cookieMissed', requests: 5, withOtherCookies: 1 }]);
  });

  it('not where the session is good, or only refreshed', async () => {
    const { send, told } = await serve();
    await send((await sealedSession(workos.server)).sealed);
    await send((await sealedSession(workos.server, expired)).sealed);
    expect(told.map(({ name }) => name).sort()).toEqual(['refreshed', 'written']);
  });
});

describe('no visitor can fill a log', () => {
  it('with cookies that do not open: 30 are told in a minute, and the next one counts the others', async () => {
    const { send, told } = await serve();
    for (let visits = 0; visits < 100; visits += 1) await send(`garbage-${visits}`);
    expect(told).toHaveLength(30);
    clock.advance(61);
    await send('garbage');
    expect(told).toHaveLength(31);
    expect(told[30]).toEqual({
      name: 'rejected',
      reason: 'invalid_session_cookie',
      detail: 'bad_shape',
      count: 71,
    });
    expect(told.reduce((sum, { count = 1 }) => sum + Number(count), 0)).toBe(101);
  });

  it('with an old cookie again and again', async () => {
    const { send, told } = await serve();
    const { sealed } = await sealedSession(workos.server, expired);
    for (let visits = 0; visits < 120; visits += 1) expect((await send(sealed)).status).toBe(200);
    const named = (name: string) => told.filter((event) => event.name === name).length;
    // One has led the refresh.
    expect([named('refreshed'), named('written')]).toEqual([101, 100]);
  });

  it('with callbacks that no sign-in has begun', async () => {
    const { events, told } = listening();
    const sessions = withSession({ ...workosOptions(workos.server, { events }), baseUrl: 'http://localhost:3000' });
    const app = workos.closing(
      await frameworks[0]!.listen((each) => {
        each.use(sessions);
        each.use(sessions.routes());
      }),
    );
    for (let visits = 0; visits < 50; visits += 1) {
      await fetch(`${app.url}/callback?code=c${visits}&state=s${visits}`, { redirect: 'manual' });
    }
    expect(told.filter(({ name }) => name === 'signInFailed').length).toBeLessThanOrEqual(30);
  });

  it('and does not hide the events of other sessions', async () => {
    const { send, told } = await serve();
    const one = await sealedSession(workos.server, expired, { refreshToken: undefined });
    const other = await sealedSession(workos.server, expired, { refreshToken: undefined });
    for (let visits = 0; visits < 110; visits += 1) await send(one.sealed);
    await send(other.sealed);
    expect(told).toHaveLength(101);
    expect(told.at(-1)).toMatchObject({ sessionId: other.sessionId });
  });
});

describe('node:diagnostics_channel', () => {
  const subscribed: [name: string, listener: (message: unknown) => void][] = [];
  afterEach(() => {
    for (const [name, listener] of subscribed.splice(0)) diagnosticsChannel.unsubscribe(name, listener);
  });

  function subscribe(name: keyof SessionEvents): unknown[] {
    const told: unknown[] = [];
    const channel = `express-sealed-session:${name}`;
    const listener = (message: unknown) => told.push(message);
    diagnosticsChannel.subscribe(channel, listener);
    subscribed.push([channel, listener]);
    return told;
  }

  it('has every event, without a callback in the options', async () => {
    const refreshed = subscribe('refreshed');
    const written = subscribe('written');
    const rejected = subscribe('rejected');
    const { send } = await workos.serve();
    const { sealed, sessionId } = await sealedSession(workos.server, expired);
    await send(sealed);
    await send('garbage');
    expect(refreshed).toMatchObject([{ sessionId, source: 'leader' }]);
    expect(written).toMatchObject([{ sessionId, pieces: 1 }]);
    expect(rejected).toEqual([{ reason: 'invalid_session_cookie', detail: 'bad_shape' }]);
  });

  it('has what callbacks are told, no more often', async () => {
    const rejected = subscribe('rejected');
    const { send, told } = await serve();
    for (let visits = 0; visits < 40; visits += 1) await send('garbage');
    expect(rejected).toHaveLength(30);
    expect(told).toEqual(rejected.map((event) => ({ name: 'rejected', ...(event as object) })));
  });

  it('has misconfigurations once an hour', async () => {
    const misconfigured = subscribe('misconfigured');
    const { send } = await serve({ events: { misconfigured: () => undefined } });
    const { sealed } = await sealedSession(workos.server, { claims: { iss: 'https://other.example' } });
    await send(sealed);
    await send(sealed);
    expect(misconfigured).toMatchObject([{ problem: 'issuer' }]);
  });
});

describe('AsyncLocalStorage inside callbacks', () => {
  it('has the request that caused the event, also where it joined the refresh of another', async () => {
    const requests = new AsyncLocalStorage<string>();
    const seen: [event: string, request: string | undefined][] = [];
    const note = (what: string) => seen.push([what, requests.getStore()]);
    const sessions = withSession(
      workosOptions(workos.server, {
        events: {
          refreshed: ({ source }) => note(source),
          written: () => note('written'),
          rejected: ({ detail }) => note(detail),
          refreshFailed: ({ reason }) => note(reason),
        },
      }),
    );
    const app = workos.closing(
      await frameworks[0]!.listen((each) => {
        each.use((req, _res, next) => {
          requests.run(String(req.headers['x-request-id']), next);
        });
        each.use(sessions);
        each.get('/', (_req, res) => res.end(requests.getStore()));
      }),
    );
    const send = async (id: string, sealed: string) => {
      const response = await fetch(app.url, {
        headers: { ...cookieHeader(sealed).headers, 'x-request-id': id },
      });
      // The context goes on to the handler, behind the refresh.
      expect(await response.text()).toBe(id);
    };

    const { sealed } = await sealedSession(workos.server, expired);
    const held = workos.server.token.hold();
    const both = [send('one', sealed), send('two', sealed)];
    await held.arrived(1);
    held.release();
    await Promise.all(both);
    await send('three', 'garbage');
    workos.server.token.fail(answers.invalidGrant);
    await send('four', (await sealedSession(workos.server, expired)).sealed);

    const sources = seen.slice(0, 4).filter(([what]) => what !== 'written');
    expect(sources.map(([what]) => what).sort()).toEqual(['joined', 'leader']);
    expect(sources.map(([, id]) => id).sort()).toEqual(['one', 'two']);
    expect(seen.slice(4)).toEqual([
      ['bad_shape', 'three'],
      ['invalid_grant', 'four'],
    ]);
  });
});

describe('the cause of ERR_SESSION_UNAVAILABLE', () => {
  async function errorOf(options: Partial<SessionOptions> = {}) {
    let error: unknown;
    const sessions = withSession(workosOptions(workos.server, options));
    const guard = sessions.require();
    const app = workos.closing(
      await listen((req, res) => {
        const end = (given: unknown) => {
          error = given;
          res.end();
        };
        sessions(req, res, (early) => {
          if (early === undefined) guard(req, res, end);
          else end(early);
        });
      }),
    );
    const { sealed } = await sealedSession(workos.server, expired);
    await createBrowser(app.url).fetch('/', cookieHeader(sealed));
    if (!(error instanceof SessionUnavailableError)) throw new Error(`Not a 503: ${String(error)}`);
    return error;
  }

  it.each([
    [
      'an answer of the provider',
      { status: 503, body: { error: 'temporarily_unavailable' } },
      503,
      'temporarily_unavailable',
    ],
    ['a gateway', { status: 502, body: '<h1>Bad gateway</h1>' }, 502, undefined],
    ['a rate limit', { status: 429, body: {} }, 429, undefined],
  ] as const)('is %s, with its status and code', async (_, answer, status, error) => {
    workos.server.token.fail(answer);
    const { cause, reason } = await errorOf();
    expect(cause).toBeInstanceOf(Error);
    expect(cause).toMatchObject({ name: 'ProviderUnavailableError', reason, status, error });
    expect(cause.message).toContain(`${reason}, status ${status}`);
  });

  it.each(['continue', 'refuse'] as const)('is the system code, with whenUnavailable: %s', async (whenUnavailable) => {
    workos.server.token.fail('reset');
    const { cause } = await errorOf({ whenUnavailable });
    expect(cause).toMatchObject({ reason: 'network_error', status: undefined, error: 'ECONNRESET' });
  });

  it('is why the keys cannot be had', async () => {
    workos.server.keys.fail({ status: 500, body: {} });
    const { cause } = await errorOf();
    expect(cause).toMatchObject({
      reason: 'keys_unavailable',
      error: expect.stringMatching(/^http_500$|^server_error$/),
    });
  });
});

it('a worker is told what a request is told', async () => {
  const { events, told } = listening();
  const manager = createSessionManager(workosOptions(workos.server, { events }));
  workos.server.keys.fail({ status: 404, body: {} });
  await manager.load((await sealedSession(workos.server)).sealed).authenticate();
  expect(told).toMatchObject([{ name: 'rejected', reason: 'keys_unavailable', detail: 'keys_not_fetched' }]);
});
