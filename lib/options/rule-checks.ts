import { amount, bool, type Check, type Checks, callable, optional, readOptions, text, textOrList } from '../checks.js';
import type { ConfigProblem } from '../errors.js';
import { isRecord } from '../json.js';
import type { Provider } from '../provider/provider.js';
import type { Via } from '../session/via.js';
import type { GuardOptions, Rule, Rules } from './rule.js';

/** One value, or all or any of a list of them. */
const wantedOf =
  (isValue: (value: unknown) => boolean): Check =>
  (value) =>
    isValue(value) || isListOf(value, isValue)
      ? undefined
      : 'must be one value, { all: [...] } or { any: [...] }: a bare list does not say which of the two it means.';

// All of nothing would be met by every session. The holes of a list are items too, which `every` would skip.
function isListOf(value: unknown, isValue: (value: unknown) => boolean): boolean {
  if (!isRecord(value)) return false;
  const [[name, list] = [], ...others] = Object.entries(value);
  if (others.length > 0 || (name !== 'all' && name !== 'any')) return false;
  return Array.isArray(list) && list.length > 0 && [...(list as unknown[])].every(isValue);
}

const wanted = wantedOf((value) => text(value) === undefined);

const isClaimValue = (value: unknown) =>
  value === null || ['string', 'boolean'].includes(typeof value) || Number.isFinite(value);

const claims: Check = (value) => {
  const entries = isRecord(value) ? Object.entries(value) : [];
  if (entries.length === 0) return 'must be an object with at least one claim by its name.';
  const isGood = entries.every(([name, each]) => name !== '' && wantedOf(isClaimValue)(each) === undefined);
  return isGood
    ? undefined
    : 'must have for each claim a text, a number, true, false or null; or { all: [...] } or { any: [...] } of them.';
};

// They stand in a list with spaces between them (`acr_values`), and in a header.
const acrs: Check = (value) =>
  textOrList(value) ??
  ([value].flat().every((each) => /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(String(each)))
    ? undefined
    : 'must be of printable ASCII without spaces, quotes and backslashes.');

const ways: readonly unknown[] = ['cookie', 'header', 'bearer', 'apiKey'] satisfies Via[];

const via: Check = (value) => {
  const wantedWays: unknown[] = Array.isArray(value) ? [...(value as unknown[])] : [value];
  return wantedWays.length > 0 && wantedWays.every((each) => ways.includes(each))
    ? undefined
    : `must be one of ${ways.join(', ')}, or a list of them.`;
};

/** The only value that a part may have: leaving it out demands nothing. */
const only =
  (choice: boolean): Check =>
  (value) =>
    value === choice ? undefined : `must be ${choice}, or left out.`;

const ruleChecks: Checks<Rule> = {
  permissions: optional(wanted),
  roles: optional(wanted),
  entitlements: optional(wanted),
  featureFlags: optional(wanted),
  claims: optional(claims),
  organizationId: optional((value) => (typeof value === 'function' ? undefined : textOrList(value))),
  amr: optional(wanted),
  acr: optional(acrs),
  // The way to the provider and back takes a while.
  maxAuthAgeSeconds: optional(amount('seconds', 30, 31_536_000)),
  via: optional(via),
  impersonated: optional(only(false)),
  stale: optional(only(false)),
  deviceBound: optional(only(true)),
  check: optional(callable),
};

const guardChecks: Checks<GuardOptions> = {
  redirect: optional(bool),
  switchOrganization: optional(bool),
};

// What the provider must know for a part of a rule.
const knowledge = {
  maxAuthAgeSeconds: 'auth_time',
  acr: 'acr',
  amr: 'amr',
  organizationId: 'organizations',
} as const satisfies { readonly [Name in keyof Rule]?: NonNullable<Provider['knows']>[number] };

/** What no session of this provider could ever meet: its visitors would be sent to sign in again and again. */
export function findUnmeetable(
  at: string,
  rules: Rules,
  { name, knows }: Pick<Provider, 'name' | 'knows'>,
): ConfigProblem[] {
  if ('any' in rules)
    return rules.any.flatMap((rule, index) => findUnmeetable(`${at}.any[${index}]`, rule, { name, knows }));
  return (Object.keys(knowledge) as (keyof typeof knowledge)[])
    .filter((part) => rules[part] !== undefined && knows?.includes(knowledge[part]) === false)
    .map((part) => {
      const lacks = part === 'organizationId' ? 'has no organizations' : `never tells "${knowledge[part]}"`;
      return { path: `${at}.${part}`, message: `can never be met: the ${name} provider ${lacks}.` };
    });
}

interface ReadRules {
  readonly given: Rules;
  readonly problems: ConfigProblem[];
}

/** Reads a rule, once, and says what is wrong with it. */
export function readRules(at: string, rules: unknown): ReadRules {
  if (!isRecord(rules) || !('any' in rules)) return readRule(at, rules);
  const { any, ...others } = rules;
  const list: unknown[] = Array.isArray(any) ? [...(any as unknown[])] : [];
  const read = list.map((each, index) => readRule(`${at}.any[${index}]`, each));
  const problems = read.flatMap((each, index) => [
    ...each.problems,
    // Every session meets a rule without a demand, so the others would be for nothing.
    ...(isRecord(list[index]) && each.problems.length === 0 && Object.keys(each.given).length === 0
      ? [{ path: `${at}.any[${index}]`, message: 'must demand something.' }]
      : []),
  ]);
  // An inherited one is refused by the same words: its owner may change it later.
  if (list.length === 0 || !Object.hasOwn(rules, 'any')) {
    problems.push({ path: `${at}.any`, message: 'must be a list of at least one rule, on the object itself.' });
  }
  if (Object.keys(others).length > 0) {
    problems.push({
      path: at,
      message: 'must have nothing beside "any". Put what each of its rules demands into each.',
    });
  }
  return { given: { any: read.map(({ given }) => given) }, problems };
}

function readRule(at: string, rule: unknown): { readonly given: Rule; readonly problems: ConfigProblem[] } {
  const { given, problems } = readOptions(at, rule, ruleChecks);
  // A misspelt variable would be no demand at all, and let every signed-in visitor pass.
  const undemanding = Object.entries(given).filter(([, demand]) => demand === undefined);
  problems.push(...undemanding.map(([name]) => ({ path: `${at}.${name}`, message: 'must not be undefined.' })));
  return { given: problems.length > 0 ? given : copyOf(given), problems };
}

/** A copy of the lists too: the caller's later changes are not what was checked. */
function copyOf(rule: Rule): Rule {
  const parts = Object.entries(rule) as [string, unknown][];
  const copies = parts.map(
    ([name, part]) => [name, typeof part === 'function' ? part : structuredClone(part)] as const,
  );
  return Object.fromEntries(copies);
}

/** Reads how a guard answers, once, and says what is wrong with it. */
export function readGuardOptions(options: unknown) {
  return readOptions<GuardOptions>('options', options, guardChecks);
}

/** A switch to nothing. The rule was checked before. */
export function findNothingToSwitch({ switchOrganization }: GuardOptions, rules: Rules): ConfigProblem[] {
  const all: readonly Rule[] = 'any' in rules ? rules.any : [rules];
  if (switchOrganization !== true || all.some((rule) => rule.organizationId !== undefined)) return [];
  const message = 'needs an "organizationId" in the rule: without it there is nothing to switch to.';
  return [{ path: 'options.switchOrganization', message }];
}
