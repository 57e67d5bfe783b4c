import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { rolldown } from 'rolldown';

// Parts of got for jobs that are never asked of it here: HTTP/2, caching, DNS, forms with files. A fifth of all that is bundled.
const leftOut = ['cacheable-lookup', 'cacheable-request', 'form-data-encoder', 'http2-wrapper'];

const nothing = `
  class LeftOut { constructor() { throw new Error('express-sealed-session bundles got without this part of it.'); } }
  export default LeftOut;
  export { LeftOut as CacheError, LeftOut as FormDataEncoder };
  export const isFormData = () => false;
`;

// A path of this repository, and not the name of a package.
const isOwn = (id) => id.startsWith('.') || path.isAbsolute(id);

/**
 * Bundles the compiled modules twice. For `import` every package stays a dependency. For `require()` those that are ES
 * modules alone are bundled as well: Jest, for one, can neither require nor import them.
 *
 * @param {string} dist
 * @param {readonly string[]} entries
 * @param {readonly string[]} external the dependencies that can be required
 */
export async function buildBundles(dist, entries, external) {
  const inputOf = (names) =>
    Object.fromEntries(names.map((name) => [path.basename(name), path.join(dist, `${name}.js`)]));
  const modules = await rolldown({
    // The command line is a program of its own, so nobody requires it.
    input: inputOf([...entries, 'cli/main']),
    platform: 'node',
    external: (id) => !isOwn(id),
  });
  await modules.write({
    dir: path.join(dist, 'esm'),
    format: 'es',
    entryFileNames: '[name].js',
    chunkFileNames: '[name].js',
    comments: false,
  });

  const required = await rolldown({
    input: inputOf(entries),
    platform: 'node',
    external: [/^node:/, ...external],
    plugins: [
      {
        name: 'left-out',
        resolveId: (id) => (leftOut.includes(id) ? `\0${id}` : undefined),
        load: (id) => (leftOut.includes(id.slice(1)) ? nothing : undefined),
      },
    ],
  });
  const { output } = await required.write({
    dir: path.join(dist, 'cjs'),
    format: 'cjs',
    entryFileNames: '[name].cjs',
    chunkFileNames: '[name].cjs',
    // In CommonJS of Jest there is no `import()`.
    dynamicImportInCjs: false,
    comments: false,
    minify: true,
  });
  const folders = output
    .flatMap((each) => Object.keys(each.modules ?? {}))
    .flatMap((file) => packageFolder(file) ?? []);
  writeFileSync(path.join(dist, 'cjs/LICENSES.txt'), licensesOf([...new Set(folders)].sort()));
}

function packageFolder(file) {
  const [, folder] = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(file) ?? [];
  return folder;
}

/** The licences of what is bundled, which ask to be handed on. */
function licensesOf(folders) {
  const parts = folders.map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
    const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
    const text =
      file && existsSync(path.join(folder, file)) ? readFileSync(path.join(folder, file), 'utf8').trim() : license;
    return { title: `${name} ${version}`, text };
  });
  const texts = [...new Set(parts.map(({ text }) => text))];
  return texts
    .map(
      (text) =>
        `${parts
          .filter((each) => each.text === text)
          .map(({ title }) => title)
          .join('\n')}\n\n${text}\n`,
    )
    .join(`\n${'-'.repeat(80)}\n\n`);
}
