import type { SessionPayload, SessionProfile } from '../session.js';

/** A session whose access token was verified: what a request needs to know of it, ready to hand. */
export interface VerifiedSession {
  readonly payload: SessionPayload;
  readonly profile: SessionProfile;
  readonly expiresAtMs: number;
  /** From here on the token is to be renewed ahead of its expiry. */
  readonly renewFromMs: number;
  /** From here on its last use is to be noted anew. */
  readonly touchFromMs: number;
  /** From here on it is to be verified anew, whatever it says. */
  readonly verifiedUntilMs: number;
  /** The names under which the session may have ended. */
  readonly names: readonly string[];
  /** Whether a browser has come with it. */
  claimed: boolean;
}
