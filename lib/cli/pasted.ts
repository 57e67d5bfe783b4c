import { sealCandidates } from '../http/cookies.js';
import { isRecognised, type Sealer } from '../seal/sealer.js';
import { UsageError } from './terminal.js';

/** A seal as somebody has pasted it. */
export interface Pasted {
  /** Each value that the text may have been written as, the likeliest first. */
  readonly seals: readonly string[];
  /** The cookie's name, where the text had it. */
  readonly name: string | undefined;
  /** In how many cookies it came. */
  readonly pieces: number;
}

/**
 * Reads a seal, a pair `name=value`, a whole `Cookie` header, or a `Set-Cookie` header, with or without its name and the
 * quotes of a shell.
 *
 * @throws {UsageError} no session cookie is in it
 */
export function readPasted(given: string, name: string | undefined, sealers: readonly Sealer[]): Pasted {
  const text = given
    .trim()
    .replace(/^(-H|-b|--header|--cookie)\s+/, '')
    .replace(/^(['"])(.*)\1$/s, '$2')
    .trim();
  if (text === '') throw new UsageError('Standard input is empty. Paste the cookie there, or pipe it in.');
  const header = text.replace(/^(set-)?cookie:\s*/i, '').replace(/\s*\n\s*/g, '');
  // A seal of the Ruby SDK may end with "=".
  if (header === text && /^[^=;]+={0,2}$/.test(text)) return { seals: [text], name: undefined, pieces: 1 };

  const names = header.split(';').map((pair) => pair.slice(0, Math.max(0, pair.indexOf('='))).trim());
  const wanted = name ?? guess(header, names, sealers);
  if (wanted === undefined)
    throw new UsageError('No session cookie is in that text. With --name its name can be given.');
  const seals = sealCandidates(header, wanted);
  if (seals.length === 0) throw new UsageError('No cookie of that name is in that text.');
  const pieces = names.filter((each) => each.startsWith(`${wanted}.`)).length;
  return { seals, name: wanted, pieces: Math.max(1, pieces) };
}

/** The name of the first cookie whose value is a seal. */
function guess(header: string, names: readonly string[], sealers: readonly Sealer[]): string | undefined {
  const whole = [...new Set(names.map((each) => each.replace(/\.\d$/, '')))];
  const isSeal = (each: string) =>
    sealCandidates(header, each).some((value) => value.length > 100 && isRecognised(value, sealers));
  return whole.find((each) => each !== '' && isSeal(each));
}
