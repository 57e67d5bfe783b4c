import { inspect, types } from 'node:util';

/** Shorter pieces of a secret than this occur by chance. */
const shortest = 12;

export interface SecretScanner {
  /** A value that must be seen nowhere. */
  plant: (name: string, ...secrets: string[]) => void;
  /** Keeps what was logged, thrown, emitted or sent, as deep as it goes, for the search. */
  watch: (where: string, ...seen: unknown[]) => void;
  /** Each piece of a planted secret in what was watched, as "secret in place"; the order of the two does not matter. */
  leaks: () => string[];
}

/** Finds secrets, and pieces of them, in anything: as they are, percent-encoded, in base64, hex or escapes. */
export function createSecretScanner(): SecretScanner {
  const planted = new Map<string, string>();
  const watched = new Map<string, string>();

  return {
    plant: (name, ...secrets) => {
      for (const secret of secrets) {
        if (secret.length < shortest) throw new Error(`The secret "${name}" is too short to be searched for.`);
        planted.set(secret, name);
      }
    },
    watch: (where, ...seen) => {
      for (const text of seen.flatMap((value) => [...textsIn(value)])) {
        if (!watched.has(text)) watched.set(text, where);
      }
    },
    leaks: () => {
      const pieces = new Map<string, string>();
      for (const [secret, name] of planted) for (const piece of piecesOf(secret)) pieces.set(piece, name);
      const found = new Set<string>();
      for (const [text, where] of watched) {
        for (const reading of readings(text)) {
          for (const piece of piecesOf(reading)) {
            const name = pieces.get(piece);
            if (name !== undefined) found.add(`${name} in ${where}`);
          }
        }
      }
      return [...found];
    },
  };
}

function* piecesOf(text: string): Generator<string> {
  for (let at = 0; at + shortest <= text.length; at += 1) yield text.slice(at, at + shortest);
}

/** Every text in a value: of all its properties, enumerable or not, its getters, its prototypes, its parts. */
function* textsIn(root: unknown): Generator<string> {
  const seen = new Set<unknown>();
  const queue: unknown[] = [root];
  for (let value = queue.pop(); seen.size < 100_000; value = queue.pop()) {
    yield* ownTexts(value);
    if ((typeof value === 'object' && value !== null) || typeof value === 'function') {
      if (!seen.has(value)) {
        seen.add(value);
        queue.push(...partsOf(value));
      }
    }
    if (queue.length === 0) break;
  }
  if (typeof root === 'object' || typeof root === 'function') yield shown(root);
}

function* ownTexts(value: unknown): Generator<string> {
  if (typeof value === 'string') yield value;
  else if (typeof value === 'symbol') yield value.description ?? '';
  else if (typeof value === 'bigint' || typeof value === 'number') yield String(value);
  else if (ArrayBuffer.isView(value)) yield bytesOf(value).toString('latin1');
  else if (types.isAnyArrayBuffer(value)) yield Buffer.from(value).toString('latin1');
  else if (value instanceof URL || value instanceof URLSearchParams) yield value.toString();
  else if (types.isNativeError(value)) yield `${String(value)} ${value.stack ?? ''}`;
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Buffer {
  return Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
}

function partsOf(value: object): unknown[] {
  if (ArrayBuffer.isView(value)) return [];
  const parts: unknown[] = [];
  if (types.isMap(value)) parts.push(...[...value].flat());
  if (types.isSet(value)) parts.push(...value);
  for (let owner: object | null = value; owner !== null && !isBuiltIn(owner); owner = prototypeOf(owner)) {
    for (const key of Reflect.ownKeys(owner)) {
      parts.push(key);
      try {
        // Through the value, so that a getter of a prototype sees its own instance.
        parts.push(Reflect.get(value, key));
      } catch (thrown) {
        parts.push(thrown);
      }
    }
  }
  return parts;
}

function prototypeOf(value: object): object | null {
  return Object.getPrototypeOf(value) as object | null;
}

/** A prototype of the language itself, of any realm: no secret is kept there. */
function isBuiltIn(value: object): boolean {
  const { constructor } = value as { constructor?: unknown };
  return (
    typeof constructor === 'function' &&
    constructor.prototype === value &&
    /\{\s*\[native code\]\s*\}$/.test(Function.prototype.toString.call(constructor))
  );
}

/** As it looks in a log: what `console.log` would make of it at its most talkative. */
function shown(value: unknown): string {
  return inspect(value, {
    depth: 12,
    showHidden: true,
    getters: true,
    maxStringLength: Infinity,
    maxArrayLength: Infinity,
    breakLength: Infinity,
  });
}

/** What a text may mean: itself, and what is in it under up to two layers of encoding. */
function* readings(text: string, layers = 2): Generator<string> {
  yield text;
  if (layers === 0) return;
  for (const decoded of new Set(decodings(text))) if (decoded !== text) yield* readings(decoded, layers - 1);
}

function* decodings(text: string): Generator<string> {
  if (text.includes('%')) {
    yield text.replace(/%([0-9a-f]{2})/gi, (_, code: string) => String.fromCharCode(parseInt(code, 16)));
  }
  if (text.includes('\\')) {
    yield text.replace(/\\(?:u([0-9a-f]{4})|x([0-9a-f]{2})|(.))/gis, (_, ...codes: (string | undefined)[]) => {
      const [wide, narrow, sign] = codes;
      const code = wide ?? narrow;
      return code === undefined ? (sign ?? '') : String.fromCharCode(parseInt(code, 16));
    });
  }
  for (const [run] of text.matchAll(/[\w+/-]{16,}/g)) {
    // Where the encoding began within the run is not known.
    for (let offset = 0; offset < 4; offset += 1) yield Buffer.from(run.slice(offset), 'base64').toString('latin1');
  }
  for (const [run] of text.matchAll(/[0-9a-f]{24,}/gi)) {
    for (let offset = 0; offset < 2; offset += 1) yield Buffer.from(run.slice(offset), 'hex').toString('latin1');
  }
}
