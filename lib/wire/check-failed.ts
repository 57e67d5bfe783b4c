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

/** The check that failed, where an error says so. */
export function failedCheck(error: unknown): SignInCheck | undefined {
  return error instanceof CheckFailed ? error.check : undefined;
}
