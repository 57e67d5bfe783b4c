import { ProviderFailure } from './failure.js';

/** More than any key set, metadata or token response has. What comes beyond it is not read into memory. */
export const maxAnswerBytes = 1_048_576;

/**
 * The text of an answer with a document in it.
 *
 * @throws {ProviderFailure} it has another status than 200, or no end
 */
export async function readDocument({ status, body }: Response): Promise<string> {
  if (status !== 200) {
    await body?.cancel();
    const ours = status < 500 && status !== 408 && status !== 429;
    throw new ProviderFailure(ours ? 'provider_misconfigured' : 'server_error', `HTTP status ${status}`);
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop ends the connection.
  for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > maxAnswerBytes) throw new ProviderFailure('server_error', 'The answer is too large.');
    chunks.push(chunk);
  }
  return new TextDecoder().decode(Buffer.concat(chunks));
}
