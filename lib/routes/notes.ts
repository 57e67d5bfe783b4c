import type { SealSettings } from '../options/config.js';
import { isRecord } from '../json.js';
import { open } from '../seal/sealer.js';

/** Values of our own that travel by the browser, sealed: what one purpose has sealed opens for no other. */
export interface Notes<Value extends object> {
  readonly seal: (value: Value) => Promise<string>;
  /** The value, if it is ours and still good. */
  readonly open: (text: string | null | undefined) => Value | undefined;
}

/**
 * @param boundTo names what the notes are for; see `bindingOf`
 * @param isValue whether what was opened is a whole value
 */
export function sealedNotes<Value extends object>(
  { passwords, sealers }: SealSettings,
  boundTo: string,
  isValue: (value: Record<string, unknown>) => boolean,
  lastsSeconds = Infinity,
): Notes<Value> {
  const [sealer] = sealers;
  return {
    seal: async (value) => {
      const until = lastsSeconds === Infinity ? undefined : Date.now() + lastsSeconds * 1000;
      return (await sealer?.seal({ ...value, boundTo, until }, passwords, boundTo)) ?? '';
    },
    open: (text) => {
      const opened = text ? open(text, sealers, passwords, Date.now(), boundTo) : undefined;
      if (!opened?.ok || !isRecord(opened.value)) return undefined;
      const { boundTo: madeFor, until = Infinity, ...value } = opened.value;
      const isGood = madeFor === boundTo && typeof until === 'number' && Date.now() < until && isValue(value);
      return isGood ? (value as Value) : undefined;
    },
  };
}
