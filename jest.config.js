/** @type {import('jest').Config} */
export default {
  testMatch: ['<rootDir>/spec/**/*.spec.ts'],
  // Several processes and a Redis that is killed and paused: a run of its own, `npm run test:fleet`.
  testPathIgnorePatterns: ['/node_modules/', '<rootDir>/spec/fleet.spec.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '\\.ts$': [
      '@swc/jest',
      {
        jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
        module: { type: 'es6' },
        sourceMaps: 'inline',
      },
    ],
  },
  moduleNameMapper: {
    '^express-sealed-session$': '<rootDir>/lib/index.ts',
    '^express-sealed-session/redis$': '<rootDir>/lib/refresh/redis-coordinator.ts',
    // TypeScript's imports name the compiled file; Jest runs the source.
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  collectCoverageFrom: ['lib/**/*.ts'],
  coverageProvider: 'v8',
  restoreMocks: true,
};
