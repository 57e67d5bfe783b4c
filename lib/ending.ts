import { LRUCache } from 'lru-cache';

import { type Ending, hasEnded, keysOfNames, type SessionNames, sessionNames } from './fleet/ledger.js';
import type { LifeSettings } from './options/config.js';
import type { TokenRequest } from './provider/provider.js';
import { sharedToken } from './refresh/refresh.js';
import { sessionKey } from './refresh/token-key.js';
import type { SessionPayload } from './session/payload.js';
import type { SessionClaims } from './session/profile.js';
import { unverifiedClaims } from './session/unverified-claims.js';
import { send } from './wire/token-endpoint.js';

/** How sessions end: what the ledger is told of them, and what is revoked at the provider. */
export type Endings = ReturnType<typeof createEndings>;

export interface EndOptions {
  /** The session that takes the place of the one that ends. Names that both have are not ended. */
  readonly except?: SessionPayload | undefined;
  /**
   * What is revoked at the provider. `now`; `after log-out` where the browser is being sent to the provider's log-out page;
   * `nothing` where a sign-in of the same user takes the place of the session.
   */
  readonly revoke: 'now' | 'after log-out' | 'nothing';
}

// The shortest time that an ending is remembered: longer than any request runs.
const shortestMs = 60 * 60_000;

// How long an ending is remembered while a refresh token may still be good: as long as a browser keeps the cookie.
const longestMs = 400 * 24 * 60 * 60_000;

// The log-out page of a provider that revokes sessions must find the session still there.
const afterLogOutMs = 10_000;

// A session has as many successors at most as fit into the time that they are remembered.
const maxSuccessors = 100;

/** Makes the ends of sessions from the options that they read. */
export function createEndings(settings: LifeSettings) {
  const { provider, fleet, lifetimes, clockToleranceSeconds, staleMs, refresh } = settings;
  const { coordinator, ledger } = fleet;
  // Sessions past their lifetime that were revoked here.
  const revokedOnce = new LRUCache<string, true>({ max: 10_000 });

  const namesByPayload = new WeakMap<SessionPayload, SessionNames>();

  /** The ledger's names of a session. Kept for each payload: deriving them costs two HMACs, and they are asked often. */
  function namesOf(payload: SessionPayload): SessionNames {
    const known = namesByPayload.get(payload);
    if (known) return known;
    const names = sessionNames(provider, payload, () => sidOf(payload));
    namesByPayload.set(payload, names);
    return names;
  }

  function isSignedOut(...payloads: readonly SessionPayload[]): boolean {
    return !ledger.isEmpty() && hasEnded(ledger, payloads.map(namesOf));
  }

  /** Whether a sign-in of the same user has taken the place of one of these. */
  function isReplaced(...payloads: readonly SessionPayload[]): boolean {
    return payloads.some((payload) => ledger.endingOf(namesOf(payload))?.isReplaced === true);
  }

  /** Asks the rest of the fleet, if there is one, whether these sessions have ended. Never rejects. */
  function learn(...payloads: readonly SessionPayload[]): Promise<void> {
    return ledger.learn(payloads.map(namesOf));
  }

  /**
   * Ends sessions with every successor that is known: here, in the fleet, and at the provider. Resolves when the fleet was
   * told, or could not be. Nothing waits for the provider.
   */
  async function end(payloads: readonly SessionPayload[], { except, revoke }: EndOptions): Promise<void> {
    const isReplacement = revoke === 'nothing';
    // First of all what is at hand: a request that is under way must not get through meanwhile.
    await Promise.all(payloads.map((payload) => remember([payload], { except, isReplacement })));
    const families = await Promise.all(payloads.map(familyOf));
    const grown = families.filter((family) => family.length > 1);
    await Promise.all(grown.map((family) => remember(family, { except, isReplacement })));
    if (!isReplacement) void revokeThem(families, revoke === 'after log-out' ? afterLogOutMs : 0, except);
  }

  /** Ends what is left of a session at the provider that is past its lifetime: once, however often its seal comes. */
  function revokePastLifetime(payload: SessionPayload): void {
    const key = keysOfNames(namesOf(payload))[0] ?? '';
    if (revokedOnce.has(key)) return;
    revokedOnce.set(key, true);
    void familyOf(payload).then((family) => revokeAll(family));
  }

  /** A session and those that followed it, as far as they are known here or in the fleet. */
  async function familyOf(payload: SessionPayload): Promise<readonly SessionPayload[]> {
    const family = [payload];
    // Where refresh tokens are not rotated, the chain may lead back to where it began.
    const seen = new Set([payload.accessToken]);
    let last = await successorOf(payload);
    while (last && !seen.has(last.accessToken) && family.length < maxSuccessors) {
      seen.add(last.accessToken);
      family.push(last);
      last = await successorOf(last);
    }
    return family;
  }

  async function successorOf(payload: SessionPayload): Promise<SessionPayload | undefined> {
    const { refreshToken } = payload;
    if (refreshToken === undefined) return undefined;
    return (await coordinator.findSuccessor(sharedToken(refresh, { ...payload, refreshToken })))?.payload;
  }

  /** Tells the ledger that a family has ended. */
  function remember(
    family: readonly SessionPayload[],
    { except, isReplacement, isAlive = provider.revocationRequest === undefined }: RememberOptions,
  ): Promise<void> {
    const kept = new Set(except ? keysOfNames(namesOf(except)) : []);
    const keys = [...new Set(family.flatMap((payload) => keysOfNames(namesOf(payload))))];
    const userId = userIdOf(family[0]);
    return ledger.end({
      keys: keys.filter((key) => !kept.has(key)),
      atMs: Date.now(),
      untilMs: rememberUntilMs(family, isAlive),
      userKey: userId === undefined ? undefined : sessionKey(provider, userId),
      isReplaced: isReplacement,
    } satisfies Ending);
  }

  /**
   * Until when a family must be remembered: until its last access token has expired, counting those that a refresh may be
   * bringing just now. While a refresh token may be alive, until no seal of the session could be good any more.
   */
  function rememberUntilMs(family: readonly SessionPayload[], isAlive: boolean): number {
    const nowMs = Date.now();
    const lastsMs = Math.max(...family.map((payload) => tokenLifetimeMs(payload, nowMs)));
    const graceMs = refresh.timeoutMs + clockToleranceSeconds * 1000 + staleMs;
    // No token is believed to live longer than a cookie.
    const shortMs = Math.min(
      nowMs + longestMs,
      Math.max(
        nowMs + shortestMs,
        ...family.map((payload) => tokenEndMs(payload) + graceMs),
        nowMs + lastsMs + graceMs,
      ),
    );
    if (!isAlive || family.every(({ refreshToken }) => refreshToken === undefined)) return shortMs;
    const startedMs = Math.min(...family.map(({ startedAt }) => (startedAt === undefined ? nowMs : startedAt * 1000)));
    return Math.max(shortMs, Math.min(nowMs + longestMs, startedMs + lifetimes.absoluteMs));
  }

  /** Revokes families, and remembers for longer those of which something may be left. */
  async function revokeThem(
    families: readonly (readonly SessionPayload[])[],
    afterMs: number,
    except: SessionPayload | undefined,
  ): Promise<void> {
    // Only the revocation of a whole session can come too early for the log-out page.
    if (afterMs > 0 && provider.revokesSession) await idle(afterMs);
    // A session and its successor may both have come: each thing is revoked once.
    const asked = new Map<string, Promise<boolean>>();
    for (const family of families) {
      if (await revokeAll(family, except, asked)) continue;
      await remember(family, { except, isReplacement: false, isAlive: true });
    }
  }

  /**
   * Revokes what a family holds at the provider, where that can be done without the browser.
   *
   * @returns whether nothing of it is left there
   */
  async function revokeAll(
    family: readonly SessionPayload[],
    except?: SessionPayload,
    asked = new Map<string, Promise<boolean>>(),
  ): Promise<boolean> {
    const kept = except && revokedBy(except);
    const answers = await Promise.all(
      family.map((payload) => {
        const target = revokedBy(payload);
        if (target === undefined || target === kept) return Promise.resolve(true);
        const answer = asked.get(target) ?? revokeOne(payload);
        asked.set(target, answer);
        return answer;
      }),
    );
    return answers.every(Boolean);
  }

  /** What names the thing at the provider that is revoked with this payload. */
  function revokedBy(payload: SessionPayload): string | undefined {
    return (provider.revokesSession ? sidOf(payload) : undefined) ?? payload.refreshToken;
  }

  async function revokeOne(payload: SessionPayload): Promise<boolean> {
    const { refreshToken } = payload;
    if (refreshToken === undefined) return true;
    try {
      const request = await provider.revocationRequest?.({
        refreshToken,
        sessionId: sidOf(payload),
      });
      return request !== undefined && (await sendRevocation(request));
    } catch {
      // The provider cannot be asked. Its own log-out page ends the session, or its expiry does.
      return false;
    }
  }

  async function sendRevocation(request: TokenRequest): Promise<boolean> {
    const answer = await send(request, { timeoutMs: refresh.timeoutMs, mayRepeat: true });
    if (answer.kind === 'unanswered') return false;
    const { status } = answer;
    if (status >= 200 && status < 300) return true;
    // A session that the log-out page has ended is not there any more. RFC 7009 has no such answer for a token.
    return provider.revokesSession === true && [400, 404, 409, 410, 422].includes(status);
  }

  return { namesOf, isSignedOut, isReplaced, learn, end, revokePastLifetime, revokeAll };
}

interface RememberOptions {
  readonly except: SessionPayload | undefined;
  readonly isReplacement: boolean;
  /** Whether a refresh token of the family may still be good at the provider. */
  readonly isAlive?: boolean;
}

/** The provider's own id of a session. */
function sidOf({ accessToken }: SessionPayload): string | undefined {
  const { sid } = unverifiedClaims(accessToken);
  return typeof sid === 'string' && sid !== '' ? sid : undefined;
}

/** Whose session it is. A seal without a user holds a token that names one. */
export function userIdOf(payload: SessionPayload | undefined): string | undefined {
  if (!payload) return undefined;
  if (payload.user?.id !== undefined) return payload.user.id;
  const { sub } = unverifiedClaims(payload.accessToken);
  return typeof sub === 'string' ? sub : undefined;
}

/** When an access token expires. A JWT says so itself; of an opaque one the seal does. */
export function tokenEndMs({ accessToken, expiresAt = 0 }: SessionPayload): number {
  return Math.max(secondsOf(unverifiedClaims(accessToken), 'exp') * 1000, expiresAt);
}

/** For how long such access tokens are good. */
function tokenLifetimeMs(payload: SessionPayload, nowMs: number): number {
  const issuedMs = secondsOf(unverifiedClaims(payload.accessToken), 'iat') * 1000;
  const sinceMs =
    issuedMs || (payload.refreshedAt ?? (payload.startedAt === undefined ? nowMs : payload.startedAt * 1000));
  return Math.max(0, tokenEndMs(payload) - sinceMs);
}

function secondsOf(claims: SessionClaims, name: 'exp' | 'iat'): number {
  const value = claims[name];
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}

/** Waits, without keeping the process alive for it. */
function idle(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
