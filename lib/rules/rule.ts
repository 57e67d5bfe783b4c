import type { OneOf, Rule, Wanted } from '../options/session-options.js';
import type { SessionProfile } from '../session/profile.js';

/** One part of a rule, as a question to a session. */
export interface Demand {
  /** The part of the rule, for the error. */
  readonly name: keyof Rule;
  readonly isMet: (session: SessionProfile) => boolean;
}

/** The rule as a list of demands, in the order in which they are asked. A part that is forgotten does not compile. */
export function demandsOf(rule: Rule): readonly Demand[] {
  const demands: Record<keyof Rule, readonly Demand[]> = {
    permissions: holding('permissions', rule.permissions),
    roles: holding('roles', rule.roles),
    entitlements: holding('entitlements', rule.entitlements),
    featureFlags: holding('featureFlags', rule.featureFlags),
    organizationId: beingIn(rule.organizationId),
  };
  return Object.values(demands).flat();
}

type ListName = 'permissions' | 'roles' | 'entitlements' | 'featureFlags';

function holding(name: ListName, wanted: Wanted | undefined): Demand[] {
  if (wanted === undefined) return [];
  if (typeof wanted === 'string') return [{ name, isMet: (session) => session[name].includes(wanted) }];
  if ('all' in wanted) {
    return [{ name, isMet: (session) => wanted.all.every((each) => session[name].includes(each)) }];
  }
  return [{ name, isMet: (session) => wanted.any.some((each) => session[name].includes(each)) }];
}

function beingIn(wanted: OneOf | undefined): Demand[] {
  if (wanted === undefined) return [];
  const organizations = [wanted].flat();
  return [
    {
      name: 'organizationId',
      isMet: ({ organizationId }) => organizationId !== undefined && organizations.includes(organizationId),
    },
  ];
}
