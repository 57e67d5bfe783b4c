import type { IncomingMessage, ServerResponse } from 'node:http';

import { isLoopback } from '../checks.js';
import { defaultRetryAfterSeconds, SessionConfigError, type SessionUnavailableError } from '../errors.js';
import { attachedSession, attachSession } from './attached.js';
import { isPrefetch } from '../http/navigation.js';
import { RequestSession, type Standing } from './session-object.js';
import { type Exchange, keepPrivate, readSeals } from '../http/carrier.js';
import { type Config, resolveOptions } from '../options/config.js';
import { nameOf } from '../refresh/coordinator.js';
import type { Renewal } from '../refresh/refresh.js';
import { type Middleware, type Next, requireSession, unavailable } from './guard.js';
import { isRetryable, profileOf, type SessionPayload, type TerminalReason } from '../session/payload.js';
import {
  anonymous,
  deferred,
  dropSession,
  keepSession,
  reportRejected,
  sealAgain,
  sessionActions,
  signedIn,
  standingAfter,
  undecided,
} from './actions.js';
import {
  hasEnded,
  isOver,
  isStillVerified,
  openSession,
  renewSession,
  reportRenewal,
  verifiedSession,
} from '../lifecycle.js';
import type { SessionOptions } from '../options/session-options.js';
import { checkAccessToken, issuedAtMs, type TokenCheck } from '../token/access-token.js';
import type { VerifiedSession } from '../session/verified-sessions.js';

/**
 * The session of each request, on `req.session`: the cookie is opened, its access token checked, an expired one
 * renewed and the new cookie put on the response, all before the next handler runs.
 *
 * @throws {SessionConfigError} with everything that is wrong with the options
 */
export function withSession(options: SessionOptions): Middleware {
  const config = resolveOptions(options);
  const actions = sessionActions(config);
  const guard = config.required && requireSession(config.required);
  const origin = `${config.provider.id} ${config.transport.cookie.name}`;

  return function sessionMiddleware(req, res, next) {
    const pass: Next = (error) => {
      if (error !== undefined || !guard) next(error);
      else guard(req, res, next);
    };
    const arrive = (standing: Standing) => {
      attachSession(req, config.property, new RequestSession(standing, actions, { req, res }, origin));
      if (standing.signedIn) keepPrivate(res, config.transport);
      pass(refusal(config, res, standing));
    };

    let standing: Standing | Promise<Standing>;
    try {
      const attached = attachedSession(req, config.property, origin);
      if (attached) {
        // Mounted twice, the work is done once; a guard asks all the same, and asks this session.
        attachSession(req, config.property, attached);
        pass();
        return;
      }
      refuseInsecureHost(config, req);
      standing = findStanding({ config, req, res });
    } catch (error) {
      next(error);
      return;
    }
    if (!(standing instanceof Promise)) {
      arrive(standing);
      return;
    }
    // Express 4 and Connect do not catch a rejection: one that escaped would end the process. The rest of the app
    // runs outside the promise, so that what a handler throws is not taken for ours.
    standing.then(
      (found) => {
        process.nextTick(arrive, found);
      },
      (error: unknown) => {
        process.nextTick(next, error);
      },
    );
  };
}

interface Visit extends Exchange {
  readonly config: Config;
}

/** What a request brought, opened. */
interface OpenedCookie {
  readonly sealed: string;
  readonly payload: SessionPayload;
}

type Expired = Extract<TokenCheck, { verdict: 'expired' }>;

/**
 * The request's way: what its cookie is worth, and what is done about it. A visitor of whom all is at hand, as of almost
 * all, goes through without waiting for anything; promises begin where something must be asked for.
 */
function findStanding(visit: Visit): Standing | Promise<Standing> {
  const { config, req } = visit;

  // 1. The cookie, and whether it was verified a moment ago.
  const seals = readSeals(req, config.transport);
  if (seals.length === 0) return anonymous('no_session_cookie_provided');
  const known = knownVisitor(config, seals);
  if (known) return signedIn(known);

  // 2. What it holds.
  const opened = openNewest(config, seals);
  // Left alone: a wrong password in one deploy must not sign everybody out. The next sign-in replaces it.
  if (!opened) return anonymous('invalid_session_cookie');
  const { payload } = opened;
  if (hasEnded(config, payload)) return anonymous('session_revoked');
  if (isOver(config, payload)) {
    config.emit('rejected', { reason: 'invalid_session_cookie', detail: 'expired_seal' });
    dropSession(config, visit, payload);
    return anonymous('invalid_session_cookie', payload);
  }

  // 3. The access token in it.
  const check = checkAccessToken(config.provider, payload, config);
  return check instanceof Promise ? check.then((found) => act(visit, opened, found)) : act(visit, opened, check);
}

/** What follows from the access token. */
function act(visit: Visit, { payload, sealed }: OpenedCookie, check: TokenCheck): Standing | Promise<Standing> {
  const { config } = visit;
  switch (check.verdict) {
    case 'valid': {
      const session = verifiedSession(config, payload, check);
      // What was renewed here is known from the start, and claimed as such. What is new here is claimed if it comes again.
      const isNew = config.verified?.setIfSeen(sealed, session) === false;
      return goOn(visit, isNew ? session : claim(config, session));
    }
    case 'expired':
      return renewExpired(visit, payload, check);
    case 'invalid':
      // Neither renewed nor cleared: a wrong `issuer` in the options would spend every session that comes by.
      reportRejected(config, check);
      return anonymous(check.reason, payload);
    case 'unknown':
      // The key server is away. That says nothing about the token; a refresh would make a storm of it.
      return undecided(config, check, payload);
  }
}

/** 4. The token is good. Now and then something is to be written all the same, unless this is not a visit. */
function goOn(visit: Visit, session: VerifiedSession): Standing | Promise<Standing> {
  const nowMs = Date.now();
  const isDue = nowMs >= session.renewFromMs || nowMs >= session.touchFromMs;
  if (!isDue || !mayTouch(visit.config, visit.req)) return signedIn(session);
  return nowMs >= session.renewFromMs ? renewAhead(visit, session) : noteUse(visit, session);
}

/** Close to the token's expiry one request renews it; the others go on with what they have. */
async function renewAhead(visit: Visit, session: VerifiedSession): Promise<Standing> {
  const { config } = visit;
  const renewal = await renewSession(config, session.payload, { wait: false });
  if (renewal.kind === 'refreshed') return acceptRenewal(visit, session.payload, renewal, { ahead: true });
  if (renewal.kind === 'terminal') return endSession(visit, session.payload, renewal.reason);
  return signedIn(session);
}

/** 5. The token has expired. Everyone with this cookie waits for the one refresh. */
async function renewExpired(visit: Visit, payload: SessionPayload, check: Expired, hops = 0): Promise<Standing> {
  const { config } = visit;
  if (payload.refreshToken === undefined) return anonymous('expired_jwt', payload);
  const renewal = await renewSession(config, payload);
  switch (renewal.kind) {
    case 'refreshed':
      return acceptRenewal(visit, payload, renewal, { hops });
    case 'terminal':
      return endSession(visit, payload, renewal.reason);
    case 'transient':
      return serveStale(config, payload, check) ?? deferred(renewal.reason, renewal.retryAfterSeconds, payload);
    case 'elsewhere':
      return deferred('server_error', undefined, payload);
  }
}

/** 6. The new cookie goes on the response first, then the new token is checked: nothing loses what was rotated. */
async function acceptRenewal(
  visit: Visit,
  previous: SessionPayload,
  renewal: Extract<Renewal, { kind: 'refreshed' }>,
  { ahead = false, hops = 0 } = {},
): Promise<Standing> {
  const { config } = visit;
  const { payload, sealed, source } = renewal;
  keepSession(config, visit, payload, sealed, previous);
  // A successor that was kept for a while may have expired in turn. A new one that has, is a wrong clock.
  if ((source === 'remembered' || source === 'fleet') && hops < maxHops) {
    const check = await checkAccessToken(config.provider, payload, config);
    if (check.verdict === 'expired') return renewExpired(visit, payload, check, hops + 1);
  }
  reportRenewal(config, renewal, ahead);
  return standingAfter(config, payload, sealed);
}

// How many generations an old cookie may be behind: more than fit into the time that successors are remembered.
const maxHops = 100;

/** Where `idleSeconds` limits the session: seals when it was last used, now and then. */
async function noteUse(visit: Visit, session: VerifiedSession): Promise<Standing> {
  const { config } = visit;
  const payload = { ...session.payload, usedAt: Math.trunc(Date.now() / 1000) };
  keepSession(config, visit, payload, await sealAgain(config, payload));
  return signedIn({ ...session, payload });
}

/** Whether this request is a visit, as far as the provider's clock of inactivity is concerned. */
function mayTouch({ touch }: Config, req: IncomingMessage): boolean {
  return req.method !== 'OPTIONS' && !isPrefetch(req) && touch(req);
}

/** The provider has ended the session: there is nothing to come back to. */
function endSession(visit: Visit, payload: SessionPayload, reason: TerminalReason): Standing {
  dropSession(visit.config, visit, payload);
  return anonymous(reason, payload);
}

function knownVisitor(config: Config, seals: readonly string[]): VerifiedSession | undefined {
  const { verified } = config;
  let session: VerifiedSession | undefined;
  if (verified && isOneCookie(seals)) for (const seal of seals) session ??= verified.get(seal);
  if (!session || !isStillVerified(config, session)) return undefined;
  const nowMs = Date.now();
  return nowMs < session.renewFromMs && nowMs < session.touchFromMs ? claim(config, session) : undefined;
}

/** Of several cookies each is to be looked at. The runs of one cookie's pieces are not several. */
function isOneCookie(seals: readonly string[]): boolean {
  return seals.length === 1 || seals.every((run) => seals[0]?.startsWith(run));
}

/** Of the seals that open, the one with the newest token: a browser may send several of one name. */
function openNewest(config: Config, seals: readonly string[]): OpenedCookie | undefined {
  const problems: string[] = [];
  let newest: (OpenedCookie & { issuedAt: number }) | undefined;
  for (const sealed of seals.slice(0, maxSeals)) {
    const opened = openSession(config, sealed);
    if (!opened.ok) {
      problems.push(opened.problem);
      continue;
    }
    const issuedAt = seals.length === 1 ? 0 : issuedAtMs(opened.payload.accessToken);
    if (!newest || issuedAt > newest.issuedAt) newest = { sealed, payload: opened.payload, issuedAt };
  }
  if (!newest) config.emit('rejected', { reason: 'invalid_session_cookie', detail: problems[0] ?? '' });
  return newest;
}

// More than an honest browser sends. Opening one costs some 30 microseconds.
const maxSeals = 10;

/** The browser has this cookie now, so the one before it need not be kept for it any longer. */
function claim(config: Config, session: VerifiedSession): VerifiedSession {
  if (session.claimed) return session;
  session.claimed = true;
  const { refreshToken } = session.payload;
  if (refreshToken !== undefined) config.coordinator.claim(nameOf(config.provider, refreshToken));
  return session;
}

/** With `onTransient: 'stale'`: the claims of a token that has expired and cannot be renewed just now. */
function serveStale(config: Config, payload: SessionPayload, { claims, expiresAtMs }: Expired): Standing | undefined {
  if (config.onTransient !== 'stale' || claims === undefined || expiresAtMs === undefined) return undefined;
  if (Date.now() > expiresAtMs + config.staleMs) return undefined;
  return { signedIn: true, payload, profile: profileOf(payload, claims), expiresAtMs, refreshed: false, stale: true };
}

/** With `onTransient: 'error'`: no route runs while it cannot be known who is there. */
function refusal(
  { onTransient }: Config,
  res: ServerResponse,
  standing: Standing,
): SessionUnavailableError | undefined {
  if (onTransient !== 'error' || standing.signedIn || !isRetryable(standing.reason)) return undefined;
  return unavailable(res, standing.reason, standing.retryAfterSeconds ?? defaultRetryAfterSeconds);
}

/** A cookie without `Secure` is for development: on any other host the network could read it. */
function refuseInsecureHost({ transport: { cookie } }: Config, req: IncomingMessage): void {
  if (cookie.secure || isLoopback((req.headers.host ?? '').replace(/:\d+$/, ''))) return;
  throw new SessionConfigError([
    {
      path: 'cookie.secure',
      message: 'can be false for localhost, 127.0.0.1 and [::1] only. Leave it out here, and serve https.',
    },
  ]);
}
