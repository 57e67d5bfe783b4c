import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';

import express from 'express';
import { oidc, withSession } from 'express-sealed-session';

import { createActivity } from './activity.js';
import { clock } from './clock.js';
import { errorPage } from './pages.js';
import { createProvider, lifetimeMs } from './provider.js';
import { createThief } from './thief.js';
import { withoutThePackage } from './without.js';

// "script-src" by name: oidc-provider adds the hash of its own small script to it.
const contentSecurityPolicy =
  "default-src 'self'; script-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const cookieName = 'demo-session'; // all ports of localhost share one cookie jar
const proofSeconds = 600;
const healths = {
  up: 'Provider up → answers at once',
  slow: 'Provider slow → takes three seconds for a refresh',
  down: 'Provider down → drops every connection',
};
const publicFolder = fileURLToPath(new URL('public/', import.meta.url));

/** @param certificate of the demo itself, where it speaks https */
export async function createApp(origin, certificate) {
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
  const provider = await createProvider({ issuer, clientSecret, origin, onRefreshGrant: activity.refreshGrant });
  app.use('/oidc', provider.router);
  app.use(express.static(publicFolder, { index: false }));

  const known = new Set(); // in production: the app's own table of users
  const greet = ({ email }) => {
    if (known.has(email)) return 'Welcome back';
    if (known.size > 1000) known.clear();
    known.add(email);
    return 'Nice to meet you';
  };

  const sessions = withSession({
    provider: oidc({
      issuer,
      clientId: 'demo',
      clientSecret,
      scope: 'openid profile email',
      resource: 'urn:demo:api',
      ...(certificate && { agent: { https: certificate.agent } }), // in production the certificate is known
    }),
    password: randomBytes(32).toString('base64url'), // in production: a secret that outlives the process
    baseUrl: origin, // in production https, which makes the cookie Secure
    cookie: { name: cookieName },
    ...(certificate && { deviceBound: { proofSeconds } }), // browsers bind sessions over https only
    routes: { signUp: true }, // /signup, beside /login, /callback and /logout
    // After all checks and before any cookie: what the app keeps of a visitor begins here.
    onSignIn: ({ session }) => ({ data: { greeting: greet(session.user) } }),
    clockToleranceSeconds: 0, // the provider and the app share one clock, so the countdown may be exact
    events: {
      signedIn: ({ sessionId }) => activity.note(sessionId, 'Signed in → tokens sealed in one cookie'),
      refreshed: ({ sessionId, source, ahead, durationMs }) => {
        const why = ahead ? 'Access token refreshed ahead' : 'Access token expired';
        const what = {
          leader: `${why} → refreshed in ${Math.round(durationMs)} ms, cookie resealed`,
          joined: 'Refresh already under way → waited for it, same new cookie',
          remembered: 'Old cookie, already refreshed → same new cookie, no refresh',
        };
        activity.count(sessionId, source);
        activity.note(sessionId, what[source]);
      },
      refreshFailed: ({ sessionId, retryable, reason }) => {
        const fate = retryable ? 'cookie kept, try again soon' : 'session over, cookie cleared';
        activity.note(sessionId, `Refresh failed (${reason}) → ${fate}`);
      },
      deviceBound: ({ sessionId }) => {
        activity.note(sessionId, 'Bound to this device → the cookie holds the public key, the browser keeps the other');
        activity.show(sessionId, { device: { bound: true } });
      },
      deviceProofMissed: ({ sessionId }) => activity.note(sessionId, 'Cookies without their device → nobody'),
      signedOut: ({ sessionId }) => activity.forget(sessionId),
      rejected: ({ sessionId, reason, detail }) => {
        if (sessionId) activity.note(sessionId, `Session not accepted → ${reason} (${detail})`);
        else console.warn(`A session was not accepted: ${reason} (${detail})`);
      },
      misconfigured: ({ message }) => console.warn(message),
    },
  });

  // What a visitor may do to the demo: without a session, or the way back from "down" would be refused.
  app.use('/api/demo', sessions.requireSameOrigin());
  app.post('/api/demo/expire', (req, res) => {
    clock.turnForward(lifetimeMs);
    forgetProof(res);
    activity.tell('Clock turned forward → every access token has expired', { aheadMs: clock.aheadMs() });
    res.json({});
  });
  app.post('/api/demo/provider/:state', (req, res) => {
    const { state } = req.params;
    if (!Object.hasOwn(healths, state)) return res.status(404).json({ error: 'not_found' });
    provider.health.state = state;
    activity.tell(healths[state], { provider: state });
    res.json({});
  });

  // The same request without the package.
  const without = withoutThePackage({
    tokenEndpoint: `${issuer}/token`,
    clientSecret,
    readCookie,
    onRefreshGrant: activity.refreshGrantWithout,
  });
  app.get('/api/without', without.middleware, (req, res) => {
    res.status(res.locals.status).json({ ...res.locals.answer, grants: activity.compared(res.locals.grantId) });
  });

  app.use(sessions); // every request below: req.session
  app.use(sessions.routes()); // /login, /signup, /callback, /logout

  app.use((req, res, next) => {
    const session = sessions.get(req);
    if (session.authenticated) activity.seen(session, cookieOf(req, res));
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

  app.get('/api/log', sessions.require(), (req, res) => {
    const session = sessions.signedIn(req);
    const device = certificate && { bound: session.deviceBound };
    activity.follow(session, res, { aheadMs: clock.aheadMs(), provider: provider.health.state, device });
  });

  // A copy of this visitor's cookies, sent by somebody else; and what becomes of it when its proof has expired.
  if (certificate) {
    const thief = createThief({ origin, agent: certificate.agent });
    app.post('/api/copy', sessions.require(), async (req, res) => {
      const { sessionId } = sessions.signedIn(req);
      thief.copy(sessionId, req.headers.cookie);
      res.json({ copy: await thief.attempt(sessionId) });
    });
    app.post('/api/copy/later', sessions.require(), (req, res) => {
      clock.turnForward(proofSeconds * 1000);
      forgetProof(res);
      activity.tell('Clock turned ten minutes forward → the proof has expired', { aheadMs: clock.aheadMs() });
      res.json({});
    });
    app.post('/api/copy/attempt', sessions.require(), async (req, res) => {
      res.json({ copy: await thief.attempt(sessions.signedIn(req).sessionId) });
    });
  }

  app.post('/api/end', sessions.require(), async (req, res) => {
    const { sessionId } = sessions.signedIn(req);
    await provider.endSession(sessionId);
    activity.note(sessionId, 'Session ended at the provider → its access token serves until it expires');
    res.json({});
  });

  // A second session for the requests without the package: refreshed at once, so its first access token counts as expired.
  app.post('/api/without', sessions.require(), async (req, res) => {
    const { grantId, refreshToken } = await provider.beginSession(sessions.signedIn(req).user.id);
    activity.compare(grantId);
    await without.begin(res, { grantId, refreshToken, expiresAt: 0 });
    res.json({});
  });

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

/** The browser's own clock was not turned forward: it drops the proof of its device here, and gets another one. */
function forgetProof(res) {
  res.clearCookie(`__Host-${cookieName}-proof`, { path: '/', secure: true, httpOnly: true, sameSite: 'lax' });
}

/** The session cookie as the browser will have it after this answer: how long, and how it begins. */
function cookieOf(req, res) {
  const written = [res.getHeader('set-cookie') ?? []].flat().filter((header) => header.startsWith(`${cookieName}=`));
  const value =
    written
      .at(-1)
      ?.slice(cookieName.length + 1)
      .split(';')[0] || readCookie(req, cookieName);
  return value && { name: cookieName, bytes: cookieName.length + 1 + value.length, start: value.slice(0, 120) };
}

function readCookie({ headers }, name) {
  const pair = headers.cookie?.split('; ').find((each) => each.startsWith(`${name}=`));
  return pair && decodeURIComponent(pair.slice(name.length + 1));
}
