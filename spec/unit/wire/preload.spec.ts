import { beforeEach, describe, expect, it, jest } from '@jest/globals';

// As after an incomplete installation: the HTTP client is there no more.
const missing = Object.assign(new Error("Cannot find package 'got'"), { code: 'ERR_MODULE_NOT_FOUND' });

describe('an HTTP client that cannot be loaded', () => {
  beforeEach(() => {
    jest.resetModules();
    jest.unstable_mockModule('got', () => {
      throw missing;
    });
  });

  it.each([true, false])('is reported as it is by send(), not as an answer (mayRepeat: %s)', async (mayRepeat) => {
    const { send } = await import('../../../lib/wire/token-endpoint.js');
    const request = { url: 'http://127.0.0.1:9', headers: {}, body: '' };
    await expect(send(request, { timeoutMs: 1_000, mayRepeat })).rejects.toBe(missing);
  });

  it('is reported by preload()', async () => {
    const { preload } = await import('../../../lib/wire/token-endpoint.js');
    await expect(preload()).rejects.toBe(missing);
  });
});

it('is loaded by preload(), before a request needs it', async () => {
  jest.resetModules();
  let loads = 0;
  jest.unstable_mockModule('got', () => {
    loads += 1;
    const got = { extend: () => got };
    return { got };
  });
  const { preload } = await import('../../../lib/wire/token-endpoint.js');
  expect(loads).toBe(0);
  await preload();
  expect(loads).toBe(1);
});
