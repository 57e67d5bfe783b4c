import type { ConfigProblem } from './errors.js';

/** Says what is wrong with a value, as the end of a sentence that begins with its path; nothing when it is good. */
export type Check = (value: unknown) => string | undefined;

/** One check for each key that `Options` has: leaving one out does not compile. */
export type Checks<Options> = { readonly [Key in keyof Required<Options>]: Check };

/** Checks an options object: every key known, every value good. */
export function checkOptions<Options extends object>(
  path: string,
  options: unknown,
  checks: Checks<Options>,
): ConfigProblem[] {
  const at = (key: string) => (path === '' ? key : `${path}.${key}`);
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    return [{ path: path || 'options', message: `must be an object of options; ${kind(options)} was given.` }];
  }
  const given = options as Record<string, unknown>;
  const problems: ConfigProblem[] = [];
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(checks, key)) {
      const known = Object.keys(checks).join(', ');
      problems.push({ path: at(key), message: `is not an option. The options here are: ${known}.` });
    }
  }
  for (const [key, check] of Object.entries<Check>(checks)) {
    const message = check(Object.hasOwn(given, key) ? given[key] : undefined);
    if (message !== undefined) problems.push({ path: at(key), message });
  }
  return problems;
}

/** What was given, without its value: it may be a secret. */
export function kind(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === 'string') return value === '' ? 'an empty string' : `a string of ${value.length} characters`;
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

export const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined ? undefined : check(value);

export const text: Check = (value) =>
  typeof value === 'string' && value !== ''
    ? undefined
    : `must be a string that is not empty; ${kind(value)} was given.`;

export const textOrList: Check = (value) =>
  text(value) === undefined ||
  (Array.isArray(value) && value.length > 0 && value.every((item) => text(item) === undefined))
    ? undefined
    : `must be a string, or a list of at least one string; ${kind(value)} was given.`;

export const bool: Check = (value) =>
  typeof value === 'boolean' ? undefined : `must be true or false; ${kind(value)} was given.`;

export const object: Check = (value) =>
  typeof value === 'object' && value !== null ? undefined : `must be an object; ${kind(value)} was given.`;

export const callable: Check = (value) =>
  typeof value === 'function' ? undefined : `must be a function; ${kind(value)} was given.`;

export const oneOf =
  (...choices: readonly string[]): Check =>
  (value) =>
    choices.includes(value as string) ? undefined : `must be one of: ${choices.join(', ')}.`;

/** A finite number of `unit` from `least` to `most`. */
export const amount =
  (unit: string, least: number, most: number): Check =>
  (value) =>
    typeof value === 'number' && value >= least && value <= most
      ? undefined
      : `must be a number of ${unit} from ${least} to ${most}; ${typeof value === 'number' ? value : kind(value)} was given.`;

const loopback = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/i;

/** Hosts that no other machine answers for: the only ones for which plain http is safe. */
export function isLoopback(hostname: string): boolean {
  return loopback.test(hostname);
}

/** An https URL, or http on a loopback host: tokens, codes and client secrets travel to it. */
export const secureUrl: Check = (value) => {
  if (typeof value !== 'string' || !URL.canParse(value))
    return `must be an absolute https URL; ${kind(value)} was given.`;
  const url = new URL(value);
  if (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname))) {
    return url.username || url.password || url.hash ? 'must be a URL without credentials or fragment.' : undefined;
  }
  return 'must use https. Plain http is accepted for localhost, 127.0.0.1 and [::1] only.';
};
