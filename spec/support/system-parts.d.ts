export type Part = 'chromium' | 'nginx' | 'redis';

/** Where the program is; undefined when it is not installed. */
export function partPath(name: Part): string | undefined;

/** `describe`, for specs that need the part: skipped without it, but failing in CI. */
export function describeWithPart(part: Part, name: string, fn: () => void): void;

/** What `npm test` does about missing parts. */
export function whatToDo(situation: {
  /** Whether a person can be asked: input and output are a terminal. */
  isTTY: boolean;
  /** The user's id; undefined on Windows. */
  uid: number | undefined;
  ci: boolean;
  missing: readonly Part[];
}): 'nothing' | 'ask' | 'install' | 'skip';

/** The command that installs these parts on Debian and Ubuntu. */
export function installCommand(parts: readonly Part[]): string;

/** The spec files that need one of these parts, from the repository's root. */
export function specsWith(parts: readonly Part[]): string[];
