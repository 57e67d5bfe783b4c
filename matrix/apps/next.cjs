const { createServer } = require('node:http');
const path = require('node:path');
const next = require('next');
const sealed = require('express-sealed-session');
const testing = require('express-sealed-session/testing');
const { chain, listen, makeSessions } = require('./parts.cjs');

const { sessions, answerCookie } = makeSessions(sealed, testing);
const app = next({ dev: true, dir: path.join(__dirname, 'next'), quiet: true });
app.prepare().then(() => {
  const pages = app.getRequestHandler();
  listen(createServer(chain(answerCookie, sessions, sessions.routes(), (req, res) => pages(req, res))));
});
