import type { IncomingMessage } from 'node:http';

import { LRUCache } from 'lru-cache';

import type { Emit } from '../events.js';
import type { Carrier, Exchange } from '../http/carrier.js';
import { cookieValues } from '../http/cookies.js';
import {
  isForeignDocument,
  isOwnDocument,
  offerRegistration,
  openFromHere,
  skippedProof,
} from '../http/device-headers.js';
import { forbidCaching, keepOnResponse, takesHeaders } from '../http/response-headers.js';
import type { DeviceSettings } from '../options/device-options.js';
import type { SessionPayload } from '../session/payload.js';
import { idOf } from '../session/unverified-claims.js';
import { deviceAlgorithms } from '../token/device-jwt.js';
import type { Mount } from './session-object.js';
import { hasSeals, type SessionState, type SignedOut, signedOut, undecided } from './state.js';

/** What asks the requests of one mount for the proof of their device. */
export interface DeviceGate {
  /** Whether a request proves the device that its session is bound to. */
  readonly isProven: (req: IncomingMessage, payload: SessionPayload) => boolean;
  /** The state of a session that may not be used with this request, before anything is spent for it. */
  readonly refuse: (exchange: Exchange, payload: SessionPayload) => SignedOut | undefined;
  /**
   * Asks once more, when all else is decided: a refresh may have led to a session that is bound. Offers a session that is not
   * bound yet to the browser.
   *
   * @returns the state to go on with; undefined where the request was answered, by opening the same page anew
   */
  readonly admit: (exchange: Exchange, state: SessionState) => SessionState | undefined;
}

export interface DeviceGateParts {
  readonly mount: Mount;
  readonly carrier: Carrier;
  readonly emit: Emit;
}

// A browser signs six times in nine minutes for a site. Offers that it cannot take would use that up.
const offerAgainMs = 9 * 60_000;
const maxOffers = 10_000;

// By then the browser may sign again, or its key is at hand.
const retryAfterSeconds = 60;

export function deviceGate(settings: DeviceSettings, { mount, carrier, emit }: DeviceGateParts): DeviceGate {
  const { proofs, cookie, site, reportOnly } = settings;
  const offered = new LRUCache<string, true>({ max: maxOffers, ttl: offerAgainMs, perf: Date });
  const told = new WeakSet<IncomingMessage>();

  function isProven({ headers }: IncomingMessage, payload: SessionPayload): boolean {
    return payload.deviceKey !== undefined && proofs.areGood(payload, cookieValues(headers.cookie, cookie.name));
  }

  /** @param isNew whether the seal that came was not bound: only its successor is */
  function refuse({ req }: Exchange, payload: SessionPayload, isNew = false): SignedOut | undefined {
    if (payload.deviceKey === undefined || isProven(req, payload)) return undefined;
    const skipped = skippedProof(req);
    if (!told.has(req) && !settings.isItsOwn(req)) {
      told.add(req);
      emit('deviceProofMissed', { sessionId: idOf(payload), skipped, enforced: !reportOnly });
    }
    if (reportOnly) return undefined;
    // The browser cannot sign now, or its next request brings the proof that this one could not have yet.
    if (skipped !== undefined || isNew) return undecided('device_proof_unavailable', payload, { retryAfterSeconds });
    return signedOut('device_proof_missing', payload);
  }

  /**
   * Has the browser ask for this page anew, where its own request will wait for a proof. It goes in no circle: the next
   * request comes from this origin, with the seal that this answer brings.
   */
  function opensAnew({ req, res }: Exchange, isNew: boolean): boolean {
    const mayOpen = isForeignDocument(req) || (isNew && isOwnDocument(req));
    if (!mayOpen || mount.isOwnRoute?.(req) || skippedProof(req) !== undefined || !takesHeaders(res)) return false;
    const origin = site?.originOf(req);
    const path = site?.publicPath(req);
    if (origin === undefined || path === undefined) return false;
    // With its origin, so that a path that begins with two slashes leads to no other host.
    openFromHere(res, origin + path, 401);
    return true;
  }

  function offer({ req, res }: Exchange, payload: SessionPayload): void {
    if (!mayRegister({ req, res }) || mount.isOwnRoute?.(req) !== false) return;
    const id = payload.sessionId ?? idOf(payload) ?? '';
    if (offered.has(id)) return;
    offered.set(id, true);
    const challenge = proofs.challenge('register', payload);
    keepOnResponse(res, `device of ${cookie.name}`, {
      put: () => {
        offerRegistration(res, { algorithms: deviceAlgorithms, path: settings.path, challenge });
        // The challenge is this visitor's.
        forbidCaching(res);
      },
      take: () => {
        res.removeHeader('Secure-Session-Registration');
      },
      isWanted: () => true,
    });
  }

  function mayRegister(exchange: Exchange): boolean {
    const { req } = exchange;
    // Over plain http browsers register nothing. A seal in a header is no browser's.
    if (!isOwnDocument(req) || !cookie.secure || carrier.via(exchange) !== 'cookie') return false;
    const origin = site?.originOf(req);
    // What concerns a whole domain, browsers take from its own host alone.
    return origin !== undefined && (cookie.domain === undefined || isHostOf(origin, cookie.domain));
  }

  return {
    isProven,
    refuse,
    admit: (exchange, found) => {
      const refused = found.signedIn ? refuse(exchange, found.payload, found.refreshed) : undefined;
      const state = refused ?? found;
      if (state.signedIn) {
        // A token binds nothing: its client has no cookie.
        if (state.payload.deviceKey === undefined && hasSeals(state)) offer(exchange, state.payload);
        return state;
      }
      const isMissing = state.reason === 'device_proof_missing' || refused !== undefined;
      return isMissing && opensAnew(exchange, found.signedIn && found.refreshed) ? undefined : state;
    },
  };
}

function isHostOf(origin: string, domain: string): boolean {
  return new URL(origin).hostname === domain.replace(/^\./, '').toLowerCase();
}
