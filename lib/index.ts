export { type Sessions, withSession } from './with-session.js';
export { getSession, requireSession } from './require-session.js';
export { createSessionManager } from './session-manager.js';
export type {
  AuthenticateResult,
  LoadedSession,
  LoadOptions,
  RefreshSessionResult,
  SessionManager,
} from './loaded-session.js';
export type { Middleware, Next } from './http/middleware.js';
export type { ErrorHandlerOptions, ErrorMiddleware } from './routes/error-page.js';
export type { SessionAnswer } from './routes/session.js';
export type {
  RefreshResult,
  Session,
  SessionActions,
  SignedInSession,
  SignedOutSession,
  SignOutOfSession,
} from './request/session.js';
export type {
  CacheOptions,
  CookieOptions,
  DeviceBoundOptions,
  ErrorPageWords,
  LifetimeOptions,
  RefreshOptions,
  ReplacedCookie,
  RouteOptions,
  SessionOptions,
  SignInHook,
  SignInHookResult,
  SignInOptions,
  SignInTokens,
  SignOutOptions,
  WhenUnavailable,
} from './options/session-options.js';
export type { ClaimValue, GuardOptions, OneOf, Rule, RuleRequest, Rules, Wanted } from './options/rule.js';
export type { ApiKeyHolder, ApiKeyLookup, BearerOptions } from './options/bearer.js';
export type { Via } from './session/via.js';
export { workos, type WorkosOptions, type WorkosUser } from './provider/workos.js';
export { oidc } from './provider/oidc.js';
export type { OidcUser } from './provider/oidc-user.js';
export type { Agents } from './wire/agents.js';
export type { ClientAuthentication, ClientAuthenticationFunction, ClientKey } from './wire/client-authentication.js';
export type { ClaimMap, ClaimMapper, Granted, MappedClaim } from './session/claim-map.js';
export type { NoticeCheck } from './session/notice-check.js';
export type { SignInCheck } from './session/sign-in-check.js';
export type { AccessTokenOptions, OidcOptions } from './provider/oidc-options.js';
export {
  type AccessTokenRules,
  type BeginSignIn,
  type Notice,
  type NoticeHeaders,
  pkceChallenge,
  type Provider,
  type ReadSettings,
  type RefreshGrant,
  type SignInRequest,
  type TokenRequest,
} from './provider/provider.js';
export type { LogoutToken } from './token/logout-token.js';
export { providerFailure } from './wire/failure.js';
export type { Awaitable } from './awaitable.js';
export { camelCaseFields } from './session/codec.js';
export type { Fleet } from './fleet/fleet.js';
export { rubySealer } from './seal/aes-gcm.js';
export { compactSealer } from './seal/compact.js';
export { ironSealer } from './seal/iron.js';
export type { Opened, Sealer } from './seal/sealer.js';
export type { Password, Passwords } from './seal/passwords.js';
export type { Counted, EventCallbacks, Misconfiguration, SessionEvents } from './events.js';
export type {
  FinalReason,
  NotAuthenticated,
  PassedLimit,
  Reason,
  RefreshSource,
  RejectedDetail,
  RetryableReason,
  SealProblem,
  TerminalReason,
  TokenProblem,
  TokenReason,
} from './session/reasons.js';
export type {
  Impersonator,
  SessionData,
  SessionPayload,
  SessionUser,
  TokenKind,
  TokenSet,
  User,
} from './session/payload.js';
export type { Authenticated, SessionClaims, SessionProfile } from './session/profile.js';
export type { EndCause, Ended, ForceRefreshTarget, RevokeTarget } from './session/ended.js';
export type { Json } from './json.js';
export {
  type AnySessionError,
  type ConfigProblem,
  isSessionError,
  type ProviderUnavailableError,
  SessionConfigError,
  SessionCrossOriginError,
  SessionError,
  type SessionErrorCode,
  SessionForbiddenError,
  SessionRequiredError,
  SessionSignInError,
  SessionStepUpError,
  SessionUnavailableError,
  SessionUseError,
  type SignInFailure,
  type SwitchOffer,
  type WhyUnavailable,
} from './errors.js';
