import { SessionError } from '../errors.js';
import { RequestSession, type SessionOperations, type Standing } from './session-object.js';
import { type Exchange, withdrawSeal, writeSeal } from '../http/carrier.js';
import type { Config } from '../options/config.js';
import { nameOf, type Refreshed } from '../refresh/coordinator.js';
import { isRetryable, type Reason, type RetryableReason, type SessionPayload } from '../session/payload.js';
import {
  endNames,
  establish,
  hasEnded,
  idOf,
  isStillVerified,
  reasonOf,
  renewSession,
  reportRenewal,
  revoke,
  verifiedSession,
} from '../lifecycle.js';
import { checkAccessToken, type TokenCheck } from '../token/access-token.js';
import type { VerifiedSession } from '../session/verified-sessions.js';

/** `refresh`, `signIn`, `signOut` and `save` of the sessions on requests. */
export function sessionActions(config: Config): SessionOperations {
  return {
    async refresh(exchange, session, organizationId) {
      assertOpen(exchange, 'refresh');
      const standing = RequestSession.standingOf(session);
      const { payload } = standing;
      if (!payload?.refreshToken) {
        const reason = standing.signedIn ? 'invalid_session_cookie' : standing.reason;
        return { refreshed: false, reason, retryable: isRetryable(reason) };
      }
      const renewal = await renewSession(config, payload, { organizationId });
      if (renewal.kind === 'refreshed') {
        keepSession(config, exchange, renewal.payload, renewal.sealed, payload);
        reportRenewal(config, renewal);
        const next = await standingAfter(config, renewal.payload, renewal.sealed);
        RequestSession.stand(session, next);
        return next.signedIn
          ? { refreshed: true }
          : { refreshed: false, reason: next.reason, retryable: isRetryable(next.reason) };
      }
      const reason = renewal.kind === 'elsewhere' ? 'server_error' : renewal.reason;
      // What one organization refuses does not end the session in another.
      if (renewal.kind === 'terminal' && organizationId === undefined) {
        dropSession(config, exchange, payload);
        RequestSession.stand(session, anonymous(reason));
      }
      return { refreshed: false, reason, retryable: renewal.kind !== 'terminal' };
    },

    async signIn(exchange, session, tokens) {
      assertOpen(exchange, 'signIn');
      const previous = RequestSession.standingOf(session).payload;
      let payload = await establish(config, tokens);
      let check = await checkAccessToken(config.provider, payload, { ...config, fresh: true });
      if (check.verdict === 'expired' && payload.refreshToken !== undefined) {
        // From a migration, say. What the refresh token is worth, the provider knows.
        const renewal = await renewSession(config, payload);
        if (renewal.kind === 'refreshed') {
          payload = renewal.payload;
          check = await checkAccessToken(config.provider, payload, { ...config, fresh: true });
        } else if (renewal.kind === 'transient') {
          check = { verdict: 'unknown', reason: renewal.reason };
        }
      }
      if (check.verdict === 'invalid' || check.verdict === 'expired') {
        reportRejected(config, check);
        throw new SessionError(
          'ERR_SESSION_TOKENS_INVALID',
          500,
          'The provider issued an access token that does not pass the checks of withSession. The events tell which.',
        );
      }
      const sealed = await config.renewal.seal(payload);
      assertOpen(exchange, 'signIn');
      const tooLarge = keepSession(config, exchange, payload, sealed);
      if (tooLarge) throw tooLarge;
      // A late reply of the old session's must not take the place of the new one.
      if (previous) await config.coordinator.end(replacedNames(config, previous, payload));
      RequestSession.stand(
        session,
        check.verdict === 'valid'
          ? signedIn(rememberSession(config, sealed, payload, check), true)
          : undecided(config, check, payload),
      );
      config.emit('signedIn', { sessionId: idOf(payload) });
    },

    async signOut(exchange, session, returnTo) {
      assertOpen(exchange, 'signOut');
      const { payload } = RequestSession.standingOf(session);
      withdrawSeal(exchange, config.transport, () => true);
      RequestSession.stand(session, anonymous('no_session_cookie_provided'));
      if (!payload) return undefined;
      const sessionId = idOf(payload);
      await config.coordinator.end(endNames(config, payload));
      config.emit('signedOut', { sessionId });
      // The visitor is signed out here whatever the provider says, and does not wait for it.
      void revoke(config, payload);
      try {
        return await config.provider.logoutUrl?.({ sessionId, returnTo });
      } catch {
        return undefined;
      }
    },

    async save(exchange, session, data) {
      assertOpen(exchange, 'save');
      const standing = RequestSession.standingOf(session);
      if (!standing.signedIn) return;
      // Another request may have renewed the session meanwhile: its tokens are the ones to keep.
      const base = successorOf(config, standing.payload)?.session ?? standing.payload;
      const payload = { ...base, data };
      const sealed = await sealAgain(config, payload);
      assertOpen(exchange, 'save');
      const tooLarge = keepSession(config, exchange, payload, sealed);
      if (tooLarge) throw tooLarge;
      RequestSession.stand(session, { ...standing, payload });
    },
  };
}

/** Headers that are sent take no cookie; found out before a token is spent on one. */
function assertOpen({ res }: Exchange, action: string): void {
  if (!res.headersSent) return;
  throw new SessionError(
    'ERR_SESSION_HEADERS_SENT',
    500,
    `session.${action}() must be called before the response begins: the new cookie goes with its headers.`,
  );
}

/**
 * Puts the session on the response, unless by the time the headers are written it is signed out, or its tokens have
 * been replaced by newer ones.
 *
 * @returns what is wrong when the session is too large to be sent; it is told to the app as well
 */
export function keepSession(
  config: Config,
  exchange: Exchange,
  payload: SessionPayload,
  sealed: string,
  previous?: SessionPayload,
): SessionError | undefined {
  const names = [payload, ...(previous ? [previous] : [])].flatMap((each) => endNames(config, each));
  const stillWanted = () => !config.coordinator.hasEnded(names) && !successorOf(config, payload);
  const written = writeSeal(exchange, config.transport, sealed, { stillWanted, rotated: previous !== undefined });
  if (written) {
    keepAsking(config, exchange, names);
    config.emit('written', { sessionId: idOf(payload), ...written });
    return undefined;
  }
  const message =
    `The session is too large for cookies. Its largest part is "${largestPart(payload)}". ` +
    'Seal less of it ("pickUser"), or keep the app\'s own "data" elsewhere.';
  config.emit('configuration', { problem: 'cookie size', message });
  return new SessionError('ERR_SESSION_COOKIE_TOO_LARGE', 500, message);
}

/** Seals a session without new tokens, and asks the fleet meanwhile whether it has been signed out. */
export async function sealAgain(config: Config, payload: SessionPayload): Promise<string> {
  const [sealed] = await Promise.all([
    config.renewal.seal(payload),
    config.coordinator.learnEnded?.(endNames(config, payload)),
  ]);
  return sealed;
}

// How often the fleet is asked while a handler takes its time.
const askAgainMs = 100;

/** What is learnt until the headers are written counts: a sign-out in another process takes the cookie back. */
function keepAsking({ coordinator }: Config, { res }: Exchange, names: readonly string[]): void {
  if (!coordinator.learnEnded) return;
  const asking = setInterval(() => {
    if (res.headersSent || res.destroyed) clearInterval(asking);
    else coordinator.learnEnded?.(names).catch(() => undefined);
  }, askAgainMs);
  asking.unref();
}

/** The tokens that another request has got for these meanwhile. */
function successorOf(config: Config, payload: SessionPayload): Refreshed | undefined {
  const { refreshToken } = payload;
  if (refreshToken === undefined) return undefined;
  const successor = config.coordinator.successorOf(nameOf(config.provider, refreshToken));
  // Where refresh tokens are not rotated, the successor may be these very tokens.
  return successor?.session.accessToken === payload.accessToken ? undefined : successor;
}

/** By name: `accessToken`, `user.metadata`, `data.basket`. */
function largestPart({ user, data, ...tokens }: SessionPayload): string {
  const parts = { ...tokens, ...prefixed('user', user), ...prefixed('data', data) };
  const sizes = Object.entries(parts).map(([name, value]) => ({ name, size: JSON.stringify(value ?? '').length }));
  return sizes.sort((one, other) => other.size - one.size)[0]?.name ?? '';
}

function prefixed(name: string, fields: object | null | undefined): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields ?? {}).map(([field, value]) => [`${name}.${field}`, value]));
}

/** Clears the cookie of a session that is over, unless a newer session is in its place by then. */
export function dropSession(config: Config, exchange: Exchange, payload: SessionPayload): void {
  withdrawSeal(exchange, config.transport, () => !hasEnded(config, payload) && !successorOf(config, payload));
}

/** Where the request stands with tokens that have just been renewed and are on their way to the browser. */
export async function standingAfter(config: Config, payload: SessionPayload, sealed: string): Promise<Standing> {
  // Whoever waits for one renewal with others finds it verified already.
  const known = config.verified?.get(sealed);
  if (known && isStillVerified(config, known)) return signedIn(known, true);
  const check = await checkAccessToken(config.provider, payload, { ...config, fresh: true });
  switch (check.verdict) {
    case 'valid':
      return signedIn(rememberSession(config, sealed, payload, check), true);
    case 'unknown':
      return undecided(config, check, payload);
    case 'expired':
    case 'invalid':
      // The new token is kept all the same: what is wrong is more likely the set-up, and that can be put right.
      reportRejected(config, check);
      return anonymous(reasonOf(check), payload);
  }
}

/** Makes a session known by the seal that is on its way to the browser. */
function rememberSession(
  config: Config,
  sealed: string,
  payload: SessionPayload,
  check: Extract<TokenCheck, { verdict: 'valid' }>,
): VerifiedSession {
  const session = verifiedSession(config, payload, check);
  config.verified?.set(sealed, session);
  return session;
}

/** Tells the app what was wrong with a token; loudly, when the options are the likelier culprit. */
export function reportRejected(
  { emit, provider }: Config,
  check: Exclude<TokenCheck, { verdict: 'valid' | 'unknown' }>,
): void {
  if (check.verdict === 'expired') {
    emit('rejected', {
      reason: 'expired_jwt',
      detail: 'a token fresh from the provider has expired: is the clock right?',
    });
    return;
  }
  emit('rejected', { reason: check.reason, detail: check.detail });
  if (check.misconfigured === undefined) return;
  emit('configuration', {
    problem: check.misconfigured,
    message:
      `The access tokens of the ${provider.name} provider have another ${check.misconfigured} than the options ask for. ` +
      `Set "provider.${check.misconfigured}" to what the provider issues. Until then nobody is signed in.`,
  });
}

export function anonymous(reason: Reason, payload?: SessionPayload): Standing {
  return { signedIn: false, reason, payload };
}

export function deferred(
  reason: RetryableReason,
  retryAfterSeconds: number | undefined,
  payload: SessionPayload,
): Standing {
  return { signedIn: false, reason, retryAfterSeconds, payload };
}

/** The token could not be judged. The app is told when the provider object is the reason. */
export function undecided(
  { emit }: Config,
  { reason, detail }: Extract<TokenCheck, { verdict: 'unknown' }>,
  payload: SessionPayload,
): Standing {
  if (detail !== undefined) emit('configuration', { problem: 'provider', message: detail });
  return deferred(reason, undefined, payload);
}

export function signedIn({ payload, profile, expiresAtMs }: VerifiedSession, refreshed = false): Standing {
  return { signedIn: true, payload, profile, expiresAtMs, refreshed, stale: false };
}

/** The names of a session that a new one replaces; not those that they share, as after signing in once more. */
function replacedNames(config: Config, previous: SessionPayload, next: SessionPayload): string[] {
  const kept = new Set(endNames(config, next));
  return endNames(config, previous).filter((name) => !kept.has(name));
}
