import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

import { exportJWK, generateKeyPair, SignJWT } from 'jose';

/**
 * A provider on WorkOS's wire that answers well, unless `answerTo(user)` gives another answer: `{ status, headers,
 * body }`, or `'reset'` for a connection that breaks.
 */
export async function startPlainProvider({ lifetimeSeconds = 300, answerTo = () => undefined } = {}) {
  const clientId = 'client_soak';
  const apiKey = `sk_${randomUUID()}`;
  const kid = randomUUID();
  const { privateKey, publicKey } = await generateKeyPair('RS256');
  const keys = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid, alg: 'RS256', use: 'sig' }] });
  const users = new Map();
  /** When each refresh was asked for, and by whom. */
  const asked = [];

  async function issue(userId, seconds = -30) {
    const refreshToken = randomUUID();
    users.set(refreshToken, userId);
    const now = Math.floor(Date.now() / 1000);
    const accessToken = await new SignJWT({ sid: `session_${userId}` })
      .setProtectedHeader({ alg: 'RS256', kid })
      .setIssuer(`${url}/user_management/${clientId}`)
      .setSubject(userId)
      .setIssuedAt(now + Math.min(seconds, 0))
      .setExpirationTime(now + seconds)
      .sign(privateKey);
    return { accessToken, refreshToken, user: { id: userId } };
  }

  async function refresh(req, res) {
    let text = '';
    for await (const chunk of req.setEncoding('utf8')) text += chunk;
    const { refresh_token: presented } = JSON.parse(text);
    const userId = users.get(presented);
    asked.push({ atMs: Date.now(), userId });
    const other = answerTo(userId);
    if (other === 'reset') req.socket.destroy();
    else if (other)
      res.writeHead(other.status, { 'Content-Type': 'application/json', ...other.headers }).end(other.body);
    else {
      const { accessToken, refreshToken, user } = await issue(userId, lifetimeSeconds);
      const body = { access_token: accessToken, refresh_token: refreshToken, user };
      res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
    }
  }

  const server = createServer((req, res) => {
    if (req.method === 'POST') refresh(req, res).catch(() => res.destroy());
    else res.writeHead(200, { 'Content-Type': 'application/json' }).end(keys);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${server.address().port}`;

  return { settings: { clientId, apiKey, baseUrl: url }, issue, asked, close: () => server.close() };
}
