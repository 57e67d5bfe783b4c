import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';

import cookieParser from 'cookie-parser';

import { type CarrierSettings, type Exchange, keepCookies } from '../http/carrier.js';
import { clearCookie, type CookieSettings, setCookie } from '../http/cookies.js';
import { crowdedOut, flowMark, flowName, withoutMark } from '../http/flow-room.js';
import { isRecord, type Json } from '../json.js';
import type { SealSettings } from '../options/config.js';
import type { SignInRequest } from '../provider/provider.js';
import type { AskedByGuard } from '../request/session-object.js';
import { open } from '../seal/sealer.js';

/** What a sign-in remembers until the browser comes back, sealed into a cookie of its own. */
export interface Flow extends Pick<SignInRequest, 'state' | 'nonce' | 'codeVerifier'> {
  /**
   * The provider and the redirect URI for which the sign-in began. Without it, a sign-in that began at one provider could
   * end with the code of another (RFC 9700 section 4.4).
   */
  readonly boundTo: string;
  readonly returnTo: string;
  /** Milliseconds since the epoch. */
  readonly until: number;
  /** What the answer is checked for. */
  readonly asked: Pick<AskedByGuard, 'organizationId' | 'maxAuthAgeSeconds' | 'acrValues' | 'amr'>;
  readonly appState?: Json | undefined;
  /** Who was signed in when it began. With a `strict` cookie, the callback cannot tell. */
  readonly userId?: string | undefined;
}

/** Why a callback finds no flow. A flow that is too old still knows where the visitor was going. */
export interface NoFlow {
  readonly failure: 'flow_missing' | 'flow_expired' | 'state_mismatch';
  readonly returnTo?: string | undefined;
}

/** How long a visitor may take to sign in at the provider. Seconds. */
export const flowSeconds = 600;

// For longer than it is good: a visitor who comes back too late is then still sent where they were going.
const cookieSeconds = 3_600;

/** The cookies of sign-ins under way. */
export interface Flows {
  /** Writes a flow, and removes those for which there is no room. `isCrossSite`: another site has sent the browser. */
  readonly write: (exchange: Exchange, flow: Flow, isCrossSite: boolean) => Promise<void>;
  /** The flow that began with this `state` in this browser, or why there is none. */
  readonly read: (exchange: Exchange, state: string, boundTo: string) => Promise<Flow | NoFlow>;
  readonly forget: (res: ServerResponse, state: string) => void;
}

export function flowCookies(carrier: CarrierSettings, { passwords, sealers }: SealSettings): Flows {
  const { cookie } = carrier;
  const [sealer] = sealers;
  const readCookies = cookieParser();

  /** One cookie for each sign-in under way, so that two tabs do not get into each other's way. */
  function settingsOf(state: string): CookieSettings {
    const id = createHash('sha256').update(state).digest('hex').slice(0, 8);
    return {
      ...cookie,
      name: flowName(cookie.name, id),
      // The provider sends the browser back from another site, to which a Strict cookie is not sent.
      sameSite: cookie.sameSite === 'none' ? 'none' : 'lax',
      maxAge: cookieSeconds,
    };
  }

  return {
    write: async ({ req, res }, flow, isCrossSite) => {
      const settings = settingsOf(flow.state);
      const sealed = (await sealer?.seal(flow, passwords, flow.boundTo)) ?? '';
      const value = encodeURIComponent(sealed) + flowMark(flow.until - flowSeconds * 1000, isCrossSite);
      keepCookies(res, carrier, 'flow', [
        { name: settings.name, header: setCookie(value, settings) },
        ...crowdedOut(req.headers.cookie, cookie, { flow: `; ${settings.name}=${value}`.length }),
      ]);
    },

    read: async ({ req, res }, state, boundTo) => {
      await new Promise<void>((resolve) => {
        readCookies(req as never, res as never, () => {
          resolve();
        });
      });
      const sealed = (req as { cookies?: Record<string, unknown> }).cookies?.[settingsOf(state).name];
      if (typeof sealed !== 'string') return { failure: 'flow_missing' };
      const opened = open(withoutMark(sealed), sealers, passwords, Date.now(), boundTo);
      if (!opened.ok) return { failure: opened.problem === 'other_provider' ? 'state_mismatch' : 'flow_missing' };
      if (!isFlow(opened.value)) return { failure: 'flow_missing' };
      const flow = opened.value;
      if (flow.boundTo !== boundTo || flow.state !== state) return { failure: 'state_mismatch' };
      return Date.now() < flow.until ? flow : { failure: 'flow_expired', returnTo: flow.returnTo };
    },

    forget: (res, state) => {
      const settings = settingsOf(state);
      keepCookies(res, carrier, 'flow', [{ name: settings.name, header: clearCookie(settings) }]);
    },
  };
}

function isFlow(value: unknown): value is Flow {
  return (
    isRecord(value) &&
    typeof value.until === 'number' &&
    isRecord(value.asked) &&
    ['boundTo', 'state', 'nonce', 'codeVerifier', 'returnTo'].every(
      (field) => typeof value[field] === 'string' && value[field] !== '',
    )
  );
}
