import type { SessionEvents } from '../events.js';

/** Tells the app what shows only at work. */
export type Tell = (problem: SessionEvents['misconfigured']) => void;

/** The sign-in brought no refresh token. */
export function tellNoRefreshToken(tell: Tell): void {
  tell({
    problem: 'no_refresh_token',
    option: 'provider.scope',
    message:
      'The provider gave no refresh token, so sessions end with their access token. Allow the grant "refresh_token" for ' +
      'this client, and ask for it as the provider wants: by the scope "offline_access", with some also ' +
      "authorizationParameters: { prompt: 'consent' }; with Google by { access_type: 'offline', prompt: 'consent' }.",
  });
}

/** A refresh brought no ID token that could be used. */
export function tellOldClaims(tell: Tell, cause: string): void {
  tell({
    problem: 'old_claims',
    cause,
    option: 'provider.mapClaims',
    message:
      `A refresh brought no usable ID token (${cause}), so what guards read of it is as old as the last one, or as the ` +
      'sign-in. Have the provider put roles and permissions into an access token for this app, or limit the lifetime of sessions.',
  });
}
