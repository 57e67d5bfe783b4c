import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import fc from 'fast-check';
import type { ClaimValue, Rule, Rules, SignedInSession, Via, Wanted } from 'express-sealed-session';

import type { Asked, Demand } from '../../../lib/rules/demand.js';
import { judgeOf } from '../../../lib/rules/judge.js';

// The time stands still: a sign-in that is almost too old must not become so while the combinations are tried.
const nowMs = Date.now();
beforeEach(() => {
  jest.spyOn(Date, 'now').mockReturnValue(nowMs);
});
afterEach(() => {
  jest.restoreAllMocks();
});

type Part = keyof Rule;

/** What a session has that meets each part of a rule, and what it has that does not. One row for each part. */
const parts: {
  readonly [Name in Part]-?: { rule: NonNullable<Rule[Name]>; meets: Partial<Fields>; fails: Partial<Fields>[] };
} = {
  via: { rule: ['cookie', 'header'], meets: { via: 'header' }, fails: [{ via: 'bearer' }, { via: 'apiKey' }] },
  stale: { rule: false, meets: { stale: false }, fails: [{ stale: true }] },
  deviceBound: { rule: true, meets: { deviceBound: true }, fails: [{ deviceBound: false }] },
  impersonated: {
    rule: false,
    meets: {},
    fails: [{ impersonator: { email: 'other@example.com', reason: null } }, { claims: { act: { sub: 'other' } } }],
  },
  organizationId: {
    rule: 'org_01',
    meets: { organizationId: 'org_01' },
    fails: [{ organizationId: undefined }, { organizationId: 'org_02' }],
  },
  permissions: { rule: 'a', meets: { permissions: ['a'] }, fails: [{ permissions: [] }, { permissions: ['ab'] }] },
  roles: { rule: 'a', meets: { roles: ['a'] }, fails: [{ roles: [] }, { roles: ['b'] }] },
  entitlements: { rule: 'a', meets: { entitlements: ['a'] }, fails: [{ entitlements: [] }] },
  featureFlags: { rule: 'a', meets: { featureFlags: ['a'] }, fails: [{ featureFlags: [] }] },
  claims: { rule: { tier: 'gold' }, meets: { claims: { tier: 'gold' } }, fails: [{ claims: { tier: 'silver' } }] },
  amr: { rule: 'otp', meets: { amr: ['pwd', 'otp'] }, fails: [{ amr: ['pwd'] }, { amr: [] }] },
  acr: { rule: ['mfa', 'hwk'], meets: { acr: 'hwk' }, fails: [{ acr: 'pwd' }, { acr: undefined }] },
  maxAuthAgeSeconds: {
    rule: 300,
    meets: { authenticatedAt: ago(240) },
    // The last one is milliseconds in place of seconds.
    fails: [
      { authenticatedAt: ago(310) },
      { authenticatedAt: undefined },
      { authenticatedAt: new Date(Date.now() * 1000) },
    ],
  },
  check: { rule: ({ data }) => data.may === true, meets: { data: { may: true } }, fails: [{ data: {} }] },
};
const names = Object.keys(parts) as Part[];

type Fields = Pick<
  SignedInSession,
  | 'via'
  | 'stale'
  | 'deviceBound'
  | 'organizationId'
  | 'permissions'
  | 'roles'
  | 'entitlements'
  | 'featureFlags'
  | 'claims'
  | 'data'
  | 'impersonator'
  | 'acr'
  | 'amr'
  | 'authenticatedAt'
>;

const nothing: Fields = {
  via: 'apiKey',
  stale: false,
  deviceBound: false,
  organizationId: undefined,
  permissions: [],
  roles: [],
  entitlements: [],
  featureFlags: [],
  claims: {},
  data: {},
  impersonator: undefined,
  acr: undefined,
  amr: [],
  authenticatedAt: undefined,
};

function ago(seconds: number): Date {
  return new Date(nowMs - seconds * 1000);
}

function asked(fields: Partial<Fields>): Asked {
  return { session: { ...nothing, ...fields } as SignedInSession, req: undefined as never, clockToleranceSeconds: 5 };
}

/** A session put together of parts: what several of them say of claims counts together. */
function sessionOf(all: readonly Partial<Fields>[]): Asked {
  const claims = Object.assign({}, ...all.map((each) => each.claims ?? {})) as Fields['claims'];
  return asked({ ...(Object.assign({}, ...all) as Partial<Fields>), claims });
}

const judge = (rules: Rules, of: Asked) => judgeOf(rules, 'rule')(of);
const nameOf = (demand: Awaited<ReturnType<typeof judge>>) => demand?.name;

/** Each set of some of these. */
function* subsetsOf<Item>(items: readonly Item[]): Generator<Item[]> {
  for (let bits = 0; bits < 2 ** items.length; bits += 1) yield items.filter((_, index) => bits & (1 << index));
}

describe('a rule', () => {
  it('is met exactly where each of its parts is, in every combination of parts', () => {
    let combinations = 0;
    for (const given of subsetsOf(names)) {
      const rule = Object.fromEntries(given.map((name) => [name, parts[name].rule])) as Rule;
      const ask = judgeOf(rule, 'rule');
      // Nothing lacks, one part, or all of them. What lacks beside the first one makes no difference.
      for (const unmet of [[], ...given.map((name) => [name]), given]) {
        combinations += 1;
        const fields = given.map((name) => (unmet.includes(name) ? parts[name].fails[0]! : parts[name].meets));
        const found = nameOf(ask(sessionOf(fields)) as Demand | undefined);
        // Compared by hand: `expect` takes as long as all the rest.
        if (found !== unmet[0]) expect([given, found]).toEqual([given, unmet[0]]);
      }
    }
    expect(combinations).toBe(2 ** names.length * 2 + (names.length * 2 ** names.length) / 2);
  });

  it.each(names.flatMap((name) => parts[name].fails.map((fields) => [name, fields] as const)))(
    'is not met for want of %s: %j',
    (name, fields) => {
      const others = names.filter((each) => each !== name).map((each) => parts[each].meets);
      const rule = Object.fromEntries(names.map((each) => [each, parts[each].rule])) as Rule;
      expect(nameOf(judge(rule, sessionOf([...others, fields])) as Demand)).toBe(name);
      expect(nameOf(judge({ [name]: parts[name].rule }, sessionOf([...others, fields])) as Demand)).toBe(name);
    },
  );

  it('is asked in the order of the table, with the question of the app last', () => {
    const rule = Object.fromEntries(names.map((each) => [each, parts[each].rule])) as Rule;
    const order: (string | undefined)[] = [];
    for (let count = 0; count <= names.length; count += 1) {
      const fields = names.map((name, index) => (index < count ? parts[name].meets : parts[name].fails[0]!));
      order.push(nameOf(judge(rule, sessionOf(fields)) as Demand));
    }
    expect(order).toEqual([...names, undefined]);
  });

  it('asks the app only about a session that meets all else', () => {
    let times = 0;
    const rule: Rule = { roles: 'a', check: () => (times += 1) > 0 };
    expect(nameOf(judge(rule, asked({})) as Demand)).toBe('roles');
    expect(times).toBe(0);
    expect(judge(rule, asked({ roles: ['a'] }))).toBeUndefined();
    expect(times).toBe(1);
  });
});

/*
 * A second reading of what rules mean, to compare with: sets, and no shared code.
 */

const value = fc.constantFrom('a', 'b', 'c', 'length', '__proto__');
const wanted = fc.oneof(
  value,
  fc.record({ all: fc.array(value, { minLength: 1, maxLength: 3 }) }),
  fc.record({ any: fc.array(value, { minLength: 1, maxLength: 3 }) }),
);
const claimValue = fc.constantFrom<ClaimValue>('a', 'b', 1, 0, true, false, null, '');
const wantedClaim: fc.Arbitrary<Wanted<ClaimValue>> = fc.oneof(
  claimValue,
  fc.record({ all: fc.array(claimValue, { minLength: 1, maxLength: 2 }) }),
  fc.record({ any: fc.array(claimValue, { minLength: 1, maxLength: 2 }) }),
);
const claimName = fc.constantFrom('x', 'https://app.example/x', 'constructor', 'a.b');

const way = fc.constantFrom<Via>('cookie', 'header', 'bearer');

const partsOfRules: Readonly<Record<Exclude<Part, 'check'>, fc.Arbitrary<unknown>>> = {
  permissions: wanted,
  roles: wanted,
  entitlements: wanted,
  featureFlags: wanted,
  claims: fc.dictionary(claimName, wantedClaim, { minKeys: 1, maxKeys: 2, noNullPrototype: true }),
  organizationId: fc.oneof(value, fc.array(value, { minLength: 1, maxLength: 2 })),
  via: fc.oneof(way, fc.array(way, { minLength: 1, maxLength: 2 })),
  impersonated: fc.constant(false),
  stale: fc.constant(false),
  acr: fc.oneof(value, fc.array(value, { minLength: 1, maxLength: 2 })),
  amr: wanted,
  maxAuthAgeSeconds: fc.constantFrom(30, 300),
  deviceBound: fc.constant(true),
};

// Few parts: with many, hardly any session would meet the rule, and little would be compared.
const ruleOf = fc
  .subarray(Object.keys(partsOfRules) as (keyof typeof partsOfRules)[], { maxLength: 2 })
  .chain(
    (given) => fc.record(Object.fromEntries(given.map((name) => [name, partsOfRules[name]]))) as fc.Arbitrary<Rule>,
  );

const held = fc.array(value, { maxLength: 3 });
const sessions = fc.record<Partial<Fields>>({
  permissions: held,
  roles: held,
  entitlements: held,
  featureFlags: held,
  organizationId: fc.option(value, { nil: undefined }),
  via: way,
  stale: fc.boolean(),
  acr: fc.option(value, { nil: undefined }),
  amr: held,
  authenticatedAt: fc.constantFrom(undefined, ago(0), ago(100), ago(1_000), ago(-1e6)),
  deviceBound: fc.boolean(),
  impersonator: fc.option(fc.constant({ email: 'other@example.com', reason: null }), { nil: undefined }),
  claims: fc.dictionary(
    fc.oneof(claimName, fc.constant('act')),
    fc.oneof(claimValue, fc.array(claimValue, { maxLength: 3 })),
    { maxKeys: 3, noNullPrototype: true },
  ),
});

function holdsByReference<Value>(has: ReadonlySet<unknown>, want: Wanted<Value>): boolean {
  if (typeof want === 'object' && want !== null) {
    if ('all' in want) return want.all.filter((each) => !has.has(each)).length === 0;
    return (want as { any: readonly Value[] }).any.filter((each) => has.has(each)).length > 0;
  }
  return has.has(want);
}

function isMetByReference(rules: Rules, fields: Partial<Fields>): boolean {
  const of = { ...nothing, ...fields };
  if ('any' in rules) return rules.any.filter((each) => isMetByReference(each, fields)).length > 0;
  const lists = (['permissions', 'roles', 'entitlements', 'featureFlags', 'amr'] as const).map(
    (name) => rules[name] === undefined || holdsByReference(new Set(of[name]), rules[name]),
  );
  const claims = Object.entries(rules.claims ?? {}).map(([name, want]) => {
    const own = Object.getOwnPropertyDescriptor(of.claims, name)?.value as unknown;
    if (own === undefined) return false;
    return holdsByReference(new Set(Array.isArray(own) ? own : [own]), want);
  });
  const organizations = new Set([rules.organizationId ?? []].flat());
  return [
    ...lists,
    ...claims,
    rules.organizationId === undefined || organizations.has(of.organizationId ?? ''),
    rules.impersonated === undefined || (of.impersonator === undefined && !Object.hasOwn(of.claims, 'act')),
    rules.acr === undefined || new Set([rules.acr].flat()).has(of.acr ?? ''),
    rules.maxAuthAgeSeconds === undefined || wasWithin(of.authenticatedAt, rules.maxAuthAgeSeconds),
    rules.via === undefined || new Set([rules.via].flat()).has(of.via),
    rules.stale === undefined || !of.stale,
    rules.deviceBound === undefined || of.deviceBound,
  ].every(Boolean);
}

function wasWithin(at: Date | undefined, seconds: number): boolean {
  const passed = (Date.now() - Number(at)) / 1000;
  return passed > -500 && passed < seconds + 50;
}

describe('rules and sessions of any kind', () => {
  it('are judged as a second reading of the rules judges them', () => {
    let passed = 0;
    fc.assert(
      fc.property(ruleOf, sessions, (rule, fields) => {
        const isMet = isMetByReference(rule, fields);
        passed += Number(isMet && Object.keys(rule).length > 0);
        expect(judge(rule, asked(fields)) === undefined).toBe(isMet);
      }),
      { numRuns: 2_000 },
    );
    // Otherwise it would be agreed that nobody passes.
    expect(passed).toBeGreaterThan(100);
  });

  it('are judged alike where one of several rules must hold', () => {
    fc.assert(
      fc.property(fc.array(ruleOf, { minLength: 1, maxLength: 4 }), sessions, (any, fields) => {
        expect(judge({ any }, asked(fields)) === undefined).toBe(isMetByReference({ any }, fields));
      }),
      { numRuns: 500 },
    );
  });

  it('are judged alike where the app answers at once and where it answers later', async () => {
    const answers = fc.array(fc.tuple(fc.boolean(), fc.boolean()), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(answers, async (all) => {
        const rules = (isLate: (late: boolean) => boolean): Rules => ({
          any: all.map(([answer, late]) => ({ check: () => (isLate(late) ? Promise.resolve(answer) : answer) })),
        });
        const expected = all.some(([answer]) => answer);
        for (const isLate of [() => false, () => true, (late: boolean) => late]) {
          expect((await judge(rules(isLate), asked({}))) === undefined).toBe(expected);
        }
      }),
      { numRuns: 100 },
    );
  });

  it('pass nobody with less than what is demanded: taking something away never lets in', () => {
    fc.assert(
      fc.property(
        ruleOf,
        sessions,
        fc.constantFrom(...(Object.keys(nothing) as (keyof Fields)[])),
        (rule, fields, name) => {
          const less = { ...fields, [name]: name === 'stale' ? true : nothing[name] };
          // Nobody impersonates in a session without claims: that is no less.
          if (name === 'impersonator' || (name === 'claims' && rule.impersonated === false)) return;
          if (judge(rule, asked(less)) === undefined) expect(judge(rule, asked(fields))).toBeUndefined();
        },
      ),
      { numRuns: 500 },
    );
  });
});
