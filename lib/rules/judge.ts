import { type Awaitable, isPromiseLike } from '../awaitable.js';
import type { Rule, Rules } from '../options/rule.js';
import { type Asked, type Demand, demandsOf, type Help } from './demand.js';

/** Asks a session whether it meets a rule: nothing, or the demand that it does not meet. At once where nothing waits. */
export type Judge = (asked: Asked) => Awaitable<Demand | undefined>;

/**
 * Makes a judge of a rule that was checked.
 *
 * @param at its option path, for errors about what the app's own functions return
 * @param helps what can be helped here: of several rules, the first that it can be helped with counts
 */
export function judgeOf(rules: Rules, at: string, helps: readonly Help[] = ['wait', 'step up']): Judge {
  if (!isChoice(rules)) return judgeOfAll(demandsOf(rules, at));
  return judgeOfAny(
    rules.any.map((rule, index) => judgeOfAll(demandsOf(rule, `${at}.any[${index}]`))),
    helps,
  );
}

export function isChoice(rules: Rules): rules is Exclude<Rules, Rule> {
  return 'any' in rules;
}

/** The first demand that is not met. */
function judgeOfAll(demands: readonly Demand[]): Judge {
  return (asked) => inTurn(askEach(demands, asked));
}

function* askEach(demands: readonly Demand[], asked: Asked): Steps<Demand | undefined> {
  for (const demand of demands) if ((yield demand.isMet(asked)) !== true) return demand;
  return undefined;
}

/** Nothing where one rule is met. Else what stands in the way of the first that can be helped, or of the first. */
function judgeOfAny(judges: readonly Judge[], helps: readonly Help[]): Judge {
  return (asked) => inTurn(tryEach(judges, asked, helps));
}

function* tryEach(judges: readonly Judge[], asked: Asked, helps: readonly Help[]): Steps<Demand | undefined> {
  const unmet: Demand[] = [];
  for (const judge of judges) {
    const demand = (yield judge(asked)) as Demand | undefined;
    if (!demand) return undefined;
    unmet.push(demand);
  }
  return unmet.find(({ help }) => help !== undefined && helps.includes(help)) ?? unmet[0];
}

type Steps<Result> = Generator<Awaitable<unknown>, Result, unknown>;

/** Takes steps, each of which may have to be waited for. A guard whose rule waits for nothing answers at once. */
function inTurn<Result>(steps: Steps<Result>, from?: unknown): Awaitable<Result> {
  let step = steps.next(from);
  while (!step.done) {
    const { value } = step;
    if (isPromiseLike(value)) return Promise.resolve(value).then((settled) => inTurn(steps, settled));
    step = steps.next(value);
  }
  return step.value;
}
