import type { RefreshSource } from '../session/reasons.js';
import type { SessionPayload } from '../session/payload.js';
import type { Refused, Terminal, Unavailable } from './outcome.js';

/** New tokens, already sealed: every request with the old cookie gets this. */
export interface Refreshed {
  readonly kind: 'refreshed';
  readonly payload: SessionPayload;
  readonly sealed: string;
  /** Identifies the password that sealed `sealed`, without revealing it. */
  readonly sealedUnder: string;
  /** The `key` of the new refresh token. */
  readonly successorKey: string | undefined;
  /** What a sign-in has beside its tokens, where they came by one. */
  readonly signIn?: { readonly returnTo: string; readonly idToken?: string | undefined } | undefined;
}

export type Outcome = Refreshed | Terminal | Refused | Unavailable;

/** What a process needs to share the outcome of one refresh token with others. */
export interface SharedToken {
  /** `tokenKey()` of the refresh token. */
  readonly key: string;
  /** `tokenSecret()` of the refresh token, for what leaves the process. */
  readonly secret: Buffer;
  /** The passwords of the sessions, the newest first. What leaves the process opens with one of them only. */
  readonly passwords: readonly string[];
  /** What another process has stored, as a payload that may follow this token's: checked as a cookie is. */
  readonly accept: (value: unknown) => SessionPayload | undefined;
}

/** A request to refresh one refresh token. A token may be presented once, so its requests wait for each other. */
export interface Ticket extends SharedToken {
  /** The organization that is asked for; '' for none. */
  readonly organizationId: string;
  /** The access token to replace. Without rotation, only the access token tells old from new. */
  readonly accessToken: string;
  /** How long a released outcome is still shared, in milliseconds. */
  readonly graceMs: number;
  /** How long an outcome is shared that nobody has released, in milliseconds. Default: a quarter of an hour. */
  readonly keptMs?: number | undefined;
  /** How long the refresh may run, in milliseconds. */
  readonly timeoutMs: number;
  /** Whether to wait for a refresh that is already running. If not, the answer may be `undefined`. */
  readonly wait: boolean;
}

/** The outcome of a refresh, and how it was obtained. */
export interface CoordinatedOutcome {
  readonly outcome: Outcome;
  /** The organization that was asked for. If it differs from the ticket's, refresh again from this session. */
  readonly organizationId: string;
  readonly source: RefreshSource;
}

/** Has each refresh token presented once, and shares the outcome with everyone who holds the token. */
export interface Coordinator {
  /**
   * Runs `lead`, unless this token is being refreshed or was refreshed a moment ago. The refresh goes on when the
   * request that started it ends. Rejects only with what `lead` rejects with.
   */
  readonly refresh: (ticket: Ticket, lead: () => Promise<Outcome>) => Promise<CoordinatedOutcome | undefined>;
  /**
   * To be called when a browser presents this refresh token: its predecessor is shared for `graceMs` more, and then no
   * longer. What the rest of the fleet is told of it goes on in the background.
   */
  readonly releasePredecessor: (key: string, graceMs: number) => void;
  /** When the successor of this token was first presented by a browser, in milliseconds, as far as is known here. */
  readonly claimedAtMs: (key: string) => number | undefined;
  /** The tokens that replaced this one, if this process knows them. */
  readonly successorOf: (key: string) => Refreshed | undefined;
  /** The same, known to any process of the fleet. Never rejects. */
  readonly findSuccessor: (token: SharedToken) => Promise<Refreshed | undefined>;
}
