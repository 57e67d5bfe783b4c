import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import {
  failureReason,
  isProviderFailure,
  ProviderFailure,
  providerFailure,
  readRetryAfter,
  systemErrorCode,
} from '../../../lib/wire/failure.js';
import { isRetryable, type Reason } from '../../../lib/session/reasons.js';
import { runs } from '../../support/fuzz.js';

const coded = (code: unknown, cause?: unknown) => Object.assign(new Error('for people', { cause }), { code });
const named = (name: string, cause?: unknown) => Object.assign(new Error('for people', { cause }), { name });

describe('the reason of a failure', () => {
  it.each<[Reason, unknown[]]>([
    [
      'timeout',
      [
        named('TimeoutError'),
        named('AbortError'),
        new DOMException('for people', 'TimeoutError'),
        new DOMException('for people', 'AbortError'),
        coded('ETIMEDOUT'),
        coded('UND_ERR_CONNECT_TIMEOUT'),
        coded('UND_ERR_HEADERS_TIMEOUT'),
        coded('UND_ERR_BODY_TIMEOUT'),
        coded('ERR_ABORTED'),
      ],
    ],
    [
      'network_error',
      [
        coded('ECONNREFUSED'),
        coded('ECONNRESET'),
        coded('ENOTFOUND'),
        coded('EAI_AGAIN'),
        coded('EPIPE'),
        coded('EPROTO'),
        coded('EHOSTUNREACH'),
        coded('UND_ERR_SOCKET'),
        coded('HPE_INVALID_CONSTANT'),
        coded('CERT_HAS_EXPIRED'),
        coded('DEPTH_ZERO_SELF_SIGNED_CERT'),
        coded('SELF_SIGNED_CERT_IN_CHAIN'),
        coded('UNABLE_TO_GET_ISSUER_CERT_LOCALLY'),
        coded('UNABLE_TO_VERIFY_LEAF_SIGNATURE'),
        coded('UNABLE_TO_GET_CRL'),
        coded('HOSTNAME_MISMATCH'),
        coded('ERR_STREAM_PREMATURE_CLOSE'),
        coded('ERR_SOCKET_CLOSED_BEFORE_CONNECTION'),
        coded('ERR_TLS_CERT_ALTNAME_INVALID'),
        coded('ERR_SSL_WRONG_VERSION_NUMBER'),
      ],
    ],
    [
      'provider_misconfigured',
      [
        new Error('connect ECONNREFUSED'),
        new TypeError('fetch failed'),
        new TypeError('clientId is required'),
        coded('ERR_INVALID_ARG_TYPE'),
        coded('ERR_INVALID_URL'),
        coded('ERR_INVALID_CHAR'),
        coded('ERR_STREAM_WRITE_AFTER_END'),
        coded('invalid_grant'),
        coded(42),
        coded(undefined),
        'ECONNREFUSED',
        { message: 'ETIMEDOUT' },
        undefined,
        null,
        0,
        Symbol('ETIMEDOUT'),
      ],
    ],
  ])('is %s by name or code, never by prose', (reason, failures) => {
    for (const failure of failures) expect([failure, failureReason(failure)]).toEqual([failure, reason]);
  });

  it('is the reason of a failure from another copy of the package, known by its name', () => {
    const foreign = Object.assign(new Error('for people'), { name: 'ProviderFailure', reason: 'timeout' });
    expect([isProviderFailure(foreign), foreign instanceof ProviderFailure]).toEqual([true, false]);
    expect(failureReason(foreign)).toBe('timeout');
  });

  it.each(['invalid_grant', 'toString', '', undefined, 42])(
    'is provider_misconfigured when a failure has a reason that is not retryable: %j',
    (reason) => {
      const failure = Object.assign(new Error('for people'), { name: 'ProviderFailure', reason });
      expect(failureReason(failure)).toBe('provider_misconfigured');
    },
  );

  it('is what providerFailure() was given, with a message for operators', () => {
    const failure = providerFailure('rate_limit_exceeded');
    expect(failure).toMatchObject({ name: 'ProviderFailure', message: 'The provider cannot tell now.' });
    expect(failureReason(failure)).toBe('rate_limit_exceeded');
    expect(providerFailure('timeout', 'Try later.').message).toBe('Try later.');
  });

  it('is what a ProviderFailure says', () => {
    expect(failureReason(new ProviderFailure('rate_limit_exceeded', 'for people'))).toBe('rate_limit_exceeded');
    expect(failureReason(new Error('for people', { cause: new ProviderFailure('server_error', '') }))).toBe(
      'server_error',
    );
  });

  it('is found along the chain of causes, the nearest first', () => {
    expect(failureReason(new TypeError('fetch failed', { cause: coded('ECONNREFUSED') }))).toBe('network_error');
    expect(failureReason(new TypeError('fetch failed', { cause: new Error('', { cause: coded('ETIMEDOUT') }) }))).toBe(
      'timeout',
    );
    expect(failureReason(coded('ERR_GOT_REQUEST_ERROR', coded('ENOTFOUND')))).toBe('network_error');
    expect(failureReason(coded('ECONNRESET', named('TimeoutError')))).toBe('network_error');
  });

  it('is found when causes go in a circle', () => {
    const circle: { cause?: unknown } = new Error('for people');
    circle.cause = new Error('for people', { cause: circle });
    expect(failureReason(circle)).toBe('provider_misconfigured');
  });

  it('is retryable, whatever is thrown', () => {
    fc.assert(
      fc.property(fc.anything(), (thrown) => {
        expect(isRetryable(failureReason(thrown))).toBe(true);
        expect(isRetryable(failureReason(new Error('', { cause: thrown })))).toBe(true);
      }),
    );
  });
});

describe('the system error code', () => {
  it.each([
    ['ECONNREFUSED', coded('ECONNREFUSED')],
    ['ENOTFOUND', coded('ERR_GOT_REQUEST_ERROR', coded('ENOTFOUND'))],
    ['CERT_HAS_EXPIRED', new TypeError('fetch failed', { cause: coded('CERT_HAS_EXPIRED') })],
    [undefined, coded('ERR_INVALID_URL')],
    [undefined, coded('ERR_ABORTED')],
    [undefined, coded('invalid_grant')],
    [undefined, coded('secret-token')],
    [undefined, coded(`E${'A'.repeat(100)}`)],
    [undefined, coded(42)],
    [undefined, new Error('ECONNREFUSED')],
    [undefined, 'ECONNREFUSED'],
    [undefined, undefined],
  ])('is %s for %p', (code, error) => {
    expect(systemErrorCode(error)).toBe(code);
  });
});

describe('Retry-After', () => {
  const nowMs = Date.parse('2026-01-01T00:00:00Z');
  const read = (header: string | undefined) => readRetryAfter(header, nowMs);

  it.each<[string | undefined, number | undefined]>([
    ['0', 0],
    ['1', 1],
    ['007', 7],
    [' 30 ', 30],
    ['300', 300],
    ['301', 300],
    ['99999999999999999999', 300],
    ['Thu, 01 Jan 2026 00:00:10 GMT', 10],
    ['Thursday, 01-Jan-26 00:00:10 GMT', 10],
    ['Fri, 01 Jan 2027 00:00:00 GMT', 300],
    ['Wed, 31 Dec 2025 23:59:50 GMT', 0],
    [undefined, undefined],
    ['', undefined],
    [' ', undefined],
    ['soon', undefined],
    ['NaN', undefined],
    ['Infinity', undefined],
  ])('of %j is %p seconds', (header, seconds) => {
    expect(read(header)).toBe(seconds);
  });

  // A lenient reader takes these for a date of long ago, and so for "at once".
  it.each(['-5', '1.5', '+5', '5s', '5, 6', '1e3', 'in 10', '10 seconds'])('is undefined for %j', (header) => {
    expect(read(header)).toBeUndefined();
  });

  it('is rounded up, so that no client comes back too early', () => {
    expect(readRetryAfter('Thu, 01 Jan 2026 00:00:10 GMT', nowMs + 1)).toBe(10);
    expect(readRetryAfter('Thu, 01 Jan 2026 00:00:10 GMT', nowMs - 1)).toBe(11);
  });

  it('is a whole number from 0 to 300 or undefined, whatever the header', () => {
    const dates = fc.date({ noInvalidDate: true }).map((date) => date.toUTCString());
    fc.assert(
      fc.property(fc.oneof(fc.string(), dates, fc.bigInt().map(String), fc.double().map(String)), (header) => {
        const seconds = read(header) ?? 0;
        expect(Number.isInteger(seconds) && seconds >= 0 && seconds <= 300).toBe(true);
      }),
      { numRuns: runs(500) },
    );
  });
});
