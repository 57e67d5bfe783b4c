// What each visitor gets, without a network: `npm run check`.
import assert from 'node:assert/strict';

import { testSessions } from 'express-sealed-session/testing';

Object.assign(process.env, { WORKOS_CLIENT_ID: 'client', WORKOS_API_KEY: 'key', SESSION_PASSWORD: 'x'.repeat(32) });
const { app, sessions } = await import('./app.js');

const { cookie } = testSessions(sessions);
const server = app.listen(0);
const url = `http://localhost:${server.address().port}/graphql`;

/** What is answered, and the codes of its errors. */
async function ask(query, session, more = {}) {
  const headers = { 'content-type': 'application/json', ...(session && { cookie: await cookie(session) }), ...more };
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ query }) });
  const { data, errors = [] } = await response.json();
  return [response.status, data, errors.map(({ extensions }) => extensions.code)];
}

const payer = { permissions: ['billing:write'] };
const pay = 'mutation { pay(invoice: 1) }';
assert.deepEqual(await ask('{ hello }'), [200, { hello: 'Hello stranger' }, []]);
assert.deepEqual((await ask('{ me }'))[2], ['ERR_SESSION_REQUIRED']);
assert.deepEqual(await ask('{ me }', { user: { id: 'user_ada' } }), [200, { me: 'user_ada' }, []]);
assert.deepEqual((await ask(pay, {}))[2], ['ERR_SESSION_FORBIDDEN']);
assert.deepEqual(await ask(pay, payer), [200, { pay: true }, []]);
assert.deepEqual((await ask(pay, payer, { 'sec-fetch-site': 'cross-site' }))[2], ['ERR_SESSION_CROSS_ORIGIN']);
server.close();
console.log('Every visitor got the right answer.');
