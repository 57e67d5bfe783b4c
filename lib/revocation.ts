import { sidsOf } from './fleet/session-names.js';
import type { LifeSettings } from './options/config.js';
import type { TokenRequest } from './provider/provider.js';
import { sharedToken } from './refresh/refresh.js';
import type { SessionPayload } from './session/payload.js';
import { send } from './wire/token-endpoint.js';

/** What ends at the provider: sessions with all that followed them. */
export type Revocation = ReturnType<typeof createRevocation>;

// A session has as many successors at most as fit into the time that they are remembered.
const maxSuccessors = 100;

/** Makes the revocation at the provider from the options that it reads. */
export function createRevocation({ provider, fleet, refresh }: LifeSettings) {
  /** A session and those that followed it, as far as they are known here or in the fleet. */
  async function familyOf(payload: SessionPayload): Promise<readonly SessionPayload[]> {
    const family = [payload];
    // Where refresh tokens are not rotated, the chain may lead back to where it began.
    const seen = new Set([payload.accessToken]);
    let last = await successorOf(payload);
    while (last && !seen.has(last.accessToken) && family.length < maxSuccessors) {
      seen.add(last.accessToken);
      family.push(last);
      last = await successorOf(last);
    }
    return family;
  }

  async function successorOf(payload: SessionPayload): Promise<SessionPayload | undefined> {
    const { refreshToken } = payload;
    if (refreshToken === undefined) return undefined;
    return (await fleet.coordinator.findSuccessor(sharedToken(refresh, { ...payload, refreshToken })))?.payload;
  }

  /**
   * Revokes what a family holds at the provider, where that can be done without the browser.
   *
   * @param asked what was asked for already: a session and its successor may both have come
   * @returns whether nothing of it is left there
   */
  async function revokeAll(
    family: readonly SessionPayload[],
    except?: SessionPayload,
    asked = new Map<string, Promise<boolean>>(),
  ): Promise<boolean> {
    const kept = except && revokedBy(except);
    const answers = await Promise.all(
      family.map((payload) => {
        const target = revokedBy(payload);
        if (target === undefined || target === kept) return Promise.resolve(true);
        const answer = asked.get(target) ?? revokeOne(payload);
        asked.set(target, answer);
        return answer;
      }),
    );
    return answers.every(Boolean);
  }

  /** What names the thing at the provider that is revoked with this payload. */
  function revokedBy(payload: SessionPayload): string | undefined {
    return (provider.revokesSession ? sidsOf(payload)[0] : undefined) ?? payload.refreshToken;
  }

  async function revokeOne(payload: SessionPayload): Promise<boolean> {
    const { refreshToken } = payload;
    return refreshToken === undefined || revoke({ refreshToken, sessionId: sidsOf(payload)[0] });
  }

  /** @returns whether it is no more at the provider */
  async function revoke(session: { refreshToken: string; sessionId: string | undefined }): Promise<boolean> {
    try {
      const request = await provider.revocationRequest?.(session);
      return request !== undefined && (await sendRevocation(request));
    } catch {
      // The provider cannot be asked. Its own log-out page ends the session, or its expiry does.
      return false;
    }
  }

  async function sendRevocation(request: TokenRequest): Promise<boolean> {
    const answer = await send(request, { timeoutMs: refresh.timeoutMs, mayRepeat: true });
    if (answer.kind === 'unanswered') return false;
    const { status } = answer;
    if (status >= 200 && status < 300) return true;
    // A session that the log-out page has ended is not there any more. RFC 7009 has no such answer for a token.
    return provider.revokesSession === true && [400, 404, 409, 410, 422].includes(status);
  }

  return {
    familyOf,
    revokeAll,
    /** Revokes a session by the provider's own id, where the provider can do that. Nothing waits for it. */
    revokeSid: (sid: string) => {
      if (provider.revokesSession) void revoke({ refreshToken: '', sessionId: sid });
    },
  };
}
