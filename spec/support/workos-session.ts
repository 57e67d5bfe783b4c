import {
  createSessionManager,
  type SessionData,
  type SessionOptions,
  type TokenSet,
  workos,
} from 'express-sealed-session';

import { plant, watchEvents } from './watch.js';
import type { SessionOverrides, WorkosServer } from './workos-server.js';

export const password = 'kV2#xR9!mZ4@bN7$wQ1%tL6^yH3&cJ8*fD5';
plant('the password', password);

/** Options as an app would write them, for a server that speaks WorkOS's wire. */
export function workosOptions(server: WorkosServer, options: Partial<SessionOptions> = {}): SessionOptions {
  return {
    provider: workos({ clientId: server.clientId, apiKey: server.apiKey, baseUrl: server.url }),
    password,
    ...options,
    ...(options.events && { events: watchEvents(options.events) }),
  };
}

type Issued = Pick<Awaited<ReturnType<WorkosServer['issueSession']>>, 'accessToken' | 'refreshToken' | 'response'>;

/** What a server has issued, as an app gives it to `signIn()`. */
export function signInTokens({ accessToken, refreshToken, response }: Issued): TokenSet {
  return { accessToken, refreshToken, user: { ...response.user } };
}

/** A cookie value as a sign-in leaves it. */
export async function sealedSession(
  server: WorkosServer,
  overrides: SessionOverrides = {},
  { data, ...change }: Record<string, unknown> = {},
): Promise<{ sealed: string; accessToken: string; refreshToken: string; sessionId: string }> {
  const { accessToken, refreshToken, user, sessionId } = await server.issueSession(overrides);
  const tokens = { accessToken, refreshToken, user: { ...user }, ...change };
  const sealed = await createSessionManager(workosOptions(server)).seal(tokens, data as SessionData | undefined);
  plant('a seal', sealed);
  return { sealed, accessToken, refreshToken, sessionId };
}

export const expired: SessionOverrides = { lifetimeSeconds: -30 };

export function cookieHeader(sealed: string): { headers: { cookie: string } } {
  return { headers: { cookie: `wos-session=${sealed}` } };
}

/** The value that a response sets for the session cookie; `''` when it clears it, `undefined` when it does neither. */
export function sessionCookieOf(setCookies: readonly string[], name = 'wos-session'): string | undefined {
  const own = setCookies.filter((header) => header.startsWith(`${name}=`));
  if (own.length > 1) throw new Error(`"${name}" is set ${own.length} times.`);
  return own[0]?.slice(name.length + 1).split(';')[0];
}
