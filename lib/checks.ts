import { type ConfigProblem, SessionConfigError } from './errors.js';
import { isRecord } from './json.js';

/** Says what is wrong with a value, as the end of a sentence that begins with its path; nothing when it is good. */
export type Check = (value: unknown) => string | undefined;

/** One check for each key that `Options` has: leaving one out does not compile. */
export type Checks<Options> = { readonly [Key in keyof Required<Options>]: Check };

/**
 * Reads an options object, once, and checks it: every key known, every value good. What was checked is in `given`,
 * whatever becomes of the object; where there are problems, it is not to be used.
 */
export function readOptions<Options extends object>(
  path: string,
  options: unknown,
  checks: Checks<Options>,
): { readonly given: Options; readonly problems: ConfigProblem[] } {
  const at = (key: string) => (path === '' ? key : `${path}.${key}`);
  if (!isRecord(options)) {
    const message = `must be an object of options; ${kind(options)} was given.`;
    return { given: {} as Options, problems: [{ path: path || 'options', message }] };
  }
  const given: Record<string, unknown> = { ...options };
  const problems: ConfigProblem[] = [];
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(checks, key)) {
      const known = Object.keys(checks).join(', ');
      problems.push({ path: at(key), message: `is not an option. The options here are: ${known}.` });
    }
  }
  for (const [key, check] of Object.entries<Check>(checks)) {
    // Refuses inherited keys: silently ignoring one would drop an access rule.
    const isInherited = !Object.hasOwn(given, key) && key in options;
    const message = isInherited ? 'is inherited. Set it on the object itself.' : check(given[key]);
    if (message !== undefined) problems.push({ path: at(key), message });
  }
  return { given: given as Options, problems };
}

/** The problems alone. */
export function checkOptions<Options extends object>(
  path: string,
  options: unknown,
  checks: Checks<Options>,
): ConfigProblem[] {
  return readOptions(path, options, checks).problems;
}

/**
 * Recognises `app.use(withSession)`, in which the maker of a middleware is called as if it were one.
 *
 * @throws {SessionConfigError} when what was given in place of the options is a request
 */
export function refuseRequest(given: unknown, name: string, argument: string): void {
  if (!isRecord(given) || !isRecord(given.socket)) return;
  const message = `must be a call of its own. Write app.use(${name}(${argument})), not app.use(${name}).`;
  throw new SessionConfigError([{ path: name, message }]);
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

export const textRecord: Check = (value) =>
  isRecord(value) && Object.values(value).every((item) => typeof item === 'string')
    ? undefined
    : 'must be an object of strings.';

export const bool: Check = (value) =>
  typeof value === 'boolean' ? undefined : `must be true or false; ${kind(value)} was given.`;

/** A list, of which each item passes `check`. */
export const list =
  (what: string, check: Check = () => undefined): Check =>
  (value) =>
    Array.isArray(value) && value.every((item) => check(item) === undefined) ? undefined : `must be a list of ${what}.`;

export const object: Check = (value) => (isRecord(value) ? undefined : `must be an object; ${kind(value)} was given.`);

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

// RFC 6761 section 6.3: every name below `localhost` is this machine too.
const loopback = /^(([a-z\d-]+\.)*localhost|127(\.\d{1,3}){3}|\[::1\])$/i;

/** Hosts that no other machine answers for: the only ones for which plain http is safe. */
export function isLoopback(hostname: string): boolean {
  return loopback.test(hostname);
}

/** An https URL, or http on a loopback host: tokens, codes and client secrets travel to it. */
export const secureUrl: Check = (value) => {
  if (typeof value !== 'string' || !URL.canParse(value))
    return `must be an absolute https URL; ${kind(value)} was given.`;
  // Browsers and parsers drop these, so what one of them sees is not what another compares.
  if (/[\s\p{Cc}]/u.test(value)) return 'must be a URL without white space and control characters.';
  const url = new URL(value);
  if (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname))) {
    return url.username || url.password || value.includes('#')
      ? 'must be a URL without credentials or fragment.'
      : undefined;
  }
  return 'must use https. Plain http is accepted for localhost, 127.0.0.1 and [::1] only.';
};

/** One below which others are found (OpenID Connect Discovery 1.0, section 3, says so of an issuer). */
export const secureBaseUrl: Check = (value) =>
  secureUrl(value) ?? (String(value).includes('?') ? 'must be a URL without a query.' : undefined);

// Spread, because `every` skips the holes of a list: all of nothing would be met by every session.
export const listOfTexts = (value: unknown) =>
  Array.isArray(value) && value.length > 0 && [...(value as unknown[])].every((item) => text(item) === undefined);

/** A list of one or more of these words. */
export const someOf =
  (...choices: string[]): Check =>
  (value) =>
    listOfTexts(value) && (value as string[]).every((each) => choices.includes(each))
      ? undefined
      : `must be a list of one or more of ${choices.map((choice) => `"${choice}"`).join(', ')}.`;
