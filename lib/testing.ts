export { type ProviderAnswers, testProviderConformance } from './testing/provider-conformance.js';
