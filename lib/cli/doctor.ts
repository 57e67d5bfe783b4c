import { SessionConfigError } from '../errors.js';
import { type Config, resolveOptions } from '../options/config.js';
import type { SessionOptions } from '../options/session-options.js';
import { loadConfig } from './config.js';
import { checkCookie, checkSite } from './doctor-cookie.js';
import { checkFleet } from './doctor-fleet.js';
import { checkProvider } from './doctor-provider.js';
import { bad, type Finding, good, notice } from './finding.js';
import { coloured, type Terminal, wrapped } from './terminal.js';

export interface DoctorOptions {
  readonly config: string;
  /** Whether nobody is asked. */
  readonly isOffline: boolean;
}

/** Checks a set-up, and says of each thing that is wrong how it is mended. */
export async function doctor(terminal: Terminal, { config, isOffline }: DoctorOptions): Promise<number> {
  const findings = await examine(await loadConfig(config, terminal.cwd), isOffline);
  terminal.print(terminal.isTerminal ? shown(findings, terminal) : JSON.stringify(findings, undefined, 2));
  return findings.some(({ status }) => status === 'bad') ? 1 : 0;
}

async function examine(options: SessionOptions, isOffline: boolean): Promise<readonly Finding[]> {
  const told: string[] = [];
  let settings: Config;
  try {
    settings = resolveOptions(
      { ...options, events: { misconfigured: ({ message }: { readonly message: string }) => told.push(message) } },
      'withSession',
    );
  } catch (error) {
    if (!(error instanceof SessionConfigError)) throw error;
    // Without whole options there is nothing that could be asked.
    return error.problems.map(({ path, message }) => bad('options', `"${path}" ${message}`, `Correct "${path}".`));
  }
  // A pattern stands for many hosts: of none of them anything can be said.
  const origins = [options.baseUrl ?? []]
    .flat()
    .filter((each) => !each.includes('*'))
    .map((each) => new URL(each).origin);
  const offline = [
    good('options', 'The options can work.'),
    ...checkPassword(settings),
    ...checkCookie(settings, origins),
  ];
  if (isOffline) return offline;
  const asked = await Promise.all([
    checkProvider(settings, origins),
    checkFleet(settings),
    checkSite(settings, origins),
  ]);
  return [...offline, ...asked.flat(), ...told.map((message) => bad('provider', message, 'See above.'))];
}

/** A password of few letters was typed by a person. */
function checkPassword({ life }: Config): readonly Finding[] {
  const weak = life.seals.passwords.newestFirst.findIndex(({ password }) => new Set(password).size < 12);
  if (weak < 0) return [];
  return [
    notice(
      'options',
      `The password number ${weak + 1} repeats itself: it looks typed, not random.`,
      'Make one with: npx express-sealed-session generate-password. Put it first in the list, and keep this one behind it.',
    ),
  ];
}

const signs = {
  good: ['green', 'good   '],
  notice: ['yellow', 'notice '],
  bad: ['red', 'bad    '],
  unknown: ['dim', 'unknown'],
} as const satisfies Record<Finding['status'], readonly [string, string]>;

function shown(findings: readonly Finding[], terminal: Terminal): string {
  const width = Math.max(...findings.map(({ about }) => about.length));
  const indent = ' '.repeat(width + 11);
  const lines = findings.flatMap(({ about, status, message, mend }) => {
    const [colour, word] = signs[status];
    const [first = '', ...rest] = wrapped(message, 86 - width);
    const mends = mend === undefined ? [] : wrapped(`Mend: ${mend}`, 86 - width);
    return [
      `${coloured(terminal, colour, word)}  ${about.padEnd(width)}  ${first}`,
      ...[...rest, ...mends].map((line) => indent + line),
    ];
  });
  const count = (status: Finding['status']) => findings.filter((each) => each.status === status).length;
  const summary = `${count('bad')} bad, ${count('notice')} to notice, ${count('unknown')} unknown, ${count('good')} good`;
  return [...lines, '', summary].join('\n');
}
