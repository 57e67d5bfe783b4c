import assert from 'node:assert/strict';

import { isRecord, nonEmptyString } from '../json.js';
import type { NoticeHeaders, Provider } from '../provider/provider.js';
import { settled } from './settled.js';

/** A webhook as the provider sends it: signed just now with the secret in the provider's options. */
export interface SignedWebhook {
  /** The body, byte for byte as it was sent. */
  readonly body: Buffer;
  /** By their names in lower case. */
  readonly headers: NoticeHeaders;
}

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

// Everything that such a token must say, and signed by nobody.
const logoutClaims = {
  iss: 'https://id.example.com',
  aud: 'client',
  sub: 'user_a',
  sid: 'session-2',
  jti: 'jti-1',
  iat: 1_700_000_000,
  exp: 4_000_000_000,
  events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
};
const unsigned = (algorithm: string) => `${encode({ alg: algorithm, kid: 'one' })}.${encode(logoutClaims)}.`;

const unsignedBodies = ['', '{}', JSON.stringify({ event: 'session.revoked', data: { id: 'session-2' } })];

/** Tests that what a provider hears of sessions that have ended is the provider's own word. */
export function testNoticeConformance(
  provider: Provider,
  run: (name: string, test: () => Promise<void>) => void,
  webhook: SignedWebhook | undefined,
): void {
  const read = (body: Buffer, headers: NoticeHeaders) => settled(() => provider.readWebhook?.(body, headers));

  run('refuses a webhook that nobody has signed', async () => {
    if (!provider.readWebhook) return;
    for (const body of unsignedBodies) {
      const notices = await read(Buffer.from(body), { 'content-type': 'application/json' });
      assert.ok(notices === undefined, 'readWebhook must return undefined for a webhook without its signature.');
    }
  });

  run('reads a signed webhook, and refuses it once a byte of it has changed', async () => {
    if (!provider.readWebhook || !webhook) return;
    const notices: unknown = await read(webhook.body, webhook.headers);
    assert.ok(Array.isArray(notices), 'readWebhook must return a list for a webhook with its signature.');
    for (const notice of notices) assertNotice(notice);
    for (let at = 0; at < webhook.body.length; at += Math.ceil(webhook.body.length / 8)) {
      const changed = Buffer.from(webhook.body);
      changed[at] = (changed[at] ?? 0) ^ 1;
      assert.ok(
        (await read(changed, webhook.headers)) === undefined,
        'readWebhook must verify the body as it was sent.',
      );
    }
  });

  run('refuses a log-out token that nobody has signed', async () => {
    if (!provider.readLogoutToken) return;
    for (const token of ['', 'token', unsigned('none'), unsigned('RS256'), unsigned('HS256')]) {
      const read = await settled(() => provider.readLogoutToken?.(token));
      assert.ok(read === undefined, 'readLogoutToken must return undefined, or throw, without a good signature.');
    }
  });
}

function assertNotice(notice: unknown): void {
  assert.ok(isRecord(notice), 'readWebhook must return a list of objects.');
  const { sessionId, userId, refresh, at } = notice;
  // With both, it would not be known whether all sessions of the user are meant.
  const names = [sessionId, userId].filter((each) => each !== undefined);
  const isNamed = names.length === 1 && nonEmptyString(names[0]) !== undefined;
  assert.ok(isNamed, 'readWebhook must give either a "sessionId" or a "userId", as a string that is not empty.');
  const hasRefresh = refresh === undefined || (typeof refresh === 'boolean' && userId !== undefined);
  assert.ok(hasRefresh, 'readWebhook must give "refresh" with a "userId", as true or false, or leave it out.');
  const isTime = at === undefined || (at instanceof Date && Number.isFinite(at.getTime()));
  assert.ok(isTime, 'readWebhook must give "at" as a date, or leave it out.');
}
