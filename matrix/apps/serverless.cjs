const { createServer } = require('node:http');
const express = require('express');
const sealed = require('express-sealed-session');
const testing = require('express-sealed-session/testing');
const serverless = require('serverless-http');
const { listen, makeSessions } = require('./parts.cjs');

const { sessions, answerCookie } = makeSessions(sealed, testing);
const app = express();
app.use(answerCookie, sessions, sessions.routes());
app.get('/account', sessions.require(), (req, res) => res.json({ id: sessions.signedIn(req).user.id }));
app.use(sessions.errorHandler());
const handler = serverless(app);

// What stands before a function: each request as an event of API Gateway, in its format 2.0.
listen(
  createServer(async (req, res) => {
    const [rawPath, rawQueryString = ''] = req.url.split('?');
    const { cookie, ...headers } = req.headers;
    const event = {
      version: '2.0',
      rawPath,
      rawQueryString,
      cookies: cookie ? cookie.split('; ') : undefined,
      headers,
      requestContext: { http: { method: req.method, path: rawPath, sourceIp: '127.0.0.1' }, stage: '$default' },
      isBase64Encoded: false,
    };
    const answer = await handler(event, {});
    res.writeHead(answer.statusCode, { ...answer.headers, 'set-cookie': answer.cookies ?? [] });
    res.end(answer.isBase64Encoded ? Buffer.from(answer.body, 'base64') : answer.body);
  }),
);
