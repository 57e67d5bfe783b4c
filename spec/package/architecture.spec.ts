import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { describe, expect, it } from '@jest/globals';

/**
 * The house, from top to bottom, as `docs/architecture.md` draws it. A file imports from its own level and from those
 * below, never from above, and never in a circle. A name that ends in a slash stands for the whole directory.
 */
const levels: readonly (readonly string[])[] = [
  ['cli/'],
  ['index.ts', 'redis.ts', 'testing.ts', 'augment.ts'],
  ['with-session.ts', 'require-session.ts', 'session-manager.ts'],
  ['routes/', 'testing/'],
  ['request/', 'loaded-session.ts', 'bind-device.ts'],
  ['replaceable.ts'],
  ['lifecycle.ts', 'ending.ts', 'replay.ts', 'reports.ts', 'over.ts', 'revocation.ts', 'revoke.ts'],
  ['rules/'],
  ['options/'],
  // What handlers see of a session: types alone.
  ['request/session.ts'],
  ['fleet/'],
  ['refresh/'],
  ['token/'],
  ['provider/'],
  // What tokens are made of, without a provider.
  [
    'token/id-token.ts',
    'token/logout-token.ts',
    'token/provider-token.ts',
    'token/key-set.ts',
    'token/rs256.ts',
    'token/jws-parts.ts',
    'token/any-key.ts',
    'token/issuer.ts',
  ],
  ['wire/'],
  ['seal/'],
  ['http/'],
  ['session/'],
  ['emitter.ts', 'action-options.ts'],
  ['checks.ts', 'events.ts', 'errors.ts', 'event-limits.ts', 'debug.ts'],
  [
    'fingerprint.ts',
    'session/reasons.ts',
    'session/sign-in-check.ts',
    'session/ended.ts',
    'session/notice-check.ts',
    'json.ts',
    'monotonic.ts',
    'awaitable.ts',
    'process-wide.ts',
  ],
];

/** The public files: they are roofs, and no file stands on them but those that only export names. */
const roofs = ['with-session.ts', 'require-session.ts', 'session-manager.ts'];
const exportsOnly = ['index.ts', 'redis.ts', 'testing.ts', 'augment.ts'];

/** What the order alone would allow. */
const strangers: readonly { from: string; to: readonly string[] }[] = [
  { from: 'http/', to: ['session/', 'seal/', 'token/'] },
  { from: 'lifecycle.ts', to: ['http/'] },
  { from: 'ending.ts', to: ['http/'] },
];

/** The only places that know requests and responses. The provider of a test is a server. */
const withHttp = ['testing/', 'http/', 'request/', 'routes/', 'with-session.ts', 'require-session.ts', 'augment.ts'];
const withRequestInOptions = ['options/'];
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
/** A file's own name counts before that of its directory. */
const levelOf = (file: string) => {
  const named = levels.findIndex((names) => names.includes(file));
  return named === -1 ? levels.findIndex((names) => names.some((name) => covers(name, file))) : named;
};
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
    expect(importsOf('index.ts')).toEqual(expect.arrayContaining(['with-session.ts', 'seal/iron.ts', 'events.ts']));
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

  it('know requests and responses nowhere but in http/, request/, routes/ and the public files', () => {
    const knowing = files.filter((file) => requestWords.test(sources.get(file) ?? ''));
    expect(knowing.length).toBeGreaterThan(5);
    expect(knowing.filter((file) => !within([...withHttp, ...withRequestInOptions], file))).toEqual([]);
  });

  it('stand on no public file', () => {
    const standing = wrongImports((file, imported) => roofs.includes(imported) && !exportsOnly.includes(file));
    expect(standing).toEqual([]);
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
