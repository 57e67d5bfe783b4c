import { createHmac, timingSafeEqual } from 'node:crypto';

import { isRecord, nonEmptyString, parseObject } from '../json.js';
import { NoticeRefused } from '../wire/notice-refused.js';
import type { Notice, NoticeHeaders } from './provider.js';

// How far the time of a webhook may be from ours, both ways: what WorkOS's own packages take for the past.
const toleranceMs = 180_000;

/**
 * Reads a webhook of WorkOS: what has ended by it.
 *
 * @throws {NoticeRefused} it was not signed with the secret, or not a moment ago, or it is no event
 */
export function readWorkosWebhook(body: Buffer, headers: NoticeHeaders, secret: string): readonly Notice[] {
  const signedAtMs = verifySignature(body, [headers['workos-signature']].flat()[0] ?? '', secret);
  const event = parseObject(body.toString());
  if (!event || !isRecord(event.data)) throw new NoticeRefused('webhook_body');
  const happenedMs = Date.parse(String(event.created_at));
  const at = new Date(Number.isNaN(happenedMs) ? signedAtMs : happenedMs);
  return endedBy(String(event.event), event.data).map((notice) => ({ ...notice, at }));
}

/** @returns when it was signed, in milliseconds */
function verifySignature(body: Buffer, header: string, secret: string): number {
  const { t, v1 } = Object.fromEntries(header.split(',').map((part) => part.trim().split('=', 2))) as Partial<
    Record<string, string>
  >;
  if (t === undefined || v1 === undefined || !/^\d{1,16}$/.test(t))
    throw new NoticeRefused('webhook_signature_missing');
  const expected = createHmac('sha256', secret).update(`${t}.`).update(body).digest();
  const given = Buffer.from(v1, 'hex');
  const fits = /^[\da-f]{64}$/.test(v1) && timingSafeEqual(expected, given);
  if (!fits) throw new NoticeRefused('webhook_signature');
  // WorkOS says it in milliseconds, and its emulator in seconds.
  const signedAtMs = t.length > 11 ? Number(t) : Number(t) * 1000;
  if (Math.abs(Date.now() - signedAtMs) > toleranceMs) throw new NoticeRefused('webhook_timestamp');
  return signedAtMs;
}

/** What an event ends. Other events end nothing. */
function endedBy(name: string, data: Record<string, unknown>): readonly Notice[] {
  const sessionId = nonEmptyString(data.id);
  const userId = nonEmptyString(name === 'user.deleted' ? data.id : data.user_id);
  switch (name) {
    case 'session.revoked':
      return sessionId === undefined ? refuse() : [{ sessionId }];
    case 'user.deleted':
    case 'organization_membership.deleted':
      return userId === undefined ? refuse() : [{ userId }];
    case 'organization_membership.updated':
      if (userId === undefined) return refuse();
      // An inactive member is out. Any other change is of a role: the next token has the new one.
      return data.status === 'inactive' ? [{ userId }] : [{ userId, refresh: true }];
    default:
      return [];
  }
}

function refuse(): never {
  throw new NoticeRefused('webhook_body');
}
