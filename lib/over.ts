import type { Endings } from './ending.js';
import type { LifeSettings } from './options/config.js';
import type { createReports } from './reports.js';
import { ceilingMs } from './session/ceiling.js';
import { endsAtMs, type SessionPayload } from './session/payload.js';
import type { PassedLimit } from './session/reasons.js';
import { idOf } from './session/unverified-claims.js';

/** Why a session is over: it was signed out or ended somewhere, or it is past its lifetime. */
export type Over = 'session_revoked' | 'session_expired';

type Reports = Pick<ReturnType<typeof createReports>, 'refused'>;

/** The first rule of a session's life, asked at every door: is it over, as far as this process knows? */
export function createOverRule({ lifetimes, emit }: LifeSettings, endings: Endings, reports: Reports) {
  function whyOver(payload: SessionPayload): Over | undefined {
    if (endings.isOver(payload)) {
      reports.refused(payload, 'session_revoked', 'ended');
      return 'session_revoked';
    }
    if (endsAtMs(payload, lifetimes) > Date.now()) return undefined;
    // How long the session lay idle, another seal of it may know better. When it began, each seal knows.
    if (isTooOld(payload) && endings.revokePastLifetime(payload)) {
      emit('ended', { sessionId: idOf(payload), cause: 'lifetime' });
    }
    reports.refused(payload, 'session_expired', passedLimit(payload));
    return 'session_expired';
  }

  function passedLimit(payload: SessionPayload): PassedLimit {
    if (ceilingMs(payload.sessionExpiry ?? Infinity) <= Date.now()) return 'provider_lifetime';
    return isTooOld(payload) ? 'absolute_lifetime' : 'idle_lifetime';
  }

  function isTooOld({ startedAt }: SessionPayload): boolean {
    return endsAtMs({ accessToken: '', startedAt }, lifetimes) <= Date.now();
  }

  return whyOver;
}
