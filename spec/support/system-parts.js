/**
 * The programs that some specs need besides npm packages. `npm test` runs this file first. On a terminal it asks before
 * it installs anything. In CI, and for root without a terminal (a container), it installs and says so. Everywhere else
 * it names the specs that will be skipped, and the command that would bring them back.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';

const parts = {
  chromium: { command: 'chromium', fallback: '/usr/bin/chromium', debianPackage: 'chromium' },
  redis: { command: 'redis-server', fallback: undefined, debianPackage: 'redis-server' },
  // Debian puts it where only root's PATH leads.
  nginx: { command: 'nginx', fallback: '/usr/sbin/nginx', debianPackage: 'nginx' },
};

const inCi = process.env.CI === 'true';

/**
 * What to do about missing parts. A person at a terminal decides; a build server and a container have nobody to ask.
 *
 * @param {{ isTTY: boolean, uid: number | undefined, ci: boolean, missing: readonly string[] }} situation
 * @returns {'nothing' | 'ask' | 'install' | 'skip'}
 */
export function whatToDo({ isTTY, uid, ci, missing }) {
  if (missing.length === 0) return 'nothing';
  if (ci) return 'install';
  if (isTTY) return 'ask';
  return uid === 0 ? 'install' : 'skip';
}

export function partPath(name) {
  const { command, fallback } = parts[name];
  return onPath(command) ?? (isExecutable(fallback) ? fallback : undefined);
}

export function describeWithPart(part, name, fn) {
  const { describe, it } = globalThis;
  if (partPath(part)) {
    describe(name, fn);
  } else if (inCi) {
    describe(name, () => {
      it(`needs ${part}`, () => {
        throw new Error(`${part} is missing: ${installCommand([part])}`);
      });
    });
  } else {
    describe.skip(`${name} (skipped: ${installCommand([part])})`, fn);
  }
}

export function installCommand(wanted) {
  return `sudo apt-get install ${packagesOf(wanted).join(' ')}`;
}

const packagesOf = (wanted) => wanted.map((part) => parts[part].debianPackage);

/** The spec files that have a `describeWithPart` for one of these parts. */
export function specsWith(wanted) {
  const folder = fileURLToPath(new URL('..', import.meta.url));
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.spec.ts'))
    .filter((file) => {
      const text = readFileSync(path.join(folder, file), 'utf8');
      return wanted.some((part) => text.includes(`describeWithPart('${part}'`));
    })
    .map((file) => path.posix.join('spec', ...file.split(path.sep)))
    .sort();
}

function onPath(command) {
  return (process.env.PATH ?? '')
    .split(path.delimiter)
    .filter(Boolean)
    .map((directory) => path.join(directory, command))
    .find(isExecutable);
}

function isExecutable(file) {
  if (!file) return false;
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

const hasApt = () => process.platform === 'linux' && existsSync('/etc/debian_version') && Boolean(onPath('apt-get'));

/** Without a terminal, sudo must not wait for a password that nobody types. */
function install(wanted, { isTTY }) {
  const prefix = process.getuid() === 0 ? [] : isTTY ? ['sudo'] : ['sudo', '-n'];
  const apt = (...args) => {
    const [command, ...rest] = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-qq', ...args];
    return spawnSync(command, rest, { stdio: ['inherit', 'ignore', 'inherit'] }).status === 0;
  };
  console.log(`Installing ${packagesOf(wanted).join(' and ')} with apt-get, for the specs that need them.`);
  if (apt('update')) apt('install', '-y', '--no-install-recommends', ...packagesOf(wanted));
}

async function asksFor(wanted) {
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  const answer = await terminal.question(
    `Some specs need ${packagesOf(wanted).join(' and ')}. Install with apt-get? (y/N) `,
  );
  terminal.close();
  return /^y(es)?$/i.test(answer.trim());
}

async function main() {
  const missing = () => Object.keys(parts).filter((part) => !partPath(part));
  const wanted = missing();
  const isTTY = Boolean(process.stdin.isTTY && process.stdout.isTTY);
  const found = whatToDo({ isTTY, uid: process.getuid?.(), ci: inCi, missing: wanted });
  const agreed = hasApt() && (found === 'install' || (found === 'ask' && (await asksFor(wanted))));
  if (agreed) install(wanted, { isTTY });

  const left = missing();
  if (left.length === 0) return;
  const fate = inCi ? 'will fail' : 'will be skipped';
  console.log(`${packagesOf(left).join(' and ')} not found. These specs ${fate}:`);
  for (const file of specsWith(left)) console.log(`  ${file}`);
  console.log(`They run after: ${installCommand(left)}`);
  if (inCi) process.exitCode = 1;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await main();
