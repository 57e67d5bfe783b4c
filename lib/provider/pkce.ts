/** The S256 code challenge of a verifier (RFC 7636). Loaded when somebody signs in, not at start-up. */
export async function pkceChallenge(codeVerifier: string): Promise<string> {
  const { calculatePKCECodeChallenge } = await import('oauth4webapi');
  return calculatePKCECodeChallenge(codeVerifier);
}
