/**
 * What is remembered of sessions beside their seals: which have ended, and which must be refreshed before they are served.
 * Every question is answered from memory. In a fleet, what one process records the others know within a second.
 */
export interface Ledger {
  /** A number that changes with each entry: what was looked up at this version need not be looked up again. */
  readonly version: () => number;
  /** Whether nothing is known here: then the names of a session need not be derived. */
  readonly isEmpty: () => boolean;
  /** The ending of a session, as far as it is known here. */
  readonly endingOf: (names: SessionNames) => Ending | undefined;
  /** From when on the provider must have confirmed what a session claims, in milliseconds; 0 where nothing was asked for. */
  readonly freshFromMs: (names: SessionNames) => number;
  /** Remembers entries, here at once. Resolves to whether the fleet was told: if not, it is told later. Never rejects. */
  readonly record: (entries: readonly LedgerEntry[]) => Promise<boolean>;
  /** Notes that a name has come: true for the first time, false afterwards, undefined when it cannot be told. */
  readonly firstSight: (name: string, untilMs: number) => Promise<boolean | undefined>;
  /** Reads what the fleet has added meanwhile. In one process it resolves at once. Never rejects. */
  readonly look: () => Promise<void>;
  /**
   * Undefined once everything has been read that the fleet has recorded before. Until then, and for two seconds at most, a
   * promise; `false` when it took longer. In one process there is nothing to wait for.
   */
  readonly untilRead: () => Promise<boolean> | undefined;
  /** How long an entry is kept that has no end of its own, in milliseconds. */
  readonly rememberMs: number;
}

/** One line of the ledger: under one name, what became of the sessions of this name. Merged with an earlier one. */
export interface LedgerEntry {
  readonly kind: 'ended' | 'refresh';
  /** One of the names of `session-names.ts`. */
  readonly name: string;
  /** When it was, in milliseconds: it concerns what began, or was confirmed, before. */
  readonly atMs: number;
  /** Until when it must be remembered, in milliseconds. */
  readonly untilMs: number;
  /**
   * Whether a sign-in of the same user took the session's place. At some providers both share a grant: revoking what is
   * left of the old session would end the new one.
   */
  readonly isReplaced?: boolean | undefined;
}

export type Ending = Pick<LedgerEntry, 'atMs' | 'isReplaced'>;

/** The names by which a session is known to the ledger. */
export interface SessionNames {
  /** Names that no other session ever has. */
  readonly own: readonly string[];
  /** Names that other sessions have too. An ending under one of them before `begunMs` concerns earlier sessions. */
  readonly shared: readonly string[];
  readonly begunMs: number;
}
