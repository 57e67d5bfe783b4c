import type { BeginSignIn } from './provider.js';

/**
 * Refuses what a provider has no parameter for. Left out in silence, the visitor would sign in to something else.
 *
 * @throws {TypeError} naming the parameter
 */
export function refuseParameters(provider: string, asked: BeginSignIn, unknown: readonly (keyof BeginSignIn)[]): void {
  const odd = unknown.find((name) => asked[name] !== undefined);
  if (odd !== undefined) throw new TypeError(`The ${provider} provider has no parameter for "${odd}".`);
}

/** The parameters that have a value. */
export function definedOnly(parameters: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const given = Object.entries(parameters).filter((each): each is [string, string] => each[1] !== undefined);
  return Object.fromEntries(given);
}
