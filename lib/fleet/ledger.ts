import type { Provider } from '../provider/provider.js';
import { sessionKey, tokenKey } from '../refresh/token-key.js';
import type { SessionPayload } from '../session/payload.js';

/** What has ended: the fleet's memory of sign-outs. */
export interface Ledger {
  /** Remembers an ending, here and in the fleet. An ending that shares a name with an earlier one extends it. Never rejects. */
  readonly end: (ending: Ending) => Promise<void>;
  /** The ending of a session, as far as it is known here. */
  readonly endingOf: (names: SessionNames) => Ending | undefined;
  /** Whether other processes write to it: then it can hold endings that are not known here yet. */
  readonly isShared: boolean;
  /** Whether nothing is known here to have ended: then a visitor's names need not be derived. */
  readonly isEmpty: () => boolean;
  /** Asks the rest of the fleet whether any of these has ended. In one process it resolves at once. Never rejects. */
  readonly learn: (sessions: readonly SessionNames[]) => Promise<void>;
}

/** The end of one session. */
export interface Ending {
  /** The names under which the session is found. */
  readonly keys: readonly string[];
  /** When it ended, in milliseconds. A later session may have one of the names again, and is another. */
  readonly atMs: number;
  /** Until when it must be remembered, in milliseconds. */
  readonly untilMs: number;
  /** Names the user, so that one user's endings never push another's out. */
  readonly userKey?: string | undefined;
  /**
   * Whether a sign-in of the same user took its place. At some providers both share a grant: revoking what is left of the
   * old session would end the new one.
   */
  readonly isReplaced?: boolean | undefined;
}

/** The names by which a session is known to the ledger. */
export interface SessionNames {
  /** Its own name, which no other session ever has. Absent in the seals of other writers. */
  readonly own: string | undefined;
  /** Names that a later session may have again: of the refresh token, and of the provider's session. */
  readonly shared: readonly string[];
  /** An ending of a shared name before this concerns an earlier session. Milliseconds; 0 where it is not known. */
  readonly startedMs: number;
}

/**
 * The names of a session. With an id of our own, one shared name is enough: it finds the seals of other writers who have
 * dropped that id. Where the provider revokes whole sessions, its `sid` is never used again and names them best.
 *
 * @param sid the `sid` of the access token
 */
export function sessionNames(
  provider: Provider,
  { refreshToken, sessionId, startedAt = 0 }: SessionPayload,
  sid: () => string | undefined,
): SessionNames {
  const ofToken = refreshToken === undefined ? [] : [tokenKey(provider, refreshToken)];
  const ofProvider = (id: string | undefined) => (id === undefined ? [] : [sessionKey(provider, id)]);
  // A seal of another writer says when its token was issued, which is after each refresh: its names count at any time.
  if (sessionId === undefined) return { own: undefined, shared: [...ofProvider(sid()), ...ofToken], startedMs: 0 };
  const ofSession = provider.revokesSession ? ofProvider(sid()) : [];
  return {
    own: sessionKey(provider, sessionId),
    shared: ofSession.length > 0 ? ofSession : ofToken,
    // It is sealed in whole seconds: what ended within that second was the session before.
    startedMs: startedAt * 1000 + 1_000,
  };
}

/** All names of a session. */
export function keysOfNames({ own, shared }: SessionNames): readonly string[] {
  return own === undefined ? shared : [own, ...shared];
}

/** Whether any of these sessions is known to have ended. */
export function hasEnded(ledger: Ledger, sessions: readonly SessionNames[]): boolean {
  return sessions.some((names) => ledger.endingOf(names) !== undefined);
}

/** The names that are not known here to have ended. */
export function unknownKeys(ledger: Ledger, sessions: readonly SessionNames[]): readonly string[] {
  return [...new Set(sessions.filter((names) => !ledger.endingOf(names)).flatMap(keysOfNames))];
}
