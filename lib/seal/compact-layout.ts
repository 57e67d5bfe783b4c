import { deflateRawSync, inflateRawSync } from 'node:zlib';

import { isRecord } from '../json.js';
import type { PayloadFields } from '../session/payload.js';
import { dictionary1 } from './compact-dictionary.js';
import { isPackable, packToken, type Reader, readerOf, splitJwt, varint } from './token-parts.js';

/**
 * The fields that are compressed, beside the header and the claims of the access token. Every other field stays outside:
 * compressed beside a text that somebody chooses, a secret could be guessed letter by letter by the length (CRIME).
 * A new field is outside until it is named here.
 */
const compressedFields: ReadonlySet<string> = new Set<keyof PayloadFields>([
  'user',
  'organizationId',
  'authenticationMethod',
  'impersonator',
  'sessionId',
  'boundTo',
  'sealedAt',
  'startedAt',
  'usedAt',
  'refreshedAt',
  'expiresAt',
  'tokenSubject',
  'tokenIssuer',
]);

// What inflates to more was not written here, or holds more than any cookie should.
const maxInflatedBytes = 131_072;

const flags = { jwt: 1, opaque: 2, refreshToken: 4, bound: 8, deflated: 16 } as const;

/** Writes a value as compactly as it can: `docs/reference/seal-format.md` has the layout. */
export function packValue(value: object, binding: string): Buffer {
  const { accessToken, refreshToken, boundTo, ...others } = value as Record<string, unknown>;
  const [compressed, plain]: [[string, unknown][], [string, unknown][]] = [[], []];
  for (const [name, each] of Object.entries(others))
    (compressedFields.has(name) ? compressed : plain).push([name, each]);
  let set = 0;
  const tokens: Buffer[] = [];
  const lengths: Buffer[] = [];
  const texts: Buffer[] = [];

  if (isToken(accessToken)) {
    const jwt = splitJwt(accessToken);
    set |= jwt ? flags.jwt : flags.opaque;
    tokens.push(packToken(jwt ? jwt.signature : accessToken));
    if (jwt) {
      texts.push(jwt.header, jwt.claims);
      lengths.push(varint(jwt.header.length), varint(jwt.claims.length));
    }
  } else plain.push(['accessToken', accessToken]);
  if (isToken(refreshToken)) {
    set |= flags.refreshToken;
    tokens.push(packToken(refreshToken));
  } else plain.push(['refreshToken', refreshToken]);
  if (boundTo === binding) set |= flags.bound;
  else compressed.push(['boundTo', boundTo]);

  texts.push(jsonOf(compressed));
  const text = Buffer.concat(texts);
  const isDeflated = text.length > 0 && text.length <= maxInflatedBytes;
  if (isDeflated) set |= flags.deflated;
  const stored = isDeflated ? deflate(text) : text;
  return Buffer.concat([Buffer.of(set), ...lengths, varint(stored.length), stored, ...tokens, jsonOf(plain)]);
}

/**
 * Reads what `packValue` has written.
 *
 * @param start where it begins
 * @throws when these bytes are of anything else, or inflate to more than 128 KiB
 */
export function unpackValue(bytes: Buffer, start: number, binding: string): Record<string, unknown> {
  const reader = readerOf(bytes, start);
  const set = reader.varint();
  const isJwt = (set & flags.jwt) !== 0;
  const [headerLength, claimsLength] = isJwt ? [reader.varint(), reader.varint()] : [0, 0];
  const stored = reader.bytes(reader.varint());
  const texts = readerOf(set & flags.deflated ? inflate(stored) : stored, 0);
  const [header, claims] = [texts.text(headerLength, 'base64url'), texts.text(claimsLength, 'base64url')];
  const value = readFields(texts) ?? {};
  if (isJwt) value.accessToken = `${header}.${claims}.${reader.token()}`;
  else if (set & flags.opaque) value.accessToken = reader.token();
  if (set & flags.refreshToken) value.refreshToken = reader.token();
  if (set & flags.bound) value.boundTo = binding;
  const plain = readFields(reader);
  return plain ? { ...value, ...plain } : value;
}

function isToken(value: unknown): value is string {
  return typeof value === 'string' && isPackable(value);
}

// Most sessions fit into one small chunk. With the default of 16 KiB, its allocation takes half of the time of inflating.
const chunkSize = 1_024;

function deflate(bytes: Buffer): Buffer {
  // Tables for 64 KiB of text take longer to clear than a session takes to compress, and save no byte.
  return deflateRawSync(bytes, { dictionary: dictionary1, level: 9, memLevel: 4, chunkSize });
}

function inflate(bytes: Buffer): Buffer {
  return inflateRawSync(bytes, { dictionary: dictionary1, maxOutputLength: maxInflatedBytes, chunkSize });
}

function jsonOf(fields: readonly (readonly [string, unknown])[]): Buffer {
  const json = JSON.stringify(Object.fromEntries(fields));
  return Buffer.from(json === '{}' ? '' : json);
}

/** The fields that stand at the end, as JSON. */
function readFields({ left, text }: Reader): Record<string, unknown> | undefined {
  if (left() === 0) return undefined;
  const value: unknown = JSON.parse(text(left(), 'utf8'));
  if (!isRecord(value)) throw new TypeError('The fields are no object.');
  return value;
}
