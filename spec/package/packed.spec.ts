import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { minify } from '@swc/core';
import ts from 'typescript';

import { version } from '../../lib/process-wide.js';
import { cookieHeader, expired, password, sealedSession, sessionCookieOf } from '../support/workos-session.js';
import { startWorkosServer, type WorkosServer } from '../support/workos-server.js';

interface Manifest {
  name: string;
  version: string;
  exports: Record<string, unknown>;
  bin: Record<string, string>;
  dependencies: Record<string, string>;
  scripts: Record<string, string>;
}

const repository = path.resolve(import.meta.dirname, '../..');
const manifest = JSON.parse(readFileSync(path.join(repository, 'package.json'), 'utf8')) as Manifest;
const entries = Object.keys(manifest.exports).map((entry) => manifest.name + entry.slice(1));

let temporary: string;
let consumer: string;
let packed: string[];
let packedBytes: number;

// What is published is packed, and unpacked where an app would have it. Beside it are the packages that it declares as
// dependencies and nothing else of this repository, so that one that is not declared is missed.
beforeAll(() => {
  if (!existsSync(path.join(repository, 'dist/index.js'))) throw new Error('There is no dist/. Run: npm run build');
  temporary = mkdtempSync(path.join(tmpdir(), 'packed-'));
  consumer = path.join(temporary, 'consumer');
  const installed = path.join(consumer, 'node_modules', manifest.name);
  mkdirSync(installed, { recursive: true });

  const [pack] = JSON.parse(
    run('npm', ['pack', '--json', '--ignore-scripts', '--offline', '--pack-destination', temporary], repository),
  ) as { filename: string; size: number; files: { path: string }[] }[];
  packed = pack!.files.map((file) => file.path);
  packedBytes = pack!.size;
  run('tar', ['-xzf', path.join(temporary, pack!.filename), '-C', installed, '--strip-components', '1'], temporary);

  for (const name of [...Object.keys(manifest.dependencies), 'express', 'express4']) {
    const link = path.join(consumer, 'node_modules', name);
    mkdirSync(path.dirname(link), { recursive: true });
    symlinkSync(path.join(repository, 'node_modules', name), link, 'dir');
  }
}, 60_000);

afterAll(() => {
  rmSync(temporary, { recursive: true, force: true });
});

const isTypes = (file: string) => /\.d\.c?ts$/.test(file);

describe('tarball', () => {
  it('holds both builds, types, and what a reader needs', () => {
    const sources = readdirSync(path.join(repository, 'lib'), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => file.slice(0, -'.ts'.length).replaceAll(path.sep, '/'));
    const [types, files] = [packed.filter(isTypes), packed.filter((file) => !isTypes(file))];
    const isBuilt = (file: string) => /^dist\/(cjs\/[\w-]+\.cjs|esm\/[\w-]+\.js)$/.test(file);
    expect(files.filter((file) => !isBuilt(file)).sort()).toEqual(
      [
        'LICENSE',
        'docs/reference/errors.md',
        'docs/reference/events.md',
        'docs/reference/reasons.md',
        'README.md',
        'package.json',
        'dist/cjs/LICENSES.txt',
      ].sort(),
    );
    // Only the types that an app can reach.
    expect(types.filter((file) => !sources.includes(file.replace(/^dist\/|\.d\.c?ts$/g, '')))).toEqual([]);
    expect(types).not.toContain('dist/lifecycle.d.ts');
  });

  it('is no larger than both builds need to be', () => {
    // In kilobytes of 1,000 bytes, as npm counts them.
    expect(packedBytes).toBeLessThanOrEqual(280_000);
  });

  it('bundles what only exists as ES modules, with the licence of each, and nothing else', () => {
    const bundled = readFileSync(path.join(repository, 'dist/cjs/LICENSES.txt'), 'utf8');
    const names = [...bundled.matchAll(/^(\S+) \d+\.\d+\.\d+\S*$/gm)].map(([, name]) => name);
    expect(names).toEqual(expect.arrayContaining(['got', 'jose', 'oauth4webapi']));
    expect(
      names.filter((name) => ['cookie-parser', 'iron-session', 'lru-cache', 'on-headers'].includes(name!)),
    ).toEqual([]);
    expect(bundled.match(/copyright/gi)!.length).toBeGreaterThanOrEqual(5);
  });

  it('has every file that "exports" names', () => {
    const targets = [
      ...new Set(JSON.stringify(manifest.exports).match(/\.\/[^"]+\.(?:js|cjs|d\.ts|d\.cts|json)(?=")/g)),
    ];
    expect(targets.length).toBe(4 * entries.length - 3);
    expect(packed).toEqual(expect.arrayContaining(targets.map((target) => target.replace('./', ''))));
  });

  it('runs nothing when it is installed', () => {
    const hooks = ['preinstall', 'install', 'postinstall', 'prepublish', 'prepare'];
    expect(Object.keys(manifest.scripts).filter((script) => hooks.includes(script))).toEqual([]);
  });
});

it('has a command line, which finds its reference', () => {
  const bin = path.join(consumer, 'node_modules', manifest.name, manifest.bin[manifest.name]!);
  expect(run(process.execPath, [bin, 'generate-password'], consumer).trim()).toMatch(/^[\w-]{43}$/);
  expect(JSON.parse(run(process.execPath, [bin, 'explain', 'invalid_grant'], consumer))).toMatchObject([
    { name: 'invalid_grant', kind: 'Reasons' },
  ]);
});

describe('package entries', () => {
  const inner = ['dist/esm/index.js', 'dist/lifecycle.js', 'dist/index', 'lib/index.ts', 'README.md'];
  const json = (entry: string) => entry.endsWith('.json');

  it('are the documented ones', () => {
    const parts = ['', '/redis', '/testing', '/augment', '/package.json'];
    expect(entries).toEqual(parts.map((part) => manifest.name + part));
  });

  it.each(entries)('import %s', (entry) => {
    const attributes = json(entry) ? ", { with: { type: 'json' } }" : '';
    expect(script('mjs', `console.log(typeof (await import('${entry}'${attributes})));`)).toBe('object');
  });

  it.each(entries)('require %s', (entry) => {
    expect(script('cjs', `console.log(typeof require('${entry}'));`)).toBe('object');
  });

  it.each(inner)('do not include %s', (file) => {
    const printCode = '(error) => console.log(error.code)';
    expect(script('mjs', `import('${manifest.name}/${file}').catch(${printCode});`)).toBe(
      'ERR_PACKAGE_PATH_NOT_EXPORTED',
    );
  });

  const scripts = entries.filter((entry) => !json(entry));

  it.each(scripts)('give %s the names of its source', async (entry) => {
    const names = script('mjs', `console.log(JSON.stringify(Object.keys(await import('${entry}'))));`);
    const required = script('cjs', `console.log(JSON.stringify(Object.keys(require('${entry}'))));`);
    const source = path.join(repository, 'lib', `${entry.slice(manifest.name.length + 1) || 'index'}.ts`);
    const own = Object.keys((await import(source)) as object).sort();
    expect([names, required].map((each) => (JSON.parse(each) as string[]).sort())).toEqual([own, own]);
  });

  it('test a provider without this repository or a test runner', () => {
    const printed = script(
      'mjs',
      `
        import { workos } from '${manifest.name}';
        import { testProviderConformance } from '${manifest.name}/testing';
        const run = async (provider) => {
          const tests = [];
          testProviderConformance(provider, (name, test) => tests.push({ name, test }));
          const failed = [];
          for (const { name, test } of tests) await test().catch(() => failed.push(name));
          return { any: tests.length > 0, failed };
        };
        const good = workos({ clientId: 'id', apiKey: 'key' });
        const bad = { ...good, terminalReason: () => 'invalid_grant' };
        const [fine, ended] = [await run(good), await run(bad)];
        console.log(JSON.stringify([fine, ended.failed.length > 0]));
      `,
    );
    expect(JSON.parse(printed)).toEqual([{ any: true, failed: [] }, true]);
  });
});

describe('both builds in one process', () => {
  const load = (entry = '') => `
    const sealed = require('${manifest.name}${entry}');
    const both = [await import('${manifest.name}${entry}'), sealed];
  `;
  const run = (text: string) => JSON.parse(script('cjs', `(async () => { ${text} })()`)) as unknown;

  it('are two builds of one version', () => {
    const printed = run(`${load()} console.log(JSON.stringify([
      both[0].withSession === both[1].withSession,
      Object.getOwnPropertySymbols(globalThis).map(String).filter((name) => name.includes('express-sealed-session')),
    ]))`);
    expect(printed).toEqual([false, [`Symbol(express-sealed-session ${manifest.version})`]]);
    expect(version).toBe(manifest.version);
  });

  it('have one session on a request, one coordinator, one memory of endings and one set of emitters', () => {
    const printed = run(`${load()}
      const { testProvider, testSessions } = require('${manifest.name}/testing');
      const { createServer } = require('node:http');
      const told = [];
      const events = { refreshed: ({ source }) => told.push(source) };
      const provider = testProvider();
      const options = { provider, password: 'one password of 32 characters, or more', events };
      const [imported, required] = both.map(({ withSession }) => withSession(options));
      // Without \`testSessions\`, which would give each a fleet of its own.
      const issuing = testSessions(both[0].createSessionManager(options));
      const cookie = '__Host-session=' + (await issuing.seal({ expiresIn: 0 }));
      const serve = (first, second) => new Promise((resolve) => {
        const server = createServer((req, res) => first(req, res, () => second(req, res, () => {
          const session = both[1].getSession(req);
          const same = [imported.get(req), required.get(req), both[0].getSession(req)].map((each) => each.authenticated);
          if (req.url === '/out') session.signOut().then(() => res.end());
          else res.end(JSON.stringify(same));
        })));
        server.listen(0, '127.0.0.1', () => resolve(server));
      });
      const servers = [await serve(imported, required), await serve(required, imported)];
      const ask = (server, path) => fetch('http://127.0.0.1:' + server.address().port + path, { headers: { cookie } });
      const answers = await Promise.all(servers.map((server) => ask(server, '/')).map(async (each) => (await each).json()));
      await (await ask(servers[0], '/out')).text();
      const after = await (await ask(servers[1], '/')).json();
      console.log(JSON.stringify({ answers, after, refreshes: provider.refreshes, told: told.filter((source) => source !== 'remembered').sort() }));
      for (const server of servers) server.close();
    `);
    expect(printed).toEqual({
      answers: [
        [true, true, true],
        [true, true, true],
      ],
      after: [false, false, false],
      refreshes: 1,
      told: ['joined', 'leader'],
    });
  });

  it('are taken over by the tests of either', () => {
    const printed = run(`${load()}
      const tests = [await import('${manifest.name}/testing'), require('${manifest.name}/testing')];
      const results = [];
      for (const { withSession, workos } of both) for (const { testSessions } of tests) {
        const provider = workos({ clientId: 'client', apiKey: 'key', baseUrl: 'https://id.invalid' });
        const sessions = withSession({ provider, password: 'one password of 32 characters, or more' });
        const test = testSessions(sessions);
        const result = await sessions.load(await test.seal({ expiresIn: 0 })).refresh();
        results.push(result.authenticated === true && test.provider.refreshes === 1);
        test.restore();
      }
      console.log(JSON.stringify(results));
    `);
    expect(printed).toEqual([true, true, true, true]);
  });
});

describe('errors in minified code', () => {
  // What `new` takes: enough for an instance of each class.
  const inputs: Record<string, unknown[]> = {
    SessionConfigError: [[{ path: 'password', message: 'must be given.' }]],
    SessionRequiredError: ['expired_jwt'],
    SessionForbiddenError: ['roles'],
    SessionCrossOriginError: [],
    SessionStepUpError: ['acr'],
    SessionUnavailableError: ['timeout'],
    SessionSignInError: ['flow_missing'],
    SessionUseError: ['ERR_SESSION_HEADERS_SENT', 'The headers are sent.'],
  };

  it('keep their names', async () => {
    const file = path.join(repository, 'dist/errors.js');
    // As a bundler has them: the classes are not exported where they are declared, so they can be renamed.
    const { outputText } = ts.transpileModule(readFileSync(file, 'utf8'), {
      compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 },
    });
    const { code } = await minify(outputText, { compress: true, mangle: { toplevel: true } });
    const printed = script(
      'cjs',
      `
        ${code}
        const inputs = ${JSON.stringify(inputs)};
        const classes = Object.entries(exports).filter(([name]) => /^Session\\w+Error$/.test(name));
        const rows = classes.map(([name, Class]) => {
          const error = new Class(...(inputs[name] ?? []));
          return { name, shown: error.name, title: String(error).split(':')[0], isRenamed: Class.name !== name };
        });
        console.log(JSON.stringify(rows));
      `,
    );
    expect(JSON.parse(printed)).toEqual(
      Object.keys(inputs).map((name) => ({ name, shown: name, title: name, isRenamed: true })),
    );
  });
});

describe('installed package', () => {
  let workos: WorkosServer;
  beforeAll(async () => {
    workos = await startWorkosServer();
  });
  afterAll(() => workos.close());

  const load = {
    mjs: (names: string, from: string) => `import ${names} from '${from}';`,
    cjs: (names: string, from: string) => `const ${names} = require('${from}');`,
  };

  it.each([
    { framework: 'express', module: 'mjs' },
    { framework: 'express', module: 'cjs' },
    { framework: 'express4', module: 'mjs' },
    { framework: 'express4', module: 'cjs' },
  ] as const)(
    'refreshes a session in an $module app on $framework',
    async ({ framework, module }) => {
      const app = await start(
        module,
        `
          ${load[module]('express', framework)}
          ${load[module]('{ withSession, workos }', manifest.name)}

          const { clientId, apiKey, baseUrl, password } = JSON.parse(process.env.OPTIONS);
          const app = express();
          const sessions = withSession({ provider: workos({ clientId, apiKey, baseUrl }), password });
          app.use(sessions);
          app.get('/account', sessions.require(), (req, res) => {
            const { user, refreshed } = sessions.signedIn(req);
            res.json({ id: user.id, refreshed, same: req.session === sessions.get(req) });
          });
          const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port));
        `,
        { clientId: workos.clientId, apiKey: workos.apiKey, baseUrl: workos.url, password },
      );
      try {
        const { sealed } = await sealedSession(workos, expired);
        const response = await fetch(`${app.url}/account`, cookieHeader(sealed));
        expect(await response.json()).toEqual({ id: 'user_01', refreshed: true, same: true });
        expect(sessionCookieOf(response.headers.getSetCookie())).toMatch(/^Fe26\.2/);

        expect((await fetch(`${app.url}/account`)).status).toBe(401);
      } finally {
        app.stop();
      }
    },
    30_000,
  );
});

function run(command: string, args: string[], cwd: string): string {
  return execFileSync(command, args, { cwd, encoding: 'utf8', env: environment(), stdio: ['ignore', 'pipe', 'pipe'] });
}

/** This process's, without what is meant for its own Node. */
function environment(): NodeJS.ProcessEnv {
  return { ...process.env, NODE_OPTIONS: '' };
}

function write(extension: string, text: string): string {
  const file = path.join(mkdtempSync(path.join(consumer, 'app-')), `app.${extension}`);
  writeFileSync(file, text);
  return file;
}

/** Runs a script of the consumer's; what it prints. */
function script(extension: 'mjs' | 'cjs', text: string): string {
  return run(process.execPath, [write(extension, text)], consumer).trim();
}

/** Starts an app of the consumer's that prints its port. */
async function start(extension: 'mjs' | 'cjs', text: string, options: Record<string, string>) {
  const child = spawn(process.execPath, [write(extension, text)], {
    cwd: consumer,
    env: { ...environment(), OPTIONS: JSON.stringify(options) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let complaint = '';
  child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
  const port = once(createInterface(child.stdout), 'line').then(([line]) => String(line));
  const end = once(child, 'close').then(() => {
    throw new Error(`The app has ended before it listened:\n${complaint}`);
  });
  // Once the app listens, its end is what is wanted.
  end.catch(() => undefined);
  return { url: `http://127.0.0.1:${await Promise.race([port, end])}`, stop: () => child.kill() };
}
