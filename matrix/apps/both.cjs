// One file imports the package, another requires it: the guard of one build asks the sessions of the other.
const { createServer } = require('node:http');
const { requireSession, getSession } = require('express-sealed-session');
const testing = require('express-sealed-session/testing');
const { chain, listen, makeSessions } = require('./parts.cjs');

import('express-sealed-session').then((sealed) => {
  const { sessions, answerCookie } = makeSessions(sealed, testing);
  const account = (req, res) => res.end(JSON.stringify({ id: getSession(req).user.id }));
  listen(createServer(chain(answerCookie, sessions, sessions.routes(), requireSession(), account)));
});
