const maxSessions = 200;
const maxEntries = 40;
const burstMs = 1000;

/**
 * What the page shows: the numbers and the log of each session, and the streams that follow them. Keyed by session, so
 * that no visitor sees another's, and bounded: the demo may run for days.
 */
export function createActivity() {
  const sessions = new Map();
  const comparisons = new Map();
  let lastEntryId = 0;

  function sessionOf(sessionId) {
    let session = sessions.get(sessionId);
    if (!session) {
      session = {
        counts: { refreshGrants: 0, leader: 0, joined: 0, remembered: 0 },
        token: undefined,
        cookie: undefined,
        entries: [],
        streams: new Set(),
      };
      sessions.set(sessionId, session);
      if (sessions.size > maxSessions) forget(sessions.keys().next().value);
    }
    return session;
  }

  function send(session, message) {
    for (const stream of session.streams) stream.write(`data: ${JSON.stringify(message)}\n\n`);
  }

  function count(sessionId, name) {
    const session = sessionOf(sessionId);
    session.counts[name] += 1;
    send(session, { counts: session.counts });
  }

  /** One line of the log. The same line again within a moment is counted, not repeated. */
  function note(sessionId, text) {
    const session = sessionOf(sessionId);
    const now = Date.now();
    let entry = session.entries.find((earlier) => earlier.text === text && now - earlier.at < burstMs);
    if (entry) {
      entry.times += 1;
    } else {
      entry = { id: ++lastEntryId, at: now, text, times: 1 };
      session.entries.unshift(entry);
      session.entries.length = Math.min(session.entries.length, maxEntries);
    }
    send(session, { entries: [entry] });
  }

  /** Keeps the countdown right in every open tab, whichever of them made the request. */
  function seen({ sessionId, expiresAt, claims }, cookie) {
    const session = sessionOf(sessionId);
    if (session.token?.expiresAt === expiresAt.getTime()) return;
    session.token = { expiresAt: expiresAt.getTime(), lifetimeMs: (claims.exp - claims.iat) * 1000 };
    session.cookie = cookie;
    send(session, { token: session.token, cookie });
  }

  /** What the pages of one session show. */
  const show = (sessionId, message) => send(sessionOf(sessionId), message);

  /** What concerns every session: a line of the log, and what the page shows of it. */
  function tell(text, message) {
    for (const [sessionId, session] of sessions) {
      note(sessionId, text);
      send(session, message);
    }
  }

  /** Counts the grants of a session that the demo has begun for the requests without the package. */
  function compare(grantId) {
    comparisons.set(grantId, 0);
    if (comparisons.size > maxSessions) comparisons.delete(comparisons.keys().next().value);
  }

  function refreshGrantWithout(grantId) {
    comparisons.set(grantId, (comparisons.get(grantId) ?? 0) + 1);
  }

  function refreshGrant(sessionId) {
    if (!comparisons.has(sessionId)) count(sessionId, 'refreshGrants');
  }

  /** Server-sent events: everything so far at once, then each change. */
  function follow({ sessionId, user, data }, response, more = {}) {
    const session = sessionOf(sessionId);
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    session.streams.add(response);
    response.on('close', () => session.streams.delete(response));
    const { counts, token, cookie, entries } = session;
    response.write(
      `data: ${JSON.stringify({ user, greeting: data.greeting, ...more, counts, token, cookie, entries: entries.toReversed() })}\n\n`,
    );
  }

  function forget(sessionId) {
    for (const stream of sessions.get(sessionId)?.streams ?? []) stream.end();
    sessions.delete(sessionId);
  }

  return {
    note,
    count,
    seen,
    follow,
    forget,
    counts: (sessionId) => sessionOf(sessionId).counts,
    show,
    tell,
    compare,
    compared: (grantId) => comparisons.get(grantId) ?? 0,
    refreshGrant,
    refreshGrantWithout,
  };
}
