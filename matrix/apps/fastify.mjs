import middie from '@fastify/middie';
import * as sealed from 'express-sealed-session';
import * as testing from 'express-sealed-session/testing';
import fastify from 'fastify';
import parts from './parts.cjs';

const { sessions, answerCookie } = parts.makeSessions(sealed, testing);
const app = fastify();
await app.register(middie);
app.use(answerCookie);
app.use(sessions);
app.use(sessions.routes());
const signedIn = async (request) => void (await sessions.authorize(request.raw));
app.get('/account', { preHandler: signedIn }, async (request) => ({ id: sessions.signedIn(request.raw).user.id }));
await app.listen({ port: 0, host: '127.0.0.1' });
console.log(`port ${app.server.address().port}`);
