import base from '../jest.config.js';

/** The specs that run the mutated code in their own process, and are quick to start. */
const specs = {
  seal: 'unit/seal/*',
  token: '{unit/token/*,behaviour/claims,behaviour/session-manager}',
  refresh: 'unit/refresh/*',
  http: '{unit/http/*,behaviour/{large-sessions,duplicate-cookies,header,http-caches}}',
};

/** @type {import('jest').Config} */
export default {
  ...base,
  rootDir: '..',
  testMatch: [`<rootDir>/spec/${specs[process.env.AREA ?? 'seal']}.spec.ts`],
};
