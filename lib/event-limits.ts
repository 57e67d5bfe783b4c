import { LRUCache } from 'lru-cache';

import { monotonicMs } from './monotonic.js';

/** Says whether an event is told, and for how many it stands. Undefined: not now, the next of its kind counts it. */
export type EventLimit = (name: string, event: object) => number | undefined;

// Of one session: more than a page with many requests causes. Of strangers: enough to see what they send.
const mostOfSession = 100;
const mostOfStrangers = 30;

// What makes two events of one kind. Not the words that a visitor may choose among many, such as `providerError`.
const words = ['sessionId', 'userId', 'reason', 'detail', 'failure', 'cause', 'source', 'what'];

const minuteMs = 60_000;

// Kinds of events, most of them of one session, that are counted at a time.
const maxKinds = 10_000;

interface Minute {
  readonly beganMs: number;
  told: number;
  leftOut: number;
}

/**
 * Keeps visitors from filling a log: of each kind of event, so many are told in a minute. What is left out, the next one
 * of its kind counts. Two events are of one kind when their name, reason and session are the same, and the like.
 */
export function eventLimit(): EventLimit {
  const minutes = new LRUCache<string, Minute>({ max: maxKinds });

  return (name, event) => {
    const fields = event as Readonly<Record<string, unknown>>;
    const kind = JSON.stringify([name, ...words.map((word) => fields[word])]);
    const most = fields.sessionId === undefined ? mostOfStrangers : mostOfSession;
    const nowMs = monotonicMs();
    const minute = minutes.get(kind);
    if (!minute || nowMs - minute.beganMs >= minuteMs) {
      minutes.set(kind, { beganMs: nowMs, told: 1, leftOut: 0 });
      return (minute?.leftOut ?? 0) + 1;
    }
    if (minute.told < most) {
      minute.told += 1;
      return 1;
    }
    minute.leftOut += 1;
    return undefined;
  };
}
