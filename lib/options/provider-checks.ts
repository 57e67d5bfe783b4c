import { kind, oneOf, optional, someOf, text } from '../checks.js';
import { isRecord } from '../json.js';
import type { Provider } from '../provider/provider.js';

const providerMethods: (keyof Provider)[] = [
  'accessToken',
  'authorizationUrl',
  'codeRequest',
  'readSignIn',
  'refreshRequest',
  'readRefresh',
  'terminalReason',
];
const optionalProviderMethods: (keyof Provider)[] = [
  'organizationOf',
  'logoutUrl',
  'interactionUrl',
  'revocationRequest',
  'mapClaims',
  'onMisconfigured',
  'readWebhook',
  'readLogoutToken',
];

/** What is wrong with a provider object, as the end of a sentence that begins with "It". */
export function providerProblem(value: unknown): string | undefined {
  if (!isRecord(value)) return `is not an object; ${kind(value)} was given.`;
  const missing = ['name', 'id', 'cookieName'].filter((name) => text(value[name]) !== undefined);
  if (missing.length > 0) return `must have these as strings that are not empty: ${missing.join(', ')}.`;
  // Only a listed value may allow that a refresh token is sent twice: a misspelt one could end the session.
  const refreshTokens = oneOf('single-use', 'reusable')(value.refreshTokens);
  if (refreshTokens !== undefined) return `has a wrong "refreshTokens", which ${refreshTokens}`;
  const sealer = optional(sealerProblem)(value.sealer);
  if (sealer !== undefined) return `has a wrong "sealer", which ${sealer}`;
  const knows = optional(someOf('auth_time', 'acr', 'amr', 'organizations'))(
    isEmpty(value.knows) ? undefined : value.knows,
  );
  if (knows !== undefined) return `has a wrong "knows", which ${knows}`;
  const given = optionalProviderMethods.filter((name) => value[name] !== undefined);
  return methods(value, ...providerMethods, ...given);
}

// A provider that can tell nothing of these.
function isEmpty(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

export function sealerProblem(value: unknown): string | undefined {
  return methods(value, 'recognises', 'open', 'seal');
}

function methods(value: unknown, ...names: string[]): string | undefined {
  const missing = names.filter((name) => typeof (value as Record<string, unknown> | undefined)?.[name] !== 'function');
  return missing.length === 0 ? undefined : `must have these as methods: ${missing.join(', ')}.`;
}
