import type { IncomingMessage } from 'node:http';

import { debug } from '../debug.js';
import type { AnySessionError } from '../errors.js';
import { idOf } from '../session/unverified-claims.js';
import type { SessionState } from './state.js';

/** Prints what a request was found to be. */
export function debugVisit(req: IncomingMessage, state: SessionState, seal: string | undefined): void {
  const { payload } = state;
  debug(lineOf(req), {
    answer: state.signedIn ? 'signed_in' : 'not_signed_in',
    reason: state.signedIn ? undefined : state.reason,
    seal,
    sealBytes: seal?.length,
    sessionId: payload && idOf(payload),
    refreshed: (state.signedIn && state.refreshed) || undefined,
    stale: state.signedIn ? state.stale?.reason : undefined,
    expiresInSeconds: state.signedIn ? Math.round((state.expiresAtMs - Date.now()) / 1000) : undefined,
  });
}

/** Prints what a guard has decided. */
export function debugGuard(req: IncomingMessage, error: AnySessionError | undefined): void {
  debug(`guard ${lineOf(req)}`, {
    answer: error ? 'refused' : 'passed',
    status: error?.status,
    reason: error && 'reason' in error ? error.reason : undefined,
    demand: error && 'demand' in error ? error.demand : undefined,
  });
}

/** Method and path. The query may hold a code, or what a visitor has typed. */
function lineOf({ method = '', url = '' }: IncomingMessage): string {
  return `${method} ${url.split('?', 1)[0] ?? ''}`;
}
