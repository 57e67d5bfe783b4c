import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { rolldown } from 'rolldown';

// Parts of got for jobs that are never asked of it here: HTTP/2, caching, DNS. A fifth of all that is bundled.
const leftOut = ['cacheable-lookup', 'cacheable-request', 'http2-wrapper'];

const nothing = `
  class LeftOut { constructor() { throw new Error('express-sealed-session bundles got without this part of it.'); } }
  export default LeftOut;
  export { LeftOut as CacheError };
`;

/**
 * Bundles the compiled modules for `require()`. What is an ES module alone is bundled with them: Jest, for one, can neither
 * require nor import it. All else stays a dependency, so that an app has it once and updates it.
 *
 * @param {string} dist
 * @param {readonly string[]} entries
 * @param {readonly string[]} external the dependencies that can be required
 */
export async function buildCommonJs(dist, entries, external) {
  const bundle = await rolldown({
    input: Object.fromEntries(entries.map((entry) => [entry, path.join(dist, `${entry}.js`)])),
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
  const { output } = await bundle.write({
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
