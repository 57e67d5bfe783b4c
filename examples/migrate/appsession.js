/**
 * From express-openid-connect to express-sealed-session, without signing anybody out.
 *
 * Whoever comes with an `appSession` cookie, and none of ours, goes on with the tokens in it: they are sealed as a
 * session of ours, and from there on everything is as for any other request. A token that has expired is renewed, once
 * for all requests that come with it; with a good one the visitor simply is signed in. The response brings our cookie
 * and removes the old one, so each old cookie is read once.
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
import { createSessionManager, oidc, requireSession, sessionRoutes, withSession } from 'express-sealed-session';
import { decodeJwt, jwtDecrypt } from 'jose';

export function createApp(env) {
  const options = {
    provider: oidc({
      issuer: env.ISSUER_BASE_URL,
      clientId: env.CLIENT_ID,
      clientSecret: env.CLIENT_SECRET,
      resource: env.AUDIENCE,
    }),
    password: env.SESSION_PASSWORD,
    baseUrl: env.BASE_URL,
    legacyCookies: oldCookies, // migration: removed from browsers when a cookie of ours is written
  };

  const app = express();
  const migration = fromAppSession(options, env.SECRET); // migration
  app.use(migration.before); // migration
  app.use(withSession(options));
  app.use(migration.after); // migration
  app.use(sessionRoutes(options));
  app.get('/', (req, res) => res.json({ hello: req.session.user?.name ?? 'stranger' }));
  app.get('/profile', requireSession(), (req, res) => res.json(req.session.user));
  return app;
}

// A large session was split into pieces.
const oldCookies = ['appSession', ...Array.from({ length: 10 }, (_, piece) => `appSession.${piece}`)].map((name) => ({
  name, // add `domain` where `session.cookie.domain` was set
}));

/** Two middlewares, for before and after `withSession`. */
function fromAppSession(options, secret) {
  const sessions = createSessionManager(options);
  const ours = options.provider.cookieName; // or `cookie.name`, where it is set
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
      // A renewed session is on the response already. Any other is written by saving it.
      if (migrating.has(req) && req.session.authenticated && !req.session.refreshed) await req.session.save();
      next();
    },
  };
}

/** The tokens in an express-openid-connect cookie; undefined when there is none, or none that is any good. */
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
    // `exp` is the end of the session, not of the access token. Who only asked for an ID token has no access token.
    if (!(protectedHeader.exp > now) || !accessToken) return undefined;
    // express-openid-connect has verified the ID token when the visitor signed in.
    const { sub: id, name, email, picture } = decodeJwt(idToken);
    // What session.signIn() takes. `expiresIn` is for access tokens that are no JWTs.
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
