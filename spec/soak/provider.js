import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

import { exportJWK, generateKeyPair, SignJWT } from 'jose';

// How many spent refresh tokens of a session are remembered. No browser brings an older one.
const generations = 50;

const problems = {
  500: { status: 500, body: '{"message":"Internal server error"}' },
  502: { status: 502, type: 'text/html', body: '<html><body><h1>502 Bad Gateway</h1></body></html>' },
  429: { status: 429, headers: { 'Retry-After': '1' }, body: '{"message":"Too many requests."}' },
};

/**
 * A provider on WorkOS's wire with strictly single-use refresh tokens: one that is presented again ends its session.
 * It can be told to fail. `tellReused` is told how long ago a token was spent that is presented again.
 */
export async function startProvider({ lifetimeSeconds, chance, between, tellReused }) {
  const clientId = 'client_soak';
  const apiKey = `sk_${randomUUID()}`;
  const kid = randomUUID();
  const { privateKey, publicKey } = await generateKeyPair('RS256');
  const keys = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid, alg: 'RS256', use: 'sig' }] });

  const refreshTokens = new Map();
  const counts = { presented: 0, rotated: 0, reused: 0 };
  const treated = new Set();
  const hanging = new Set();
  let fault;
  let whenIdle = () => undefined;

  async function issue({ expired = false, broken = false } = {}) {
    const session = {
      broken,
      id: `session_${randomUUID()}`,
      user: { id: `user_${randomUUID()}` },
      alive: true,
      tokens: [],
    };
    return grant(session, expired ? -30 : lifetimeSeconds);
  }

  async function grant(session, seconds) {
    const refreshToken = randomUUID();
    refreshTokens.set(refreshToken, { session, spentMs: undefined });
    session.tokens.push(refreshToken);
    while (session.tokens.length > generations) refreshTokens.delete(session.tokens.shift());
    const now = Math.floor(Date.now() / 1000);
    const accessToken = await new SignJWT({ sid: session.id })
      .setProtectedHeader({ alg: 'RS256', kid })
      .setIssuer(`${url}/user_management/${clientId}`)
      .setSubject(session.user.id)
      .setIssuedAt(now + Math.min(seconds, 0))
      .setExpirationTime(now + seconds)
      .sign(privateKey);
    return { accessToken, refreshToken, user: session.user };
  }

  async function refresh(req, res) {
    let text = '';
    for await (const chunk of req.setEncoding('utf8')) text += chunk;
    counts.presented += 1;
    const { refresh_token: presented } = JSON.parse(text);

    const current = fault && chance(fault.share) ? fault.kind : undefined;
    if (current === 'hang') {
      hanging.add(res);
      await once(res, 'close');
      hanging.delete(res);
      return;
    }
    if (current === 'slow') {
      await sleep(between(100, 1_500));
      // The client is gone, so it could not receive new tokens.
      if (res.closed || res.destroyed) return;
    } else if (current !== undefined) {
      answer(res, problems[current]);
      return;
    }

    const known = refreshTokens.get(presented);
    if (known?.session.broken) {
      answer(res, problems[500]);
      return;
    }
    if (!known?.session.alive || known.spentMs !== undefined) {
      if (known?.session.alive) {
        counts.reused += 1;
        tellReused(Date.now() - known.spentMs);
        known.session.alive = false;
      }
      answer(res, { status: 400, body: '{"error":"invalid_grant"}' });
      return;
    }
    known.spentMs = Date.now();
    counts.rotated += 1;
    const { accessToken, refreshToken, user } = await grant(known.session, lifetimeSeconds);
    const body = JSON.stringify({ access_token: accessToken, refresh_token: refreshToken, user });
    answer(res, { status: 200, body });
  }

  async function handle(req, res) {
    if (req.method === 'GET') return answer(res, { status: 200, body: keys });
    treated.add(res);
    try {
      await refresh(req, res);
    } finally {
      treated.delete(res);
      if (treated.size === 0) whenIdle();
    }
  }

  function answer(res, { status, type = 'application/json', headers = {}, body }) {
    res.writeHead(status, { 'Content-Type': type, ...headers });
    res.end(body);
  }

  const server = createServer((req, res) => {
    handle(req, res).catch(() => res.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${server.address().port}`;

  return {
    /** As `workos()` takes them. */
    settings: { clientId, apiKey, baseUrl: url },
    counts,
    /** What can go wrong. All of it before a token is rotated: what is lost after that is lost to any client. */
    faults: ['500', '502', '429', 'hang', 'slow'],
    /** `broken`: a session at which the provider itself fails, each time. */
    issue,
    /** Whether this refresh token is one that has not been presented yet. */
    isUnspent: (refreshToken) => {
      const known = refreshTokens.get(refreshToken);
      return known !== undefined && known.spentMs === undefined;
    },
    /** From now on, this share of the requests fails. */
    fail: (kind, share) => {
      fault = { kind, share };
    },
    heal: () => {
      fault = undefined;
    },
    /** No fault any more, no request that hangs, and none that is being treated. */
    calm: async () => {
      fault = undefined;
      for (const res of hanging) res.destroy();
      if (treated.size === 0) return;
      await new Promise((resolve) => {
        whenIdle = resolve;
      });
    },
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
