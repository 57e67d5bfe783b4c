/**
 * What every app here has: sessions under test, and an answer to `/cookie` for the script that drives it. The provider is in
 * the process; refreshes go through the HTTP client as it was installed or bundled.
 */
exports.makeSessions = ({ withSession, workos }, { testSessions }) => {
  const sessions = withSession({
    provider: workos({ clientId: 'client', apiKey: 'key', baseUrl: 'https://id.invalid' }),
    password: 'one password of 32 characters, or more',
    baseUrl: 'https://app.example.com',
  });
  const test = testSessions(sessions);
  const answerCookie = async (req, res, next) => {
    const url = req.originalUrl ?? req.url;
    if (!url.startsWith('/cookie')) return next();
    res.end(await test.cookie({ user: { id: 'ada' }, expiresIn: url.endsWith('expired') ? 0 : 300 }));
  };
  return { sessions, answerCookie };
};

/** Runs middlewares as node:http has none. */
exports.chain =
  (...middlewares) =>
  (req, res) => {
    const run = (index) => (error) => {
      if (error || index === middlewares.length) {
        res.statusCode = error?.status ?? 404;
        res.end();
      } else middlewares[index](req, res, run(index + 1));
    };
    run(0)();
  };

/** Listens, and says where. */
exports.listen = (server) => {
  server.listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`));
};
