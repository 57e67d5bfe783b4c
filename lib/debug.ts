import { fingerprint } from './fingerprint.js';

const name = 'express-sealed-session';

/** Whether `NODE_DEBUG` names this package. Read once: a visitor who is known pays for one boolean. */
export const isDebugging = isNamed(process.env.NODE_DEBUG ?? '');

/** What a line says of a decision, by name. What is undefined is left out. */
export type DebugFields = Readonly<Record<string, string | number | boolean | undefined>>;

// What opens something, or goes by a session from line to line.
const fingerprinted: ReadonlySet<string> = new Set(['seal', 'sessionId']);

/** Prints one line for one decision, to standard error. For use behind `isDebugging`. */
export function debug(what: string, fields: DebugFields): void {
  const shown = Object.entries(fields).flatMap(([field, value]) =>
    value === undefined
      ? []
      : [`${field}=${fingerprinted.has(field) && typeof value === 'string' ? fingerprint(value) : String(value)}`],
  );
  // A rewritten URL may hold anything. One decision stays one line.
  const line = [what, ...shown].join(' ').replace(/\p{Cc}/gu, '?');
  process.stderr.write(`${name.toUpperCase()} ${process.pid}: ${line}\n`);
}

/** Whether a list of names, as Node reads it, has ours: by commas, in any case, with `*` for any part. */
export function isNamed(list: string): boolean {
  return list.split(',').some((each) => {
    const pattern = each
      .trim()
      .replace(/[^\w*-]/g, '\\$&')
      .replaceAll('*', '.*');
    return new RegExp(`^${pattern}$`, 'i').test(name);
  });
}
