/** A JWT in parts. Header and claims are as their text was before base64url, the signature is as it was. */
export interface JwtParts {
  readonly header: Buffer;
  readonly claims: Buffer;
  readonly signature: string;
}

const brace = 0x7b;

/**
 * The parts of a JWT, if its very bytes can be made of them again. base64url has several spellings of the same bytes, and
 * a signature covers the spelling. A text of another kind with two dots, such as a PASETO, may be secret as a whole.
 */
export function splitJwt(token: string): JwtParts | undefined {
  const [header = '', claims = '', signature, ...more] = token.split('.');
  if (signature === undefined || more.length > 0) return undefined;
  const parts = { header: Buffer.from(header, 'base64url'), claims: Buffer.from(claims, 'base64url'), signature };
  if (parts.header[0] !== brace || parts.claims[0] !== brace) return undefined;
  const again = `${parts.header.toString('base64url')}.${parts.claims.toString('base64url')}.${signature}`;
  return again === token ? parts : undefined;
}

/** Whether `packToken` takes a text: what RFC 6749 allows in a token, without the space. */
export function isPackable(token: string): boolean {
  return /^[\x21-\x7e]*$/.test(token);
}

/**
 * A token in three quarters of its letters, where they are base64url's. It is cut at its dots, and of each piece whole
 * groups of four letters become three bytes: so every text is made again letter for letter, however it was spelt.
 */
export function packToken(token: string): Buffer {
  const pieces = token.split('.');
  return Buffer.concat([varint(pieces.length), ...pieces.flatMap(packPiece)]);
}

function packPiece(piece: string): Buffer[] {
  const isPacked = /^[\w-]*$/.test(piece);
  const grouped = isPacked ? piece.length - (piece.length % 4) : 0;
  return [
    varint(piece.length * 2 + Number(isPacked)),
    Buffer.from(piece.slice(0, grouped), 'base64url'),
    Buffer.from(piece.slice(grouped), 'latin1'),
  ];
}

/** A whole number in bytes of seven bits, the lowest first (LEB128). */
export function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 0x80) return Buffer.from([...bytes, rest]);
    bytes.push((rest & 0x7f) | 0x80);
  }
}

/** Reads one thing after another. Each throws a `RangeError` where the bytes end too early. */
export interface Reader {
  readonly varint: () => number;
  readonly bytes: (count: number) => Buffer;
  readonly text: (count: number, encoding: 'utf8' | 'latin1' | 'base64url') => string;
  readonly token: () => string;
  /** How many bytes there still are. */
  readonly left: () => number;
}

export function readerOf(all: Buffer, start: number): Reader {
  let at = start;

  /** Where the next `count` bytes begin. */
  function take(count: number): number {
    if (count > all.length - at) throw new RangeError('The bytes have ended.');
    at += count;
    return at - count;
  }

  function readVarint(): number {
    let value = 0;
    // Four groups hold 2^28, more than any cookie.
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = all[take(1)] ?? 0;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError('The number is too long.');
  }

  function text(count: number, encoding: 'utf8' | 'latin1' | 'base64url'): string {
    const from = take(count);
    return all.toString(encoding, from, at);
  }

  function piece(): string {
    const head = readVarint();
    const length = head >>> 1;
    const grouped = head & 1 ? length - (length % 4) : 0;
    return text((grouped / 4) * 3, 'base64url') + text(length - grouped, 'latin1');
  }

  return {
    varint: readVarint,
    bytes: (count) => {
      const from = take(count);
      return all.subarray(from, at);
    },
    text,
    token: () => {
      let token = '';
      for (let count = readVarint(); count > 0; count -= 1) token += count === 1 ? piece() : `${piece()}.`;
      return token;
    },
    left: () => all.length - at,
  };
}
