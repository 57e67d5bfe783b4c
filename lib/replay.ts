import { LRUCache } from 'lru-cache';

import { type Endings, tokenEndMs } from './ending.js';
import type { LifeSettings } from './options/config.js';
import { tokenKey } from './refresh/token-key.js';
import type { SessionPayload } from './session/payload.js';
import { idOf } from './session/unverified-claims.js';

/** Notices an old seal that comes too late, and says whether its session has ended by that. */
export type ReplayWatch = (payload: SessionPayload, client?: string) => boolean;

/**
 * Watches for old seals. A browser that has come with a new seal sends the old one only in requests that were already under
 * way. After `graceSeconds` it comes from a copy, or from a browser that was restored after a crash.
 */
export function createReplayWatch(settings: LifeSettings, endings: Endings): ReplayWatch {
  const { provider, fleet, refresh, replay, emit } = settings;
  const reported = new LRUCache<string, true>({ max: 10_000 });

  return (payload, client) => {
    const { refreshToken } = payload;
    if (refreshToken === undefined) return false;
    const key = tokenKey(provider, refreshToken);
    const claimedAtMs = fleet.coordinator.claimedAtMs(key);
    if (claimedAtMs === undefined || Date.now() <= claimedAtMs + refresh.graceMs) return false;
    if (!reported.has(key)) {
      reported.set(key, true);
      emit('replayed', {
        sessionId: idOf(payload),
        what: tokenEndMs(payload) > Date.now() ? 'cookie' : 'refresh_token',
        ageSeconds: Math.round((Date.now() - claimedAtMs) / 1000),
        differs: client === undefined || payload.client === undefined ? undefined : payload.client !== client,
      });
    }
    if (replay === 'report') return false;
    void endings.end([payload], { revoke: 'now' });
    emit('ended', { sessionId: idOf(payload), cause: 'replayed' });
    return true;
  };
}
