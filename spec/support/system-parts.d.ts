export type Part = 'chromium' | 'redis';

/** Where the program is; undefined when it is not installed. */
export function partPath(name: Part): string | undefined;

/** `describe`, for specs that need the part: skipped without it, but failing in CI. */
export function describeWithPart(part: Part, name: string, fn: () => void): void;
