import { isRecord } from '../json.js';
import type { SealSettings } from '../options/config.js';
import type { AskedByGuard } from '../request/session-object.js';
import { bindingOf } from '../session/binding.js';
import { type Notes, sealedNotes } from './notes.js';

/** What guards ask a sign-in for. */
export type GuardNotes = Notes<AskedByGuard>;

// From a guard's answer to the request that follows it.
const lastsSeconds = 60;

/** What guards ask a sign-in for, on its way through the browser's address. */
export function guardNotes(seals: SealSettings, providerId: string): GuardNotes {
  return sealedNotes(seals, bindingOf(providerId, 'flow', 'asked by a guard'), isRecord, lastsSeconds);
}
