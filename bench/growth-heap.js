// What a number of sessions leaves in the memory of one process. Run with --expose-gc; says it and ends.
//
// `visits` go through the whole middleware, on bare objects instead of requests: each session has a token and a seal of
// its own, both real, so each is unsealed, verified and remembered as in an app. Only two things differ, so that a
// million take minutes and not half an hour: the tokens are signed with Ed25519 (its signature is shorter, which
// a filler in the token's header makes up for), and the seals are made by `iron-seal.js`.
//
// `refreshes` and `signOuts` go to the coordinator and the ledger directly: asking a provider a million times would
// measure the provider. What they hold is as large as in an app, but made of random letters.
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { createServer } from 'node:http';

import { withSession, workos } from 'express-sealed-session';

import { fleetParts } from '../dist/fleet/fleet.js';
import { createProcessFleet } from '../dist/fleet/process-fleet.js';
import { tokenKey, tokenSecret } from '../dist/refresh/token-key.js';
import { ironSeal } from './iron-seal.js';
import { processArgs, serveProcess } from './processes.js';
import { apiKey, claimsOf, clientId, password, sessionOf, user } from './world.js';

const { what, count, otherCookies } = processArgs();

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const keys = [{ ...publicKey.export({ format: 'jwk' }), kid: 'bench', alg: 'EdDSA', use: 'sig' }];
const keyServer = createServer((req, res) => res.end(JSON.stringify({ keys })));
await new Promise((listening) => keyServer.listen(0, '127.0.0.1', listening));
const url = `http://127.0.0.1:${keyServer.address().port}`;

const rs256 = workos({ clientId, apiKey, baseUrl: url });
const rules = { ...(await rs256.accessToken('')), algorithms: ['EdDSA'] };
const provider = { ...rs256, accessToken: () => Promise.resolve(rules) };

const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const filler = 'x'.repeat(192);
const tokenHeader = base64url({ alg: 'EdDSA', kid: 'bench', filler });

function tokenOf(number) {
  const now = Math.trunc(Date.now() / 1000);
  const claims = { ...claimsOf(number), iss: url, sub: user.id, iat: now, exp: now + 86_400 };
  const signed = `${tokenHeader}.${base64url(claims)}`;
  return `${signed}.${sign(null, Buffer.from(signed), privateKey).toString('base64url')}`;
}

async function visit(middleware, number) {
  const seal = ironSeal(sessionOf(number, tokenOf(number)), password);
  const others = otherCookies > 0 ? `; other=${'o'.repeat(otherCookies)}` : '';
  // As a parser of HTTP hands it over: one string in one piece.
  const cookie = Buffer.from(`${provider.cookieName}=${seal}${others}`).toString('latin1');
  // Remembered from the second visit on, and recognised by the third.
  for (let count = 0; count < 3; count += 1) {
    const req = { method: 'GET', url: '/', headers: { cookie } };
    await new Promise((resolve, reject) => {
      middleware(req, {}, () => {
        if (req.session?.authenticated) resolve();
        else reject(new Error('A visitor is not signed in.'));
      });
    });
  }
}

async function inBatches(upTo, work) {
  for (let number = 0; number < upTo; number += 50) {
    await Promise.all(Array.from({ length: Math.min(50, upTo - number) }, (_, index) => work(number + index)));
  }
}

/** As the leader of a refresh does. */
function refresh({ coordinator }, number) {
  const accessToken = randomBytes(525).toString('base64url');
  const payload = { ...JSON.parse(JSON.stringify(sessionOf(number, accessToken))), refreshToken: `next_${number}` };
  const sealed = randomBytes(1_650).toString('base64url');
  const outcome = {
    kind: 'refreshed',
    payload,
    sealed,
    sealedUnder: 'bench',
    successorKey: tokenKey(provider, payload.refreshToken),
  };
  const token = `refresh_${number}`;
  const ticket = {
    key: tokenKey(provider, token),
    secret: tokenSecret(provider, token),
    organizationId: 'org_01',
    accessToken: '',
    wait: true,
  };
  return coordinator.refresh({ ...ticket, graceMs: 60_000, timeoutMs: 20_000 }, () => Promise.resolve(outcome));
}

const newFleet = () => fleetParts(createProcessFleet());

const loads = {
  visits() {
    const middleware = withSession({ provider, password });
    return { warmUp: withSession({ provider, password, cache: false }), subject: middleware, each: visit };
  },
  refreshes: () => ({ warmUp: newFleet(), subject: newFleet(), each: refresh }),
  signOuts: () => ({
    warmUp: newFleet(),
    subject: newFleet(),
    // Each session ends under two names.
    each: ({ ledger }, number) =>
      ledger.record(
        ['token', 'session'].map((name) => ({
          kind: 'ended',
          name: tokenKey(provider, `${name} ${number}`).slice(0, 22),
          atMs: Date.now(),
          untilMs: Date.now() + 3_600_000,
        })),
      ),
  }),
};

function heldBytes() {
  for (let pass = 0; pass < 3; pass += 1) globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const { warmUp, subject, each } = loads[what]();
// Compiled code and what is fetched once are in memory before it counts. What this leaves is let go.
await inBatches(500, (number) => each(warmUp, number));
const before = heldBytes();
await inBatches(count, (number) => each(subject, number));
const after = heldBytes();
// Named once more: what is not used any longer may have been collected before it was measured.
serveProcess({ bytes: after - before, rss: process.memoryUsage().rss, subject: typeof subject });
