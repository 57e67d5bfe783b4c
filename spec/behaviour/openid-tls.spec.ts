import { Agent } from 'node:https';

import { describe, expect, it } from '@jest/globals';

import { useClock } from '../support/clock.js';
import { serveOp } from '../support/op-app.js';
import { hasOpenssl, selfSigned } from '../support/certificate.js';
import { startTlsOp } from '../support/tls-op.js';

const clock = useClock();
const person = { name: 'Ada', email: 'ada@example.com' };

(hasOpenssl ? describe : describe.skip)('mutual TLS by agent (RFC 8705)', () => {
  const own = hasOpenssl ? selfSigned('client_01') : '';
  const wire = { idToken: {}, userinfo: { sub: 'user_01', ...person }, knowsClientByTls: true };
  const provider = async () => startTlsOp('localhost', { wire, clientCertificates: own });

  it.each(['tls_client_auth', 'self_signed_tls_client_auth'] as const)(
    'signs in and refreshes, each connection with the certificate of the client: %s',
    async (method) => {
      const { issuer, certificate, op, clients } = await provider();
      const agent = { https: new Agent({ ca: certificate, cert: own, key: own }) };
      const { signIn, browser } = await serveOp({}, () => ({
        issuer,
        clientId: op.clientId,
        clientSecret: undefined,
        clientAuthentication: { method },
        agent,
      }));
      expect((await signIn()).json).toMatchObject({ authenticated: true, user: person });
      clock.advance(400);
      expect((await browser.get('/')).json).toMatchObject({ authenticated: true, refreshed: true });
      await browser.post('/logout', { headers: { 'sec-fetch-site': 'same-origin' } });
      // Metadata, keys, userinfo and tokens: nobody came without it.
      const paths = new Set(op.requests.map(({ path }) => path));
      for (const path of ['/.well-known/openid-configuration', '/jwks', '/userinfo', '/token']) {
        expect([...paths]).toContain(path);
      }
      expect(new Set(clients)).toEqual(new Set(['client_01']));
      expect(op.to('/token')[0]!.form.get('client_id')).toBe('client_01');
      agent.https.destroy();
    },
  );

  it.each([
    ['where the client shows a certificate', 'tls_client_auth' as const, 200],
    ['not for a client without', 'client_secret_basic' as const, 503],
  ])('asks the endpoints that the provider has for mutual TLS, %s', async (_, method, status) => {
    const { issuer, certificate, op } = await provider();
    op.wire.metadata = {
      ...op.wire.metadata,
      token_endpoint: 'https://localhost:1/token',
      mtls_endpoint_aliases: {
        token_endpoint: `${issuer}/token`,
        authorization_endpoint: 'https://localhost:1/authorize',
      },
    };
    const agent = { https: new Agent({ ca: certificate, cert: own, key: own }) };
    const { signIn } = await serveOp({}, () => ({ issuer, clientAuthentication: { method }, agent }));
    expect((await signIn()).status).toBe(status);
    expect(op.to('/token')).toHaveLength(status === 200 ? 1 : 0);
    agent.https.destroy();
  });

  it.each([
    ['without a certificate', undefined],
    ['with the certificate of another', hasOpenssl ? selfSigned('client_02') : ''],
  ])('reaches nothing %s, and tells it', async (_, pem) => {
    const { issuer, certificate, op } = await provider();
    const agent = { https: new Agent({ ca: certificate, ...(pem !== undefined && { cert: pem, key: pem }) }) };
    const { signIn, problems } = await serveOp({}, () => ({
      issuer,
      clientId: op.clientId,
      clientSecret: undefined,
      clientAuthentication: { method: 'tls_client_auth' },
      agent,
    }));
    expect((await signIn()).status).toBe(503);
    expect(problems()).toMatchObject([expect.stringMatching(/^metadata /)]);
    expect(op.requests).toEqual([]);
  });

  it('reaches nothing whose certificate nobody has vouched for', async () => {
    const { issuer, op } = await provider();
    const agent = { https: new Agent({ cert: own, key: own }) };
    const { signIn, problems } = await serveOp({}, () => ({ issuer, agent }));
    expect((await signIn()).status).toBe(503);
    expect([problems(), op.requests]).toEqual([['metadata DEPTH_ZERO_SELF_SIGNED_CERT'], []]);
  });
});
