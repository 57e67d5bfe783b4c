import { isRecord } from '../json.js';
import type { NoticeCheck } from '../session/notice-check.js';

/** A notice of the provider that does not pass a check. It holds no part of the notice. */
export class NoticeRefused extends Error {
  // A literal: a minifier changes the names of classes.
  override readonly name = 'NoticeRefused';
  readonly check: NoticeCheck;

  constructor(check: NoticeCheck) {
    super(`The notice of the provider does not pass a check: ${check}.`);
    this.check = check;
  }
}

/** The check that failed, where an error says so. By name: an app may hold two copies of this package. */
export function refusedCheck(error: unknown): NoticeCheck | undefined {
  return isRecord(error) && error.name === 'NoticeRefused' ? (error as unknown as NoticeRefused).check : undefined;
}
