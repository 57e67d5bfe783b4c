// Each layer: `mount` puts it and one route that answers the user's id on an Express app; `cookie` is what a browser
// of one visitor sends. What a layer loads is loaded only where it runs.
import { createHmac, createSecretKey, generateKeyPairSync, hkdfSync } from 'node:crypto';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { connectRedis } from './redis.js';
import { stepLayers } from './step-layers.js';
import { apiKey, clientId, password, signingSecret } from './world.js';

const cookieName = 'wos-session';
const answer = (res, id) => (id === undefined ? res.status(401).json({}) : res.json({ id }));
const valueOf = (req, name) => req.headers.cookie?.split(`${name}=`)[1]?.split(';')[0];
const sign = (algorithm, text) => createHmac(algorithm, signingSecret).update(text).digest('base64');

async function ironSeal(session) {
  const { sealData } = await import('iron-session');
  return `${cookieName}=${await sealData(session, { password, ttl: 0 })}`;
}

async function mountOurs(app, url, options, { withSession, workos }) {
  app.use(withSession({ provider: workos({ clientId, apiKey, baseUrl: url }), password, ...options }));
  app.get('/', (req, res) => answer(res, req.session.user?.id));
}

// Everything that can be asked of a known visitor besides: what the fleet has ended, a bearer token, the origin, the proof.
const demanding = {
  baseUrl: 'https://app.example.com',
  bearer: true,
  trustedOrigins: ['https://other.example.com'],
  deviceBound: true,
};

/** A session that is bound to a device, and the cookie that proves the device. */
async function boundCookie(session, { number, url }) {
  const [{ workos }, { resolveOptions }, { deviceKeyOf }] = await Promise.all([
    import('express-sealed-session'),
    import('../dist/options/config.js'),
    import('../dist/token/device-jwt.js'),
  ]);
  const provider = workos({ clientId, apiKey, baseUrl: url });
  const { proofs, cookie } = resolveOptions({ provider, password, ...demanding }, 'withSession').device;
  boundKey ??= deviceKeyOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' })).jwk;
  const bound = { ...session, sessionId: `session-${number}`, deviceKey: boundKey };
  const proof = proofs.make(bound, Math.trunc(Date.now() / 1000) + 3_600);
  return `${await ironSeal(bound)}; ${cookie.name}=${proof}`;
}
let boundKey;

/** A seal of this format opens only where its provider is, so the provider's address goes into it. */
async function compactSeal(session, { url }) {
  const { compactSealer, createSessionManager, workos } = await import('express-sealed-session');
  compactManager ??= createSessionManager({
    provider: workos({ clientId, apiKey, baseUrl: url }),
    password,
    sealer: compactSealer(),
  });
  return `${cookieName}=${await compactManager.seal(session)}`;
}
let compactManager;

// Another build of this package, of which the folder is named: what an earlier commit took, in the same run.
const before = process.env.BENCH_BEFORE;

// A visitor whose session lies in a store brings its signed number.
const storedId = (number) => `session-${number}`;
const storedCookie = (session, { number }) => {
  const id = storedId(number);
  return `connect.sid=${encodeURIComponent(`s:${id}.${sign('sha256', id).replace(/=+$/, '')}`)}`;
};

async function mountStored(app, makeStore) {
  const { default: session } = await import('express-session');
  const store = await makeStore(session);
  app.use(session({ secret: signingSecret, resave: false, saveUninitialized: false, store }));
  app.get('/', (req, res) => answer(res, req.session.user?.id));
  // A store is filled where it lies.
  return (number, stored) =>
    new Promise((done) => store.set(storedId(number), { cookie: { originalMaxAge: null }, ...stored }, done));
}

export const layers = {
  'bare Express': {
    mount: (app) => {
      app.get('/', (req, res) => answer(res, 'user_01'));
    },
    cookie: () => '',
  },

  // What the header itself costs, which every request brings: reading it from the network, and making a text of it.
  'bare Express sent an Iron cookie': {
    mount: (app) => layers['bare Express'].mount(app),
    cookie: ironSeal,
  },

  'bare Express sent a compact cookie': {
    mount: (app) => layers['bare Express'].mount(app),
    cookie: compactSeal,
  },

  'express-sealed-session': {
    mount: async (app, { url }) => mountOurs(app, url, {}, await import('express-sealed-session')),
    cookie: ironSeal,
  },

  'express-sealed-session (compact)': {
    async mount(app, { url }) {
      const ours = await import('express-sealed-session');
      return mountOurs(app, url, { sealer: ours.compactSealer() }, ours);
    },
    cookie: compactSeal,
  },

  ...stepLayers({ cookie: compactSeal, valueOf, name: cookieName, answer }),

  ...(before && {
    'express-sealed-session (before)': {
      mount: async (app, { url }) =>
        mountOurs(app, url, {}, await import(pathToFileURL(join(before, 'dist/index.js')).href)),
      cookie: ironSeal,
    },
  }),

  'express-sealed-session (Redis)': {
    async mount(app, { url, redisSocket }) {
      const { redisFleet } = await import('express-sealed-session/redis');
      const fleet = redisFleet({ client: await connectRedis(redisSocket) });
      await mountOurs(app, url, { fleet }, await import('express-sealed-session'));
    },
    cookie: ironSeal,
    needsRedis: true,
  },

  'express-sealed-session (everything on)': {
    async mount(app, { url, redisSocket }) {
      const { redisFleet } = await import('express-sealed-session/redis');
      const fleet = redisFleet({ client: await connectRedis(redisSocket) });
      await mountOurs(app, url, { ...demanding, fleet }, await import('express-sealed-session'));
    },
    cookie: boundCookie,
    needsRedis: true,
  },

  'bare Express sent a bound cookie': {
    mount: (app) => layers['bare Express'].mount(app),
    cookie: boundCookie,
  },

  'iron-session + jose by hand': {
    async mount(app, { url }) {
      const { sealData, unsealData } = await import('iron-session');
      const { createRemoteJWKSet, jwtVerify } = await import('jose');
      const keys = createRemoteJWKSet(new URL(`${url}/sso/jwks/${clientId}`));
      const verify = (token) => jwtVerify(token, keys, { algorithms: ['RS256'], requiredClaims: ['exp'] });
      app.get('/', async (req, res) => {
        let session = await unsealData(valueOf(req, cookieName), { password, ttl: 0 });
        try {
          await verify(session.accessToken);
        } catch (error) {
          if (error.code !== 'ERR_JWT_EXPIRED') throw error;
          session = { ...session, ...(await refresh(session)) };
          await verify(session.accessToken);
          res.cookie(cookieName, await sealData(session, { password, ttl: 0 }), { httpOnly: true, secure: true });
        }
        answer(res, session.user?.id);
      });

      async function refresh({ refreshToken }) {
        const answered = await fetch(`${url}/user_management/authenticate`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ client_id: clientId, client_secret: apiKey, refresh_token: refreshToken }),
        });
        if (!answered.ok) throw new Error(`The provider answered ${answered.status}.`);
        const tokens = await answered.json();
        return { accessToken: tokens.access_token, refreshToken: tokens.refresh_token };
      }
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
      const { CompactEncrypt, UnsecuredJWT } = await import('jose');
      const key = createSecretKey(Buffer.from(hkdfSync('sha256', signingSecret, '', 'JWE CEK', 32)));
      const now = Math.trunc(Date.now() / 1000);
      const payload = {
        id_token: new UnsecuredJWT({ sub: 'user_01', name: 'One', email: 'one@example.com' }).encode(),
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
    mount: (app) => mountStored(app, (session) => new session.MemoryStore()),
    cookie: storedCookie,
    stored: true,
  },

  'express-session (Redis)': {
    mount: (app, { redisSocket }) =>
      mountStored(app, async () => {
        const { RedisStore } = await import('connect-redis');
        return new RedisStore({ client: await connectRedis(redisSocket) });
      }),
    cookie: storedCookie,
    stored: true,
    needsRedis: true,
  },

  'cookie-session (signed only)': {
    async mount(app) {
      const { default: cookieSession } = await import('cookie-session');
      app.use(cookieSession({ name: 'session', keys: [signingSecret] }));
      app.get('/', (req, res) => answer(res, req.session.user?.id));
    },
    cookie(session) {
      const value = Buffer.from(JSON.stringify(session)).toString('base64');
      const signature = sign('sha1', `session=${value}`).replace(/\//g, '_').replace(/\+/g, '-').replace(/=/g, '');
      return `session=${value}; session.sig=${signature}`;
    },
  },
};
