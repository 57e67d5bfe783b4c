import { type Awaitable, isPromiseLike } from '../awaitable.js';
import { kind } from '../checks.js';
import { SessionConfigError } from '../errors.js';
import type { ClaimValue, OneOf, Rule, RuleRequest, Wanted } from '../options/rule.js';
import type { BeginSignIn } from '../provider/provider.js';
import type { SignedInSession } from '../request/session.js';
import { isRecent } from './recent.js';

/** What is asked: a session, by a request. */
export interface Asked {
  readonly session: SignedInSession;
  readonly req: RuleRequest;
  readonly clockToleranceSeconds: number;
}

/** What would help a visitor who does not meet a demand. */
export type Help =
  /** To come back later: it cannot be known now. */
  | 'wait'
  /** To sign in again, in the way that the rule asks for. */
  | 'step up'
  /** To be in another organization. */
  | 'switch';

type Question = (asked: Asked) => Awaitable<boolean>;

/** One part of a rule, as a question to a session. */
export interface Demand {
  readonly name: keyof Rule;
  readonly help: Help | undefined;
  /** The rule that it is a part of. */
  readonly rule: Rule;
  readonly isMet: Question;
}

/** What a guard asks of a sign-in. */
export interface StepUp extends Pick<BeginSignIn, 'maxAuthAgeSeconds' | 'acrValues' | 'prompt'> {
  readonly amr?: Wanted | undefined;
}

/** How a part of a rule becomes a question. `at` is its option path. */
interface Row<Name extends keyof Rule> {
  readonly ask: (wanted: NonNullable<Rule[Name]>, at: string) => Question;
  /** Default: nothing helps, which is 403. */
  readonly help?: Help;
}

/**
 * What a rule can demand, in the order in which it is asked. First what no other token would change, last the app's own
 * question, which then hears only of sessions that meet all else. A part that is forgotten does not compile.
 */
const rows: { readonly [Name in keyof Required<Rule>]: Row<Name> } = {
  via: { ask: (wanted) => (asked) => isOneOf(wanted, asked.session.via) },
  stale: { ask: () => (asked) => !asked.session.stale, help: 'wait' },
  deviceBound: { ask: () => (asked) => asked.session.deviceBound },
  impersonated: { ask: () => (asked) => !isImpersonated(asked.session) },
  organizationId: { ask: beingIn, help: 'switch' },
  permissions: { ask: (wanted) => (asked) => holds(asked.session.permissions, wanted) },
  roles: { ask: (wanted) => (asked) => holds(asked.session.roles, wanted) },
  entitlements: { ask: (wanted) => (asked) => holds(asked.session.entitlements, wanted) },
  featureFlags: { ask: (wanted) => (asked) => holds(asked.session.featureFlags, wanted) },
  claims: { ask: claiming },
  amr: { ask: (wanted) => (asked) => holds(asked.session.amr, wanted), help: 'step up' },
  acr: { ask: (wanted) => (asked) => isOneOf(wanted, asked.session.acr), help: 'step up' },
  maxAuthAgeSeconds: { ask: beingRecent, help: 'step up' },
  check: { ask: passing },
};

/** The demands of a rule, in the order in which they are asked. */
export function demandsOf(rule: Rule, at: string): readonly Demand[] {
  const names = Object.keys(rows) as (keyof Rule)[];
  return names.filter((name) => rule[name] !== undefined).map((name) => demandOf(name, rule, at));
}

function demandOf(name: keyof Rule, rule: Rule, at: string): Demand {
  const { ask, help } = rows[name] as Row<never>;
  const isMet = ask(rule[name] as never, `${at}.${name}`);
  return { name, help, rule, isMet };
}

/** What a sign-in must bring, all at once: one that is new enough may be less sure than the one before it. */
export function stepUpOf({ maxAuthAgeSeconds, acr, amr }: Rule): StepUp {
  return {
    ...(maxAuthAgeSeconds !== undefined && { maxAuthAgeSeconds }),
    ...(acr !== undefined && { acrValues: [acr].flat() }),
    // There is no parameter for methods. Only who is asked anew can use another one.
    ...(amr !== undefined && { amr, prompt: 'login' }),
  };
}

/** Whether a list has what is wanted of it. */
export function holds<Value>(held: readonly unknown[], wanted: Wanted<Value>): boolean {
  if (typeof wanted !== 'object' || wanted === null) return held.includes(wanted);
  const { all, any } = wanted as { all?: readonly Value[]; any?: readonly Value[] };
  return all ? all.every((each) => held.includes(each)) : any?.some((each) => held.includes(each)) === true;
}

// `act` is what a token says of the person who acts as its subject (RFC 8693 section 4.1).
function isImpersonated({ impersonator, claims }: SignedInSession): boolean {
  return impersonator !== undefined || claims.act !== undefined;
}

function beingIn(wanted: NonNullable<Rule['organizationId']>, at: string): Question {
  if (typeof wanted !== 'function') return ({ session }) => isOneOf(wanted, session.organizationId);
  return ({ session, req }) => whenKnown(wanted(req), (found) => isOneOf(readFound(found, at), session.organizationId));
}

/** The organization that a rule asks for: of a list, the first. */
export async function organizationIn({ organizationId: wanted }: Rule, req: RuleRequest): Promise<string | undefined> {
  const found = typeof wanted === 'function' ? await wanted(req) : wanted;
  return typeof found === 'string' ? found : found?.[0];
}

function isOneOf(wanted: OneOf | undefined, held: string | undefined): boolean {
  return held !== undefined && [wanted ?? []].flat().includes(held);
}

/** What the app's function has found in a request. Anything else must not be taken for no demand. */
function readFound(found: unknown, at: string): OneOf | undefined {
  const texts: readonly unknown[] = Array.isArray(found) ? found : [found];
  if (found === undefined || texts.every((each) => typeof each === 'string')) return found as OneOf | undefined;
  throw wrongResult(at, 'a string, a list of strings or undefined', found);
}

function beingRecent(withinSeconds: number): Question {
  return ({ session, clockToleranceSeconds }) =>
    isRecent(session.authenticatedAt, { withinSeconds, clockToleranceSeconds });
}

function claiming(wanted: NonNullable<Rule['claims']>): Question {
  const all = Object.entries<Wanted<ClaimValue>>(wanted);
  return ({ session: { claims } }) =>
    all.every(([name, value]) => Object.hasOwn(claims, name) && holds([claims[name]].flat(), value));
}

function passing(check: NonNullable<Rule['check']>, at: string): Question {
  return ({ session, req }) => whenKnown(check(session, req), (result) => readResult(result, at));
}

/** Something true-like is a mistake of the app's, such as a promise within a promise. It must let nobody pass. */
function readResult(result: unknown, at: string): boolean {
  if (typeof result === 'boolean') return result;
  throw wrongResult(at, 'true or false', result);
}

function wrongResult(path: string, expected: string, result: unknown): SessionConfigError {
  return new SessionConfigError([
    { path, message: `must return ${expected}, or a promise of it; it returned ${kind(result)}.` },
  ]);
}

/** What an answer of the app's means: at once, unless it is a promise. */
function whenKnown(answer: unknown, read: (answer: unknown) => boolean): Awaitable<boolean> {
  return isPromiseLike(answer) ? Promise.resolve(answer).then(read) : read(answer);
}
