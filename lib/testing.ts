export type { SignedWebhook } from './testing/notice-conformance.js';
export { type ProviderAnswers, testProviderConformance } from './testing/provider-conformance.js';
