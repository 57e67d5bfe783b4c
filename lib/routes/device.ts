import type { ServerResponse } from 'node:http';

import { bindDevice } from '../bind-device.js';
import { type CarrierSettings, type Exchange, keepCookies } from '../http/carrier.js';
import { setCookie } from '../http/cookies.js';
import {
  deviceResponse,
  deviceSessionId,
  endInBrowser,
  sendChallenge,
  sendInstructions,
} from '../http/device-headers.js';
import { isCrossSite } from '../http/navigation.js';
import type { Lifecycle } from '../lifecycle.js';
import type { DeviceSettings } from '../options/device-options.js';
import type { FindSession } from '../request/guard.js';
import type { SealPlacer } from '../request/put-seal.js';
import { RequestSession } from '../request/session-object.js';
import type { SessionPayload } from '../session/payload.js';
import { idOf } from '../session/unverified-claims.js';
import { type DeviceKey, deviceKeyOf, readDeviceJwt } from '../token/device-jwt.js';
import type { Route } from './route.js';

export interface DeviceRouteParts {
  readonly life: Lifecycle;
  readonly find: FindSession;
  readonly carrier: CarrierSettings;
  readonly placer: SealPlacer;
  readonly device: DeviceSettings;
}

/**
 * `/session/device`: browsers come here by themselves, to bind a session to a key of theirs, and then to prove from time to
 * time that they have it still. `docs/guide/device-bound.md` has the table of answers: what is not certain ends nothing.
 */
export function deviceRoute({ life, find, carrier, placer, device }: DeviceRouteParts): Route {
  const { proofs, cookie, site } = device;

  return async (req, res) => {
    const origin = site?.originOf(req);
    if (origin === undefined) {
      end(res, 421);
      return;
    }
    if (isCrossSite(req, origin)) {
      end(res, 400);
      return;
    }
    const state = RequestSession.stateOf(find(req));
    const { payload } = state;
    const id = deviceSessionId(req);
    // A seal that does not open here may open in the next process: a deploy can lack a password.
    if (!state.signedIn && state.reason === 'invalid_session_cookie') {
      end(res, 503);
      return;
    }
    const current = payload && life.whyOver(payload) === undefined ? payload : undefined;
    if (id === undefined) await register({ req, res }, current, state.signedIn);
    else refresh({ req, res }, current, id);
  };

  async function register(exchange: Exchange, payload: SessionPayload | undefined, isValid: boolean): Promise<void> {
    const { req, res } = exchange;
    if (!payload) {
      end(res, 401);
      return;
    }
    const answered = readDeviceJwt(deviceResponse(req) ?? '');
    const challengedAt = answered && proofs.challengedAt(answered.challenge, 'register', payload);
    // A session that is bound stays so: who has its cookies could bind a copy to a key of their own.
    if (!answered || challengedAt === undefined || payload.deviceKey) {
      end(res, 400);
      return;
    }
    const bound = await bindDevice(life, payload, answered.deviceKey, isValid);
    if (!bound) {
      end(res, 401);
      return;
    }
    if (placer.put(exchange, bound.payload, bound.sealed, bound.isRefreshed ? payload : undefined)) {
      end(res, 400);
      return;
    }
    const { thumbprint, algorithm } = answered.deviceKey;
    life.emit('deviceBound', { sessionId: idOf(bound.payload), algorithm });
    prove(exchange, bound.payload, thumbprint, challengedAt);
  }

  function refresh({ req, res }: Exchange, payload: SessionPayload | undefined, id: string): void {
    const deviceKey = payload && keyOf(payload);
    // Signed out, signed in anew, or another registration was faster: this one of the browser's sessions is over.
    if (!payload || deviceKey?.thumbprint !== id) {
      endInBrowser(res, id);
      return;
    }
    const response = deviceResponse(req);
    const answered = response === undefined ? undefined : readDeviceJwt(response, deviceKey);
    if (response !== undefined && !answered) {
      end(res, 400);
      return;
    }
    const challengedAt = answered && proofs.challengedAt(answered.challenge, 'refresh', payload);
    if (challengedAt === undefined) {
      sendChallenge(res, id, proofs.challenge('refresh', payload));
      return;
    }
    prove({ req, res }, payload, id, challengedAt);
  }

  /**
   * Sends a proof and the instructions. The proof lives from the challenge on: an answer that leaked and is sent again
   * brings no more time.
   */
  function prove({ res }: Exchange, payload: SessionPayload, id: string, challengedAt: number): void {
    const until = challengedAt + device.proofSeconds;
    const maxAge = Math.max(until - Math.trunc(Date.now() / 1000), 0);
    const proof = setCookie(proofs.make(payload, until), { ...cookie, maxAge });
    keepCookies(res, carrier, 'device proof', [{ name: cookie.name, header: proof }]);
    sendInstructions(res, {
      id,
      refreshPath: device.path,
      includesSite: cookie.domain !== undefined,
      publicBase: site?.publicBase ?? '',
      excluded: device.excluded,
      cookie,
    });
  }
}

function keyOf({ deviceKey }: SessionPayload): DeviceKey | undefined {
  return deviceKey && deviceKeyOf(deviceKey);
}

/** For a browser's own machinery: nobody reads a body. */
function end(res: ServerResponse, status: number): void {
  res.statusCode = status;
  res.end();
}
