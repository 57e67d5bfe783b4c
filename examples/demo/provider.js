import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';

import express from 'express';
import { exportJWK, generateKeyPair } from 'jose';

import { errorPage, signInPage, signOutPage } from './pages.js';

// oidc-provider prints advice for production (a database, a Node version). A demo in memory takes none of it.
for (const level of ['info', 'warn']) {
  const print = console[level];
  console[level] = (...words) => {
    if (!String(words[0]).includes('oidc-provider ')) print(...words);
  };
}
const { Provider } = await import('oidc-provider');

const api = 'urn:demo:api';
const scope = 'openid profile email';
const maxAccounts = 1000;
const usualMs = 150; // as far away as a real one
const slowMs = 3000;

/** How long an access token lives. */
export const lifetimeMs = 20_000;
const day = 24 * 60 * 60;

/**
 * An OpenID provider in memory, for one client: access tokens of 20 seconds, and refresh tokens that can be used once.
 * Using one twice ends the session, as at any strict provider. Beside its router it has what a visitor of the demo may do
 * to it: make it slow or take it down, and end a session.
 */
export async function createProvider({ issuer, clientSecret, origin, onRefreshGrant }) {
  const accounts = new Map();
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });

  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: 'demo',
        client_secret: clientSecret,
        token_endpoint_auth_method: 'client_secret_basic',
        grant_types: ['authorization_code', 'refresh_token'],
        redirect_uris: [`${origin}/callback`],
        post_logout_redirect_uris: [origin, `${origin}/`],
      },
    ],
    jwks: { keys: [{ ...(await exportJWK(privateKey)), alg: 'RS256', use: 'sig', kid: randomUUID() }] },
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    pkce: { required: () => true },
    extraParams: ['screen_hint'], // what oidc() sends for a sign-up where the metadata has no better way
    claims: { openid: ['sub'], profile: ['name'], email: ['email'] },
    conformIdTokenClaims: false, // name and email are in the ID token, so the app need not ask for them
    rotateRefreshToken: true,
    issueRefreshToken: () => true,
    // One grant per sign-in, so its id tells one session from another.
    extraTokenClaims: (ctx, token) => ({ sid: token.grantId }),
    ttl: { Interaction: 3600, Session: day, Grant: day, RefreshToken: day, IdToken: 3600, AuthorizationCode: 60 },
    features: {
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => api,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          audience: api,
          scope: '',
          accessTokenFormat: 'jwt',
          accessTokenTTL: lifetimeMs / 1000,
        }),
      },
      revocation: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx, form) => {
          ctx.body = signOutPage(form);
        },
      },
    },
    interactions: { url: (ctx, { uid }) => `/oidc/interaction/${uid}` },
    renderError: (ctx, { error, error_description: description }) => {
      ctx.type = 'html';
      ctx.body = errorPage(description ?? error);
    },
    findAccount: (ctx, sub) => accounts.get(sub) && { accountId: sub, claims: () => accounts.get(sub) },
    // Signing in here is agreement to everything: no consent page.
    async loadExistingGrant({ oidc: { account, client } }) {
      const grant = new provider.Grant({ accountId: account.accountId, clientId: client.clientId });
      grant.addOIDCScope(scope);
      await grant.save();
      return grant;
    },
  });

  // A refused refresh counts as well: the page shows what has reached this provider, not what went well.
  for (const outcome of ['grant.success', 'grant.error']) {
    provider.on(outcome, ({ oidc: { params, entities } }) => {
      if (params.grant_type === 'refresh_token' && entities.Grant) onRefreshGrant(entities.Grant.jti);
    });
  }
  provider.on('server_error', (ctx, error) => console.error(error));

  function createAccount(name) {
    const sub = randomUUID();
    accounts.set(sub, { sub, name, email: `${slug(name)}@example.com` });
    if (accounts.size > maxAccounts) accounts.delete(accounts.keys().next().value);
    return sub;
  }

  const health = { state: 'up' };
  const router = express.Router();

  router.post('/token', async (req, res, next) => {
    if (health.state === 'down') return req.socket.destroy();
    await setTimeout(health.state === 'slow' ? slowMs : usualMs);
    next();
  });

  router.get('/interaction/:uid', async (req, res) => {
    // Throws when this sign-in is not the browser's own, or is over.
    const { params } = await provider.interactionDetails(req, res);
    res.send(signInPage({ isSignUp: params.screen_hint === 'signup' }));
  });

  router.post('/interaction/:uid', express.urlencoded({ extended: false }), async (req, res) => {
    if (req.body?.decline) return provider.interactionFinished(req, res, { error: 'access_denied' });
    const name = String(req.body?.name ?? '')
      .trim()
      .slice(0, 60);
    if (!name) return res.redirect(303, req.originalUrl);
    await provider.interactionFinished(req, res, { login: { accountId: createAccount(name) } });
  });

  router.use('/interaction', (error, req, res, next) => {
    if (res.headersSent) return next(error);
    res.status(error.status ?? 500).send(errorPage('This sign-in is over, or was begun in another browser.'));
  });

  /** Signs a session out here, as an administrator would. Its access token lives on until it expires. */
  async function endSession(grantId) {
    const grant = await provider.Grant.find(grantId);
    await provider.RefreshToken.revokeByGrantId(grantId);
    await grant?.destroy();
  }

  /** A second session of the same person, for the requests without the package. */
  async function beginSession(accountId) {
    const client = await provider.Client.find('demo');
    const grant = new provider.Grant({ accountId, clientId: 'demo' });
    grant.addOIDCScope(scope);
    const grantId = await grant.save();
    const token = new provider.RefreshToken({ accountId, client, grantId, gty: 'authorization_code', scope });
    return { grantId, refreshToken: await token.save() };
  }

  return { router: router.use(provider.callback()), health, endSession, beginSession };
}

/** The name in plain letters: accents fall away, and all else becomes a dash. */
function slug(name) {
  const plain = name.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();
  return plain.replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '') || 'someone';
}
