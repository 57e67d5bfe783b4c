import { readFileSync } from 'node:fs';

import { coloured, table, type Terminal } from './terminal.js';

/** What the reference says of one name. */
export interface Explanation {
  readonly name: string;
  /** What it is one of: `Reasons`, `Seal problems`, `Codes` … */
  readonly kind: string;
  readonly text: readonly (readonly [label: string, text: string])[];
}

const pages = ['errors', 'reasons', 'events'];

/** What the reference says of a name. */
export function find(name: string): Explanation | undefined {
  return pages.flatMap(entriesOf).find((each) => each.name === name);
}

/** Prints what a name means. Without one, every name. */
export function explain(terminal: Terminal, name: string | undefined): number {
  const all = pages.flatMap(entriesOf);
  if (name === undefined) {
    printNames(terminal, all);
    return 0;
  }
  const found = all.filter((each) => each.name.toLowerCase() === name.toLowerCase());
  if (found.length === 0) {
    const near = all.filter((each) => isNear(each.name, name)).map((each) => each.name);
    const hint = near.length > 0 ? ` Is one of these meant? ${near.slice(0, 5).join(', ')}` : '';
    terminal.complain(`Nothing here has that name.${hint}`);
    return 1;
  }
  if (!terminal.isTerminal) terminal.print(JSON.stringify(found.map(asJson), undefined, 2));
  else terminal.print(found.map((each) => shown(each, terminal)).join('\n\n'));
  return 0;
}

function shown({ name, kind, text }: Explanation, terminal: Terminal): string {
  return `${coloured(terminal, 'bold', name)}  ${coloured(terminal, 'dim', kind)}\n${table(text, terminal)}`;
}

function asJson({ name, kind, text }: Explanation): object {
  return { name, kind, ...Object.fromEntries(text) };
}

function printNames(terminal: Terminal, all: readonly Explanation[]): void {
  const kinds = [...new Set(all.map(({ kind }) => kind))];
  const namesOf = (kind: string) => all.filter((each) => each.kind === kind).map(({ name }) => name);
  if (!terminal.isTerminal) {
    terminal.print(JSON.stringify(Object.fromEntries(kinds.map((kind) => [kind, namesOf(kind)])), undefined, 2));
    return;
  }
  terminal.print(
    table(
      kinds.map((kind) => [kind, namesOf(kind).join(' ')]),
      terminal,
    ),
  );
}

function isNear(name: string, given: string): boolean {
  const [one, other] = [name, given].map((each) => each.toLowerCase().replace(/[^a-z]/g, ''));
  return one !== undefined && other !== undefined && other.length > 2 && (one.includes(other) || other.includes(one));
}

/** The entries of a page of the reference. It comes with the package, so there is one text for people and machines. */
function entriesOf(page: string): Explanation[] {
  const text = readFileSync(new URL(`../../docs/reference/${page}.md`, import.meta.url), 'utf8');
  return text.split(/^## /m).flatMap((part) => {
    const [kind = '', ...rest] = part.split('\n');
    const entries = rest.join('\n').split(/^### /m).slice(1);
    return entries.map((entry) => {
      const [heading = '', ...lines] = entry.split('\n');
      return { name: heading.replaceAll('`', ''), kind: plain(kind), text: linesOf(lines) };
    });
  });
}

/** `- **Label:** text`, `- \`field\`: text`, or a paragraph. */
function linesOf(lines: readonly string[]): (readonly [string, string])[] {
  return lines
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const { label = '', rest = line } =
        /^- (?:\*\*(?<label>[^:]+):\*\*|`(?<field>[^`]+)`:) (?<rest>.*)$/.exec(line)?.groups ?? {};
      const field = /^- `([^`]+)`: /.exec(line)?.[1];
      return [label || (field ?? 'Meaning'), plain(rest)] as const;
    });
}

/** Markdown as plain text. */
function plain(text: string): string {
  return text
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replaceAll(/[`*_](?=\S)|(?<=\S)[`*_]/g, (sign) => (sign === '_' ? sign : ''));
}
