import { isUtf8 } from 'node:buffer';

import { parseObject } from '../json.js';

/** The JSON object of one part of a JWS; undefined where it is none. */
export function parsePart(part: string): Record<string, unknown> | undefined {
  const bytes = decodePart(part);
  // Node would replace bytes that are not UTF-8 by another letter.
  if (!bytes || !isUtf8(bytes)) return undefined;
  return parseObject(bytes.toString());
}

/** The bytes of canonical base64url (RFC 7515 section 2). Node itself would skip foreign letters. */
export function decodePart(part: string): Buffer | undefined {
  const bytes = Buffer.from(part, 'base64url');
  return bytes.toString('base64url') === part ? bytes : undefined;
}
