import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

import cookieParser from 'cookie-parser';

import { type CarrierSettings, keepCookies } from '../http/carrier.js';
import { clearCookie, type CookieSettings, setCookie } from '../http/cookies.js';
import { crowdedOut, flowMark, flowName, withoutMark } from '../http/flow-room.js';
import { isRecord } from '../json.js';
import type { SealSettings } from '../options/config.js';
import type { SignInRequest } from '../provider/provider.js';
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
}

/** How long a visitor may take to sign in at the provider. Seconds. */
export const flowSeconds = 600;

/** The cookies of sign-ins under way. */
export interface Flows {
  /** Writes a flow, and removes those for which there is no room. `isCrossSite`: another site has sent the browser. */
  readonly write: (
    req: IncomingMessage,
    res: ServerResponse,
    flow: Omit<Flow, 'boundTo'>,
    isCrossSite: boolean,
  ) => Promise<void>;
  /** The flow that began with this `state` in this browser, if it is still good. */
  readonly read: (req: IncomingMessage, res: ServerResponse, state: string) => Promise<Flow | undefined>;
  readonly forget: (res: ServerResponse, state: string) => void;
}

/** @param boundTo names the provider and the redirect URI */
export function flowCookies(carrier: CarrierSettings, { passwords, sealers }: SealSettings, boundTo: string): Flows {
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
      maxAge: flowSeconds,
    };
  }

  return {
    write: async (req, res, flow, isCrossSite) => {
      const settings = settingsOf(flow.state);
      const sealed = (await sealer?.seal({ ...flow, boundTo }, passwords, boundTo)) ?? '';
      const value = encodeURIComponent(sealed) + flowMark(flow.until - flowSeconds * 1000, isCrossSite);
      keepCookies(res, carrier, 'flow', [
        { name: settings.name, header: setCookie(value, settings) },
        ...crowdedOut(req.headers.cookie, cookie, { flow: `; ${settings.name}=${value}`.length }),
      ]);
    },

    read: async (req, res, state) => {
      await new Promise<void>((resolve) => {
        readCookies(req as never, res as never, () => {
          resolve();
        });
      });
      const sealed = (req as { cookies?: Record<string, unknown> }).cookies?.[settingsOf(state).name];
      if (typeof sealed !== 'string') return undefined;
      const opened = open(withoutMark(sealed), sealers, passwords, Date.now(), boundTo);
      if (!opened.ok || !isFlow(opened.value)) return undefined;
      const flow = opened.value;
      return flow.boundTo === boundTo && flow.state === state && Date.now() < flow.until ? flow : undefined;
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
    ['boundTo', 'state', 'nonce', 'codeVerifier', 'returnTo'].every(
      (field) => typeof value[field] === 'string' && value[field] !== '',
    )
  );
}
