import type { Provider } from '../provider/provider.js';
import { sessionKey, tokenKey } from '../refresh/token-key.js';
import type { SessionPayload } from '../session/payload.js';

/** What has ended: the fleet's memory of sign-outs. A session has ended when any of its `endingKeys()` has. */
export interface Ledger {
  /** Remembers these keys as ended, here and in the fleet. Never rejects. */
  readonly end: (keys: readonly string[]) => Promise<void>;
  /** Whether any of these is known here to have ended. */
  readonly hasEnded: (keys: readonly string[]) => boolean;
  /** Whether other processes write to it: then it can hold endings that are not known here yet. */
  readonly isShared: boolean;
  /** Whether nothing is known here to have ended: then a visitor's keys need not be derived. */
  readonly isEmpty: () => boolean;
  /** Asks the rest of the fleet whether any of these has ended. In one process it resolves at once. Never rejects. */
  readonly learn: (keys: readonly string[]) => Promise<void>;
}

// How long an ending is remembered: longer than any request runs and any common access token lives.
export const endingMs = 60 * 60_000;

/**
 * The keys under which a session ends: its refresh token's, and its id's. Our own id comes first, because a provider
 * may use its `sid` again for the visitor's next sign-in, which would then end too.
 */
export function endingKeys(
  provider: Provider,
  { refreshToken, sessionId: ownId }: SessionPayload,
  sessionId: () => string | undefined,
): readonly string[] {
  const id = ownId ?? sessionId();
  return [
    ...(refreshToken === undefined ? [] : [tokenKey(provider, refreshToken)]),
    ...(id === undefined ? [] : [sessionKey(provider, id)]),
  ];
}
