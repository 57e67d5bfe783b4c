import { isRecord } from '../json.js';
import type { SignInCheck } from '../session/sign-in-check.js';

/** An answer of the provider that does not pass a check. It holds no part of the answer. */
export class CheckFailed extends Error {
  // A literal: a minifier changes the names of classes.
  override readonly name = 'CheckFailed';
  readonly check: SignInCheck;

  constructor(check: SignInCheck) {
    super(`The answer of the provider does not pass a check: ${check}.`);
    this.check = check;
  }
}

/** The check that failed, where an error says so. By name: an app may hold two copies of this package. */
export function failedCheck(error: unknown): SignInCheck | undefined {
  return isRecord(error) && error.name === 'CheckFailed' ? (error as unknown as CheckFailed).check : undefined;
}
