import { randomBytes, randomUUID } from 'node:crypto';

import { jest } from '@jest/globals';

import type { Outcome, Ticket } from '../../lib/refresh/coordinator.js';
import type { SessionPayload } from '../../lib/session/payload.js';

/** A ticket for a refresh token that no other ticket has. */
export const newTicket = (changes: Partial<Ticket> = {}): Ticket => ({
  key: randomUUID(),
  organizationId: '',
  accessToken: 'the old one',
  secret: randomBytes(32),
  passwords: ['a password of these specs, long enough'],
  accept: (value) => value as SessionPayload,
  graceMs: 60_000,
  timeoutMs: 5_000,
  wait: true,
  ...changes,
});

export const refreshed: Outcome & { kind: 'refreshed' } = {
  kind: 'refreshed',
  payload: { accessToken: 'the new one', refreshToken: 'the next one' },
  sealed: 'sealed',
  sealedUnder: 'a password',
  successorKey: 'of the next one',
};
export const dead: Outcome = { kind: 'terminal', reason: 'invalid_grant' };
export const away: Outcome = { kind: 'unavailable', reason: 'server_error' };

/** A lead with this outcome. */
export const leads = (outcome: Outcome) => jest.fn(() => Promise.resolve(outcome));
export const mustNotLead = () => Promise.reject(new Error('This process must not present the token.'));
