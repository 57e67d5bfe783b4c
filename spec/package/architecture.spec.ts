import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { describe, expect, it } from '@jest/globals';

/**
 * The house, from top to bottom. A file imports from its own level and from those below, never from above, and never
 * in a circle. A name that ends in a slash stands for the whole directory.
 */
const levels: readonly (readonly string[])[] = [
  ['index.ts', 'redis.ts', 'testing.ts', 'augment.ts'],
  ['testing/'],
  ['routes/', 'request/', 'lifecycle.ts'],
  ['options/'],
  ['fleet/'],
  ['refresh/'],
  ['http/'],
  ['token/'],
  ['provider/'],
  ['wire/'],
  ['seal/'],
  ['session/', 'events.ts', 'checks.ts'],
  ['errors.ts', 'json.ts', 'awaitable.ts'],
];

/** What the order alone would allow. */
const strangers: readonly { from: string; to: readonly string[] }[] = [
  { from: 'http/', to: ['refresh/', 'token/', 'provider/', 'seal/'] },
];

/** These know no request. */
const withoutHttp = ['fleet/', 'refresh/', 'token/', 'provider/', 'seal/'];
const requestWords = /\b(IncomingMessage|ServerResponse|ClientRequest|RequestListener)\b/;

/** Signs that the prose may use; any other letter that is not ASCII could be taken for one that is. */
const foreignSigns = /[^\x00-\x7f→…]/u; // eslint-disable-line no-control-regex

const root = path.resolve(import.meta.dirname, '../../lib');
const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .map((file) => file.split(path.sep).join('/'))
  .filter((file) => file.endsWith('.ts'))
  .sort();
const sources = new Map(files.map((file) => [file, readFileSync(path.join(root, file), 'utf8')]));

/** The files of ours that a file imports, types included. */
function importsOf(file: string): string[] {
  const specifiers = (sources.get(file) ?? '').matchAll(
    /(?:\bfrom|\bimport|\bimport\()\s*['"](?<specifier>\.[^'"]+)['"]/g,
  );
  return [...specifiers].map(({ groups }) =>
    path.posix.join(path.posix.dirname(file), groups?.specifier ?? '').replace(/\.js$/, '.ts'),
  );
}

const covers = (name: string, file: string) => (name.endsWith('/') ? file.startsWith(name) : file === name);
const levelOf = (file: string) => levels.findIndex((names) => names.some((name) => covers(name, file)));
const within = (names: readonly string[], file: string) => names.some((name) => covers(name, file));

/** Every import that `isWrong`, as "file imports file". */
function wrongImports(isWrong: (file: string, imported: string) => boolean): string[] {
  return files.flatMap((file) =>
    importsOf(file)
      .filter((imported) => isWrong(file, imported))
      .map((imported) => `${file} imports ${imported}`),
  );
}

/** The first circle that is found, as a chain of files. */
function findCircle(): string[] {
  const done = new Set<string>();
  const visit = (file: string, trail: readonly string[]): string[] => {
    if (trail.includes(file)) return [...trail.slice(trail.indexOf(file)), file];
    if (done.has(file)) return [];
    for (const imported of importsOf(file)) {
      const circle = visit(imported, [...trail, file]);
      if (circle.length > 0) return circle;
    }
    done.add(file);
    return [];
  };
  for (const file of files) {
    const circle = visit(file, []);
    if (circle.length > 0) return circle;
  }
  return [];
}

describe('the sources', () => {
  it('are all read, and so are their imports', () => {
    expect(files).toEqual(expect.arrayContaining(['index.ts', 'request/visit.ts', 'seal/iron.ts']));
    expect(importsOf('index.ts')).toEqual(expect.arrayContaining(['request/visit.ts', 'seal/iron.ts', 'events.ts']));
    expect(importsOf('seal/iron.ts')).toEqual(['json.ts', 'seal/passwords.ts', 'seal/sealer.ts']);
    expect(wrongImports((_, imported) => !sources.has(imported))).toEqual([]);
  });

  it('each have a place in the house', () => {
    expect(files.filter((file) => levelOf(file) === -1)).toEqual([]);
  });

  it('import from their own level and from below', () => {
    expect(wrongImports((file, imported) => levelOf(imported) < levelOf(file))).toEqual([]);
  });

  it.each(strangers)('keep $from apart from $to', ({ from, to }) => {
    expect(wrongImports((file, imported) => covers(from, file) && within(to, imported))).toEqual([]);
  });

  it('never import in a circle, types included', () => {
    expect(findCircle()).toEqual([]);
  });

  it.each(withoutHttp)('know no request in %s', (directory) => {
    const own = files.filter((file) => covers(directory, file));
    expect(own.length).toBeGreaterThan(0);
    expect(own.filter((file) => requestWords.test(sources.get(file) ?? ''))).toEqual([]);
  });

  it('hold no letter that looks like another', () => {
    const found = files.flatMap((file) =>
      (sources.get(file) ?? '')
        .split('\n')
        .flatMap((line, index) => (foreignSigns.test(line) ? [`${file}:${index + 1}`] : [])),
    );
    expect(found).toEqual([]);
  });
});
