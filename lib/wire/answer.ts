import { parseObject } from '../json.js';
import { type Agents, agentsFor } from './agents.js';
import { ProviderFailure } from './failure.js';

/** Larger than any key set, metadata or token answer. No answer beyond it is read into memory. */
export const maxAnswerBytes = 1_048_576;

export interface DocumentRequest {
  readonly agent?: Agents | undefined;
  /** An access token, for the userinfo endpoint. */
  readonly bearer?: string | undefined;
}

// All of it together: a visitor waits for the document.
const timeoutMs = 5_000;

/**
 * GETs a JSON object. Redirects are refused: an attacker who can redirect the key set would choose the keys.
 *
 * @throws {ProviderFailure} or what the HTTP client throws
 */
export async function getJson(url: string, { agent, bearer }: DocumentRequest = {}): Promise<Record<string, unknown>> {
  const { got } = await import('got');
  const asking = got.get(url, {
    headers: { accept: 'application/json', ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }) },
    responseType: 'text',
    throwHttpErrors: false,
    followRedirect: false,
    agent: agentsFor(agent, { mayRepeat: true }),
    signal: AbortSignal.timeout(timeoutMs),
    retry: { limit: 0 },
  });
  let isTooLarge = false;
  // Counts decompressed bytes: a small answer may unpack into a large one.
  void asking.on('downloadProgress', ({ transferred }) => {
    if (transferred <= maxAnswerBytes) return;
    isTooLarge = true;
    asking.cancel();
  });
  const { statusCode, body } = await asking.catch((error: unknown) => {
    if (isTooLarge) throw new ProviderFailure('server_error', 'The answer is too large.', 'too_large');
    throw error;
  });
  if (statusCode !== 200) {
    const isOurMistake = statusCode < 500 && statusCode !== 408 && statusCode !== 429;
    const reason = isOurMistake ? 'provider_misconfigured' : 'server_error';
    throw new ProviderFailure(reason, `HTTP status ${statusCode}`, `http_${statusCode}`);
  }
  const document = parseObject(body);
  if (!document) throw new ProviderFailure('server_error', 'The answer is not a JSON object.', 'not_json');
  return document;
}
