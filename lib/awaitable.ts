/** A value, or a promise of it. */
export type Awaitable<Value> = Value | PromiseLike<Value>;

/** Whether a value must be awaited. A plain value is used at once, so that a request need not wait for it. */
export function isPromiseLike<Value>(value: Awaitable<Value>): value is PromiseLike<Value> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
