import path from 'node:path';

import { run } from '../../lib/cli/run.js';
import { watch } from './watch.js';

/** The arguments that name `cli-config.js`, which exports these options. */
export const withConfig = ['--config', path.join(import.meta.dirname, 'cli-config.js')];

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface Run {
  readonly stdin?: string;
  readonly env?: Record<string, string>;
  /** Whether a person reads it. Default: true. */
  readonly isTerminal?: boolean;
  readonly hasColour?: boolean;
}

/** Runs the command line in this process. All that it prints is searched for secrets. */
export async function commandLine(args: readonly string[], given: Run = {}): Promise<Ran> {
  const printed = { out: [] as string[], err: [] as string[] };
  const code = await run(args, {
    isTerminal: given.isTerminal ?? true,
    hasColour: given.hasColour ?? false,
    cwd: process.cwd(),
    env: given.env ?? {},
    read: () => Promise.resolve(given.stdin ?? ''),
    print: (line) => printed.out.push(line),
    complain: (line) => printed.err.push(line),
  });
  const ran = { code, out: printed.out.join('\n'), err: printed.err.join('\n') };
  watch('the command line', ran.out, ran.err);
  return ran;
}
