export type { SignedWebhook } from './testing/notice-conformance.js';
export { type ProviderAnswers, testProviderConformance } from './testing/provider-conformance.js';
export { type TestSessions, testSessions } from './testing/test-sessions.js';
export {
  testProvider,
  type TestProvider,
  type TestProviderControls,
  type TestProviderOptions,
} from './testing/test-provider.js';
export type { TestSession } from './testing/test-session.js';
export type { TestClock } from './testing/test-clock.js';
export type { ReadResponse, TestResponse } from './testing/read-response.js';
