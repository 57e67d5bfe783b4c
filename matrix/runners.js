import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/**
 * The set-ups of docs/guide/testing.md, each as it stands there: its files begin with a comment of their name, and its last
 * block is the command.
 *
 * @returns by title, the folder that it was written to and the command
 */
export function setUps(page, to) {
  const [, part = ''] = readFileSync(page, 'utf8').split(/^## Test runners$/m);
  const sections = part.split(/^## /m)[0].split(/^### /m).slice(1);
  return sections.map((section, index) => {
    const title = section.split('\n', 1)[0];
    const folder = path.join(to, `runner-${index}`);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    let command = '';
    for (const [, language, code] of section.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)) {
      const [, file, rest] = /^(?:\/\/|#) ([\w.]+)\n([\s\S]*)$/.exec(code) ?? [];
      if (file) writeFileSync(path.join(folder, file), rest);
      else if (language === 'sh') command = code.trim();
    }
    return { title, folder, command };
  });
}

/** Runs a set-up on a Node; what it printed when it failed. */
export function runSetUp({ folder, command }, node, bin) {
  const env = {
    ...process.env,
    PATH: `${path.dirname(node)}:${bin}:${process.env.PATH}`,
    NODE_OPTIONS: '',
    CI: 'true',
  };
  const { status, stdout, stderr } = spawnSync('sh', ['-c', command], { cwd: folder, env, encoding: 'utf8' });
  return status === 0 ? undefined : `${stdout}\n${stderr}`;
}
