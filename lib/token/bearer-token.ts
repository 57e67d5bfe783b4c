import { isPromiseLike } from '../awaitable.js';
import { isRecord, nonEmptyString, parseObject } from '../json.js';
import type { AccessTokenRules, Provider } from '../provider/provider.js';
import type { SessionPayload } from '../session/payload.js';
import type { SessionClaims } from '../session/profile.js';
import type { TokenProblem } from '../session/reasons.js';
import { checkByRules, type TokenCheck, type TokenCheckOptions, verdictOfError } from './access-token.js';
import { isTemplate } from './issuer.js';

/** Whose tokens are taken. */
export interface BearerRules {
  /** One of these must be in `aud`. Undefined: the provider's own rules decide. */
  readonly audience: readonly string[] | undefined;
}

/** What is known of a token that a client has sent. The payload comes from no seal: it holds the token and its user. */
export interface BearerCheck {
  readonly check: TokenCheck;
  readonly payload: SessionPayload;
}

/**
 * Checks an access token that a client has sent itself (RFC 6750), as that of a session is checked. It may be anybody's:
 * its audience is what says that it is meant for this app. Never throws and never rejects.
 */
export function checkBearerToken(
  provider: Provider,
  token: string,
  { audience }: BearerRules,
  options: TokenCheckOptions,
): BearerCheck | Promise<BearerCheck> {
  function checkBy(rules: 'opaque' | AccessTokenRules): BearerCheck | Promise<BearerCheck> {
    if (rules === 'opaque') return { check: invalid('not_a_jwt'), payload: { accessToken: token } };
    const own = audience === undefined || !isRecord(rules) ? rules : { ...rules, audience };
    // Nobody is beside the token that it could be compared with.
    const check = checkByRules(provider, { accessToken: token }, own, options);
    const finish = (found: TokenCheck): BearerCheck => ({
      check: judge(found, token, provider),
      payload: payloadOf(token, found, own),
    });
    return isPromiseLike(check) ? Promise.resolve(check).then(finish) : finish(check);
  }

  const unknown = (error: unknown): BearerCheck => ({ check: verdictOfError(error), payload: { accessToken: token } });
  try {
    const rules = provider.accessToken(token, 'bearer');
    return isPromiseLike(rules) ? Promise.resolve(rules).then(checkBy).catch(unknown) : checkBy(rules);
  } catch (error) {
    return unknown(error);
  }
}

/** What the rules of a session's token leave open, because there the token came from the provider itself. */
function judge(check: TokenCheck, token: string, { tokensNameClient = false }: Provider): TokenCheck {
  if (check.verdict === 'expired' && check.claims === undefined) return invalid('key_not_published');
  if (check.verdict !== 'valid') return check;
  const { claims } = check;
  // RFC 9449 section 7.1: a token that is bound to a key proves nothing without it.
  if (claims.cnf !== undefined) return invalid('bound_to_key');
  if (!tokensNameClient && !saysAccess(claims, token)) return invalid('access_not_shown');
  return check;
}

// What access tokens of the known providers have, and their ID tokens have not.
const signsOfAccess = ['scope', 'scp', 'client_id', 'cid', 'appid'];

/**
 * Whether a token shows that it is no ID token, which an API must not take for an access token. One that is refreshed has
 * neither `nonce` nor `at_hash`. But it is for its client: `aud` names the client, and so does `azp`.
 */
function saysAccess(claims: SessionClaims, token: string): boolean {
  if (signsOfAccess.some((name) => claims[name] !== undefined)) return true;
  if (claims.typ === 'Bearer' || claims.token_use === 'access') return true;
  if (typeof claims.azp === 'string' && ![claims.aud].flat().includes(claims.azp)) return true;
  // RFC 9068 section 2.1.
  return /^(application\/)?at\+jwt$/i.test(nonEmptyString(headerOf(token)?.typ) ?? '');
}

/** The header of a JWT, unverified; undefined for everything that is none. */
export function headerOf(token: string): Record<string, unknown> | undefined {
  const [head = '', ...rest] = token.split('.');
  // Three parts are signed, five are encrypted.
  if (rest.length !== 2 && rest.length !== 4) return undefined;
  return parseObject(Buffer.from(head, 'base64url').toString());
}

/** Who it is: the subject alone, and where several issuers count, whose subject. Two of them may use one name. */
function payloadOf(token: string, check: TokenCheck, rules: AccessTokenRules): SessionPayload {
  const { sub, iss } = (check.verdict === 'valid' && check.claims) || {};
  if (typeof sub !== 'string') return { accessToken: token };
  const { issuer } = rules;
  const isAmongSeveral = issuer.length > 1 || issuer.some(isTemplate);
  return { accessToken: token, user: { id: sub, ...(isAmongSeveral && { issuer: iss }) } };
}

function invalid(detail: TokenProblem): TokenCheck {
  return { verdict: 'invalid', reason: 'invalid_jwt', detail };
}
