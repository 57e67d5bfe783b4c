import { createHash } from 'node:crypto';

import type { SealProblem } from '../session/reasons.js';
import type { Passwords } from './passwords.js';

/** What became of opening a seal. `passwordIndex` says which password opened it: 0 is the newest. */
export type Opened =
  | { readonly ok: true; readonly value: unknown; readonly passwordIndex: number }
  | { readonly ok: false; readonly problem: SealProblem };

/**
 * One way of writing a value into a cookie, authenticated and encrypted. `binding` names the provider and the purpose. A
 * format of ours authenticates it; in those of other packages there is no place for it, and the payload says it.
 */
export interface Sealer {
  /** Names the format, for logs. */
  readonly name: string;
  /** Whether these bytes claim to be this format. Decides only who tries to open them. */
  recognises(text: string): boolean;
  /**
   * Never throws: whatever a browser sends is a value. Synchronous, so that a request need not wait. Takes one from
   * `work` for each key that it derives, and stops when there is none left.
   */
  open(text: string, passwords: Passwords, nowMs: number, binding: string, work?: Work): Opened;
  /** Seals with the newest password. */
  seal(value: object, passwords: Passwords, binding: string): Promise<string>;
  /** How the readers of these seals name the fields of a session. Default: `camelCase`. */
  readonly fields?: 'camelCase' | 'snake_case' | undefined;
  /** Loads what `seal` needs, where that is not loaded with the sealer. Rejects when it cannot be loaded. */
  preload?(): Promise<void>;
}

/** How many keys may still be derived. */
export interface Work {
  derivations: number;
}

/** The most keys that are derived for what one request brings: a forged cookie must not cost more, whatever is in it. */
export const maxDerivations = 24;

export const fullWork = (): Work => ({ derivations: maxDerivations });

/** Takes one derivation; false when there is none left. */
export function takeWork(work: Work): boolean {
  if (work.derivations <= 0) return false;
  work.derivations -= 1;
  return true;
}

/** Whether a text claims to be a seal of one of these formats. */
export function isRecognised(text: string, sealers: readonly Sealer[]): boolean {
  return sealers.some((one) => one.recognises(text));
}

/** Opens a seal in whichever of the formats it is written. */
export function open(
  text: string,
  sealers: readonly Sealer[],
  passwords: Passwords,
  nowMs: number,
  binding: string,
  work: Work = fullWork(),
): Opened {
  const sealer = sealers.find((one) => one.recognises(text));
  return sealer ? sealer.open(text, passwords, nowMs, binding, work) : { ok: false, problem: 'bad_shape' };
}

/** Sealing as it is set up, and a name for the set-up by which others can tell whether theirs is the same. */
export interface Sealing<Value extends object = object> {
  readonly sealedUnder: string;
  readonly seal: (value: Value) => Promise<string>;
  /** Loads what `seal` needs. Rejects when it cannot be loaded. */
  readonly preload: () => Promise<void>;
}

export function sealing(sealer: Sealer, passwords: Passwords, binding: string): Sealing {
  const { sealingId, sealing: password } = passwords;
  return {
    sealedUnder: createHash('sha256').update(`${sealer.name} ${sealingId} ${binding} ${password}`).digest('base64url'),
    seal: (value) => sealer.seal(value, passwords, binding),
    preload: async () => sealer.preload?.(),
  };
}
