import type { AuthorizationServer } from 'oauth4webapi';

import { isLoopback } from '../checks.js';
import { isRecord } from '../json.js';
import { isIssuerName, type IssuerRules, isTemplate } from '../token/issuer.js';
import { getJson } from '../wire/answer.js';
import { cachedDocument, type CachedDocument } from '../wire/cached-document.js';
import { failureDetail, ProviderFailure } from '../wire/failure.js';
import type { Tell } from './oidc-notices.js';
import { hostOf, isAsymmetric, type OidcOptions, urlProblem } from './oidc-options.js';

/** The provider's metadata (RFC 8414, OpenID Connect Discovery 1.0). */
export type Metadata = AuthorizationServer;

export type Endpoint =
  | 'authorization_endpoint'
  | 'token_endpoint'
  | 'jwks_uri'
  | 'userinfo_endpoint'
  | 'end_session_endpoint'
  | 'revocation_endpoint'
  | 'pushed_authorization_request_endpoint';

export interface MetadataSource {
  readonly document: CachedDocument<Metadata>;
  /** The issuers that tokens may name. */
  readonly issuersOf: (metadata: Metadata) => IssuerRules;
  /** @throws {ProviderFailure} the metadata does not name it, or it is not safe */
  readonly endpoint: (metadata: Metadata, name: Endpoint) => string;
  /** An endpoint that not every provider has. */
  readonly optionalEndpoint: (metadata: Metadata, name: Endpoint) => string | undefined;
}

const askedByBrowsers: ReadonlySet<Endpoint> = new Set(['authorization_endpoint', 'end_session_endpoint']);

const withoutSlash = (url: string) => url.replace(/\/+$/, '');

/** Where the provider is: its metadata, kept and checked, and the addresses that it names. */
export function metadataSource(options: OidcOptions, tell: Tell): MetadataSource {
  const { metadata: given, tenants, allowInsecureHosts = [], agent, clientAuthentication } = options;
  const issuers = [options.issuer ?? []].flat();
  const address = typeof given === 'string' ? given : discoveryUrl(issuers[0] ?? '', tenants);
  // Whether an address on this machine may be meant: as an attack it turns requests against the app's own services.
  const isOnLoopback = (url: string) => URL.canParse(url) && isLoopback(new URL(url).hostname);
  const isMutualTls =
    typeof clientAuthentication === 'object' && clientAuthentication.method.endsWith('tls_client_auth');
  const allowedHosts = new Set(allowInsecureHosts.map(hostOf));

  const document = cachedDocument(async () => {
    try {
      const loaded = isRecord(given) ? given : await getJson(address, { agent });
      return checked(loaded as unknown as Metadata);
    } catch (error) {
      tellFailure(error);
      throw error;
    }
  });

  function checked(metadata: Metadata): Metadata {
    const { issuer } = metadata;
    if (typeof issuer !== 'string' || !isNamed(issuer)) {
      throw new ProviderFailure(
        'provider_misconfigured',
        'The metadata is that of another issuer than the options say.',
        'other_issuer',
      );
    }
    tellUnsupported(metadata, options, tell);
    return metadata;
  }

  /** Whether the options name this issuer, with or without a slash at its end. */
  function isNamed(issuer: string): boolean {
    const named = { issuer: issuers.map(withoutSlash), tenants };
    return isIssuerName(withoutSlash(issuer), named);
  }

  function issuersOf({ issuer }: Metadata): IssuerRules {
    const isOne = issuers.length === 1 && !issuers.some(isTemplate);
    return isOne ? { issuer: [issuer] } : { issuer: issuers, tenants };
  }

  /** Some providers have another address for clients that show a certificate (RFC 8705 section 5). A browser shows none. */
  function addressOf(metadata: Metadata, name: Endpoint): string | undefined {
    const { mtls_endpoint_aliases: aliases } = metadata;
    const hasOther = isMutualTls && !askedByBrowsers.has(name) && isRecord(aliases);
    return (hasOther ? aliases[name] : undefined) ?? metadata[name];
  }

  function endpoint(metadata: Metadata, name: Endpoint): string {
    const url = addressOf(metadata, name);
    const problem = endpointProblem(metadata, url);
    if (problem === undefined && url !== undefined) return url;
    const message = `The provider's metadata names no usable "${name}".`;
    const cause = `${name}_${problem ?? 'missing'}`;
    tell({
      problem: 'metadata',
      cause,
      option: 'provider.metadata',
      message: `${message} It must be https, and not lead to this machine; "provider.allowInsecureHosts" names exceptions.`,
    });
    throw new ProviderFailure('provider_misconfigured', message, cause);
  }

  /** Tokens and the client's secret are sent there, so every endpoint must be as safe as the issuer. */
  function endpointProblem({ issuer }: Metadata, url: unknown): 'missing' | 'insecure' | 'loopback' | undefined {
    if (url === undefined || url === null) return 'missing';
    if (typeof url !== 'string' || urlProblem(url, allowInsecureHosts) !== undefined) return 'insecure';
    const isMeant = isOnLoopback(issuer) || isOnLoopback(address) || allowedHosts.has(new URL(url).host);
    return isOnLoopback(url) && !isMeant ? 'loopback' : undefined;
  }

  function optionalEndpoint(metadata: Metadata, name: Endpoint): string | undefined {
    const url = addressOf(metadata, name);
    return endpointProblem(metadata, url) === undefined ? url : undefined;
  }

  function tellFailure(error: unknown): void {
    // While the metadata is known, an outage of its server is no matter of the set-up.
    if (document.peek()) return;
    const cause = failureDetail(error);
    tell({
      problem: 'metadata',
      cause,
      option: typeof given === 'string' ? 'provider.metadata' : 'provider.issuer',
      message:
        `The provider's metadata cannot be used (${cause}). Nobody can sign in. ` +
        (cause === 'other_issuer'
          ? 'Set "provider.issuer" to the "issuer" in the metadata, and "provider.metadata" to its address where that lies elsewhere.'
          : 'It is looked for at "provider.metadata", else at "provider.issuer" followed by /.well-known/openid-configuration.'),
    });
  }

  return { document, issuersOf, endpoint, optionalEndpoint };
}

/** OpenID Connect Discovery 1.0, section 4: without the slash at the end of the issuer. */
function discoveryUrl(issuer: string, tenants: OidcOptions['tenants']): string {
  const only = tenants !== 'any' && tenants?.length === 1 ? tenants[0] : undefined;
  // Microsoft's names for all of its tenants, and for all that are organizations.
  const tenant = only ?? (tenants === 'any' ? 'common' : 'organizations');
  return `${withoutSlash(issuer.replaceAll('{tenantid}', tenant))}/.well-known/openid-configuration`;
}

/** What the metadata demands and is not built here. */
function tellUnsupported(metadata: Metadata, { idTokenAlgorithm }: OidcOptions, tell: Tell): void {
  const {
    response_types_supported: responseTypes,
    response_modes_supported: responseModes,
    id_token_signing_alg_values_supported: algorithms,
    require_signed_request_object: signedRequests,
  } = metadata;
  const lacks = (offered: unknown, ...names: string[]) =>
    Array.isArray(offered) && offered.length > 0 && !names.some((name) => offered.includes(name));
  const found: [boolean, string, string][] = [
    [lacks(responseTypes, 'code'), 'response_type', 'It does not offer the authorization code flow.'],
    [
      lacks(responseModes, 'query', 'form_post'),
      'response_mode',
      'It answers in encrypted or signed responses only (JARM).',
    ],
    [signedRequests === true, 'request_object', 'It demands signed request objects.'],
    [
      idTokenAlgorithm === undefined &&
        Array.isArray(algorithms) &&
        algorithms.length > 0 &&
        !algorithms.some(isAsymmetric),
      'id_token_algorithm',
      "It signs ID tokens with the client's secret alone. Set \"provider.idTokenAlgorithm\" to 'HS256' if that is meant.",
    ],
  ];
  for (const [isDemanded, cause, message] of found) {
    if (!isDemanded) continue;
    tell({
      problem: 'unsupported',
      cause,
      option: 'provider.metadata',
      message: `The provider's metadata: ${message}`,
    });
  }
}
