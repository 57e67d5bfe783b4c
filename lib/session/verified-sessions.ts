import { hash } from 'node:crypto';

import { LRUCache } from 'lru-cache';

import type { SessionPayload } from './payload.js';
import type { SessionProfile } from './profile.js';

/** A session whose access token was verified: what a request needs to know of it, ready to hand. */
export interface VerifiedSession {
  readonly payload: SessionPayload;
  readonly profile: SessionProfile;
  readonly expiresAtMs: number;
  /** From here on the token is refreshed ahead of its expiry. */
  readonly refreshFromMs: number;
  /** From here on a visit is noted in a new seal, where idle time is limited. */
  readonly noteUseFromMs: number;
  /** From here on the access token is looked at again. */
  readonly verifiedUntilMs: number;
  /** Whether the seal that this one replaced was released: the browser has this one. */
  predecessorReleased: boolean;
  /** The version of the ledger at which it was found to be good; -1 for none. */
  goodAtVersion: number;
  /** The hash of the seal by which it is remembered; empty until it is. */
  sealHash: string;
}

/** What is remembered of seals: verified sessions, and which seals have come. The least recently used go first. */
export interface VerifiedSessions {
  readonly get: (sealed: string) => VerifiedSession | undefined;
  /** Remembers a session by a seal that was made here and is on its way to the browser. */
  readonly set: (sealed: string, session: VerifiedSession) => void;
  /**
   * Notes that a seal has come. The session is remembered when the seal comes back: most visitors who come once do not
   * come again, and as sessions they would push out those who do.
   *
   * @returns whether its predecessor can be released: once for each seal, at its first return. A seal made here returns
   *   with its first visit.
   */
  readonly noteVisit: (sealed: string, session: VerifiedSession) => boolean;
}

// Comparing a seal takes a twentieth of the time of hashing it, and most requests follow another of the same browser.
// But a seal is nearly as large as all else that is remembered of its session.
const maxWholeSeals = 250;

/**
 * @param max how many seals are remembered
 * @param keepsSessions `false` remembers only which seals have come
 */
export function verifiedSessions(max: number, { keepsSessions = true } = {}): VerifiedSessions {
  const remembered = new LRUCache<string, VerifiedSession | 'seen' | 'released'>({ max });
  // The seals themselves, of those who came last.
  const wholeSeals = new LRUCache<string, string>({ max: Math.min(max, maxWholeSeals) });
  // The end of a seal is as random as a hash, so it finds the entry. A seal that was tampered with may have the same end,
  // so the hash of the whole confirms it. V8 copies a text of twelve characters and does not retain the whole header.
  const endOf = (sealed: string) => sealed.slice(-12);
  const hashOf = (sealed: string) => hash('sha256', sealed, 'binary');

  function set(sealed: string, session: VerifiedSession): void {
    const end = endOf(sealed);
    wholeSeals.delete(end);
    if (keepsSessions) session.sealHash = hashOf(sealed);
    remembered.set(end, keepsSessions ? session : 'seen');
  }

  function get(sealed: string): VerifiedSession | undefined {
    const end = endOf(sealed);
    const session = remembered.get(end);
    if (typeof session !== 'object') return undefined;
    const whole = wholeSeals.get(end);
    if (whole !== undefined) return whole === sealed ? session : undefined;
    if (session.sealHash !== hashOf(sealed)) return undefined;
    // A copy: as it came, it is a part of the whole `Cookie` header and would keep that in memory.
    wholeSeals.set(end, Buffer.from(sealed).toString());
    return session;
  }

  function noteVisit(sealed: string, session: VerifiedSession): boolean {
    const end = endOf(sealed);
    const before = remembered.get(end);
    if (before === undefined) {
      remembered.set(end, 'seen');
      return false;
    }
    const isFirstReturn = before === 'seen' || (typeof before === 'object' && !before.predecessorReleased);
    session.predecessorReleased = true;
    if (keepsSessions) set(sealed, session);
    else remembered.set(end, 'released');
    return isFirstReturn;
  }

  return { get, set, noteVisit };
}
