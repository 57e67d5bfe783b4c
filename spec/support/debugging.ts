import { watch } from './watch.js';

/**
 * Switches the lines of `NODE_DEBUG` on, and gathers them. To be imported before anything that imports the package: it
 * reads the variable once.
 */
process.env.NODE_DEBUG = 'http2,express-sealed-session';

const lines: string[] = [];
const write = process.stderr.write.bind(process.stderr);

process.stderr.write = (text: string | Uint8Array, ...more: never[]) => {
  const line = /^EXPRESS-SEALED-SESSION \d+: (.*)\n$/.exec(String(text))?.[1];
  if (line === undefined) return write(text, ...more);
  watch('a debug line', line);
  lines.push(line);
  return true;
};

/** The lines since the last call, without the name of the package and the process id. */
export function debugLines(): string[] {
  return lines.splice(0);
}
