import type { JWTHeaderParameters, JWTPayload } from 'jose';

import { isRecord, nonEmptyString } from '../json.js';
import type { NoticeCheck } from '../session/notice-check.js';
import { NoticeRefused } from '../wire/notice-refused.js';
import { type ProviderTokenRules, TokenRefused, verifyProviderToken } from './provider-token.js';

/** What a log-out token says. */
export interface LogoutToken {
  /** Its own id (`jti`). */
  readonly id: string;
  /** Who says so (`iss`). */
  readonly issuer: string;
  /** The provider's id of the session that has ended. Without it, all sessions of the user have. */
  readonly sid: string | undefined;
  /** Whose session or sessions (`sub`). */
  readonly subject: string | undefined;
  /** When it was issued (`iat`), in milliseconds. */
  readonly issuedAtMs: number;
  /** Until when it is accepted, and so until when its id must be remembered. */
  readonly acceptedUntilMs: number;
}

const eventName = 'http://schemas.openid.net/event/backchannel-logout';

// What section 2.4 recommends. Older providers leave `exp` out.
const usualSeconds = 120;

// The longest that a token is accepted, whatever it says: for so long its id is remembered.
const longestSeconds = 3_600;

/**
 * Verifies a log-out token by every check of OpenID Connect Back-Channel Logout 1.0, section 2.6. Whether it has come
 * before is asked elsewhere.
 *
 * @throws {NoticeRefused} with the check that it does not pass
 * @throws {ProviderFailure} the key set cannot be had now
 */
export async function verifyLogoutToken(token: string, rules: ProviderTokenRules): Promise<LogoutToken> {
  try {
    const { claims, header } = await verifyProviderToken(token, rules);
    return readClaims(claims, header, rules);
  } catch (error) {
    throw error instanceof TokenRefused ? new NoticeRefused(`logout_token_${error.fault}`) : error;
  }
}

function readClaims(
  claims: JWTPayload,
  { typ }: JWTHeaderParameters,
  { clientId, clockToleranceSeconds }: ProviderTokenRules,
): LogoutToken {
  const { iss = '', iat = 0, exp, jti, sub, sid, azp, events } = claims;
  // RFC 8725 section 3.11: tokens of other types are signed with the same keys. Older providers name none.
  demand('type', typ === undefined || /^((application\/)?logout\+)?jwt$/i.test(typ));
  demand('authorized_party', azp === undefined || azp === clientId);
  demand('events', isRecord(events) && Object.hasOwn(events, eventName) && isRecord(events[eventName]));
  demand('nonce', !('nonce' in claims));
  demand('subject', isAbsentOrText(sub) && isAbsentOrText(sid) && (sub ?? sid) !== undefined);
  demand('id', nonEmptyString(jti) !== undefined);
  const untilSeconds = Math.min(exp ?? iat + usualSeconds, iat + longestSeconds) + clockToleranceSeconds;
  demand('expiry', Date.now() / 1000 < untilSeconds);
  return {
    id: jti ?? '',
    issuer: iss,
    sid: nonEmptyString(sid),
    subject: sub,
    issuedAtMs: iat * 1000,
    acceptedUntilMs: untilSeconds * 1000,
  };
}

function isAbsentOrText(value: unknown): boolean {
  return value === undefined || nonEmptyString(value) !== undefined;
}

type Checked = NoticeCheck extends infer Check ? (Check extends `logout_token_${infer Name}` ? Name : never) : never;

function demand(check: Checked, holds: boolean): void {
  if (!holds) throw new NoticeRefused(`logout_token_${check}`);
}
