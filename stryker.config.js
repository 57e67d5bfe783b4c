/**
 * Mutation testing of the parts where a wrong line is a hole: `npm run mutation`. It takes the better part of an hour.
 *
 * @type {import('@stryker-mutator/api/core').PartialStrykerOptions}
 */
export default {
  mutate: ['lib/{seal,token,refresh,http}/**/*.ts'],
  testRunner: 'jest',
  // Jest runs ES modules as Node does, with this.
  testRunnerNodeArgs: ['--experimental-vm-modules', '--no-warnings=ExperimentalWarning'],
  jest: { configFile: 'spec/mutation.jest.config.js', enableFindRelatedTests: false },
  coverageAnalysis: 'perTest',
  // A test that waits for something that a mutant never does.
  timeoutMS: 10_000,
  ignoreStatic: true,
  ignorePatterns: ['dist', 'bench', 'examples', 'coverage'],
  tempDirName: 'coverage/mutation',
  reporters: ['clear-text', 'progress', 'json'],
  clearTextReporter: { logTests: false, allowColor: false, allowEmojis: false },
  jsonReporter: { fileName: 'coverage/mutation.json' },
};
