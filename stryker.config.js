/**
 * Mutation testing of the parts where a wrong line is a hole, each by its own specs: `AREA=seal npm run mutation`,
 * then `token`, `refresh` and `http`. Each takes from a quarter of an hour to an hour and a half.
 *
 * @type {import('@stryker-mutator/api/core').PartialStrykerOptions}
 */
export default {
  mutate: [`lib/${process.env.AREA ?? 'seal'}/**/*.ts`],
  testRunner: 'jest',
  // Jest runs ES modules as Node does, with this.
  testRunnerNodeArgs: ['--experimental-vm-modules', '--no-warnings=ExperimentalWarning'],
  jest: { configFile: 'spec/mutation.jest.config.js', enableFindRelatedTests: false },
  coverageAnalysis: 'perTest',
  timeoutMS: 5_000,
  ignoreStatic: true,
  ignorePatterns: ['dist', 'bench', 'examples', 'coverage'],
  tempDirName: 'coverage/mutation',
  reporters: ['clear-text', 'json'],
  clearTextReporter: { logTests: false, allowColor: false, allowEmojis: false, reportTests: false },
  jsonReporter: { fileName: `coverage/mutation-${process.env.AREA ?? 'seal'}.json` },
};
