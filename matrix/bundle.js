import path from 'node:path';

import commonjs from '@rollup/plugin-commonjs';
import json from '@rollup/plugin-json';
import resolve from '@rollup/plugin-node-resolve';
import ncc from '@vercel/ncc';
import { writeFileSync } from 'node:fs';
import esbuild from 'esbuild';
import { rollup } from 'rollup';
import webpack from 'webpack';

const banner = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);";

/** Bundlers, by name: each makes one app of another, and answers where it is. */
export const bundlers = {
  'esbuild, CommonJS, minified': async (apps, to) => {
    const outfile = path.join(to, 'esbuild.cjs');
    await esbuild.build({
      entryPoints: [path.join(apps, 'express.cjs')],
      bundle: true,
      platform: 'node',
      minify: true,
      outfile,
    });
    return outfile;
  },
  'esbuild, ES modules, with a banner': async (apps, to) => {
    const outfile = path.join(to, 'esbuild.mjs');
    const entryPoints = [path.join(apps, 'express.mjs')];
    await esbuild.build({
      entryPoints,
      bundle: true,
      platform: 'node',
      format: 'esm',
      banner: { js: banner },
      outfile,
    });
    return outfile;
  },
  'webpack 5': (apps, to) =>
    new Promise((done, failed) => {
      const output = { path: to, filename: 'webpack.cjs' };
      const entry = path.join(apps, 'express.cjs');
      webpack(
        // The tsconfig.json above leads to the sources. What is tried is the package.
        {
          mode: 'production',
          target: 'node',
          optimization: { nodeEnv: false },
          resolve: { tsconfig: false },
          entry,
          output,
        },
        (error, stats) => {
          if (error ?? stats.hasErrors()) failed(error ?? new Error(stats.toString('errors-only')));
          else done(path.join(to, 'webpack.cjs'));
        },
      );
    }),
  'rollup 4': async (apps, to) => {
    const plugins = [resolve({ preferBuiltins: true }), commonjs({ ignoreDynamicRequires: true }), json()];
    const bundle = await rollup({ input: path.join(apps, 'express.mjs'), plugins, onwarn: () => undefined });
    await bundle.write({ file: path.join(to, 'rollup.mjs'), format: 'esm', inlineDynamicImports: true });
    return path.join(to, 'rollup.mjs');
  },
  ncc: async (apps, to) => {
    const { code } = await ncc(path.join(apps, 'express.cjs'), { quiet: true, cache: false });
    writeFileSync(path.join(to, 'ncc.cjs'), code);
    return path.join(to, 'ncc.cjs');
  },
};
