import { randomBytes } from 'node:crypto';

import { sealData, unsealData } from 'iron-session';

const cookie = 'demo-without';
const password = randomBytes(32).toString('base64url');

/**
 * What many apps do by themselves: a sealed cookie, and each request that finds its access token expired refreshes it. It
 * works as long as one request comes at a time.
 */
export function withoutThePackage({ tokenEndpoint, clientSecret, readCookie, onRefreshGrant }) {
  const headers = { authorization: `Basic ${Buffer.from(`demo:${clientSecret}`).toString('base64')}` };

  async function begin(res, session) {
    res.cookie(cookie, await sealData(session, { password }), { httpOnly: true, sameSite: 'lax' });
  }

  async function middleware(req, res, next) {
    const session = await unsealData(readCookie(req, cookie) ?? '', { password });
    res.locals = { status: 200, answer: {}, grantId: session.grantId };
    if (!session.refreshToken) Object.assign(res.locals, { status: 401, answer: { error: 'signed_out' } });
    else if (session.expiresAt <= Date.now()) await refresh(res, session);
    next();
  }

  async function refresh(res, { grantId, refreshToken }) {
    const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken });
    onRefreshGrant(grantId);
    const answer = await fetch(tokenEndpoint, { method: 'POST', headers, body }).catch(() => undefined);
    if (!answer) return Object.assign(res.locals, { status: 500, answer: { error: 'no_answer' } });
    const tokens = await answer.json();
    if (answer.ok) {
      const expiresAt = Date.now() + tokens.expires_in * 1000;
      return begin(res, { grantId, refreshToken: tokens.refresh_token, expiresAt });
    }
    res.clearCookie(cookie);
    Object.assign(res.locals, { status: 401, answer: { error: tokens.error } });
  }

  return { begin, middleware };
}
