// Where the time of a request goes: one step at a time, each beside what else could do it.
//
//   npm --prefix bench run micro -- [--rounds 15] [--ms 40] [--json]
//
// Each step is repeated for some milliseconds, one call after the other; the steps take turns. "µs" is how long one
// call takes, "CPU µs" is the processor time of the whole process in it: what goes through WebCrypto waits for another
// thread, so the two differ.
import { createPublicKey, generateKeyPairSync, randomInt, sign, verify as verifySignature } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';

import { compactSealer, ironSealer, withSession, workos } from 'express-sealed-session';
import { sealData, unsealData } from 'iron-session';
import { createLocalJWKSet, jwtVerify } from 'jose';

import { createNaming } from '../dist/fleet/session-names.js';
import { sealCandidates, setSeal } from '../dist/http/cookies.js';
import { createLifecycle } from '../dist/lifecycle.js';
import { resolveOptions } from '../dist/options/config.js';
import { deviceKeyOf, readDeviceJwt } from '../dist/token/device-jwt.js';
import { onItsOwn } from './affinity.js';
import { median } from './figures.js';
import { startProcess } from './processes.js';
import { digits, machine, printMachine, printTable } from './report.js';
import { visitors } from './visitor.js';
import { apiKey, clientId, password } from './world.js';

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    ms: { type: 'string', default: '40' },
    json: { type: 'boolean', default: false },
  },
});
const [rounds, sliceMs] = [flags.rounds, flags.ms].map(Number);

const provider = await startProcess('provider.js');
const { url } = provider.ready;
onItsOwn(process.pid);

const mint = await visitors(provider.ready);
const session = await mint(1);
const { accessToken } = session;
const options = { provider: workos({ clientId, apiKey, baseUrl: url }), password };
const config = resolveOptions(options, 'withSession');
const life = createLifecycle(config.life);
const naming = createNaming(options.provider, [password]);
const { seals, binding } = config.life;
const { passwords } = seals;
const { cookie } = config.carrier;
const sealer = ironSealer();
const compact = compactSealer();
const seal = await sealer.seal(session, passwords, binding);
const compactSeal = await compact.seal(session, passwords, binding);
// Many visitors, one after the other, so that both formats open the same ones.
const sessions = await Promise.all(Array.from({ length: 100 }, (_, number) => mint(number)));
const [ironSeals, compactSeals] = await Promise.all(
  [sealer, compact].map((each) => Promise.all(sessions.map((one) => each.seal(one, passwords, binding)))),
);
let turn = 0;
const next = (seals) => seals[(turn = (turn + 1) % seals.length)];
const compactHeader = `theme=dark; ${cookie.name}=${compactSeal}; locale=en`;
const header = `theme=dark; ${cookie.name}=${seal}; locale=en`;

const { keys } = await (await fetch(`${url}/sso/jwks/${clientId}`)).json();
const keySet = createLocalJWKSet({ keys });
const publicKey = createPublicKey({ key: keys[0], format: 'jwk' });
const signed = Buffer.from(accessToken.slice(0, accessToken.lastIndexOf('.')));
const signature = Buffer.from(accessToken.slice(accessToken.lastIndexOf('.') + 1), 'base64url');

const check = await life.check(session);
const permissions = Array.from({ length: 500 }, () => `resource-${randomInt(50)}:write-${randomInt(100)}`);
const sizes = [
  { name: 'as in the bench', ...(await sizesOf(session)) },
  { name: '500 permissions', ...(await sizesOf(await mint(2, { claims: { permissions } }))) },
];

// A session that is bound to a device, and the proof that each of its requests brings.
const device = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const deviceKey = deviceKeyOf(device.publicKey.export({ format: 'jwk' }));
const bound = { ...session, sessionId: 'session-01', deviceKey: deviceKey.jwk };
const boundOptions = { ...options, baseUrl: 'https://app.example.com', deviceBound: true };
const { proofs, cookie: proofCookie } = resolveOptions(boundOptions, 'withSession').device;
const proof = proofs.make(bound, Math.trunc(Date.now() / 1000) + 3_600);
const proofPair = `${proofCookie.name}=${proof}`;
const boundSeal = await sealer.seal(bound, passwords, binding);
const boundHeader = `theme=dark; ${cookie.name}=${boundSeal}; ${proofPair}; locale=en`;
const boundRemembering = withSession(boundOptions);
const deviceJwt = jwtOfDevice(proofs.challenge('refresh', bound));
sizes.push({ name: 'the same, bound', ...(await sizesOf(bound)) });

function jwtOfDevice(jti) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part({ alg: 'ES256', typ: 'dbsc+jwt' })}.${part({ jti })}`;
  const key = { key: device.privateKey, dsaEncoding: 'ieee-p1363' };
  return `${text}.${sign('sha256', Buffer.from(text), key).toString('base64url')}`;
}

const remembering = withSession(options);
const forgetful = withSession({ ...options, cache: false });
// Remembered from the second visit on.
for (let count = 0; count < 2; count += 1) {
  await visit(remembering);
  await visit(boundRemembering, boundHeader);
}

/** The whole middleware, on what it needs of a request. */
function visit(middleware, sent = header) {
  const req = { method: 'GET', url: '/', headers: { host: 'app.example.com', cookie: sent } };
  return new Promise((resolve, reject) => {
    middleware(req, {}, () => {
      if (req.session?.authenticated) resolve();
      else reject(new Error('The visitor is not signed in.'));
    });
  });
}

/** The same without a promise around it: a known visitor is through when the call returns. */
function visitKnown(middleware = remembering, sent = header) {
  const req = { method: 'GET', url: '/', headers: { host: 'app.example.com', cookie: sent } };
  let through = false;
  middleware(req, {}, () => {
    through = req.session.authenticated;
  });
  if (!through) throw new Error('A known visitor had to wait.');
}

// Of each group, the first step is ours.
const steps = [
  { group: 'cookie', name: 'read the Cookie header', run: () => sealCandidates(header, cookie.name) },
  { group: 'known', name: 'a known visitor, the whole middleware', run: () => visitKnown() },
  { group: 'known', name: '  the same, bound to a device', run: () => visitKnown(boundRemembering, boundHeader) },
  { group: 'proof', name: 'compare the proof that was good last', run: () => proofs.areGood(bound, [proof]) },
  { group: 'proof', name: '  verify a proof anew', run: () => proofs.areGood({ ...bound }, [proof]) },
  { group: 'device', name: 'verify the answer of a device (ES256)', run: () => readDeviceJwt(deviceJwt, deviceKey) },
  { group: 'unseal', name: 'unseal', run: () => sealer.open(seal, passwords, Date.now(), binding) },
  {
    group: 'compact',
    name: 'unseal, compact',
    run: () => compact.open(next(compactSeals), passwords, Date.now(), binding),
  },
  {
    group: 'compact',
    name: '  unseal, Iron by node:crypto',
    run: () => sealer.open(next(ironSeals), passwords, Date.now(), binding),
  },
  { group: 'unseal', name: '  iron-session unsealData', run: () => unsealData(seal, { password, ttl: 0 }) },
  { group: 'verify', name: 'check the token', run: () => life.check(session) },
  {
    group: 'verify',
    name: '  jose jwtVerify alone',
    run: () => jwtVerify(accessToken, keySet, { issuer: url, algorithms: ['RS256'] }),
  },
  {
    group: 'verify',
    name: '  node:crypto verify of the same bytes',
    run: () => verifySignature('sha256', signed, publicKey, signature),
  },
  {
    group: 'keys',
    name: 'derive the names that it ends under',
    // A copy: the names are derived once for each payload.
    run: () => naming.of({ ...session }),
  },
  { group: 'entry', name: 'make the entry to remember', run: () => life.verified(session, check) },
  { group: 'seal', name: 'seal', run: () => sealer.seal(session, passwords, binding) },
  { group: 'compact seal', name: 'seal, compact', run: () => compact.seal(session, passwords, binding) },
  { group: 'compact seal', name: '  iron-session sealData', run: () => sealData(session, { password, ttl: 0 }) },
  { group: 'seal', name: '  iron-session sealData', run: () => sealData(session, { password, ttl: 0 }) },
  { group: 'write', name: 'write the Set-Cookie header', run: () => setSeal(seal, cookie, header) },
  { group: 'first', name: 'first sight, the whole middleware', run: () => visit(forgetful) },
  { group: 'first', name: '  the same, compact', run: () => visit(forgetful, compactHeader) },
  {
    group: 'first',
    name: '  iron-session + jose by hand',
    run: async () => {
      const opened = await unsealData(seal, { password, ttl: 0 });
      await jwtVerify(opened.accessToken, keySet, { issuer: url, algorithms: ['RS256'] });
    },
  },
].map((step) => ({ ...step, calls: 1, wall: [], cpu: [] }));

for (let round = -1; round < rounds; round += 1) {
  for (const step of steps) {
    const { wall, cpu } = await measure(step);
    // The first round finds out how many calls fill the time, and warms up.
    if (round < 0) step.calls = Math.max(1, Math.ceil((sliceMs * 1_000) / wall));
    else {
      step.wall.push(wall);
      step.cpu.push(cpu);
    }
  }
}

/** Microseconds per call. */
async function measure({ run, calls }) {
  // Compiled before it counts.
  for (let call = 0; call < 100; call += 1) await run();
  const least = Math.max(calls, 50);
  const cpuBefore = process.cpuUsage();
  const startMs = performance.now();
  for (let call = 0; call < least; call += 1) {
    const result = run();
    if (result instanceof Promise) await result;
  }
  const wall = ((performance.now() - startMs) * 1_000) / least;
  const { user, system } = process.cpuUsage(cpuBefore);
  return { wall, cpu: (user + system) / least };
}

const rows = steps.map(({ group, name, wall, cpu }) => ({ group, name, wall: median(wall), cpu: median(cpu) }));
for (const row of rows) {
  const own = rows.find(({ group }) => group === row.group);
  if (own !== row) row.ratio = own.cpu / row.cpu;
}

if (flags.json) {
  console.log(JSON.stringify({ machine: machine(), rounds, sliceMs, sizes, rows }, undefined, 2));
} else {
  printMachine();
  printSizes();
  console.log(`\nThe cookie of a proof adds ${proofPair.length + 2} bytes to each request of a bound session.\n`);
  console.log(`Medians of ${rounds} rounds of ${sliceMs} ms each. "ours/it" is of the processor time.\n`);
  printTable(rows, {
    step: ({ name }) => name,
    'ours/it': ({ ratio }) => digits(ratio, 2),
    µs: ({ wall }) => digits(wall, 1),
    'CPU µs': ({ cpu }) => digits(cpu, 1),
  });
}
process.exit();

/** The letters of the cookie's value, for this session and for one with 500 permissions. */
async function sizesOf(each) {
  const [iron, small] = [await sealer.seal(each, passwords, binding), await compact.seal(each, passwords, binding)];
  return { iron: iron.length, compact: small.length, ratio: small.length / iron.length };
}

function printSizes() {
  console.log('\nLetters of the cookie');
  printTable(sizes, {
    session: ({ name }) => name,
    Iron: ({ iron }) => iron,
    compact: ({ compact: letters }) => letters,
    'compact/Iron': ({ ratio }) => digits(ratio, 2),
  });
}
