import { type CarrierSettings, type Exchange, keepCookies } from '../http/carrier.js';
import { clearCookie, cookieValues, setCookie } from '../http/cookies.js';
import type { SealSettings } from '../options/config.js';
import { bindingOf } from '../session/binding.js';
import { sealedNotes } from './notes.js';

/** Remembers in the browser that a sign-in was begun again by itself, so that it is not a second time. */
export interface RestartMarker {
  readonly isSet: (exchange: Exchange) => boolean;
  readonly set: (exchange: Exchange) => Promise<void>;
  readonly clear: (exchange: Exchange) => void;
}

const lastsSeconds = 60;

/** A provider that drops `state` would otherwise be asked for ever. Where cookies are blocked, `state` counts. */
export function restartMarker(carrier: CarrierSettings, seals: SealSettings, providerId: string): RestartMarker {
  const notes = sealedNotes(seals, bindingOf(providerId, 'flow', 'restarted'), () => true, lastsSeconds);
  const settings = {
    ...carrier.cookie,
    name: `${carrier.cookie.name}-restarted`,
    sameSite: carrier.cookie.sameSite === 'none' ? ('none' as const) : ('lax' as const),
    maxAge: lastsSeconds,
  };
  const valuesOf = ({ req }: Exchange) => cookieValues(req.headers.cookie, settings.name);

  return {
    isSet: (exchange) => valuesOf(exchange).some((value) => notes.open(value) !== undefined),
    set: async ({ res }) => {
      const value = encodeURIComponent(await notes.seal({}));
      keepCookies(res, carrier, 'restarted', [{ name: settings.name, header: setCookie(value, settings) }]);
    },
    clear: (exchange) => {
      if (valuesOf(exchange).length === 0) return;
      keepCookies(exchange.res, carrier, 'restarted', [{ name: settings.name, header: clearCookie(settings) }]);
    },
  };
}
