// In seconds the year 5138, in milliseconds the year 1973: no session has its end between them.
const firstMs = 1e11;

/**
 * The provider's ceiling of a session (`session_expiry`), in milliseconds. It is a time in seconds; one in milliseconds is
 * told by its size, because read as seconds it would be no limit at all.
 */
export function ceilingMs(sessionExpiry: number): number {
  return sessionExpiry < firstMs ? sessionExpiry * 1000 : sessionExpiry;
}

/** Whether a claim says a ceiling that can be kept. What cannot be read must not count for no limit. */
export function isCeiling(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0;
}
