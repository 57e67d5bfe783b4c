import { createServer } from 'node:http';
import express from 'express';
import * as sealed from 'express-sealed-session';
import * as testing from 'express-sealed-session/testing';
import parts from './parts.cjs';

const { sessions, answerCookie } = parts.makeSessions(sealed, testing);
const app = express();
app.use(answerCookie, sessions, sessions.routes());
app.get('/account', sessions.require(), (req, res) => {
  res.json({ id: sessions.signedIn(req).user.id });
});
app.use(sessions.errorHandler());
parts.listen(createServer(app));
