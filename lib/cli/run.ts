import { parseArgs, type ParseArgsConfig } from 'node:util';

import { randomBytes } from 'node:crypto';

import { doctor } from './doctor.js';
import { explain } from './explain.js';
import { inspect } from './inspect.js';
import { type Terminal, UsageError } from './terminal.js';

const help = `Usage: npx express-sealed-session <command>

  inspect             What is in a session cookie, and why it would be refused.
                      Reads the cookie, or a whole Cookie header, from standard input.
    --config FILE       a module that exports the options: judges as the app would
    --password-env NAME the variable that holds the password (SESSION_PASSWORD); may be repeated, newest first
    --name NAME         the cookie's name, where the header has several
  doctor              Checks the options, the provider, the fleet and the cookie's rules. Each finding has its mend.
    --config FILE       a module that exports the options
    --offline           without asking anybody
  generate-password   A new password for the option "password".
  explain [CODE]      What an error, reason, detail, event or warning means, and what to do.

  --json              JSON, also on a terminal. It is printed wherever standard output is no terminal.

Exit codes: 0 all is well, 1 something is wrong, 2 the command was not understood.`;

const options = {
  inspect: {
    config: { type: 'string' },
    'password-env': { type: 'string', multiple: true },
    name: { type: 'string' },
    json: { type: 'boolean' },
  },
  doctor: { config: { type: 'string' }, offline: { type: 'boolean' }, json: { type: 'boolean' } },
  'generate-password': {},
  explain: { json: { type: 'boolean' } },
} satisfies Record<string, ParseArgsConfig['options']>;

/**
 * Runs one command of the command line.
 *
 * @returns the exit code: 0 all is well, 1 something is wrong, 2 the command was not understood
 */
export async function run(args: readonly string[], given: Terminal): Promise<number> {
  const [command = 'help', ...rest] = args;
  try {
    switch (command) {
      case 'inspect': {
        const { values } = read(rest, options.inspect);
        return await inspect(forReader(given, values.json), {
          config: values.config,
          passwordVariables: values['password-env'] ?? ['SESSION_PASSWORD'],
          name: values.name,
        });
      }
      case 'doctor': {
        const { values } = read(rest, options.doctor);
        if (values.config === undefined) throw new UsageError('doctor needs --config FILE.');
        const { config, offline: isOffline = false } = values;
        return await doctor(forReader(given, values.json), { config, isOffline });
      }
      case 'generate-password':
        read(rest, options['generate-password']);
        given.print(randomBytes(32).toString('base64url'));
        return 0;
      case 'explain': {
        const { values, positionals } = read(rest, options.explain, 1);
        return explain(forReader(given, values.json), positionals[0]);
      }
      case 'help':
      case '--help':
      case '-h':
        given.print(help);
        return args.length === 0 ? 2 : 0;
      default:
        throw new UsageError('There is no such command. See --help.');
    }
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    given.complain(error.message);
    return 2;
  }
}

function forReader(terminal: Terminal, json = false): Terminal {
  return json ? { ...terminal, isTerminal: false } : terminal;
}

function read<const Options extends NonNullable<ParseArgsConfig['options']>>(
  args: readonly string[],
  known: Options,
  maxPositionals = 0,
) {
  try {
    const parsed = parseArgs({ args: [...args], options: known, allowPositionals: maxPositionals > 0 });
    if (parsed.positionals.length > maxPositionals) throw new UsageError('There are too many arguments. See --help.');
    return parsed;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    // Node's own message repeats the argument, and a cookie may have been pasted there.
    throw new UsageError('An argument is not known here. See --help. A cookie is read from standard input only.');
  }
}
