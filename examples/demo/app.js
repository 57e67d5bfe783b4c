import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';

import express from 'express';
import { oidc, withSession } from 'express-sealed-session';

import { createActivity } from './activity.js';
import { errorPage } from './pages.js';
import { createProvider } from './provider.js';

// "script-src" by name: oidc-provider adds the hash of its own small script to it.
const contentSecurityPolicy =
  "default-src 'self'; script-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const publicFolder = fileURLToPath(new URL('public/', import.meta.url));

export async function createApp(origin) {
  const app = express();
  const activity = createActivity();
  app.disable('x-powered-by');
  app.use((req, res, next) => {
    res.set('Content-Security-Policy', contentSecurityPolicy);
    next();
  });

  // Browsers keep cookies by host name, and the provider sends visitors back to localhost. A sign-in that begins at
  // 127.0.0.1 would come back without its cookie.
  app.use((req, res, next) => {
    if (req.headers.host === new URL(origin).host) return next();
    res.redirect(307, origin + req.originalUrl.replace(/^[^/]*/, ''));
  });

  // The OpenID provider would be another company's server. Here it lives in the same process, so the demo needs no
  // account anywhere. It comes before withSession(): its requests have nothing to do with our session.
  const issuer = `${origin}/oidc`;
  const clientSecret = randomBytes(32).toString('base64url');
  app.use('/oidc', await createProvider({ issuer, clientSecret, origin, onRefreshGrant: activity.refreshGrant }));
  app.use(express.static(publicFolder, { index: false }));

  const known = new Set(); // in production: the app's own table of users
  const greet = ({ email }) => {
    if (known.has(email)) return 'Welcome back';
    if (known.size > 1000) known.clear();
    known.add(email);
    return 'Nice to meet you';
  };

  const sessions = withSession({
    provider: oidc({ issuer, clientId: 'demo', clientSecret, scope: 'openid profile email', resource: 'urn:demo:api' }),
    password: randomBytes(32).toString('base64url'), // in production: a secret that outlives the process
    baseUrl: origin, // in production https, which makes the cookie Secure
    cookie: { name: 'demo-session' }, // all ports of localhost share one cookie jar
    routes: { signUp: true }, // /signup, beside /login, /callback and /logout
    // After all checks and before any cookie: what the app keeps of a visitor begins here.
    onSignIn: ({ session }) => ({ data: { greeting: greet(session.user) } }),
    clockToleranceSeconds: 0, // the provider and the app share one clock, so the countdown may be exact
    events: {
      signedIn: ({ sessionId }) => activity.note(sessionId, 'Signed in → tokens sealed in one cookie'),
      refreshed: ({ sessionId, source, ahead, durationMs }) => {
        const why = ahead ? 'Access token about to expire' : 'Access token expired';
        const what = {
          leader: `${why} → refreshed in ${Math.round(durationMs)} ms, cookie resealed`,
          joined: 'Refresh already under way → waited for it, same new cookie',
          remembered: 'Old cookie, already renewed → same new cookie, no refresh',
        };
        activity.count(sessionId, source);
        activity.note(sessionId, what[source]);
      },
      refreshFailed: ({ sessionId, retryable, reason }) => {
        const fate = retryable ? 'cookie kept, try again soon' : 'session over, cookie cleared';
        activity.note(sessionId, `Refresh failed (${reason}) → ${fate}`);
      },
      signedOut: ({ sessionId }) => activity.forget(sessionId),
      rejected: ({ reason, detail }) => console.warn(`A session was not accepted: ${reason} (${detail})`),
      misconfigured: ({ message }) => console.warn(message),
    },
  });

  app.use(sessions); // every request below: req.session
  app.use(sessions.routes()); // /login, /signup, /callback, /logout

  app.use((req, res, next) => {
    const session = sessions.get(req);
    if (session.authenticated) activity.seen(session);
    next();
  });

  app.get('/', (req, res) => {
    res.set('Cache-Control', 'no-store');
    res.sendFile(sessions.get(req).authenticated ? 'signed-in.html' : 'signed-out.html', { root: publicFolder });
  });

  app.get('/api/me', sessions.require(), (req, res) => {
    const { user, sessionId, expiresAt, refreshed } = sessions.signedIn(req);
    if (!refreshed) activity.note(sessionId, 'Access token still valid → straight to the route');
    res.json({ user, expiresAt, refreshed, counts: activity.counts(sessionId) });
  });

  app.get('/api/log', sessions.require(), (req, res) => activity.follow(sessions.signedIn(req), res));

  // A page with "try again" for a person whose sign-in failed.
  app.use(sessions.errorHandler());

  // The package's errors have a status, a stable code and, where `expose` says so, a message that may be shown.
  app.use((error, req, res, next) => {
    if (res.headersSent) return next(error);
    const { status = 500, code = 'internal_error', expose, message } = error;
    if (status === 500) console.error(error);
    res.status(status);
    if (req.accepts(['json', 'html']) !== 'html') return res.json({ error: code });
    res.send(errorPage(expose ? message : 'Please try again in a moment.'));
  });

  return app;
}
