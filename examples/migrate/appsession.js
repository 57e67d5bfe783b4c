/**
 * From express-openid-connect to express-sealed-session, without signing anybody out.
 *
 * A request that brings an `appSession` cookie, and none of ours, goes on with the tokens in it. They are sealed as a
 * session of ours, and from there on everything is as for any other request: an expired token is refreshed, once for all
 * requests that bring it. The response brings our cookie and removes the old one, so each old cookie is read once.
 *
 *     npm install express express-sealed-session jose
 *     node examples/migrate/appsession.js
 *
 * with the environment variables that express-openid-connect takes (SECRET, ISSUER_BASE_URL, CLIENT_ID, CLIENT_SECRET,
 * BASE_URL), and SESSION_PASSWORD, a new secret of 32 characters or more. AUDIENCE is the API that the access tokens are
 * for, where there is one; PORT is 3000 unless it is set.
 *
 * When no request has brought an old cookie for as long as they last (seven days, unless `absoluteDuration` said
 * otherwise), the marked lines can go.
 */
import { hkdfSync } from 'node:crypto';
import { fileURLToPath } from 'node:url';

import express from 'express';
import { oidc, withSession } from 'express-sealed-session';
import { decodeJwt, jwtDecrypt } from 'jose';

export function createApp(env) {
  const sessions = withSession({
    provider: oidc({
      issuer: env.ISSUER_BASE_URL,
      clientId: env.CLIENT_ID,
      clientSecret: env.CLIENT_SECRET,
      resource: env.AUDIENCE,
    }),
    password: env.SESSION_PASSWORD,
    baseUrl: env.BASE_URL,
    cookie: { name: ours, replaces: oldCookies }, // migration: the old ones are removed when ours is written
  });

  const app = express();
  const migration = fromAppSession(sessions, env.SECRET); // migration
  app.use(migration.before); // migration
  app.use(sessions);
  app.use(migration.after); // migration
  app.use(sessions.routes());
  app.get('/', (req, res) => res.json({ hello: sessions.get(req).user?.name ?? 'stranger' }));
  app.get('/profile', sessions.require(), (req, res) => res.json(sessions.signedIn(req).user));
  return app;
}

// A large session was split into pieces.
const oldCookies = ['appSession', ...Array.from({ length: 10 }, (_, piece) => `appSession.${piece}`)].map((name) => ({
  name, // add `domain` where `session.cookie.domain` was set
}));

// The name of our cookie, given as `cookie.name`. On http://localhost: `session`.
const ours = '__Host-session';

/** Two middlewares, one to mount before `sessions` and one after it. */
function fromAppSession(sessions, secret) {
  const migrating = new WeakSet();

  return {
    async before(req, res, next) {
      const cookies = parseCookies(req.headers.cookie);
      const isOurs = ours in cookies || `${ours}.0` in cookies;
      const tokens = isOurs ? undefined : await readAppSession(cookies, secret);
      if (tokens) {
        req.headers.cookie += `; ${ours}=${await sessions.seal(tokens)}`;
        migrating.add(req);
      }
      next();
    },
    async after(req, res, next) {
      const session = sessions.get(req);
      // A refreshed session is on the response already. Any other is written by saving it.
      if (migrating.has(req) && session.authenticated && !session.refreshed) await session.save();
      next();
    },
  };
}

/** The tokens in a cookie of express-openid-connect. Undefined without one, or when it cannot be used. */
async function readAppSession(cookies, secret) {
  const pieces = oldCookies.slice(1).map(({ name }) => cookies[name]);
  const jwe = cookies.appSession ?? pieces.slice(0, pieces.indexOf(undefined)).join('');
  const key = new Uint8Array(hkdfSync('sha256', secret, '', 'JWE CEK', 32));
  try {
    const { payload, protectedHeader } = await jwtDecrypt(jwe, key, {
      keyManagementAlgorithms: ['dir'],
      contentEncryptionAlgorithms: ['A256GCM'],
    });
    const {
      access_token: accessToken,
      refresh_token: refreshToken,
      id_token: idToken,
      expires_at: expiresAt,
    } = payload;
    const now = Math.trunc(Date.now() / 1000);
    // `exp` is the end of the session, not of the access token. A sign-in for an ID token alone has no access token.
    if (!(protectedHeader.exp > now) || !accessToken) return undefined;
    // express-openid-connect verified the ID token when the visitor signed in.
    const { sub: id, name, email, picture } = decodeJwt(idToken);
    // What session.signIn() takes. `expiresIn` counts for access tokens that are not JWTs.
    return { accessToken, refreshToken, user: { id, name, email, picture }, expiresIn: expiresAt - now };
  } catch {
    return undefined;
  }
}

function parseCookies(header = '') {
  return Object.fromEntries(
    header.split(/; */).map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const server = createApp(process.env).listen(process.env.PORT ?? 3000, () => {
    console.log(`Listening on http://localhost:${server.address().port}`);
  });
}
