import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout } from 'node:timers/promises';

import { nonEmptyString, parseObject } from '../json.js';
import type { TokenSet, User } from '../session/payload.js';
import type { Agents } from '../wire/agents.js';
import { inProcessServer } from './in-process.js';
import type { TestSession } from './test-session.js';

/** Nobody has this host (RFC 2606): a request that left this process would find nothing. */
export const testOrigin = 'https://test-provider.invalid';

/** How the provider of a test goes about refresh tokens and time. */
export interface TestProviderOptions {
  /** Whether each refresh brings a new refresh token. Default: true. */
  readonly rotation?: boolean | undefined;
  /**
   * For how long a refresh token that was used brings the same new tokens again. After that it ends the session. Default: 30
   * seconds where the app's own provider takes a token twice, else 0.
   */
  readonly graceSeconds?: number | undefined;
  /** How long each answer takes, in milliseconds. Default: 0. */
  readonly latencyMs?: number | undefined;
}

interface Granted {
  readonly id: string;
  readonly described: TestSession;
  organizationId: string | undefined;
  isOver: boolean;
}

interface Spendable {
  readonly granted: Granted;
  spent?: { readonly atMs: number; readonly answer: TokenSet };
}

export interface TokenServerSettings {
  readonly rotation: boolean;
  readonly graceSeconds: number;
  readonly latencyMs: number;
  readonly defaultUser: User;
}

export type TokenServer = ReturnType<typeof createTokenServer>;

const lifetimeSeconds = 300;
// Beyond the largest tolerance of clocks that the options allow.
const longExpiredSeconds = 301;

// One for all: making it takes a millisecond, and who has it can sign nothing that outlives this process.
let signingKey: { readonly key: KeyObject; readonly jwk: Readonly<Record<string, unknown>> } | undefined;

function keyOfThisProcess() {
  if (signingKey) return signingKey;
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'test', alg: 'ES256', use: 'sig' };
  signingKey = { key: createPrivateKey(privateKey.export({ type: 'pkcs8', format: 'pem' })), jwk };
  return signingKey;
}

function signed(claims: Readonly<Record<string, unknown>>): string {
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const content = `${encode({ alg: 'ES256', typ: 'JWT', kid: 'test' })}.${encode(claims)}`;
  const signature = sign('sha256', Buffer.from(content), { key: keyOfThisProcess().key, dsaEncoding: 'ieee-p1363' });
  return `${content}.${signature.toString('base64url')}`;
}

/** The sessions, tokens and moods of a provider in this process. */
export function createTokenServer({ rotation, graceSeconds, latencyMs, defaultUser }: TokenServerSettings) {
  const refreshTokens = new Map<string, Spendable>();
  const codes = new Map<string, { readonly challenge: string; readonly granted: Granted }>();
  const sessions = new Map<string, Granted>();
  let mood: { readonly error?: string | undefined; readonly isDown?: boolean; readonly slowMs?: number } = {};
  let visitor: TestSession = {};
  let refreshes = 0;

  const { agent } = inProcessServer(
    (req, res) => void answer(req, res),
    () => mood.isDown !== true,
  );

  function create(described: TestSession): Granted {
    const granted = { id: randomUUID(), described, organizationId: described.organizationId, isOver: false };
    sessions.set(granted.id, granted);
    return granted;
  }

  function tokensOf(granted: Granted, expiresIn = lifetimeSeconds, refreshToken: string = randomUUID()): TokenSet {
    const { described, id, organizationId } = granted;
    const { user, impersonator, authenticatedAt, acr, amr } = described;
    refreshTokens.set(refreshToken, { granted });
    const whole: User = { ...defaultUser, ...user };
    return {
      accessToken: signed(claimsOf(granted, whole.id, expiresIn)),
      refreshToken,
      user: whole,
      organizationId,
      sid: id,
      ...(impersonator !== undefined && { impersonator: { email: impersonator, reason: null } }),
      authenticatedAt: secondsOf(authenticatedAt?.getTime() ?? Date.now()),
      acr,
      amr,
    };
  }

  function claimsOf({ described, id, organizationId }: Granted, sub: string, expiresIn: number) {
    const { roles, permissions, entitlements, featureFlags, authenticatedAt, acr, amr, claims } = described;
    const now = secondsOf(Date.now());
    const exp = expiresIn > 0 ? now + Math.ceil(expiresIn) : now - longExpiredSeconds;
    return {
      iss: testOrigin,
      sub,
      sid: id,
      jti: randomUUID(),
      iat: Math.min(now, exp - lifetimeSeconds),
      exp,
      org_id: organizationId,
      role: roles?.[0],
      roles,
      permissions,
      entitlements,
      feature_flags: featureFlags,
      auth_time: secondsOf(authenticatedAt?.getTime() ?? Date.now()),
      acr,
      amr,
      ...claims,
    };
  }

  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const body = parseObject(await text(req)) ?? {};
    const isRefresh = body.grant_type === 'refresh_token';
    if (isRefresh) refreshes += 1;
    const waitMs = mood.slowMs ?? latencyMs;
    if (waitMs > 0) await setTimeout(waitMs, undefined, { ref: false });
    const found = req.url === '/revoke' ? revoke(body) : isRefresh ? refresh(body) : exchange(body);
    const error = isRefresh && mood.error !== undefined ? mood.error : 'invalid_grant';
    const isRefused = found === undefined || (isRefresh && mood.error !== undefined);
    res.writeHead(isRefused ? 400 : 200, { 'content-type': 'application/json', connection: 'close' });
    res.end(JSON.stringify(isRefused ? { error } : found));
  }

  function refresh({ refresh_token: token, organization_id: organizationId }: Record<string, unknown>) {
    const known = refreshTokens.get(String(token));
    if (!known || known.granted.isOver || mood.error !== undefined) return undefined;
    const { granted, spent } = known;
    if (spent && Date.now() - spent.atMs <= graceSeconds * 1000) return spent.answer;
    if (spent) {
      // RFC 9700 section 4.14.2: a token that comes twice was stolen, so everything that came of it ends.
      granted.isOver = true;
      return undefined;
    }
    if (typeof organizationId === 'string') granted.organizationId = organizationId;
    const answered = tokensOf(granted, lifetimeSeconds, rotation ? undefined : String(token));
    if (rotation) known.spent = { atMs: Date.now(), answer: answered };
    return answered;
  }

  function exchange({ code, code_verifier: verifier }: Record<string, unknown>): TokenSet | undefined {
    const known = codes.get(String(code));
    codes.delete(String(code));
    const challenge = createHash('sha256').update(String(verifier)).digest('base64url');
    return known?.challenge === challenge ? tokensOf(known.granted, known.granted.described.expiresIn) : undefined;
  }

  function revoke({ session_id: id, refresh_token: token }: Record<string, unknown>): Record<string, never> {
    const granted = sessions.get(String(id)) ?? refreshTokens.get(String(token))?.granted;
    if (granted) granted.isOver = true;
    return {};
  }

  return {
    agent: agent satisfies Agents,
    keys: [keyOfThisProcess().jwk],
    issue: (described: TestSession): TokenSet => tokensOf(create(described), described.expiresIn),
    describedBy: (sid: unknown): TestSession | undefined => sessions.get(nonEmptyString(sid) ?? '')?.described,
    codeFor: (challenge: string, organizationId: string | undefined): string => {
      const code = randomUUID();
      const described = { ...visitor, ...(organizationId !== undefined && { organizationId }) };
      codes.set(code, { challenge, granted: create(described) });
      return code;
    },
    signInAs: (session: TestSession): void => {
      visitor = session;
    },
    setMood: (next: typeof mood): void => {
      mood = next;
    },
    get refreshes(): number {
      return refreshes;
    },
  };
}

function secondsOf(ms: number): number {
  return Math.trunc(ms / 1000);
}
