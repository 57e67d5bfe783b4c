import { sealCandidates } from '../http/cookies.js';
import type { Config } from '../options/config.js';
import { open } from '../seal/sealer.js';
import { readPayload } from '../session/codec.js';
import type { SessionPayload } from '../session/payload.js';
import { profileOf } from '../session/profile.js';
import { unverifiedClaims } from '../session/unverified-claims.js';
import type { TestSession } from './test-session.js';

/** A response of supertest, of `fetch`, or of anything else with headers. */
export interface TestResponse {
  /** The headers, by their names in lower case. */
  readonly headers: Readonly<Record<string, unknown>> | Headers;
}

/** What a response did to the session. */
export interface ReadResponse {
  /** Whether it brings a new seal. */
  readonly wrote: boolean;
  /** Whether it takes the seal away. */
  readonly cleared: boolean;
  /** The session in the new seal. */
  readonly session?: TestSession;
}

/** Reads what a response did to the session of these options. */
export function readResponse(config: Config, { headers }: TestResponse): ReadResponse {
  const { carrier } = config;
  const sent = carrier.header === undefined ? undefined : valuesOf(headers, carrier.header)[0];
  const pairs = valuesOf(headers, 'set-cookie').map((line) => line.split(';', 1)[0] ?? '');
  const isOurs = (pair: string) => {
    const name = pair.slice(0, pair.indexOf('='));
    return (
      name === carrier.cookie.name ||
      (/^\.\d$/.test(name.slice(carrier.cookie.name.length)) && name.startsWith(carrier.cookie.name))
    );
  };
  const own = pairs.filter(isOurs);
  const filled = own.filter((pair) => !pair.endsWith('='));
  const [sealed] = sent === undefined ? sealCandidates(filled.join('; '), carrier.cookie.name) : [sent];
  if (sealed === undefined || sealed === '') return { wrote: false, cleared: own.length > 0 || sent === '' };
  const session = describedBy(config, sealed);
  return { wrote: true, cleared: false, ...(session && { session }) };
}

/** A seal as a test would describe its session. */
function describedBy({ life }: Config, sealed: string): TestSession | undefined {
  const { seals, binding, provider } = life;
  const opened = open(sealed, seals.sealers, seals.passwords, Date.now(), binding);
  const payload = opened.ok ? readPayload(opened.value, provider.sealsUserInCamelCase) : undefined;
  return payload && describe(payload, provider);
}

function describe(payload: SessionPayload, provider: Config['life']['provider']): TestSession {
  const claims = unverifiedClaims(payload.accessToken);
  const profile = profileOf(payload, { claims }, provider.mapClaims?.bind(provider));
  const { exp } = claims;
  const endsMs = typeof exp === 'number' ? exp * 1000 : payload.expiresAt;
  return {
    user: profile.user,
    permissions: profile.permissions,
    roles: profile.roles,
    entitlements: profile.entitlements,
    featureFlags: profile.featureFlags,
    organizationId: profile.organizationId,
    claims,
    data: { ...payload.data },
    expiresIn: endsMs === undefined ? undefined : Math.ceil((endsMs - Date.now()) / 1000),
    impersonator: profile.impersonator?.email,
  };
}

function valuesOf(headers: TestResponse['headers'], name: string): readonly string[] {
  if (headers instanceof Headers)
    return name === 'set-cookie' ? headers.getSetCookie() : [headers.get(name) ?? []].flat();
  return [headers[name] ?? []].flat().map(String);
}
