import type { Emit } from '../events.js';
import { SessionConfigError } from '../errors.js';
import { readRawBody } from '../http/raw-body.js';
import type { Provider } from '../provider/provider.js';
import { NoticeRefused } from '../wire/notice-refused.js';
import { type NoticeEnds, noticeRoute } from './notices.js';
import type { Route } from './route.js';

export interface WebhookParts {
  readonly provider: Provider;
  readonly emit: Emit;
  readonly ends: NoticeEnds;
}

// Larger than any event about a user or a session.
const maxBytes = 262_144;

/** `/webhook`: does what a webhook of the provider says. */
export function webhookRoute({ provider, emit, ends }: WebhookParts): Route {
  return noticeRoute('webhook', emit, async (req) => {
    const body = await readRawBody(req, maxBytes);
    if (body.kind === 'too_large') return 'too_large';
    if (body.kind === 'parsed') throw parsedBefore(emit);
    if (body.kind === 'gone') throw new NoticeRefused('webhook_body');
    const notices = await provider.readWebhook?.(body.bytes, req.headers);
    if (!notices) throw new NoticeRefused('provider');
    const told = await Promise.all(notices.map((notice) => ends.end(notice, 'webhook')));
    return told.every(Boolean) ? 'done' : 'untold';
  });
}

/** The signature is over the bytes that were sent. What a parser has made of them, written again, may differ in any of them. */
function parsedBefore(emit: Emit): SessionConfigError {
  const message =
    'cannot be verified: a parser of the app has read its body before. Mount sessions.routes() before express.json().';
  emit('misconfigured', {
    problem: 'body_parsed_before_webhook',
    option: 'routes.webhook',
    message: `A webhook ${message} Until then no webhook is heard.`,
  });
  return new SessionConfigError([{ path: 'routes.webhook', message }]);
}
