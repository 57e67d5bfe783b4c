/** Which sessions end: one, those of a user, or all of this provider and client. */
export type RevokeTarget =
  | {
      /** The id of one session, as `session.sessionId` shows it. */
      readonly sessionId: string;
    }
  | {
      /** The id of a user. */
      readonly userId: string;
      /** Sessions that began later stay. Default: now. */
      readonly before?: Date | undefined;
    }
  | {
      readonly everyone: true;
      /** Sessions that began later stay. Default: now. */
      readonly before?: Date | undefined;
    };

/** Which sessions are refreshed before they are served again. */
export type ForceRefreshTarget = { readonly sessionId: string } | { readonly userId: string };

/** Which sessions have ended. */
export interface Ended {
  /** One session. */
  readonly sessionId?: string | undefined;
  /** All sessions of this user that began before. */
  readonly userId?: string | undefined;
  /** All sessions of this provider and client that began before. */
  readonly everyone?: true | undefined;
}

/** Why sessions have ended. */
export type EndCause =
  /** `sessions.revoke()`. */
  | 'revoked'
  /** `session.signOut({ everywhere: true })`. */
  | 'signed_out_everywhere'
  /** The provider's back-channel log-out. */
  | 'backchannel_logout'
  /** A webhook of the provider. */
  | 'webhook'
  /** `lifetime.absoluteSeconds`, or the provider's own ceiling, has passed. */
  | 'lifetime'
  /** The provider has refused to refresh the session. */
  | 'provider'
  /** An old seal came too late, and `refresh.replay` is `revoke`. */
  | 'replayed';
