/** The options that a spec gives to the command line: a module of an app, whose options change from test to test. */
export default {
  get options() {
    return globalThis.cliOptions;
  },
};
