import type { Emit } from '../events.js';
import { readForm } from '../http/raw-body.js';
import { nonEmptyString } from '../json.js';
import type { Provider } from '../provider/provider.js';
import { NoticeRefused } from '../wire/notice-refused.js';
import { type NoticeEnds, noticeRoute } from './notices.js';
import type { Route } from './route.js';

export interface BackchannelLogoutParts {
  readonly provider: Provider;
  readonly clockToleranceSeconds: number;
  readonly emit: Emit;
  readonly ends: NoticeEnds;
}

// One token. No provider sends more.
const maxBytes = 65_536;

/** `/backchannel-logout`: ends what a log-out token of the provider names (OpenID Connect Back-Channel Logout 1.0). */
export function backchannelLogoutRoute(parts: BackchannelLogoutParts): Route {
  const { provider, clockToleranceSeconds, emit, ends } = parts;
  return noticeRoute('backchannel_logout', emit, async (req) => {
    const form = await readForm(req, maxBytes);
    if (!form) return 'too_large';
    const [given, ...others] = form.getAll('logout_token');
    const token = others.length > 0 ? undefined : nonEmptyString(given);
    if (token === undefined) throw new NoticeRefused('logout_token_missing');
    const read = await provider.readLogoutToken?.(token, { clockToleranceSeconds });
    if (!read) throw new NoticeRefused('provider');
    const { id, issuer, sid, subject = '', issuedAtMs, acceptedUntilMs } = read;
    // Two issuers may use one id. Where it cannot be told whether the token has come before, it counts: a second
    // time, it ends nothing more.
    const isNew = await ends.firstSight(`${issuer} ${id}`, acceptedUntilMs);
    if (isNew === false) throw new NoticeRefused('logout_token_replayed');
    // It is in whole seconds, and by another clock. What began at that moment is over too, rather than not.
    const at = new Date(issuedAtMs + 999 + clockToleranceSeconds * 1000);
    // A token that names a session is about that one alone, also where it names the user beside it.
    const notice = sid === undefined ? { userId: subject, at } : { sessionId: sid, at };
    const isTold = await ends.end(notice, 'backchannel_logout');
    return isTold && isNew ? 'done' : 'untold';
  });
}
