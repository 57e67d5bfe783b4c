// Each layer: `mount` puts it and one route that answers the user's id on an Express app; `cookie` is what a browser
// of one visitor sends. What a layer loads is loaded only where it runs.
import { createSecretKey, hkdfSync } from 'node:crypto';

import { apiKey, clientId, password, signingSecret } from './world.js';

const cookieName = 'wos-session';
const answer = (res, id) => (id === undefined ? res.status(401).json({}) : res.json({ id }));
const valueOf = (req, name) => req.headers.cookie?.split(`${name}=`)[1]?.split(';')[0];

async function ironSeal(session) {
  const { sealData } = await import('iron-session');
  return `${cookieName}=${await sealData(session, { password, ttl: 0 })}`;
}

export const layers = {
  'bare Express': {
    mount: (app) => app.get('/', (req, res) => answer(res, 'user_01')),
    cookie: () => '',
  },

  'express-sealed-session': {
    async mount(app, { url }) {
      const { withSession, workos } = await import('express-sealed-session');
      app.use(
        withSession({ provider: workos({ clientId, apiKey, baseUrl: url }), password, cache: { maxSessions: 10_000 } }),
      );
      app.get('/', (req, res) => answer(res, req.session.user?.id));
    },
    cookie: ironSeal,
  },

  'iron-session + jose by hand': {
    async mount(app, { url }) {
      const { unsealData } = await import('iron-session');
      const { createRemoteJWKSet, jwtVerify } = await import('jose');
      const keys = createRemoteJWKSet(new URL(`${url}/sso/jwks/${clientId}`));
      app.get('/', async (req, res) => {
        const session = await unsealData(valueOf(req, cookieName), { password, ttl: 0 });
        await jwtVerify(session.accessToken, keys, { algorithms: ['RS256'], requiredClaims: ['exp'] });
        answer(res, session.user?.id);
      });
    },
    cookie: ironSeal,
  },

  'WorkOS Node SDK': {
    async mount(app, { url }) {
      const { WorkOS } = await import('@workos-inc/node');
      const { hostname, port } = new URL(url);
      const workos = new WorkOS(apiKey, { clientId, apiHostname: hostname, port: Number(port), https: false });
      app.get('/', async (req, res) => {
        const session = workos.userManagement.loadSealedSession({
          sessionData: valueOf(req, cookieName),
          cookiePassword: password,
        });
        answer(res, (await session.authenticate()).user?.id);
      });
    },
    cookie: ironSeal,
  },

  'authkit-session': {
    async mount(app, { url }) {
      const { configure, createAuthService, CookieSessionStorage } = await import('@workos/authkit-session');
      const { hostname, port } = new URL(url);
      configure({
        clientId,
        apiKey,
        cookiePassword: password,
        redirectUri: 'http://localhost:3000/callback',
        apiHostname: hostname,
        apiPort: Number(port),
        apiHttps: false,
      });
      class Storage extends CookieSessionStorage {
        getSession(req) {
          return Promise.resolve(valueOf(req, cookieName) ?? null);
        }
      }
      const auth = createAuthService({ sessionStorageFactory: (config) => new Storage(config) });
      app.get('/', async (req, res) => {
        const { auth: result } = await auth.withAuth(req);
        answer(res, result.user?.id);
      });
    },
    cookie: ironSeal,
  },

  'express-openid-connect': {
    async mount(app, { url }) {
      const { default: eoc } = await import('express-openid-connect');
      app.use(
        eoc.auth({
          issuerBaseURL: url,
          baseURL: 'http://localhost:3000',
          clientID: clientId,
          secret: signingSecret,
          authRequired: false,
          session: { rolling: false },
        }),
      );
      app.get('/', (req, res) => answer(res, req.oidc.isAuthenticated() ? 'user_01' : undefined));
    },
    async cookie({ accessToken, refreshToken }) {
      const { EncryptJWT, UnsecuredJWT } = await import('jose');
      const key = createSecretKey(Buffer.from(hkdfSync('sha256', signingSecret, '', 'JWE CEK', 32)));
      const now = Math.trunc(Date.now() / 1000);
      const idToken = new UnsecuredJWT({ sub: 'user_01', name: 'One', email: 'one@example.com' }).encode();
      const { CompactEncrypt } = await import('jose');
      void EncryptJWT;
      const payload = {
        id_token: idToken,
        access_token: accessToken,
        refresh_token: refreshToken,
        token_type: 'Bearer',
        expires_at: now + 7200,
      };
      const jwe = await new CompactEncrypt(Buffer.from(JSON.stringify(payload)))
        .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', iat: now, uat: now, exp: now + 86_400 })
        .encrypt(key);
      return `appSession=${jwe}`;
    },
  },

  'express-session (memory)': {
    async mount(app) {
      const { default: session } = await import('express-session');
      const store = new session.MemoryStore();
      app.use(session({ secret: signingSecret, resave: false, saveUninitialized: false, store }));
      app.get('/', (req, res) => answer(res, req.session.user?.id));
      // A store is filled where it lies.
      return (id, session_) =>
        new Promise((done) => store.set(id, { cookie: { originalMaxAge: null }, ...session_ }, done));
    },
    async cookie(session, { number }) {
      const { createHmac } = await import('node:crypto');
      const id = `session-${number}`;
      const signature = createHmac('sha256', signingSecret).update(id).digest('base64').replace(/=+$/, '');
      return `connect.sid=${encodeURIComponent(`s:${id}.${signature}`)}`;
    },
    stored: true,
  },

  'cookie-session (signed only)': {
    async mount(app) {
      const { default: cookieSession } = await import('cookie-session');
      app.use(cookieSession({ name: 'session', keys: [signingSecret] }));
      app.get('/', (req, res) => answer(res, req.session.user?.id));
    },
    async cookie(session) {
      const { createHmac } = await import('node:crypto');
      const value = Buffer.from(JSON.stringify(session)).toString('base64');
      const signature = createHmac('sha1', signingSecret).update(`session=${value}`).digest('base64');
      return `session=${value}; session.sig=${signature.replace(/\//g, '_').replace(/\+/g, '-').replace(/=/g, '')}`;
    },
  },
};
