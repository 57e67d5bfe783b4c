import { once } from 'node:events';
import { request } from 'node:https';

const maxCopies = 200;

/** Keeps a copy of a visitor's cookies, as a thief would, and sends it from here. */
export function createThief({ origin, agent }) {
  const copies = new Map();

  return {
    copy(sessionId, cookies) {
      copies.set(sessionId, cookies);
      if (copies.size > maxCopies) copies.delete(copies.keys().next().value);
    },
    /** The status that the copy is answered, as a client of its own. */
    async attempt(sessionId) {
      const headers = { cookie: copies.get(sessionId) ?? '', accept: 'application/json' };
      const asked = request(`${origin}/api/me`, { agent, headers, lookup: toLoopback }).end();
      const [answer] = await once(asked, 'response');
      answer.resume();
      return answer.statusCode;
    },
  };
}

// For some systems "localhost" is ::1, where the demo may not listen.
function toLoopback(hostname, options, callback) {
  if (options.all) callback(null, [{ address: '127.0.0.1', family: 4 }]);
  else callback(null, '127.0.0.1', 4);
}
