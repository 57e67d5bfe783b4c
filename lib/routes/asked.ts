import { type Check, amount, checkOptions, type Checks, oneOf, optional, text } from '../checks.js';
import { longestLinkedPath, safeReturnPath } from '../http/navigation.js';
import type { BeginSignIn } from '../provider/provider.js';

// They travel in the cookie of the sign-in, and two tabs have one each.
const longestAppState = 512;
const longestTogether = 2_048;
// What anybody can write into a link.
const longestForwarded = 256;

const texts: Check = (value) =>
  Array.isArray(value) && value.length > 0 && value.every((item) => text(item) === undefined)
    ? undefined
    : 'must be a list of at least one string.';

const checks: Checks<BeginSignIn> = {
  returnTo: optional((value) =>
    typeof value === 'string' && safeReturnPath(value, '') !== '' ? undefined : 'must be a path of the app.',
  ),
  appState: optional(appStateProblem),
  organizationId: optional(text),
  connectionId: optional(text),
  domainHint: optional(text),
  loginHint: optional(text),
  invitationToken: optional(text),
  screenHint: optional(oneOf('sign-in', 'sign-up')),
  prompt: optional(text),
  maxAuthAgeSeconds: optional(amount('seconds', 0, 31_536_000)),
  acrValues: optional(texts),
  uiLocales: optional(texts),
  scope: optional(text),
  provider: optional(text),
  providerScopes: optional(texts),
};

function appStateProblem(value: unknown): string | undefined {
  let json: string | undefined;
  try {
    json = JSON.stringify(value);
  } catch {
    // A circle, or a BigInt.
  }
  if (json === undefined) return 'must be a value of JSON.';
  return Buffer.byteLength(json) > longestAppState ? `must be at most ${longestAppState} bytes of JSON.` : undefined;
}

/**
 * What a handler asks for.
 *
 * @throws {TypeError} naming the option
 */
export function readAsked(asked: BeginSignIn): BeginSignIn {
  const [problem] = checkOptions('', asked, checks);
  if (problem) throw new TypeError(`beginSignIn: "${problem.path}" ${problem.message}`);
  const { returnTo = '', appState } = asked;
  // A browser drops a cookie of more than 4,096 bytes without a word.
  if (returnTo.length + (appState === undefined ? 0 : Buffer.byteLength(JSON.stringify(appState))) > longestTogether) {
    throw new TypeError(`beginSignIn: "returnTo" and "appState" must be at most ${longestTogether} bytes together.`);
  }
  return { ...asked };
}

/** What a parameter of the protocol is called here, and how its text is read. */
const fieldOf: Readonly<Record<string, readonly [keyof BeginSignIn, (value: string) => unknown]>> = {
  login_hint: ['loginHint', String],
  invitation_token: ['invitationToken', String],
  invitation: ['invitationToken', String],
  organization_id: ['organizationId', String],
  organization: ['organizationId', String],
  connection_id: ['connectionId', String],
  connection: ['connectionId', String],
  domain_hint: ['domainHint', String],
  screen_hint: ['screenHint', (value) => (value === 'signup' ? 'sign-up' : value)],
  prompt: ['prompt', String],
  provider: ['provider', String],
  max_age: ['maxAuthAgeSeconds', (value) => (/^\d+$/.test(value) ? Number(value) : undefined)],
  acr_values: ['acrValues', (value) => value.split(' ').filter(Boolean)],
  ui_locales: ['uiLocales', (value) => value.split(' ').filter(Boolean)],
};

export interface LinkedRequest {
  readonly asked: BeginSignIn;
  /** Parameters that have no name here, for the provider as they are. */
  readonly others: Readonly<Record<string, string>>;
}

/**
 * What a link asks for. Anybody can write one, so what is not allowed, or is odd, is ignored.
 *
 * @param isOwn whether the link is on a page of the app
 */
export function askedByLink(query: URLSearchParams, allowed: readonly string[], isOwn: boolean): LinkedRequest {
  const asked: Record<string, unknown> = {};
  const others: Record<string, string> = {};
  for (const name of allowed) {
    const [value, ...more] = query.getAll(name);
    if (!value || more.length > 0 || value.length > longestForwarded) continue;
    const [field, read] = Object.hasOwn(fieldOf, name) ? (fieldOf[name] ?? []) : [];
    if (!field || !read) {
      others[name] = value;
      continue;
    }
    const given = read(value);
    if (given !== undefined && checks[field](given) === undefined) asked[field] = given;
  }
  const returnTo = safeReturnPath(query.get('returnTo'), '', isOwn ? undefined : longestLinkedPath);
  return { asked: { ...asked, ...(returnTo !== '' && { returnTo }) }, others };
}
