import diagnosticsChannel from 'node:diagnostics_channel';

import { debug, type DebugFields, isDebugging } from './debug.js';
import { eventLimit } from './event-limits.js';
import type { Emit, EventCallbacks, SessionEvents } from './events.js';
import { processWide } from './process-wide.js';

// An operator who missed it once hears it again, and a log is not flooded.
const onceMs = 60 * 60_000;

const emitters = processWide('emitters', () => new WeakMap<object, Emit>());

/**
 * One emitter for all the sessions of an app that share their callbacks, or without callbacks their provider: they
 * report a misconfiguration once between them.
 */
export function emitterFor(callbacks: EventCallbacks | undefined, provider: object): Emit {
  const shared = callbacks ?? provider;
  const emit = emitters.get(shared) ?? createEmitter({ ...callbacks });
  emitters.set(shared, emit);
  return emit;
}

/** Tells each event in three ways: a line for `NODE_DEBUG`, a diagnostics channel, and the app's own callback. */
function createEmitter(callbacks: EventCallbacks): Emit {
  const reportedAtMs = new Map<string, number>();
  const limit = eventLimit();

  function isTold({ problem, cause = '', message }: SessionEvents['misconfigured']): boolean {
    const which = `${problem} ${cause}`;
    if (Date.now() - (reportedAtMs.get(which) ?? -Infinity) < onceMs) return false;
    reportedAtMs.set(which, Date.now());
    if (!callbacks.misconfigured) warn(message, 'WARN_SESSION_MISCONFIGURED');
    return true;
  }

  return (name, event) => {
    if (isDebugging) debug(name, wordsOf(event));
    if (name === 'misconfigured' && !isTold(event as SessionEvents['misconfigured'])) return;
    const count = name === 'misconfigured' ? 1 : limit(name, event);
    if (count === undefined) return;
    const told = count === 1 ? event : { ...event, count };
    // Made anew each time: Node keeps channels weakly, and one without a listener costs nothing.
    const channel = diagnosticsChannel.channel(`express-sealed-session:${name}`);
    if (channel.hasSubscribers) channel.publish(told);
    try {
      const result = callbacks[name]?.(told);
      Promise.resolve(result).catch(() => {
        warnOfCallback(name);
      });
    } catch {
      warnOfCallback(name);
    }
  };
}

// What names a person, and prose.
const unprinted: ReadonlySet<string> = new Set(['userId', 'organizationId', 'message']);

/** What a line says of an event. */
function wordsOf(event: object): DebugFields {
  return Object.fromEntries(Object.entries(event as DebugFields).filter(([name]) => !unprinted.has(name)));
}

function warnOfCallback(name: string): void {
  warn(`The "events.${name}" callback failed. The request went on without it.`, 'WARN_SESSION_EVENT_CALLBACK');
}

function warn(message: string, code: string): void {
  process.emitWarning(message, { type: 'SessionWarning', code });
}
