import { type Endings, entries } from './ending.js';
import type { LedgerEntry } from './fleet/ledger.js';
import { userIdOf } from './fleet/session-names.js';
import type { LifeSettings } from './options/config.js';
import type { EndCause, ForceRefreshTarget, RevokeTarget } from './session/ended.js';
import type { SessionPayload } from './session/payload.js';

/** What ends sessions that are not at hand, and what has them refreshed. */
export type Revoking = ReturnType<typeof createRevoking>;

/** Which sessions, by what the app or the provider knows of them. */
export type Named = RevokeTarget | { readonly sid: string };

export interface RevokeOptions {
  readonly cause: EndCause;
  readonly atMs?: number | undefined;
}

/** Makes what ends sessions by their names. */
export function createRevoking({ emit }: LifeSettings, { naming, ledger, revocation, sealsEndMs }: Endings) {
  /**
   * Ends sessions that are not at hand, in the whole fleet. With a name that later sessions may have again, those end that
   * began before `atMs`. Resolves to whether the fleet was told: if not, it is told later.
   *
   * @param atMs when they ended. A provider that says whole seconds means the end of that second. Default: now
   */
  async function revoke(which: Named, { cause, atMs }: RevokeOptions): Promise<boolean> {
    // By the clock of another machine, a moment that is still to come here would end sessions that do not exist yet.
    const endedMs = Math.min(atMs ?? Date.now(), Date.now());
    const isTold = await ledger.record(entries('ended', namesOf(which), { atMs: endedMs, untilMs: sealsEndMs() }));
    if (cause === 'revoked' && 'sessionId' in which) revocation.revokeSid(which.sessionId);
    const { sessionId, userId, everyone } = { ...which, ...('sid' in which && { sessionId: which.sid }) } as {
      sessionId?: string;
      userId?: string;
      everyone?: true;
    };
    emit('ended', { sessionId, userId, everyone, cause });
    return isTold;
  }

  /** Ends every session of the users of these. */
  async function signOutEverywhere(payloads: readonly SessionPayload[]): Promise<void> {
    const userIds = new Set(payloads.flatMap((payload) => userIdOf(payload) ?? []));
    await Promise.all([...userIds].map((userId) => revoke({ userId }, { cause: 'signed_out_everywhere' })));
  }

  /**
   * Has sessions refreshed before they are served again. Resolves to whether the fleet was told.
   *
   * @param fromMs what was confirmed from then on is new enough
   */
  function forceRefresh(which: ForceRefreshTarget | { readonly sid: string }, fromMs = Date.now()): Promise<boolean> {
    const about: Omit<LedgerEntry, 'kind' | 'name'> = { atMs: fromMs, untilMs: sealsEndMs() };
    return ledger.record(entries('refresh', namesOf(which), about));
  }

  /** What is shown as a session's id is the provider's, or our own. */
  function namesOf(which: Named): readonly string[] {
    if ('sid' in which) return naming.ofSid(which.sid);
    if ('sessionId' in which) return [...naming.ofSession(which.sessionId), ...naming.ofSid(which.sessionId)];
    return 'userId' in which ? naming.ofUser(which.userId) : naming.everyone;
  }

  return {
    revoke,
    signOutEverywhere,
    forceRefresh,
    /** Notes that a token of this `jti` has come: true for the first time, false afterwards, undefined when it cannot be told. */
    firstSight: (jti: string, untilMs: number) => ledger.firstSight(naming.ofToken(jti), untilMs),
  };
}
