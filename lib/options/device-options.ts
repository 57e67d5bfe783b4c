import type { IncomingMessage } from 'node:http';

import { amount, bool, type Checks, list, optional } from '../checks.js';
import type { ConfigProblem } from '../errors.js';
import type { CookieSettings } from '../http/cookies.js';
import { proofCookieSettings } from '../http/device-headers.js';
import type { Site } from '../http/site.js';
import { readPasswords } from '../seal/passwords.js';
import { bindingOf } from '../session/binding.js';
import { type DeviceProofs, deviceProofs } from '../session/device-proof.js';
import { pathOfApp, type routePaths } from './route-checks.js';
import type { DeviceBoundOptions, SessionOptions } from './session-options.js';

/** What binding sessions to devices needs to know. */
export interface DeviceSettings {
  readonly proofs: DeviceProofs;
  readonly proofSeconds: number;
  readonly reportOnly: boolean;
  /** The cookie of a proof. */
  readonly cookie: CookieSettings;
  /** Undefined without a `baseUrl`, where only sessions that are bound already are asked. */
  readonly site: Site | undefined;
  /** Where the browser registers and refreshes, as it sees it. */
  readonly path: string;
  /** Whether a request is the browser's own, to that path: it asks for the proof that it lacks. */
  readonly isItsOwn: (req: IncomingMessage) => boolean;
  /** Paths that need no proof, as browsers see them. */
  readonly excluded: readonly string[];
}

// A browser signs six times in nine minutes for a site, registrations included, and renews a proof two minutes ahead.
const leastSeconds = 300;

export const deviceChecks: Checks<DeviceBoundOptions> = {
  proofSeconds: optional(amount('seconds', leastSeconds, 86_400)),
  reportOnly: optional(bool),
  exclude: optional(list('paths, such as "/static"', pathOfApp)),
};

/** The settings with their defaults, where sessions are bound. */
export function resolveDevice(
  options: SessionOptions,
  { cookie, paths }: { readonly cookie: CookieSettings; readonly paths: ReturnType<typeof routePaths> },
  site: Site | undefined,
): DeviceSettings | undefined {
  const { deviceBound, password = '', provider } = options;
  if (deviceBound === undefined || deviceBound === false || paths.device === undefined) return undefined;
  const { proofSeconds = 600, reportOnly = false, exclude = [] } = deviceBound === true ? {} : deviceBound;
  const base = site?.publicBase ?? '';
  const secrets = readPasswords(password).newestFirst.map((each) => each.password);
  // Who signs in or out has no session to prove, or is to get rid of one. `/session` says who is signed in, and needs it.
  const own = [paths.login, paths.signUp, paths.callback, paths.logout].filter((each) => each !== undefined);
  return {
    proofs: deviceProofs(secrets, bindingOf(provider.id, 'session')),
    proofSeconds: Math.trunc(proofSeconds),
    reportOnly,
    cookie: proofCookieSettings(cookie),
    site,
    path: base + paths.device,
    isItsOwn: (req) => site?.pathBelow(req) === paths.device,
    excluded: [...own.map((path) => base + path), ...exclude],
  };
}

/** Combinations in which the browser could never prove, or would refuse its instructions. */
export function findDeviceConflicts(options: SessionOptions): ConfigProblem[] {
  const { deviceBound, routes, cookie = {}, baseUrl } = options;
  if (deviceBound === undefined || deviceBound === false) return [];
  const problems: ConfigProblem[] = [];
  const conflict = (path: string, message: string) => problems.push({ path, message });
  if (routes?.device === false) {
    conflict('routes.device', 'cannot be false with "deviceBound": browsers prove their device there.');
  }
  if (cookie.sameSite === 'none' || cookie.partitioned === true) {
    const path = cookie.sameSite === 'none' ? 'cookie.sameSite' : 'cookie.partitioned';
    conflict(path, 'cannot be so with "deviceBound": inside the pages of other sites, browsers prove no device.');
  }
  // Browsers take instructions for a whole domain from that very host alone.
  const host = cookie.domain?.replace(/^\./, '').toLowerCase();
  const hosts = [baseUrl ?? []].flat().map((url) => new URL(url).hostname);
  if (host !== undefined && !hosts.includes(host)) {
    const message = `must be a host of "baseUrl" with "deviceBound": browsers take what concerns a whole domain from there.`;
    conflict('cookie.domain', message);
  }
  return problems;
}
