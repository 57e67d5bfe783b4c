// What each visitor gets, without a network: `npm run check`.
import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';

import { type TestSession, testSessions } from 'express-sealed-session/testing';

Object.assign(process.env, { WORKOS_CLIENT_ID: 'client', WORKOS_API_KEY: 'key', SESSION_PASSWORD: 'x'.repeat(32) });
const { createApp } = await import('./app.js');
const { sessions } = await import('./session.guard.js');

const { cookie, provider } = testSessions(sessions);
const app = await createApp();
await app.listen(0);
const { port } = app.getHttpServer().address() as AddressInfo;

async function status(path: string, session?: TestSession, method = 'GET', more = {}): Promise<number> {
  const headers = { ...(session && { cookie: await cookie(session) }), ...more };
  return (await fetch(`http://localhost:${port}${path}`, { method, headers, redirect: 'manual' })).status;
}

const payer = { permissions: ['billing:write'] };
assert.equal(await status('/'), 200);
assert.equal(await status('/account'), 401);
assert.equal(await status('/account', {}), 200);
assert.equal(await status('/invoices', {}, 'POST'), 403);
assert.equal(await status('/invoices', payer, 'POST'), 201);
assert.equal(await status('/invoices', payer, 'POST', { 'sec-fetch-site': 'cross-site' }), 403);
provider.down();
assert.equal(await status('/account', { expiresIn: -1 }), 503);
await app.close();
console.log('Every visitor got the right answer.');
