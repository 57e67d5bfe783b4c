import type { Lifecycle } from './lifecycle.js';
import { begunAtMs, confirmedAtMs } from './session/beginning.js';
import { thumbprintOf } from './session/device-proof.js';
import type { SessionPayload } from './session/payload.js';
import { idOf } from './session/unverified-claims.js';
import type { DeviceKey } from './token/device-jwt.js';

/** A session that was bound to a device. */
export interface BoundSession {
  readonly payload: SessionPayload;
  readonly sealed: string;
  /** Whether its tokens were refreshed with it. */
  readonly isRefreshed: boolean;
}

// A browser binds within a second of the sign-in. An entry for each sign-in would fill the ledger.
const lateMs = 60_000;

/**
 * Binds a session to the key of its device, and refreshes it. Where the provider rotates refresh tokens, a copy of the cookie
 * that was taken before is worth nothing once its access token has expired. While the provider is away, the session
 * is bound at once, and the next refresh brings the new tokens.
 *
 * @param isValid whether its access token is
 * @returns undefined when the session is over, or another registration was faster
 */
export async function bindDevice(
  life: Lifecycle,
  payload: SessionPayload,
  { jwk, thumbprint }: DeviceKey,
  isValid: boolean,
): Promise<BoundSession | undefined> {
  const bound: SessionPayload = { ...payload, deviceKey: jwk };
  const { refreshToken } = bound;
  if (refreshToken !== undefined) {
    const outcome = await life.refresh({ ...bound, refreshToken }, { onDemand: true });
    if (outcome.kind === 'terminal') return undefined;
    if (outcome.kind === 'refreshed') {
      // Who has a copy from before would bind it to a key of their own, and be given the new tokens.
      if (outcome.payload.deviceKey && thumbprintOf(outcome.payload.deviceKey) !== thumbprint) return undefined;
      life.reportRefreshed(outcome, isValid);
      await overtakeCopies(life, outcome.payload);
      return { payload: outcome.payload, sealed: outcome.sealed, isRefreshed: true };
    }
  }
  const sealed = await life.seal(bound);
  return life.whyOver(bound) === undefined ? { payload: bound, sealed, isRefreshed: false } : undefined;
}

/**
 * A session that is bound long after it began may have been copied meanwhile. Its older seals are served no more: they must
 * be refreshed first, which leads to the bound session. Where refreshes bring no ID token, no seal is newer than another.
 */
async function overtakeCopies(life: Lifecycle, bound: SessionPayload): Promise<void> {
  const sessionId = bound.sessionId ?? idOf(bound);
  if (sessionId === undefined || Date.now() - begunAtMs(bound) <= lateMs) return;
  await life.forceRefresh({ sessionId }, confirmedAtMs(bound));
}
