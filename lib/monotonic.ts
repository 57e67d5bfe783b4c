/**
 * Milliseconds on a clock that only goes forward, for pauses: when the time of the machine is set, a pause must neither
 * last for hours nor end at once.
 */
export function monotonicMs(): number {
  return performance.now();
}
