import { ProviderFailure } from './failure.js';

/** Larger than any key set, metadata or token answer. No answer beyond it is read into memory. */
export const maxAnswerBytes = 1_048_576;

/**
 * The text of an answer that holds a document.
 *
 * @throws {ProviderFailure} its status is not 200, or it is larger than 1 MiB
 */
export async function readDocument({ status, body }: Response): Promise<string> {
  if (status !== 200) {
    await body?.cancel();
    const isOurMistake = status < 500 && status !== 408 && status !== 429;
    throw new ProviderFailure(isOurMistake ? 'provider_misconfigured' : 'server_error', `HTTP status ${status}`);
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // An error inside the loop ends the connection: an endless answer is not awaited.
  for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > maxAnswerBytes) throw new ProviderFailure('server_error', 'The answer is too large.');
    chunks.push(chunk);
  }
  return new TextDecoder().decode(Buffer.concat(chunks));
}
