import { randomBytes, randomUUID } from 'node:crypto';

import { jest } from '@jest/globals';
import type { Outcome, Ticket } from 'express-sealed-session';

/** What a coordinator is asked with, for a refresh token of its own. */
export const newTicket = (changes: Partial<Ticket> = {}): Ticket => ({
  key: randomUUID(),
  variant: '',
  accessToken: 'the old one',
  secret: randomBytes(32),
  graceMs: 60_000,
  budgetMs: 5_000,
  wait: true,
  ...changes,
});

export const refreshed: Outcome = {
  kind: 'refreshed',
  session: { accessToken: 'the new one', refreshToken: 'the next one' },
  sealed: 'sealed',
  sealedUnder: 'a password',
  successorKey: 'of the next one',
};
export const dead: Outcome = { kind: 'terminal', reason: 'invalid_grant' };
export const away: Outcome = { kind: 'transient', reason: 'server_error' };

/** Leads a refresh to this outcome. */
export const leads = (outcome: Outcome) => jest.fn(() => Promise.resolve(outcome));
export const mustNotLead = () => Promise.reject(new Error('presents a token that is not its to present'));
