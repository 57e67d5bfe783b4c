import type { Emit } from '../events.js';
import type { Provider } from '../provider/provider.js';
import type { SessionPayload, TokenSet } from '../session/payload.js';
import type { TokenProblem } from '../session/reasons.js';
import { unverifiedClaims } from '../session/unverified-claims.js';
import { checkAccessToken } from './access-token.js';

export interface SettleSettings {
  readonly provider: Provider;
  readonly clockToleranceSeconds: number;
  readonly emit: Emit;
}

// RFC 6749 section 5.1 only recommends `expires_in`. Five minutes is early for most tokens, and early is safe.
const defaultExpiresIn = 300;

/**
 * Settles what the access token of new tokens is to us, where the provider leaves that open, and how long it counts. It
 * never rejects: new tokens must not be lost because keys or rules cannot be had.
 */
export async function settleTokens(
  settings: SettleSettings,
  tokens: TokenSet,
  previous?: SessionPayload,
): Promise<TokenSet> {
  const { provider } = settings;
  if (tokens.tokenKind === 'undecided') return withKind(settings, tokens, previous);
  if (tokens.expiresIn !== undefined) return tokens;
  return (await isJwt(provider, tokens)) ? tokens : { ...tokens, expiresIn: defaultExpiresIn };
}

async function isJwt(provider: Provider, { accessToken, tokenKind }: TokenSet): Promise<boolean> {
  try {
    return (await provider.accessToken(accessToken, tokenKind)) !== 'opaque';
  } catch {
    // For a JWT the expiry beside it has no effect.
    return false;
  }
}

/**
 * The tokens with the kind of their access token: a JWT where it verifies as one that is for us, else opaque. Keys that
 * cannot be had decide nothing. A key that is published for the ID token, and not for this one, does (Okta).
 */
async function withKind(
  { provider, clockToleranceSeconds, emit }: SettleSettings,
  tokens: TokenSet,
  previous: SessionPayload | undefined,
): Promise<TokenSet> {
  const { accessToken, expiresIn = defaultExpiresIn } = tokens;
  const opaque: TokenSet = { ...tokens, tokenKind: 'opaque', expiresIn };
  // Opaque by its form: nothing could be expected of it, so nothing is to tell.
  if (accessToken.split('.').length !== 3) return opaque;

  const payload: SessionPayload = {
    accessToken,
    user: tokens.user ?? previous?.user,
    tokenIssuer: previous ? previous.tokenIssuer : tokens.tokenIssuer,
    boundTo: provider.id,
  };
  const check = await checkAccessToken(provider, payload, { clockToleranceSeconds, fresh: true, deciding: true });
  switch (check.verdict) {
    case 'valid':
    case 'expired':
      return { ...tokens, tokenKind: 'jwt', expiresIn: undefined };
    case 'invalid':
      // Not opaque: its user would then be shown as the one of before, while APIs see the other.
      if (isAboutAnother(previous, accessToken)) return { ...tokens, tokenKind: 'jwt', expiresIn: undefined };
      tell(emit, provider, check.detail);
      return opaque;
    case 'unknown':
      // Tokens of this session were verified before: its key set lags behind rather than keeps a secret.
      if (check.isKeyUnpublished !== true || previous?.tokenKind === 'jwt') {
        return { ...tokens, tokenKind: 'undecided', expiresIn };
      }
      tell(emit, provider, 'key_not_published');
      return opaque;
  }
}

/** Whether a session whose access tokens were verified now gets one about another user. */
function isAboutAnother(previous: SessionPayload | undefined, accessToken: string): boolean {
  if (previous?.tokenKind !== 'jwt') return false;
  return unverifiedClaims(previous.accessToken).sub !== unverifiedClaims(accessToken).sub;
}

function tell(emit: Emit, provider: Provider, why: TokenProblem): void {
  emit('misconfigured', {
    problem: 'access_token_not_ours',
    option: 'provider.accessToken',
    cause: why,
    message:
      `The access tokens of the ${provider.name} provider are not for this app (${why}), so they are not verified here. ` +
      'Guards read the ID token instead. Set "provider.accessToken" to \'opaque\' if that is meant, or to what the tokens ' +
      'say, such as { audience }, if guards are to read them.',
  });
}
