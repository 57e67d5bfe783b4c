#!/usr/bin/env node
import { text } from 'node:stream/consumers';

import { run } from './run.js';

const { stdin, stdout, stderr, env } = process;
const isTerminal = stdout.isTTY;

const code = await run(process.argv.slice(2), {
  isTerminal,
  hasColour: isTerminal && !env.NO_COLOR && env.TERM !== 'dumb',
  cwd: process.cwd(),
  env,
  read: () => {
    if (stdin.isTTY) stderr.write('Paste the cookie, then Enter and Ctrl+D:\n');
    return text(stdin);
  },
  print: (line) => stdout.write(`${line}\n`),
  complain: (line) => stderr.write(`${line}\n`),
});
// A client of Redis in the configuration would keep the process alive. What was printed must be out before.
stdout.write('', () => process.exit(code));
