import { describe, expect, it } from '@jest/globals';

import { interfaceMembers, unionMembers } from './type-members.js';

describe('what the types say', () => {
  it('has the members of a union, and of the unions in it', () => {
    const reasons = unionMembers('lib/index.ts', 'Reason');
    expect(reasons).toEqual(expect.arrayContaining(['no_session_cookie_provided', 'expired_jwt', 'timeout']));
    expect(reasons).toEqual(expect.arrayContaining(unionMembers('lib/index.ts', 'TerminalReason')));
    expect(reasons).toEqual([...reasons].sort());
  });

  it('has the names of an interface', () => {
    expect(interfaceMembers('lib/index.ts', 'SessionEvents')).toEqual(
      expect.arrayContaining(['misconfigured', 'refreshed', 'signedIn']),
    );
  });

  it('refuses what it cannot find or read', () => {
    expect(() => unionMembers('lib/index.ts', 'Nothing')).toThrow('exports no type Nothing');
    expect(() => unionMembers('lib/index.ts', 'SessionEvents')).toThrow('not made of literal texts');
    expect(() => interfaceMembers('lib/index.ts', 'NothingEither')).toThrow('exports no type');
  });
});
