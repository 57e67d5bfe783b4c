import { anyText, logoutUrlChecks, readCall, refreshChecks } from './action-options.js';
import { type Checks, optional } from './checks.js';
import { SessionConfigError } from './errors.js';
import { isRecord } from './json.js';
import { type Lifecycle, reasonOf } from './lifecycle.js';
import type { DeviceSettings } from './options/device-options.js';
import { type Password, passwordCheck } from './seal/passwords.js';
import type { ForceRefreshTarget, RevokeTarget } from './session/ended.js';
import { checkForceRefreshTarget, checkRevokeTarget } from './session/ended-check.js';
import type { SessionData, SessionPayload, SessionUser, TokenSet, User } from './session/payload.js';
import type { Authenticated, SessionProfile } from './session/profile.js';
import { type NotAuthenticated, notAuthenticated, type Reason } from './session/reasons.js';
import { refuseUnknownFields } from './session/token-fields.js';
import type { TokenCheck } from './token/access-token.js';

/** What became of `authenticate()`. */
export type AuthenticateResult<U extends User = SessionUser> = Authenticated<U> | NotAuthenticated;

/**
 * What became of `refresh()`. With a `sealedSession`, the tokens were refreshed and must be stored, though the new one
 * could not be verified.
 */
export type RefreshSessionResult<U extends User = SessionUser> =
  (Authenticated<U> & { readonly sealedSession: string }) | (NotAuthenticated & { readonly sealedSession?: string });

/** One sealed session, without HTTP. */
export interface LoadedSession<U extends User = SessionUser> {
  /** The seal as it is now: after a successful refresh, the new one. */
  readonly sealed: string | undefined;
  /**
   * Who this is, by the access token alone: nothing is refreshed.
   *
   * @example
   * const who = await sessions.load(sealed).authenticate();
   * if (who.authenticated) console.log(who.user.id);
   */
  authenticate(): Promise<AuthenticateResult<U>>;
  /**
   * Runs the refresh grant and seals the new tokens, under `password` if one is given (rotation). What the seal or the
   * provider can do is a value; nothing changes unless the provider's answer is whole.
   *
   * @throws {SessionConfigError} when `password` cannot be one
   * @throws {TypeError} naming an option that is not known
   * @example
   * const result = await sessions.load(sealed).refresh();
   * if (result.sealedSession) await store(result.sealedSession);
   */
  refresh(options?: {
    organizationId?: string | undefined;
    password?: Password | undefined;
  }): Promise<RefreshSessionResult<U>>;
  /**
   * Where a browser ends the session at the provider, also with an expired access token.
   *
   * @example
   * const url = await sessions.load(sealed).logoutUrl({ returnTo: 'https://app.example.com/' });
   */
  logoutUrl(options?: { returnTo?: string | undefined }): Promise<string | undefined>;
}

/** What comes with a seal. */
export interface LoadOptions {
  /**
   * The value of the cookie that proves the device, with the option `deviceBound`: a session that is bound is refused without
   * it, with `device_proof_missing`.
   */
  readonly proof?: string | undefined;
}

/** The sessions of an app, without HTTP. */
export interface SessionManager<U extends User = SessionUser> {
  /**
   * What is wrong with the seal, `authenticate()` and `refresh()` say: `load()` throws for options that nobody reads only.
   *
   * @example
   * const who = await sessions.load(sealed).authenticate();
   */
  load(sealed: string | undefined, options?: LoadOptions): LoadedSession<U>;
  /**
   * Seals the tokens of an authentication response: the answer of WorkOS's SDK as it is, or the fields of a `TokenSet`.
   *
   * @param data the app's own values, as `session.data` has them
   * @throws {SessionUseError} `ERR_SESSION_TOKENS_INVALID` when they make no session, or have a field that is not known
   * @example
   * const sealed = await sessions.seal(await workos.userManagement.authenticateWithPassword({ ... }));
   */
  seal(tokens: TokenSet, data?: SessionData): Promise<string>;
  /**
   * Ends sessions in the whole fleet within a second: one by its id, all of a user, or all of this provider and client. Of
   * a user's and of everyone's, those end that began before `before`. Resolves when the fleet was told, or could not be.
   *
   * @throws {TypeError} an empty id, two of the three, or a `before` in the future: nobody is ended
   * @example
   * await sessions.revoke({ userId: 'user_01' });
   */
  revoke(which: RevokeTarget): Promise<void>;
  /**
   * Has sessions refreshed before they are served again, in the whole fleet within a second: a role was taken away. One that
   * cannot bring fresh claims is over.
   *
   * @throws {TypeError} an empty id, or both
   * @example
   * await sessions.forceRefresh({ userId: 'user_01' });
   */
  forceRefresh(which: ForceRefreshTarget): Promise<void>;
}

/** The operations of a session manager, on one life. */
export function managerOf(life: Lifecycle, device: DeviceSettings | undefined): SessionManager {
  return {
    load: (sealed, options = {}) => {
      const { proof } = readCall('load', options, loadChecks);
      return loadSession(life, sealed, (payload) => isProven(device, payload, proof));
    },
    seal: async (tokens, data) => {
      refuseUnknownFields(tokens);
      if (data !== undefined && !isRecord(data)) throw new TypeError('seal: "data" must be an object.');
      return life.seal({ ...(await life.establish(tokens)), ...(data && { data }) });
    },
    revoke: async (which) => {
      checkRevokeTarget(which);
      const { before } = which as { before?: Date };
      await life.revoke(which, { cause: 'revoked', atMs: before?.getTime() });
    },
    forceRefresh: async (which) => {
      checkForceRefreshTarget(which);
      await life.forceRefresh(which);
    },
  };
}

const loadChecks: Checks<LoadOptions> = { proof: optional(anyText) };

// A password that cannot be one is a `SessionConfigError`, as in the options.
const managerRefreshChecks: Checks<{ organizationId?: string; password?: Password }> = {
  ...refreshChecks,
  password: () => undefined,
};

/** Whether the device of a session is proved, where it has to be. */
function isProven(device: DeviceSettings | undefined, payload: SessionPayload, proof = ''): boolean {
  const isAsked = payload.deviceKey !== undefined && device !== undefined && !device.reportOnly;
  return !isAsked || device.proofs.areGood(payload, [proof]);
}

function loadSession(
  life: Lifecycle,
  given: string | undefined,
  isOfDevice: (payload: SessionPayload) => boolean,
): LoadedSession {
  const opened = given ? life.openNewest([given]) : undefined;
  let current = { payload: opened?.payload, sealed: given };

  const unusable = () => notAuthenticated(given ? 'invalid_session_cookie' : 'no_session_cookie_provided');

  /** Who a payload is, by the verdict on its token. What is wrong is reported, as the middleware does. */
  function judged(payload: SessionPayload, check: TokenCheck): AuthenticateResult {
    if (!isOfDevice(payload)) return notAuthenticated('device_proof_missing');
    if (check.verdict === 'valid') {
      const { accessToken } = payload;
      const { expiresAtMs } = check;
      const profile = life.profile(payload, check) as SessionProfile<SessionUser>;
      return { authenticated: true, ...profile, accessToken, expiresAt: new Date(expiresAtMs) };
    }
    // An expired token is no news here: nothing was refreshed.
    if (check.verdict !== 'expired') life.reportRejected(payload, check);
    return notAuthenticated(reasonOf(check));
  }

  return {
    get sealed() {
      return current.sealed;
    },

    async authenticate() {
      const { payload } = current;
      if (!payload) return unusable();
      await life.untilRead();
      const over = life.whyOver(payload);
      if (over !== undefined) return notAuthenticated(over);
      const check = await life.check(payload);
      // What it claims is not to be served any more. `refresh()` brings it up to date.
      return check.verdict === 'valid' && life.mustRefresh(payload)
        ? notAuthenticated('expired_jwt')
        : judged(payload, check);
    },

    async refresh(options = {}) {
      const { organizationId, password } = readCall('refresh', options, managerRefreshChecks);
      const message = password === undefined ? undefined : passwordCheck(password);
      if (message !== undefined) throw new SessionConfigError([{ path: 'refresh.password', message }]);
      const { payload } = current;
      if (!payload) return unusable();
      const { refreshToken } = payload;
      if (refreshToken === undefined) return notAuthenticated('invalid_session_cookie');
      if (!isOfDevice(payload)) return notAuthenticated('device_proof_missing');
      const outcome = await life.refresh({ ...payload, refreshToken }, { organizationId, password });
      if (outcome.kind !== 'refreshed') {
        const reason: Reason = outcome.kind === 'elsewhere' ? 'server_error' : outcome.reason;
        return notAuthenticated(reason);
      }
      // The old token is spent: from here on there is only the new seal, whatever the check below says.
      current = { payload: outcome.payload, sealed: outcome.sealed };
      life.reportRefreshed(outcome);
      const check = await life.check(outcome.payload, { fresh: true });
      if (check.verdict === 'expired') life.reportRejected(outcome.payload, check);
      return { ...judged(outcome.payload, check), sealedSession: outcome.sealed };
    },

    logoutUrl: async (options = {}) =>
      life.logoutUrl(current.payload, { returnTo: readCall('logoutUrl', options, logoutUrlChecks).returnTo }),
  };
}
