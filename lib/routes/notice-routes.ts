import type { Lifecycle } from '../lifecycle.js';
import type { RouteSettings } from '../options/config.js';
import type { Provider } from '../provider/provider.js';
import { backchannelLogoutRoute } from './backchannel-logout.js';
import type { NoticeEnds } from './notices.js';
import type { Route } from './route.js';
import { webhookRoute } from './webhook.js';

export interface NoticeRouteParts {
  readonly life: Lifecycle;
  readonly provider: Provider;
  readonly paths: RouteSettings['paths'];
  readonly clockToleranceSeconds: number;
}

/** The paths at which the provider tells what has ended. No browser comes there. */
export function noticeRoutes(parts: NoticeRouteParts): ReadonlyMap<string, Route> {
  const { life, paths } = parts;
  const shared = { ...parts, emit: life.emit, ends: noticeEnds(parts) };
  const routes: [string | undefined, Route][] = [
    [paths.backchannelLogout, backchannelLogoutRoute(shared)],
    [paths.webhook, webhookRoute(shared)],
  ];
  return new Map(routes.filter((each): each is [string, Route] => each[0] !== undefined));
}

/** What notices do to the sessions of a provider. */
function noticeEnds({ life, provider, clockToleranceSeconds }: NoticeRouteParts): NoticeEnds {
  const { revokesSession = false } = provider;
  return {
    firstSight: life.firstSight,
    end: (notice, cause) => {
      const givenMs = notice.at?.getTime() ?? NaN;
      const atMs = Number.isFinite(givenMs) ? givenMs : undefined;
      if ('userId' in notice && notice.refresh === true) {
        // A refresh too many does no harm. One too few, because of another clock, would leave a role.
        const fromMs = (atMs ?? Date.now()) + clockToleranceSeconds * 1000;
        return life.forceRefresh({ userId: notice.userId }, Math.min(fromMs, Date.now()));
      }
      if ('userId' in notice) return life.revoke({ userId: notice.userId }, { cause, atMs });
      // Where whole sessions are revoked, no later one has the id again: no clock need be trusted then.
      return life.revoke({ sid: notice.sessionId }, { cause, atMs: revokesSession ? undefined : atMs });
    },
  };
}
