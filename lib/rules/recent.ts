// As far as a clock may be ahead. What lies further in the future is no time, but milliseconds in place of seconds.
const mostAheadMs = 300_000;

/** Whether a visitor gave proof of who they are within this time. When it is not known, they did not. */
export function isRecent(
  authenticatedAt: Date | undefined,
  { withinSeconds, clockToleranceSeconds, nowMs = Date.now() }: RecentWithin,
): boolean {
  if (!authenticatedAt) return false;
  const agoMs = nowMs - authenticatedAt.getTime();
  return agoMs <= (withinSeconds + clockToleranceSeconds) * 1000 && agoMs >= -mostAheadMs;
}

interface RecentWithin {
  readonly withinSeconds: number;
  readonly clockToleranceSeconds: number;
  /** Counted from. Default: now. */
  readonly nowMs?: number;
}
