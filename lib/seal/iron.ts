import {
  createDecipheriv,
  createHmac,
  createSecretKey,
  type KeyObject,
  pbkdf2Sync,
  timingSafeEqual,
} from 'node:crypto';

import { isRecord } from '../json.js';
import type { Passwords } from './passwords.js';
import { fullWork, type Opened, type Sealer, takeWork, type Work } from './sealer.js';

/**
 * Iron seals, as iron-session and WorkOS's JavaScript packages write them:
 *
 *     Fe26.2*passwordId*encryptionSalt*iv*ciphertext*expiry*macSalt*mac~2
 *
 * The MAC covers the first six fields. The `~2` behind it is covered by nothing, so it decides nothing.
 */
const shape = /^Fe26\.2\*\w{1,32}\*[0-9a-f]{64}\*[\w-]{22}\*[\w-]{22,}\*\d{0,16}\*[0-9a-f]{64}\*[\w-]{43}(?:~\d)?$/;

type Field = 'covered' | 'id' | 'encryptionSalt' | 'iv' | 'ciphertext' | 'expiry' | 'macSalt' | 'mac';
type Fields = Readonly<Record<Field, string>>;

// 32 bytes in base64url.
const macLength = 43;

// Iron forgives a clock that is this far off, both ways.
const skewMs = 60_000;

/**
 * Seals that WorkOS's JavaScript packages (AuthKit for Next.js, authkit-session, the Node SDK) and iron-session
 * read and write. iron-session writes them. They are read by `node:crypto` directly: the same bytes in a tenth
 * of the time, without waiting, and with an answer to *why* a seal does not open, for which iron-session has none.
 *
 * @example
 * withSession({ ...options, sealer: ironSealer() });
 */
export function ironSealer(): Sealer {
  return Object.freeze({
    name: 'iron',
    // A run of pieces that is not whole lacks fields, and costs no derivation.
    recognises: (text: string) => readFields(text) !== undefined,
    open: openIron,
    preload: async () => {
      await import('iron-session');
    },
    // Without an expiry of its own: the session's lifetimes are in the payload, where they can be read.
    seal: async (value: object, { sealingId, sealing }: Passwords) => {
      // Loaded by `preload()` or by the first cookie that is written, not at start-up.
      const { sealData } = await import('iron-session');
      return sealData(value, { password: { [sealingId]: sealing }, ttl: 0 });
    },
  });
}

function openIron(
  text: string,
  passwords: Passwords,
  nowMs: number,
  _binding: string,
  work: Work = fullWork(),
): Opened {
  const fields = readFields(text);
  // One derivation is kept for the text itself.
  const forMac = { derivations: work.derivations - 1 };
  const sealedWith = fields && findPassword(fields, passwords, forMac);
  work.derivations = forMac.derivations + 1;
  if (!fields || !sealedWith) {
    // The letters are checked only now, for the operator: the MAC vouches for those of a good seal in a tenth of the time.
    if (!fields || !shape.test(text)) return { ok: false, problem: 'bad_shape' };
    return { ok: false, problem: isUnderOurPassword(fields, passwords, work) ? 'tampered' : 'unknown_password' };
  }
  work.derivations -= 1;
  // The MAC holds: from here on what the seal says is believed.
  if (!/^\d*$/.test(fields.expiry)) return { ok: false, problem: 'bad_shape' };
  if (fields.expiry !== '' && Number(fields.expiry) <= nowMs - skewMs) return { ok: false, problem: 'expired_seal' };
  try {
    const key = deriveKey(sealedWith.password, fields.encryptionSalt);
    const decipher = createDecipheriv('aes-256-cbc', key, Buffer.from(fields.iv, 'base64url'));
    const json = decipher.update(fields.ciphertext, 'base64url', 'utf8') + decipher.final('utf8');
    return { ok: true, value: unwrap(JSON.parse(json)), passwordIndex: sealedWith.index };
  } catch {
    // Sealed under our password, but not by Iron or not from JSON.
    return { ok: false, problem: 'bad_shape' };
  }
}

function readFields(text: string): Fields | undefined {
  const [prefix, id = '', encryptionSalt = '', iv = '', ciphertext = '', expiry = '', macSalt = '', ending, ...more] =
    text.split('*', 9);
  if (prefix !== 'Fe26.2' || ending === undefined || more.length > 0) return undefined;
  const mac = ending.replace(/~\d$/, '');
  if (mac.length !== macLength) return undefined;
  const covered = text.slice(0, -(macSalt.length + ending.length + 2));
  return { covered, id, encryptionSalt, iv, ciphertext, expiry, macSalt, mac };
}

/** The password under which the MAC holds: those with the seal's own id are tried first, then all others. */
function findPassword({ covered, id, macSalt, mac }: Fields, { newestFirst }: Passwords, work: Work) {
  // base64url has several spellings of the same bytes. The text is compared, so that only one of them is accepted.
  const given = Buffer.from(mac);
  const candidates = newestFirst.map(({ password, id: own }, index) => ({ password, index, isNamed: own === id }));
  if (candidates.length > 1) candidates.sort((one, other) => Number(other.isNamed) - Number(one.isNamed));
  return candidates.find(({ password }) => {
    if (!takeWork(work)) return false;
    const expected = Buffer.from(
      createHmac('sha256', deriveKey(password, macSalt)).update(covered).digest('base64url'),
    );
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
}

/**
 * Whether one of our passwords turns the first block into the beginning of a JSON object. Only for telling the
 * operator a damaged cookie from a wrong password, which the MAC cannot. One block, without padding and with the same
 * work whatever comes out: nothing here tells the sender anything about the plaintext.
 */
function isUnderOurPassword(
  { encryptionSalt, iv, ciphertext }: Fields,
  { newestFirst }: Passwords,
  work: Work,
): boolean {
  const [vector, block] = [Buffer.from(iv, 'base64url'), Buffer.from(ciphertext, 'base64url').subarray(0, 16)];
  const beginnings = newestFirst.map(({ password }) => {
    if (!takeWork(work)) return '';
    const decipher = createDecipheriv('aes-256-cbc', deriveKey(password, encryptionSalt), vector).setAutoPadding(false);
    return decipher.update(block).toString('latin1');
  });
  return beginnings.some((beginning) => beginning.startsWith('{"'));
}

// One iteration of PBKDF2 with SHA-1 is Iron's format. It stretches nothing: the password's own entropy is what
// protects the cookie, hence the minimum length. A key object, because for bytes Node 24 takes several times as long.
function deriveKey(password: string, salt: string): KeyObject {
  return createSecretKey(pbkdf2Sync(password, salt, 1, 32, 'sha1'));
}

/** iron-session before version 2 of its seals put the value into a field of its own. */
function unwrap(value: unknown): unknown {
  return isRecord(value) && isRecord(value.persistent) && Object.keys(value).length === 1 ? value.persistent : value;
}
