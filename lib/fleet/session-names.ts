import { createHmac, createSecretKey } from 'node:crypto';

import type { Provider } from '../provider/provider.js';
import { begunAtMs } from '../session/beginning.js';
import type { SessionPayload } from '../session/payload.js';
import { unverifiedClaims } from '../session/unverified-claims.js';
import type { SessionNames } from './ledger.js';

/** Names sessions to the ledger. Every name is there once for each password. */
export interface Naming {
  /** The names under which a session is looked up. Derived once for each payload. */
  readonly of: (payload: SessionPayload) => SessionNames;
  /**
   * The names under which the end of one session is recorded. With an id of our own, one more name is enough: it finds the
   * seals of other writers who have dropped that id.
   */
  readonly ofEnded: (payload: SessionPayload) => readonly string[];
  /** Our own id of a session. */
  readonly ofSession: (sessionId: string) => readonly string[];
  /** The provider's id of a session, which its next session may have again. */
  readonly ofSid: (sid: string) => readonly string[];
  readonly ofUser: (userId: string) => readonly string[];
  readonly everyone: readonly string[];
  /** The id of a log-out token. It needs to be known once only, so it has one name. */
  readonly ofToken: (jti: string) => string;
}

type Kind = 'session' | 'sid' | 'refresh token' | 'user' | 'everyone' | 'jti';

// As base64url, 22 characters hold 128 bits.
const nameLength = 22;

/**
 * Makes the names. They are keyed by the password: who reads the store learns no id from them, and an id from a log ends
 * nobody. Each is derived under each password, so that a rotation forgets no ending.
 */
export function createNaming(
  { id: providerId, revokesSession = false }: Pick<Provider, 'id' | 'revokesSession'>,
  passwords: readonly string[],
): Naming {
  // Key objects, because for bytes Node 24 takes ten times as long.
  const keys = passwords.map((each) =>
    createSecretKey(createHmac('sha256', each).update('express-sealed-session ledger').digest()),
  );
  const byPayload = new WeakMap<SessionPayload, SessionNames>();

  const derive = (kind: Kind, value: string) =>
    keys.map((key) =>
      createHmac('sha256', key).update(`${kind} ${providerId} ${value}`).digest('base64url').slice(0, nameLength),
    );
  const everyone = derive('everyone', '');
  const ofToken = ({ refreshToken }: SessionPayload) =>
    refreshToken === undefined ? [] : derive('refresh token', refreshToken);

  function namesOf(payload: SessionPayload): SessionNames {
    const { sessionId } = payload;
    const sids = sidsOf(payload).flatMap((sid) => derive('sid', sid));
    const userId = userIdOf(payload);
    return {
      own: sessionId === undefined ? [] : derive('session', sessionId),
      shared: [
        ...sids,
        ...(sessionId === undefined ? ofToken(payload) : []),
        ...(userId === undefined ? [] : derive('user', userId)),
        ...everyone,
      ],
      begunMs: begunAtMs(payload),
    };
  }

  return {
    of: (payload) => {
      const known = byPayload.get(payload);
      if (known) return known;
      const names = namesOf(payload);
      byPayload.set(payload, names);
      return names;
    },
    ofEnded: (payload) => {
      const { sessionId } = payload;
      const sids = sidsOf(payload).flatMap((sid) => derive('sid', sid));
      if (sessionId === undefined) return [...sids, ...ofToken(payload)];
      // A `sid` may be another session's too, of the same browser. Where it is revoked as a whole, both are over.
      const other = revokesSession && sids.length > 0 ? sids : ofToken(payload);
      return [...derive('session', sessionId), ...other];
    },
    ofSession: (sessionId) => derive('session', sessionId),
    ofSid: (sid) => derive('sid', sid),
    ofUser: (userId) => derive('user', userId),
    everyone,
    ofToken: (jti) => derive('jti', jti)[0] ?? '',
  };
}

/** The provider's own ids of a session: of its access token, and of its ID token. */
export function sidsOf({ accessToken, sid }: SessionPayload): readonly string[] {
  const ids = [unverifiedClaims(accessToken).sid, sid].filter((each) => typeof each === 'string' && each !== '');
  return [...new Set(ids as string[])];
}

/** Whose session it is. A seal without a user holds a token that names one. */
export function userIdOf(payload: SessionPayload | undefined): string | undefined {
  if (!payload) return undefined;
  if (payload.user?.id !== undefined) return payload.user.id;
  const { sub } = unverifiedClaims(payload.accessToken);
  return typeof sub === 'string' ? sub : undefined;
}
