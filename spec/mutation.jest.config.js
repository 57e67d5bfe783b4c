import base from '../jest.config.js';

/**
 * For mutation testing: without the specs that run the built package, a browser or several processes, which see no
 * mutant.
 *
 * @type {import('jest').Config}
 */
export default {
  ...base,
  rootDir: '..',
  testPathIgnorePatterns: [
    '/node_modules/',
    'spec/(fleet|demo|packed|migration|types|supply-chain|architecture|support)',
  ],
};
