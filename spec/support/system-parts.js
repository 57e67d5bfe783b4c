/**
 * The programs some specs need besides npm packages. `npm test` brings them where it can:
 * `node spec/support/system-parts.js --install`. In CI a missing one is a failure; elsewhere its specs are skipped.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const parts = {
  chromium: { command: 'chromium', fallback: '/usr/bin/chromium', debianPackage: 'chromium' },
  redis: { command: 'redis-server', fallback: undefined, debianPackage: 'redis-server' },
};

const inCi = process.env.CI === 'true';

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
        throw new Error(missing(part));
      });
    });
  } else {
    describe.skip(`${name} (skipped: ${installCommand(part)})`, fn);
  }
}

function installCommand(part) {
  return `apt-get install ${parts[part].debianPackage}`;
}

function missing(part) {
  return `${part} is missing: ${installCommand(part)}`;
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

/** What to put before a command so that it runs as root without a question; undefined where that cannot be. */
function asRoot() {
  if (process.platform !== 'linux' || !existsSync('/etc/debian_version') || !onPath('apt-get')) return undefined;
  if (process.getuid() === 0) return [];
  return spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0 ? ['sudo', '-n'] : undefined;
}

function install(wanted) {
  const prefix = asRoot();
  if (!prefix) return;
  const packages = wanted.map((part) => parts[part].debianPackage);
  const apt = (...args) => {
    const [command, ...rest] = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-qq', ...args];
    return spawnSync(command, rest, { stdio: 'ignore' }).status === 0;
  };
  if (apt('update')) apt('install', '-y', '--no-install-recommends', ...packages);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const isMissing = (part) => !partPath(part);
  if (process.argv.includes('--install') && Object.keys(parts).some(isMissing)) {
    install(Object.keys(parts).filter(isMissing));
  }
  const left = Object.keys(parts).filter(isMissing);
  for (const part of left) console.log(missing(part));
  if (inCi && left.length > 0) process.exitCode = 1;
}
