import { describe, expect, it } from '@jest/globals';

import { bindingOf } from '../../../lib/session/binding.js';

describe('bindingOf()', () => {
  const of = bindingOf('oidc https://id.example.com client_01', 'session');

  it.each<[string, string]>([
    ['another provider', bindingOf('oidc https://id.example.com client_02', 'session')],
    ['another purpose', bindingOf('oidc https://id.example.com client_01', 'flow')],
    ['more to be bound to', bindingOf('oidc https://id.example.com client_01', 'session', '')],
  ])('differs for %s', (_, other) => {
    expect(other).not.toBe(of);
  });

  it('keeps apart what would be one text when joined', () => {
    expect(bindingOf('a', 'flow', 'b', 'c')).not.toBe(bindingOf('a', 'flow', 'bc'));
    expect(bindingOf('a', 'flow', 'b"', '"c')).not.toBe(bindingOf('a', 'flow', 'b', 'c'));
  });

  it('is the same for an issuer with a slash at its end', () => {
    expect(bindingOf('https://id.example.com/', 'session')).toBe(bindingOf('https://id.example.com', 'session'));
  });

  it('is the same in every version: another one would sign every visitor out', () => {
    expect(of).toBe('CAT5aL7G4FYOzc_ywQlfej');
  });
});
