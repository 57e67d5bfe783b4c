export { withSession } from './request/visit.js';
export { type Middleware, type Next, requireSession } from './request/guard.js';
export { sessionRoutes } from './routes/routes.js';
export {
  type Authenticated,
  type AuthenticateResult,
  createSessionManager,
  type LoadedSession,
  type NotAuthenticated,
  type RefreshSessionResult,
  type SessionManager,
} from './lifecycle.js';
export { getSession } from './request/attached.js';
export type {
  RefreshResult,
  Session,
  SessionActions,
  SignedInSession,
  SignedOutSession,
} from './request/session-object.js';
export type {
  CacheOptions,
  CookieOptions,
  LegacyCookie,
  RefreshOptions,
  Rule,
  SessionOptions,
  TransportOptions,
} from './options/session-options.js';
export { memoryCoordinator, type MemoryCoordinatorOptions } from './refresh/single-flight.js';
export type { Coordinator, Led, Outcome, Refreshed, Ticket } from './refresh/coordinator.js';
export type { Terminal, Transient } from './refresh/outcome.js';
export { workos, type WorkosOptions } from './provider/workos.js';
export { oidc, type OidcOptions } from './provider/oidc.js';
export {
  type AccessTokenRules,
  pkceChallenge,
  type Provider,
  type RefreshGrant,
  type SignInRequest,
  type TokenRequest,
} from './provider/provider.js';
export { providerFailure } from './wire/failure.js';
export { camelCaseFields } from './session/payload.js';
export type { Awaitable } from './awaitable.js';
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
} from './session/payload.js';
export {
  type ConfigProblem,
  SessionConfigError,
  SessionError,
  type SessionErrorCode,
  SessionForbiddenError,
  SessionRequiredError,
  SessionUnavailableError,
} from './errors.js';
