import { AssertionError } from 'node:assert/strict';

import type { Awaitable } from '../awaitable.js';

/** The result of a method that may as well refuse. */
export async function settled<Value>(call: () => Awaitable<Value>): Promise<Value | undefined> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof AssertionError) throw error;
    return undefined;
  }
}
