import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';

import type { Browser, Page } from './browser.js';
import { plant } from './watch.js';

export type DeviceAlgorithm = 'ES256' | 'RS256';

export const devicePath = '/session/device';

/** What a request of Chromium's says of where it comes from. */
export const documentFrom = (site: 'same-origin' | 'none' | 'cross-site' | 'same-site', more = {}) => ({
  headers: { 'sec-fetch-dest': 'document', 'sec-fetch-site': site, accept: 'text/html', ...more },
});

/** A change of the JWT that a browser would send. */
export interface Forgery {
  readonly header?: Record<string, unknown>;
  readonly claims?: Record<string, unknown>;
  /** Signs in place of the device's own key. */
  readonly key?: Parameters<SignJWT['sign']>[0];
  /** The whole text in place of a JWT. */
  readonly text?: string | ((challenge: string) => string);
}

/** As much of a browser's device-bound sessions as goes over the wire, with a key of its own for each registration. */
export async function createDevice(
  browser: Pick<Browser, 'post'>,
  algorithm: DeviceAlgorithm = 'ES256',
  at = devicePath,
) {
  const { publicKey, privateKey } = await generateKeyPair(algorithm, { extractable: true });
  const jwk: JWK = await exportJWK(publicKey);

  const jwtOf = async (challenge: string, header: object, { header: change, claims, key, text }: Forgery = {}) => {
    if (text !== undefined) return typeof text === 'string' ? text : text(challenge);
    const protectedHeader = { alg: algorithm, typ: 'dbsc+jwt', ...header, ...change };
    const jwt = await new SignJWT({ jti: challenge, ...claims })
      .setProtectedHeader(protectedHeader)
      .sign(key ?? privateKey);
    plant('a proof of a device', jwt);
    return jwt;
  };
  const post = (headers: Record<string, string>) =>
    browser.post(at, { headers: { 'sec-fetch-site': 'same-origin', 'sec-fetch-dest': 'empty', ...headers } });

  return {
    jwk,
    privateKey,
    /** Answers the offer on a page. */
    async register(page: Page, forgery: Forgery = {}): Promise<Page> {
      const { path, challenge } = offerOf(page)!;
      if (path !== at) throw new Error(`The offer is for another path: ${path}`);
      return post({ 'secure-session-response': await jwtOf(challenge, { jwk }, forgery) });
    },
    /** Asks for a new proof: by the challenge that it is sent, or by one that it already has. */
    async refresh(id: string, { challenge, ...forgery }: Forgery & { challenge?: string } = {}): Promise<Page> {
      const asked = challenge ?? challengeOf(await post({ 'sec-secure-session-id': id }));
      if (asked === undefined) throw new Error('There was no challenge.');
      return post({ 'sec-secure-session-id': id, 'secure-session-response': await jwtOf(asked, {}, forgery) });
    },
    post,
  };
}

export type Device = Awaited<ReturnType<typeof createDevice>>;

/** What a page offers to the browser. */
export function offerOf({ headers }: Page): { path: string; challenge: string } | undefined {
  const header = headers.get('secure-session-registration');
  if (header === null) return undefined;
  const [, path, challenge] = /^\(ES256 RS256\);path="([^"]+)";challenge="([\w.-]+)"$/.exec(header) ?? [];
  if (path === undefined || challenge === undefined) throw new Error(`An odd offer: ${header}`);
  return { path, challenge };
}

export function challengeOf({ headers }: Page): string | undefined {
  return /^"([\w.-]+)";id="[\w-]+"$/.exec(headers.get('secure-session-challenge') ?? '')?.[1];
}
