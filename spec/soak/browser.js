import { Agent, request } from 'node:http';
import { clearTimeout } from 'node:timers';

// Shorter than the server keeps a connection, so that none breaks just as it is used again.
const agent = new Agent({ keepAlive: true, timeout: 3_000 });
const longestAnswerMs = 30_000;

/** A visitor's browser: one cookie, which every answer may replace. */
export function createBrowser(id, cookie) {
  const browser = {
    id,
    cookie,
    /** Counts the sessions of this browser: an answer that belongs to an earlier one is ignored. */
    session: 1,
    signOut: () => {
      browser.cookie = '';
      browser.session += 1;
    },
    /**
     * Asks for the guarded page. With `leaveAfterMs` the visitor does not wait for the answer, and never sees its cookie.
     *
     * @returns `{ status, reason, cleared, retryAfterMs }`; undefined when the visitor has left
     */
    async visit(url, leaveAfterMs) {
      const { session } = browser;
      const answer = await get(`${url}/guarded`, browser.cookie, leaveAfterMs);
      if (!answer) return undefined;
      const { status, headers, text } = answer;
      const set = (headers['set-cookie'] ?? []).find((line) => line.startsWith('wos-session='));
      const value = set?.slice('wos-session='.length).split(';')[0];
      if (value && session === browser.session) browser.cookie = decodeURIComponent(value);
      return {
        status,
        reason: status === 200 ? undefined : JSON.parse(text).reason,
        cleared: value === '',
        retryAfterMs: 1_000 * Number(headers['retry-after'] ?? 0),
      };
    },
  };
  return browser;
}

function get(url, cookie, leaveAfterMs) {
  return new Promise((resolve, reject) => {
    let leaving;
    const req = request(url, { agent, headers: { cookie: `wos-session=${encodeURIComponent(cookie)}` } }, (res) => {
      let text = '';
      res.setEncoding('utf8');
      res.on('data', (chunk) => (text += chunk));
      res.on('error', reject);
      res.on('end', () => {
        clearTimeout(leaving);
        resolve({ status: res.statusCode, headers: res.headers, text });
      });
    });
    const leave = () => {
      resolve(undefined);
      req.destroy();
    };
    req.on('error', (error) => {
      clearTimeout(leaving);
      reject(error);
    });
    req.setTimeout(longestAnswerMs, () => req.destroy(new Error(`No answer in ${longestAnswerMs} ms.`)));
    if (leaveAfterMs !== undefined) leaving = setTimeout(leave, leaveAfterMs);
    req.end();
  });
}
