const { createServer } = require('node:http');
const express = require('express');
const sealed = require('express-sealed-session');
const testing = require('express-sealed-session/testing');
const { listen, makeSessions } = require('./parts.cjs');

const { sessions, answerCookie } = makeSessions(sealed, testing);
const app = express();
app.use(answerCookie, sessions, sessions.routes());
app.get('/account', sessions.require(), (req, res) => {
  res.json({ id: sessions.signedIn(req).user.id });
});
app.use(sessions.errorHandler());
listen(createServer(app));
