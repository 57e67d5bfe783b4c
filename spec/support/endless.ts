import type { Writable } from 'node:stream';

/** Writes without end, as fast as it is read, until nobody reads any more. */
export function pour(stream: Writable, chunk: string | Buffer = ' '.repeat(65_536)): void {
  const more = (): void => {
    while (!stream.destroyed && stream.write(chunk));
  };
  stream.on('drain', more).on('error', () => undefined);
  more();
}
