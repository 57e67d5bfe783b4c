import type { ForceRefreshTarget, RevokeTarget } from './ended.js';

/**
 * Checks which sessions the app wants to end. With a misspelt or missing id, nobody ends.
 *
 * @throws {TypeError} for an empty id, none of the names or several, another name, or a `before` in the future
 */
export function checkRevokeTarget(which: unknown): asserts which is RevokeTarget {
  const { before, ...names } = checkNames(which, 'sessions.revoke', ['sessionId', 'userId', 'everyone'], ['before']);
  if (before === undefined) return;
  if ('sessionId' in names) refuse('sessions.revoke', 'takes "before" with "userId" or "everyone" only.');
  if (!(before instanceof Date) || !(before.getTime() <= Date.now()))
    refuse('sessions.revoke', 'takes a "before" that is a Date, and not in the future.');
}

/**
 * Checks which sessions the app wants to be refreshed.
 *
 * @throws {TypeError} for an empty id, none of the names or both, or another name
 */
export function checkForceRefreshTarget(which: unknown): asserts which is ForceRefreshTarget {
  checkNames(which, 'sessions.forceRefresh', ['sessionId', 'userId'], []);
}

function checkNames(
  which: unknown,
  what: string,
  names: readonly string[],
  more: readonly string[],
): Readonly<Record<string, unknown>> {
  const given: Record<string, unknown> = typeof which === 'object' && which !== null ? { ...which } : {};
  const keys = Object.keys(given);
  const choices = names.map((name) => `"${name}"`).join(', ');
  const [name = '', ...others] = keys.filter((key) => names.includes(key));
  if (name === '' || others.length > 0) refuse(what, `takes exactly one of ${choices}.`);
  if (keys.some((key) => key !== name && !more.includes(key))) refuse(what, `takes ${choices} and nothing else.`);
  const value = given[name];
  const isGood = name === 'everyone' ? value === true : typeof value === 'string' && value !== '';
  if (!isGood)
    refuse(what, `takes a "${name}" that is ${name === 'everyone' ? 'true' : 'a string that is not empty'}.`);
  return given;
}

function refuse(what: string, rest: string): never {
  throw new TypeError(`${what}() ${rest}`);
}
