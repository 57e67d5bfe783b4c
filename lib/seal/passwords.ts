import { type Check, kind } from '../checks.js';

/**
 * The password that seals the cookies, 32 characters or more. For a rotation a list `[newest, older]`: the first seals,
 * each opens. Or iron-session's map of id → password: the highest id seals, each opens.
 */
export type Password = string | readonly (string | undefined)[] | Readonly<Record<number, string | undefined>>;

/** The passwords, ready for use. */
export interface Passwords {
  /** Goes into each new seal, so that a reader knows which password to try first. */
  readonly sealingId: string;
  /** The password that seals: the newest. */
  readonly sealing: string;
  /** All of them, the sealing one first. Ids may repeat: before a rotation, the older one sealed under the same id. */
  readonly newestFirst: readonly { readonly id: string; readonly password: string }[];
}

// Iron's own minimum, counted as it counts: in characters.
const minimumLength = 32;

// A request derives a limited number of keys, and each password costs one: more of them could never all be tried.
const mostPasswords = 20;

// The id that WorkOS's packages and iron-session give a lone password.
const loneId = '1';

const longEnough = (value: unknown) => typeof value === 'string' && value.length >= minimumLength;

export const passwordCheck: Check = (value) => {
  const wanted = `must be a string of at least ${minimumLength} characters, a list of such strings with the newest first, or a map of number → such a string;`;
  if (typeof value !== 'object' || value === null) {
    return longEnough(value) ? undefined : `${wanted} ${kind(value)} was given. Make one with: openssl rand -base64 32`;
  }
  const entries = Object.entries(value);
  if (entries.length === 0) return `${wanted} an empty ${Array.isArray(value) ? 'list' : 'map'} was given.`;
  if (entries.length > mostPasswords)
    return `must be at most ${mostPasswords} passwords; ${entries.length} were given.`;
  const wrongId = entries.find(([id]) => !/^(0|[1-9]\d{0,8})$/.test(id));
  if (wrongId) return 'must have whole numbers as its ids: the highest one seals.';
  const tooShort = entries.find(([, password]) => !longEnough(password));
  if (!tooShort) return undefined;
  return `${wanted} ${kind(tooShort[1])} was given ${Array.isArray(value) ? 'at' : 'for id'} ${tooShort[0]}.`;
};

/** Reads the option once; later changes to the caller's object have no effect. */
export function readPasswords(given: Password): Passwords {
  const entries = Object.entries<string | undefined>(typeof given === 'string' ? [given] : given);
  const isMap = typeof given === 'object' && !Array.isArray(given);
  if (isMap) entries.sort(([one], [other]) => Number(other) - Number(one));
  const newestFirst = entries.map(([id, password = '']) => ({ id: isMap ? id : loneId, password }));
  const [newest = { id: loneId, password: '' }] = newestFirst;
  return { sealingId: newest.id, sealing: newest.password, newestFirst };
}
