/**
 * Makes dist/: ES modules for `import`, a bundle for `require()`, and one set of types for both.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import ts from 'typescript';

import { buildCommonJs } from './commonjs.js';
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
await buildCommonJs(dist, entries, ['cookie-parser', 'iron-session', 'lru-cache', 'on-headers']);
for (const file of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
  if (file.endsWith('.js')) writeFileSync(path.join(dist, file), withoutComments(path.join(dist, file)));
}

/** Who hovers reads the types. The comments of the code are for those who change it. */
function withoutComments(file) {
  const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, removeComments: true };
  return ts.transpileModule(readFileSync(file, 'utf8'), { compilerOptions }).outputText;
}
