import { createServer } from 'node:http';
import * as sealed from 'express-sealed-session';
import * as testing from 'express-sealed-session/testing';
import parts from './parts.cjs';

const { sessions, answerCookie } = parts.makeSessions(sealed, testing);
const account = (req, res) => res.end(JSON.stringify({ id: sessions.signedIn(req).user.id }));
parts.listen(createServer(parts.chain(answerCookie, sessions, sessions.routes(), sessions.require(), account)));
