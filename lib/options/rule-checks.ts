import { bool, type Check, type Checks, listOfTexts, optional, readOptions, text, textOrList } from '../checks.js';
import type { ConfigProblem } from '../errors.js';
import { isRecord } from '../json.js';
import type { GuardOptions, Rule } from './session-options.js';

const wanted: Check = (value) => {
  if (text(value) === undefined) return undefined;
  if (isRecord(value)) {
    const [name, ...others] = Object.keys(value);
    if (others.length === 0 && (name === 'all' || name === 'any') && listOfTexts(value[name])) return undefined;
  }
  return 'must be one value, { all: [...] } or { any: [...] }: a bare list does not say which of the two it means.';
};

const ruleChecks: Checks<Rule> = {
  permissions: optional(wanted),
  roles: optional(wanted),
  entitlements: optional(wanted),
  featureFlags: optional(wanted),
  organizationId: optional(textOrList),
};

const guardChecks: Checks<GuardOptions> = {
  redirect: optional(bool),
};

/** Reads a rule, once, and says what is wrong with it. */
export function readRule(at: string, rule: unknown): { readonly given: Rule; readonly problems: ConfigProblem[] } {
  const { given, problems } = readOptions(at, rule, ruleChecks);
  // A misspelt variable would be no demand at all, and let every signed-in visitor pass.
  const undemanding = Object.entries(given).filter(([, demand]) => demand === undefined);
  problems.push(...undemanding.map(([name]) => ({ path: `${at}.${name}`, message: 'must not be undefined.' })));
  // A copy of the lists too: the caller's later changes are not what was checked.
  return { given: problems.length > 0 ? given : structuredClone(given), problems };
}

/** Reads how a guard answers, once, and says what is wrong with it. */
export function readGuardOptions(options: unknown) {
  return readOptions<GuardOptions>('options', options, guardChecks);
}
