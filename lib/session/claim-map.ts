import { isRecord } from '../json.js';

type Claims = Readonly<Record<string, unknown>>;

/** What guards read, and where providers have no common names. */
export type MappedClaim = 'role' | 'roles' | 'permissions' | 'entitlements' | 'featureFlags' | 'organizationId';

/** What guards read, out of a token. */
export type Granted = Partial<Record<MappedClaim, unknown>>;

/**
 * Where what guards read stands in a token. A string is a claim's exact name, a list is the way through objects. A text
 * with spaces counts as a list where many are meant, as in `scope`.
 */
export type ClaimMap = Partial<Readonly<Record<MappedClaim, string | readonly string[] | undefined>>>;

/** Reads what guards need out of both tokens. The access token's claims are empty where it is opaque to us. */
export type ClaimMapper = (accessToken: Claims, idToken: Claims) => Granted;

/** The names that providers use where no map says otherwise. */
export const usualNames: Required<ClaimMap> = {
  role: 'role',
  roles: 'roles',
  permissions: 'permissions',
  entitlements: 'entitlements',
  featureFlags: 'feature_flags',
  organizationId: 'org_id',
};

const mappedClaims = Object.keys(usualNames) as MappedClaim[];

type Paths = readonly (readonly [MappedClaim, readonly string[]])[];

// Read once for each map: a map belongs to a provider, and its claims are read for each new visitor.
const knownPaths = new WeakMap<ClaimMap, Paths>();

function pathsOf(map: ClaimMap): Paths {
  const known = knownPaths.get(map);
  if (known) return known;
  const paths = mappedClaims.map((name) => [name, [map[name] ?? usualNames[name] ?? name].flat()] as const);
  knownPaths.set(map, paths);
  return paths;
}

/** What a map finds in the claims of one token. */
export function grantedBy(map: ClaimMap, claims: Claims): Granted {
  const granted: Granted = {};
  for (const [name, path] of pathsOf(map)) granted[name] = valueAt(claims, path);
  return granted;
}

/** What a provider grants in its own names: a text with spaces becomes a list where many are meant. */
export function withLists(granted: Granted): Granted {
  const lists = listNames.map((name) => [name, asList(granted[name])] as const);
  return { ...granted, ...Object.fromEntries(lists) };
}

const listNames = ['roles', 'permissions', 'entitlements', 'featureFlags'] as const;

// As `scope` has it (RFC 6749 section 3.3).
function asList(value: unknown): unknown {
  return typeof value === 'string' ? value.split(' ').filter((each) => each !== '') : value;
}

/** Only own properties: a claim named `constructor` is not what an object inherits. */
function valueAt(claims: Claims, path: readonly string[]): unknown {
  let value: unknown = claims;
  for (const step of path) value = isRecord(value) && Object.hasOwn(value, step) ? value[step] : undefined;
  return value;
}

/** The part of the claims that a map reads: enough to read it again, and no more bytes in the seal. */
export function claimsFor(map: ClaimMap, claims: Claims): Record<string, unknown> {
  const kept: Record<string, unknown> = {};
  for (const [, path] of pathsOf(map)) {
    const value = valueAt(claims, path);
    if (value !== undefined) put(kept, path, value);
  }
  return kept;
}

function put(into: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [step = '', ...rest] = path;
  // `__proto__` would set what the object inherits.
  const own = Object.hasOwn(into, step) ? into[step] : undefined;
  const next = rest.length === 0 ? value : isRecord(own) ? own : {};
  Object.defineProperty(into, step, { value: next, writable: true, enumerable: true, configurable: true });
  if (rest.length > 0) put(next as Record<string, unknown>, rest, value);
}

/** The names of the claims, at the top of a token, that a map reads. */
export function claimNamesOf(map: ClaimMap): readonly string[] {
  return pathsOf(map).map(([, [name = '']]) => name);
}

/** What is wrong with `mapClaims`, as the end of a sentence. */
export function claimMapProblem(value: unknown): string | undefined {
  if (typeof value === 'function') return undefined;
  const isPath = (path: unknown) =>
    (typeof path === 'string' && path !== '') ||
    (Array.isArray(path) && path.length > 0 && path.every((step) => typeof step === 'string' && step !== ''));
  const isMap =
    isRecord(value) &&
    Object.entries(value).every(
      ([name, path]) => Object.hasOwn(usualNames, name) && (path === undefined || isPath(path)),
    );
  return isMap
    ? undefined
    : `must be a function, or an object of claims by these names: ${mappedClaims.join(', ')}. A claim is its name, or a list of names that leads to it.`;
}
