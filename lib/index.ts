export { withSession } from './with-session.js';
export { type Middleware, type Next, requireSession } from './require-session.js';
export { sessionRoutes } from './session-routes.js';
export {
  type Authenticated,
  type AuthenticateResult,
  createSessionManager,
  type LoadedSession,
  type NotAuthenticated,
  type RefreshSessionResult,
  type SessionManager,
} from './session-manager.js';
export { getSession } from './http/attached-session.js';
export type {
  RefreshResult,
  Session,
  SessionActions,
  SignedInSession,
  SignedOutSession,
} from './http/request-session.js';
export type {
  CacheOptions,
  CookieOptions,
  LegacyCookie,
  RefreshOptions,
  Rule,
  SessionOptions,
  TransportOptions,
} from './session-options.js';
export { memoryCoordinator, type MemoryCoordinatorOptions } from './refresh/memory-coordinator.js';
export type { Coordinator, Led, Outcome, Refreshed, Ticket } from './refresh/coordinator.js';
export type { Terminal, Transient } from './refresh/outcome.js';
export { workos, type WorkosOptions } from './provider/workos.js';
export { oidc, type OidcOptions } from './provider/oidc.js';
export type {
  AccessTokenRules,
  Provider,
  RefreshGrant,
  Reuse,
  SignInRequest,
  TokenRequest,
} from './provider/provider.js';
export { aesGcmSealer } from './seal/aes-gcm.js';
export { ironSealer } from './seal/iron.js';
export type { Opened, Sealer } from './seal/sealer.js';
export type { Password, Passwords } from './seal/passwords.js';
export type { EventCallbacks, RefreshSource, SessionEvents } from './events.js';
export type {
  Claims,
  Impersonator,
  Reason,
  RetryableReason,
  SealProblem,
  SessionPayload,
  SessionProfile,
  TerminalReason,
  TokenReason,
  TokenSet,
  User,
} from './session.js';
export {
  type ConfigProblem,
  SessionConfigError,
  SessionError,
  type SessionErrorCode,
  SessionForbiddenError,
  SessionRequiredError,
  SessionUnavailableError,
} from './errors.js';
