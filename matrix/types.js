import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const source = `
import { createServer } from 'node:http';
import express from 'express';
import 'express-session';
import { isSessionError, oidc, type Session, type SessionOptions, withSession, workos } from 'express-sealed-session';
import { redisFleet } from 'express-sealed-session/redis';
import { testSessions } from 'express-sealed-session/testing';

const options: SessionOptions = { provider: workos({ clientId: 'c', apiKey: 'k' }), password: 'p' };
const sessions = withSession(options);
const app = express();
app.use(sessions, sessions.routes());
app.get('/', (req, res) => {
  const session: Session = sessions.get(req);
  if (session.authenticated) res.send(session.user.id + String(req.sessionID));
  // @ts-expect-error: nobody may be there
  res.send(session.user.id);
});
app.get('/in', sessions.require({ permissions: 'a' }), (req, res) => void res.send(sessions.signedIn(req).user.id));
app.use(sessions.errorHandler());
export const others = [oidc, redisFleet, testSessions, isSessionError, createServer];
`;

const resolutions = { node10: 'CommonJS', node16: 'Node16', nodenext: 'NodeNext', bundler: 'ESNext' };

/** What is wrong with the types, by resolution, in ES modules and in CommonJS, beside the types of express-session. */
export function checkTypes(ts, to) {
  const rows = [];
  for (const [moduleResolution, module] of Object.entries(resolutions)) {
    const kinds = moduleResolution.startsWith('node1') || moduleResolution === 'nodenext' ? ['mts', 'cts'] : ['ts'];
    for (const extension of moduleResolution === 'node10' ? ['ts'] : kinds) {
      const file = path.join(to, `types-${ts.version}-${moduleResolution}`, `app.${extension}`);
      mkdirSync(path.dirname(file), { recursive: true });
      writeFileSync(file, source);
      const { options, errors } = ts.convertCompilerOptionsFromJson(
        {
          strict: true,
          skipLibCheck: false,
          noEmit: true,
          esModuleInterop: true,
          target: 'ES2022',
          lib: ['ES2023'],
          types: ['node'],
          module,
          moduleResolution,
        },
        path.dirname(file),
      );
      const program = ts.createProgram({ rootNames: [file], options });
      const found = [...errors, ...ts.getPreEmitDiagnostics(program)].map(
        (each) => `${each.file?.fileName ?? ''} ${ts.flattenDiagnosticMessageText(each.messageText, ' ')}`,
      );
      rows.push({ title: `TypeScript ${ts.versionMajorMinor}, ${moduleResolution}, ${extension}`, found });
    }
  }
  return rows;
}
