import { hash } from 'node:crypto';

import { LRUCache } from 'lru-cache';

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

export function verifiedSessions(max: number): VerifiedSessions {
  const sessions = new LRUCache<string, VerifiedSession | 'seen'>({ max });
  // By a hash: a seal as the key would keep in memory the whole `Cookie` header of which it is a part.
  const keyOf = (sealed: string) => hash('sha256', sealed, 'base64url');
  return {
    get: (sealed) => {
      const found = sessions.get(keyOf(sealed));
      return found === 'seen' ? undefined : found;
    },
    set: (sealed, session) => {
      sessions.set(keyOf(sealed), session);
    },
    setIfSeen: (sealed, session) => {
      const key = keyOf(sealed);
      const seen = sessions.has(key);
      sessions.set(key, seen ? session : 'seen');
      return seen;
    },
  };
}
