import type { IncomingMessage } from 'node:http';

import type { Awaitable } from '../awaitable.js';
import { SessionConfigError, SessionUnavailableError, type SignInFailure } from '../errors.js';
import { clientOf } from '../http/client.js';
import { safeReturnPath } from '../http/navigation.js';
import { isRecord } from '../json.js';
import { userIdOf } from '../fleet/session-names.js';
import type { Lifecycle } from '../lifecycle.js';
import type { SealSettings } from '../options/config.js';
import type { SignInHook } from '../options/session-options.js';
import type { Provider, SignInRequest } from '../provider/provider.js';
import type { Coordinator, Outcome, Refreshed } from '../refresh/coordinator.js';
import type { Terminal } from '../refresh/outcome.js';
import { tokenKey, tokenSecret } from '../refresh/token-key.js';
import { type PreparedSession, prepareSession } from '../request/actions.js';
import { holds } from '../rules/demand.js';
import { isRecent } from '../rules/recent.js';
import { bindingOf } from '../session/binding.js';
import { readPayload } from '../session/codec.js';
import type { SessionPayload, TokenSet } from '../session/payload.js';
import type { Authenticated, SessionProfile } from '../session/profile.js';
import type { SignInCheck } from '../session/sign-in-check.js';
import { failedCheck } from '../wire/check-failed.js';
import { knownErrorCode } from '../wire/error-code.js';
import { failureDetail, failureReason, isProviderFailure } from '../wire/failure.js';
import { send } from '../wire/token-endpoint.js';
import { type Flow, flowSeconds } from './flow.js';
import { processWide } from '../process-wide.js';

export interface ExchangeParts {
  readonly life: Lifecycle;
  readonly provider: Provider;
  readonly coordinator: Coordinator;
  readonly seals: SealSettings;
  readonly onSignIn: SignInHook | undefined;
  readonly timeoutMs: number;
  readonly clockToleranceSeconds: number;
}

/** A callback whose flow was found. */
export interface CallbackVisit {
  readonly req: IncomingMessage;
  readonly query: URLSearchParams;
  readonly flow: Flow;
  readonly request: SignInRequest;
  /** Who was signed in before: when the sign-in began, and now. */
  readonly earlierUserIds: readonly (string | undefined)[];
  /** Whether only an impersonation is accepted. */
  readonly mustBeImpersonated?: boolean;
}

/** A sign-in that has succeeded: the session, sealed once for all who come with the same flow. */
export interface SignInResult {
  readonly payload: SessionPayload;
  readonly sealed: string;
  readonly returnTo: string;
  readonly idToken: string | undefined;
  /** Whether this request has exchanged the code. */
  readonly isNew: boolean;
}

/** Why a sign-in has failed, and who is to tell. */
export class ExchangeFailure extends Error {
  override readonly name = 'ExchangeFailure';

  readonly failure: SignInFailure;
  readonly details: FailureDetails;
  /** What the app's error handler gets in place of a `SessionSignInError`. */
  readonly thrown: unknown;
  /** Whether this request has exchanged the code: only it reports. */
  readonly isNew: boolean;

  constructor(failure: SignInFailure, details: FailureDetails = {}, thrown?: unknown, isNew = true) {
    super(failure);
    this.failure = failure;
    this.details = details;
    this.thrown = thrown;
    this.isNew = isNew;
  }
}

interface FailureDetails {
  readonly check?: SignInCheck | undefined;
  readonly providerError?: string | undefined;
}

// What the coordinator shares: the outcomes of refreshes, with what a sign-in has beside them.
type Done = Refreshed & { readonly signIn: NonNullable<Refreshed['signIn']> };
type Failed = Terminal & Pick<ExchangeFailure, 'failure' | 'details'>;

// How long the callback that a browser sends twice is given the session of the first one.
const keptMs = 60_000;

// What the app's hook has thrown stays in this process: it may hold anything.
const thrownBy = processWide('thrown by hooks', () => new WeakMap<object, unknown>());

/**
 * Exchanges the code of a flow: once, in this process and in the fleet, however often the browser brings it. A code that
 * comes twice makes the provider revoke what it has issued for it (RFC 6749 section 4.1.2). Who has the flow gets the
 * session, whatever code comes with it.
 *
 * @throws {ExchangeFailure}
 * @throws {SessionUnavailableError} the provider cannot be asked now, or refuses us
 */
export async function exchangeOnce(parts: ExchangeParts, visit: CallbackVisit): Promise<SignInResult> {
  const { provider, coordinator, seals, life, timeoutMs } = parts;
  const { codeVerifier } = visit.flow;
  const ticket = {
    // The verifier is as random as a refresh token, and only the sealed flow has it.
    key: tokenKey(provider, codeVerifier),
    secret: tokenSecret(provider, codeVerifier),
    passwords: seals.passwords.newestFirst.map((each) => each.password),
    accept: (value: unknown) => acceptPayload(provider, value),
    organizationId: '',
    accessToken: '',
    graceMs: keptMs,
    keptMs,
    timeoutMs,
    wait: true,
  };
  const coordinated = await coordinator.refresh(ticket, () => lead(parts, visit));
  const outcome = coordinated?.outcome ?? { kind: 'unavailable', reason: 'timeout' };
  const isNew = coordinated?.source === 'leader';
  switch (outcome.kind) {
    case 'refreshed': {
      const { payload, sealed, signIn: { returnTo, idToken } = { returnTo: visit.flow.returnTo } } = outcome;
      return { payload, sealed, returnTo, idToken, isNew };
    }
    case 'refused':
    case 'unavailable': {
      const reason = outcome.kind === 'unavailable' ? outcome.reason : 'server_error';
      // The requests that have waited for it are the same sign-in.
      if (isNew || !coordinated) {
        life.emit('signInFailed', { failure: 'provider_unavailable', check: reason, restarted: false });
      }
      throw new SessionUnavailableError(reason, outcome.kind === 'unavailable' ? outcome : undefined);
    }
    case 'terminal': {
      const { failure, details } = outcome as Failed;
      throw new ExchangeFailure(failure, details, thrownBy.get(outcome), isNew);
    }
  }
}

/** What another process says of this sign-in, checked as a cookie is. */
function acceptPayload({ id }: Provider, value: unknown): SessionPayload | undefined {
  const payload = readPayload(value);
  return payload?.boundTo === bindingOf(id, 'session') ? payload : undefined;
}

/**
 * Exchanges a code that belongs to no flow. Its result is shared with nobody: the code is all that a second request would
 * have to show.
 *
 * @throws {ExchangeFailure}
 * @throws {SessionUnavailableError}
 */
export async function exchangeUnshared(parts: ExchangeParts, visit: CallbackVisit): Promise<SignInResult> {
  const { payload, sealed, signIn: more } = await signIn(parts, visit);
  return { payload, sealed, idToken: more.idToken, returnTo: more.returnTo, isNew: true };
}

/** What the first callback of a flow does. Every failure is a value, so that the others of the fleet learn it. */
async function lead(parts: ExchangeParts, visit: CallbackVisit): Promise<Outcome> {
  try {
    return await signIn(parts, visit);
  } catch (error) {
    if (error instanceof SessionUnavailableError) {
      const { reason, retryAfterSeconds, cause } = error;
      return { kind: 'unavailable', reason, retryAfterSeconds, status: cause.status, error: cause.error };
    }
    const { failure, details, thrown } =
      error instanceof ExchangeFailure ? error : new ExchangeFailure('check_failed', { check: 'access_token' }, error);
    const failed: Failed = { kind: 'terminal', reason: 'invalid_grant', failure, details };
    if (thrown !== undefined) thrownBy.set(failed, thrown);
    return failed;
  }
}

async function signIn(parts: ExchangeParts, visit: CallbackVisit): Promise<Done> {
  const { life, provider } = parts;
  const tokens = await exchangeCode(parts, visit);
  if (visit.mustBeImpersonated && !tokens.impersonator) {
    life.discard(tokens);
    throw new ExchangeFailure('flow_missing');
  }
  const prepared = await prepareSession(life, tokens, clientOf(visit.req));
  // The hook is promised a verified session, and so is what was asked for.
  if (prepared.check.verdict === 'unknown' && (parts.onSignIn || asksForMore(visit.flow))) {
    throw new SessionUnavailableError(prepared.check.reason, prepared.check);
  }
  const failure = asksForMore(visit.flow) ? failureOf(parts, visit.flow, prepared) : undefined;
  if (failure) {
    discard(life, visit, prepared.payload);
    throw failure;
  }
  const { payload, returnTo } = await runHook(parts, visit, prepared, tokens);
  const sealed = await life.seal(payload);
  const successorKey = payload.refreshToken && tokenKey(provider, payload.refreshToken);
  return {
    kind: 'refreshed',
    payload,
    sealed,
    sealedUnder: '',
    successorKey,
    signIn: { returnTo, idToken: tokens.idToken },
  };
}

/** Whether a sign-in asked for more than that somebody is signed in. */
export function asksForMore({ asked }: Flow): boolean {
  return Object.values(asked).some((value) => value !== undefined);
}

// These say that the client is set up wrongly. No visitor can bring them about, so they may use up the event.
const setupErrors: ReadonlySet<string> = new Set([
  'invalid_client',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
  'invalid_target',
]);

/** Trades the code for tokens. */
async function exchangeCode(parts: ExchangeParts, { query, request }: CallbackVisit): Promise<TokenSet> {
  const { provider, timeoutMs, clockToleranceSeconds, life } = parts;
  const codeRequest = await asking(() => provider.codeRequest(query, request));
  const answer = await send(codeRequest, { timeoutMs, mayRepeat: false });
  if (answer.kind === 'unanswered') throw new SessionUnavailableError(answer.reason, answer);
  const { status, body, retryAfterSeconds } = answer;
  if (status === 429 || status >= 500) {
    throw new SessionUnavailableError('server_error', { retryAfterSeconds, status, error: knownErrorCode(body) });
  }
  if (status < 200 || status >= 300) {
    const providerError = knownErrorCode(body);
    // A code used twice, by the back button or a reload. A wrong redirect URI says the same.
    if (providerError === 'invalid_grant') throw new ExchangeFailure('code_spent', { providerError });
    // A made-up code, at a server that says no more than 400.
    if (providerError === undefined ? status === 400 : !setupErrors.has(providerError)) {
      throw new ExchangeFailure('exchange_refused', { providerError });
    }
    life.emit('misconfigured', {
      problem: 'code_exchange',
      cause: providerError ?? `http_${status}`,
      option: 'provider',
      message: `The provider refused to exchange an authorization code, with HTTP status ${status}${providerError === undefined ? '' : ` and the code ${providerError}`}. Check the client's id, secret and redirect URI, and how the client authenticates.`,
    });
    throw new SessionUnavailableError('provider_misconfigured', { status, error: providerError });
  }
  const tokens = await asking(() => provider.readSignIn(body, request, { clockToleranceSeconds }));
  if (!tokens) throw new ExchangeFailure('check_failed', { check: 'access_token_missing' });
  return tokens;
}

/** Asks a provider object. An answer that fails its checks ends the sign-in; a provider that is away does not. */
async function asking<Value>(ask: () => Awaitable<Value>): Promise<Value> {
  try {
    return await ask();
  } catch (error) {
    if (isProviderFailure(error))
      throw new SessionUnavailableError(failureReason(error), { error: failureDetail(error) });
    // Without the cause: it holds the code, or the tokens.
    throw new ExchangeFailure('check_failed', { check: failedCheck(error) ?? 'provider' });
  }
}

/**
 * Why the session is not what was asked for, if it is not: a provider may sign in the person who is there, as they are. It is
 * asked as a guard asks it afterwards. If the two could differ, the visitor would go round in a circle.
 */
function failureOf(
  parts: ExchangeParts,
  { asked, until }: Flow,
  prepared: PreparedSession,
): ExchangeFailure | undefined {
  const { organizationId, authenticatedAt, acr, amr } = profileOf(parts.life, prepared);
  if (asked.organizationId !== undefined && organizationId !== asked.organizationId) {
    return new ExchangeFailure('other_organization', { check: 'organization' });
  }
  // Counted from when it was asked for: the visitor may have read a page of consent since.
  const { clockToleranceSeconds } = parts;
  const withinSeconds = asked.maxAuthAgeSeconds ?? Infinity;
  const begun = { withinSeconds, clockToleranceSeconds, nowMs: until - flowSeconds * 1000 };
  if (asked.maxAuthAgeSeconds !== undefined && !isRecent(authenticatedAt, begun)) {
    return new ExchangeFailure('not_recent', { check: 'max_age' });
  }
  if (asked.acrValues !== undefined && !asked.acrValues.includes(acr ?? '')) {
    return new ExchangeFailure('check_failed', { check: 'acr' });
  }
  return asked.amr !== undefined && !holds(amr, asked.amr)
    ? new ExchangeFailure('check_failed', { check: 'amr' })
    : undefined;
}

/**
 * Ends the tokens of a sign-in that was refused. Those of the person who is signed in may belong to the grant of the session
 * that the browser keeps: revoking them would end it.
 */
function discard(life: Lifecycle, { earlierUserIds }: CallbackVisit, payload: SessionPayload): void {
  if (!earlierUserIds.includes(userIdOf(payload))) life.discard(payload);
}

/** Runs `onSignIn`. When it throws, nobody is signed in, and the new tokens go where they harm no session. */
async function runHook(
  { life, onSignIn }: ExchangeParts,
  visit: CallbackVisit,
  prepared: PreparedSession,
  tokens: TokenSet,
): Promise<{ readonly payload: SessionPayload; readonly returnTo: string }> {
  const { payload, check } = prepared;
  const { req, flow } = visit;
  const { appState, returnTo } = flow;
  if (!onSignIn || check.verdict !== 'valid') return { payload, returnTo };
  try {
    const { idToken, oauthTokens, authenticationMethod } = tokens;
    const session = authenticatedSession(life, prepared);
    const given = { session, tokens: { idToken, oauthTokens, authenticationMethod }, appState, returnTo };
    const result: unknown = await onSignIn(given, req);
    const { data, returnTo: next } = readHookResult(result);
    return { payload: data ? { ...payload, data } : payload, returnTo: safeReturnPath(next, returnTo) };
  } catch (error) {
    discard(life, visit, payload);
    throw new ExchangeFailure('hook_failed', {}, error);
  }
}

function readHookResult(result: unknown): {
  returnTo?: string | undefined;
  data?: Record<string, unknown> | undefined;
} {
  const { returnTo, data } = isRecord(result) ? result : { returnTo: result, data: undefined };
  const isPath = returnTo === undefined || typeof returnTo === 'string';
  if (isPath && (data === undefined || isRecord(data))) return { returnTo, data };
  throw new SessionConfigError([
    { path: 'onSignIn', message: 'must return nothing, a path, or { returnTo, data } with a path and an object.' },
  ]);
}

type ValidCheck = Extract<PreparedSession['check'], { verdict: 'valid' }>;

/** What a session shows whose tokens were found valid. */
function profileOf(life: Lifecycle, { payload, check }: PreparedSession): SessionProfile {
  return life.profile(payload, check as ValidCheck);
}

/** The session as the hook sees it: its access token is in no log of it. */
function authenticatedSession(life: Lifecycle, { payload, check }: PreparedSession): Authenticated {
  const { profile, expiresAtMs } = life.verified(payload, check as ValidCheck);
  const session = { authenticated: true, ...profile, expiresAt: new Date(expiresAtMs) };
  Object.defineProperty(session, 'accessToken', { get: () => payload.accessToken });
  return Object.freeze(session) as unknown as Authenticated;
}
