import { Console } from 'node:console';
import { PassThrough } from 'node:stream';
import { format, inspect } from 'node:util';
import { serialize } from 'node:v8';

/** What a console prints, taken from its stream. */
function logged(print: (to: Console) => void): string {
  const stream = new PassThrough();
  print(new Console(stream));
  return String(stream.read() ?? '');
}

/**
 * What the usual ways to print, copy and send a value make of it. They ask no accessor by name: what an app has to ask
 * for by name is not printed by mistake.
 */
export function printed(value: unknown): string[] {
  const deep = { depth: 20, showHidden: true, maxStringLength: Infinity, maxArrayLength: Infinity };
  return [
    logged((to) => {
      to.log(value);
    }),
    logged((to) => {
      to.log('on a request', { session: value }, [value]);
    }),
    logged((to) => {
      to.dir(value, deep);
    }),
    inspect(value, deep),
    inspect(value, { ...deep, customInspect: false }),
    // As `node:assert` prints what differs.
    inspect(value, { depth: 20, customInspect: false, getters: true }),
    format('%s %j %o %O', value, value, value, value),
    // Of a function there is no JSON.
    JSON.stringify({ value, list: [value] }),
    String(value),
    ...(typeof value === 'function' ? [] : [copied(value)]),
  ];
}

/** Copies of the value: by spreading it, by its entries, and as it is sent to another thread or process. */
function copied(value: unknown): string {
  const entries: unknown[] = Object.entries(value as object);
  for (const name in value as object) entries.push(name);
  const copies = [{ ...(value as object) }, entries];
  return inspect([...copies, ...sent(value)], { depth: 20, showHidden: true });
}

function sent(value: unknown): string[] {
  try {
    return [inspect(structuredClone(value), { depth: 20 }), serialize(value).toString('latin1')];
  } catch {
    // An object with functions cannot be sent at all.
    return [];
  }
}
