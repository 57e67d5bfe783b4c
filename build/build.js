/**
 * Makes dist/: a bundle for `import`, one for `require()`, and one set of types for both. Beside them lie the modules as
 * the compiler has made them, which are not published: benches read them one by one.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { transformSync } from '@swc/core';
import ts from 'typescript';

import { buildBundles } from './bundles.js';
import { trimDeclarations } from './declarations.js';

const root = path.resolve(import.meta.dirname, '..');
const dist = path.join(root, 'dist');
const entries = ['index', 'redis', 'testing', 'augment'];

rmSync(dist, { recursive: true, force: true });
execFileSync(
  process.execPath,
  [path.join(root, 'node_modules/typescript/bin/tsc'), '-p', path.join(root, 'tsconfig.build.json')],
  {
    stdio: 'inherit',
  },
);
trimDeclarations(dist, entries);
await buildBundles(dist, entries, ['cookie-parser', 'iron-session', 'lru-cache', 'on-headers']);
const modules = path.join(dist, 'esm');
for (const file of readdirSync(modules)) writeFileSync(path.join(modules, file), minified(path.join(modules, file)));

/**
 * Without comments and in short names, or both builds and the command line do not fit into 280 kB packed. Functions and
 * classes keep their names, and each statement has a line of its own: Node prints the line of an error that nobody catches.
 */
function minified(file) {
  const minify = { compress: { sequences: false }, mangle: { keep_fnames: true, keep_classnames: true }, module: true };
  const jsc = { target: 'es2022', parser: { syntax: 'ecmascript' }, minify };
  const { code } = transformSync(readFileSync(file, 'utf8'), { jsc, minify: true, module: { type: 'es6' } });
  const starts = [];
  const visit = (node) => {
    const children = ts.isClassLike(node) ? node.members : node.statements;
    for (const child of children ?? []) if (child.getStart() > 0) starts.push(child.getStart());
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, code, ts.ScriptTarget.ES2022, true));
  const cuts = [0, ...starts.sort((one, other) => one - other), code.length];
  return cuts
    .slice(1)
    .map((end, index) => code.slice(cuts[index], end))
    .join('\n');
}
