/** The share of the runs of a property. `spec/fast.jest.config.js` sets it; the whole suite has all of them. */
const { fuzzShare = 1 } = globalThis as { fuzzShare?: number };

/** How often a property is tried with random values: `full` times in the whole suite, and less in `npm run test:fast`. */
export const runs = (full: number): number => Math.ceil(full * fuzzShare);
