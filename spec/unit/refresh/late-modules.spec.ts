import { afterEach, beforeEach, expect, it, jest } from '@jest/globals';

import { fleetParts } from '../../../lib/fleet/fleet.js';
import { createProcessFleet } from '../../../lib/fleet/process-fleet.js';
import type { RefreshSettings } from '../../../lib/refresh/refresh.js';
import { startWorkosServer, type WorkosServer } from '../../support/workos-server.js';
import { workosOptions } from '../../support/workos-session.js';

// As after an installation that was interrupted.
const missing = "Cannot find package 'got'";
jest.unstable_mockModule('got', () => {
  throw new Error(missing);
});
const { refreshSession } = await import('../../../lib/refresh/refresh.js');
const { preload, send } = await import('../../../lib/wire/token-endpoint.js');

let server: WorkosServer;
let settings: RefreshSettings;
beforeEach(async () => {
  server = await startWorkosServer();
  const { coordinator } = fleetParts(createProcessFleet())!;
  settings = {
    provider: workosOptions(server).provider,
    coordinator,
    binding: 'these sessions',
    passwords: ['a password'],
    graceMs: 60_000,
    timeoutMs: 5_000,
    waitMs: 5_000,
    shape: (payload) => payload,
    clockToleranceSeconds: 5,
    emit: () => undefined,
    sealedUnder: 'a password',
    seal: () => Promise.resolve('sealed'),
    preload: () => Promise.resolve(),
  };
});
afterEach(() => server.close());

it('rejects a refresh with the error of the missing module', async () => {
  const { accessToken, refreshToken } = await server.issueSession();
  await expect(refreshSession(settings, { accessToken, refreshToken })).rejects.toThrow(missing);
  // As a second request does, which finds no outcome of the first.
  await expect(refreshSession(settings, { accessToken, refreshToken })).rejects.toThrow(missing);
});

it('rejects a token request and `preload()` with the error of the missing module', async () => {
  const request = { url: server.url, headers: {}, body: '' };
  await expect(send(request, { timeoutMs: 5_000, mayRepeat: false })).rejects.toThrow(missing);
  await expect(preload()).rejects.toThrow(missing);
});
