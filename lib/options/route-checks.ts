import { bool, type Check, type Checks, object, optional, someOf, text, textRecord } from '../checks.js';
import type { ConfigProblem } from '../errors.js';
import { safeReturnPath } from '../http/navigation.js';
import { isRecord } from '../json.js';
import { forwardable } from './site-checks.js';
import type { ErrorPageWords, RouteOptions, SessionOptions, SignInOptions, SignOutOptions } from './session-options.js';

const path: Check = (value) =>
  typeof value === 'string' && value !== '' && safeReturnPath(value, '') === value
    ? undefined
    : 'must be a path of the app that begins with one slash, such as "/login".';

const pathAlone: Check = (value) =>
  /[?#]/.test(String(value)) ? 'must be a path alone, without a query and a fragment.' : undefined;

// A request's path is compared without its query, so a path with one would never match.
const routePath: Check = (value) => {
  if (typeof value === 'boolean') return undefined;
  const message = path(value);
  if (message !== undefined) return `${message.slice(0, -1)}; or true for the usual one, or false for none.`;
  return pathAlone(value);
};

/** A path alone: of a browser's rules, and of ours. */
export const pathOfApp: Check = (value) => path(value) ?? pathAlone(value);

export const routeChecks: Checks<RouteOptions> = {
  base: optional(pathOfApp),
  login: optional(routePath),
  callback: optional(routePath),
  logout: optional(routePath),
  signUp: optional(routePath),
  session: optional(routePath),
  organization: optional(routePath),
  device: optional(routePath),
  backchannelLogout: optional(routePath),
  webhook: optional(routePath),
};

export const signInChecks: Checks<SignInOptions> = {
  returnTo: optional(path),
  forwardParameters: optional(forwardable),
  silent: optional(bool),
  errorPage: optional((value) => (value === false ? undefined : object(value))),
};

export const errorPageChecks: Checks<ErrorPageWords> = {
  lang: optional(text),
  title: optional(text),
  text: optional(text),
  retry: optional(text),
  switchOrganization: optional(text),
  demands: optional(textRecord),
};

export const signOutChecks: Checks<SignOutOptions> = {
  returnTo: optional(path),
  methods: optional(someOf('GET', 'POST')),
  clearSiteData: optional(someOf('cache', 'storage')),
};

/** The paths of the routes that are switched on, with their defaults. */
export function routePaths({ routes = {}, deviceBound = false }: Pick<SessionOptions, 'routes' | 'deviceBound'>) {
  const { login = true, callback = true, logout = true, signUp = false, session = false, device = true } = routes;
  const { organization = false, backchannelLogout = false, webhook = false } = routes;
  const pathOf = (given: string | boolean, usual: string) =>
    typeof given === 'string' ? given : given ? usual : undefined;
  return {
    login: pathOf(login, '/login'),
    callback: pathOf(callback, '/callback'),
    logout: pathOf(logout, '/logout'),
    signUp: pathOf(signUp, '/signup'),
    session: pathOf(session, '/session'),
    organization: pathOf(organization, '/organization'),
    device: deviceBound === false ? undefined : pathOf(device, '/session/device'),
    backchannelLogout: pathOf(backchannelLogout, '/backchannel-logout'),
    webhook: pathOf(webhook, '/webhook'),
  };
}

/** Paths that would hide each other, and routes that cannot do without another, or without their provider. */
export function findRouteConflicts(options: SessionOptions): ConfigProblem[] {
  const { provider } = options;
  const paths = Object.entries(routePaths(options)).filter(([, each]) => each !== undefined);
  const problems = paths.flatMap(([name, each], index) => {
    const other = paths.slice(0, index).find(([, earlier]) => earlier === each);
    const message = `is also "routes.${other?.[0]}", and only one of them would ever run. Give each a path of its own.`;
    return other ? [{ path: `routes.${name}`, message }] : [];
  });
  const { login, signUp, callback, backchannelLogout, webhook } = routePaths(options);
  if ((login ?? signUp) !== undefined && callback === undefined) {
    const message = 'cannot be false where "routes.login" or "routes.signUp" is on: every sign-in would end there.';
    problems.push({ path: 'routes.callback', message });
  }
  // What is wrong with the provider is reported by itself.
  if (!isRecord(provider) || (provider.problems ?? []).length > 0) return problems;
  if (backchannelLogout !== undefined && !provider.readLogoutToken) {
    const message = 'is for oidc(), or a provider of your own with readLogoutToken(). Leave it out with this one.';
    problems.push({ path: 'routes.backchannelLogout', message });
  }
  if (webhook !== undefined && !provider.readWebhook) {
    const message = 'is for workos() with "webhookSecret", or a provider of your own with readWebhook().';
    problems.push({ path: 'routes.webhook', message });
  }
  return problems;
}
