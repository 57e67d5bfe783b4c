import { hash } from 'node:crypto';

import { LRUCache } from 'lru-cache';

import type { SessionPayload, SessionProfile } from './payload.js';

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
  /** Whether a browser has come with it. */
  claimed: boolean;
}

/** Sessions that were verified, by their seals; the least recently used go first. */
export interface VerifiedSessions {
  readonly get: (sealed: string) => VerifiedSession | undefined;
  readonly set: (sealed: string, session: VerifiedSession) => void;
  /**
   * The same for a seal that has come before, and comes again; of a new one only that it was seen. Most visitors who
   * come once do not come again, and as sessions they would drive out those who do, and keep the collector busy.
   *
   * @returns whether it had come before
   */
  readonly setIfSeen: (sealed: string, session: VerifiedSession) => boolean;
}

interface Entry {
  readonly session: VerifiedSession;
  readonly hash: string;
  /** The seal itself, for those who came last. */
  sealed?: string | undefined;
}

// To compare a seal takes a twentieth of the time that hashing it takes, and most requests come in the wake of another
// of the same browser. But a seal is nearly as large as all else that is remembered of its session.
const maxWholeSeals = 250;

export function verifiedSessions(max: number): VerifiedSessions {
  const sessions = new LRUCache<string, Entry | 'seen'>({ max });
  const withSeals = new LRUCache<string, Entry>({
    max: Math.min(max, maxWholeSeals),
    dispose: (entry) => {
      entry.sealed = undefined;
    },
  });
  // A seal is found by its end, which is as random as any hash, and told from every other by the hash of the whole: one
  // that was tampered with may end in the same way. A new one is not hashed at all. So short a part V8 copies, and does
  // not keep the whole for it.
  const endOf = (sealed: string) => sealed.slice(-12);
  const hashOf = (sealed: string) => hash('sha256', sealed, 'base64url');

  function set(sealed: string, session: VerifiedSession): void {
    sessions.set(endOf(sealed), { session, hash: hashOf(sealed) });
  }

  return {
    get: (sealed) => {
      const end = endOf(sealed);
      const entry = sessions.get(end);
      if (!entry || entry === 'seen') return undefined;
      if (entry.sealed !== undefined) return entry.sealed === sealed ? entry.session : undefined;
      if (entry.hash !== hashOf(sealed)) return undefined;
      // A copy: as it came, it is a part of the whole `Cookie` header and would keep that in memory.
      entry.sealed = Buffer.from(sealed).toString();
      withSeals.set(end, entry);
      return entry.session;
    },
    set,
    setIfSeen: (sealed, session) => {
      const seen = sessions.has(endOf(sealed));
      if (seen) set(sealed, session);
      else sessions.set(endOf(sealed), 'seen');
      return seen;
    },
  };
}
