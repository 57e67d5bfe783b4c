import { randomBytes } from 'node:crypto';

import type { Config } from '../options/config.js';
import { type AccessTokenRules, type Provider, pkceChallenge } from '../provider/provider.js';
import { getJson } from '../wire/answer.js';
import { knownErrorCode, operatorErrors } from '../wire/error-code.js';
import { failureDetail } from '../wire/failure.js';
import { send } from '../wire/token-endpoint.js';
import { checkTls, untrusted, untrustedMend } from './doctor-tls.js';
import { bad, type Finding, good, notice, unknown } from './finding.js';

/** Asks the provider what a sign-in, a request and a refresh would ask it. */
export async function checkProvider(
  { life, routes }: Config,
  [origin = '']: readonly string[],
): Promise<readonly Finding[]> {
  const { provider, clockToleranceSeconds, refresh } = life;
  const redirectUri = `${origin}${routes.site?.publicBase ?? ''}${routes.paths.callback ?? '/callback'}`;
  const signIn = await checkSignIn(provider, redirectUri);
  const [keys, client, signOut] = await Promise.all([
    checkKeys(provider, clockToleranceSeconds),
    checkClient(provider, refresh.timeoutMs),
    checkSignOut(provider),
  ]);
  const addresses = [signIn.url, keys.url, client.url].filter((url) => url !== undefined);
  return [...signIn.findings, ...keys.findings, ...client.findings, ...signOut, ...(await checkTls(addresses))];
}

interface Looked {
  readonly findings: readonly Finding[];
  /** The address that was looked at. */
  readonly url?: string | undefined;
}

async function checkSignIn(provider: Provider, redirectUri: string): Promise<Looked> {
  const random = () => randomBytes(32).toString('base64url');
  const codeVerifier = random();
  try {
    const url = await provider.authorizationUrl({
      redirectUri,
      state: random(),
      nonce: random(),
      codeVerifier,
      codeChallenge: pkceChallenge(codeVerifier),
      parameters: {},
    });
    const { host, searchParams } = new URL(url);
    return {
      url,
      findings: [
        good('provider', `Its metadata can be had. Visitors sign in at ${host}.`),
        ...scopesOf(provider, searchParams),
      ],
    };
  } catch (error) {
    const why = failureDetail(error);
    return {
      findings: [
        bad(
          'provider',
          `Nobody can sign in: its metadata cannot be used (${why}).`,
          untrusted.test(why)
            ? untrustedMend
            : 'Compare the issuer and the client id with the provider. Try its address from this machine.',
        ),
      ],
    };
  }
}

function scopesOf({ name }: Provider, query: URLSearchParams): readonly Finding[] {
  // WorkOS takes no scopes, and a pushed request (PAR) does not show them.
  const scopes = query.get('scope')?.split(' ');
  if (name === 'workos' || !scopes) return [];
  if (scopes.includes('offline_access') || query.get('access_type') === 'offline') {
    return [good('sign-in', `Sign-ins ask for: ${scopes.join(' ')}.`)];
  }
  return [
    notice(
      'sign-in',
      `Sign-ins ask for ${scopes.join(' ')}, and not for offline_access. Many providers then give no refresh token.`,
      'Add "offline_access" to provider.scope, unless the provider gives refresh tokens without it. Google wants authorizationParameters: { access_type: \'offline\' }.',
    ),
  ];
}

async function checkKeys(provider: Provider, toleranceSeconds: number): Promise<Looked> {
  let rules: 'opaque' | AccessTokenRules;
  try {
    rules = await provider.accessToken('', 'undecided');
  } catch (error) {
    return { findings: [unknown('keys', `The rules for access tokens cannot be had (${failureDetail(error)}).`)] };
  }
  if (rules === 'opaque')
    return { findings: [good('keys', 'Access tokens are opaque to this app: their expiry counts.')] };
  const { keys, keysUrl, agent, issuer, audience } = rules;
  const said = `Access tokens must name the issuer ${issuer.join(' or ')}${audience ? ` and the audience ${audience.join(' or ')}` : ''}.`;
  if (keys) return { findings: [good('keys', `The keys are given in the options: ${keys.length}. ${said}`)] };
  if (keysUrl === undefined)
    return { findings: [bad('keys', 'The provider names neither keys nor their address.', 'Mend its accessToken().')] };
  try {
    const document = await getJson(keysUrl, { agent });
    const count = Array.isArray(document.keys) ? document.keys.length : 0;
    if (count === 0)
      return {
        url: keysUrl,
        findings: [bad('keys', `The key set at ${keysUrl} has no keys.`, 'Compare the client id with the provider.')],
      };
    return {
      url: keysUrl,
      findings: [good('keys', `${count} at ${keysUrl}. ${said}`), ...(await checkClock(keysUrl, toleranceSeconds))],
    };
  } catch (error) {
    return {
      url: keysUrl,
      findings: [
        bad(
          'keys',
          `No token can be checked: the key set at ${keysUrl} cannot be had (${failureDetail(error)}).`,
          untrusted.test(failureDetail(error))
            ? untrustedMend
            : 'Compare the client id and the issuer with the provider. Try the address from this machine.',
        ),
      ],
    };
  }
}

/** Compares this machine's clock with the provider's, which is in the header of each answer. */
async function checkClock(url: string, toleranceSeconds: number): Promise<readonly Finding[]> {
  const askedMs = Date.now();
  const date = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(5_000) }).then(
    ({ headers }) => headers.get('date') ?? '',
    () => '',
  );
  const theirsMs = Date.parse(date);
  if (Number.isNaN(theirsMs)) return [unknown('clock', 'The provider does not say what time it is.')];
  // The header has whole seconds, and the answer was under way.
  const offMs = (askedMs + Date.now()) / 2 - (theirsMs + 500);
  const seconds = Math.round(Math.abs(offMs) / 1000);
  if (seconds <= Math.max(2, toleranceSeconds)) return [good('clock', 'It is that of the provider.')];
  const which = offMs > 0 ? 'ahead of' : 'behind';
  return [
    bad(
      'clock',
      `The clock of this machine is ${seconds} seconds ${which} the provider's. Good tokens are refused.`,
      'Synchronize the clock (NTP).',
    ),
  ];
}

/** Presents a refresh token that was never issued. What the provider answers tells whether it knows the client. */
async function checkClient(provider: Provider, timeoutMs: number): Promise<Looked> {
  let url: string | undefined;
  try {
    const request = await provider.refreshRequest({ refreshToken: `doctor-${randomBytes(16).toString('hex')}` });
    ({ url } = request);
    const answer = await send(request, { timeoutMs, mayRepeat: false });
    if (answer.kind === 'unanswered') {
      const why = answer.error ?? answer.reason;
      return {
        url,
        findings: [
          bad(
            'client',
            `Nobody is refreshed: ${new URL(url).host} does not answer (${why}).`,
            'Try the address from this machine.',
          ),
        ],
      };
    }
    return { url, findings: [findingOf(provider, answer.status, answer.body)] };
  } catch (error) {
    return { url, findings: [unknown('client', `The token endpoint could not be asked (${failureDetail(error)}).`)] };
  }
}

function findingOf(provider: Provider, status: number, body: Readonly<Record<string, unknown>>): Finding {
  const code = knownErrorCode(body);
  const said = `${status}${code === undefined ? '' : `, ${code}`}`;
  if (provider.terminalReason(body) === 'invalid_grant') {
    return good('client', `The provider accepts its credentials: it refused an invented refresh token (${said}).`);
  }
  if ((code !== undefined && operatorErrors.includes(code)) || status === 401 || status === 403) {
    return bad(
      'client',
      `The provider refuses the client: ${said}. Nobody is refreshed, and nobody can sign in.`,
      'Correct the client id, its secret or API key, and how the client authenticates. Allow it the grant refresh_token.',
    );
  }
  if (status === 429 || status >= 500)
    return unknown('client', `The provider cannot tell now: ${said}.`, 'Ask again later.');
  return bad(
    'client',
    `The provider answers an invented refresh token with ${said}, which is no answer of a token endpoint.`,
    'Correct the address of the provider.',
  );
}

async function checkSignOut(provider: Provider): Promise<readonly Finding[]> {
  try {
    const url = await provider.logoutUrl?.({ sessionId: 'doctor', sid: 'doctor' });
    if (url !== undefined) return [good('sign-out', `Browsers end the session at ${new URL(url).host}.`)];
  } catch {
    return [unknown('sign-out', 'The address of the log-out page cannot be had.')];
  }
  return [
    notice(
      'sign-out',
      'The provider names no log-out page: who signs out here can sign in again without being asked.',
      'Set provider.logoutUrl, where the provider has such a page without naming it.',
    ),
  ];
}
