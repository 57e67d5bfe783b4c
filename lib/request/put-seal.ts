import { SessionUseError } from '../errors.js';
import type { Carrier, Exchange } from '../http/carrier.js';
import type { Lifecycle } from '../lifecycle.js';
import { idOf } from '../session/unverified-claims.js';
import type { SessionPayload } from '../session/payload.js';

/** What puts sessions on responses and takes them off. */
export interface SealPlacer {
  /**
   * Puts a session on the response, unless by the time the headers are written it was signed out, or another request
   * has received newer tokens for it.
   *
   * @param replaced what the client has until then, where its tokens were refreshed
   * @returns what is wrong when the session is too large to be sent; it was reported as well
   */
  readonly put: (
    exchange: Exchange,
    payload: SessionPayload,
    sealed: string,
    replaced?: SessionPayload,
  ) => SessionUseError | undefined;
  /** Clears the seal of a session that is over, unless by then a newer session has taken its place. */
  readonly withdrawOver: (exchange: Exchange, payload: SessionPayload) => void;
  /** Clears the seal, whatever happens meanwhile. */
  readonly withdraw: (exchange: Exchange) => void;
}

export function sealPlacer(life: Lifecycle, carrier: Carrier): SealPlacer {
  function put(exchange: Exchange, payload: SessionPayload, sealed: string, replaced?: SessionPayload) {
    const all = replaced ? [payload, replaced] : [payload];
    const isWanted = () => !life.isOver(...all) && !life.successorOf(payload);
    const written = carrier.write(exchange, sealed, { isWanted, isRotated: replaced !== undefined });
    if (written) {
      life.emit('written', { sessionId: idOf(payload), ...written });
      return undefined;
    }
    const message =
      `The session is too large for cookies. Its largest part is "${largestPart(payload)}". ` +
      'Seal less of it ("userFields"), or keep the app\'s own "data" elsewhere.';
    life.emit('misconfigured', { problem: 'cookie_too_large', option: 'userFields', message });
    return new SessionUseError('ERR_SESSION_COOKIE_TOO_LARGE', message);
  }

  return {
    put,
    withdrawOver: (exchange, payload) => {
      carrier.withdraw(exchange, () => !life.isOver(payload) && !life.successorOf(payload));
    },
    withdraw: (exchange) => {
      carrier.withdraw(exchange, () => true);
    },
  };
}

/** By name: `accessToken`, `user.metadata`, `data.basket`. */
function largestPart({ user, data, ...tokens }: SessionPayload): string {
  const parts = { ...tokens, ...prefixed('user', user), ...prefixed('data', data) };
  const sizes = Object.entries(parts).map(([name, value]) => ({ name, size: JSON.stringify(value ?? '').length }));
  return sizes.sort((one, other) => other.size - one.size)[0]?.name ?? '';
}

function prefixed(name: string, fields: object | null | undefined): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields ?? {}).map(([field, value]) => [`${name}.${field}`, value]));
}
