import base from '../jest.config.js';

/**
 * `npm run test:fast`: what needs neither a build nor Redis nor a browser. Random values are tried fewer times than in
 * the whole suite.
 *
 * @type {import('jest').Config}
 */
export default {
  ...base,
  rootDir: '..',
  testMatch: ['<rootDir>/spec/{unit,behaviour}/**/*.spec.ts'],
  globals: { fuzzShare: 0.2 },
  // Many of these specs wait for a network time-out, so a worker for each core does not overload the machine.
  maxWorkers: '100%',
};
