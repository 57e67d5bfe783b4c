import { SessionUseError } from '../errors.js';
import { isRecord } from '../json.js';
import type { TokenSet } from './payload.js';

/** The fields of a token response; one that is left out does not compile. */
const tokenFields: Readonly<Record<keyof TokenSet, true>> = {
  accessToken: true,
  refreshToken: true,
  user: true,
  organizationId: true,
  authenticationMethod: true,
  impersonator: true,
  expiresIn: true,
  idToken: true,
  oauthTokens: true,
  sid: true,
  authenticatedAt: true,
  acr: true,
  amr: true,
  sessionExpiry: true,
  idClaims: true,
  tokenKind: true,
  tokenSubject: true,
  tokenIssuer: true,
};

// WorkOS's SDK has it in its answer when it was asked for a seal. Ours is made anew.
const ignoredFields: ReadonlySet<string> = new Set(['sealedSession']);

/** What guards read of the access token alone. Beside the tokens it would say nothing. */
const ofTheToken: ReadonlySet<string> = new Set([
  'role',
  'roles',
  'permissions',
  'entitlements',
  'featureFlags',
  'claims',
]);

/**
 * Refuses what an app gives beside the fields of a token response. A field that nobody reads was meant to do something:
 * permissions, for one, would be missing at the first guard, without a word.
 *
 * @throws {SessionUseError} `ERR_SESSION_TOKENS_INVALID`
 */
export function refuseUnknownFields(tokens: unknown): void {
  if (!isRecord(tokens)) throw tokensInvalid('The tokens must be an object with an "accessToken".');
  const odd = Object.keys(tokens).find((field) => !Object.hasOwn(tokenFields, field) && !ignoredFields.has(field));
  if (odd === undefined) return;
  if (ofTheToken.has(odd)) {
    throw tokensInvalid(`Tokens have no "${odd}": guards read it in the access token, which the provider signs.`);
  }
  if (odd === 'data')
    throw tokensInvalid('Tokens have no "data": give it as the second argument of seal(), or save() it.');
  throw tokensInvalid(`Tokens have no field of this name: "${odd}". They have ${Object.keys(tokenFields).join(', ')}.`);
}

function tokensInvalid(message: string): SessionUseError {
  return new SessionUseError('ERR_SESSION_TOKENS_INVALID', message);
}
