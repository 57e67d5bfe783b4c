import { type Check, isLoopback, list, secureBaseUrl, text } from '../checks.js';
import { originOf } from '../http/origin.js';
import { basePathOf } from '../http/site.js';

/** Where browsers find the app: one URL, or several with one path. */
export const baseUrls: Check = (value) => {
  const urls: unknown[] = Array.isArray(value) ? value : [value];
  if (urls.length === 0) return 'must be a URL, or a list of at least one.';
  const problem = urls.map(baseUrl).find((message) => message !== undefined);
  if (problem !== undefined) return problem;
  const given = urls.map((url) => new URL(String(url)));
  // The cookie is the same for all: one with `Secure` is not kept over http, and one without it travels in clear.
  if (new Set(given.map(({ protocol }) => protocol)).size > 1) {
    return 'must be https everywhere, or http on loopback hosts everywhere.';
  }
  if (new Set(urls.map((url) => basePathOf(String(url)))).size > 1) return 'must have the same path in each URL.';
  return undefined;
};

const baseUrl: Check = (value) => {
  const message = secureBaseUrl(value);
  if (message !== undefined) return message;
  const url = new URL(String(value));
  if (decodedPath(url.pathname) === undefined) return 'must have a path that can be decoded.';
  return url.host.includes('*') || url.pathname.includes('*') ? patternProblem(url) : undefined;
};

function decodedPath(path: string): string | undefined {
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}

/** A pattern for previews. The name that it leaves open must be below one of the app's own. */
function patternProblem({ hostname, pathname }: URL): string | undefined {
  const [before = '', after = '', ...more] = hostname.split('*');
  if (more.length > 0 || pathname.includes('*')) return 'can have one "*", in its host.';
  if (before.includes('.') || !/^[a-z\d-]*(\.[^.]+){2}/.test(after)) {
    return 'must have its "*" in the first label, with at least two labels after it, such as "https://shop-*.example.com".';
  }
  return isLoopback(hostname) ? 'can have no "*" on a loopback host.' : undefined;
}

/** Origins whose pages may act for a visitor, as browsers write them. */
export const origins: Check = (value) => {
  if (!Array.isArray(value)) return 'must be a list of origins, such as ["https://admin.example.com"].';
  return [...(value as unknown[])].every(isOrigin)
    ? undefined
    : 'must hold origins alone, such as "https://admin.example.com": with a scheme, without a path and without "*". Plain ' +
        'http is accepted for localhost, 127.0.0.1 and [::1] only.';
};

function isOrigin(value: unknown): boolean {
  if (typeof value !== 'string' || value.includes('*') || originOf(value) !== value.toLowerCase()) return false;
  // On the way, anybody can write into a page without TLS.
  const { protocol, hostname } = new URL(value);
  return protocol !== 'http:' || isLoopback(hostname);
}

// What the flow itself says. A link that could set one of these would change what the visitor signs in to.
const ownParameters = new Set(
  (
    'client_id client_secret client_assertion client_assertion_type response_type response_mode redirect_uri state nonce ' +
    'code code_challenge code_challenge_method code_verifier grant_type request request_uri registration claims ' +
    'id_token_hint authorization_details dpop_jkt scope provider_scopes resource audience'
  ).split(' '),
);

/** The parameters that a link may hand on to the provider. */
export const forwardable: Check = (value) => {
  const message = list('parameter names', text)(value);
  if (message !== undefined) return message;
  const odd = (value as string[]).find((name) => ownParameters.has(name.toLowerCase()) || !/^[\w.-]+$/.test(name));
  if (odd === undefined) return undefined;
  return 'can hold no parameter of the protocol itself, and neither scope, resource nor audience: anybody can make a link.';
};
