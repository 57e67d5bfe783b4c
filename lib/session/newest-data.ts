import { LRUCache } from 'lru-cache';

import type { SessionPayload } from './payload.js';

/** The `data` that sessions have written a moment ago. */
export interface NewestData {
  /** Notes what a session has just written. */
  readonly note: (payload: SessionPayload) => void;
  /** The payload of a seal, with the newer data of its session in place of what it holds, if there is any. */
  readonly update: (payload: SessionPayload) => SessionPayload;
}

/**
 * Remembers the data of sessions for as long as their old seals are answered. A request that was sent before with an older
 * seal would otherwise bring back what its session has removed, and seal it anew.
 */
export function newestData(limits: { readonly max: number; readonly ttlMs: number }): NewestData {
  const written = new LRUCache<string, { readonly data: SessionPayload['data']; readonly atMs: number }>({
    max: limits.max,
  });

  return {
    note: ({ sessionId, data }) => {
      if (sessionId !== undefined) written.set(sessionId, { data: structuredClone(data), atMs: Date.now() });
    },
    update: (payload) => {
      const { sessionId, sealedAt = 0 } = payload;
      const found = sessionId === undefined ? undefined : written.get(sessionId);
      // In the same millisecond, what was written is the newer: a seal that holds it as well loses nothing.
      if (!found || found.atMs < sealedAt || Date.now() - found.atMs > limits.ttlMs) return payload;
      return { ...payload, data: structuredClone(found.data), sealedAt: found.atMs };
    },
  };
}
