// How a bench tells what it has found: a table for people, or JSON.
import { cpus } from 'node:os';

/** On which machine the figures are true. */
export function machine() {
  const processors = cpus();
  return {
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    processors: `${processors.length} × ${processors[0]?.model.trim() ?? 'unknown'}`,
  };
}

export function printMachine() {
  const { node, platform, processors } = machine();
  console.log(`Node ${node}, ${platform}, ${processors}.`);
}

/** Progress goes to the other stream, so that `--json` stays JSON. */
export function note(text) {
  process.stderr.write(`${text}\n`);
}

/** `columns`: heading → how a row's cell is got. The first column names the row. */
export function printTable(rows, columns) {
  const table = [Object.keys(columns), ...rows.map((row) => Object.values(columns).map((cell) => text(cell(row))))];
  const widths = table[0].map((_, column) => Math.max(...table.map((cells) => cells[column].length)));
  for (const cells of table) {
    const [first, ...others] = cells.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]),
    );
    console.log([first, ...others].join('  ').trimEnd());
  }
  console.log();
}

const text = (value) => (value === undefined || Number.isNaN(value) ? '' : String(value));

/** A number with so many digits behind the point; nothing where there is none. */
export const digits = (value, count = 0) => (Number.isFinite(value) ? value.toFixed(count) : undefined);
