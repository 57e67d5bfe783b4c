import { afterAll, expect } from '@jest/globals';
import type { EventCallbacks } from 'express-sealed-session';

import { createSecretScanner } from './secret-scanner.js';

/**
 * Watches every spec, as `setupFilesAfterEnv` of Jest: all that is printed or warned of, the errors that reach an app's
 * error handler and the events that an app is told are searched for the tokens, codes, passwords and seals that the
 * spec has made. `secrets.spec.ts` makes every code, reason, event, misconfiguration and sign-in failure come up.
 */
const scanner = createSecretScanner();

/** A value that must be seen nowhere. */
export const { plant, watch } = scanner;

for (const name of ['debug', 'error', 'info', 'log', 'trace', 'warn'] as const) {
  const print = console[name].bind(console);
  console[name] = (...printed: unknown[]) => {
    watch(`console.${name}`, ...printed);
    print(...printed);
  };
}
process.on('warning', warned);
afterAll(() => {
  process.off('warning', warned);
  expect(scanner.leaks()).toEqual([]);
});

function warned(warning: Error): void {
  watch('a warning', warning);
}

const watchedCallbacks = new WeakMap<EventCallbacks, EventCallbacks>();

/** The same callbacks, watched. One object has one watched object: sessions that share their callbacks report once. */
export function watchEvents(callbacks: EventCallbacks): EventCallbacks {
  const known = watchedCallbacks.get(callbacks);
  if (known) return known;
  const watched = new Proxy(callbacks, {
    get(target, name) {
      const callback: unknown = Reflect.get(target, name);
      if (typeof callback !== 'function') return callback;
      return (event: unknown): unknown => {
        watch(`the event ${String(name)}`, event);
        return (callback as (told: unknown) => unknown).call(target, event);
      };
    },
  });
  watchedCallbacks.set(callbacks, watched);
  return watched;
}
