/** Where the command line reads from and prints to. */
export interface Terminal {
  /** Whether a person reads it: tables. Otherwise JSON. */
  readonly isTerminal: boolean;
  readonly hasColour: boolean;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** All of standard input. */
  readonly read: () => Promise<string>;
  readonly print: (line: string) => unknown;
  readonly complain: (line: string) => unknown;
}

/** A mistake in how the command was called: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

// By number, to switch it on and off (ECMA-48).
const codes = { green: [32, 39], yellow: [33, 39], red: [31, 39], dim: [2, 22], bold: [1, 22] } as const;

export type Colour = keyof typeof codes;

/** Text in a colour, on a terminal that has colours. */
export function coloured({ hasColour }: Terminal, colour: Colour, text: string): string {
  const [on, off] = codes[colour];
  return hasColour ? `\u001B[${on}m${text}\u001B[${off}m` : text;
}

// Lines longer than this are hard to read, however wide the terminal is.
const columns = 100;

/** Rows of two columns: a name, and what it is. Long text is wrapped under its own column. */
export function table(rows: readonly (readonly [name: string, value: string])[], terminal: Terminal): string {
  const width = Math.max(...rows.map(([name]) => name.length)) + 2;
  return rows
    .map(([name, value]) => {
      const lines = wrapped(value, columns - width);
      return lines
        .map((line, index) => (index === 0 ? coloured(terminal, 'dim', name.padEnd(width)) : ' '.repeat(width)) + line)
        .join('\n');
    })
    .join('\n');
}

/** A text in lines of at most so many letters. */
export function wrapped(text: string, width: number): string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? '';
    if (last === '') lines[lines.length - 1] = word;
    else if (last.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}
