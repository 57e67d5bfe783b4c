import { bool, type Check, type Checks, kind, optional, readOptions } from './checks.js';

/** Any string: an empty one is as good as none. */
export const anyText: Check = (value) =>
  typeof value === 'string' ? undefined : `must be a string; ${kind(value)} was given.`;

/** What `session.refresh()` takes. */
export const refreshChecks: Checks<{ organizationId?: string | undefined }> = { organizationId: optional(anyText) };

/** What `logoutUrl()` takes. */
export const logoutUrlChecks: Checks<{ returnTo?: string | undefined }> = { returnTo: optional(anyText) };

/** What `session.signOut()` takes. */
export const signOutChecks: Checks<{ returnTo?: string | undefined; everywhere?: boolean | undefined }> = {
  ...logoutUrlChecks,
  everywhere: optional(bool),
};

/**
 * The options of a call. One that nobody reads was meant to do something: `organisationId` would refresh the organization
 * that the session has.
 *
 * @throws {TypeError} naming the option
 */
export function readCall<Options extends object>(call: string, options: unknown, checks: Checks<Options>): Options {
  const { given, problems } = readOptions<Options>('', options, checks);
  const [problem] = problems;
  if (problem) throw new TypeError(`${call}: "${problem.path}" ${problem.message}`);
  return given;
}
