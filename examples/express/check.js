// What each visitor gets, without a network: `npm run check`.
import assert from 'node:assert/strict';

import { testSessions } from 'express-sealed-session/testing';

Object.assign(process.env, { WORKOS_CLIENT_ID: 'client', WORKOS_API_KEY: 'key', SESSION_PASSWORD: 'x'.repeat(32) });
const { app, sessions } = await import('./app.js');

const { cookie } = testSessions(sessions);
const server = app.listen(0);
const url = `http://localhost:${server.address().port}`;
const as = async (session, more = {}) => ({ cookie: session && (await cookie(session)), ...more });
const status = async (path, headers, method = 'GET') => {
  const sent = Object.entries(headers).filter(([, value]) => value !== undefined);
  return (await fetch(url + path, { method, headers: Object.fromEntries(sent), redirect: 'manual' })).status;
};

assert.equal(await status('/', await as(undefined)), 200);
assert.equal(await status('/account', await as(undefined)), 401);
assert.equal(await status('/account', await as({})), 200);
assert.equal(await status('/invoices', await as({}), 'POST'), 403);
const payer = { permissions: ['billing:write'] };
assert.equal(await status('/invoices', await as(payer), 'POST'), 201);
assert.equal(await status('/invoices', await as(payer, { 'sec-fetch-site': 'cross-site' }), 'POST'), 403);
server.close();
console.log('Every visitor got the right answer.');
