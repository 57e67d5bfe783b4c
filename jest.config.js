/** @type {import('jest').Config} */
export default {
  testMatch: ['<rootDir>/spec/**/*.spec.ts'],
  setupFilesAfterEnv: ['<rootDir>/spec/support/watch.ts'],
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
    '^express-sealed-session/redis$': '<rootDir>/lib/redis.ts',
    '^express-sealed-session/testing$': '<rootDir>/lib/testing.ts',
    // TypeScript's imports name the compiled file; Jest runs the source.
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  // `npm run coverage`. What is left out has types only.
  collectCoverageFrom: [
    'lib/**/*.ts',
    '!lib/augment.ts',
    '!lib/http/middleware.ts',
    '!lib/options/session-options.ts',
    '!lib/refresh/coordinator.ts',
    '!lib/request/session.ts',
    '!lib/session/sign-in-check.ts',
  ],
  coverageProvider: 'v8',
  coverageReporters: ['text'],
  coverageThreshold: { global: { lines: 99, branches: 95 } },
  restoreMocks: true,
  // Each spec file loads everything anew, and one process for all of them grew to 5 GB, slow and near its end.
  maxWorkers: 2,
  workerIdleMemoryLimit: '1GB',
  // No test asserts a time. A machine that is busy needs longer than the usual five seconds.
  testTimeout: 30_000,
};
