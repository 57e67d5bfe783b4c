import type { IncomingMessage } from 'node:http';

import type { Awaitable } from '../awaitable.js';
import { type Check, type Checks, list, object, optional, readOptions, text, textOrList } from '../checks.js';
import type { ConfigProblem } from '../errors.js';
import { isRecord } from '../json.js';
import type { Provider } from '../provider/provider.js';
import type { SessionUser, User } from '../session/payload.js';
import type { SessionClaims } from '../session/profile.js';

/** Which access tokens are taken from `Authorization: Bearer`. */
export interface BearerOptions {
  /** One of these must be in the token's `aud`: this API's own names, never a client's id. */
  readonly audience: string | readonly string[] | undefined;
}

/** Who holds an API key, and what they may do. */
export interface ApiKeyHolder<U extends User = SessionUser> {
  /** Who holds the key. */
  readonly user: U;
  /** The organization that the key is for. */
  readonly organizationId?: string | undefined;
  /** The roles that guards read. Default: none. */
  readonly roles?: readonly string[] | undefined;
  /** The permissions that guards read. Default: none. */
  readonly permissions?: readonly string[] | undefined;
  /** The entitlements that guards read. Default: none. */
  readonly entitlements?: readonly string[] | undefined;
  /** The feature flags that are on. Default: none. */
  readonly featureFlags?: readonly string[] | undefined;
  /** What `session.claims` shows. Default: nothing. */
  readonly claims?: SessionClaims | undefined;
}

/** Finds who holds a key. Nobody is 401. What it throws is 503: it cannot be known now. */
export type ApiKeyLookup<U extends User = SessionUser> = (
  key: string,
  req: IncomingMessage,
) => Awaitable<ApiKeyHolder<U> | null | undefined>;

export const bearer: Check = (value) =>
  value === true || isRecord(value) ? undefined : 'must be { audience }, or true at WorkOS. Leave it out for none.';

const bearerChecks: Checks<BearerOptions> = { audience: textOrList };

/** Reads what bearer tokens must say, once, and says what is wrong with it. */
export function readBearer(
  given: true | BearerOptions | undefined,
  provider: Provider | undefined,
): { readonly given: true | BearerOptions | undefined; readonly problems: readonly ConfigProblem[] } {
  if (given === undefined) return { given, problems: [] };
  if (given === true) {
    if (provider === undefined || provider.tokensNameClient === true) return { given, problems: [] };
    const message =
      'must be { audience } here: the provider signs tokens for other APIs with the same keys, and each would sign its user in.';
    return { given, problems: [{ path: 'bearer', message }] };
  }
  const read = readOptions<BearerOptions>('bearer', given, bearerChecks);
  if (read.problems.length > 0) return read;
  return { given: { audience: [read.given.audience ?? []].flat() }, problems: [] };
}

const texts = list('strings', text);

const holderChecks: Checks<ApiKeyHolder> = {
  user: (value) => object(value) ?? (text((value as { id?: unknown }).id) && 'must have an "id" that is a string.'),
  organizationId: optional(text),
  roles: optional(texts),
  permissions: optional(texts),
  entitlements: optional(texts),
  featureFlags: optional(texts),
  claims: optional(object),
};

/** Reads what the app says of a key, once, and says what is wrong with it. */
export function readHolder(answer: unknown): {
  readonly given: ApiKeyHolder;
  readonly problems: readonly ConfigProblem[];
} {
  const { given, problems } = readOptions<ApiKeyHolder>('apiKeys()', answer, holderChecks);
  const known = Object.keys(holderChecks);
  const isNamed = ({ path }: ConfigProblem) => path === 'apiKeys()' || known.includes(path.slice('apiKeys().'.length));
  // A row of a database as it is may have the key itself as a name: only names of ours are repeated.
  const unnamed = { path: 'apiKeys()', message: `has a field that is none of these: ${known.join(', ')}.` };
  return { given, problems: [...problems.filter(isNamed), ...(problems.every(isNamed) ? [] : [unnamed])] };
}
