import { LRUCache } from 'lru-cache';

import type { LedgerEntry } from './fleet/ledger.js';
import { createNaming, userIdOf } from './fleet/session-names.js';
import type { LifeSettings } from './options/config.js';
import { createAllowance } from './refresh/allowance.js';
import { createRevocation } from './revocation.js';
import { confirmedAtMs, secondsIn } from './session/beginning.js';
import type { SessionPayload } from './session/payload.js';
import { unverifiedClaims } from './session/unverified-claims.js';

/** How sessions end: what the ledger is told of them, and what it says of them. */
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

// The log-out page of a provider that revokes sessions must find the session still there.
const afterLogOutMs = 10_000;

// One user's sign-outs in an hour. Beyond it, all of their sessions are over by one entry: in a loop, somebody could fill
// the ledger and push the endings of others out.
const perUser = { times: 100, windowMs: 60 * 60_000 };

/** Makes the ends of sessions from the options that they read. */
export function createEndings(settings: LifeSettings) {
  const { provider, fleet, lifetimes, clockToleranceSeconds, staleMs, refresh } = settings;
  const { ledger } = fleet;
  const naming = createNaming(provider, refresh.passwords);
  const revocation = createRevocation(settings);
  // Sessions that have ended by themselves, and were told of: their seals may come often.
  const endedOnce = new LRUCache<string, true>({ max: 10_000 });
  const takeTurn = createAllowance(perUser);
  const graceMs = refresh.timeoutMs + clockToleranceSeconds * 1000 + staleMs;
  let longestTokenMs = 0;

  // What the ledger says.

  /** Whether one of these has ended, or must be refreshed and cannot be. */
  function isOver(...payloads: readonly SessionPayload[]): boolean {
    return !ledger.isEmpty() && payloads.some((payload) => isEnded(payload) || cannotBeConfirmed(payload));
  }

  function isEnded(payload: SessionPayload): boolean {
    return ledger.endingOf(naming.of(payload)) !== undefined;
  }

  /** Whether a session must be refreshed before it is served. */
  function mustRefresh(payload: SessionPayload): boolean {
    return !ledger.isEmpty() && confirmedAtMs(payload) < ledger.freshFromMs(naming.of(payload));
  }

  /** Whether there is nothing to refresh with, or a refresh did not bring the claims: those of an ID token that never comes. */
  function cannotBeConfirmed(payload: SessionPayload): boolean {
    const { refreshToken, refreshedAt = 0 } = payload;
    if (!mustRefresh(payload)) return false;
    return refreshToken === undefined || refreshedAt >= ledger.freshFromMs(naming.of(payload));
  }

  /** Whether a sign-in of the same user has taken the place of one of these. */
  function isReplaced(...payloads: readonly SessionPayload[]): boolean {
    return payloads.some((payload) => ledger.endingOf(naming.of(payload))?.isReplaced === true);
  }

  // What it is told.

  /**
   * Ends sessions with every successor that is known: here, in the fleet, and at the provider. Resolves when the fleet was
   * told, or could not be. Nothing waits for the provider.
   */
  async function end(brought: readonly SessionPayload[], { except, revoke }: EndOptions): Promise<void> {
    const isReplaced = revoke === 'nothing';
    // A request may bring one session twice.
    const payloads = new Map(brought.map((payload) => [naming.ofEnded(payload).join(), payload])).values();
    const ended = await Promise.all(
      [...payloads].map(async (payload) => {
        const options = { except, isReplaced, isByUser: !isReplaced && isTooOften(payload) };
        // First of all what is at hand: a request that is under way must not get through meanwhile.
        await remember([payload], options);
        const family = await revocation.familyOf(payload);
        if (family.length > 1) await remember(family, options);
        return { family, options };
      }),
    );
    if (!isReplaced) void revokeThem(ended, revoke === 'after log-out' ? afterLogOutMs : 0);
  }

  function isTooOften(payload: SessionPayload): boolean {
    const userId = userIdOf(payload);
    return userId !== undefined && takeTurn(userId) > 0;
  }

  /** Whether a session that has ended by itself is seen for the first time. */
  function isFirstEnd(payload: SessionPayload): boolean {
    const [key = ''] = naming.ofEnded(payload);
    if (endedOnce.has(key)) return false;
    endedOnce.set(key, true);
    return true;
  }

  /**
   * Ends what is left of a session at the provider that is past its lifetime.
   *
   * @returns whether it was the first time
   */
  function revokePastLifetime(payload: SessionPayload): boolean {
    if (!isFirstEnd(payload)) return false;
    void revocation.familyOf(payload).then((family) => revocation.revokeAll(family));
    return true;
  }

  /** Tells the ledger that a family has ended. */
  function remember(
    family: readonly SessionPayload[],
    { except, isReplaced, isByUser, isAlive = provider.revocationRequest === undefined }: RememberOptions,
  ): Promise<boolean> {
    const kept = new Set(except ? [...naming.ofEnded(except), ...naming.of(except).shared] : []);
    const names = [...new Set(family.flatMap(naming.ofEnded))].filter((name) => !kept.has(name));
    const untilMs = isByUser ? sealsEndMs() : rememberUntilMs(family, isAlive);
    const ofUser = naming.ofUser(userIdOf(family[0]) ?? '');
    return ledger.record(entries('ended', isByUser ? ofUser : names, { atMs: Date.now(), untilMs, isReplaced }));
  }

  /**
   * Until when a family must be remembered: until its last access token has expired, counting those that a refresh may be
   * bringing just now. While a refresh token may be alive, until no seal of the session could be good any more.
   */
  function rememberUntilMs(family: readonly SessionPayload[], isAlive: boolean): number {
    const nowMs = Date.now();
    const lastsMs = Math.max(...family.map((payload) => tokenLifetimeMs(payload, nowMs)));
    const shortMs = Math.max(
      nowMs + shortestMs,
      ...family.map((payload) => tokenEndMs(payload) + graceMs),
      nowMs + lastsMs + graceMs,
    );
    // No token is believed to live longer than a seal.
    if (!isAlive || family.every(({ refreshToken }) => refreshToken === undefined)) {
      return Math.min(shortMs, nowMs + ledger.rememberMs);
    }
    const startedMs = Math.min(...family.map(({ startedAt }) => (startedAt === undefined ? nowMs : startedAt * 1000)));
    return Math.min(Math.max(shortMs, startedMs + lifetimes.absoluteMs), Math.max(shortMs, sealsEndMs()));
  }

  /** Until when the seals that there are now may be good. */
  function sealsEndMs(): number {
    return Date.now() + Math.min(lifetimes.absoluteMs, longestTokenMs + ledger.rememberMs) + graceMs;
  }

  /** Revokes families, and remembers for longer those of which something may be left. */
  async function revokeThem(
    ended: readonly { readonly family: readonly SessionPayload[]; readonly options: RememberOptions }[],
    afterMs: number,
  ): Promise<void> {
    // Only the revocation of a whole session can come too early for the log-out page.
    if (afterMs > 0 && provider.revokesSession) await idle(afterMs);
    const asked = new Map<string, Promise<boolean>>();
    for (const { family, options } of ended) {
      if (await revocation.revokeAll(family, options.except, asked)) continue;
      await remember(family, { ...options, isAlive: true });
    }
  }

  return {
    ledger,
    naming,
    revocation,
    isOver,
    mustRefresh,
    isReplaced,
    end,
    isFirstEnd,
    revokePastLifetime,
    sealsEndMs,
    /** Notes for how long access tokens are good: as long at least must an ending be remembered. */
    noteTokenLifetime: (ms: number) => {
      if (ms > longestTokenMs) longestTokenMs = ms;
    },
  };
}

interface RememberOptions {
  readonly except: SessionPayload | undefined;
  readonly isReplaced: boolean;
  /** Whether the user has ended so many that all of theirs are over by one entry. */
  readonly isByUser: boolean;
  /** Whether a refresh token of the family may still be good at the provider. */
  readonly isAlive?: boolean;
}

/** The same entry under each of these names. */
export function entries(
  kind: LedgerEntry['kind'],
  names: readonly string[],
  about: Omit<LedgerEntry, 'kind' | 'name'>,
): LedgerEntry[] {
  return names.map((name) => ({ kind, name, ...about }));
}

/** When an access token expires. A JWT says so itself; of an opaque one the seal does. */
export function tokenEndMs({ accessToken, expiresAt = 0 }: SessionPayload): number {
  return Math.max((secondsIn(unverifiedClaims(accessToken), 'exp') ?? 0) * 1000, expiresAt);
}

/** For how long such access tokens are good. */
function tokenLifetimeMs(payload: SessionPayload, nowMs: number): number {
  const issuedMs = (secondsIn(unverifiedClaims(payload.accessToken), 'iat') ?? 0) * 1000;
  const sinceMs =
    issuedMs || (payload.refreshedAt ?? (payload.startedAt === undefined ? nowMs : payload.startedAt * 1000));
  return Math.max(0, tokenEndMs(payload) - sinceMs);
}

/** Waits, without keeping the process alive for it. */
function idle(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
