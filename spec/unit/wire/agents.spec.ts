import { Agent } from 'node:http';

import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';

const load = async () => import('../../../lib/wire/agents.js');
const optionsOf = (agent: Agent) => (agent as unknown as { options: Record<string, unknown> }).options;

describe('the connections to a provider', () => {
  const before = process.env.NODE_USE_ENV_PROXY;
  beforeEach(() => {
    jest.resetModules();
  });
  afterEach(() => {
    if (before === undefined) delete process.env.NODE_USE_ENV_PROXY;
    else process.env.NODE_USE_ENV_PROXY = before;
  });

  it.each([
    ['1', true],
    ['0', false],
    ['', false],
  ])('take the proxy of the environment with NODE_USE_ENV_PROXY=%j: %s', async (value, takesProxy) => {
    process.env.NODE_USE_ENV_PROXY = value;
    const { agentsFor } = await load();
    for (const mayRepeat of [true, false]) {
      const { http, https } = agentsFor(undefined, { mayRepeat });
      for (const agent of [http, https]) expect('proxyEnv' in optionsOf(agent)).toBe(takesProxy);
    }
  });

  it("are the app's own where it gives them, and ours for the other protocol", async () => {
    const { agentsFor } = await load();
    const own = new Agent();
    const ours = agentsFor(undefined, { mayRepeat: false });
    expect(agentsFor({ http: own }, { mayRepeat: false })).toEqual({ http: own, https: ours.https });
  });
});
