import {
  createHash,
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';

import type { SessionPayload } from './payload.js';
import { idOf } from './unverified-claims.js';

/** What a challenge is for. One of a registration proves nothing at a refresh. */
export type ChallengePurpose = 'register' | 'refresh';

/** Challenges to a device, and the proofs that it has answered one. Nothing is stored: both say themselves what they are. */
export interface DeviceProofs {
  readonly challenge: (purpose: ChallengePurpose, payload: SessionPayload) => string;
  /** When a challenge was made, in seconds; undefined where it is none of ours, for something else, or too old. */
  readonly challengedAt: (text: string, purpose: ChallengePurpose, payload: SessionPayload) => number | undefined;
  /** @param until in seconds since the epoch */
  readonly make: (payload: SessionPayload, until: number) => string;
  /** Whether one of these is a good proof for a bound session. The one that was good last is compared, not verified anew. */
  readonly areGood: (payload: SessionPayload, values: readonly string[]) => boolean;
}

// A browser answers at once, and the slowest security chip within seconds.
const challengeSeconds = 60;

// A browser sends one. Sibling subdomains can plant others beside it.
const mostValues = 4;

const macLength = 22;

/**
 * @param secrets the passwords, the newest first: it makes, and each verifies
 * @param binding what the seals of these sessions are bound to
 */
export function deviceProofs(secrets: readonly string[], binding: string): DeviceProofs {
  const info = `express-sealed-session device proof 1 ${binding}`;
  // Key objects, because for bytes Node 24 takes ten times as long.
  const keys = secrets.map((secret) => createSecretKey(new Uint8Array(hkdfSync('sha256', secret, '', info, 32))));
  const [newest = createSecretKey(Buffer.alloc(32))] = keys;
  const lastGood = new WeakMap<SessionPayload, { readonly value: string; readonly untilMs: number }>();

  function isSigned(parts: readonly unknown[], mac: string): boolean {
    return keys.some((key) => timingSafeEqual(Buffer.from(macOf(key, parts)), Buffer.from(mac)));
  }

  /** Until when a proof is good, in milliseconds; undefined where it is none for this session and its key. */
  function goodUntilMs(payload: SessionPayload, value: string): number | undefined {
    const [, until = '', mac = ''] = /^([0-9a-z]{1,8})\.([\w-]{22})$/.exec(value) ?? [];
    if (mac === '' || !isSigned(['proof', ...namesOf(payload), until], mac)) return undefined;
    return parseInt(until, 36) * 1000;
  }

  return {
    challenge: (purpose, payload) => {
      const [at, nonce] = [Math.trunc(Date.now() / 1000).toString(36), randomBytes(12).toString('base64url')];
      return `${at}.${nonce}.${macOf(newest, [purpose, ...namesOf(payload), at, nonce])}`;
    },

    challengedAt: (text, purpose, payload) => {
      const [, at = '', nonce = '', mac = ''] = /^([0-9a-z]{1,8})\.([\w-]{16})\.([\w-]{22})$/.exec(text) ?? [];
      if (mac === '' || !isSigned([purpose, ...namesOf(payload), at, nonce], mac)) return undefined;
      const seconds = parseInt(at, 36);
      return Date.now() / 1000 <= seconds + challengeSeconds ? seconds : undefined;
    },

    make: (payload, until) => {
      const text = until.toString(36);
      return `${text}.${macOf(newest, ['proof', ...namesOf(payload), text])}`;
    },

    areGood: (payload, values) => {
      const nowMs = Date.now();
      const last = lastGood.get(payload);
      if (last && nowMs < last.untilMs && values.includes(last.value)) return true;
      for (const value of values.slice(0, mostValues)) {
        const untilMs = goodUntilMs(payload, value);
        if (untilMs === undefined || untilMs <= nowMs) continue;
        // A copy: as it came, it is a part of the whole `Cookie` header and would keep that in memory.
        lastGood.set(payload, { value: Buffer.from(value).toString(), untilMs });
        return true;
      }
      return false;
    },
  };
}

function macOf(key: KeyObject, parts: readonly unknown[]): string {
  return createHmac('sha256', key).update(JSON.stringify(parts)).digest('base64url').slice(0, macLength);
}

/** What a challenge and a proof are bound to: the session, and its device's key where it has one. */
function namesOf(payload: SessionPayload): readonly (string | null)[] {
  const { sessionId, deviceKey } = payload;
  return [sessionId ?? idOf(payload) ?? null, deviceKey ? thumbprintOf(deviceKey) : null];
}

/** The thumbprint of a public key (RFC 7638). */
export function thumbprintOf({ crv, e, kty, n, x, y }: Readonly<Record<string, unknown>>): string {
  const required = kty === 'EC' ? { crv, kty, x, y } : { e, kty, n };
  return createHash('sha256').update(JSON.stringify(required)).digest('base64url');
}
