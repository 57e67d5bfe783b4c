import type { SessionEvents } from '../events.js';
import { createLifecycle } from '../lifecycle.js';
import { resolveOptions } from '../options/config.js';
import type { SessionOptions } from '../options/session-options.js';
import type { SessionPayload } from '../session/payload.js';
import type { Reason, RejectedDetail } from '../session/reasons.js';
import { tokenEndMs } from '../ending.js';

/** What a request with this seal would be answered. */
export interface Verdict {
  readonly answer: 'signed_in' | 'refreshed_first' | 'refused' | 'cannot_tell';
  readonly reason?: Reason | undefined;
  readonly detail?: RejectedDetail | undefined;
  readonly error?: string | undefined;
}

/** What a request would be answered, by the app's own options. The key set and the fleet are asked; nothing is refreshed. */
export async function judgeAsApp(options: SessionOptions, seals: readonly string[]): Promise<Verdict> {
  const told: SessionEvents['rejected'][] = [];
  const events = { rejected: (event: SessionEvents['rejected']) => told.push(event), misconfigured: () => undefined };
  const life = createLifecycle(resolveOptions({ ...options, events }, 'withSession').life);
  const last = () => told.at(-1);
  const refused = (reason: Reason): Verdict => ({ answer: 'refused', reason, detail: last()?.detail });

  const opened = life.openNewest(seals);
  if (!opened) return refused('invalid_session_cookie');
  const { payload } = opened;
  await life.untilRead();
  const over = life.whyOver(payload);
  if (over !== undefined) return refused(over);
  const check = await life.check(payload);
  switch (check.verdict) {
    case 'valid':
      return life.mustRefresh(payload) ? expiredVerdict(payload) : { answer: 'signed_in' };
    case 'expired':
      return expiredVerdict(payload);
    case 'invalid':
      life.reportRejected(payload, check);
      return refused(check.reason);
    case 'unknown':
      life.reportRejected(payload, check);
      return { answer: 'cannot_tell', reason: check.reason, detail: last()?.detail, error: last()?.error };
  }
}

/** As far as can be told without the options: by the expiry alone. */
export function judgeByExpiry(payload: SessionPayload): Verdict {
  if (tokenEndMs(payload) > Date.now()) return { answer: 'cannot_tell' };
  return expiredVerdict(payload);
}

function expiredVerdict({ refreshToken }: SessionPayload): Verdict {
  return refreshToken === undefined
    ? { answer: 'refused', reason: 'expired_jwt', detail: 'no_refresh_token' }
    : { answer: 'refreshed_first' };
}
