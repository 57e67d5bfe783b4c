import { describe, expect, it } from '@jest/globals';
import { WorkOS } from '@workos-inc/node';

import { createBrowser } from '../support/browser.js';
import { documentFrom, offerOf } from '../support/device.js';
import { proofName, shown, useDeviceApps } from '../support/device-app.js';
import { password } from '../support/workos-session.js';

const apps = useDeviceApps();

describe('a session that is bound to a device, in the WorkOS Node SDK', () => {
  it('is opened without a proof, and bound no more when the SDK has refreshed it', async () => {
    const { app, browser } = await apps.bind();
    const { hostname, port } = new URL(apps.server.url);
    const sdk = new WorkOS(apps.server.apiKey, {
      clientId: apps.server.clientId,
      apiHostname: hostname,
      port: Number(port),
      https: false,
    });
    const sessionData = browser.jar.get('wos-session')!;
    const session = sdk.userManagement.loadSealedSession({ sessionData, cookiePassword: password });
    expect(await session.authenticate()).toMatchObject({ authenticated: true, user: { id: 'user_01' } });
    const refreshed = await session.refresh();
    const sealed = refreshed.authenticated ? refreshed.sealedSession : undefined;
    const cookie = `wos-session=${sealed!}; ${proofName}=${browser.jar.get(proofName)!}`;
    const headers = { ...documentFrom('none').headers, cookie };
    expect(await shown(createBrowser(app.url), { headers })).toMatchObject({ authenticated: true, deviceBound: false });
    const other = await apps.serve();
    expect(offerOf(await createBrowser(other.url).get('/', { headers }))).toBeDefined();
  });
});
