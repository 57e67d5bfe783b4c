import { type Check, kind } from '../checks.js';

/**
 * The password that seals the cookies, 32 characters or more; or a map of id → password for rotation: the highest
 * id seals, every one opens.
 */
export type Password = string | Readonly<Record<number, string | undefined>>;

/** The passwords, ready for use. */
export interface Passwords {
  /** Goes into each new seal, so that a reader knows which password to try first. */
  readonly sealingId: string;
  readonly sealing: string;
  /** By id. A `Map`, because the id in a seal is the sender's choice and may be `constructor` or `__proto__`. */
  readonly byId: ReadonlyMap<string, string>;
}

// Iron's own minimum, counted as it counts: in characters.
const minimumLength = 32;

const longEnough = (value: unknown) => typeof value === 'string' && value.length >= minimumLength;

export const passwordCheck: Check = (value) => {
  const wanted = `must be a string of at least ${minimumLength} characters, or a map of number → such a string;`;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return longEnough(value) ? undefined : `${wanted} ${kind(value)} was given. Make one with: openssl rand -base64 32`;
  }
  const entries = Object.entries(value);
  if (entries.length === 0) return `${wanted} an empty map was given.`;
  const wrongId = entries.find(([id]) => !/^(0|[1-9]\d{0,8})$/.test(id));
  if (wrongId) return 'must have whole numbers as its ids: the highest one seals.';
  const tooShort = entries.find(([, password]) => !longEnough(password));
  return tooShort && `${wanted} ${kind(tooShort[1])} was given for id ${tooShort[0]}.`;
};

/** Reads the option once; later changes to the caller's object have no effect. */
export function readPasswords(password: Password): Passwords {
  // A lone password has the id that WorkOS's packages and iron-session give it.
  const byId = new Map<string, string>();
  for (const [id, each] of Object.entries(typeof password === 'string' ? { 1: password } : password))
    byId.set(id, each ?? '');
  const sealingId = String(Math.max(...[...byId.keys()].map(Number)));
  return { sealingId, sealing: byId.get(sealingId) ?? '', byId };
}
