import { createHmac } from 'node:crypto';

import { beforeEach, describe, expect, it, jest } from '@jest/globals';
import { WorkOS } from '@workos-inc/node';
import fc from 'fast-check';
import { WorkOS as WorkOS11 } from 'workos-node11';

import { readWorkosWebhook } from '../../../lib/provider/workos-webhook.js';
import { refusedCheck } from '../../../lib/wire/notice-refused.js';
import { runs } from '../../support/fuzz.js';

// Time stands still: at the last second that is accepted, a slow machine would be late.
beforeEach(() => {
  jest.spyOn(Date, 'now').mockReturnValue(Date.now());
});

const secret = 'whsec_0123456789';
const happened = '2026-11-27T10:00:00.123Z';

const mac = (body: string | Buffer, t: string, by = secret) =>
  createHmac('sha256', by).update(`${t}.`).update(body).digest('hex');
const signed = (body: string | Buffer, t = String(Date.now()), by = secret) => `t=${t}, v1=${mac(body, t, by)}`;
const text = (event: string, data: unknown, more: object = {}) =>
  JSON.stringify({ id: 'event_1', event, data, created_at: happened, ...more });

/** What a webhook ends, or the check that refuses it. */
function read(body: string | Buffer, header: string | undefined = signed(body)): unknown {
  try {
    return readWorkosWebhook(Buffer.from(body), { 'workos-signature': header }, secret);
  } catch (error) {
    return refusedCheck(error) ?? error;
  }
}

const membership = { id: 'om_1', user_id: 'user_01', organization_id: 'org_01', status: 'active' };
const at = new Date(happened);

describe('a webhook of WorkOS', () => {
  it.each<[string, unknown, unknown]>([
    ['session.revoked', { object: 'session', id: 'session_01', user_id: 'user_01' }, [{ sessionId: 'session_01', at }]],
    ['user.deleted', { object: 'user', id: 'user_01' }, [{ userId: 'user_01', at }]],
    ['organization_membership.deleted', membership, [{ userId: 'user_01', at }]],
    ['organization_membership.updated', membership, [{ userId: 'user_01', refresh: true, at }]],
    ['organization_membership.updated', { ...membership, status: 'inactive' }, [{ userId: 'user_01', at }]],
    ['organization_membership.created', membership, []],
    ['session.created', { id: 'session_01', user_id: 'user_01' }, []],
    ['user.updated', { id: 'user_01' }, []],
    ['dsync.user.deleted', { id: 'directory_user_01' }, []],
    ['an.event.of.the.future', { id: 'user_01', user_id: 'user_01' }, []],
  ])('%s with %j', (event, data, ended) => {
    expect(read(text(event, data))).toEqual(ended);
  });

  it('has the time of its signature where it names none', () => {
    const body = text('session.revoked', { id: 'session_01' }, { created_at: 'yesterday' });
    expect(read(body)).toEqual([{ sessionId: 'session_01', at: new Date(Date.now()) }]);
  });

  const body = text('session.revoked', { id: 'session_01' });
  const from = (seconds: number) => signed(body, String(Date.now() + seconds * 1000));

  it.each<[string, () => string | undefined, string]>([
    ['no signature', () => '', 'webhook_signature_missing'],
    ['no time', () => `v1=${mac(body, '1')}`, 'webhook_signature_missing'],
    ['no hash', () => `t=${Date.now()}`, 'webhook_signature_missing'],
    ['a time that is no number', () => signed(body, 'now'), 'webhook_signature_missing'],
    ['a hash of another kind', () => signed(body).replace('v1=', 'v0='), 'webhook_signature_missing'],
    ['another secret', () => signed(body, String(Date.now()), 'whsec_other'), 'webhook_signature'],
    ['another time than was signed', () => signed(body).replace(/^t=\d/, 't=9'), 'webhook_signature'],
    ['another body than was signed', () => signed(`${body} `), 'webhook_signature'],
    ['half a hash', () => signed(body).slice(0, -32), 'webhook_signature'],
    ['a hash that is no hex', () => signed(body).slice(0, -1) + 'z', 'webhook_signature'],
    ['an empty hash', () => `t=${Date.now()}, v1=`, 'webhook_signature'],
    ['a signature of three minutes ago', () => from(-181), 'webhook_timestamp'],
    ['a signature three minutes ahead', () => from(181), 'webhook_timestamp'],
    ['a signature of 1970', () => signed(body, '0'), 'webhook_timestamp'],
  ])('is refused with %s', (_, header, check) => {
    expect(read(body, header())).toBe(check);
  });

  it.each([
    ['is no JSON', '{'],
    ['is a list', '[]'],
    ['has no data', '{"event":"session.revoked"}'],
    ['names no session', text('session.revoked', {})],
    ['names an empty session', text('session.revoked', { id: '' })],
    ['names no user', text('user.deleted', { user_id: 'user_01' })],
    ['names no member', text('organization_membership.updated', { id: 'om_1' })],
    ['names a member by a number', text('organization_membership.deleted', { user_id: 1 })],
  ])('is refused when it was signed and %s', (_, odd) => {
    expect(read(odd)).toBe('webhook_body');
  });

  it('is accepted up to three minutes late or early', () => {
    for (const seconds of [-180, -1, 0, 1, 180]) expect(read(body, from(seconds))).toHaveLength(1);
  });

  it('is accepted with its time in seconds, as WorkOS’s emulator signs', () => {
    const seconds = (offset: number) => signed(body, String(Math.floor(Date.now() / 1000) + offset));
    expect(read(body, seconds(0))).toHaveLength(1);
    expect(read(body, seconds(-200))).toBe('webhook_timestamp');
  });
});

describe('a webhook of WorkOS, compared with WorkOS’s own packages', () => {
  const own8 = new WorkOS('sk_test').webhooks;
  const own11 = new WorkOS11('sk_test').webhooks;
  const accepts = async (verify: () => Promise<unknown>) => {
    try {
      await verify();
      return true;
    } catch {
      return false;
    }
  };

  /** What a forger changes. */
  const change = fc.oneof(
    fc.constant({ kind: 'nothing' as const }),
    fc.record({ kind: fc.constant('time' as const), seconds: fc.integer({ min: -400, max: 180 }) }),
    fc.record({ kind: fc.constant('secret' as const), secret: fc.string({ minLength: 1 }) }),
    fc.record({ kind: fc.constant('header' as const), header: fc.string() }),
    fc.record({
      kind: fc.constant('digit' as const),
      at: fc.nat(63),
      digit: fc.constantFrom(...'0123456789abcdef'.split('')),
    }),
    fc.record({ kind: fc.constant('spaces' as const), between: fc.constantFrom('', ' ', '  ') }),
    fc.record({ kind: fc.constant('body' as const), at: fc.nat(), byte: fc.nat(255) }),
  );

  it('is accepted if and only if they accept it, whatever a forger changes', async () => {
    const counts = { accepted: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme' }), fc.uuid(), change, async (name, id, what) => {
        const sent = Buffer.from(text('session.revoked', { id, name, user_id: 'user_01' }));
        const t = String(Date.now() + (what.kind === 'time' ? what.seconds : 0) * 1000);
        let header = signed(sent, t, what.kind === 'secret' ? what.secret : secret);
        if (what.kind === 'header') header = what.header;
        if (what.kind === 'spaces') header = header.replace(', ', `,${what.between}`);
        if (what.kind === 'digit') {
          const place = header.length - 64 + what.at;
          header = header.slice(0, place) + what.digit + header.slice(place + 1);
        }
        const came = Buffer.from(sent);
        if (what.kind === 'body') came[what.at % came.length] = what.byte;
        const ours = Array.isArray(read(came, header));
        const options = { sigHeader: header, secret };
        // Of what is no JSON, the older package knows nothing: it wants the object.
        const theirs = await accepts(() => own11.constructEvent({ ...options, payload: came }));
        expect(ours).toBe(theirs);
        if (what.kind !== 'body') {
          const payload = JSON.parse(came.toString()) as Record<string, unknown>;
          expect(ours).toBe(await accepts(() => own8.constructEvent({ ...options, payload })));
        }
        counts[ours ? 'accepted' : 'refused'] += 1;
      }),
      { numRuns: runs(400) },
    );
    // Neither answer to everything.
    expect(Math.min(counts.accepted, counts.refused)).toBeGreaterThan(5);
  });
});
