import type { WhyUnavailable } from '../errors.js';
import type { SessionPayload } from '../session/payload.js';
import type { SessionProfile } from '../session/profile.js';
import type { Via } from '../session/via.js';
import type { Reason, RetryableReason } from '../session/reasons.js';
import type { VerifiedSession } from '../session/verified-sessions.js';

/** What a request knows of its session. */
export type SessionState = SignedIn | SignedOut;

/** How a request without a seal says who it is. */
export type ViaToken = Extract<Via, 'bearer' | 'apiKey'>;

export interface SignedIn {
  readonly signedIn: true;
  readonly payload: SessionPayload;
  readonly profile: SessionProfile;
  readonly expiresAtMs: number;
  readonly refreshed: boolean;
  /** Set where the claims have expired, and serve because the provider cannot be asked. */
  readonly stale: StaleBecause | undefined;
  /** Set where no seal has said it. Then a cookie beside it counts for nothing. */
  readonly via?: ViaToken | undefined;
}

/** Why claims could not be refreshed. */
export interface StaleBecause extends WhyUnavailable {
  readonly reason: RetryableReason;
}

export interface SignedOut {
  readonly signedIn: false;
  readonly reason: Reason;
  /** What is known of it, where the reason is retryable. */
  readonly why?: WhyUnavailable | undefined;
  /** What the seal held, where it could be opened: enough to sign out properly. */
  readonly payload?: SessionPayload | undefined;
  /** Set where it is no seal that was not accepted. */
  readonly via?: ViaToken | undefined;
}

export function signedIn({ payload, profile, expiresAtMs }: VerifiedSession, refreshed = false): SignedIn {
  return { signedIn: true, payload, profile, expiresAtMs, refreshed, stale: undefined };
}

/** Not signed in. The payload is that of a seal that could be opened. */
export function signedOut(reason: Reason, payload?: SessionPayload): SignedOut {
  return { signedIn: false, reason, payload };
}

/** It cannot be known now whether the session is good. */
export function undecided(reason: RetryableReason, payload: SessionPayload, why?: WhyUnavailable): SignedOut {
  return { signedIn: false, reason, why, payload };
}

/** Whether the seals of a request count: not beside a token, and not from another origin. */
export function hasSeals(state: SessionState): boolean {
  return state.via === undefined && (state.signedIn || state.reason !== 'cross_origin_request');
}
