import { createHmac } from 'node:crypto';

import type { RefreshSource } from '../events.js';
import type { Provider } from '../provider/provider.js';
import type { SessionPayload } from '../session/payload.js';
import type { Terminal, Transient } from './outcome.js';

/** New tokens, sealed: what everyone gets who comes with the old cookie. */
export interface Refreshed {
  readonly kind: 'refreshed';
  readonly session: SessionPayload;
  readonly sealed: string;
  /** Tells under which password `sealed` is sealed, without telling the password. */
  readonly sealedUnder: string;
  /** The `key` of the new refresh token. */
  readonly successorKey: string | undefined;
}

export type Outcome = Refreshed | Terminal | Transient;

/** One refresh token's turn. A refresh token may be presented once, so its refreshes wait for each other. */
export interface Ticket {
  /** Names the refresh token to others who hold it, and tells nothing to those who do not. */
  readonly key: string;
  /** What is asked for besides: the organization. Only the same variant may share a result. */
  readonly variant: string;
  /** The access token to be replaced. Where refresh tokens are not rotated, it alone tells old from new. */
  readonly accessToken: string;
  /** For sealing what is shared outside the process: known to holders of the refresh token only. */
  readonly secret: Buffer;
  /** How long the outcome is remembered, and how long the refresh may run. Milliseconds. */
  readonly graceMs: number;
  readonly budgetMs: number;
  /** Whether to wait for somebody else's refresh; if not, the answer may be `undefined`. */
  readonly wait: boolean;
}

export interface Led {
  readonly outcome: Outcome;
  /** Of the refresh that was done: with another variant than the ticket's, its session is to be refreshed on. */
  readonly variant: string;
  readonly source: RefreshSource;
}

/** Sees to it that a refresh token is presented once, and that all who hold it learn what came of it. */
export interface Coordinator {
  /**
   * Runs `lead` if nobody refreshes this token now and nobody did a moment ago. `lead` never rejects, and is not
   * tied to the request that began it.
   */
  readonly refresh: (ticket: Ticket, lead: () => Promise<Outcome>) => Promise<Led | undefined>;
  /** Tells that a browser has come with this refresh token: its predecessor is no longer needed. */
  readonly claim: (key: string) => void;
  /** The tokens that are known here to have taken the place of this one. */
  readonly successorOf: (key: string) => Refreshed | undefined;
  /** Remembers that sessions have ended, by their names. */
  readonly end: (names: readonly string[]) => Promise<void>;
  /** Whether any of these is known here to have ended. */
  readonly hasEnded: (names: readonly string[]) => boolean;
  /** Whether anything is known here to have ended: while nothing is, a visitor's names need not be derived. */
  readonly anyEnded?: () => boolean;
  /** Learns from the rest of the fleet, if there is one, whether any of these has ended. Never rejects. */
  readonly learnEnded?: (names: readonly string[]) => Promise<void>;
  /** Tells whenever the rest of the fleet is lost (`process`) and found again (`fleet`). */
  readonly onScope?: (listener: (scope: 'process' | 'fleet') => void) => void;
}

/**
 * Names a refresh token to others who hold it. A hash keyed with the token itself: tokens are random enough that it
 * cannot be turned back, and the password may change in between.
 */
export function nameOf(provider: Provider, refreshToken: string): string {
  return derive(provider, refreshToken, 'name').toString('base64url');
}

/** A key for what is shared about a refresh token, derived in the same way. */
export function secretOf(provider: Provider, refreshToken: string): Buffer {
  return derive(provider, refreshToken, 'secret');
}

/**
 * The names under which a session ends: of its refresh token, and of its id. By our own id where there is one: a
 * provider may use its `sid` again when the visitor signs in anew.
 */
export function namesOf(
  provider: Provider,
  { refreshToken, sessionId }: SessionPayload,
  sid: () => string | undefined,
): readonly string[] {
  const id = sessionId ?? sid();
  return [
    ...(refreshToken === undefined ? [] : [nameOf(provider, refreshToken)]),
    ...(id === undefined ? [] : [derive(provider, id, 'session').toString('base64url')]),
  ];
}

function derive(provider: Provider, secret: string, use: string): Buffer {
  return createHmac('sha256', secret).update(`express-sealed-session ${use} ${provider.id}`).digest();
}
