/**
 * Tries the packed package where people use it, and writes docs/reference/compatibility.md. `npm run matrix` builds first;
 * `npm run matrix -- nest` tries what has these letters in its name, and writes nothing.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import ts from 'typescript';
import ts54 from 'typescript54';

import { bundlers } from './bundle.js';
import { columns, drive } from './drive.js';
import { runSetUp, setUps } from './runners.js';
import { checkTypes } from './types.js';

const here = import.meta.dirname;
const root = path.resolve(here, '..');
const apps = path.join(here, 'apps');
const work = path.join(here, 'tried');
const only = process.argv[2] ?? '';

install();
rmSync(work, { recursive: true, force: true });
mkdirSync(work);
const nodes = Object.entries({ 20: process.execPath, 22: nodeOf(22), 24: nodeOf(24) }).filter(([, file]) =>
  existsSync(file),
);

const environments = [
  ...nodes.flatMap(([version, node]) => [
    { title: `Express 5, ES modules, Node ${version}`, node, file: 'express.mjs' },
    { title: `Express 5, CommonJS, Node ${version}`, node, file: 'express.cjs' },
  ]),
  { title: 'Express 4, CommonJS', file: 'express4.cjs' },
  { title: 'Both builds in one app', file: 'both.cjs' },
  { title: 'node:http', file: 'http.mjs' },
  { title: 'NestJS 11: MiddlewareConsumer, and a guard with authorize()', file: 'nest.cjs' },
  { title: 'Fastify 5, with @fastify/middie and request.raw', file: 'fastify.mjs' },
  { title: 'Next 15, custom server', file: 'next.cjs' },
  { title: 'serverless-http, events of format 2.0', file: 'serverless.cjs' },
  { title: 'GraphQL Yoga 5', file: 'graphql.mjs' },
  ...Object.entries(bundlers).map(([title, bundle]) => ({ title, bundle })),
];

const report = [];
let isWhole = true;

report.push(`| Environment | ${columns.join(' | ')} |`, `|---|${columns.map(() => '---').join('|')}|`);
for (const { title, node = process.execPath, file, bundle } of environments.filter(isWanted)) {
  let results;
  try {
    results = await drive(node, bundle ? await bundle(apps, work) : path.join(apps, file));
  } catch (error) {
    console.error(`${title}: ${error.message}`);
    results = columns.map(() => false);
  }
  row(title, ...results);
}

report.push(
  '',
  `| Tests, as [Testing your app](../guide/testing.md) has them | ${nodes.map(([version]) => `Node ${version}`).join(' | ')} |`,
  `|---|${nodes.map(() => '---').join('|')}|`,
);
for (const setUp of setUps(path.join(root, 'docs/guide/testing.md'), work).filter(isWanted)) {
  const failures = nodes.map(([, node]) => runSetUp(setUp, node, path.join(here, 'node_modules/.bin')));
  for (const failure of failures) if (failure) console.error(failure.slice(-3_000));
  row(setUp.title, ...failures.map((failure) => failure === undefined));
}

report.push('', '| Types, beside @types/express-session, with `skipLibCheck: false` | compile |', '|---|---|');
for (const { title, found } of [ts54, ts].flatMap((each) =>
  isWanted({ title: 'TypeScript' }) ? checkTypes(each, work) : [],
)) {
  for (const problem of found) console.error(`${title}: ${problem}`);
  row(title, found.length === 0);
}

report.push('', '| Package | finds nothing |', '|---|---|');
for (const [title, command, args] of [
  ['publint', 'publint', ['--strict', root]],
  ['Are the types wrong?', 'attw', [tarball()]],
].filter(([title]) => isWanted({ title }))) {
  let isClean = true;
  try {
    execFileSync(path.join(here, 'node_modules/.bin', command), args, { stdio: ['ignore', 'ignore', 'inherit'] });
  } catch {
    isClean = false;
  }
  row(title, isClean);
}

if (only === '') writePage();
process.exitCode = isWhole ? 0 : 1;

function isWanted({ title }) {
  return title.toLowerCase().includes(only.toLowerCase());
}

function row(title, ...results) {
  isWhole &&= results.every(Boolean);
  const line = `| ${title} | ${results.map((is) => (is ? 'yes' : '**no**')).join(' | ')} |`;
  report.push(line);
  console.log(line);
}

/** The package as it is published, installed as an app has it. */
function install() {
  rmSync(path.join(here, 'packed'), { recursive: true, force: true });
  mkdirSync(path.join(here, 'packed'));
  execFileSync('npm', ['pack', '--ignore-scripts', '--pack-destination', path.join(here, 'packed')], {
    cwd: root,
    stdio: 'ignore',
  });
  execFileSync('npm', ['install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', tarball()], {
    cwd: here,
    stdio: 'ignore',
  });
}

function tarball() {
  const folder = path.join(here, 'packed');
  return path.join(folder, readdirSync(folder)[0]);
}

function nodeOf(version) {
  return path.join(here, `node_modules/node${version}/bin/node`);
}

function writePage() {
  const text = `# Compatibility

What was tried with the packed package, by \`npm run matrix\`. Each app was asked as a browser asks: without a session, with one, with one whose access token had expired, and by a sign-in from \`/login\` to the page that was wanted.

${report.join('\n')}

esbuild's output as ES modules needs the banner that Express itself needs: \`import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);\`.

Behind Fastify, handlers give \`request.raw\` to \`sessions.get()\`. In NestJS and GraphQL, \`await sessions.authorize(req, rule)\` is the guard: it resolves to the session or rejects, and writes nothing.
`;
  writeFileSync(path.join(root, 'docs/reference/compatibility.md'), text);
}
