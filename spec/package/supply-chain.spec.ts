import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import path from 'node:path';

import { describe, expect, it } from '@jest/globals';
import typescript from 'typescript';

const root = path.resolve(import.meta.dirname, '../..');
const read = (file: string) => readFileSync(path.join(root, file), 'utf8');
const filesBelow = (directory: string) =>
  readdirSync(path.join(root, directory), { recursive: true, encoding: 'utf8', withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)));

interface Manifest {
  scripts?: Record<string, string>;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  bundleDependencies?: unknown;
  bundledDependencies?: unknown;
  overrides?: unknown;
  gypfile?: unknown;
}

interface LockedPackage extends Manifest {
  version?: string;
  resolved?: string;
  integrity?: string;
  link?: boolean;
  dev?: boolean;
  devOptional?: boolean;
  hasInstallScript?: boolean;
  inBundle?: boolean;
  peerDependencies?: Record<string, string>;
  peerDependenciesMeta?: Record<string, { optional?: boolean }>;
}

const manifest = JSON.parse(read('package.json')) as Manifest;
const { packages, lockfileVersion } = JSON.parse(read('package-lock.json')) as {
  packages: Record<string, LockedPackage>;
  lockfileVersion: number;
};

/** Where the lockfile has a package that the one at `from` asks for: looked up as Node does, from the inside out. */
function placeOf(from: string, name: string): string | undefined {
  for (let at = from; ; at = at.slice(0, Math.max(at.lastIndexOf('node_modules/') - 1, 0))) {
    const place = `${at}${at === '' ? '' : '/'}node_modules/${name}`;
    if (packages[place]) return place;
    if (at === '') return undefined;
  }
}

/** Every package that is installed with this one. */
function runtimeTree(): Map<string, LockedPackage> {
  const tree = new Map<string, LockedPackage>();
  const add = (from: string, name: string): void => {
    const place = placeOf(from, name);
    const locked = place === undefined ? undefined : packages[place];
    if (place === undefined || !locked) throw new Error(`${name}, which ${from} needs, is not in the lockfile.`);
    if (tree.has(place)) return;
    tree.set(place, locked);
    for (const dependency of demandsOf(locked)) add(place, dependency);
  };
  for (const name of Object.keys(manifest.dependencies ?? {})) add('', name);
  return tree;
}

function demandsOf({ dependencies = {}, peerDependencies = {}, peerDependenciesMeta = {} }: LockedPackage): string[] {
  const peers = Object.keys(peerDependencies).filter((name) => peerDependenciesMeta[name]?.optional !== true);
  return [...Object.keys(dependencies), ...peers];
}

const tree = runtimeTree();

describe('package.json', () => {
  it('runs nothing when the package is installed, also from its repository', () => {
    const atInstall = ['preinstall', 'install', 'postinstall', 'preprepare', 'prepare', 'postprepare', 'dependencies'];
    expect(Object.keys(manifest.scripts ?? {}).filter((name) => atInstall.includes(name))).toEqual([]);
    // npm would build it without being told to.
    expect([existsSync(path.join(root, 'binding.gyp')), manifest.gypfile]).toEqual([false, undefined]);
  });

  it('has these dependencies and no other', () => {
    expect(Object.keys(manifest.dependencies ?? {}).sort()).toEqual([
      'cookie-parser',
      'got',
      'iron-session',
      'jose',
      'lru-cache',
      'oauth4webapi',
      'on-headers',
    ]);
    const { optionalDependencies, bundleDependencies, bundledDependencies, overrides } = manifest;
    expect([optionalDependencies, bundleDependencies, bundledDependencies, overrides]).toEqual(
      Array.from({ length: 4 }),
    );
  });

  it('asks for each by version, from a registry', () => {
    const versions = Object.values(manifest.dependencies ?? {});
    expect(versions.filter((version) => !/^[\^~]?\d+\.\d+\.\d+$/.test(version))).toEqual([]);
  });
});

describe('the lockfile', () => {
  it('is that of this package.json', () => {
    expect(lockfileVersion).toBe(3);
    expect(packages['']?.dependencies).toEqual(manifest.dependencies);
  });

  it('holds every package that another one names, those for other platforms too: npm ci refuses it otherwise', () => {
    const missing = Object.entries(packages).flatMap(([place, locked]) =>
      [...demandsOf(locked), ...Object.keys(locked.optionalDependencies ?? {})]
        .filter((name) => placeOf(place, name) === undefined)
        .map((name) => `${place} needs ${name}`),
    );
    expect(missing).toEqual([]);
  });

  it('takes every package from a registry, by a tarball of that package, or says nothing of where', () => {
    const others = Object.entries(packages).filter(([place, { resolved, link }]) => {
      if (place === '' || link === true) return link === true;
      const name = place.slice(place.lastIndexOf('node_modules/') + 'node_modules/'.length);
      return resolved !== undefined && !isRegistryTarball(resolved, packages[place] as { name?: string }, name);
    });
    expect(others.map(([place]) => place)).toEqual([]);
  });

  it('knows the contents of every package', () => {
    const unknown = Object.entries(packages).filter(([place, { integrity }]) => place !== '' && !integrity);
    expect(unknown.map(([place]) => place)).toEqual([]);
    const weak = Object.values(packages).filter(({ integrity }) => integrity && !integrity.startsWith('sha512-'));
    expect(weak.map(({ version }) => version)).toEqual([]);
  });
});

function isRegistryTarball(resolved: string, { name }: { name?: string }, installedAs: string): boolean {
  if (!URL.canParse(resolved)) return false;
  const { protocol, pathname } = new URL(resolved);
  // An alias is installed under another name than its own.
  const own = name ?? installedAs;
  return protocol === 'https:' && pathname.endsWith('.tgz') && pathname.includes(`/${own}/-/${own.split('/').pop()!}-`);
}

describe('what is installed with the package', () => {
  it('is more than its own dependencies, and is known to npm as such', () => {
    expect(tree.size).toBeGreaterThan(Object.keys(manifest.dependencies ?? {}).length);
    const development = [...tree].filter(([, { dev, devOptional }]) => (dev ?? false) || (devOptional ?? false));
    expect(development.map(([place]) => place)).toEqual([]);
    const beside = Object.entries(packages).filter(
      ([place, { dev, devOptional, link }]) => place !== '' && !dev && !devOptional && !link && !tree.has(place),
    );
    expect(beside.map(([place]) => place)).toEqual([]);
  });

  it('runs nothing when it is installed', () => {
    const running = [...tree].filter(([, { hasInstallScript }]) => hasInstallScript);
    expect(running.map(([place]) => place)).toEqual([]);
    // The lockfile is what npm believed when it was written; this is what lies there now.
    const scripts = [...tree.keys()].flatMap((place) => {
      const installed = JSON.parse(read(`${place}/package.json`)) as Manifest;
      const names = Object.keys(installed.scripts ?? {}).filter((name) => /^(pre|post)?install$/.test(name));
      return [...names, ...(existsSync(path.join(root, place, 'binding.gyp')) ? ['binding.gyp'] : [])].map(
        (name) => `${place}: ${name}`,
      );
    });
    expect(scripts).toEqual([]);
  });

  it('carries nothing along in a bundle', () => {
    expect([...tree].filter(([, { inBundle }]) => inBundle).map(([place]) => place)).toEqual([]);
  });
});

const workflows = filesBelow('.github/workflows');

/** What the gate and the workflows run, line by line. */
const commands = [...filesBelow('.ci'), ...workflows]
  .flatMap((file) => read(file).split('\n'))
  .map((line) => line.replace(/^\s*(?:- )?(?:run: )?/, ''));

describe('the check before a change lands', () => {
  it('installs what is locked, and runs nothing of it', () => {
    const installs = commands.filter((line) => /^(npm|npx|pnpm|yarn)\s+(ci|i|install|add|exec)\b/.test(line));
    expect(installs.length).toBeGreaterThan(1);
    expect(installs.filter((line) => !/^npm ci\b.* --ignore-scripts\b/.test(line))).toEqual([]);
  });

  it('runs scripts and files that exist', () => {
    const scripts = commands.flatMap((line) => /^npm (?:run )?((?!ci\b|publish\b)\S+)/.exec(line)?.[1] ?? []);
    expect(scripts).toEqual(expect.arrayContaining(['build', 'lint', 'test']));
    expect(scripts.filter((name) => manifest.scripts?.[name] === undefined)).toEqual([]);

    const files = commands.flatMap((line) => /^bash (\S+)/.exec(line)?.[1] ?? []);
    expect(files.length).toBeGreaterThan(0);
    expect(files.filter((file) => !existsSync(path.join(root, file)))).toEqual([]);
  });
});

describe.each(workflows)('the workflow %s', (file) => {
  const text = read(file);

  it('pins each action to a commit, with its version beside it', () => {
    // A tag can be moved to other code; a commit cannot.
    const used = [...text.matchAll(/\buses:\s*(.*)/g)].map(([, action = '']) => action);
    expect(used.length).toBeGreaterThan(0);
    expect(used.filter((action) => !/^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(action))).toEqual([]);
  });

  it('gives no job more than it needs', () => {
    // Whatever is not listed is denied; without this line it would be what the repository's settings say.
    expect(text).toMatch(/^permissions: \{\}$/m);
    expect(text).not.toMatch(/\bsecrets\.|write-all|pull_request_target/);
    const [, ...jobs] = text.split(/^ {2}(?=[\w-]+:$)/m);
    const writing = jobs.filter((job) => /^ +[\w-]+: write$/m.test(job)).map((job) => job.split(':', 1)[0]);
    expect(writing).toEqual(file.endsWith('/release.yml') ? ['publish'] : []);
    expect(text.match(/\S+: write$/gm) ?? []).toEqual(writing.map(() => 'id-token: write'));
  });
});

describe('a release', () => {
  it('comes from the repository that package.json names, or npm refuses its provenance', () => {
    const { repository, homepage, bugs } = JSON.parse(read('package.json')) as Record<string, unknown>;
    const url = 'https://github.com/express-sealed-session/express-sealed-session';
    expect([repository, homepage, bugs]).toEqual([
      { type: 'git', url: `git+${url}.git` },
      url,
      { url: `${url}/issues` },
    ]);
    expect(commands).toContain('npm publish --ignore-scripts --provenance --access public');
  });
});

describe('lib/', () => {
  const sources = filesBelow('lib').filter((file) => file.endsWith('.ts'));
  const imports = sources.flatMap((file) =>
    typescript.preProcessFile(read(file), true, true).importedFiles.map(({ fileName }) => ({ file, name: fileName })),
  );
  const isForeign = ({ name }: { name: string }) => !name.startsWith('.');
  const packageOf = (name: string) =>
    name
      .split('/')
      .slice(0, name.startsWith('@') ? 2 : 1)
      .join('/');
  const declared = Object.keys(manifest.dependencies ?? {});

  it('imports what Node has under its full name, and declared dependencies', () => {
    expect(imports.length).toBeGreaterThan(50);
    const builtIn = new Set(builtinModules.map((name) => `node:${name}`));
    const others = imports.filter(
      (each) => isForeign(each) && !builtIn.has(each.name) && !declared.includes(packageOf(each.name)),
    );
    expect(others).toEqual([]);
  });

  it('uses every dependency that it declares', () => {
    const used = new Set(imports.filter(isForeign).map(({ name }) => packageOf(name)));
    expect(declared.filter((name) => !used.has(name))).toEqual([]);
  });

  it('makes no code of text, and starts no program', () => {
    const makers = ['eval', 'Function', 'node:vm', 'node:child_process', 'node:worker_threads'];
    const used = new Set(sources.flatMap((file) => [...namesIn(file)]));
    expect([...used]).toEqual(expect.arrayContaining(['node:crypto', 'Promise']));
    expect(makers.filter((name) => used.has(name))).toEqual([]);
  });
});

/** Every name and every text in the code of a file: what it calls and what it imports, and no comment. */
function namesIn(file: string): Set<string> {
  const names = new Set<string>();
  const visit = (node: typescript.Node): void => {
    if (typescript.isIdentifier(node) || typescript.isStringLiteral(node)) names.add(node.text);
    typescript.forEachChild(node, visit);
  };
  visit(typescript.createSourceFile(file, read(file), typescript.ScriptTarget.Latest));
  return names;
}
