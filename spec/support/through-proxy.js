// Signs in at an OpenID provider and refreshes, for a spec that counts what goes through a proxy. It prints what became
// of it as JSON.
import process from 'node:process';

import { createSessionManager, oidc } from '../../dist/index.js';

const { ISSUER: issuer = '', REFRESH_TOKEN: refreshToken = '' } = process.env;
const clientSecret = process.env.CLIENT_SECRET ?? '';

const problems = [];
const provider = oidc({ issuer, clientId: 'client_01', clientSecret, userinfo: true });
const manager = createSessionManager({
  provider,
  password: 'a password of more than 32 characters',
  events: { misconfigured: ({ problem, cause }) => problems.push(`${problem} ${cause ?? ''}`) },
});

const sealed = await manager.seal({ accessToken: 'opaque', refreshToken, expiresIn: 1, user: { id: 'user_01' } });
const session = manager.load(sealed);
const { authenticated, reason } = await session.refresh();
process.stdout.write(JSON.stringify({ authenticated, reason, problems }));
