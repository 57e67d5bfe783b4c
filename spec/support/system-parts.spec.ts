import { spawnSync } from 'node:child_process';
import path from 'node:path';

import { describe, expect, it } from '@jest/globals';

import { installCommand, type Part, specsWith, whatToDo } from './system-parts.js';

const root = path.resolve(import.meta.dirname, '../..');

describe('what npm test does about missing programs', () => {
  const missing: Part[] = ['redis'];
  const [user, rootUser] = [1000, 0];

  it.each([
    ['asks a person at a terminal', { isTTY: true, uid: user, ci: false, missing }, 'ask'],
    ['asks root at a terminal as well', { isTTY: true, uid: rootUser, ci: false, missing }, 'ask'],
    ['installs for root without a terminal', { isTTY: false, uid: rootUser, ci: false, missing }, 'install'],
    ['installs in CI', { isTTY: false, uid: user, ci: true, missing }, 'install'],
    ['installs in CI, even with a terminal', { isTTY: true, uid: user, ci: true, missing }, 'install'],
    ['skips for a user without a terminal', { isTTY: false, uid: user, ci: false, missing }, 'skip'],
    ['skips where there are no user ids', { isTTY: false, uid: undefined, ci: false, missing }, 'skip'],
    ['does nothing when nothing is missing', { isTTY: true, uid: rootUser, ci: true, missing: [] }, 'nothing'],
  ] as const)('%s', (_, situation, expected) => {
    expect(whatToDo(situation)).toBe(expected);
  });

  it('names the specs that need each program, and the command that installs it', () => {
    expect(specsWith(['chromium'])).toContain('spec/browser/demo.spec.ts');
    expect(specsWith(['chromium'])).not.toContain('spec/interop/redis-fleet.spec.ts');
    expect(specsWith(['redis'])).toContain('spec/interop/redis-fleet.spec.ts');
    expect(installCommand(['chromium', 'redis'])).toBe('sudo apt-get install chromium redis-server');
  });

  it.each([
    [{}, 'will be skipped', 0],
    [{ CI: 'true' }, 'will fail', 1],
  ])('says what is missing where it cannot install: %j', (env, fate, status) => {
    // No PATH: neither the programs nor apt-get are found.
    const run = spawnSync(process.execPath, ['spec/support/system-parts.js'], {
      cwd: root,
      env: { ...env, PATH: '/nowhere' },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    expect(run.stderr).toBe('');
    expect(run.stdout).toMatch(new RegExp(`redis-server.* not found. These specs ${fate}:`));
    expect(run.stdout).toContain('  spec/interop/redis-fleet.spec.ts\n');
    expect(run.stdout).toMatch(/They run after: sudo apt-get install .*redis-server.*\n$/);
    expect(run.status).toBe(status);
  });
});
